"""Media in the whole queue: copied beside the job's input, and every record answered."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from batch_queue.core import media, names
from batch_queue.core.rows import Status, Upload
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.media import asking, moved, uris
from tests.support.routes import configured
from tests.support.world import Call, World, lines, records, statuses

pytestmark = pytest.mark.flows


NOVA = "amazon.nova-lite-v1:0"


CONVERSE = configured("default", NOVA, invocation_type="Converse", media=True)


def found_in(value: Any, move: Callable[[str], str], found: list[str]) -> Any:
    """The same, told plainly: walks the parsed value; gives it rewritten."""
    if isinstance(value, list):
        return [found_in(one, move, found) for one in value]
    if not isinstance(value, dict):
        return value
    result: dict[str, Any] = {}
    for key, one in value.items():
        uri = one.get("uri") if key == "s3Location" and isinstance(one, dict) else None
        if isinstance(uri, str) and uri.startswith("s3://"):
            # The members of the object stay in their order.
            result[key] = {}
            for name, other in one.items():
                if name == "uri":
                    found.append(uri)
                    result[key][name] = move(uri)
                else:
                    result[key][name] = found_in({name: other}, move, found)[name]
        else:
            result[key] = found_in(one, move, found)
    return result


texts = st.one_of(
    st.text(), st.text().map("s3://b/".__add__), st.sampled_from(["s3Location", "uri", '"uri":'])
)


keys = st.sampled_from(["modelInput", "s3Location", "uri", "bucketOwner", 'a"s3Location', "\\", "content"])


bodies = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=25,
)


locations = st.builds(lambda uri: {"s3Location": {"bucketOwner": "1", "uri": uri}}, texts)


@given(
    st.dictionaries(keys, st.one_of(bodies, locations), max_size=3),
    st.one_of(st.dictionaries(keys, st.one_of(bodies, locations), max_size=4), bodies, locations),
    st.booleans(),
    st.booleans(),
)
@example({}, {"s3Location": {"uri": "s3://b/k"}}, True, True)
def test_links_are_those_of_the_parsed_model_input_and_rewriting_changes_nothing_else(
    outside: dict[str, Any], body: Any, ascii_only: bool, php: bool
) -> None:
    record = {**outside, "modelInput": body}
    text = json.dumps(record, ensure_ascii=ascii_only, separators=(",", ":") if php else (" , ", " : "))
    line = (text.replace("/", "\\/") if php else text).encode("utf-8", "surrogatepass")
    expected: list[str] = []
    told = {
        key: found_in(one, moved, expected) if key == "modelInput" else one for key, one in record.items()
    }
    assert uris(line) == expected
    after = media.rewritten(line, moved)
    assert json.loads(after.decode("utf-8", "surrogatepass")) == told
    assert expected or after is line


def media_copies(world: World) -> list[str]:
    """The paths that media is copied to, as they come."""
    paths: list[str] = []

    def watch(call: Call) -> None:
        if call.operation == "CopyObject" and "/in/media/" in call.params["url_path"]:
            paths.append(call.params["url_path"])

    world.before = watch
    return paths


def put(world: World, *names: str) -> list[str]:
    for name in names:
        world.s3.put_object(Bucket=world.bucket, Key=name, Body=f"bytes of {name}".encode())
    return [f"s3://{world.bucket}/{name}" for name in names]


def body(world: World, uri: str) -> bytes:
    bucket, key = media.location(uri)
    return bytes(world.s3.get_object(Bucket=bucket, Key=key)["Body"].read())


def linked(world: World, upload: Upload) -> dict[str, list[str]]:
    """For each recordId of a result, the URIs that its echoed modelInput has."""
    return {row["recordId"]: uris(json.dumps(row).encode()) for row in world.result(upload)}


def test_linked_media_is_copied_below_the_input_folder_and_every_record_answered() -> None:
    with World.open(CONVERSE, media_prefixes=("pictures/", "films/")) as world:
        copied = media_copies(world)
        first, second = put(world, "pictures/ä b=1.png", "films/x.jsonl")
        rows = [asking(n, *((first, second) if n % 2 else ())) for n in range(100)]
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run()
        upload = world.one_upload(upload_id)
        assert (upload.status, upload.success_count) == (Status.COMPLETED, 100), upload
        (job,) = world.jobs()
        folder = f"s3://{world.bucket}/{names.input_folder('jobs/', job.job_id)}media/"
        ever = world.ever("jobs/")  # deleted by now
        for identifier, found in linked(world, upload).items():
            assert len(found) == 2 * (int(identifier[1:]) % 2)
            assert all(uri.startswith(folder) for uri in found)
            assert [ever[media.location(uri)[1]] for uri in found] == [
                "bytes of pictures/ä b=1.png".encode(),
                b"bytes of films/x.jsonl",
            ][: len(found)]
        assert len(copied) == 2
        assert not world.errors


def test_media_shared_by_the_chunks_of_a_job_is_copied_once() -> None:
    with World.open(CONVERSE) as world:
        copies = media_copies(world)
        (uri,) = put(world, "to-process/a.png")
        for name in ("a", "b"):
            world.upload(f"{name}.jsonl", lines([asking(n, uri) for n in range(60)]))
        world.run()
        assert statuses(world) == {Status.COMPLETED: 2}
        (job,) = world.jobs()
        (path,) = copies
        assert job.job_id in path


def test_an_upload_with_links_is_rejected_on_a_route_without_media() -> None:
    with World.open(configured("default", NOVA, invocation_type="Converse")) as world:
        (uri,) = put(world, "to-process/a.png")
        upload_id = world.upload("a.jsonl", lines([asking(0), asking(1, uri), asking(2)]))
        world.run()
        upload = world.one_upload(upload_id)
        assert upload.status == Status.REJECTED
        assert f"line 2: modelInput references {uri}: set media = true on the route default" in upload.message
        report = json.loads(body(world, f"s3://{world.bucket}/{upload.result_key}"))
        assert [(fault["line"], fault["recordId"]) for fault in report["faults"]] == [(2, "m1")]


def test_an_upload_that_links_another_bucket_is_rejected() -> None:
    with World.open(CONVERSE) as world:
        upload_id = world.upload("a.jsonl", lines([asking(0, "s3://elsewhere/a.png")]))
        world.run()
        upload = world.one_upload(upload_id)
        assert upload.status == Status.REJECTED
        assert "line 1: modelInput references s3://elsewhere/a.png, in another bucket" in upload.message


@pytest.mark.parametrize("key", ["processed/hr/salaries.png", "jobs/0123/in/media/a.png", "to-process.png"])
def test_an_upload_that_links_outside_the_media_prefixes_is_rejected(key: str) -> None:
    with World.open(CONVERSE) as world:
        inside, outside = put(world, "to-process/a.png", key)
        copied = media_copies(world)
        upload_id = world.upload("a.jsonl", lines([asking(0, inside), asking(1, inside, outside)]))
        world.run()
        upload = world.one_upload(upload_id)
        assert upload.status == Status.REJECTED
        assert f"line 2: modelInput references {outside}, outside to-process/: copy" in upload.message
        assert not copied


@pytest.mark.parametrize("key", ["processed/hr/salaries.png", "jobs/0123/in/media/a.png"])
def test_a_link_outside_the_media_prefixes_is_not_copied_by_staging_either(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with World.open(CONVERSE) as world:
        # Given an upload that was accepted when its link was allowed
        monkeypatch.setattr(media, "check", lambda *_, **__: True)
        inside, outside = put(world, "to-process/a.png", key)
        copied = media_copies(world)
        bad = world.upload("bad.jsonl", lines([asking(n, inside, outside) for n in range(60)]))
        good = world.upload("good.jsonl", lines([asking(n, inside) for n in range(100)]))
        world.run()
        # Then its records end with the reason, and those beside them run
        assert world.one_upload(good).status == Status.COMPLETED
        upload = world.one_upload(bad)
        assert (upload.status, upload.error_count) == (Status.FAILED, 60)
        assert f"Not run: modelInput references {outside}, outside to-process/" in upload.message
        assert {row["error"]["errorCode"] for row in world.result(upload)} == {"MediaNotAllowed"}
        assert len(copied) == 1
        assert not world.errors


def test_records_that_run_again_link_copies_of_the_media_of_their_job() -> None:
    faults = {"record_faults": {"passing_rate": 0.3, "passing_codes": [429]}}
    route = configured("default", NOVA, invocation_type="Converse", media=True, min_records_per_job=1)
    config = {**faults, "models": {"*": {"min_records": 1}}}
    with World.open(route, config=config) as world:
        found = put(world, "to-process/a.png", "to-process/b.png")
        rows = [asking(n, found[n % 2]) for n in range(100)]
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run(lambda: len(world.jobs()) == 1)
        # What runs again takes the media that its job had, not from where they came from.
        world.run(lambda: bool(world.bedrock_jobs()))
        for name in ("a.png", "b.png"):
            world.s3.delete_object(Bucket=world.bucket, Key=f"to-process/{name}")
        world.run()
        upload = world.one_upload(upload_id)
        assert len(world.jobs()) >= 2, "the fault rate makes some records run again"
        by_job = {job.job_id for job in world.jobs()}
        answered = world.result(upload)
        good = [row for row in answered if "modelOutput" in row]
        assert len(answered) == 100
        assert len(good) == upload.success_count > 70
        used = set()
        ever = world.ever("jobs/")
        for row in good:
            (uri,) = uris(json.dumps(row).encode())
            source = f"to-process/{'ab'[int(row['recordId'][1:]) % 2]}.png"
            assert ever[media.location(uri)[1]] == f"bytes of {source}".encode()
            used.add(media.location(uri)[1].split("/")[1])
        assert len(used) >= 2
        assert used <= by_job
        assert not [row for row in answered if row.get("error", {}).get("errorCode") == 400]


def test_a_missing_object_ends_its_upload_by_name_and_no_other_upload_of_the_job() -> None:
    with World.open(CONVERSE) as world:
        (there,) = put(world, "to-process/there.png")
        missing = f"s3://{world.bucket}/to-process/missing.png"
        bad = world.upload("bad.jsonl", lines([asking(n, there, missing) for n in range(60)]))
        good = world.upload("good.jsonl", lines([asking(n, there) for n in range(100)]))
        world.run()
        assert world.one_upload(good).status == Status.COMPLETED
        upload = world.one_upload(bad)
        assert (upload.status, upload.success_count, upload.error_count) == (Status.FAILED, 0, 60)
        assert f"modelInput references {missing}, which does not exist" in upload.message
        answered = world.result(upload)
        assert len(answered) == 60
        assert {row["error"]["errorCode"] for row in answered} == {"MediaUnavailable"}
        assert not world.errors


def test_a_missing_object_alone_in_its_job_starts_no_job_at_bedrock() -> None:
    with World.open(CONVERSE) as world:
        upload_id = world.upload(
            "a.jsonl", lines([asking(n, f"s3://{world.bucket}/to-process/{n % 2}.png") for n in range(100)])
        )
        world.run()
        upload = world.one_upload(upload_id)
        assert upload.status == Status.FAILED
        assert f"s3://{world.bucket}/to-process/0.png (and 1 more)" in upload.message
        assert not world.bedrock_jobs()


def test_staging_that_was_cut_short_goes_on_with_the_media_that_is_missing_yet() -> None:
    with World.open(CONVERSE) as world:
        found = put(world, *(f"to-process/{n}.png" for n in range(40)))
        upload_id = world.upload("a.jsonl", lines([asking(n, found[n % 40]) for n in range(100)]))
        copied = media_copies(world)
        killed: list[Call] = []

        def kill(call: Call) -> None:
            if len(copied) >= 20 and not killed:
                killed.append(call)
                world.kill()

        world.after = kill
        world.run()
        assert killed
        assert world.one_upload(upload_id).status == Status.COMPLETED
        assert len(set(copied)) == 40
        assert len(copied) < 40 + 20, "what lay there was not copied again"


def test_records_without_links_run_on_a_media_route_as_on_any_other() -> None:
    with World.open(configured("default", "anthropic.claude-3-haiku-20240307-v1:0", media=True)) as world:
        upload_id = world.upload("a.jsonl", lines(records(100)))
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED
        (chunk,) = world.chunks()
        assert not chunk.rewrite


def test_an_object_that_is_larger_than_a_model_reads_ends_its_upload_by_name_before_anything_is_copied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(media, "MAX_OBJECT_BYTES", 50)
    with World.open(CONVERSE) as world:
        (small,) = put(world, "to-process/small.png")
        large = f"s3://{world.bucket}/to-process/large.mp4"
        world.s3.put_object(Bucket=world.bucket, Key="to-process/large.mp4", Body=b"x" * 51)
        copied = media_copies(world)
        bad = world.upload("bad.jsonl", lines([asking(n, small, large) for n in range(100)]))
        good = world.upload("good.jsonl", lines([asking(n, small) for n in range(100)]))
        world.run()
        assert world.one_upload(good).status == Status.COMPLETED
        upload = world.one_upload(bad)
        assert (upload.status, upload.error_count) == (Status.FAILED, 100)
        words = f"modelInput references {large}, which has 51 bytes. The most that a model reads is 50."
        assert words in upload.message
        answered = world.result(upload)
        assert {row["error"]["errorCode"] for row in answered} == {"MediaTooLarge"}
        assert all(words in row["error"]["errorMessage"] for row in answered)
        assert not any("large" in path for path in copied)
        assert not world.errors


def chunk_bytes(uri: str, count: int = 100) -> int:
    return len(lines([asking(n, uri) for n in range(count)]))


def test_records_whose_objects_make_any_job_too_large_end_with_the_limit_and_the_largest() -> None:
    with World.open(CONVERSE) as world:
        large = f"s3://{world.bucket}/to-process/large.mp4"
        world.s3.put_object(Bucket=world.bucket, Key="to-process/large.mp4", Body=b"x" * 10_000)
        most = chunk_bytes(large) + 9_999
        world.put_route(replace(CONVERSE, max_bytes_per_job=most))
        upload_id = world.upload("a.jsonl", lines([asking(n, large) for n in range(100)]))
        world.run()
        upload = world.one_upload(upload_id)
        assert (upload.status, upload.error_count) == (Status.FAILED, 100)
        assert f"their job would have {most + 1:,} bytes. The route's max_bytes_per_job is {most:,}" in (
            upload.message
        )
        assert f"The largest object is {large} with 10,000 bytes" in upload.message
        assert {row["error"]["errorCode"] for row in world.result(upload)} == {"MediaTooLarge"}


@pytest.mark.parametrize("dies", [False, True])
def test_what_does_not_fit_beside_the_objects_of_others_runs_in_another_job(dies: bool) -> None:
    with World.open(CONVERSE) as world:
        # Given three uploads that would share a job, if two of them had not more objects than it may have
        found = [f"s3://{world.bucket}/to-process/{n}.mp4" for n in range(3)]
        for number in range(3):
            world.s3.put_object(Bucket=world.bucket, Key=f"to-process/{number}.mp4", Body=b"x" * 50_000)
        most = 3 * chunk_bytes(found[0]) + 60_000
        world.put_route(replace(CONVERSE, max_bytes_per_job=most, max_active_jobs=1, max_record_attempts=1))
        ids = [world.upload(f"{n}.jsonl", lines([asking(m, found[n]) for m in range(100)])) for n in range(3)]
        for event in list(world.events):
            world.invoke("create", event[3])
        world.events.clear()
        marked: list[Call] = []

        def kill_once(call: Call) -> None:
            if call.operation == "UpdateItem" and b"NoRoom" in call.params["body"] and not marked:
                marked.append(call)
                world.kill()

        world.after = kill_once if dies else None
        copied = media_copies(world)
        world.run()
        # Then each has its own job in the end, at its only attempt
        assert bool(marked) is dies
        assert [world.one_upload(one).success_count for one in ids] == [100] * 3
        assert len(world.bedrock_jobs()) == 3
        assert len(copied) == 3


def test_what_fits_into_no_job_with_enough_records_ends() -> None:
    with World.open(CONVERSE) as world:
        # Given two uploads that are too few records alone, and too many bytes together
        found = [f"s3://{world.bucket}/to-process/{n}.mp4" for n in range(2)]
        for number in range(2):
            world.s3.put_object(Bucket=world.bucket, Key=f"to-process/{number}.mp4", Body=b"x" * 50_000)
        most = 2 * chunk_bytes(found[0], 60) + 60_000
        world.put_route(replace(CONVERSE, max_bytes_per_job=most))
        ids = [world.upload(f"{n}.jsonl", lines([asking(m, found[n]) for m in range(60)])) for n in range(2)]
        for event in list(world.events):
            world.invoke("create", event[3])
        world.events.clear()
        world.run()
        # Then one ends with its errors, and the other waits for company, which does not come
        assert Counter(world.one_upload(one).status for one in ids) == {
            Status.FAILED: 1,
            Status.REJECTED: 1,
        }
        assert not world.bedrock_jobs()
