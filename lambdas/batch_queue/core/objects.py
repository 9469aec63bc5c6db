"""Objects of the bucket: uploads as an S3 event or a listing describes them, and exact versions to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote_plus

from . import names
from .records import dataclass
from .settings import Settings


@dataclass(frozen=True, slots=True)
class NewObject:
    """One object version from an S3 event or a sweep. Times are ISO 8601 in UTC.

    ``created_at``: the time of the event, or when the sweep found the object; the queue is ordered by it.
    ``modified_at``: S3's LastModified, which with the ETag identifies an object without a version id; "" if
    unknown. ``since``: since when the object exists, if nobody could tell so far whether it has run; "" if
    ``created_at`` tells.
    """

    bucket: str
    key: str
    version_id: str
    etag: str
    created_at: str
    sequencer: str = ""
    modified_at: str = ""
    since: str = ""

    @property
    def upload_id(self) -> str:
        """The upload id, which is the same whether an event or a sweep found the object.

        Without a version id, it depends on the ETag and ``modified_at``, which any reader of the object
        sees. Only the event has the sequencer; it is used if the object was deleted before it was read.
        """
        seen = f"{self.etag}/{self.modified_at}" if self.modified_at else self.sequencer
        return names.upload_id(self.bucket, self.key, self.version_id or seen)


def new_objects(event: Mapping[str, Any]) -> Iterator[NewObject]:
    """Yields the objects in an S3 event. Its keys are URL-encoded (S3 User Guide, event structure)."""
    for record in event.get("Records", []):
        if not record.get("eventName", "").startswith("ObjectCreated:"):
            continue
        thing = record["s3"]["object"]
        yield NewObject(
            bucket=record["s3"]["bucket"]["name"],
            key=unquote_plus(thing["key"]),
            # With versioning suspended, the version id is "null", which does not identify one exact object.
            version_id=thing.get("versionId", "").removeprefix("null"),
            etag=thing.get("eTag") or "",
            sequencer=thing.get("sequencer") or "",
            created_at=names.iso(names.epoch(record["eventTime"])),
        )


def why_not(bucket: str, key: str, settings: Settings) -> str:
    """Returns why an object is not an upload of this queue, or "" if it is."""
    if bucket != settings.bucket:
        return "it is in another bucket"
    if not key.startswith(settings.input_prefix):
        return f"it is not under {settings.input_prefix}"
    if key.endswith("/"):
        return "it is a folder marker"
    return "" if key.endswith(".jsonl") else "its name does not end with .jsonl"


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """An exact object, identified by its version id or, without one, by its ETag (without quotes)."""

    key: str
    version_id: str = ""
    etag: str = ""
