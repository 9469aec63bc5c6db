"""What docs/costs.md and the README say of an idle queue is what the examples' plans have."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from functools import cache
from typing import Any

import pytest

from tools import checks

pytestmark = pytest.mark.terraform

ALARM, METRIC, DASHBOARD = Decimal("0.10"), Decimal("0.30"), Decimal("3.00")
KEY = Decimal("1.00")
ENDPOINTS = {"complete": Decimal("73.00")}
#: "OldestPendingAge and ActiveJobs": tests/flows/test_metrics.py holds that there are no others.
IDLE_METRICS = 2
FREE_ALARMS, FREE_DASHBOARD_METRICS = 10, 50
EXAMPLES = {"basic": "basic", "existing-bucket": "existing_bucket", "kms": "kms", "complete": "complete"}
Planned = dict[str, list[dict[str, Any]]]


@cache
def plans() -> dict[str, Planned]:
    """Run of tests/terraform/examples.tftest.hcl → type of resource → planned values."""
    folder = "tests/terraform"
    options = ("-no-color", f"-test-directory={folder}")
    started = checks.terraform_in(checks.ROOT, "init", "-backend=false", "-input=false", *options)
    assert started.returncode == 0, started.stdout + started.stderr
    filtered = f"-filter={folder}/examples.tftest.hcl"
    done = checks.terraform_in(checks.ROOT, "test", "-json", "-verbose", filtered, *options)
    found: dict[str, Planned] = {}
    for report in map(json.loads, done.stdout.splitlines()):
        if report["type"] == "test_plan":
            planned = found.setdefault(report["@testrun"], {})
            for change in report["test_plan"].get("resource_changes", []):
                planned.setdefault(change["type"], []).append(change["change"]["after"])
    return found


def alarm_metrics(planned: Planned) -> int:
    """How many metrics CloudWatch bills the alarms for."""
    each = (
        sum(len(query["metric"]) for query in alarm["metric_query"] or ())
        for alarm in planned["aws_cloudwatch_metric_alarm"]
    )
    return sum(max(1, count) for count in each)


def dashboard_metrics(planned: Planned) -> int:
    (dashboard,) = planned["aws_cloudwatch_dashboard"]
    widgets = json.loads(dashboard["dashboard_body"])["widgets"]
    return sum(len(widget["properties"].get("metrics", ())) for widget in widgets)


def rows() -> dict[str, list[str]]:
    """The row of each example in docs/costs.md."""
    text = (checks.ROOT / "docs" / "costs.md").read_text()
    found = re.findall(r"^\| \[([a-z-]+)\]\(\.\./examples/[a-z-]+\) \| (.*) \|$", text, re.MULTILINE)
    return {name: row.split(" | ") for name, row in found}


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_fixed_costs_of_an_example_are_those_of_its_plan(example: str) -> None:
    planned = plans()[EXAMPLES[example]]
    count = alarm_metrics(planned)
    key = KEY if "aws_kms_key" in planned else Decimal(0)
    others = key + ENDPOINTS.get(example, 0)
    total = count * ALARM + IDLE_METRICS * METRIC + DASHBOARD + others
    billed = DASHBOARD if dashboard_metrics(planned) > FREE_DASHBOARD_METRICS else Decimal(0)
    free = max(0, count - FREE_ALARMS) * ALARM + billed + others
    row = rows()[example]
    assert row[0] == f"{count} × 0.10 = {count * ALARM}"
    assert row[1:3] == [str(IDLE_METRICS * METRIC), str(DASHBOARD)]
    assert row[3] == (str(KEY) if key else "–")
    assert row[-2:] == [f"**{total:.2f}**", f"**{free:.2f}**"]
    # And the example says the same
    told = (checks.ROOT / "examples" / example / "README.md").read_text()
    assert f"{count} alarm metrics at 0.10" in told
    assert f"{total:.2f}" in told


def test_the_readme_says_what_an_idle_queue_has() -> None:
    readme = (checks.ROOT / "README.md").read_text()
    count = alarm_metrics(plans()["basic"])
    assert f"{count} alarm metrics" in readme
    assert f"{count * ALARM + IDLE_METRICS * METRIC + DASHBOARD:.2f} USD a month" in readme
