"""Airflow's operator, sensor and triggers for batch inference, without a scheduler."""

from __future__ import annotations

import asyncio
import importlib
import json
from typing import Any

import pytest
from airflow.providers.amazon.aws.hooks.bedrock import BedrockHook
from airflow.providers.amazon.aws.operators.bedrock import BedrockBatchInferenceOperator
from airflow.providers.amazon.aws.sensors.bedrock import BedrockBatchInferenceSensor
from airflow.providers.common.compat.sdk import AirflowException, TaskDeferred
from botocore.exceptions import ClientError, WaiterError

from .conftest import Aws
from .isolation import REGION

SECONDS = 30
#: How often a waiter looks at most; it does not pause in between.
LOOKS = 5000
NOT_COMPLETED = ["Failed", "Stopped", "PartiallyCompleted", "Expired"]


@pytest.fixture(autouse=True)
def connection(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's connection to AWS, and an input of one record."""
    extra = {"region_name": REGION, "endpoint_url": aws.url}
    keys = {"conn_type": "aws", "login": "test-key", "password": "test-secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(keys))
    aws.put("in/a.jsonl", 1)


def operator(aws: Aws, name: str = "job", **more: Any) -> BedrockBatchInferenceOperator:
    """A task that creates a job over in/."""
    return BedrockBatchInferenceOperator(
        task_id="create",
        job_name=name,
        role_arn=aws.role_arn,
        model_id=aws.model_id,
        input_uri=f"s3://{aws.bucket}/in/",
        output_uri=f"s3://{aws.bucket}/out/",
        waiter_delay=0,
        waiter_max_attempts=LOOKS,
        **more,
    )


def sensor(arn: str, state: str, **more: Any) -> BedrockBatchInferenceSensor:
    """A task that waits for a job."""
    return BedrockBatchInferenceSensor(
        task_id="wait", job_arn=arn, success_state=state, timeout=SECONDS, max_retries=LOOKS, **more
    )


def run_trigger(deferred: TaskDeferred) -> Any:
    """Run the trigger of a task as the triggerer does, from what it is serialized to; returns its event."""
    path, arguments = deferred.trigger.serialize()
    module, _, name = path.rpartition(".")
    trigger = getattr(importlib.import_module(module), name)(**arguments)

    async def first() -> Any:
        async for event in trigger.run():
            return event.payload
        return None

    return asyncio.run(asyncio.wait_for(first(), SECONDS))


def test_the_operator_creates_a_job(aws: Aws) -> None:
    # given a task with more of Create's parameters, when it is run
    more = {"modelInvocationType": "InvokeModel", "timeoutDurationInHours": 48}
    arn = operator(aws, wait_for_completion=False, invoke_kwargs=more).execute({})

    # then the job is as it says
    job = BedrockHook().conn.get_model_invocation_job(jobIdentifier=arn)
    assert (job["jobName"], job["status"]) == ("job", "Submitted")
    assert (job["modelInvocationType"], job["timeoutDurationInHours"]) == ("InvokeModel", 48)


def test_the_operator_waits_for_the_end(aws: Aws) -> None:
    aws.control.clock(mode="wall", speed=50)
    arn = operator(aws).execute({})
    assert aws.job(arn)["status"] == "Completed"


@pytest.mark.parametrize("outcome", NOT_COMPLETED)
def test_the_operator_fails_with_its_job(aws: Aws, outcome: str) -> None:
    aws.control.configure(job_faults=[{"outcome": outcome}])
    aws.control.clock(mode="wall", speed=50)
    with pytest.raises(WaiterError, match="terminal failure"):
        operator(aws).execute({})


def test_a_job_that_cannot_be_created_fails_the_operator(aws: Aws) -> None:
    operator(aws, wait_for_completion=False).execute({})
    with pytest.raises(ClientError, match="ConflictException"):
        operator(aws, wait_for_completion=False).execute({})


def test_a_deferred_operator_goes_on_when_the_job_has_ended(aws: Aws) -> None:
    # given a task that was deferred
    task = operator(aws, deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute({})

    # when its trigger has seen the end
    aws.control.clock(mode="wall", speed=50)
    event = run_trigger(deferred.value)

    # then it goes on with the job
    assert deferred.value.method_name == "execute_complete"
    arn = task.execute_complete({}, event)
    assert aws.job(arn)["status"] == "Completed"


@pytest.mark.parametrize("outcome", NOT_COMPLETED)
def test_a_deferred_operator_fails_with_its_job(aws: Aws, outcome: str) -> None:
    # given a task that was deferred for a job that does not complete
    aws.control.configure(job_faults=[{"outcome": outcome}])
    task = operator(aws, deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        task.execute({})

    # when its trigger has seen the end
    aws.control.clock(mode="wall", speed=50)
    event = run_trigger(deferred.value)

    # then the task fails
    with pytest.raises(AirflowException, match="terminal failure"):
        task.execute_complete({}, event)


@pytest.mark.parametrize(("state", "seconds"), [("scheduled", 2.5), ("completed", 60)])
def test_the_sensor_sees_the_job_get_there(aws: Aws, state: str, seconds: float) -> None:
    # given a job, and a sensor that does not see it there
    arn = operator(aws, wait_for_completion=False).execute({})
    task = sensor(arn, state)
    assert task.poke({}) is False

    # when the time has passed, then it does
    aws.control.advance(seconds)
    assert task.poke({}) is True


@pytest.mark.parametrize("outcome", NOT_COMPLETED)
def test_the_sensor_fails_with_its_job(aws: Aws, outcome: str) -> None:
    aws.control.configure(job_faults=[{"outcome": outcome}])
    (arn,) = aws.create("job")
    aws.control.advance(3 * 24 * 3600)
    with pytest.raises(AirflowException, match="sensor failed"):
        sensor(arn, "completed").poke({})


def test_the_sensor_runs_until_the_job_has_ended(aws: Aws) -> None:
    arn = operator(aws, wait_for_completion=False).execute({})
    aws.control.clock(mode="wall", speed=50)
    sensor(arn, "completed", poke_interval=0.01).execute({})
    assert aws.job(arn)["status"] == "Completed"


@pytest.mark.parametrize("state", ["scheduled", "completed"])
def test_a_deferred_sensor_goes_on_when_the_job_is_there(aws: Aws, state: str) -> None:
    # given a sensor that was deferred
    arn = operator(aws, wait_for_completion=False).execute({})
    with pytest.raises(TaskDeferred) as deferred:
        sensor(arn, state, deferrable=True, poke_interval=0).execute({})

    # when its trigger runs, then it tells of the job
    aws.control.clock(mode="wall", speed=50)
    assert run_trigger(deferred.value) == {"status": "success", "job_arn": arn}


def test_the_hook_stops_a_job(aws: Aws) -> None:
    arn = operator(aws, wait_for_completion=False).execute({})
    BedrockHook().conn.stop_model_invocation_job(jobIdentifier=arn)
    aws.control.advance(5)
    assert aws.job(arn)["status"] == "Stopped"


def test_a_job_that_has_ended_cannot_be_stopped_as_the_system_test_expects(aws: Aws) -> None:
    (arn,) = aws.create("job")
    with pytest.raises(ClientError) as refused:
        BedrockHook().conn.stop_model_invocation_job(jobIdentifier=arn)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert "State was: Completed" in refused.value.response["Error"]["Message"]


def test_the_hook_lists_the_jobs_page_by_page(aws: Aws) -> None:
    aws.create("job-1", "job-2", "job-3")
    pages = (
        BedrockHook()
        .conn.get_paginator("list_model_invocation_jobs")
        .paginate(PaginationConfig={"PageSize": 1})
    )
    found = [each["jobName"] for page in pages for each in page["invocationJobSummaries"]]
    assert found == ["job-3", "job-2", "job-1"]
