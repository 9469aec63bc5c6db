"""One MiniStack for the session, with IAM enforced and the module applied with all its options."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.iam.world import World
from tests.local_aws.processes import BUILD

EMULATOR = BUILD / "reports" / "iam-emulator.txt"


@pytest.fixture(scope="session")
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """The applied module; its servers end with the session, whatever happens."""
    with World(tell=teller(request)) as made:
        EMULATOR.parent.mkdir(parents=True, exist_ok=True)
        EMULATOR.write_text(made.description + "\n")
        yield made


def teller(request: pytest.FixtureRequest) -> Any:
    """Print a line at once, past pytest's capture."""
    reporter: pytest.TerminalReporter = request.config.pluginmanager.getplugin("terminalreporter")
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def tell(message: str) -> None:
        with capture.global_and_fixture_disabled():
            reporter.write_line("")
            reporter.write_line(message)

    return tell
