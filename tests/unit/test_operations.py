"""The runbook's commands are commands of the AWS CLI: each operation exists, and each of its options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest
from batch_queue.aws import telemetry
from botocore import xform_name

from tools.terraform_env import ROOT

RUNBOOK = ROOT / "docs" / "operations.md"
# Options of the AWS CLI itself, and operations that it has beside those of the API.
GLOBAL = {"--query", "--output", "--cli-binary-format"}
CUSTOM: dict[tuple[str, str], set[str]] = {
    ("s3", "cp"): set(),
    ("logs", "tail"): {"--since", "--filter-pattern"},
}


def commands(page: Path) -> Iterator[list[str]]:
    """Yields the words of each command of the AWS CLI in the page's blocks of shell code."""
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
        plain = re.sub(r'"\$\((date|terraform) [^)]*\)"', "VALUE", block.replace("\\\n", " "))
        for line in re.sub(r'\w+="\$\((.*)\)"', r"\1", plain).splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["aws"]:
                yield words[: words.index("|")] if "|" in words else words


def test_the_runbook_has_commands() -> None:
    assert len(list(commands(RUNBOOK))) > 20


@pytest.mark.parametrize("words", [*commands(RUNBOOK)], ids=lambda words: " ".join(words[1:3]))
def test_a_command_of_the_runbook_exists(words: list[str]) -> None:
    service, name = words[1:3]
    options = {word for word in words[3:] if word.startswith("--")} - GLOBAL
    if (service, name) in CUSTOM:
        assert options <= CUSTOM[service, name]
        return
    model = botocore.session.get_session().get_service_model({"s3api": "s3"}.get(service, service))
    operations = {xform_name(each, "-"): each for each in model.operation_names}
    assert name in operations
    shape = model.operation_model(operations[name]).input_shape
    members = {f"--{xform_name(member, '-')}": member for member in shape.members} if shape else {}
    assert options <= set(members)
    required = {f"--{xform_name(member, '-')}" for member in (shape.required_members if shape else ())}
    assert required <= options


def test_the_runbook_lists_the_metrics_of_the_functions_and_their_units() -> None:
    section = RUNBOOK.read_text().split("\n## Metrics\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", section, re.MULTILINE)
    assert dict(rows) == {name: unit.lower() for name, unit in telemetry.METRICS.items()}
