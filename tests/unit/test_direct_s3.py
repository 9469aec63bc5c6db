"""The calls that are answered without HTTP have moto's answers, and leave moto's store as moto does."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from moto.core.models import botocore_stubber
from moto.s3 import models

from tests.support import direct_s3
from tests.support.examples import examples
from tests.support.world import Moto

pytestmark = pytest.mark.unit

BUCKET = "queue"
ACCOUNT = "123456789012"
KEYS = st.sampled_from(["in/a", "in/b ä+%?", "out/a"])
BODIES = st.binary(max_size=20)
PREFIXES = st.sampled_from(["", "in/", "in/a", "none/"])
#: Which of the versions that a key has had; "null" and one that never was are among them.
VERSIONS = st.none() | st.integers(-1, 4)
STEPS = st.one_of(
    st.tuples(st.just("put"), KEYS, BODIES, st.sampled_from(["", "application/json"])),
    st.tuples(st.just("get"), KEYS, VERSIONS, st.none() | st.tuples(st.integers(0, 9), st.integers(0, 25))),
    st.tuples(st.just("head"), KEYS, VERSIONS, st.sampled_from(["", "right", "wrong"])),
    st.tuples(st.just("copy"), KEYS, KEYS, VERSIONS),
    st.tuples(st.just("delete"), KEYS, VERSIONS),
    st.tuples(st.just("delete_some"), st.lists(KEYS, min_size=1, unique=True)),
    st.tuples(st.just("list"), PREFIXES, st.none() | st.integers(1, 3)),
    st.tuples(st.just("versions"), PREFIXES, st.none() | st.integers(1, 3)),
    st.tuples(st.just("parts"), PREFIXES),
    st.tuples(st.just("bucket")),
    st.tuples(st.just("keep_versions"), st.booleans()),
)
VERSION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: What of an answer is about the way that it came.
ON_THE_WAY = {"ResponseMetadata", "EncodingType"}


class Person:
    """Makes the calls of the steps."""

    def __init__(self, client: Any) -> None:
        self.s3 = client
        self._known: dict[str, list[str]] = {}
        self._numbers: dict[str, int] = {}

    def does(self, step: Any) -> Any:
        """What a step gives: an answer, or the code of an error."""
        kind, *what = step
        try:
            found = getattr(self, kind)(*what)
        except ClientError as error:
            return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        status = found["ResponseMetadata"]["HTTPStatusCode"]
        if "Body" in found:
            found["Body"] = found["Body"].read()
        return status, self._named({name: value for name, value in found.items() if name not in ON_THE_WAY})

    def _named(self, found: Any) -> Any:
        """An answer with the versions' numbers, in the order of their appearance, in place of their ids."""
        if isinstance(found, dict):
            return {name: self._named(value) for name, value in found.items()}
        if isinstance(found, list):
            return [self._named(one) for one in found]
        if isinstance(found, str) and VERSION.fullmatch(found):
            return self._numbers.setdefault(found, len(self._numbers))
        return found

    def _one(self, key: str, version: int | None) -> dict[str, Any]:
        if version is None:
            return {"Bucket": BUCKET, "Key": key}
        known = ["null", "never", *self._known.get(key, [])]
        return {"Bucket": BUCKET, "Key": key, "VersionId": known[version % len(known)]}

    def put(self, key: str, body: bytes, kind: str) -> Any:
        more = {"ContentType": kind} if kind else {}
        found = self.s3.put_object(Bucket=BUCKET, Key=key, Body=body, **more)
        self._known.setdefault(key, []).append(found.get("VersionId", "null"))
        return found

    def get(self, key: str, version: int | None, span: tuple[int, int] | None) -> Any:
        more = {"Range": f"bytes={span[0]}-{span[1]}"} if span else {}
        return self.s3.get_object(**self._one(key, version), **more)

    def head(self, key: str, version: int | None, match: str) -> Any:
        one = self._one(key, version)
        if match:
            one["IfMatch"] = '"x"' if match == "wrong" else self.s3.head_object(**one)["ETag"]
        return self.s3.head_object(**one)

    def copy(self, key: str, to: str, version: int | None) -> Any:
        source = self._one(key, version)
        return self.s3.copy_object(Bucket=BUCKET, Key=to, CopySource=source, TaggingDirective="REPLACE")

    def delete(self, key: str, version: int | None) -> Any:
        return self.s3.delete_object(**self._one(key, version))

    def delete_some(self, keys: list[str]) -> Any:
        wanted = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        found = self.s3.delete_objects(Bucket=BUCKET, Delete=wanted)
        found.pop("Deleted", None)  # moto tells of them although it was asked not to
        return found

    def list(self, prefix: str, most: int | None) -> Any:
        more = {"MaxKeys": most} if most else {}
        return self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix, **more)

    def versions(self, prefix: str, most: int | None) -> Any:
        more = {"MaxKeys": most} if most else {}
        return self.s3.list_object_versions(Bucket=BUCKET, Prefix=prefix, **more)

    def parts(self, prefix: str) -> Any:
        return self.s3.list_multipart_uploads(Bucket=BUCKET, Prefix=prefix)

    def bucket(self) -> Any:
        return self.s3.head_bucket(Bucket=BUCKET)

    def keep_versions(self, yes: bool) -> Any:
        status = "Enabled" if yes else "Suspended"
        return self.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": status})


@cache
def client(direct: bool) -> Any:
    """A client without the checksums that only moto has."""
    config = Config(
        request_checksum_calculation="when_required", response_checksum_validation="when_required"
    )
    session = boto3.Session("test", "test", region_name="us-east-1")
    found: Any = session.client("s3", config=config)
    if direct:
        direct_s3.install(found, ACCOUNT)
    return found


@contextmanager
def person(direct: bool) -> Iterator[Person]:
    """Somebody with a bucket that keeps versions. A second passes between two looks at the clock."""
    seconds = itertools.count()

    def now() -> datetime:
        return datetime(2026, 1, 1) + timedelta(seconds=next(seconds))  # noqa: DTZ001 (as moto's)

    with Moto(), patch.object(models, "utcnow", now):
        client(direct).create_bucket(Bucket=BUCKET)
        found = Person(client(direct))
        found.keep_versions(True)
        yield found


@examples(30)
@given(st.lists(STEPS, min_size=5, max_size=15))
def test_it_answers_as_moto_does(steps: list[Any]) -> None:
    steps = [*steps, ("versions", "", None), ("list", "", None)]
    with person(direct=False) as one:
        expected = [one.does(step) for step in steps]
    with person(direct=True) as other:
        assert [other.does(step) for step in steps] == expected


def test_nothing_of_a_plain_life_is_sent() -> None:
    steps = [
        ("put", "in/a", b"hello", "application/json"),
        ("get", "in/a", None, (1, 2)),
        ("head", "in/a", 2, "right"),
        ("copy", "in/a", "out/a", 2),
        ("list", "in/", 2),
        ("versions", "", 1),
        ("delete", "in/a", None),
        ("delete_some", ["out/a"]),
        ("parts", ""),
        ("bucket",),
    ]
    with person(direct=True) as one, patch.object(botocore_stubber, "process_request") as sent:
        for step in steps:
            one.does(step)
    sent.assert_not_called()


def test_an_error_is_motos() -> None:
    with person(direct=True) as one:
        assert one.does(("get", "in/a", None, None)) == ("NoSuchKey", 404)
        with pytest.raises(ClientError, match="NoSuchBucket"):
            one.s3.list_objects_v2(Bucket="none")
