"""The dashboard and the alarms show metrics that exist: those that the functions print, and AWS's own."""

from __future__ import annotations

import html
import json
import re
from functools import cache
from typing import Any

import pytest
from batch_queue.aws import telemetry

from tools import checks, dashboard

pytestmark = pytest.mark.terraform

#: AWS's own metrics that are used: their dimension. From the user guides of Lambda ("Types of metrics for
#: Lambda functions"), EventBridge ("Monitoring Amazon EventBridge") and SQS, and from AWS's article "Monitor
#: Amazon Bedrock batch inference using Amazon CloudWatch metrics".
AWS = {
    ("AWS/Lambda", "Errors"): "FunctionName",
    ("AWS/Lambda", "DeadLetterErrors"): "FunctionName",
    ("AWS/Lambda", "AsyncEventsDropped"): "FunctionName",
    ("AWS/Events", "Invocations"): "RuleName",
    ("AWS/Events", "FailedInvocations"): "RuleName",
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): "QueueName",
    ("AWS/Bedrock/Batch", "NumberOfRecordsPendingProcessing"): "ModelId",
    ("AWS/Bedrock/Batch", "NumberOfInputTokensProcessedPerMinute"): "ModelId",
    ("AWS/Bedrock/Batch", "NumberOfOutputTokensProcessedPerMinute"): "ModelId",
}
#: "3 dashboards referencing up to 50 metrics each per month" are free (CloudWatch's pricing page).
FREE_METRICS = 50


@cache
def planned() -> dict[str, dict[str, Any]]:
    return dashboard.plan(dashboard.EXAMPLE)


@cache
def widgets() -> list[dict[str, Any]]:
    body = json.loads(planned()["aws_cloudwatch_dashboard.this[0]"]["dashboard_body"])
    return [widget for widget in body["widgets"] if widget["type"] == "metric"]


def sent() -> set[tuple[str, tuple[str, ...]]]:
    """Each metric of the functions with each set of dimensions, as the runbook lists them."""
    section = (checks.ROOT / "docs" / "operations.md").read_text().split("\n## Metrics\n")[1]
    rows = re.findall(r"^\| `(\w+)` \| \w+ \| ([a-z, ]+) \|", section, re.MULTILINE)
    dimensions = {"queue": ("Queue",), "route": ("Queue", "Route")}
    return {(name, dimensions[of]) for name, every in rows for of in every.split(", ")}


def exists(namespace: str, name: str, dimensions: tuple[str, ...]) -> bool:
    if namespace == telemetry.NAMESPACE:
        return (name, dimensions) in sent()
    return AWS.get((namespace, name)) == dimensions[0] and len(dimensions) == 1


def test_each_metric_of_the_dashboard_exists() -> None:
    used: set[tuple[str, str, tuple[str, ...]]] = set()
    for widget in widgets():
        for words, options in dashboard.expand(widget["properties"]["metrics"]):
            if search := re.match(
                r"SEARCH\('\{([^,]+),(\w+)\} MetricName=\"(\w+)\"'", options.get("expression", "")
            ):
                used.add((search[1], search[3], (search[2],)))
            elif "expression" not in options:
                used.add((words[0], words[1], tuple(words[2::2])))
    assert [one for one in used if not exists(*one)] == []
    assert len(used) > 20


def test_each_metric_of_an_alarm_exists() -> None:
    alarms = [
        after for address, after in planned().items() if address.startswith("aws_cloudwatch_metric_alarm")
    ]
    each = [alarm for alarm in alarms if alarm["metric_name"]]
    each += [one for alarm in alarms for query in alarm["metric_query"] for one in query["metric"]]
    used = {(one["namespace"], one["metric_name"], tuple(sorted(one["dimensions"]))) for one in each}
    assert [one for one in used if not exists(*one)] == []
    assert len(used) > 10


def test_the_expressions_of_a_widget_refer_to_its_own_metrics() -> None:
    for widget in widgets():
        metrics = [options for _, options in dashboard.expand(widget["properties"]["metrics"])]
        ids = [options["id"] for options in metrics if "id" in options]
        assert len(ids) == len(set(ids))
        for options in metrics:
            if "SEARCH" not in options.get("expression", "SEARCH"):
                assert set(re.findall(r"[a-z]\w*", options["expression"])) <= set(ids)


def test_every_metric_of_the_queue_that_people_ask_for_is_shown() -> None:
    shown = json.dumps(widgets())
    hidden = {"PendingUploads", "PendingChunks", "UploadsAccepted"}
    assert {name for name in telemetry.METRICS if f'"{name}"' not in shown} <= hidden


def test_the_dashboard_of_a_queue_with_one_route_is_within_the_free_tier() -> None:
    body = dashboard.body({})
    metrics = [
        words
        for widget in body["widgets"]
        for words, _ in dashboard.expand(widget["properties"].get("metrics", []))
    ]
    assert len(metrics) <= FREE_METRICS


def test_the_picture_in_the_documentation_is_of_this_dashboard() -> None:
    picture = (checks.ROOT / "docs" / "images" / "dashboard.svg").read_text()
    titles = [html.escape(widget["properties"]["title"], quote=False) for widget in widgets()]
    assert [title for title in titles if f">{title}<" not in picture] == [], "run make dashboard"
