"""The objects that are uploads, as an S3 event or a listing of the bucket names them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from . import names
from .settings import Settings


@dataclass(frozen=True, slots=True)
class NewObject:
    """An exact object, as an S3 event or a sweep tells of it. Times are ISO 8601 in UTC.

    ``created_at``: since when it waits, as the event or the sweep has it. ``modified_at``: S3's LastModified,
    which with the ETag tells objects without a version id apart; "" where it was not looked up.
    """

    bucket: str
    key: str
    version_id: str
    etag: str
    created_at: str
    sequencer: str = ""
    modified_at: str = ""

    @property
    def upload_id(self) -> str:
        """The id of the upload that this object is, however it was found.

        Without a version id it is told apart by what anybody sees who looks at it. The sequencer, which the
        event alone has, is left for an object that was gone before it could be looked at.
        """
        seen = f"{self.etag}/{self.modified_at}" if self.modified_at else self.sequencer
        return names.upload_id(self.bucket, self.key, self.version_id or seen)


def new_objects(event: Mapping[str, Any]) -> Iterator[NewObject]:
    """The objects that an S3 event tells of. Keys arrive form-encoded (S3 User Guide, event structure)."""
    for record in event.get("Records", []):
        if not record.get("eventName", "").startswith("ObjectCreated:"):
            continue
        thing = record["s3"]["object"]
        yield NewObject(
            bucket=record["s3"]["bucket"]["name"],
            key=unquote_plus(thing["key"]),
            # Where versioning is suspended every version is called "null", and names no exact object.
            version_id=thing.get("versionId", "").removeprefix("null"),
            etag=thing.get("eTag") or "",
            sequencer=thing.get("sequencer") or "",
            created_at=names.iso(names.epoch(record["eventTime"])),
        )


def why_not(bucket: str, key: str, settings: Settings) -> str:
    """Why an object is none of the queue's uploads; "" where it is one."""
    if bucket != settings.bucket:
        return "it lies in another bucket"
    if not key.startswith(settings.input_prefix):
        return f"it does not lie under {settings.input_prefix}"
    if key.endswith("/"):
        return "it is a folder marker"
    return "" if key.endswith(".jsonl") else "its name does not end with .jsonl"
