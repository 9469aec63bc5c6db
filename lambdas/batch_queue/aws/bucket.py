"""Adapter for S3: streams uploads, copies exact object versions, and writes results."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from batch_queue.core.joining import Span, gathered, plan_parts
from batch_queue.core.objects import ObjectRef

from .pool import at_once

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


BLOCK_BYTES = 1 << 20
_MIB = 1 << 20
# UploadPartCopy copies a range only from an object larger than 5 MB, in parts of 5 MiB to 5 GiB
# (S3 API reference); a single CopyObject copies at most 5 GB.
MIN_RANGE_COPY_SOURCE = 5 * _MIB + 1
MAX_SINGLE_COPY = 1024 * _MIB
PUT_PART_BYTES = 16 * _MIB
_GONE = {"NoSuchKey", "NoSuchVersion", "404", "412", "PreconditionFailed"}
_ARCHIVED = {"InvalidObjectState", "ObjectNotInActiveTierError"}
_DENIED = {"403", "AccessDenied"}
STREAMED_AT_ONCE = 4  # parts, which are in memory: up to 20 MiB each
_DELETED_AT_ONCE = 1000  # DeleteObjects accepts at most 1,000 keys


class ObjectGoneError(Exception):
    """The object version no longer exists. ``told`` is the message for the user."""

    told = "The object was deleted before its records ran. Upload it again."


class ObjectArchivedError(ObjectGoneError):
    """The object exists, but is archived and must be restored before it can be read."""

    told = "The object is archived and cannot be read. Restore it, then upload it again."


class ObjectDeniedError(Exception):
    """S3 denied access to an object; the text is S3's. A change to an IAM or key policy can fix it."""


