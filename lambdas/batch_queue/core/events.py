"""The events that the queue sends about uploads and jobs, and the changes of rows that they tell.

The schemas for receivers are in ``docs/events``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from . import names, reports
from .records import dataclass
from .rows import ON_DEMAND_ARN, TERMINAL, Job, Route, Status, Upload
from .settings import Settings

SOURCE = "bedrock-batch-queue"
SCHEMA_VERSION = 1
# An event names at most this many jobs: with 100, it stays far below the 64 KB that EventBridge bills as one
# event, and below the 256 KB that it accepts (EventBridge User Guide, calculating the size of an event).
NAMED_JOBS = 100


class Kind(StrEnum):
    """What an event tells; the value is its ``detail-type``."""

    UPLOAD_ACCEPTED = "Upload Accepted"
    UPLOAD_ENDED = "Upload Ended"
    JOB_SUBMITTED = "Job Submitted"
    JOB_ENDED = "Job Ended"


@dataclass(frozen=True, slots=True)
class Event:
    """One event. ``time``: when it happened (ISO 8601). ``resources``: the ARNs that it is about.

    ``detail["id"]`` depends only on what happened: an event that is sent again has the same one.
    """

    kind: Kind
    time: str
    resources: tuple[str, ...]
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the events come from: the queue's settings and its partition, such as ``aws``."""

    settings: Settings
    partition: str


def upload_kind(old: Upload | None, new: Upload) -> Kind | None:
    """Returns which event the change of an upload's row is, or None.

    ``old``: the row before; None if there was none. A row that says that S3 denies access to the object is
    not an upload yet.
    """
    if new.unread:
        return None
    begins = old is None or old.unread or old.run != new.run
    if new.status in TERMINAL:
        return Kind.UPLOAD_ENDED if begins or (old and old.status not in TERMINAL) else None
    return Kind.UPLOAD_ACCEPTED if begins else None


def job_kind(old: Job | None, new: Job) -> Kind | None:
    """Returns which event the change of a job's row is, or None. ``old``: the row before, if any."""
    if new.status in TERMINAL:
        return Kind.JOB_ENDED if old is None or old.status not in TERMINAL else None
    return Kind.JOB_SUBMITTED if new.arn and not (old and old.arn) else None


def upload_event(kind: Kind, upload: Upload, place: Place, route: Route | None = None) -> Event:
    """Returns an event about an upload. ``route``: for the prices of an upload that has ended, if known."""
    ends = kind == Kind.UPLOAD_ENDED
    time = (upload.ended_at if ends else "") or upload.updated_at or upload.created_at
    detail = {
        **_about(kind, place, upload.folder, upload.created_at, time),  # which has the run
        "upload_id": upload.upload_id,
        "run": upload.run,
        "bucket": upload.bucket,
        "key": upload.key,
        "version_id": upload.version_id or None,
        "route": upload.route,
        "status": upload.status,
        "records": upload.records,
        "size_bytes": upload.size_bytes,
        "created_at": upload.created_at,
        **(_outcome(upload, place.settings, route) if ends else {}),
    }
    return Event(kind, time, (f"arn:{place.partition}:s3:::{upload.bucket}/{upload.key}",), detail)


def job_event(kind: Kind, job: Job, place: Place) -> Event:
    """Returns an event about a job."""
    arn = job.arn if job.arn != ON_DEMAND_ARN else ""
    counted = job.success_count or job.error_count
    ends = kind == Kind.JOB_ENDED
    time = (job.ended_at if ends else job.submitted_at) or job.updated_at or job.created_at
    detail = {
        **_about(kind, place, job.job_id, job.created_at, time),
        "job_id": job.job_id,
        "job_name": job.job_name,
        "job_arn": arn or None,
        "mode": job.instead or "batch",
        "route": job.route,
        "model_id": job.model_id,
        "status": job.status,
        "records": job.records,
        "created_at": job.created_at,
        "submitted_at": job.submitted_at or None,
        **(
            {
                "message": job.message or None,
                "successes": job.success_count if counted else None,
                "errors": job.error_count if counted else None,
                "started_at": job.started_at or None,
                "ended_at": job.ended_at or None,
            }
            if ends
            else {}
        ),
    }
    return Event(kind, time, (arn,) if arn else (), detail)


def summary_key(upload: Upload, settings: Settings) -> str:
    """Returns the key of the summary of an upload that has ended, or "" if it has none.

    An upload that ended before it was in the queue has none, unless it was cancelled or ended as Failed: it
    had then run in a table that is gone, and its summary keeps it from running again.
    """
    if not (upload.chunks or upload.cancelled_at or upload.status == Status.FAILED):
        return ""
    return names.summary_key(upload.key, settings.input_prefix, settings.output_prefix)


def _about(kind: Kind, place: Place, row: str, created_at: str, time: str) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "id": names.event_id(kind, row, created_at, time),
        "queue": place.settings.name,
    }


def _outcome(upload: Upload, settings: Settings, route: Route | None) -> dict[str, Any]:
    """Returns what an event tells of how an upload ended."""
    rejected = upload.status == Status.REJECTED
    result = {"key": upload.result_key, "version_id": upload.result_version_id or None}
    arns = sorted(upload.job_arns)
    return {
        "message": upload.message or None,
        "successes": upload.success_count,
        "errors": upload.error_count,
        "input_tokens": upload.input_tokens,
        "output_tokens": upload.output_tokens,
        "cost": reports.cost_of(upload, route) or None,
        "result": result if upload.result_key and not rejected else None,
        "summary_key": summary_key(upload, settings) or None,
        "rejection_report_key": (upload.result_key or None) if rejected else None,
        "job_arns": arns[:NAMED_JOBS],
        "job_count": len(arns),
        "ended_at": upload.ended_at or None,
    }
