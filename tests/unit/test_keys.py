"""Keys as S3 allows them: 1 to 1,024 bytes of UTF-8, with any character and any dots and slashes."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
import pytest
from batch_queue.aws.bucket import Bucket
from batch_queue.core import names, objects
from batch_queue.core.objects import ObjectRef
from batch_queue.core.rows import ChunkRef
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.keys import S3_URI
from tests.support.world import REGION

pytestmark = pytest.mark.unit


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
    source = Bucket(client, "bucket").copy_source(ObjectRef(key, "v+/="))
    _, headers = sent(client, "copy_object", Key="x", **source)
    named = headers["x-amz-copy-source"]
    path, _, version = (named.decode() if isinstance(named, bytes) else named).partition("?")
    assert unquote(path, errors="strict") == f"bucket/{key}"
    assert (path.isascii(), version) == (True, "versionId=v+/=")
