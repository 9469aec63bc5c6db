"""Whatever waits has an end or says so: in the rows of its uploads, and in the age that the alarm watches."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from batch_queue.core.rows import Status
from batch_queue.steps import submission
from bedrock_batch_simulator import Fault

from tests.support.errors import aws_error
from tests.support.routes import configured
from tests.support.world import HAIKU, Call, World, lines, records

from .test_metrics import told

pytestmark = pytest.mark.flows

HOUR = 3600.0
DAY = 24 * HOUR
LIMITS = {"min_records_per_job": 1, "max_records_per_job": 5, "max_records_per_file": 5}
ANY_SIZE = {"models": {"*": {"min_records": 1, "start_seconds": 60.0}}}


def failing(world: World, function: str, operation: str, fail: Callable[[], None]) -> None:
    """Has a function fail at each call of this operation."""

    def before(call: Call) -> None:
        if (call.function, call.operation) == (function, operation):
            fail()

    world.before = before


def test_the_rest_of_an_upload_says_that_its_route_was_removed(capsys: pytest.CaptureFixture[str]) -> None:
    # Given an upload of which a part runs and a part waits
    route = configured("chat", HAIKU, max_active_jobs=1, **LIMITS)
    with World.open(route, config=ANY_SIZE) as world:
        upload_id = world.upload("chat/a.jsonl", lines(records(10)))
        world.run(
            lambda: world.one_upload(upload_id).status == Status.SUBMITTED if world.uploads() else False
        )
        # When its route is removed
        world.table.delete_item(Key={"pk": "route", "sk": "chat"})
        world.run(lambda: not world.events and all(job.collected_at for job in world.jobs()))
        began = world.clock()
        capsys.readouterr()
        world.run(lambda: world.clock() > began + 3 * HOUR)
        # Then the row and the alarm's metric say so, until the route is back
        upload = world.one_upload(upload_id)
        assert upload.status == Status.SUBMITTED
        assert upload.message == "waiting: the route chat is no longer configured. Add it again."
        assert told(capsys, "OldestPendingAge")["OldestPendingAge"][-1] > 3 * HOUR
        world.put_route(route)
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED


def test_records_that_return_to_a_route_that_was_removed_say_so() -> None:
    # Given a job that does not start, of a route that is removed while its queue is empty
    with World.open(configured("chat", HAIKU)) as world:
        world.simulator.configure({"models": {"*": {"schedule_seconds": 10 * DAY}}})
        upload_id = world.upload("chat/a.jsonl", lines(records(100)))
        world.run(lambda: [job.status for job in world.jobs()] == [Status.SCHEDULED])
        world.table.delete_item(Key={"pk": "route", "sk": "chat"})
        world.invoke("process", {})
        # When the job expires
        world.run(lambda: any(job.collected_at for job in world.jobs()) and not world.events, steps=2_000)
        world.invoke("process", {})
        # Then its records wait for the route
        assert "the route chat is no longer configured" in world.one_upload(upload_id).message


@pytest.mark.parametrize(("count", "end"), [(100, Status.COMPLETED), (40, Status.REJECTED)])
def test_an_upload_that_waits_for_a_slot_says_so(count: int, end: Status) -> None:
    with World.open(configured("default", HAIKU, max_active_jobs=1)) as world:
        # Given an upload that waits for others, or is enough for a job
        upload_id = world.upload("a.jsonl", lines(records(count)))
        began = world.clock()
        world.simulator.add_foreign(HAIKU, count=1, seconds=3 * HOUR)
        # When somebody else holds the only slot of its model for longer than it waits for others
        world.run(lambda: world.clock() > began + HOUR)
        upload = world.one_upload(upload_id)
        assert (upload.status, upload.message) == (Status.PENDING, f"waiting: no slot of {HAIKU} is free")
        # Then it goes on when the slot is free
        world.run()
        upload = world.one_upload(upload_id)
        assert upload.status == end
        assert "no slot" not in upload.message


def test_a_reason_that_bedrock_gave_is_not_replaced() -> None:
    with World.open(configured("default", HAIKU, max_active_jobs=1)) as world:
        world.simulator.add_fault(Fault("quota", "CreateModelInvocationJob", times=3))
        upload_id = world.upload("a.jsonl", lines(records(100)))
        world.run(lambda: bool(world.jobs()) and not world.events)
        assert "Exception" in world.one_upload(upload_id).message


def held_by_bedrock(world: World) -> str:
    """Bedrock accepts no job any more."""

    def throttle() -> None:
        raise aws_error("ThrottlingException", 429)

    failing(world, "process", "CreateModelInvocationJob", throttle)
    return "waiting: ThrottlingException: no"


def held_by_the_collector(world: World) -> str:
    """Each collector dies."""
    failing(world, "collect", "ListObjectsV2", world.kill)
    return (
        "waiting: a job has ended as Completed, but its output could not be collected yet. "
        "See the log of collect_results."
    )


def never_ended(world: World) -> str:
    """Somebody stops the job, and Bedrock does not come to an end with that."""
    (job,) = world.bedrock_jobs()
    world.simulator.call("StopModelInvocationJob", {"jobIdentifier": job["jobArn"]})
    return (
        f"waiting: the job {job['jobName']} has been Stopping at Bedrock for more than 8 days. Stop it in "
        "the Bedrock console, or ask AWS Support why it does not end."
    )


@pytest.mark.parametrize(
    ("hold", "hours"), [(held_by_bedrock, 3), (held_by_the_collector, 3), (never_ended, 9 * 24)]
)
def test_a_job_that_does_not_go_on_is_told(
    hold: Callable[[World], str], hours: int, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {"models": {"*": {"min_records": 1, "start_seconds": 60.0, "stopping_seconds": 30 * DAY}}}
    with World.open(configured("default", HAIKU, max_active_jobs=1, **LIMITS), config=config) as world:
        # Given an upload of two jobs, of which the first runs
        upload_id = world.upload("a.jsonl", lines(records(10)))
        world.run(lambda: [job.status for job in world.jobs()] == [Status.IN_PROGRESS])
        # When a job does not go on
        words = hold(world)
        began = world.clock()
        world.run(lambda: world.clock() > began + HOUR / 2)
        assert told(capsys, "OldestPendingAge")["OldestPendingAge"][-1] < HOUR
        world.clock.advance((hours - 1) * HOUR)
        world.invoke("process", {})
        # Then the row says why, and the alarm's metric how long
        assert world.one_upload(upload_id).message == words
        assert told(capsys, "OldestPendingAge")["OldestPendingAge"][-1] > (hours - 1) * HOUR


def test_records_on_demand_whose_runs_die_before_they_ask_are_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    route = configured("default", HAIKU, undersized="on_demand", pack_wait_minutes=0)
    with World.open(route) as world:
        # Given too few records, and runs that die before they ask the model
        failing(world, "collect", "GetObject", world.kill)
        upload_id = world.upload("a.jsonl", lines(records(10)))
        began = world.clock()
        # When that goes on for hours
        world.run(lambda: world.clock() > began + 3 * HOUR)
        # Then the row says it, and the alarm's metric how long
        assert world.one_upload(upload_id).message.startswith("waiting: records run on demand for more than")
        assert told(capsys, "OldestPendingAge")["OldestPendingAge"][-1] > 2 * HOUR


def test_a_job_that_bedrock_neither_takes_nor_lists_goes_on_when_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(submission, "MAX_TRIES", 4)
    with World.open(configured("default", HAIKU)) as world:
        # Given a job that Bedrock never answered, at its last try, in an account that may not list jobs
        heals = False

        def before(call: Call) -> None:
            if call.operation == "ListModelInvocationJobs":
                raise aws_error("AccessDeniedException", 403)
            if call.operation == "CreateModelInvocationJob" and not heals:
                raise aws_error("InternalServerException", 500, "it broke")

        world.before = before
        upload_id = world.upload("a.jsonl", lines(records(100)))
        world.run(lambda: max((job.tries for job in world.jobs()), default=0) > 6)
        assert world.one_upload(upload_id).message == "waiting: InternalServerException: it broke"
        # When Bedrock takes jobs again
        heals = True
        world.run()
        # Then it takes this one
        assert world.one_upload(upload_id).status == Status.COMPLETED
        assert len(world.bedrock_jobs()) == 1
