"""What costs a record one of its attempts, and what does not: a job that never began is no attempt."""

import json
from functools import partial

import pytest
from batch_queue.aws.table.items import chunk_of
from batch_queue.core.rows import Status, Upload
from batch_queue.steps import outcome

from tests.support.routes import configured
from tests.support.world import HAIKU, Call, World, lines, records

pytestmark = pytest.mark.flows

ANY_SIZE = {"models": {"*": {"min_records": 1}}}
PASSING = "Internal error, please try again."
DAY = 86_400.0


def seen_in(world: World, upload_id: str) -> list[Upload]:
    """The upload's row after each call, wherever its message or its status has changed."""
    rows: list[Upload] = []

    def look(_: Call) -> None:
        for upload in world.uploads():
            known = rows[-1] if rows else None
            if upload.upload_id == upload_id and (
                known is None or (known.status, known.message) != (upload.status, upload.message)
            ):
                rows.append(upload)

    world.after = look
    return rows


def only_scheduled(world: World) -> None:
    """Bedrock begins no job any more, so that each expires."""
    world.simulator.configure({"models": {"*": {"schedule_seconds": 10 * DAY}}})


def begins_again(world: World) -> None:
    world.simulator.configure({"models": {"*": {"schedule_seconds": 1.0}}})


def attempts(world: World, key: str) -> int:
    body = world.s3.get_object(Bucket=world.bucket, Key=f"processed/{key}.summary.json")["Body"].read()
    return int(json.loads(body)["attempts"])


def test_jobs_that_expire_before_they_begin_cost_no_attempt_and_the_row_says_so() -> None:
    with World.open(configured("default", HAIKU)) as world:
        # Given a queue at Bedrock that is longer than a job waits
        only_scheduled(world)
        upload_id = world.upload("a.jsonl", lines(records(200)))
        rows = seen_in(world, upload_id)
        world.run(lambda: len(world.bedrock_jobs()) > 3, steps=2_000)
        # When it is short again
        begins_again(world)
        world.run(steps=2_000)
        # Then every record is answered at its first attempt
        upload = world.one_upload(upload_id)
        assert (upload.status, upload.success_count, upload.message) == (Status.COMPLETED, 200, "")
        assert attempts(world, "a.jsonl") == 1
        # And meanwhile the row said why it waits
        words = "waiting: a job expired before it started; 200 records are in the queue again"
        assert words in [row.message for row in rows]
        # But not while its next job was at Bedrock
        noted = next(at for at, row in enumerate(rows) if row.message == words)
        assert rows[noted + 1].message == ""


def test_jobs_that_expire_after_they_began_cost_an_attempt_each() -> None:
    config = {
        "models": {"*": {"start_seconds": 60.0}},
        "job_faults": [{"outcome": "Expired", "fraction": 0.0}],
    }
    with World.open(configured("default", HAIKU), config=config) as world:
        upload_id = world.upload("a.jsonl", lines(records(100)))
        world.run(steps=2_000)
        assert world.one_upload(upload_id).status == Status.EXPIRED
        assert len(world.bedrock_jobs()) == attempts(world, "a.jsonl") == 3


def test_an_output_shows_that_a_job_ran_that_nobody_saw_in_progress() -> None:
    # Given jobs that begin and expire between two looks, with half of the answers
    route = configured("default", HAIKU, min_records_per_job=1, max_record_attempts=2)
    faults = [{"outcome": "Expired", "fraction": 0.5}]
    with World.open(route, config={**ANY_SIZE, "job_faults": faults}) as world:
        world.bedrock_events = False
        upload_id = world.upload("a.jsonl", lines(records(8)))
        world.run(steps=2_000)
        assert not any(job.started_at for job in world.jobs())
        upload = world.one_upload(upload_id)
        assert (upload.status, upload.success_count) == (Status.PARTIALLY_COMPLETED, 6)
        assert len(world.bedrock_jobs()) == 2


