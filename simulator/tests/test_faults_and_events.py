"""Faults on demand, and the events of state changes."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from bedrock_batch_simulator import ApiError, ConfigError, Fault, Simulator
from bedrock_batch_simulator.events import creation_time, put_events_entry
from botocore.exceptions import ConnectionClosedError

from .world import ACCOUNT, CLAUDE, REGION, SMALL, World, records

ALL = ["Submitted", "Validating", "Scheduled", "InProgress", "Completed"]


def create(simulator: Simulator, world: World, name: str = "job-1") -> str:
    return str(simulator.call("CreateModelInvocationJob", world.request(name))["jobArn"])


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        ("throttling", "ThrottlingException", 429),
        ("quota", "ServiceQuotaExceededException", 400),
        ("server_error", "InternalServerException", 500),
        ("access_denied", "AccessDeniedException", 403),
        ("validation", "ValidationException", 400),
    ],
)
def test_a_fault_before_the_effect_strikes_the_next_calls_and_has_none(
    world: World, kind: Any, code: str, status: int
) -> None:
    # given a fault for the next two calls of Create
    simulator = world.simulator()
    simulator.add_fault(Fault(kind, "CreateModelInvocationJob", times=2))

    # when three calls come
    for _ in range(2):
        with pytest.raises(ApiError) as caught:
            create(simulator, world)
        assert (caught.value.code, caught.value.status) == (code, status)
    assert not simulator.jobs
    create(simulator, world)

    # then only the third had an effect, and the calls are counted so
    calls = simulator.state()["calls"]["CreateModelInvocationJob"]
    assert (calls["total"], calls["ok"], calls["errors"]) == (3, 1, {code: 2})


def test_an_answer_lost_after_the_effect_leaves_the_job(world: World) -> None:
    # given a fault that takes the answer away
    simulator = world.simulator()
    simulator.add_fault(Fault("answer_lost", times=1))

    # when a job is created
    with pytest.raises(ApiError, match="InternalServerException"):
        create(simulator, world)

    # then it exists, and the same token finds it
    (job,) = simulator.jobs.values()
    assert create(simulator, world) == job.arn


def test_a_lost_connection_is_botocore_s_own_error_and_leaves_the_job(world: World) -> None:
    simulator = world.simulator()
    bedrock = world.client(simulator)
    simulator.add_fault(Fault("connection_lost", "CreateModelInvocationJob", times=1))
    with pytest.raises(ConnectionClosedError):
        bedrock.create_model_invocation_job(**world.request())
    arn = bedrock.create_model_invocation_job(**world.request())["jobArn"]
    assert [job.arn for job in simulator.jobs.values()] == [arn]


def test_a_fault_with_a_probability_strikes_at_that_rate(world: World) -> None:
    simulator = world.simulator()
    create(simulator, world)
    simulator.add_fault(Fault.from_dict({"kind": "throttling", "probability": 0.3}))
    for _ in range(500):
        try:
            simulator.call("ListModelInvocationJobs", {})
        except ApiError:
            continue
    assert 100 <= simulator.calls["ListModelInvocationJobs"]["errors"]["ThrottlingException"] <= 200


def test_a_fault_for_one_operation_leaves_the_others_alone(world: World) -> None:
    simulator = world.simulator()
    simulator.add_fault(Fault("throttling", "CreateModelInvocationJob"))
    assert simulator.call("ListModelInvocationJobs", {}) == {"invocationJobSummaries": []}


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "fire"},
        {"kind": "quota", "operation": "Create"},
        {"kind": "quota", "times": 0},
        {"knd": "quota"},
    ],
)
def test_a_wrong_rule_is_refused_with_a_hint(rule: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"fault: .*(one of|known|positive)"):
        Fault.from_dict(rule)


def test_each_status_sends_an_event_of_the_documented_form(world: World) -> None:
    # given a job created at a known time
    world.put("in/a.jsonl", records(1))
    simulator = world.simulator()
    world.clock.set(dt.datetime(2026, 8, 28, 22, 47, 53, tzinfo=dt.UTC).timestamp())
    arn = create(simulator, world)

    # when it has ended
    simulator.advance(60)

    # then there is one event for each status, of the service's form
    assert world.statuses() == ALL
    last = world.events[-1]
    assert last["source"] == "aws.bedrock"
    assert last["detail-type"] == "Batch Inference Job State Change"
    assert last["resources"] == [arn]
    assert last["detail"] == {
        "version": "0.0",
        "accountId": ACCOUNT,
        "batchJobName": "job-1",
        "batchJobArn": arn,
        "batchModelId": f"arn:aws:bedrock:{REGION}::foundation-model/{CLAUDE}",
        "status": "Completed",
        "failureMessage": "",
        "creationTime": "Aug 28, 2026, 10:47:53 PM",
    }


def test_a_failed_job_s_event_says_why(world: World) -> None:
    simulator = world.simulator()
    create(simulator, world)
    simulator.advance(60)
    assert "no .jsonl file" in world.events[-1]["detail"]["failureMessage"]


@pytest.mark.parametrize(("hour", "text"), [(0, "12:00:00 AM"), (12, "12:00:00 PM"), (13, "1:00:00 PM")])
def test_the_creation_time_is_written_with_twelve_hours(hour: int, text: str) -> None:
    at = dt.datetime(2026, 2, 3, hour, tzinfo=dt.UTC).timestamp()
    assert creation_time(at) == f"Feb 3, 2026, {text}"


def test_events_come_in_ticks_never_within_a_call(world: World) -> None:
    simulator = world.simulator()
    create(simulator, world)
    assert world.events == []
    simulator.tick()
    assert world.statuses() == ["Submitted"]


def test_a_receiver_may_call_the_service(world: World) -> None:
    # given a receiver that creates a second job when the first has ended, and ticks
    world.put("in/a.jsonl", records(1))
    simulator = world.simulator({"models": {"*": {"min_records": 1, "max_active_jobs": 1}}})

    def receive(event: dict[str, Any]) -> None:
        if event["detail"]["status"] == "Completed" and len(simulator.jobs) == 1:
            create(simulator, world, "second")
            simulator.tick()

    simulator.emit = receive
    create(simulator, world, "first")

    # when time passes, then both end
    simulator.advance(60)
    assert [job.status for job in simulator.jobs.values()] == ["Completed", "Completed"]


def many(world: World, events: dict[str, Any]) -> Simulator:
    """A simulator after 40 jobs ran with these settings of events."""
    world.put("in/a.jsonl", records(1))
    simulator = world.simulator(
        {"models": {"*": {"min_records": 1, "max_active_jobs": 99}}, "events": events}
    )
    for number in range(40):
        create(simulator, world, f"n-{number}")
    simulator.advance(600)
    return simulator


def test_late_events(world: World) -> None:
    world.put("in/a.jsonl", records(1))
    simulator = world.simulator({**SMALL, "events": {"delay_seconds": 100}})
    create(simulator, world)
    simulator.advance(99.9)
    assert world.events == []
    simulator.advance(10)
    assert world.statuses() == ALL


def test_lost_events(world: World) -> None:
    simulator = many(world, {"loss_rate": 0.5})
    assert 60 <= len(world.events) <= 140
    assert simulator.state()["events"]["lost"] == 200 - len(world.events)


def test_doubled_events(world: World) -> None:
    many(world, {"duplicate_rate": 1})
    assert len(world.events) == 400
    assert len({event["id"] for event in world.events}) == 200


def test_events_out_of_order(world: World) -> None:
    many(world, {"reorder_rate": 0.5})
    assert len(world.events) == 200
    arns = {event["resources"][0] for event in world.events}
    assert any(world.statuses(arn) != ALL for arn in arns)


def test_no_events(world: World) -> None:
    many(world, {"enabled": False})
    assert world.events == []


def test_an_event_as_an_entry_of_put_events(world: World) -> None:
    simulator = world.simulator()
    create(simulator, world)
    simulator.tick()
    entry = put_events_entry(world.events[0])
    assert entry["Source"] == "aws.bedrock"
    assert entry["Time"] == dt.datetime.fromtimestamp(world.clock(), dt.UTC)
