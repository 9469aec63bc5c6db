"""What people are told when an upload has ended."""

from __future__ import annotations

import re

from . import events
from .records import dataclass
from .rows import Status, Upload
from .settings import Settings

# SNS takes subjects of ASCII characters, fewer than 100 and none of them a control character (SNS API
# reference, Publish).
MAX_SUBJECT = 99
_NOT_PRINTED = re.compile(r"[^ -~]")
_TO_DO = {
    Status.COMPLETED: "Nothing: the result has an answer for each record.",
    Status.PARTIALLY_COMPLETED: (
        "The result has a line for each record: the answer, or the error. Correct the cause, and upload the "
        "records with an error again in a file of their own."
    ),
    Status.FAILED: "Correct the cause, and upload the file again.",
    Status.STOPPED: (
        "Somebody stopped a job. Upload the records without an answer again, if they are still needed."
    ),
    Status.EXPIRED: (
        "Bedrock did not run a job in its time. Upload the records without an answer again; if it happens "
        "often, set timeout_hours of the route to more, or send less at a time."
    ),
    Status.REJECTED: (
        "None of the records was run, so there is nothing to pay. Correct what the message and the report "
        "name, and upload the file again."
    ),
    Status.CANCELLED: (
        "None of the records is running. Upload the file again, if its records are still needed."
    ),
}


@dataclass(frozen=True, slots=True)
class Notice:
    """A message for people, and what a subscription can filter by."""

    subject: str
    body: str
    attributes: dict[str, str]


def notice(upload: Upload, settings: Settings) -> Notice:
    """Returns what people are told about an upload that has ended."""
    bucket = f"s3://{upload.bucket}/"
    version = f" (version {upload.version_id})" if upload.version_id else ""
    file = "Rejection report" if upload.status == Status.REJECTED else "Result"
    summary = events.summary_key(upload, settings)
    lines = [
        f"The upload {bucket}{upload.key}{version} of the queue {settings.name} ended as {upload.status}.",
        "",
        f"Records: {upload.records:,}. Succeeded: {upload.success_count:,}. Failed: {upload.error_count:,}.",
        *([f"Message: {upload.message}"] if upload.message else []),
        *([f"{file}: {bucket}{upload.result_key}"] if upload.result_key else []),
        *([f"Summary: {bucket}{summary}"] if summary else []),
        "",
        f"What to do: {_TO_DO[upload.status]}",
        "",
        f"Route: {upload.route}. Ended at: {upload.ended_at}. Upload ID: {upload.upload_id}.",
    ]
    about = {"queue": settings.name, "route": upload.route, "status": str(upload.status)}
    return Notice(_subject(settings.name, upload), "\n".join(lines) + "\n", about)


def _subject(queue: str, upload: Upload) -> str:
    """Returns the subject: what happened, and the end of the key, which says most."""
    begin = f"{queue}: {upload.status}: "
    key = _NOT_PRINTED.sub("?", upload.key)
    room = MAX_SUBJECT - len(begin)
    return begin + (key if len(key) <= room else "..." + key[3 - room :])
