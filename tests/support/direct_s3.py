"""moto's S3 without HTTP: the commonest calls of botocore's clients are answered from moto's own store.

moto itself answers whatever is not plain: a call with more options, an object with more than its content, and
each error. Nothing is signed, sent as XML and parsed again, which takes ten times as long. Checksums, which
botocore sends by default, are left out.
``tests/unit/test_direct_s3.py`` compares the answers.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.response import StreamingBody
from moto.core.utils import unix_time_millis
from moto.s3.models import FakeBucket, FakeKey, S3Backend, s3_backends
from moto.settings import get_s3_default_max_keys

Call = Mapping[str, Any]
Answer = dict[str, Any]

_PARAMETERS = "direct_s3_parameters"
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")
_OWNER = {
    "ID": "75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a",
    "DisplayName": "webfile",
}


class NotPlainError(Exception):
    """moto itself has to answer."""


def install(client: Any, account: str) -> None:
    """Answers what is plain of a client's calls while moto mocks AWS."""

    def keep(params: Any, context: Any, **_: Any) -> None:
        context[_PARAMETERS] = params

    def answer(model: Any, params: Any, **_: Any) -> tuple[AWSResponse, Answer] | None:
        operation = _OPERATIONS.get(model.name)
        call = params["context"].get(_PARAMETERS)
        if operation is None or call is None or not call.keys() <= operation[1]:
            return None
        backend = s3_backends[account]["aws"]
        bucket = backend.buckets.get(call["Bucket"])
        if not isinstance(bucket, FakeBucket) or bucket.policy or bucket.encryption:
            return None
        try:
            told = operation[0](backend, bucket, call)
        except NotPlainError:
            return None
        status = told.pop("HTTPStatusCode", 200)
        metadata = {"HTTPStatusCode": status, "RequestId": "", "HTTPHeaders": {}, "RetryAttempts": 0}
        response = AWSResponse(params["url"], status, HTTPHeaders(), io.BytesIO(b""))
        return response, {**told, "ResponseMetadata": metadata}

    client.meta.events.register("before-parameter-build.s3.*", keep)
    client.meta.events.register("before-call.s3.*", answer)


def _plain(found: Any) -> FakeKey:
    """An object that is nothing but its content. Raises NotPlainError for another, or none."""
    if not isinstance(found, FakeKey):
        raise NotPlainError
    more = (found.encryption, found._expiry, found.website_redirect_location, found.checksum_algorithm)
    locks = (found.lock_mode, found.lock_legal_status, found.lock_until)
    if any(more) or any(locks) or found._storage_class != "STANDARD" or len(found.metadata) != 1:
        raise NotPlainError
    return found


def _found(bucket: FakeBucket, call: Call) -> FakeKey:
    """The version that a call names. Raises NotPlainError if S3 refuses it, or it is not plain."""
    version_id = call.get("VersionId")
    versions = bucket.keys.getlist(call["Key"], [])
    if version_id is None:
        found = versions[-1] if versions else None
    else:
        found = next((one for one in versions if one.version_id == version_id), None)
    plain = _plain(found)
    if "IfMatch" in call and call["IfMatch"].strip('"') != plain.etag.strip('"'):
        raise NotPlainError
    return plain


def _time(moment: datetime) -> datetime:
    return moment.replace(microsecond=0, tzinfo=UTC)


def _version(key: FakeKey) -> Answer:
    return {"VersionId": key.version_id} if key._is_versioned else {}


def _told(key: FakeKey) -> Answer:
    return {
        "AcceptRanges": "bytes",
        "LastModified": _time(key.last_modified),
        "ContentLength": key.size,
        "ETag": key.etag,
        **_version(key),
        "ContentType": key.metadata["Content-Type"],
        "Metadata": {},
    }


def _get_object(_: S3Backend, bucket: FakeBucket, call: Call) -> Answer:
    key = _found(bucket, call)
    told, start, size = _told(key), 0, key.size
    if "Range" in call:
        match = _RANGE.fullmatch(call["Range"])
        if match is None or not int(match[1]) <= int(match[2]) or int(match[1]) >= key.size:
            raise NotPlainError
        start, end = int(match[1]), min(int(match[2]) + 1, key.size)
        size = end - start
        told |= {
            "ContentLength": size,
            "ContentRange": f"bytes {start}-{end - 1}/{key.size}",
            "HTTPStatusCode": 206,
        }
    with key.lock:
        key._value_buffer.seek(start)
        content = key._value_buffer.read(size)
    return {**told, "Body": StreamingBody(io.BytesIO(content), size)}  # type: ignore[arg-type]


def _head_object(_: S3Backend, bucket: FakeBucket, call: Call) -> Answer:
    return _told(_found(bucket, call))


def _put_object(backend: S3Backend, bucket: FakeBucket, call: Call) -> Answer:
    body = call.get("Body", b"")
    if not isinstance(body, bytes | io.BytesIO) or bucket.object_lock_enabled:
        raise NotPlainError
    content = body if isinstance(body, bytes) else body.read()
    key = backend.put_object(bucket.name, call["Key"], content, storage="STANDARD")
    if "ContentType" in call:
        key.set_metadata({"Content-Type": call["ContentType"]})
    key.set_acl(bucket.acl)
    return {"ETag": key.etag, **_version(key)}


