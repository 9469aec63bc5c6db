"""What a report is made from, and how it is read from the queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import field
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any

from batch_queue.aws.bucket import Bucket, ObjectDeniedError, ObjectGoneError
from batch_queue.aws.pool import at_once
from batch_queue.core import names
from batch_queue.core.records import dataclass
from batch_queue.core.reports import counted
from batch_queue.core.rows import TERMINAL, Job, Route, Status, Upload

from bedrock_batch import rows
from bedrock_batch.connection import told

if TYPE_CHECKING:
    from bedrock_batch.connection import Connection

# Bedrock ends a job after 168 hours at the latest. One more day is for its chunks to wait.
LOOK_BACK_SECONDS = 8 * 24 * 3600.0
MOST_ROWS = 50_000
MOST_SUMMARIES = 1_000
_READ_AT_ONCE = 8
_NOT_ENDED = tuple(status for status in Status if status not in TERMINAL)


@dataclass(frozen=True, slots=True)
class Data:
    """The rows that a report is made from. Times are in epoch seconds.

    ``uploads`` and ``jobs`` may include some outside of the period, which are left out. ``errors``: route →
    error code → records. ``examples``: error code → the key of an upload with such an error. ``truncated``:
    what was left out, in words for people.
    """

    queue: str
    version: str
    since: float
    until: float
    uploads: Sequence[Upload] = ()
    jobs: Sequence[Job] = ()
    routes: Mapping[str, Route] = field(default_factory=dict)
    errors: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    examples: Mapping[str, str] = field(default_factory=dict)
    truncated: Sequence[str] = ()


def collect(connection: Connection, since: float, until: float) -> Data:
    """Reads what a report of a period (epoch seconds) is made from.

    Raises InputError and RefusedError.
    """
    earliest = names.iso(since - LOOK_BACK_SECONDS)
    ended = rows.uploads(connection, TERMINAL, since=earliest, most=MOST_ROWS)
    waiting = rows.uploads(connection, _NOT_ENDED, most=MOST_ROWS)
    jobs = rows.jobs(connection, tuple(Status), since=earliest, most=MOST_ROWS)
    truncated = [
        f"only the newest {MOST_ROWS:,} {what} were read"
        for what, read in (
            ("uploads that have ended", ended),
            ("uploads that have not ended", waiting),
            ("jobs", jobs),
        )
        if len(read) == MOST_ROWS
    ]
    begin, end = names.iso(since), names.iso(until)
    failed = [one for one in ended if one.error_count and begin <= one.ended_at <= end]
    newest = sorted(failed, key=lambda one: one.ended_at, reverse=True)[:MOST_SUMMARIES]
    if len(newest) < len(failed):
        truncated.append(f"error codes are those of the newest {MOST_SUMMARIES:,} uploads with errors")
    with told(connection.name):
        routes = connection.table.models.routes()
        summaries = _summaries(connection, newest)
    if missing := len(newest) - len(summaries):
        whose = "its summary was" if missing == 1 else "their summaries were"
        truncated.append(
            f"the error codes of {counted(missing, 'upload')} are not known: {whose} deleted or replaced, or "
            "cannot be read"
        )
    errors, examples = _errors(newest, summaries)
    return Data(
        queue=connection.name,
        version=connection.about.version,
        since=since,
        until=until,
        uploads=[*ended, *waiting],
        jobs=jobs,
        routes=routes,
        errors=errors,
        examples=examples,
        truncated=truncated,
    )


def _summaries(connection: Connection, uploads: Sequence[Upload]) -> dict[str, Mapping[str, Any]]:
    """Returns upload id → summary, for the uploads whose summary can be read."""
    if not uploads:
        return {}
    about = connection.about
    bucket = Bucket(connection.s3, about.bucket)

    def read(upload: Upload) -> Any:
        try:
            return bucket.read_json(names.summary_key(upload.key, about.input_prefix, about.output_prefix))
        except (ObjectGoneError, ObjectDeniedError, JSONDecodeError, UnicodeDecodeError):
            return None

    found = zip(uploads, at_once(read, uploads, _READ_AT_ONCE), strict=True)
    # A newer version of the object may have replaced the summary.
    return {
        upload.upload_id: summary
        for upload, summary in found
        if isinstance(summary, dict) and summary.get("upload_id") == upload.upload_id
    }


def _errors(
    uploads: Sequence[Upload], summaries: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Counter[str]], dict[str, str]]:
    errors: dict[str, Counter[str]] = {}
    examples: dict[str, str] = {}
    for upload in uploads:
        for code, records in summaries.get(upload.upload_id, {}).get("errors_by_code", {}).items():
            errors.setdefault(upload.route, Counter())[code] += records
            examples.setdefault(code, upload.key)
    return errors, examples
