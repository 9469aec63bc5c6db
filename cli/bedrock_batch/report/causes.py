"""Why jobs, records and uploads failed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from batch_queue.core.records import dataclass
from batch_queue.core.rows import Job, Status, Upload

# So many causes of a kind are told; the others are one more.
MOST_CAUSES = 12
OTHERS = "all other causes"


class Kind(StrEnum):
    """What failed."""

    JOBS = "jobs"
    RECORDS = "records"
    UPLOADS = "uploads"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why so many (``count``) jobs, records or uploads failed.

    ``text``: a message or an error code. ``meaning``: what it is, or "". ``example``: the key of an upload
    that it happened to, or "".
    """

    kind: Kind
    text: str
    meaning: str
    count: int
    example: str = ""


_JOBS = {
    Status.FAILED: "Bedrock could not run the job. Its records run again, within max_record_attempts.",
    Status.EXPIRED: "Bedrock did not end the job within timeout_hours of its route. Its records run again.",
    Status.STOPPED: "Somebody stopped the job, or an order cancelled its uploads.",
}
_UPLOADS = {
    Status.REJECTED: "The file has an error, and nothing of it was run. Correct it and upload it again.",
    Status.CANCELLED: "No record was answered before it was cancelled, or its object could not be read.",
}
# Codes of the queue are words, and those of Bedrock are HTTP status codes.
_CODES = {
    "400": "Bedrock refused the request: the body of the record is not valid for the model.",
    "403": "Bedrock denied access, for example to the model or to an object that the record references.",
    "404": "Bedrock did not find what the record names.",
    "408": "The model did not answer in time. Such records run again.",
    "413": "The record is larger than the model accepts.",
    "424": "The model could not process the record.",
    "429": "Bedrock throttled the record. Such records run again.",
    "500": "Bedrock had an internal error. Such records run again.",
    "503": "Bedrock was not available. Such records run again.",
    "Cancelled": "The record had not run when its upload was cancelled. The order retry runs it.",
    "InputGone": "The object of the upload was deleted while it ran, so the record could not run again.",
    "JobCompleted": "The job ended as Completed, without a line for the record.",
    "JobPartiallyCompleted": "The job ended as PartiallyCompleted, without a line for the record.",
    "JobExpired": "The job did not end within timeout_hours of its route.",
    "JobFailed": "The job failed as a whole.",
    "JobStopped": "The job was stopped before it answered the record.",
    "MediaNotAllowed": "The record references an object that is not below one of media_prefixes.",
    "MediaTooLarge": "The objects that the record references are larger than a job may have.",
    "MediaUnavailable": "An object that the record references is missing.",
    "NotAnswered": "The record ran on demand, and the function ended before it could store the answer.",
    "NotStaged": "The record could not be copied to the input of another job.",
    "ResultLost": "The line of the record was deleted from the work area before the result was written.",
    "ServiceTierRefused": "The model does not have the service tier flex: change undersized of the route.",
    "other": "Error codes beyond the first 100 of an upload.",
    "unknown": "The line of the record has an error without a code that can be read.",
}
# What differs between messages with the same cause: ARNs, URIs, ids, quoted words and numbers.
_VARIES = re.compile(
    r"""arn:\S+|s3://\S+|\S*/\S*\.jsonl\S*|\b[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b|"[^"]*"|'[^']*'|\d[\d,.]*""",
    re.IGNORECASE,
)
_REJECTED = re.compile(
    r"^Rejected, nothing was run: (?:line [\d,]+: )?|(?: \([\d,]+ more faults\))?\.? All in \S+$"
)


def of_jobs(jobs: Iterable[Job], uploads: Iterable[Upload]) -> list[Cause]:
    """Returns why jobs failed, by message. ``uploads``: where the examples come from."""
    failed = [job for job in jobs if job.status in _JOBS]
    keys = {arn: upload.key for upload in uploads for arn in upload.job_arns} if failed else {}
    return _grouped(
        Kind.JOBS,
        (
            (job.status, job.message or f"{job.status} without a message", keys.get(job.arn, ""))
            for job in failed
        ),
        _JOBS,
    )


def of_uploads(uploads: Iterable[Upload]) -> list[Cause]:
    """Returns why uploads were rejected, or ended before they ran, by message."""
    failed = [upload for upload in uploads if upload.status in _UPLOADS]
    return _grouped(
        Kind.UPLOADS,
        (
            (
                upload.status,
                _REJECTED.sub("", upload.message) or f"{upload.status} without a message",
                upload.key,
            )
            for upload in failed
        ),
        _UPLOADS,
    )


def of_records(errors: Mapping[str, Mapping[str, int]], examples: Mapping[str, str]) -> list[Cause]:
    """Returns why records failed, by error code. ``errors``: route → error code → records."""
    codes: Counter[str] = Counter()
    for some in errors.values():
        codes.update(some)
    found = [
        Cause(Kind.RECORDS, code, meaning(code), count, examples.get(code, ""))
        for code, count in sorted(codes.items(), key=lambda one: (-one[1], one[0]))
    ]
    return _capped(found)


def meaning(code: str) -> str:
    """Returns what an error code means, or "" if that is not known."""
    return _CODES.get(code, "")


def _grouped(
    kind: Kind, failures: Iterable[tuple[Status, str, str]], meanings: Mapping[Status, str]
) -> list[Cause]:
    counts: Counter[tuple[Status, str]] = Counter()
    first: dict[tuple[Status, str], str] = {}
    examples: dict[tuple[Status, str], str] = {}
    for status, text, example in failures:
        family = status, _VARIES.sub("…", text)
        counts[family] += 1
        first.setdefault(family, text)
        if example:
            examples.setdefault(family, example)
    found = [
        Cause(kind, first[family], meanings[family[0]], count, examples.get(family, ""))
        for family, count in counts.most_common()
    ]
    return _capped(found)


def _capped(causes: Sequence[Cause]) -> list[Cause]:
    if len(causes) <= MOST_CAUSES:
        return list(causes)
    kept, others = causes[: MOST_CAUSES - 1], causes[MOST_CAUSES - 1 :]
    count = sum(cause.count for cause in others)
    return [*kept, Cause(others[0].kind, OTHERS, f"{len(others):,} more causes.", count)]
