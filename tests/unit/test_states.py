"""docs/architecture.md names every state at rest, and the limits are those of the sources."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from batch_queue.aws import table
from batch_queue.core.rows import Status

from tests.support.world import package_root

pytestmark = pytest.mark.unit

DOCS = package_root() / "docs"
UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
LIMIT = re.compile(r"(\d+) (second|minute|hour|day|point|tries|calls|retries)s? \(\[`(\w+)`\]\(([^)]+)\)\)")


def section() -> str:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    return text.split("## States at rest\n")[1].split("\n## ")[0]


def kinds_at_rest() -> list[str]:
    """The first cells of the tables."""
    return [line.split("|")[1].strip() for line in section().splitlines() if line.startswith("| ")]


def values(name: str, path: Path) -> set[float]:
    """What a constant or an attribute is in its file: in seconds where its name has a unit of time."""
    source = path.read_text(encoding="utf-8")
    unit = next((size for unit, size in UNITS.items() if f"{unit}s" in name.lower().split("_")), 1)
    if path.suffix == ".py":
        found = re.findall(rf"^{name} = ([^#\n]+)", source, re.MULTILINE)
        return {ast.literal_eval(value.strip()) * unit for value in found}
    block = re.search(rf'^variable "{name}" \{{(.*?)^\}}', source, re.MULTILINE | re.DOTALL)
    found = re.findall(r"^  default += (.+)", block[1], re.MULTILINE) if block else []
    found += re.findall(rf"^ +{name} += (\d+)$", source, re.MULTILINE)
    rates = [re.fullmatch(r'"rate\((\d+) (\w+?)s?\)"', value) for value in found]
    return {int(rate[1]) * UNITS[rate[2]] for rate in rates if rate} | {
        int(value) * unit for value in found if value.isdecimal()
    }


@pytest.mark.parametrize("status", Status)
def test_every_status_has_a_state(status: Status) -> None:
    kinds = ["job"] if status == Status.SUBMITTING else ["job", "upload"]
    for kind in {*kinds} - ({"job"} if status == Status.PENDING else set()):
        assert any(re.match(rf"{kind}\b.*\b{status}\b", found) for found in kinds_at_rest()), kind


def test_every_kind_of_row_has_a_state() -> None:
    kinds = re.findall(r"^\| ([a-z ]+) \|", table.__doc__ or "", re.MULTILINE)[1:]
    assert len(kinds) > 10
    # At the start of the cell, or of a list that the cell begins with.
    missing = [
        kind for kind in kinds if not any(re.match(rf"([a-z]+, )*{kind}\b", cell) for cell in kinds_at_rest())
    ]
    assert missing == []


def test_every_limit_is_that_of_its_source() -> None:
    found = LIMIT.findall(section())
    assert len(found) == len(re.findall(r"\(\[`", section())), "a link without a figure before it"
    for figure, unit, name, path in found:
        limit = int(figure) * UNITS.get(unit, 1)
        assert limit in values(name, (DOCS / path).resolve()), f"{figure} {unit}: {name}"
