"""Keys as S3 allows them: 1 to 1,024 bytes of UTF-8, with any character and any dots and slashes."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
import pytest
from batch_queue.aws.bucket import Bucket, ObjectRef
from batch_queue.core import names, objects
from batch_queue.core.rows import ChunkRef, Status
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.world import REGION, Route, World, lines, records
from tests.unit.test_poison import CONFIG, ROUTE, strictly

pytestmark = pytest.mark.unit

# Service model of bedrock, shape S3Uri.
S3_URI = re.compile(r"s3://[a-z0-9][\.\-a-z0-9]{1,61}[a-z0-9](/[a-zA-Z0-9\!\-_\.\*'\(\)/]*)?")
PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
NASTY = [
    f"{PRINTABLE}ä日😀\u2028",
    "../a/../../x",
    "//x/./y/..",
    "a+b c%20d%2Be%zz%\t\n\r\x01",
    "?versionId=x&y#z",
]
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


class Seen(Exception):  # noqa: N818 - it is no error: it ends a call before anything is sent
    """What botocore is about to send."""


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        s3 = boto3.client("s3", region_name=REGION)

    def stop(request: Any, **_: Any) -> None:
        raise Seen(request.url, dict(request.headers))

    s3.meta.events.register("before-send.s3.*", stop)
    yield s3
    s3.close()


def sent(client: Any, operation: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
    with pytest.raises(Seen) as told:
        getattr(client, operation)(Bucket="bucket", **arguments)
    url, headers = told.value.args
    return url, headers


@examples(60)
@given(KEYS)
def test_an_event_tells_the_key_as_it_was_put(name: str) -> None:
    key = f"to-process/{name}.jsonl"
    # As S3 encodes keys in events: form-encoded, letter by letter where it is not plain.
    for plain in ("", "/", "/!*'()"):
        encoded = "".join(
            "+"
            if sign == " "
            else sign
            if sign.isascii() and (sign.isalnum() or sign in plain + "-_.")
            else "".join(f"%{byte:02X}" for byte in sign.encode())
            for sign in key
        )
        thing = {"key": encoded, "versionId": "v", "eTag": "e", "sequencer": "1"}
        record = {
            "eventName": "ObjectCreated:Put",
            "eventTime": "2026-01-01T00:00:00.000Z",
            "s3": {"bucket": {"name": "bucket"}, "object": thing},
        }
        assert [found.key for found in objects.new_objects({"Records": [record]})] == [key]


@examples(60)
@given(KEYS, st.sampled_from(["processed/", "a/b/", "x" * 200 + "/"]))
@example("to-process/to-process/", "processed/")
def test_names_of_results_keep_the_path_and_tell_uploads_apart(name: str, prefix: str) -> None:
    key = f"to-process/{name}.jsonl"
    made = [
        make(key, "to-process/", prefix) for make in (names.result_key, names.summary_key, names.report_key)
    ]
    assert made == [f"{prefix}{name}.jsonl{ending}" for ending in (".out", ".summary.json", ".rejected.json")]
    assert names.key_too_long(made[2]) is (len(made[2].encode()) > 1024)
    assert all(names.key_too_long(made[2]) or not names.key_too_long(each) for each in made)
    ref = ChunkRef(names.upload_id("bucket", key, "v"), 1, 1, 1)
    folder = names.input_folder("jobs/", names.job_id([ref]))
    assert S3_URI.fullmatch(f"s3://bucket/{folder}{ref.file_name}")


@examples(60)
@given(KEYS.map(lambda name: f"to-process/{name}.jsonl"))
@example("to-process/../../x.jsonl")
@example("to-process//./x.jsonl")
def test_the_client_sends_a_key_as_it_is(client: Any, key: str) -> None:
    url, _ = sent(client, "head_object", Key=key, VersionId="v")
    assert unquote(urlsplit(url).path, errors="strict") == f"/{key}", "no segment is folded"
    source = Bucket(client, "bucket")._source(ObjectRef(key, "v+/="))
    _, headers = sent(client, "copy_object", Key="x", **source)
    named = headers["x-amz-copy-source"]
    path, _, version = (named.decode() if isinstance(named, bytes) else named).partition("?")
    assert unquote(path, errors="strict") == f"bucket/{key}"
    assert (path.isascii(), version) == (True, "versionId=v+/=")


def test_uploads_with_nasty_keys_end_with_results_beside_them() -> None:
    with World.open(replace(ROUTE, max_active_jobs=1), config=CONFIG) as world:
        good = {world.upload(f"{name}.jsonl", lines(records(1))): f"{name}.jsonl" for name in NASTY}
        bad = {world.upload(f"{name}.jsonl", b"{"): f"{name}.jsonl" for name in NASTY[:2]}
        for event in list(world.events):
            world.invoke("create", event[3])
        world.events.clear()
        world.invoke("process", {})
        world.run()
        assert not world.errors
        for upload_id, key in good.items():
            upload = world.one_upload(upload_id)
            assert upload.status == Status.COMPLETED
            assert upload.result_key == f"processed/{key}.out"
            assert [each["recordId"] for each in strictly(world, upload)] == ["r0"]
            summary = world.s3.get_object(Bucket=world.bucket, Key=f"processed/{key}.summary.json")
            assert json.loads(summary["Body"].read())["key"] == f"to-process/{key}"
        for upload_id, key in bad.items():
            assert world.one_upload(upload_id).result_key == f"processed/{key}.rejected.json"
            report = world.s3.get_object(Bucket=world.bucket, Key=f"processed/{key}.rejected.json")
            assert json.loads(report["Body"].read())["key"] == f"to-process/{key}"
        for job in world.jobs():
            staged = world.s3.list_objects_v2(Bucket=world.bucket, Prefix=f"jobs/{job.job_id}/in/")
            for each in staged.get("Contents", []):
                assert S3_URI.fullmatch(f"s3://{world.bucket}/{each['Key']}")


def test_a_key_whose_results_have_the_longest_names_runs() -> None:
    room = names.MAX_KEY_BYTES - len("processed/.jsonl.rejected.json")
    name = "😀" * (room // 4) + "x" * (room % 4)
    with World.open(ROUTE, Route("..", ROUTE.model_id), config=CONFIG) as world:
        good = world.upload(f"{name}.jsonl", lines(records(1)))
        bad = world.upload(f"{name[:-1]}y.jsonl", b"{")
        world.run()
        assert world.one_upload(good).status == Status.COMPLETED
        assert len(world.one_upload(bad).result_key.encode()) >= names.MAX_KEY_BYTES - 3
        assert not world.errors
