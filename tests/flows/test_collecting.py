"""What it costs to collect a job, and that one chunk or upload does not keep the others from ending."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from batch_queue.core.rows import Status
from batch_queue.steps import settlement

from tests.support.errors import aws_error
from tests.support.invariants import check
from tests.support.routes import configured
from tests.support.world import HAIKU, Call, World, lines, records, statuses

pytestmark = pytest.mark.flows

UPLOADS = 60
ROUTE = configured("default", HAIKU, max_active_jobs=1, min_records_per_job=1, max_records_per_file=1_000)
#: Each record is a chunk.
ONES = replace(ROUTE, max_records_per_file=10)
CONFIG = {"models": {"*": {"min_records": 1}}}


def packed(world: World, uploads: int = UPLOADS) -> dict[str, list[dict[str, object]]]:
    """Uploads that end up in one job. Gives upload id → its records."""
    accepted = {}
    events = []
    for number in range(uploads):
        rows = records(2, f"u{number}-")
        upload_id, event = world.put(f"{number}.jsonl", lines(rows))
        accepted[upload_id] = rows
        events += event["Records"]
    world.send("create", {"Records": events})
    return accepted


def counted(world: World) -> Counter[str]:
    """The calls of the collector from now on, by operation."""
    calls: Counter[str] = Counter()
    world.after = lambda call: calls.update([call.operation] if call.function == "collect" else [])
    return calls


@pytest.mark.parametrize("days", [None, 1], ids=["rows are kept", "rows expire"])
def test_a_packed_job_is_collected_in_less_than_six_calls_for_an_upload(days: int | None) -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        world.keep_rows(days)
        calls = counted(world)
        accepted = packed(world)
        world.run()
        check(world, accepted, slots=1)
        assert len(world.jobs()) == 1
        assert calls.total() < 6 * UPLOADS
        # For each: its output, its transaction, its result, its summary and its row
        once = ("GetObject", "CopyObject", "PutObject")
        assert {name: calls[name] - UPLOADS for name in once} == {
            "GetObject": 1,
            "CopyObject": 0,
            "PutObject": 0,
        }
        assert calls["TransactWriteItems"] + calls["UpdateItem"] <= 2 * UPLOADS + 4
        assert not calls["HeadObject"]


def test_the_objects_of_a_job_of_one_upload_are_not_listed() -> None:
    with World.open(config=CONFIG) as world:
        calls = counted(world)
        rows = records(100)
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run()
        check(world, {upload_id: rows}, slots=1)
        assert (calls["ListObjectsV2"], calls["HeadObject"]) == (0, 1)


@pytest.mark.parametrize("gone", ["in", "out"])
def test_what_is_not_where_it_was_expected_is_looked_for(gone: str) -> None:
    # Given a job that wrote no output, or whose input somebody has deleted, before it is collected
    with World.open(config=CONFIG) as world:
        rows = records(100)
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run(lambda: any(job.status == Status.COMPLETED for job in world.jobs()))
        calls = counted(world)
        for key in world.left():
            if f"/{gone}/" in key:
                world.s3.delete_object(Bucket=world.bucket, Key=key)
        # When it is collected
        world.run()
        # Then nothing is lost, and nothing is left
        check(world, {upload_id: rows}, slots=1)
        assert bool(calls["ListObjectsV2"]) == (gone == "out")


def test_the_chunks_of_one_upload_are_settled_in_few_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlement, "CLOSED_AT_ONCE", 10)
    with World.open(ONES, config=CONFIG) as world:
        calls = counted(world)
        rows = records(25)
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run()
        check(world, {upload_id: rows}, slots=1)
        assert calls["TransactWriteItems"] == 3


def test_chunks_that_another_run_has_settled_do_not_keep_the_others_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with World.open(ONES, config=CONFIG) as world:
        rows = records(6)
        upload_id = world.upload("a.jsonl", lines(rows))
        closed: list[Call] = []

        # Given another run that settles the first chunk, and dies, before this one settles all
        def one_of_them(call: Call) -> None:
            if call.operation == "TransactWriteItems":
                closed.append(call)
                if len(closed) == 2:
                    world.kill()

        def meanwhile(call: Call) -> None:
            if call.function == "collect" and call.operation == "TransactWriteItems":
                (job,) = world.jobs()
                world.before = one_of_them
                monkeypatch.setattr(settlement, "CLOSED_AT_ONCE", 1)
                world.invoke("collect", {"job_id": job.job_id})
                monkeypatch.undo()
                world.before = None

        world.before = meanwhile
        calls = counted(world)
        world.run()
        # Then this one settles the rest all the same, and counts each once
        check(world, {upload_id: rows}, slots=1)
        assert len(closed) == 2
        assert calls["TransactWriteItems"] == 1 + (1 + 6)  # of the other run, of this one
        assert len(world.bedrock_jobs()) == 1


def test_an_upload_that_cannot_end_keeps_no_other_from_ending() -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        # Given one upload of a job whose result S3 does not let the collector write
        accepted = packed(world, uploads=4)

        def deny(call: Call) -> None:
            if call.operation == "CopyObject" and "/processed/1.jsonl.out" in call.params["url_path"]:
                raise aws_error("AccessDenied", 403, operation=call.operation)

        world.before = deny
        world.run(lambda: statuses(world)[Status.COMPLETED] == 3)
        # Then the others end; and so does it, as soon as that is allowed
        assert world.errors
        world.before = None
        world.run()
        check(world, accepted, slots=1)
        assert len(world.bedrock_jobs()) == 1
