"""The pytest fixture of the package; pytest finds it by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .simulation import Simulation


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers", "mock_bedrock_batch(**options): what the fixture mock_bedrock_batch is made with"
    )


@pytest.fixture(name="mock_bedrock_batch")
def _mock_bedrock_batch(request: pytest.FixtureRequest) -> Iterator[Simulation]:
    """Amazon Bedrock's batch inference, simulated: see `bedrock_batch_simulator.mock_bedrock_batch`.

    The job's data are in moto's S3, unless AWS_ENDPOINT_URL names another emulator. A marker of the same name
    gives options: `@pytest.mark.mock_bedrock_batch(seconds_per_call=60)`.
    """
    # Imported here: pytest loads this file in every session, also where no test asks for the fixture.
    from .mock import is_emulated, mock_bedrock_batch  # noqa: PLC0415

    marker = request.node.get_closest_marker("mock_bedrock_batch")
    with ExitStack() as stack:
        if not is_emulated() and find_spec("moto"):
            from moto import mock_aws  # noqa: PLC0415

            stack.enter_context(mock_aws())
        yield stack.enter_context(mock_bedrock_batch(**(marker.kwargs if marker else {})))
