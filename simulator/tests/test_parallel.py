"""Calls at once: what one of them waits for holds up no other."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from bedrock_batch_simulator import ApiError, Aws, Config, Record
from bedrock_batch_simulator.aws import Later
from bedrock_batch_simulator.server import SimulatorServer
from botocore.config import Config as ClientConfig

from .world import ACCOUNT, NOVA, REGION, SMALL, World, converse

PATIENCE = 20.0


class SlowS3:
    """S3 that answers HeadBucket only when it is let; `asked` counts those that wait."""

    def __init__(self, s3: Any) -> None:
        self._s3 = s3
        self.asked = threading.Semaphore(0)
        self.let = threading.Event()

    def head_bucket(self, **given: Any) -> Any:
        self.asked.release()
        assert self.let.wait(PATIENCE)
        return self._s3.head_bucket(**given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)


@pytest.fixture
def slow(world: World) -> SlowS3:
    return SlowS3(world.s3)


@pytest.fixture
def bedrock(world: World, slow: SlowS3) -> Iterator[Any]:
    config = Config.from_dict({"check_input": False, **SMALL})
    settings = ClientConfig(retries={"total_max_attempts": 1}, read_timeout=10)
    with SimulatorServer(
        Aws(slow, world.iam), account=ACCOUNT, region=REGION, config=config, speed=0
    ) as server:
        yield boto3.client("bedrock", region_name=REGION, endpoint_url=server.url, config=settings)
        slow.let.set()


def test_a_create_that_waits_for_s3_holds_no_other_call_up(world: World, slow: SlowS3, bedrock: Any) -> None:
    with ThreadPoolExecutor() as pool:
        # given a Create that waits for S3
        create = pool.submit(bedrock.create_model_invocation_job, **world.request())
        assert slow.asked.acquire(timeout=PATIENCE)

        # when another call comes, then it is answered meanwhile
        assert bedrock.list_model_invocation_jobs()["invocationJobSummaries"] == []
        assert not create.done()

        # and the Create comes to its end as well
        slow.let.set()
        arn = create.result(PATIENCE)["jobArn"]
    assert bedrock.get_model_invocation_job(jobIdentifier=arn)["status"] == "Submitted"


def test_two_creates_at_once_with_the_same_token_make_one_job(
    world: World, slow: SlowS3, bedrock: Any
) -> None:
    with ThreadPoolExecutor() as pool:
        # given two Creates of the same job that both wait for S3
        creates = [pool.submit(bedrock.create_model_invocation_job, **world.request()) for _ in range(2)]
        for _ in creates:
            assert slow.asked.acquire(timeout=PATIENCE)

        # when S3 answers
        slow.let.set()

        # then both have the same job
        first, second = (create.result(PATIENCE)["jobArn"] for create in creates)
    assert first == second
    assert len(bedrock.list_model_invocation_jobs()["invocationJobSummaries"]) == 1


def test_a_job_that_overtakes_another_is_on_a_page_of_the_list(world: World) -> None:
    # given a Create during whose look at S3 another one comes to its end
    simulator = world.simulator()
    plain = simulator.aws

    class Overtaken:
        def head_bucket(self, **given: Any) -> Any:
            if simulator.aws is not plain:
                simulator.aws = plain
                simulator.call("CreateModelInvocationJob", world.request("second"))
            return world.s3.head_bucket(**given)

    simulator.aws = dataclasses.replace(plain, s3=Overtaken())
    simulator.call("CreateModelInvocationJob", world.request("first"))

    # when the jobs are listed in pages of one
    names, token = list[str](), dict[str, str]()
    while True:
        page = simulator.call("ListModelInvocationJobs", {"maxResults": 1, **token})
        names += [each["jobName"] for each in page["invocationJobSummaries"]]
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}

    # then both are there
    assert sorted(names) == ["first", "second"]


def test_calls_of_a_model_at_once_stay_within_its_quota(world: World) -> None:
    # given a model that takes one call at a time, and answers that take until all others were refused
    simulator = world.simulator({"models": {"*": {"max_concurrent_invocations": 1}}})
    refused = threading.Semaphore(0)

    def slow(_: Record) -> str:
        return "late" if all(refused.acquire(timeout=PATIENCE) for _ in range(3)) else "never"

    simulator.answering.callback = slow

    def call(_: int) -> str:
        try:
            said = simulator.call("Converse", {"modelId": NOVA, **converse("Hello?")})
        except ApiError as error:
            refused.release()
            return error.code
        return str(said["output"]["message"]["content"][0]["text"])

    # when four come at once
    with ThreadPoolExecutor(4) as pool:
        found = sorted(pool.map(call, range(4)))

    # then one is answered, and holds no other up
    assert found == [*["ThrottlingException"] * 3, "late"]


def test_a_client_that_is_first_used_by_many_at_once_is_made_once() -> None:
    made: list[object] = []
    gate = threading.Barrier(4)

    def make() -> Any:
        made.append(object())
        return SimpleNamespace(number=len(made))

    later = Later(make)

    def use(_: int) -> int:
        gate.wait(PATIENCE)
        return int(later.number)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(use, range(4))) == [1] * 4
    assert len(made) == 1
