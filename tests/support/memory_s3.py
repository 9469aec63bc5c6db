"""S3's client in memory: one versioned bucket. Calls take their time (``meter.py``); none is throttled."""

from __future__ import annotations

import bisect
import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from tests.support.meter import Meter

_PAGE = 1000
_SLOW = "to-process/"


@dataclass(frozen=True, slots=True)
class Version:
    """A version of an object; ``body`` is None for a delete marker."""

    version_id: str
    body: bytes | None
    etag: str
    modified: datetime


class Body:
    """The body of an object. Whoever reads it works ``pace`` seconds for each byte."""

    def __init__(self, meter: Meter, key: str, content: bytes, pace: float, block: int) -> None:
        self._meter = meter
        self._key = key
        self._content = content
        self._pace = pace
        self._block = block

    def iter_chunks(self, size: int) -> Iterator[bytes]:
        """Yields the content in blocks, and marks when a function has read the last one."""
        step = min(size, self._block)
        for at in range(0, len(self._content), step):
            block = self._content[at : at + step]
            self._meter.work(self._pace * len(block))
            yield block
        if (invocation := self._meter.invocation) is not None:
            self._meter.marks[f"{invocation.function} read {self._key}"] = self._meter.turns.now

    def read(self, most: int | None = None) -> bytes:
        found, self._content = self._content[:most], self._content[len(self._content[:most]) :]
        self._meter.work(self._pace * len(found))
        return found

    def close(self) -> None:
        """Nothing is open."""


class MemoryS3:
    """Stands for boto3's client. ``pace``: the seconds of CPU that a byte of an upload takes its reader.

    ``block``: the most bytes that a read of a body gives.
    """

    def __init__(self, meter: Meter, pace: float = 0.0, block: int = 1 << 20) -> None:
        self._meter = meter
        self._pace = pace
        self._block = block
        self._versions = defaultdict[str, list[Version]](list)
        self._current: list[str] = []
        self._parts: dict[str, tuple[str, dict[int, bytes]]] = {}
        self._ids = itertools.count(1)

    # ------------------------------------------------------------------------------------- past the API

    def store(self, key: str, body: bytes | None, etag: str = "") -> Version:
        """Stores a version of an object, or a delete marker."""
        number = next(self._ids)
        now = datetime.fromtimestamp(self._meter.turns.now, UTC)
        version = Version(f"v{number:012d}", body, etag or f'"{number:032x}"', now)
        had, at = self.body(key) is not None, bisect.bisect_left(self._current, key)
        if body is not None and not had:
            self._current.insert(at, key)
        elif body is None and had:
            del self._current[at]
        self._versions[key].append(version)
        return version

    def body(self, key: str) -> bytes | None:
        """The current content of an object, or None."""
        versions = self._versions.get(key)
        return versions[-1].body if versions else None

    def below(self, prefix: str, after: str = "") -> Iterator[str]:
        """Yields the keys of the current objects under a prefix, in order."""
        first = bisect.bisect_right(self._current, after) if after > prefix else None
        at = bisect.bisect_left(self._current, prefix) if first is None else first
        for key in itertools.islice(self._current, at, None):
            if not key.startswith(prefix):
                return
            yield key

    def _found(self, operation: str, key: str, version_id: str = "", if_match: str = "") -> Version:
        versions = self._versions.get(key, [])
        wanted = (one for one in reversed(versions) if one.version_id == (version_id or one.version_id))
        found = next(wanted, None)
        if found is None or found.body is None:
            raise refused("NoSuchVersion" if version_id else "NoSuchKey", 404, operation)
        if if_match and if_match.strip('"') != found.etag.strip('"'):
            raise refused("PreconditionFailed", 412, operation)
        return found

    # ---------------------------------------------------------------------------------------------- read

    def get_object(self, **call: Any) -> dict[str, Any]:
        self._meter.call("GetObject")
        found = self._found("GetObject", call["Key"], call.get("VersionId", ""), call.get("IfMatch", ""))
        content = _part(found, call.get("Range", ""))
        pace = self._pace if call["Key"].startswith(_SLOW) else 0.0
        body = Body(self._meter, call["Key"], content, pace, self._block)
        return {**_told(found), "ContentLength": len(content), "Body": body}

    def head_object(self, **call: Any) -> dict[str, Any]:
        self._meter.call("HeadObject")
        found = self._found("HeadObject", call["Key"], call.get("VersionId", ""), call.get("IfMatch", ""))
        return _told(found)

    def list_objects_v2(self, **call: Any) -> dict[str, Any]:
        self._meter.call("ListObjectsV2")
        page, more = self._page(call, call.get("ContinuationToken", ""))
        found = [{"Key": key, **_listed(self._versions[key][-1])} for key in page]
        marks = {"NextContinuationToken": page[-1]} if more else {}
        contents = {"Contents": found} if found else {}
        return {"IsTruncated": more, "KeyCount": len(page), **marks, **contents}

    def list_object_versions(self, **call: Any) -> dict[str, Any]:
        """The versions of current objects only: of nothing else are they asked for here."""
        self._meter.call("ListObjectVersions")
        page, more = self._page(call, call.get("KeyMarker", ""))
        versions = [
            {"Key": key, "VersionId": one.version_id, "IsLatest": at == 0, **_listed(one)}
            for key in page
            for at, one in enumerate(reversed(self._versions[key]))
            if one.body is not None
        ]
        return {"IsTruncated": more, "Versions": versions, **({"NextKeyMarker": page[-1]} if more else {})}

    def _page(self, call: Mapping[str, Any], after: str) -> tuple[list[str], bool]:
        """The keys of a page, and whether there are more."""
        most = call.get("MaxKeys", _PAGE)
        keys = list(itertools.islice(self.below(call.get("Prefix", ""), after), most + 1))
        return keys[:most], len(keys) > most

    def list_multipart_uploads(self, **call: Any) -> dict[str, Any]:
        self._meter.call("ListMultipartUploads")
        begun = {name: key for name, (key, _) in self._parts.items() if key.startswith(call["Prefix"])}
        found = [{"Key": key, "UploadId": name} for name, key in begun.items()]
        return {"IsTruncated": False, **({"Uploads": found} if found else {})}

    def get_paginator(self, operation: str) -> Paginator:
        return Paginator(getattr(self, operation))

    # --------------------------------------------------------------------------------------------- write

    def put_object(self, **call: Any) -> dict[str, Any]:
        self._meter.call("PutObject")
        return _stored(self.store(call["Key"], _bytes(call["Body"])))

    def copy_object(self, **call: Any) -> dict[str, Any]:
        self._meter.call("CopyObject")
        source = self._source("CopyObject", call)
        return _stored(self.store(call["Key"], source.body, source.etag))

    def _source(self, operation: str, call: Mapping[str, Any]) -> Version:
        source, only = call["CopySource"], call.get("CopySourceIfMatch", "")
        return self._found(operation, source["Key"], source.get("VersionId", ""), only)

    def delete_object(self, **call: Any) -> dict[str, Any]:
        self._meter.call("DeleteObject")
        self._delete(call["Key"])
        return {}

    def delete_objects(self, **call: Any) -> dict[str, Any]:
        self._meter.call("DeleteObjects")
        assert len(call["Delete"]["Objects"]) <= _PAGE
        for one in call["Delete"]["Objects"]:
            self._delete(one["Key"])
        return {}

    def _delete(self, key: str) -> None:
        if self.body(key) is not None:
            self.store(key, None)

    # ---------------------------------------------------------------------------------------- multipart

    def create_multipart_upload(self, **call: Any) -> dict[str, Any]:
        self._meter.call("CreateMultipartUpload")
        name = f"upload-{next(self._ids)}"
        self._parts[name] = (call["Key"], {})
        return {"UploadId": name}

    def upload_part(self, **call: Any) -> dict[str, Any]:
        self._meter.call("UploadPart")
        return {"ETag": self._add(call, _bytes(call["Body"]))}

    def upload_part_copy(self, **call: Any) -> dict[str, Any]:
        self._meter.call("UploadPartCopy")
        content = _part(self._source("UploadPartCopy", call), call.get("CopySourceRange", ""))
        return {"CopyPartResult": {"ETag": self._add(call, content)}}

    def _add(self, call: Mapping[str, Any], content: bytes) -> str:
        self._parts[call["UploadId"]][1][call["PartNumber"]] = content
        return f'"{call["PartNumber"]}"'

    def complete_multipart_upload(self, **call: Any) -> dict[str, Any]:
        self._meter.call("CompleteMultipartUpload")
        parts = self._parts.pop(call["UploadId"])[1]
        numbers = [part["PartNumber"] for part in call["MultipartUpload"]["Parts"]]
        return _stored(self.store(call["Key"], b"".join(parts[number] for number in numbers)))

    def abort_multipart_upload(self, **call: Any) -> dict[str, Any]:
        self._meter.call("AbortMultipartUpload")
        self._parts.pop(call["UploadId"], None)
        return {}


