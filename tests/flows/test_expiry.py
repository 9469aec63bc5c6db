"""What is not in a result yet outlives any age, and what is missing all the same ends its upload."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from batch_queue.aws.bucket import PUT_PART_BYTES, Bucket
from batch_queue.aws.table.chunks import Chunks
from batch_queue.core.rows import TERMINAL, Chunk, Counts, Status, Upload
from batch_queue.steps import collector
from batch_queue.steps.mending import LOST_CODE, LOST_UPLOAD
from batch_queue.steps.settlement import NOT_STAGED_CODE, RETRY_GONE
from botocore.exceptions import ClientError

from tests.support.errors import aws_error
from tests.support.invariants import check
from tests.support.routes import configured
from tests.support.world import HAIKU, Call, World, lines, records

pytestmark = pytest.mark.flows

DAY = 86_400
#: One job at a time, of one chunk of ten records.
ROUTE = configured(
    "default",
    HAIKU,
    max_active_jobs=1,
    min_records_per_job=1,
    max_records_per_file=100,
    max_records_per_job=10,
)
CONFIG: dict[str, Any] = {"models": {"*": {"min_records": 1, "max_active_jobs": 1}}}

#: The first job answers half of its records; the others run again.
HALF = {**CONFIG, "job_faults": [{"outcome": "Expired", "fraction": 0.5, "times": 1}]}


def collected(world: World, jobs: int) -> bool:
    """Whether that many jobs are collected, and all is quiet."""
    return sum(bool(job.collected_at) for job in world.jobs()) >= jobs and not world.events


def months(world: World) -> None:
    """Others hold the slots for months, and the bucket's rules delete what is old enough."""
    world.skip(60 * DAY)
    world.expire()


def test_a_part_of_a_result_waits_for_the_others_whatever_its_age() -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        rows = records(40)
        upload_id = world.upload("a.jsonl", lines(rows))
        # Given a part of a result, and months until the others come
        world.run(until=lambda: bool(world.bedrock_jobs()))
        world.simulator.add_foreign(HAIKU, count=1, seconds=59 * DAY)
        world.run(until=lambda: collected(world, 1))
        months(world)
        # When the others come
        world.run()
        # Then no record is lost
        assert world.one_upload(upload_id).status == Status.COMPLETED
        check(world, {upload_id: rows}, slots=2)
        assert not world.dead_letters


def test_records_to_run_again_wait_for_their_turn_whatever_their_age() -> None:
    with World.open(ROUTE, config=HALF) as world:
        rows = records(10)
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run(until=lambda: bool(world.bedrock_jobs()))
        world.simulator.add_foreign(HAIKU, count=1, seconds=59 * DAY)
        world.run(until=lambda: collected(world, 1))
        months(world)
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED
        check(world, {upload_id: rows}, slots=2)


def delete(world: World, *kinds: str) -> list[str]:
    """Somebody deletes what the work area holds of some kinds; gives the keys."""
    keys = [key for key, _ in world.current("jobs/") if any(kind in key for kind in kinds)]
    for key in keys:
        world.s3.delete_object(Bucket=world.bucket, Key=key)
    return keys


def codes(world: World, upload: Upload, rows: Sequence[Any]) -> Counter[object]:
    """How many records of an upload ended with which code (None: an answer), each with one line."""
    found = world.result(upload)
    assert Counter(row["recordId"] for row in found) == Counter(row["recordId"] for row in rows)
    ends = Counter(row.get("error", {}).get("errorCode") for row in found)
    assert (upload.success_count, upload.error_count) == (ends[None], len(rows) - ends[None])
    key = f"{upload.result_key.removesuffix('.out')}.summary.json"
    summary = json.loads(world.s3.get_object(Bucket=world.bucket, Key=key)["Body"].read())
    assert (summary["successes"], summary["errors"]) == (upload.success_count, upload.error_count)
    assert sum(summary["errors_by_code"].values()) == upload.error_count
    assert world.left() == []
    return ends


@pytest.mark.parametrize("older", [False, True], ids=["", "with rows of an earlier version"])
@pytest.mark.parametrize(
    ("config", "size", "lost"), [(CONFIG, 40, 10), (HALF, 40, 5), (HALF, 10, 5)], ids=["", "again", "alone"]
)
def test_a_part_that_is_missing_ends_the_upload_with_error_lines(
    config: dict[str, Any], size: int, lost: int, older: bool
) -> None:
    with World.open(ROUTE, config=config) as world:
        rows = records(size)
        upload_id = world.upload("a.jsonl", lines(rows))
        # Given a part of the result that was deleted before the result was written
        world.run(until=lambda: collected(world, 1))
        assert delete(world, "/settled/")
        for chunk in world.chunks() if older else []:
            world.table.update_item(
                Key={"pk": chunk.upload_id, "sk": f"chunk#{chunk.number:06d}"},
                UpdateExpression="REMOVE origin_start, origin_end, origin_records",
            )
        # When all records have run
        world.run()
        # Then the upload ends, and says which records have lost their line
        upload = world.one_upload(upload_id)
        assert upload.status == Status.PARTIALLY_COMPLETED
        assert codes(world, upload, rows) == {None: size - lost, LOST_CODE: lost}
        assert "deleted from the work area" in upload.message
        assert not world.errors


