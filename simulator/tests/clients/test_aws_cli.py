"""The AWS CLI, as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Aws

AWS = Path(sys.executable).with_name("aws")
CLIENT_ERROR = 255

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(aws: Aws) -> Cli:
    """Run `aws bedrock …` or `aws s3 …`, and return how it ended."""
    urls = {"AWS_ENDPOINT_URL": aws.url}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [AWS, *arguments],
            env={**os.environ, **urls},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def bedrock(run: Cli) -> Callable[..., Any]:
    """Run `aws bedrock …` and return what it printed."""

    def bedrock(*arguments: str) -> Any:
        done = run("bedrock", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout) if done.stdout else None

    return bedrock


def creation(aws: Aws, name: str = "job") -> list[str]:
    """The arguments that create a job over in/."""
    return [
        *("create-model-invocation-job", "--job-name", name),
        *("--role-arn", aws.role_arn, "--model-id", aws.model_id),
        *("--input-data-config", f"s3InputDataConfig={{s3Uri=s3://{aws.bucket}/in/}}"),
        *("--output-data-config", f"s3OutputDataConfig={{s3Uri=s3://{aws.bucket}/out/}}"),
    ]


def names(answer: Any) -> list[str]:
    """The names of the jobs in an answer of List."""
    return [each["jobName"] for each in answer["invocationJobSummaries"]]


def test_a_job_from_its_input_to_its_results(
    aws: Aws, run: Cli, bedrock: Callable[..., Any], tmp_path: Path
) -> None:
    # given a job over an input that the CLI copied, which has ended
    (tmp_path / "a.jsonl").write_bytes(aws.records(3))
    run("s3", "cp", str(tmp_path / "a.jsonl"), f"s3://{aws.bucket}/in/")
    arn = bedrock(*creation(aws))["jobArn"]
    aws.control.advance(60)

    # when the CLI gets it, and copies its results
    job = bedrock("get-model-invocation-job", "--job-identifier", arn)
    run("s3", "cp", "--recursive", f"s3://{aws.bucket}/out/{arn[-12:]}/", str(tmp_path / "out"))

    # then all records are in both
    assert (job["jobArn"], job["status"], job["successRecordCount"]) == (arn, "Completed", 3)
    results = (tmp_path / "out" / "a.jsonl.out").read_text().splitlines()
    assert sorted(json.loads(line)["recordId"] for line in results) == ["r0", "r1", "r2"]
    assert json.loads((tmp_path / "out" / "manifest.json.out").read_text())["successRecordCount"] == 3


def test_create_sends_all_that_it_can(aws: Aws, bedrock: Callable[..., Any]) -> None:
    # given a job with every option
    aws.put("in/a.jsonl", 1)
    arn = bedrock(
        *creation(aws),
        *("--client-request-token", "token-1", "--timeout-duration-in-hours", "48"),
        *("--model-invocation-type", "InvokeModel", "--tags", "key=team,value=search"),
        *("--vpc-config", "subnetIds=subnet-1,securityGroupIds=sg-1,sg-2"),
    )["jobArn"]

    # when the CLI gets it
    job = bedrock("get-model-invocation-job", "--job-identifier", arn)

    # then they are as they were given
    assert job["clientRequestToken"] == "token-1"
    assert job["timeoutDurationInHours"] == 48
    assert job["modelInvocationType"] == "InvokeModel"
    assert job["vpcConfig"] == {"subnetIds": ["subnet-1"], "securityGroupIds": ["sg-1", "sg-2"]}


def test_a_job_is_found_by_its_id_alone(aws: Aws, bedrock: Callable[..., Any]) -> None:
    aws.put("in/a.jsonl", 1)
    (arn,) = aws.create("job")
    assert bedrock("get-model-invocation-job", "--job-identifier", arn[-12:])["jobArn"] == arn


def test_stop_prints_nothing_and_stops_the_job(aws: Aws, run: Cli) -> None:
    # given a job that runs
    aws.control.configure(models={"*": {"records_per_second": 0.001}})
    aws.put("in/a.jsonl", 1)
    (arn,) = aws.create("job")

    # when the CLI stops it
    done = run("bedrock", "stop-model-invocation-job", "--job-identifier", arn)
    aws.control.advance(10)

    # then it is stopped
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert aws.job(arn)["status"] == "Stopped"


@pytest.fixture
def four(aws: Aws) -> list[str]:
    """Four jobs, ten seconds apart: two that completed, one that failed, one that was just submitted."""
    aws.put("in/a.jsonl", 1)
    aws.control.configure(job_faults=[{"outcome": "Failed", "names": ["bad"]}])
    arns = aws.create("good-1", "good-2", "bad")
    aws.control.configure(models={"*": {"queue_seconds": 3600}})
    return [*arns, *aws.create("late")]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ((), ["late", "bad", "good-2", "good-1"]),
        (("--sort-by", "CreationTime", "--sort-order", "Ascending"), ["good-1", "good-2", "bad", "late"]),
        (("--sort-order", "Descending"), ["late", "bad", "good-2", "good-1"]),
        (("--status-equals", "Completed"), ["good-2", "good-1"]),
        (("--status-equals", "Stopped"), []),
        (("--name-contains", "good"), ["good-2", "good-1"]),
        (("--name-contains", "ood-2", "--status-equals", "Completed"), ["good-2"]),
    ],
)
def test_list_with_a_filter(
    four: list[str], bedrock: Callable[..., Any], options: tuple[str, ...], found: list[str]
) -> None:
    assert names(bedrock("list-model-invocation-jobs", *options)) == found


@pytest.mark.parametrize(
    ("option", "found"),
    [("--submit-time-after", ["late", "bad"]), ("--submit-time-before", ["good-1"])],
)
def test_list_with_a_time(
    aws: Aws, four: list[str], bedrock: Callable[..., Any], option: str, found: list[str]
) -> None:
    time = aws.boto3().get_model_invocation_job(jobIdentifier=four[1])["submitTime"]
    assert names(bedrock("list-model-invocation-jobs", option, time.isoformat())) == found


def test_list_goes_through_all_pages(aws: Aws, four: list[str], bedrock: Callable[..., Any]) -> None:
    answer = bedrock("list-model-invocation-jobs", "--page-size", "1")
    assert names(answer) == ["late", "bad", "good-2", "good-1"]
    assert aws.control.state()["calls"]["ListModelInvocationJobs"]["ok"] >= 4


def test_list_goes_on_where_it_ended(four: list[str], bedrock: Callable[..., Any]) -> None:
    # given a first part, whose end is within a page
    first = bedrock("list-model-invocation-jobs", "--max-items", "3", "--page-size", "2")

    # when the CLI goes on from there
    rest = bedrock("list-model-invocation-jobs", "--starting-token", first["NextToken"], "--page-size", "2")

    # then every job came once
    assert (names(first), names(rest)) == (["late", "bad", "good-2"], ["good-1"])
    assert "NextToken" not in rest


def test_list_by_hand_with_a_token(four: list[str], bedrock: Callable[..., Any]) -> None:
    # given the first page, as the service gives it
    first = bedrock("list-model-invocation-jobs", "--no-paginate", "--max-results", "3")

    # when the next one is asked for
    rest = bedrock("list-model-invocation-jobs", "--no-paginate", "--next-token", first["nextToken"])

    # then it has the rest
    assert (names(first), names(rest)) == (["late", "bad", "good-2"], ["good-1"])


@pytest.mark.parametrize(
    ("operation", "arguments", "code"),
    [
        ("get", ("--job-identifier", "abcdefghijkl"), "ResourceNotFoundException"),
        ("stop", ("--job-identifier", "abcdefghijkl"), "ResourceNotFoundException"),
    ],
)
def test_a_job_that_is_not_there(run: Cli, operation: str, arguments: tuple[str, ...], code: str) -> None:
    done = run("bedrock", f"{operation}-model-invocation-job", *arguments)
    assert done.returncode == CLIENT_ERROR
    assert done.stdout == ""
    call = f"{operation.title()}ModelInvocationJob"
    assert f"An error occurred ({code}) when calling the {call} operation: " in done.stderr


def test_a_name_that_the_service_refuses(aws: Aws, run: Cli) -> None:
    done = run("bedrock", *creation(aws, "under_score"))
    assert done.returncode == CLIENT_ERROR
    assert "(ValidationException) when calling the CreateModelInvocationJob operation: " in done.stderr
    assert "'jobName' failed to satisfy constraint" in done.stderr


def test_a_name_that_is_taken(aws: Aws, run: Cli) -> None:
    aws.put("in/a.jsonl", 1)
    aws.create("job")
    done = run("bedrock", *creation(aws, "job"))
    assert done.returncode == CLIENT_ERROR
    assert "(ConflictException) when calling the CreateModelInvocationJob operation: " in done.stderr


def test_a_job_that_has_ended_cannot_be_stopped(aws: Aws, run: Cli) -> None:
    aws.put("in/a.jsonl", 1)
    (arn,) = aws.create("job")
    done = run("bedrock", "stop-model-invocation-job", "--job-identifier", arn)
    assert done.returncode == CLIENT_ERROR
    assert "(ValidationException) when calling the StopModelInvocationJob operation: " in done.stderr
    assert "State was: Completed" in done.stderr


def test_throttling_is_tried_again(aws: Aws, run: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a service that throttles once
    aws.put("in/a.jsonl", 1)
    aws.create("job")
    aws.control.faults({"kind": "throttling", "operation": "ListModelInvocationJobs"})

    # when a CLI that tries twice lists
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    done = run("bedrock", "list-model-invocation-jobs")

    # then it has the job
    assert names(json.loads(done.stdout)) == ["job"]