class Bucket:
    """Reads and writes the objects of one bucket. ``kms_key_arn``: "" for the bucket's default encryption."""

    def __init__(self, client: S3Client, name: str, kms_key_arn: str = "") -> None:
        self._s3 = client
        self.name = name
        self._encryption: dict[str, Any] = (
            {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key_arn} if kms_key_arn else {}
        )

    # ---------------------------------------------------------------------------------------------- read

    def size(self, ref: ObjectRef) -> int:
        """Returns the object's size in bytes. Raises ObjectGoneError, ObjectDeniedError."""
        with _gone(ref):
            return self._s3.head_object(Bucket=self.name, Key=ref.key, **_exactly(ref))["ContentLength"]

    def identity(self, ref: ObjectRef) -> tuple[str, float]:
        """Returns an object's ETag (without quotes) and its last-modified time in epoch seconds.

        Raises ObjectGoneError, ObjectDeniedError.
        """
        with _gone(ref):
            found = self._s3.head_object(Bucket=self.name, Key=ref.key, **_exactly(ref))
        return found["ETag"].strip('"'), int(found["LastModified"].timestamp())

    def stream(self, ref: ObjectRef, span: tuple[int, int] | None = None) -> Iterator[bytes]:
        """Yields the object's bytes in blocks; only bytes ``[start, end)`` if ``span`` is given.

        Raises ObjectGoneError, ObjectDeniedError.
        """
        arguments: dict[str, Any] = _exactly(ref)
        if span is not None:
            arguments["Range"] = f"bytes={span[0]}-{span[1] - 1}"
        with _gone(ref):
            body = self._s3.get_object(Bucket=self.name, Key=ref.key, **arguments)["Body"]
        try:
            yield from body.iter_chunks(BLOCK_BYTES)
        finally:
            body.close()

    def read(self, key: str, most: int = BLOCK_BYTES) -> bytes:
        """Returns the first ``most`` bytes of an object. Raises ObjectGoneError, ObjectDeniedError."""
        blocks = self.stream(ObjectRef(key))
        return b"".join(islice(blocks, math.ceil(most / BLOCK_BYTES)))[:most]

    def read_json(self, key: str) -> Any:
        """Returns a JSON document that the queue wrote. Raises ObjectGoneError, ObjectDeniedError."""
        return json.loads(b"".join(self.stream(ObjectRef(key))))

    def keys(self, prefix: str) -> set[str]:
        """Returns the keys of all objects under a prefix."""
        return set(self.sizes_below(prefix))

    def sizes_below(self, prefix: str) -> dict[str, int]:
        """Returns key → size in bytes of all objects under a prefix."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return {found["Key"]: found["Size"] for page in pages for found in page.get("Contents", [])}

    def readable_sizes(self, keys: Iterable[str]) -> dict[str, int]:
        """Returns key → size in bytes of those of many objects that exist and can be read."""

        def size(key: str) -> tuple[str, int | None]:
            try:
                return key, self.size(ObjectRef(key))
            except (ObjectGoneError, ObjectDeniedError):
                return key, None

        return {key: found for key, found in at_once(size, keys) if found is not None}

    def missing(self, keys: Iterable[str]) -> set[str]:
        """Returns those of these keys that no object has. Raises ObjectDeniedError."""

        def gone(key: str) -> str:
            try:
                self.size(ObjectRef(key))
            except ObjectGoneError:
                return key
            return ""

        return set(at_once(gone, keys)) - {""}

    # --------------------------------------------------------------------------------------------- write

    def put_json(self, key: str, document: Any) -> None:
        """Writes a small JSON document for people to read."""
        body = json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "replace")
        self._s3.put_object(
            Bucket=self.name,
            Key=key,
            Body=body,
            ContentType="application/json; charset=utf-8",
            **self._encryption,
        )

    def copy(self, source: ObjectRef, key: str, start: int, end: int, *, whole: bool) -> str:
        """Copies bytes ``[start, end)`` of an exact object to ``key`` without moving data through here.

        ``whole``: they are all of its bytes. Streams a range if the object may be too small for S3 to copy
        one. The new object becomes visible only when it is complete. Returns its version id ("" on an
        unversioned bucket). Raises ObjectGoneError, ObjectDeniedError.
        """
        with _gone(source):
            if whole and end - start <= MAX_SINGLE_COPY:
                return self._copy_object(source, key)
            if end < MIN_RANGE_COPY_SOURCE:
                return self.put_stream(key, self.stream(source, (start, end)))
            return self._copy_parts(source, start, end, key)

    def copy_all(
        self, sources: Mapping[str, str], sizes: Mapping[str, int], out_of_time: Callable[[], bool]
    ) -> tuple[set[str], bool]:
        """Copies objects in parallel. ``sources`` maps each new key to the key of its source.

        ``sizes``: source key → size in bytes. Returns the source keys that do not exist or cannot be read,
        and whether all others are copied: when ``out_of_time`` returns True, no further copy begins.
        """

        def failed(key: str) -> str | None:
            if out_of_time():
                return None
            try:
                self.copy(ObjectRef(sources[key]), key, 0, sizes[sources[key]], whole=True)
            except (ObjectGoneError, ObjectDeniedError):
                return sources[key]
            return ""

        found = set(at_once(failed, sources))
        return {source for source in found if source}, None not in found

    def concatenate(self, keys: Sequence[str], key: str, known: Mapping[str, int] | None = None) -> str:
        """Joins objects, in order, into one at ``key``, which becomes visible only when it is complete.

        ``known``: key → size in bytes of those whose size is known; S3 is asked about the others. S3 copies
        what is large enough, many parts at once; the rest is streamed, in parts of up to 10 MiB.
        Returns the version id ("" on an unversioned bucket). Raises ObjectGoneError, ObjectDeniedError,
        TooManyPartsError.
        """
        sizes = self._sizes(keys, known or {})
        if len(keys) == 1:
            return self.copy(ObjectRef(keys[0]), key, 0, sizes[0], whole=True)
        parts = plan_parts(sizes)

        def content(part: tuple[Span, ...]) -> bytes:
            pieces = (
                self.stream(ObjectRef(keys[span.source]), (span.start, span.end))
                for span in part
                if span.size
            )
            return b"".join(chain.from_iterable(pieces))

        if len(parts) <= 1:
            body = content(parts[0]) if parts else b""
            answer = self._s3.put_object(Bucket=self.name, Key=key, Body=body, **self._encryption)
            return answer.get("VersionId", "")

        def is_copied(number: int) -> bool:
            part = parts[number - 1]
            return len(part) == 1 and sizes[part[0].source] >= MIN_RANGE_COPY_SOURCE

        def upload(target: Any) -> list[str]:
            def copied(number: int) -> str:
                (only,) = parts[number - 1]
                return self._copy_part(target, number, ObjectRef(keys[only.source]), only)

            def streamed(number: int) -> str:
                body = content(parts[number - 1])
                return self._s3.upload_part(**target, PartNumber=number, Body=body)["ETag"]

            numbers = range(1, len(parts) + 1)
            large = [number for number in numbers if is_copied(number)]
            small = [number for number in numbers if not is_copied(number)]
            etags = dict(zip(large, at_once(copied, large), strict=True))
            etags.update(zip(small, at_once(streamed, small, STREAMED_AT_ONCE), strict=True))
            return [etags[number] for number in numbers]

        return self._multipart(key, upload)

    def _sizes(self, keys: Sequence[str], known: Mapping[str, int]) -> list[int]:
        """Returns the sizes of objects in bytes. Raises ObjectGoneError, ObjectDeniedError."""
        asked = list(dict.fromkeys(key for key in keys if key not in known))
        found = dict(zip(asked, at_once(lambda key: self.size(ObjectRef(key)), asked), strict=True))
        return [known[key] if key in known else found[key] for key in keys]

    def put_stream(self, key: str, blocks: Iterable[bytes]) -> str:
        """Writes a stream of bytes in bounded memory; the object becomes visible only when it is complete.

        Returns its version id ("" on an unversioned bucket).
        """
        parts = gathered(blocks, PUT_PART_BYTES)
        first = next(parts, b"")
        second = next(parts, None)
        if second is None:
            answer = self._s3.put_object(Bucket=self.name, Key=key, Body=first, **self._encryption)
            return answer.get("VersionId", "")

        def upload(target: Any) -> Iterator[str]:
            for number, body in enumerate(chain((first, second), parts), start=1):
                yield self._s3.upload_part(**target, PartNumber=number, Body=body)["ETag"]

        return self._multipart(key, upload)

    # -------------------------------------------------------------------------------------------- delete

    def delete(self, keys: Sequence[str]) -> None:
        """Deletes objects, if they exist."""
        for at in range(0, len(keys), _DELETED_AT_ONCE):
            some = keys[at : at + _DELETED_AT_ONCE]
            answer = self._s3.delete_objects(
                Bucket=self.name, Delete={"Objects": [{"Key": key} for key in some], "Quiet": True}
            )
            for error in answer.get("Errors", []):  # the call itself succeeds
                told: Any = {"Code": error.get("Code", ""), "Message": error.get("Message", "")}
                raise ClientError({"Error": told}, "DeleteObjects")

    def delete_folder(self, prefix: str) -> None:
        """Deletes all objects under a prefix, and the parts of multipart uploads that were not completed."""
        where: Any = {"Bucket": self.name, "Prefix": prefix}
        for page in self._s3.get_paginator("list_objects_v2").paginate(**where):
            self.delete([found["Key"] for found in page.get("Contents", [])])
        for unfinished in self._s3.get_paginator("list_multipart_uploads").paginate(**where):
            for upload in unfinished.get("Uploads", []):
                self._abort(upload["Key"], upload["UploadId"])

    def _abort(self, key: str, upload_id: str) -> None:
        try:
            self._s3.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=upload_id)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchUpload":  # else another run has aborted it
                raise

    # -------------------------------------------------------------------------------------------- pieces

    def _copy_object(self, ref: ObjectRef, key: str) -> str:
        # Tags are not copied: that would need two more permissions, and the copy does not use them.
        answer = self._s3.copy_object(
            Bucket=self.name,
            Key=key,
            TaggingDirective="REPLACE",
            **self.copy_source(ref),
            **self._encryption,
        )
        return answer.get("VersionId", "")

    def _copy_parts(self, ref: ObjectRef, start: int, end: int, key: str) -> str:
        spans = [Span(0, start + part[0].start, start + part[0].end) for part in plan_parts([end - start])]

        def upload(target: Any) -> list[str]:
            return at_once(
                lambda numbered: self._copy_part(target, numbered[0], ref, numbered[1]),
                list(enumerate(spans, start=1)),
            )

        return self._multipart(key, upload)

    def _copy_part(self, target: Any, number: int, ref: ObjectRef, span: Span) -> str:
        copied = self._s3.upload_part_copy(
            **target,
            **self.copy_source(ref),
            PartNumber=number,
            CopySourceRange=f"bytes={span.start}-{span.end - 1}",
        )
        return copied["CopyPartResult"]["ETag"]

    def _multipart(self, key: str, upload: Callable[[Any], Iterable[str]]) -> str:
        """Creates an object from parts; ``upload`` uploads them and yields their ETags in order."""
        made = self._s3.create_multipart_upload(Bucket=self.name, Key=key, **self._encryption)
        target: Any = {"Bucket": self.name, "Key": key, "UploadId": made["UploadId"]}
        try:
            parts: list[Any] = [
                {"PartNumber": number, "ETag": etag} for number, etag in enumerate(upload(target), start=1)
            ]
            answer = self._s3.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
        except BaseException:
            self._s3.abort_multipart_upload(**target)
            raise
        return answer.get("VersionId", "")

    def copy_source(self, ref: ObjectRef) -> dict[str, Any]:
        """Returns the arguments of CopyObject and UploadPartCopy that name an exact object as the source."""
        source = {"Bucket": self.name, "Key": ref.key}
        if ref.version_id:
            return {"CopySource": {**source, "VersionId": ref.version_id}}
        return {"CopySource": source, **({"CopySourceIfMatch": f'"{ref.etag}"'} if ref.etag else {})}


def _exactly(ref: ObjectRef) -> dict[str, Any]:
    if ref.version_id:
        return {"VersionId": ref.version_id}
    return {"IfMatch": f'"{ref.etag}"'} if ref.etag else {}


@contextmanager
def _gone(ref: ObjectRef) -> Iterator[None]:
    """Converts S3 errors about an object that cannot be read to ObjectGoneError or ObjectDeniedError."""
    exact = f"{ref.key} ({ref.version_id or ref.etag or 'current version'})"
    try:
        yield
    except ClientError as error:
        code, text = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        if code in _GONE:
            raise ObjectGoneError(exact) from error
        if code in _ARCHIVED:
            raise ObjectArchivedError(exact) from error
        if code in _DENIED or code.startswith("KMS."):
            raise ObjectDeniedError(f"{code}: {text}") from error
        raise