def test_records_whose_neighbours_are_deleted_time_and_again_keep_their_attempts() -> None:
    with World.open(configured("default", HAIKU)) as world:
        kept = world.upload("kept.jsonl", lines(records(60, "kept-")))
        rows = seen_in(world, kept)
        # Given four neighbours, each of which is deleted before its job is staged
        for number in range(4):
            world.upload(f"{number}.jsonl", lines(records(60, f"u{number}-")))
            for event in [event for event in list(world.events) if event[2] == "create"]:
                world.invoke("create", event[3])
            world.events.clear()
            found = world.s3.list_object_versions(Bucket=world.bucket, Prefix=f"to-process/{number}.jsonl")
            version = found["Versions"][0]["VersionId"]
            world.s3.delete_object(Bucket=world.bucket, Key=f"to-process/{number}.jsonl", VersionId=version)
            world.invoke("process", {})
            world.run(lambda: not world.events)
        assert max(chunk.attempt for chunk in world.chunks() if chunk.upload_id == kept) == 5
        # When another comes that stays
        world.upload("other.jsonl", lines(records(60, "other-")))
        world.run()
        upload = world.one_upload(kept)
        assert (upload.status, upload.success_count) == (Status.COMPLETED, 60)
        assert "waiting: too few records were left in a job; 60 records are in the queue again" in [
            row.message for row in rows
        ]


def test_records_that_were_left_alone_before_they_ran_are_rejected_with_a_report() -> None:
    with World.open(configured("default", HAIKU)) as world:
        kept = world.upload("kept.jsonl", lines(records(60, "kept-")))
        world.upload("gone.jsonl", lines(records(60, "gone-")))
        for event in list(world.events):
            world.invoke("create", event[3])
        version = world.s3.list_object_versions(Bucket=world.bucket, Prefix="to-process/gone.jsonl")
        world.s3.delete_object(
            Bucket=world.bucket, Key="to-process/gone.jsonl", VersionId=version["Versions"][0]["VersionId"]
        )
        world.run()
        upload = world.one_upload(kept)
        assert upload.status == Status.REJECTED
        assert "60 records are fewer than the 100 that Bedrock requires" in upload.message
        assert upload.result_key == "processed/kept.jsonl.rejected.json"


def test_a_job_that_bedrock_fails_for_a_passing_reason_before_it_begins_costs_no_attempt() -> None:
    route = configured("default", HAIKU, min_records_per_job=1, max_record_attempts=1)
    with World.open(route, config=ANY_SIZE) as world:
        upload_id = world.upload("a.jsonl", lines(records(5)))
        rows = seen_in(world, upload_id)
        # Given a job that fails while it is Scheduled
        only_scheduled(world)
        world.run(lambda: bool(world.bedrock_jobs()) and world.bedrock_jobs()[0]["status"] == "Scheduled")
        (job,) = world.simulator.jobs.values()
        world.simulator._end(job, "Failed", PASSING, world.clock())
        begins_again(world)
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED
        assert f"waiting: a job failed before it started ({PASSING}); 5 records are in the queue again" in [
            row.message for row in rows
        ]


def asked_for(world: World, jobs: int) -> bool:
    return len(world.bedrock_jobs()) == jobs


@pytest.mark.parametrize("count", [1, 3])
def test_a_job_that_somebody_stops_before_it_begins_costs_an_attempt(count: int) -> None:
    # So that who stops a job of the queue time and again gets rid of its records.
    route = configured("default", HAIKU, min_records_per_job=1, max_record_attempts=count)
    with World.open(route, config=ANY_SIZE) as world:
        only_scheduled(world)
        upload_id = world.upload("a.jsonl", lines(records(5)))
        for number in range(1, count + 1):
            world.run(partial(asked_for, world, number))
            arn = world.bedrock_jobs()[-1]["jobArn"]
            world.simulator.call("StopModelInvocationJob", {"jobIdentifier": arn})
        world.run()
        assert world.one_upload(upload_id).status == Status.STOPPED


def test_records_whose_jobs_do_not_start_end_at_last_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome, "UNSTARTED_DAYS", 3)
    with World.open(configured("default", HAIKU)) as world:
        only_scheduled(world)
        upload_id = world.upload("a.jsonl", lines(records(100)))
        began = world.clock()
        world.run(steps=2_000)
        assert 3 * DAY <= world.clock() - began < 5 * DAY
        upload = world.one_upload(upload_id)
        assert (upload.status, upload.error_count) == (Status.EXPIRED, 100)
        words = "Not run: no job with these records has started for 3 days. The last one ended as Expired"
        assert words in upload.message
        found = world.result(upload)
        assert {row["error"]["errorCode"] for row in found} == {"JobExpired"}
        assert all(words in row["error"]["errorMessage"] for row in found)
        assert attempts(world, "a.jsonl") == 0


def test_each_attempt_of_a_chunk_from_an_older_version_was_a_run() -> None:
    row = {"attempt": 3, "number": 1, "route": "default", "key": "a", "start": 0, "end": 9, "records": 1}
    older = {"pk": "u", "sk": "chunk#000001", "status": "Pending", "created_at": "", **row}
    assert chunk_of(older).runs == 2
    assert chunk_of({**older, "runs": 1}).runs == 1
