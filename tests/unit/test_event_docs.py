"""docs/events.md: an example of each event that fits its schema, and a rule that takes it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from batch_queue.core.events import Kind

from tests.support.told import SCHEMAS, check_schema, schema
from tools import checks

pytestmark = pytest.mark.unit


def documents(kind: str) -> list[dict[str, Any]]:
    """The JSON documents of a kind's section: an event, and a pattern."""
    text = (checks.ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    section = re.split(r"\n##+ ", text.split(f"\n### {kind}\n")[1])[0]
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", section, re.DOTALL)]


def takes(pattern: Any, value: Any) -> bool:
    """Whether a rule takes an event, by a pattern of plain values, or of others than some."""
    if isinstance(pattern, dict):
        return all(name in value and takes(wanted, value[name]) for name, wanted in pattern.items())
    found = [one["anything-but"] for one in pattern if isinstance(one, dict)]
    return value in pattern or any(value not in others for others in found)


@pytest.mark.parametrize("kind", Kind)
def test_the_example_of_an_event_fits_its_schema(kind: Kind) -> None:
    event, _ = documents(kind)
    assert event["detail-type"] == kind
    check_schema(event)


@pytest.mark.parametrize("kind", Kind)
def test_the_rule_is_one_for_the_event(kind: Kind) -> None:
    event, pattern = documents(kind)
    if kind == Kind.JOB_ENDED:
        assert not takes(pattern, event), "the example is a job that Bedrock completed"
        event["detail"]["status"] = "Expired"
    assert takes(pattern, event)
    assert set(pattern["detail"]) <= set(schema(kind)["properties"]["detail"]["properties"])


def test_there_is_a_schema_for_each_event_and_for_no_other() -> None:
    files = {path.name for path in SCHEMAS.iterdir()}
    assert files == {f"{kind.lower().replace(' ', '-')}.schema.json" for kind in Kind}


@pytest.mark.parametrize("kind", Kind)
def test_every_attribute_is_described(kind: Kind) -> None:
    detail = schema(kind)["properties"]["detail"]
    assert detail["required"] == list(detail["properties"])
    assert all(len(one["description"]) > 10 for one in detail["properties"].values())
