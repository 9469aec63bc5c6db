"""The table's conditional writes: what may happen once happens once, and nothing goes back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from batch_queue.aws.table import Table
from batch_queue.aws.table.chunks import Closing
from batch_queue.core.rows import Chunk, Counts, Status

from tests.support.routes import configured
from tests.support.world import HAIKU, Call, World, lines, records

pytestmark = pytest.mark.flows

ROUTE = configured("default", HAIKU, min_records_per_job=1)
CONFIG = {"models": {"*": {"min_records": 1}}}


@dataclass
class Pending:
    """A world with one upload of one chunk that waits in the queue."""

    world: World
    table: Table
    chunk: Chunk


@pytest.fixture
def pending() -> Iterator[Pending]:
    with World.open(ROUTE, config=CONFIG) as world:
        world.upload("a.jsonl", lines(records(3)))
        world.invoke("create", world.events.pop(0)[3])
        (chunk,) = world.chunks()
        yield Pending(world, world.unhooked(), chunk)


def test_a_chunk_that_one_job_has_is_not_given_to_another(pending: Pending) -> None:
    assert pending.table.chunks.claim([pending.chunk], "one")
    assert pending.table.chunks.claim([pending.chunk], "one"), "the same job may ask again"
    assert not pending.table.chunks.claim([pending.chunk], "two")


def test_a_group_of_which_another_job_has_one_chunk_is_claimed_without_it() -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        for number in range(3):
            world.upload(f"{number}.jsonl", lines(records(3)))
        for _, _, function, event, _, _ in [*world.events]:
            world.invoke(function, event)
        chunks = world.chunks()
        claim = world.unhooked().chunks.claim
        assert claim([chunks[1]], "one") == [chunks[1]]
        assert claim(chunks, "two") == [chunks[0], chunks[2]]
        assert not [row for row in world.rows() if row["pk"].startswith("queue#")]


def test_a_chunk_is_not_claimed_at_an_attempt_that_is_over(pending: Pending) -> None:
    # Given a chunk that a job had and that is to run again
    pending.table.chunks.claim([pending.chunk], "one")
    assert pending.table.chunks.close([Closing(replace(pending.chunk, attempt=2))], "one")
    # When a run claims it that has read it before
    # Then it does not get it
    assert not pending.table.chunks.claim([pending.chunk], "two")


def test_what_is_settled_is_not_counted_again(pending: Pending) -> None:
    pending.table.chunks.claim([pending.chunk], "one")
    ended = Closing(replace(pending.chunk, status=Status.COMPLETED), Counts(success=3))
    assert pending.table.chunks.close([ended], "one")
    assert not pending.table.chunks.close([ended], "one")
    (upload,) = pending.world.uploads()
    assert (upload.success_count, upload.chunks_open) == (3, 0)


def test_the_lease_is_one_runs_until_its_time_is_up(pending: Pending) -> None:
    assert pending.table.lease.acquire("one", now=100, until=400)
    assert not pending.table.lease.acquire("two", now=399, until=700)
    assert pending.table.lease.acquire("two", now=401, until=700)


def test_an_upload_does_not_go_back(pending: Pending) -> None:
    upload_id = pending.chunk.upload_id
    assert pending.table.uploads.advance(upload_id, Status.IN_PROGRESS, "now", "")
    assert not pending.table.uploads.advance(upload_id, Status.SUBMITTED, "now", "")
    assert pending.world.one_upload(upload_id).status == Status.IN_PROGRESS


def test_an_upload_ends_only_when_its_result_is_in_place() -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        upload_id = world.upload("a.jsonl", lines(records(3)))

        def look(call: Call) -> None:
            for upload in world.uploads():
                assert upload.status != Status.COMPLETED or len(world.result(upload)) == 3, call

        world.after = look
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED
        assert not world.errors


def test_the_uploads_of_a_job_whose_run_died_are_told_by_the_next_one() -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        # Given a run that dies as soon as it has stored the ARN of a job, which runs for long
        world.simulator.configure({"models": {"*": {"schedule_seconds": 10_000}}})
        upload_id = world.upload("a.jsonl", lines(records(3)))

        def die(call: Call) -> None:
            if call.operation == "UpdateItem" and b'"arn"' in call.params["body"]:
                world.kill()

        world.after = die
        world.run(lambda: bool(world.errors))
        assert world.one_upload(upload_id).status == Status.PENDING
        # When Lambda repeats its event
        world.after = None
        world.run(lambda: not world.events)
        # Then the row of its upload says so
        (job,) = world.jobs()
        upload = world.one_upload(upload_id)
        assert (upload.status, upload.job_arns) == (Status.SUBMITTED, {job.arn})


def test_a_job_whose_answer_was_lost_is_asked_for_with_the_same_token_and_made_once() -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        # Given that no event says which ARN the job has
        world.bedrock_events = False
        world.upload("a.jsonl", lines(records(3)))
        tokens: list[str] = []

        def note(call: Call) -> None:
            if call.operation == "CreateModelInvocationJob":
                tokens.append(json.loads(call.params["body"])["clientRequestToken"])

        def lose_the_first(call: Call) -> None:
            if call.operation == "CreateModelInvocationJob" and len(tokens) == 1:
                world.kill()

        world.before = note
        world.after = lose_the_first
        world.run()
        (job,) = world.jobs()
        assert tokens == [job.job_id, job.job_id]
        assert len(world.bedrock_jobs()) == 1
