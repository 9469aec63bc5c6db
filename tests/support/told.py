"""What receivers were told: the events on the bus and the messages for people, and what must be there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

from batch_queue.core.events import SOURCE, Kind
from batch_queue.core.rows import TERMINAL, Job, Upload
from jsonschema import Draft202012Validator

from tools import checks

SCHEMAS = checks.ROOT / "docs" / "events"


@dataclass
class Told:
    """Everything that arrived, in order: events as receivers get them, and calls of SNS's Publish."""

    events: list[dict[str, Any]] = field(default_factory=list)
    messages: list[Mapping[str, Any]] = field(default_factory=list)

    def take(self, entry: Mapping[str, Any]) -> None:
        """Takes an entry of PutEvents."""
        self.events.append(
            {
                "source": entry["Source"],
                "detail-type": entry["DetailType"],
                "time": datetime.fromtimestamp(entry["Time"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "resources": entry["Resources"],
                "detail": json.loads(entry["Detail"]),
            }
        )

    def details(self, kind: str, **about: Any) -> list[dict[str, Any]]:
        """Returns the details of the events of a kind that have these attributes, without repeats."""
        found = {
            one["detail"]["id"]: one["detail"]
            for one in self.events
            if one["detail-type"] == kind
            and all(one["detail"].get(name) == value for name, value in about.items())
        }
        return list(found.values())

    def check(self, uploads: Iterable[Upload], jobs: Iterable[Job]) -> None:
        """Raises AssertionError where an event is missing, wrong, or does not fit its schema."""
        told: dict[tuple[str, str], list[dict[str, Any]]] = {}
        first: dict[str, dict[str, Any]] = {}
        for event in self.events:
            detail = event["detail"]
            if detail["id"] in first:
                assert event == first[detail["id"]], f"not the same: {event} and {first[detail['id']]}"
                continue
            first[detail["id"]] = event
            check_schema(event)
            assert event["source"] == SOURCE
            row = detail.get("upload_id") or detail["job_id"]
            told.setdefault((event["detail-type"], row), []).append(detail)
        for upload in uploads:
            if upload.unread:
                continue
            about = f"{upload.key} ({upload.status})"
            if upload.chunks:
                _one(told, Kind.UPLOAD_ACCEPTED, upload.upload_id, upload.created_at, about)
            if upload.status in TERMINAL:
                detail = _one(told, Kind.UPLOAD_ENDED, upload.upload_id, upload.created_at, about)
                assert detail["status"] == upload.status, about
                assert (detail["successes"], detail["errors"]) == (upload.success_count, upload.error_count)
        for job in jobs:
            about = f"{job.job_name} ({job.status})"
            if job.arn:
                _one(told, Kind.JOB_SUBMITTED, job.job_id, job.created_at, about)
            if job.status in TERMINAL:
                detail = _one(told, Kind.JOB_ENDED, job.job_id, job.created_at, about)
                assert detail["status"] == job.status, about

    def kinds(self) -> Counter[str]:
        """How many different events of each kind arrived."""
        seen = {one["detail"]["id"]: one["detail-type"] for one in self.events}
        return Counter(seen.values())


def _one(
    told: Mapping[tuple[str, str], list[dict[str, Any]]], kind: Kind, row: str, created_at: str, about: str
) -> dict[str, Any]:
    """The detail of the event of a kind about a row; a row that was deleted before had another time."""
    found = [detail for detail in told.get((kind, row), []) if detail["created_at"] == created_at]
    assert found, f"nobody was told: {kind} of {about}"
    return found[-1]


@cache
def schema(kind: str) -> dict[str, Any]:
    """The schema of a kind of event, as receivers find it in the repository."""
    path = SCHEMAS / f"{kind.lower().replace(' ', '-')}.schema.json"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@cache
def _validator(kind: str) -> Draft202012Validator:
    return Draft202012Validator(schema(kind))


def check_schema(event: Mapping[str, Any]) -> None:
    """Raises AssertionError if an event does not fit its schema, or has an attribute that is not in it."""
    kind = event["detail-type"]
    errors = [f"{error.json_path}: {error.message}" for error in _validator(kind).iter_errors(event)]
    assert not errors, f"{kind}: {errors}"
    known = schema(kind)["properties"]["detail"]["properties"]
    assert set(event["detail"]) == set(known), set(event["detail"]) ^ set(known)
