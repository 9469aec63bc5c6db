"""Uploads of many chunks: stored in few calls, in as many runs as it takes, and never too many to join."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest
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
        # 98 chunks at once, 50 places at once, and a transaction before and after
        assert calls["create: TransactWriteItems"] == 5 + 8 + 2


@pytest.mark.parametrize("writes", range(1, 8))
def test_an_upload_whose_intake_dies_at_any_write_is_stored_by_the_next_run(writes: int) -> None:
    with World.open(ONES, config={"models": {"*": {"min_records": 1}}}) as world:
        world.upload("a.jsonl", lines(records(120)))
        made: list[str] = []

        # Given a run that dies after one of its writes: the cut, two of chunks, the upload, three of places
        def die(call: Call) -> None:
            if call.function == "create" and call.operation == "TransactWriteItems":
                made.append(call.operation)
                if len(made) == writes:
                    world.kill()

        world.after = die
        world.run(lambda: stored(world))
        # Then the next one writes what is missing: apart from the cut, nothing is written twice
        assert len(made) == (8 if writes <= 3 else 7)
        assert len(world.chunks()) == placed(world) == 120


def test_chunks_that_another_run_puts_into_the_queue_meanwhile_do_not_keep_the_others_out() -> None:
    with World.open(ONES, config={"models": {"*": {"min_records": 1}}}) as world:
        rows = records(60)
        upload_id = world.upload("a.jsonl", lines(rows))

        def meanwhile(call: Call) -> None:
            if call.enqueues:
                world.before = None
                chunks = world.queue.table.chunks
                chunks.enqueue(chunks.of(world.one_upload(upload_id))[3:5])

        world.before = meanwhile
        world.run()
        check(world, {upload_id: rows}, slots=1)


@pytest.mark.parametrize("what", ["STORE_SECONDS", "TWICE_SECONDS"])
def test_reading_leaves_the_time_that_the_rest_takes(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(validation, what, 100.0)
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
    monkeypatch.setattr(validation, limit, most)
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
    monkeypatch.setattr(validation, "RECORDS_PER_MB", 5)
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
        first = {job.arn for job in ran.values() if any(ref.number == 1 for ref in job.chunks)}
        # Then its row names the jobs of the first chunk, for a row has an end; and its summary names all
        assert len(ran) == 4
        assert len(first) < 4
        assert world.one_upload(upload_id).job_arns == first
        summary = world.s3.get_object(Bucket=world.bucket, Key="processed/a.jsonl.summary.json")
        assert json.loads(summary["Body"].read())["jobs"] == sorted(job.arn for job in ran.values())
