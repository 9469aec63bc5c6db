"""Rows expire, in any order, and nothing is paid for twice because of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
from batch_queue.core.rows import TERMINAL, Status

from tests.flows.test_lost_table import summary
from tests.flows.test_sweep import CONFIG, CUT, ONE_SLOT, numbers, swept
from tests.support.invariants import LASTING
from tests.support.world import Call, World, lines, records, statuses

pytestmark = pytest.mark.flows

DAY = 86_400.0


@pytest.fixture
def world() -> Iterator[World]:
    with World.open(ONE_SLOT) as world:
        world.keep_rows(1)
        yield world


def passing(world: World) -> set[str]:
    """The sort keys of the rows without an end that uploads and jobs have."""
    rows = [row for row in world.rows() if row["pk"] not in LASTING]
    return {row["sk"] for row in rows if "expires_at" not in row}


def test_rows_are_kept_for_ever_unless_somebody_says_how_long() -> None:
    with World.open(ONE_SLOT) as world:
        world.upload("a.jsonl", lines(records(100)))
        world.run()
        assert not [row for row in world.rows() if "expires_at" in row]


def test_every_row_of_what_has_ended_expires(world: World) -> None:
    world.upload("good.jsonl", lines(records(100)))
    world.upload("bad.jsonl", b"{")
    _, gone = world.put("gone.jsonl", lines(records(100)))
    version = gone["Records"][0]["s3"]["object"]["versionId"]
    world.s3.delete_object(Bucket=world.bucket, Key="to-process/gone.jsonl", VersionId=version)
    world.send("create", gone)
    world.run()
    assert passing(world) == set()
    ends = [row["expires_at"] for row in world.rows() if "expires_at" in row]
    assert len(ends) == 6  # three uploads, a chunk, a job and what it runs
    assert min(ends) > world.clock() + DAY - 3600
    assert max(ends) <= world.clock() + DAY
    world.clock.advance(DAY + 1)
    assert world.expire_rows() == len(ends)


def test_no_row_of_an_open_upload_expires() -> None:
    one_at_a_time = replace(ONE_SLOT, max_records_per_file=100, max_records_per_job=100)
    with World.open(one_at_a_time) as world:
        world.keep_rows(1)
        world.upload("a.jsonl", lines(records(300)))
        world.run(lambda: any(chunk.status == Status.COMPLETED for chunk in world.chunks()))
        (upload,) = world.uploads()
        assert upload.status not in TERMINAL
        assert not [row for row in world.rows() if row["pk"] == upload.upload_id and "expires_at" in row]
        world.run()
        assert passing(world) == set()


def test_what_expires_does_not_run_again_by_a_sweep_nor_by_its_event(world: World) -> None:
    events = {name: world.put(f"{name}.jsonl", lines(records(100, name)))[1] for name in ("one", "other")}
    bad = world.put("bad.jsonl", b"{")[1]
    for event in (*events.values(), bad):
        world.send("create", event)
    world.run()
    world.clock.advance(2 * DAY)
    # Whichever of the rows DynamoDB has deleted so far
    chance = random.Random(1)
    for _ in range(100):
        if not world.expire_rows(lambda: chance.random() < 0.3) and not passing(world):
            break
        # the sweep and the events, redriven from the dead-letter queue, find nothing to do
        counts = swept(world)
        assert counts["known"] + counts["done"] == counts["found"] == 3
        for event in (*events.values(), bad):
            assert world.invoke("create", event) is None
        world.run()
        assert len(world.bedrock_jobs()) == 1
    assert swept(world) == numbers(found=3, known=len(world.uploads()), done=3 - len(world.uploads()))


def test_an_old_event_of_what_has_never_run_is_taken_in(world: World) -> None:
    upload_id, event = world.put("a.jsonl", lines(records(100)))
    world.clock.advance(2 * DAY)
    assert world.invoke("create", event) is None
    world.run()
    assert world.one_upload(upload_id).status == Status.COMPLETED


def test_a_collector_that_dies_before_all_rows_are_marked_marks_them_in_its_next_run() -> None:
    with World.open(CUT, config=CONFIG) as world:
        world.keep_rows(1)
        world.upload("a.jsonl", lines(records(42)))
        marks: list[Call] = []

        def die(call: Call) -> None:
            if b"expires_at" in call.params.get("body", b"") and call.function == "collect":
                marks.append(call)
                if len(marks) == 2:
                    world.kill()

        world.before = die
        world.run(lambda: len(marks) > 2 and world.at_rest(), steps=3000)
        assert passing(world) == set()


def test_an_upload_whose_reports_were_deleted_runs_again_though_some_of_its_rows_are_left() -> None:
    with World.open(CUT, config=CONFIG) as world:
        world.keep_rows(1)
        rows = records(42)
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run()
        # Given only the upload's own row was deleted so far, and somebody deleted all that tells of it
        world.table.delete_item(Key={"pk": upload_id, "sk": "upload"})
        for prefix in ("processed/", "jobs/"):
            found = world.s3.list_object_versions(Bucket=world.bucket, Prefix=prefix)
            for one in found["Versions"]:
                world.s3.delete_object(Bucket=world.bucket, Key=one["Key"], VersionId=one["VersionId"])
        assert swept(world) == numbers(found=1, enqueued=1)
        # Then it is an upload like any other, which ends
        world.run(steps=3000)
        upload = world.one_upload(upload_id)
        assert upload.chunks_open == 0
        assert summary(world, "a.jsonl")["status"] == upload.status
        assert upload.success_count + upload.error_count == len(rows)
        assert passing(world) == set()
        assert statuses(world).total() == 1