@pytest.mark.parametrize("deaths", [(1,), (2,), (1, 1)], ids=str)
@pytest.mark.parametrize(("older", "kept"), [(2, 3), (4, 1), (4, 2)], ids=["one", "not the first", "more"])
def test_runs_that_die_while_they_mend_rows_of_an_earlier_version_lose_no_record(
    older: int, kept: int, deaths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    again = {"job_faults": [{"outcome": "Expired", "fraction": 0.5, "times": older}]}
    with World.open(ROUTE, config={**CONFIG, **again}) as world:
        # Given two of four chunks whose parts were deleted before the last one came, and rows of chunks that
        # ran again, which do not say which records they are
        rows = records(40)
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run(until=lambda: any(upload.chunks_open == 1 for upload in world.uploads()))
        for chunk in world.chunks():
            world.table.update_item(
                Key={"pk": chunk.upload_id, "sk": f"chunk#{chunk.number:06d}"},
                UpdateExpression="REMOVE origin_start, origin_end, origin_records",
            )
        last = next(chunk.number for chunk in world.chunks() if chunk.status not in TERMINAL)
        gone = {1, 2, 3, 4} - {kept, last}
        assert delete(world, *(f"/settled/{number:06d}-" for number in gone))
        # When runs die, each after so many of the chunks that it mends
        left = list(deaths)
        mends: list[int] = []
        mend = Chunks.mend

        def dying(chunks: Chunks, had: Chunk, chunk: Chunk, counts: Counts) -> bool:
            done = mend(chunks, had, chunk, counts)
            mends.append(had.number)
            if left and len(mends) == left[0]:
                del left[0]
                mends.clear()
                world.kill()
            return done

        monkeypatch.setattr(Chunks, "mend", dying)
        world.run()
        # Then each record has one line all the same
        upload = world.one_upload(upload_id)
        assert not left
        assert upload.status == Status.PARTIALLY_COMPLETED
        assert codes(world, upload, rows) == {None: 20, LOST_CODE: 20}


def test_where_the_upload_is_gone_too_its_message_says_so() -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        upload_id = world.upload("a.jsonl", lines(records(40)))
        world.run(until=lambda: len(world.jobs()) == 4)
        world.run(until=lambda: collected(world, 3))
        assert delete(world, "/settled/")
        version = world.one_upload(upload_id).version_id
        world.s3.delete_object(Bucket=world.bucket, Key="to-process/a.jsonl", VersionId=version)
        world.run()
        upload = world.one_upload(upload_id)
        assert (upload.success_count, upload.error_count) == (10, 30)
        assert LOST_UPLOAD in upload.message
        assert len(world.result(upload)) == 10
        assert world.left() == []
        assert not world.errors


@pytest.mark.parametrize(
    ("kinds", "code"), [(("-1.jsonl",), "JobExpired"), (("/retry/",), LOST_CODE)], ids=["", "and errors"]
)
def test_records_to_run_again_that_are_missing_end_with_an_error(kinds: tuple[str, ...], code: str) -> None:
    with World.open(ROUTE, config=HALF) as world:
        rows = records(40)
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run(until=lambda: collected(world, 1))
        # Given records to run again, whose object was deleted, and perhaps that with their last errors too
        keys = delete(world, *kinds)
        left = [key for key in keys if key.endswith(".errors")]
        if code != LOST_CODE:
            for key in left:
                version = world.s3.list_object_versions(Bucket=world.bucket, Prefix=key)["DeleteMarkers"][0]
                world.s3.delete_object(Bucket=world.bucket, Key=key, VersionId=version["VersionId"])
        world.run()
        upload = world.one_upload(upload_id)
        assert codes(world, upload, rows) == {None: 35, code: 5}
        assert RETRY_GONE in upload.message or code == LOST_CODE
        assert not world.errors


@pytest.mark.parametrize("gone", [False, True], ids=["", "with the upload"])
def test_records_that_never_ran_and_are_missing_end_with_an_error(gone: bool) -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        # Given records of a job that expired before it started, so that they have no last error
        world.simulator.configure({"models": {"*": {"schedule_seconds": 10.0 * DAY}}})
        rows = records(20)
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run(until=lambda: collected(world, 1))
        world.simulator.configure({"models": {"*": {"schedule_seconds": 1.0}}})
        # When somebody deletes them, and perhaps the upload
        assert delete(world, "/retry/")
        if gone:
            version = world.one_upload(upload_id).version_id
            world.s3.delete_object(Bucket=world.bucket, Key="to-process/a.jsonl", VersionId=version)
        world.run()
        # Then each has one line, if it can be read
        upload = world.one_upload(upload_id)
        if gone:
            assert (upload.success_count, upload.error_count) == (10, 10)
            assert LOST_UPLOAD in upload.message
        else:
            assert codes(world, upload, rows) == {None: 10, LOST_CODE: 10}
        assert not world.errors


def test_records_that_never_ran_and_cannot_be_staged_end_with_an_error_line_each() -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        world.simulator.configure({"models": {"*": {"schedule_seconds": 10.0 * DAY}}})
        rows = records(20)
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run(until=lambda: collected(world, 1))
        world.simulator.configure({"models": {"*": {"schedule_seconds": 1.0}}})

        # Given records of a job that expired before it started, and that the next one may not read
        def deny(call: Call) -> None:
            if call.function == "process" and "/retry/" in str(
                (call.params["url_path"], call.params["headers"])
            ):
                raise aws_error("AccessDenied", 403, operation=call.operation)

        world.before = deny
        world.run()
        # Then the result has a line of each, and none of what was to run
        upload = world.one_upload(upload_id)
        assert "S3 denied access" in upload.message
        assert codes(world, upload, rows) == {None: 10, NOT_STAGED_CODE: 10}


def test_what_a_version_before_this_one_left_in_the_jobs_folder_is_not_deleted_with_it() -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        rows = records(40)
        upload_id = world.upload("a.jsonl", lines(rows))

        # Given a collector of an earlier version that died when it had settled a chunk by its output
        def settled(call: Call) -> None:
            if call.function == "collect" and call.operation == "TransactWriteItems":
                world.before = world.after = None
                (job,) = world.jobs()
                (output,) = [key for key in world.ever(f"jobs/{job.job_id}/out/") if ".jsonl.out" in key]
                delete(world, "/settled/")
                world.table.update_item(
                    Key={"pk": upload_id, "sk": f"chunk#{world.runs(job).chunks[0].number:06d}"},
                    UpdateExpression="SET parts = :parts",
                    ExpressionAttributeValues={":parts": [output]},
                )
                world.kill()

        world.after = settled
        world.run()
        upload = world.one_upload(upload_id)
        assert upload.status == Status.COMPLETED
        assert {row["recordId"] for row in world.result(upload)} == {row["recordId"] for row in rows}


@pytest.mark.parametrize(
    ("part_bytes", "count"), [(100, 10), (PUT_PART_BYTES, 20)], ids=["a large object", "a part of an upload"]
)
def test_what_killed_runs_left_unfinished_is_deleted_with_the_folder(
    monkeypatch: pytest.MonkeyPatch, part_bytes: int, count: int
) -> None:
    # Given a job with an object that may have been written in parts
    monkeypatch.setattr(collector, "PUT_PART_BYTES", part_bytes)
    with World.open(ROUTE, config=CONFIG) as world:
        world.upload("a.jsonl", lines(records(count)))
        world.run(until=lambda: bool(world.bedrock_jobs()))
        (job,) = world.jobs()
        for key in (f"jobs/{job.job_id}/in/x", "jobs/another/in/x", "processed/x"):
            world.s3.create_multipart_upload(Bucket=world.bucket, Key=key)
        world.run()
        left = world.s3.list_multipart_uploads(Bucket=world.bucket)["Uploads"]
        assert [each["Key"] for each in left] == ["jobs/another/in/x", "processed/x"]


def test_the_counts_of_a_job_outlive_a_run_that_dies_after_it_deleted_them() -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        world.upload("a.jsonl", lines(records(10)))

        def kill(call: Call) -> None:
            if call.operation == "DeleteObjects":
                world.after = None
                world.kill()

        world.after = kill
        world.run()
        (job,) = world.jobs()
        assert world.errors
        assert (job.success_count, bool(job.input_tokens), bool(job.output_tokens)) == (10, True, True)


class Refusing:
    """An S3 client whose DeleteObjects succeeds, and deletes one of two objects."""

    def get_paginator(self, operation: str) -> Any:
        pages: Any = [{"Contents": [{"Key": "jobs/1/in/a"}, {"Key": "jobs/1/in/b"}]}]
        return type(
            "Pages", (), {"paginate": lambda *_, **__: pages if operation == "list_objects_v2" else []}
        )()

    def delete_objects(self, **_: Any) -> Any:
        return {"Errors": [{"Key": "jobs/1/in/b", "Code": "AccessDenied", "Message": "not s3:DeleteObject"}]}


def test_an_object_that_is_not_deleted_is_an_error() -> None:
    refusing: Any = Refusing()
    with pytest.raises(ClientError, match=r"AccessDenied.*s3:DeleteObject"):
        Bucket(refusing, "bucket").delete_folder("jobs/1/")
