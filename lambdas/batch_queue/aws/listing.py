"""Adapter for S3: lists the versions of uploads, and what the queue has written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from heapq import merge
from typing import TYPE_CHECKING, Any

from batch_queue.core import names
from batch_queue.core.objects import NewObject
from batch_queue.core.records import dataclass

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True)
class Version:
    """A version of an object. ``version_id``: "" if it has none; ``modified``: epoch seconds.

    ``overwritten``: when another version took its place (epoch seconds); None if none has, also if the object
    was deleted.
    """

    key: str
    version_id: str
    etag: str
    modified: float
    current: bool
    overwritten: float | None = None

    def object(self, bucket: str, created_at: str = "") -> NewObject:
        """Returns the object as its event would describe it, but waiting since ``created_at`` (ISO 8601)."""
        return NewObject(
            bucket=bucket,
            key=self.key,
            version_id=self.version_id,
            etag=self.etag,
            created_at=created_at,
            modified_at="" if self.version_id else names.iso(int(self.modified)),
        )


class Listing:
    """Lists the objects of one bucket."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._s3 = client
        self._bucket = bucket

    def versions(self, prefix: str, after: str = "") -> Iterator[tuple[list[Version], str]]:
        """Yields pages of the versions of the objects under a prefix, in key order, the newest of each first.

        The versions of an object are on one page, however many they are. Each page comes with the last key
        that was listed for it; pass a key as ``after`` to begin behind it. botocore requests URL-encoded keys
        and decodes them, so a key may contain any character.
        """
        marker: dict[str, Any] = {"KeyMarker": after} if after else {}
        newer: Any = None
        held: list[Version] = []
        while True:
            page = self._s3.list_object_versions(Bucket=self._bucket, Prefix=prefix, **marker)
            listed = merge(page.get("Versions", []), page.get("DeleteMarkers", []), key=_in_order)
            entries = [entry for entry in listed if entry["Key"] > after]
            for entry in entries:
                if _is_version(entry):
                    replaced = newer is not None and newer["Key"] == entry["Key"] and _is_version(newer)
                    time = newer["LastModified"].timestamp() if replaced else None
                    held.append(replace(_version(entry), overwritten=time))
                newer = entry
            more = page.get("IsTruncated", False)
            keys = [entry["Key"] for entry in entries]
            complete = [key for key in keys if not more or key != keys[-1]]
            if complete:
                yield [one for one in held if one.key <= complete[-1]], complete[-1]
                held = [one for one in held if one.key > complete[-1]]
            if not more:
                return
            marker = {"KeyMarker": page["NextKeyMarker"]}
            if version_id := page.get("NextVersionIdMarker"):
                marker["VersionIdMarker"] = version_id

    def versions_of(self, key: str) -> list[Version]:
        """Returns the versions of one object, newest first: up to a page of them (1,000)."""
        page = self._s3.list_object_versions(Bucket=self._bucket, Prefix=key)
        return [_version(entry) for entry in page.get("Versions", []) if entry["Key"] == key]

    def pages_of_keys(self, prefix: str) -> Iterator[list[str]]:
        """Yields the keys of the objects under a prefix, a page at a time."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        for page in pages:
            yield [found["Key"] for found in page.get("Contents", [])]

    def has_any(self, prefix: str) -> bool:
        """Returns whether there is an object under a prefix."""
        return bool(self._s3.list_objects_v2(Bucket=self._bucket, Prefix=prefix, MaxKeys=1).get("Contents"))

    def has_any_version(self, prefix: str) -> bool:
        """Returns whether there is a version of an object, or a delete marker, under a prefix."""
        page = self._s3.list_object_versions(Bucket=self._bucket, Prefix=prefix, MaxKeys=1)
        return bool(page.get("Versions") or page.get("DeleteMarkers"))


def _in_order(entry: Any) -> tuple[str, float]:
    return entry["Key"], -entry["LastModified"].timestamp()


def _is_version(entry: Any) -> bool:
    return "ETag" in entry  # a delete marker has none


def _version(entry: Any) -> Version:
    return Version(
        key=entry["Key"],
        # Uploaded before versioning was enabled or while it was suspended.
        version_id="" if entry["VersionId"] == "null" else entry["VersionId"],
        etag=entry["ETag"].strip('"'),
        modified=entry["LastModified"].timestamp(),
        current=entry["IsLatest"],
    )