class Paginator:
    """Yields the pages of a listing."""

    def __init__(self, operation: Any) -> None:
        self._operation = operation

    def paginate(self, **arguments: Any) -> Iterator[dict[str, Any]]:
        """Yields pages; ``ContinuationToken`` and ``KeyMarker`` are those of the page before."""
        call = partial(self._operation, **arguments)
        page = call()
        yield page
        while page.get("IsTruncated"):
            if "NextContinuationToken" in page:
                page = call(ContinuationToken=page["NextContinuationToken"])
            else:
                page = call(KeyMarker=page["NextKeyMarker"])
            yield page


def refused(code: str, status: int, operation: str) -> ClientError:
    """An error as botocore raises it."""
    answer: Any = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, operation)


def _part(version: Version, span: str) -> bytes:
    """The bytes ``bytes=<first>-<last>`` of an object, or all of them."""
    assert version.body is not None
    if not span:
        return version.body
    first, last = span.removeprefix("bytes=").split("-")
    return version.body[int(first) : int(last) + 1]


def _bytes(body: Any) -> bytes:
    return bytes(body) if isinstance(body, bytes | bytearray | memoryview) else body.read()


def _listed(version: Version) -> dict[str, Any]:
    assert version.body is not None
    return {"ETag": version.etag, "LastModified": version.modified, "Size": len(version.body)}


def _told(version: Version) -> dict[str, Any]:
    told = _listed(version)
    return {**told, "ContentLength": told.pop("Size"), "VersionId": version.version_id}


def _stored(version: Version) -> dict[str, Any]:
    return {"VersionId": version.version_id, "ETag": version.etag, "CopyObjectResult": {"ETag": version.etag}}