def _copy_object(backend: S3Backend, bucket: FakeBucket, call: Call) -> Answer:
    path, _, version_id = str(call["CopySource"]).partition("?versionId=")
    source_bucket, _, source_key = unquote(path).lstrip("/").partition("/")
    if source_bucket != bucket.name or source_key == call["Key"] or bucket.object_lock_enabled:
        raise NotPlainError
    wanted = {"Key": source_key, **({"VersionId": version_id} if version_id else {})}
    if "CopySourceIfMatch" in call:
        wanted["IfMatch"] = call["CopySourceIfMatch"]
    source = _found(bucket, wanted)
    backend.copy_object(source, bucket.name, call["Key"], metadata={}, provided_version_id=version_id or None)
    key = bucket.keys[call["Key"]]
    key.set_acl(bucket.acl)
    told = {"CopyObjectResult": {"ETag": key.etag, "LastModified": _time(key.last_modified)}, **_version(key)}
    return {**told, **({"CopySourceVersionId": source.version_id} if source.version_id != "null" else {})}


def _most(call: Call) -> int:
    most = int(call.get("MaxKeys", get_s3_default_max_keys()))
    if most < 1:
        raise NotPlainError
    return most


def _list_objects(_: S3Backend, bucket: FakeBucket, call: Call) -> Answer:
    prefix, most = call.get("Prefix", ""), _most(call)
    names = sorted(name for name in bucket.keys if name.startswith(prefix))
    current = [one for one in (bucket.keys[name] for name in names) if isinstance(one, FakeKey)]
    if len(current) > most or any(key.checksum_algorithm for key in current):
        raise NotPlainError
    contents = [
        {
            "Key": key.name,
            "LastModified": _time(key.last_modified),
            "ETag": key.etag,
            "Size": key.size,
            "StorageClass": key.storage_class,
        }
        for key in current
    ]
    told = {"IsTruncated": False, "Name": bucket.name, "Prefix": prefix, "MaxKeys": most}
    return {**told, "KeyCount": len(contents), **({"Contents": contents} if contents else {})}


def _list_object_versions(_: S3Backend, bucket: FakeBucket, call: Call) -> Answer:
    prefix, most = call.get("Prefix", ""), _most(call)
    found = [one for name in bucket.keys if name.startswith(prefix) for one in bucket.keys.getlist(name)]
    found.sort(key=lambda one: (one.name, -unix_time_millis(one.last_modified)))
    told: Answer = {
        "IsTruncated": len(found) > most,
        "KeyMarker": "",
        "VersionIdMarker": "",
        "Name": bucket.name,
        "Prefix": prefix,
        "MaxKeys": most,
    }
    last = ""
    for one in found[:most]:
        entry = {
            "Key": one.name,
            "VersionId": one.version_id,
            "IsLatest": one.name != last,
            "LastModified": _time(one.last_modified),
            "Owner": dict(_OWNER),
        }
        last = one.name
        if isinstance(one, FakeKey):
            entry |= {"ETag": one.etag, "Size": one.size, "StorageClass": one.storage_class}
            told.setdefault("Versions", []).append(entry)
        else:
            told.setdefault("DeleteMarkers", []).append(entry)
    if told["IsTruncated"]:
        told |= {"NextKeyMarker": last, "NextVersionIdMarker": found[most - 1].version_id}
    return told


def _delete_object(backend: S3Backend, bucket: FakeBucket, call: Call) -> Answer:
    _, told = backend.delete_object(bucket.name, call["Key"], version_id=call.get("VersionId"))
    marker = {"DeleteMarker": True} if "delete-marker" in told else {}
    version = {"VersionId": told["version-id"]} if "version-id" in told else {}
    return {"HTTPStatusCode": 204, **marker, **version}


def _delete_objects(backend: S3Backend, bucket: FakeBucket, call: Call) -> Answer:
    wanted = call["Delete"]
    if not wanted.get("Quiet") or bucket.object_lock_enabled:
        raise NotPlainError
    backend.delete_objects(bucket.name, wanted["Objects"])
    return {}


def _list_multipart_uploads(_: S3Backend, bucket: FakeBucket, __: Call) -> Answer:
    if bucket.multiparts:
        raise NotPlainError
    markers = {"KeyMarker": "", "UploadIdMarker": "", "MaxUploads": 1000}
    return {"IsTruncated": False, "Bucket": bucket.name, **markers}


def _head_bucket(_: S3Backend, bucket: FakeBucket, __: Call) -> Answer:
    return {"BucketRegion": bucket.region_name}


Operation = Callable[[S3Backend, FakeBucket, Call], Answer]
#: What answers each operation, and the parameters that it knows.
_OPERATIONS: dict[str, tuple[Operation, frozenset[str]]] = {
    "GetObject": (_get_object, frozenset(("Bucket", "Key", "VersionId", "IfMatch", "Range", "ChecksumMode"))),
    "HeadObject": (_head_object, frozenset(("Bucket", "Key", "VersionId", "IfMatch", "ChecksumMode"))),
    "PutObject": (_put_object, frozenset(("Bucket", "Key", "Body", "ContentType", "ChecksumAlgorithm"))),
    "CopyObject": (
        _copy_object,
        frozenset(("Bucket", "Key", "CopySource", "CopySourceIfMatch", "TaggingDirective")),
    ),
    "ListObjectsV2": (_list_objects, frozenset(("Bucket", "Prefix", "MaxKeys", "EncodingType"))),
    "ListObjectVersions": (
        _list_object_versions,
        frozenset(("Bucket", "Prefix", "MaxKeys", "EncodingType")),
    ),
    "DeleteObject": (_delete_object, frozenset(("Bucket", "Key", "VersionId"))),
    "DeleteObjects": (_delete_objects, frozenset(("Bucket", "Delete", "ChecksumAlgorithm"))),
    "ListMultipartUploads": (_list_multipart_uploads, frozenset(("Bucket", "Prefix", "EncodingType"))),
    "HeadBucket": (_head_bucket, frozenset(("Bucket",))),
}
