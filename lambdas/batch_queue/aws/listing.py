"""Adapter for S3: lists the versions of uploads, and what the queue has written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True)
class Version:
    """A version of an object. ``version_id``: "" if it has none; ``modified``: epoch seconds."""

    key: str
    version_id: str
    etag: str
    modified: float
    current: bool


class Listing:
    """Lists the objects of one bucket."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._s3 = client
        self._bucket = bucket

    def current(self, prefix: str, after: str = "") -> Iterator[tuple[list[Version], str]]:
        """Yields pages of the current versions of the objects under a prefix, in key order.

        Each page comes with its last key; pass that key as ``after`` to continue with the next page.
        botocore requests URL-encoded keys and decodes them, so a key may contain any character.
        """
        marker: dict[str, Any] = {"KeyMarker": after} if after else {}
        while True:
            page = self._s3.list_object_versions(Bucket=self._bucket, Prefix=prefix, **marker)
            versions, deleted = page.get("Versions", []), page.get("DeleteMarkers", [])
            found = [_version(entry) for entry in versions if entry["IsLatest"]]
            yield found, max((entry["Key"] for entry in (*versions, *deleted)), default="")
            if not page.get("IsTruncated"):
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


def _version(entry: Any) -> Version:
    return Version(
        key=entry["Key"],
        # Uploaded before versioning was enabled or while it was suspended.
        version_id="" if entry["VersionId"] == "null" else entry["VersionId"],
        etag=entry["ETag"].strip('"'),
        modified=entry["LastModified"].timestamp(),
        current=entry["IsLatest"],
    )
