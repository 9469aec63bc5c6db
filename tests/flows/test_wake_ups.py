"""What wakes the processor, and what it does then."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from batch_queue.core.rows import Status

from tests.support.invariants import check
from tests.support.routes import configured
from tests.support.world import HAIKU, Call, Invocation, World, lines, records, statuses

pytestmark = pytest.mark.flows

ONE_SLOT = configured("default", HAIKU, max_active_jobs=1, min_records_per_job=1)
CONFIG: dict[str, Any] = {"models": {"*": {"min_records": 1, "max_active_jobs": 1}}}


def test_many_uploads_at_once_wake_the_processor_a_few_times() -> None:
    with World.open(ONE_SLOT, config=CONFIG) as world:
        sent: Counter[str] = Counter()

        def count(call: Call) -> None:
            if call.operation == "Invoke":
                sent[call.function] += 1

        world.before = count
        rows = {
            world.upload(f"{n}.jsonl", lines(records(5, f"{n}-"))): records(5, f"{n}-") for n in range(40)
        }
        for _ in range(40):
            world.step()
        # Then the first one has sent a wake-up, and nobody another
        assert sent == {"create": 1}
        world.run()
        check(world, rows, slots=1)


def test_a_job_that_ends_costs_one_look_up_and_no_job_more_than_that() -> None:
    with World.open(ONE_SLOT, config=CONFIG) as world:
        looks: Counter[str] = Counter()

        def count(call: Call) -> None:
            looks[call.operation] += 1

        world.before = count
        world.schedule = False
        for number in range(3):
            world.upload(f"{number}.jsonl", lines(records(5)))
            world.run()
        assert looks["GetModelInvocationJob"] == looks["CreateModelInvocationJob"] == 3


def event(world: World, status: str) -> dict[str, Any]:
    """The event of the only job, as Bedrock sends it."""
    (job,) = world.jobs()
    (found,) = world.bedrock_jobs()
    detail = {"batchJobName": job.job_name, "batchJobArn": found["jobArn"], "status": status}
    return {"source": "aws.bedrock", "detail": detail}


def test_lambdas_retry_of_an_event_fills_the_slot_that_the_first_try_did_not() -> None:
    # Given a job that has ended, and an upload that waits for its slot
    with World.open(ONE_SLOT, config=CONFIG) as world:
        world.upload("first.jsonl", lines(records(5)))
        world.run(lambda: bool(world.bedrock_jobs()) and not world.events)
        second = world.upload("second.jsonl", lines(records(5)))
        world.run(lambda: not world.events)
        world.schedule = False

        def die(call: Call) -> None:
            if call.function == "process" and call.operation == "Query":  # after the status is stored
                world.kill()

        world.before = die
        world.run(lambda: bool(world.errors))
        assert [job.status for job in world.jobs()] == [Status.COMPLETED]
        # When Lambda repeats the event
        world.before = None
        world.run(lambda: len(world.jobs()) == 2)
        # Then the slot is filled
        assert world.one_upload(second).status in (Status.SUBMITTED, Status.COMPLETED)


def test_an_event_that_bedrock_does_not_confirm_yet_is_tried_again() -> None:
    with World.open(ONE_SLOT, config=CONFIG) as world:
        world.upload("a.jsonl", lines(records(5)))
        world.run(lambda: bool(world.bedrock_jobs()) and not world.events)
        error = world.invoke("process", event(world, "Completed"))
        assert "its event Completed" in str(error)
        assert [job.status for job in world.jobs()] == [Status.SUBMITTED]
        world.run()
        assert statuses(world) == {Status.COMPLETED: 1}


def test_an_event_that_comes_late_does_not_move_a_job_back() -> None:
    with World.open(ONE_SLOT, config=CONFIG) as world:
        world.upload("a.jsonl", lines(records(5)))
        world.run()
        assert world.invoke("process", event(world, "InProgress")) is None
        assert [job.status for job in world.jobs()] == [Status.COMPLETED]


def test_an_event_that_knows_the_arn_before_the_row_does_ends_the_job() -> None:
    # Given a run that is killed after Bedrock has accepted its job
    with World.open(ONE_SLOT, config=CONFIG) as world:
        rows = records(5)
        upload_id = world.upload("a.jsonl", lines(rows))

        def die(call: Call) -> None:
            if call.operation == "CreateModelInvocationJob":
                world.kill()

        world.after = die
        world.run(lambda: bool(world.errors))
        world.after = None
        assert not world.jobs()[0].arn
        # When the event of its end comes before Lambda's retry
        world.events[:] = [each for each in world.events if "detail" in each[3]]
        world.schedule = False
        world.run(lambda: world.one_upload(upload_id).status == Status.COMPLETED)
        world.schedule = True
        world.run()
        # Then the upload has its result, and its row names the job
        check(world, {upload_id: rows}, slots=1)
        assert world.one_upload(upload_id).job_arns == {world.jobs()[0].arn}


def test_the_schedule_finds_what_no_event_has_told_with_one_list() -> None:
    with World.open(configured("default", HAIKU)) as world:
        world.bedrock_events = False
        world.simulator.configure({"models": {"*": {"schedule_seconds": 10_000}}})
        for number in range(4):
            world.upload(f"{number}.jsonl", lines(records(100)))
        world.run(lambda: len(world.bedrock_jobs()) == 4 and not world.events)
        looks: Counter[str] = Counter()

        def count(call: Call) -> None:
            looks[call.operation] += 1

        world.before = count
        world.invoke("process", {})
        assert {job.status for job in world.jobs()} == {Status(world.bedrock_jobs()[0]["status"])}
        assert looks["GetModelInvocationJob"] == 0
        world.before = None
        world.run(steps=2_000)
        assert statuses(world) == {Status.COMPLETED: 4}


def test_a_slot_whose_job_has_ended_is_filled_though_its_event_has_not_come() -> None:
    # Given two jobs that have ended, an event of one of them, and two uploads that wait
    two = configured("default", HAIKU, max_active_jobs=2, min_records_per_job=1, max_records_per_job=5)
    config = {"models": {"*": {"min_records": 1, "max_active_jobs": 2}}}
    with World.open(two, config=config) as world:
        world.schedule = False
        for number in range(4):
            world.upload(f"{number}.jsonl", lines(records(5, f"{number}-")))
        world.run(lambda: len(world.bedrock_jobs()) == 2 and not world.events)
        world.bedrock_events = False
        while due := world.simulator.next_due():
            world.clock.set(due)
            world.simulator.tick()
        first = world.jobs()[0]
        detail = {"batchJobName": first.job_name, "batchJobArn": first.arn, "status": "Completed"}
        # When it arrives
        world.invoke("process", {"detail": detail})
        # Then both slots are filled, and the job without an event is collected
        assert len(world.bedrock_jobs()) == 4
        assert [event[2] for event in world.events].count("collect") == 2


@pytest.mark.parametrize("change", [{"status": "Dreaming"}, {"status": None}, {"batchJobArn": None}])
def test_an_event_that_says_less_than_bedrocks_has_the_processor_look(change: dict[str, Any]) -> None:
    # Given a job that has ended, whose event has a status that nobody knows, or lacks something
    with World.open(ONE_SLOT, config=CONFIG) as world:
        world.schedule = False
        world.bedrock_events = False
        world.upload("a.jsonl", lines(records(5)))
        world.run(lambda: bool(world.bedrock_jobs()) and not world.events)
        while due := world.simulator.next_due():
            world.clock.set(due)
            world.simulator.tick()
        told = event(world, "Completed")
        told["detail"] = {k: v for k, v in (told["detail"] | change).items() if v is not None}
        # When it comes
        assert world.invoke("process", told) is None
        # Then the job is found to have ended
        assert [job.status for job in world.jobs()] == [Status.COMPLETED]


def test_a_wake_up_that_lambda_does_not_accept_is_sent_by_the_next_upload() -> None:
    with World.open(ONE_SLOT, config=CONFIG) as world:
        world.schedule = False

        def refuse(call: Call) -> None:
            if call.operation == "Invoke":
                world.kill()

        world.before = refuse
        world.upload("a.jsonl", lines(records(5)))
        world.step()
        assert world.errors
        world.events.clear()
        world.before = None
        # When another comes, at a time at which the first wake-up can only be lost
        world.clock.advance(31)
        world.upload("b.jsonl", lines(records(5)))
        world.run()
        assert statuses(world) == {Status.COMPLETED: 2}


def test_a_run_that_gathers_uploads_makes_one_job_of_those_that_come() -> None:
    # Given one slot, and uploads that come a second apart
    with World.open(ONE_SLOT, config=CONFIG) as world:
        rows = {}
        waiting = []
        for number in range(5):
            upload_id, arrives = world.put(f"{number}.jsonl", lines(records(5, f"{number}-")))
            rows[upload_id] = records(5, f"{number}-")
            waiting.append(arrives)

        def arrive(seconds: float) -> None:
            """While the processor sleeps, other functions run."""
            world.clock.advance(seconds)
            if waiting:
                world.invoke("create", waiting.pop(0), Invocation("create", "other", world.clock() + 900))

        world.pause = arrive
        world.invoke("create", waiting.pop(0))
        world.run()
        check(world, rows, slots=1)
        assert len(world.bedrock_jobs()) == 1
