"""The pytest fixture of the package; pytest finds it by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .simulation import Simulation


@pytest.fixture(name="mock_bedrock_batch")
def _mock_bedrock_batch() -> Iterator[Simulation]:
    """Amazon Bedrock's batch inference, simulated: see `bedrock_batch_simulator.mock_bedrock_batch`.

    The job's data are in moto's S3, unless AWS_ENDPOINT_URL names another emulator.
    """
    # Imported here: pytest loads this file in every session, also where no test asks for the fixture.
    from .mock import mock_bedrock_batch  # noqa: PLC0415

    with ExitStack() as stack:
        if "AWS_ENDPOINT_URL" not in os.environ and find_spec("moto"):
            from moto import mock_aws  # noqa: PLC0415

            stack.enter_context(mock_aws())
        yield stack.enter_context(mock_bedrock_batch())
