"""Uploads of many chunks: stored in few calls, in as many runs as it takes, and never too many to join."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest
from batch_queue.aws.table import chunks as chunks_module
from batch_queue.aws.table import uploads as uploads_module
from batch_queue.core import admission
from batch_queue.core import rows as rows_module
from batch_queue.core.rows import Status
from batch_queue.steps import validation

from tests.support.invariants import check
from tests.support.routes import configured
from tests.support.world import HAIKU, Call, World, lines, records

pytestmark = pytest.mark.flows

#: Each record is a chunk.
ONES = configured(
    "default",
    HAIKU,
    max_active_jobs=1,
    min_records_per_job=1,
    max_records_per_file=10,
    max_records_per_job=500,
)


def stored(world: World) -> bool:
    """Whether an upload and all its chunks are in the queue, or were."""
    uploads = world.uploads()
    return bool(uploads) and all(upload.ready for upload in uploads)


def placed(world: World) -> int:
    """How many chunks are in the queue, or were."""
    return sum(bool(row.get("placed")) for row in world.rows())


def test_the_chunks_of_a_large_upload_are_stored_in_few_calls() -> None:
    with World.open(ONES, config={"models": {"*": {"min_records": 1}}}) as world:
        calls: Counter[str] = Counter()
        world.after = lambda call: calls.update([f"{call.function}: {call.operation}"])
        world.upload("a.jsonl", lines(records(400)))
        world.run(lambda: stored(world))
        assert len(world.chunks()) == placed(world) == 400
        # 25 chunks with their places at once, and before them the cut and the upload
        assert calls["create: TransactWriteItems"] == 2 + 16


@pytest.mark.parametrize("writes", range(1, 7))
def test_an_upload_whose_intake_dies_at_any_write_is_stored_by_the_next_run(writes: int) -> None:
    with World.open(ONES, config={"models": {"*": {"min_records": 1}}}) as world:
        world.upload("a.jsonl", lines(records(90)))
        made: list[str] = []

        # Given a run that dies after one of its writes: the cut, the upload, four of chunks and places
        def die(call: Call) -> None:
            if call.function == "create" and call.operation == "TransactWriteItems":
                made.append(call.operation)
                if len(made) == writes:
                    world.kill()

        world.after = die
        world.run(lambda: stored(world))
        # Then the next one writes what is missing: apart from the cut, nothing is written twice
        assert len(made) == (7 if writes == 1 else 6)
        assert len(world.chunks()) == placed(world) == 90


def test_chunks_that_another_run_puts_into_the_queue_meanwhile_do_not_keep_the_others_out() -> None:
    with World.open(ONES, config={"models": {"*": {"min_records": 1}}}) as world:
        rows = records(60)
        upload_id = world.upload("a.jsonl", lines(rows))

        def meanwhile(call: Call) -> None:
            if call.enqueues:
                world.before = None
                chunks = world.queue.table.chunks
                chunks.add(chunks.of(world.one_upload(upload_id))[3:5])

        world.before = meanwhile
        world.run()
        check(world, {upload_id: rows}, slots=1)


@pytest.mark.parametrize("dies", [False, True], ids=["ends", "dies"])
@pytest.mark.parametrize("at", [1, 2, 3], ids=["cut", "upload", "chunks"])
def test_two_runs_that_split_an_upload_differently_do_not_mix_their_chunks(at: int, dies: bool) -> None:
    with World.open(ONES, config={"models": {"*": {"min_records": 1}}}) as world:
        rows = records(90)
        upload_id, event = world.put("a.jsonl", lines(rows))
        writes: list[Call] = []
        others: list[Call] = []

        def before(call: Call) -> None:
            if call.operation != "TransactWriteItems":
                return
            if others:
                others.append(call)
                if dies and len(others) == 3:  # it has stored its cut
                    world.kill()
                return
            writes.append(call)
            if len(writes) == at:
                # Given a run that meets another one, for which chunks have two records each
                world.put_route(replace(ONES, max_records_per_file=20))
                others.append(call)
                world.send("create", event)
                world.step()

        world.before = before
        world.send("create", event)
        world.run()
        # Then the chunks are those of one of them
        assert len(others) > 2
        check(world, {upload_id: rows}, slots=1)
        assert world.one_upload(upload_id).chunks in (90, 45)


def test_storing_goes_on_in_another_run_without_reading_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks_module, "_ADDED_AT_ONCE", 10)
    with World.open(ONES, config={"models": {"*": {"min_records": 1}}}) as world:
        rows = records(60)
        upload_id = world.upload("a.jsonl", lines(rows))
        runs: set[str] = set()
        readings: list[Call] = []

        # Given a table that takes minutes for each transaction
        def slow(call: Call) -> None:
            if call.function == "create":
                runs.add(call.invocation.request_id)
                assert world.clock() < call.invocation.deadline
            if call.operation == "GetObject" and "to-process" in call.params["url_path"]:
                readings.append(call)
            if call.function == "create" and call.operation == "TransactWriteItems":
                world.clock.advance(220.0)

        world.before = slow
        world.run(lambda: stored(world))
        world.before = None
        # Then there are as many runs as it takes, each with four of them, of which only the first one reads
        assert len(runs) == 2
        assert len(readings) == 1
        assert not world.errors
        world.run()
        check(world, {upload_id: rows}, slots=1)


def test_the_rows_that_say_how_an_upload_is_cut_are_as_many_as_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(uploads_module, "_CUTS_AT_ONCE", 20)
    with World.open(ONES, config={"models": {"*": {"min_records": 1}}}) as world:
        world.keep_rows(1)
        rows = records(45)
        upload_id = world.upload("a.jsonl", lines(rows))
        # Given a run that dies when the upload is stored
        world.after = lambda _: world.kill() if world.uploads() else None
        world.run(lambda: bool(world.errors))
        world.after = None
        assert sum(row["sk"].startswith("cut") for row in world.rows()) == 3
        assert not world.chunks()
        # Then the next one stores all of its chunks; and in the end, all these rows expire
        world.run()
        check(world, {upload_id: rows}, slots=1)
        assert len(world.chunks()) == 45


@pytest.mark.parametrize("upload", [True, False], ids=["with its upload", "without"])
def test_chunks_that_an_earlier_version_stored_without_places_are_put_into_the_queue(upload: bool) -> None:
    with World.open(ONES, config={"models": {"*": {"min_records": 1}}}) as world:
        rows = records(60)
        upload_id, event = world.put("a.jsonl", lines(rows))
        world.send("create", event)
        # Given an intake of an earlier version that died after it had stored the chunks, and the upload
        world.run(lambda: stored(world))
        key = {"pk": upload_id, "sk": "upload"}
        for row in world.rows():
            if row["pk"].startswith("queue#"):
                world.table.delete_item(Key={"pk": row["pk"], "sk": row["sk"]})
            if row["sk"].startswith("chunk#"):
                own = {"pk": row["pk"], "sk": row["sk"]}
                world.table.update_item(Key=own, UpdateExpression="REMOVE placed")
        world.table.update_item(Key={**key, "sk": "cut"}, UpdateExpression="REMOVE cuts")
        if upload:
            world.table.update_item(Key=key, UpdateExpression="REMOVE ready")
        else:
            world.table.delete_item(Key=key)
        # When the event comes again
        world.events.clear()
        world.send("create", event)
        world.run()
        # Then all of them run
        check(world, {upload_id: rows}, slots=1)


def test_reading_leaves_the_time_that_the_search_for_duplicates_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(validation, "TWICE_SECONDS", 100.0)
    with World.open(ONES, config={"models": {"*": {"min_records": 1}}}) as world:
        runs: set[str] = set()
        world.before = lambda call: (
            runs.add(call.invocation.request_id) if call.function == "create" else None
        )
        rows = records(12)
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run()
        assert len(runs) == 4  # of 900 s: the first one reads nine records, and the others one each
        check(world, {upload_id: rows}, slots=1)


@pytest.mark.parametrize(
    ("limit", "most", "says"),
    [
        ("MAX_CHUNKS", 9, "9 chunks"),
        ("MAX_RECORDS", 9, "9 records"),
        ("MAX_BYTES", 99, "99 is the maximum"),
    ],
)
def test_an_upload_too_large_to_be_joined_is_rejected_before_it_costs_anything(
    monkeypatch: pytest.MonkeyPatch, limit: str, most: int, says: str
) -> None:
    monkeypatch.setattr(admission, limit, most)
    with World.open(ONES, config={"models": {"*": {"min_records": 1}}}) as world:
        upload_id = world.upload("a.jsonl", lines(records(10)))
        world.run()
        upload = world.one_upload(upload_id)
        assert upload.status == Status.REJECTED
        assert says in upload.message
        assert "split it into several" in upload.message
        assert upload.result_key == "processed/a.jsonl.rejected.json"
        assert not world.chunks()
        assert not world.bedrock_jobs()
        # And one that is as large as it may be runs
        fits = records(9) if most == 9 else [{"recordId": "a", "modelInput": {}}]
        upload_id = world.upload("b.jsonl", lines(fits))
        world.run()
        assert world.one_upload(upload_id).status != Status.REJECTED


def test_a_function_with_less_memory_takes_fewer_records_and_says_how_to_get_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admission, "RECORDS_PER_MB", 5)
    with World.open(ONES, config={"models": {"*": {"min_records": 1}}}) as world:
        world.queue = replace(world.queue, settings=replace(world.settings, memory_mb=2))
        upload_id = world.upload("a.jsonl", lines(records(11)))
        world.run()
        assert "more than 10 records: split it into several files, or raise lambda_memory_size" in (
            world.one_upload(upload_id).message
        )


def test_a_row_names_the_jobs_of_its_first_chunks_and_the_summary_names_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rows_module, "NAMED_CHUNKS", 1)
    faults = [{"outcome": "Expired", "fraction": 0.0, "times": 1}]
    alone = replace(ONES, max_records_per_job=1)
    with World.open(alone, config={"models": {"*": {"min_records": 1}}, "job_faults": faults}) as world:
        # Given an upload of three chunks, each in a job of its own, of which one runs twice
        upload_id = world.upload("a.jsonl", lines(records(3)))
        world.run()
        ran = {job.job_id: job for job in world.jobs()}
        first = {job.arn for job in ran.values() if any(ref.number == 1 for ref in world.runs(job).chunks)}
        # Then its row names the jobs of the first chunk, for a row has an end; and its summary names all
        assert len(ran) == 4
        assert len(first) < 4
        assert world.one_upload(upload_id).job_arns == first
        summary = world.s3.get_object(Bucket=world.bucket, Key="processed/a.jsonl.summary.json")
        assert json.loads(summary["Body"].read())["jobs"] == sorted(job.arn for job in ran.values())
