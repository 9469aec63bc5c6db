"""The Python of the README runs, and prints what it says."""

from __future__ import annotations

import re
from pathlib import Path

import boto3
import pytest
from bedrock_batch_simulator import mock_bedrock_batch
from moto import mock_aws

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_first_one_runs_a_job_to_its_results(capsys: pytest.CaptureFixture[str]) -> None:
    exec(BLOCKS[0], {})  # noqa: S102 (it is our own README)
    status, first, _ = capsys.readouterr().out.split("\n", 2)
    assert status == "Completed"
    assert "3 words, 13 characters. Begins: Is water wet?" in first


@pytest.mark.parametrize("number", range(1, len(BLOCKS)))
def test_each_runs(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"boto3": boto3, "mock_aws": mock_aws, "mock_bedrock_batch": mock_bedrock_batch, "pytest": pytest}
    exec(BLOCKS[number], names)  # noqa: S102
    assert ("yes" in capsys.readouterr().out) == ("print(" in BLOCKS[number])
