"""State-change events, as Bedrock sends them to EventBridge, and when they arrive."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from . import rules
from .chance import draw, identity
from .config import EventConfig

SOURCE = "aws.bedrock"
DETAIL_TYPE = rules.EVENTS.value


def _utc(at: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(at, dt.UTC)


def creation_time(at: float) -> str:
    """`at` (seconds since the epoch) as the events write it: "Aug 28, 2024, 10:47:53 PM"."""
    time = _utc(at)
    return f"{time:%b} {time.day}, {time.year}, {time.hour % 12 or 12}:{time:%M:%S %p}"


def state_change(
    *,
    account: str,
    region: str,
    name: str,
    arn: str,
    model_arn: str,
    status: str,
    message: str,
    created: float,
    at: float,
) -> dict[str, Any]:
    """The whole EventBridge event for a job that came to `status` at `at`."""
    return {
        "version": "0",
        "id": identity(arn, status, at),
        "detail-type": DETAIL_TYPE,
        "source": SOURCE,
        "account": account,
        "time": _utc(at).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": region,
        "resources": [arn],
        "detail": {
            "version": "0.0",
            "accountId": account,
            "batchJobName": name,
            "batchJobArn": arn,
            "batchModelId": model_arn,
            "status": status,
            "failureMessage": message,
            "creationTime": creation_time(created),
        },
    }


def deliveries(config: EventConfig, seed: int, job_id: str, status: str, at: float) -> list[float]:
    """When the event of a job's `status` at `at` arrives: no time when it is lost, two when it is doubled."""
    if not config.enabled or draw(seed, "loss", job_id, status) < config.loss_rate:
        return []
    due = at + config.delay_seconds + draw(seed, "jitter", job_id, status) * config.jitter_seconds
    if draw(seed, "reorder", job_id, status) < config.reorder_rate:
        due += config.reorder_seconds
    if draw(seed, "double", job_id, status) < config.duplicate_rate:
        return [due, due + config.duplicate_delay_seconds]
    return [due]


def put_events_entry(event: dict[str, Any]) -> dict[str, Any]:
    """`event` as an entry of EventBridge's PutEvents."""
    return {
        "Source": event["source"],
        "DetailType": event["detail-type"],
        "Resources": event["resources"],
        "Detail": json.dumps(event["detail"]),
        "Time": dt.datetime.fromisoformat(event["time"]),
    }
