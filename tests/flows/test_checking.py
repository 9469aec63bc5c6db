"""The order to check: what Bedrock says of the models, asked in the middle of the queue's work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import botocore
import pytest
from batch_queue.core.rows import Status
from batch_queue.steps import checking
from bedrock_batch_simulator.faults import Fault

from tests.support.errors import aws_error
from tests.support.invariants import check
from tests.support.routes import configured
from tests.support.world import HAIKU, NAME, Call, World, lines, records

pytestmark = pytest.mark.flows

SLOW = {"models": {"*": {"min_records": 1, "records_per_second": 0.01}}}
NOVA = "us.amazon.nova-lite-v1:0"
CREATE = "CreateModelInvocationJob"
ROUTES = (
    configured("default", HAIKU, max_active_jobs=1, min_records_per_job=1),
    configured("again", HAIKU, max_active_jobs=1),
    configured("chat", NOVA, invocation_type="Converse"),
)


@pytest.fixture
def world() -> Iterator[World]:
    with World.open(*ROUTES, config=SLOW) as world:
        yield world


def asked(world: World) -> dict[str, dict[str, Any]]:
    """What the order answers, by model."""
    return {model["model_id"]: model for model in world.order("check")["models"]}


def test_the_order_says_which_models_run_batch_and_touches_nothing(world: World) -> None:
    # Given a queue at work, whose only slot is taken, with an upload that waits
    first = world.upload("a.jsonl", lines(records(5, "a")))
    world.run(lambda: [job.status for job in world.jobs()] == [Status.IN_PROGRESS])
    second = world.upload("b.jsonl", lines(records(5, "b")))
    world.run(lambda: len(world.uploads()) == 2 and not world.events)
    before = world.rows()
    # When somebody has it checked
    told = world.order("check")
    # Then every model and invocation type is named once, with its routes
    words = f"Bedrock takes batch jobs of {HAIKU}."
    assert told == {
        "order": "check",
        "boto3": boto3.__version__,
        "botocore": botocore.__version__,
        "converse": True,
        "models": [
            {
                "model_id": HAIKU,
                "invocation_type": "InvokeModel",
                "routes": ["again", "default"],
                "batch": "yes",
                "about": "input",
                "words": words,
            },
            {
                "model_id": NOVA,
                "invocation_type": "Converse",
                "routes": ["chat"],
                "batch": "yes",
                "about": "input",
                "words": words.replace(HAIKU, NOVA),
            },
        ],
    }
    # And nothing was stored, no job was created, and nobody was woken
    assert world.rows() == before
    assert len(world.bedrock_jobs()) == 1
    assert not world.events
    world.run()
    check(world, {first: records(5, "a"), second: records(5, "b")}, slots=1)


def test_a_model_that_runs_no_batch_jobs_is_named(world: World) -> None:
    world.simulator.configure({"models": {NOVA: {"batch": False}}})
    found = asked(world)
    assert (found[HAIKU]["batch"], found[NOVA]["batch"], found[NOVA]["about"]) == ("yes", "no", "model")
    assert "Batch inference is not supported" in found[NOVA]["words"]


@pytest.mark.parametrize(
    ("fault", "batch", "about"),
    [
        (Fault("validation", CREATE, message="The role cannot be assumed by Bedrock."), "no", "role"),
        (Fault("access_denied", CREATE), "no", "caller"),
        (Fault("quota", CREATE), "unknown", "quota"),
        (Fault("throttling", CREATE), "unknown", "quota"),
        (Fault("server_error", CREATE), "unknown", "outage"),
        (Fault("validation", CREATE), "unknown", "other"),
    ],
)
def test_each_answer_of_bedrock_is_read(world: World, fault: Fault, batch: str, about: str) -> None:
    world.simulator.add_fault(fault)
    assert {(each["batch"], each["about"]) for each in asked(world).values()} == {(batch, about)}


def test_a_request_that_botocore_does_not_take_is_told(world: World) -> None:
    world.put_route(configured("chat", "a b", timeout_hours=0))
    found = asked(world)["a b"]
    assert (found["batch"], found["about"]) == ("unknown", "other")
    assert "timeoutDurationInHours" in found["words"]


@pytest.mark.parametrize("stops", [True, False], ids=["stopped", "not stopped"])
def test_a_job_that_bedrock_accepts_all_the_same_is_stopped_and_not_taken_for_ours(
    world: World, stops: bool
) -> None:
    # Given a Bedrock that does not look for the input
    world.simulator.configure({"check_input": False})
    if not stops:
        world.simulator.add_fault(Fault("access_denied", "StopModelInvocationJob"))
    # When somebody has the queue checked
    found = asked(world)
    # Then the models run batch, and nobody is told of a job
    assert [each["batch"] for each in found.values()] == ["yes", "yes"]
    assert "job_arn" not in found[HAIKU]
    jobs = world.bedrock_jobs()
    assert [job["status"] for job in jobs] == ["Stopping" if stops else "Submitted"] * 2
    assert all(job["jobName"].startswith(f"{NAME}-check-") for job in jobs)
    # And while they are there, the slot of the model is taken, as it is by the jobs of others
    upload = world.upload("a.jsonl", lines(records(5)))
    # And the events of their ends are heard, and make no rows
    world.run()
    check(world, {upload: records(5)}, slots=1)
    assert len(world.jobs()) == 1
    ended = {job["status"] for job in world.bedrock_jobs() if "-check-" in job["jobName"]}
    assert ended == {"Stopped" if stops else "Failed"}
    assert not world.dead_letters


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("TooManyRequestsException", "Lambda cannot run process now (TooManyRequestsException)"),
        ("ServiceException", "Lambda cannot run process now"),
    ],
)
def test_a_function_that_lambda_cannot_run_now_is_an_error_that_says_so(
    world: World, code: str, words: str
) -> None:
    def before(call: Call) -> None:
        if call.operation == "Invoke":
            raise aws_error(code, 429)

    world.before = before
    assert words in world.order("check")["error"]


def test_a_function_that_fails_is_an_error_that_says_why(world: World) -> None:
    def before(call: Call) -> None:
        if call.function == "process":
            raise aws_error("AccessDeniedException", 403, "dynamodb:Query", "Query")

    world.before = before
    assert "AccessDeniedException from Query" in world.order("check")["error"]
    assert [function for function, _ in world.errors] == ["process"]


def test_what_operate_queue_may_not_do_is_raised(world: World) -> None:
    def before(call: Call) -> None:
        if call.operation == "Invoke":
            raise aws_error("AccessDeniedException", 403, "lambda:InvokeFunction", "Invoke")

    world.before = before
    error = world.invoke("operate", {"order": "check"})
    assert "lambda:InvokeFunction" in str(error)


def test_an_answer_of_another_version_is_an_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking.Checking, "check", lambda _: None)
    assert "another version" in world.order("check")["error"]


def test_a_function_that_dies_after_bedrock_has_accepted_leaves_nothing_behind(world: World) -> None:
    world.simulator.configure({"check_input": False})

    def after(call: Call) -> None:
        if call.operation == CREATE:
            world.kill()

    world.after = after
    assert "failed (KilledError)" in world.order("check")["error"]
    world.after = None
    world.run(lambda: all(job["status"] == "Failed" for job in world.bedrock_jobs()))
    world.run()
    assert not world.jobs()
    assert not world.left()
