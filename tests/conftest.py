"""A test's folder says what kind of test it is, so that no file has to repeat it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import examples

examples.load()

HERE = Path(__file__).parent
#: Folders whose tests carry the marker of the same name.
KINDS = ("unit", "flows", "client", "faults", "terraform", "integration", "iam")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by its folder; one marked by hand (policy, bench …) keeps that alone."""
    for item in items:
        kind = item.path.relative_to(HERE).parts[0] if item.path.is_relative_to(HERE) else ""
        own = {mark.name for mark in item.iter_markers()} & {*KINDS, "policy", "checkov", "bench"}
        if kind in KINDS and not own:
            item.add_marker(kind)
