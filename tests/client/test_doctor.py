"""`doctor`: what is printed, and the exit code."""

from __future__ import annotations

import io
import sys
from typing import Any

import boto3
import pytest
from bedrock_batch import encoding

from tests.client.conftest import Lambda, Person, Session
from tests.support.world import HAIKU, World
from tests.unit.test_doctor import Answers, Aws, arn, failing, good

#: The functions have other names here.
NAMES = {"create_batch_queue": "create", "process_batch_jobs": "process"}


def renamed(function: str) -> str:
    return arn(function).rpartition(":")[0] + f":{NAMES[function]}"


class Checked(Session):
    """Reaches the world for orders and rows, and answers for all else."""

    def __init__(self, world: World, answers: Answers) -> None:
        super().__init__(world)
        notified: Any = good()["GetBucketNotificationConfiguration"]
        notified["LambdaFunctionConfigurations"][0]["LambdaFunctionArn"] = renamed("create_batch_queue")
        targets = {"Targets": [{"Id": "1", "Arn": renamed("process_batch_jobs")}]}
        usual = {"GetBucketNotificationConfiguration": notified, "ListTargetsByRule": targets}
        self._aws = Aws({**good(), **usual, **answers})

    def client(self, service: str, config: Any = None) -> Any:
        if service == "dynamodb":
            return super().client(service, config)
        client = self._aws.client(service)
        return Functions(self._world, client) if service == "lambda" else client


class Functions(Lambda):
    def __init__(self, world: World, client: Any) -> None:
        super().__init__(world)
        self.get_function_configuration = client.get_function_configuration


@pytest.fixture
def answers(world: World, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """What AWS answers differently."""
    found: Answers = {}
    monkeypatch.setattr(boto3, "Session", lambda **_: Checked(world, found))
    return found


def test_a_queue_that_works(person: Person, answers: Answers) -> None:
    out = person.types("doctor")
    assert out.endswith("Nothing is wrong.\n")
    assert f"✓ batch jobs of {HAIKU}: Bedrock takes batch jobs of {HAIKU}." in out
    assert {finding["ok"] for finding in person.document("doctor")} == {True}
    assert not person.world.events
    assert not person.world.bedrock_jobs()


def test_what_is_wrong_and_what_cannot_be_told(person: Person, answers: Answers) -> None:
    # Given a model that runs no batch jobs, a dead letter, and a permission that is missing
    person.world.simulator.configure({"models": {HAIKU: {"batch": False}}})
    answers["GetQueueAttributes"] = {"Attributes": {"ApproximateNumberOfMessages": "2"}}
    answers["DescribeRule"] = failing("AccessDeniedException")
    # When the queue is looked at
    out = person.types("doctor", code=1)
    # Then each is marked, with what to do
    marks = {line.split(": ")[0][2:]: line[0] for line in out.splitlines()}
    assert marks[f"batch jobs of {HAIKU}"] == "✗"
    assert marks["dead letters"] == "✗"
    assert marks["rule schedule"] == "?"
    assert marks["service role"] == "✓"
    assert "2 events have failed for good" in out
    assert "You lack the permission events:DescribeRule" in out
    assert out.endswith("2 things to put right. 2 things could not be told.\n")
    # And the document says the same
    found = {one["what"]: (one["ok"], one["known"]) for one in person.document("doctor", code=1)}
    assert found["rule schedule"] == (False, False)
    assert found["dead letters"] == (False, True)


def test_what_cannot_be_told_is_not_wrong(person: Person, answers: Answers) -> None:
    answers["DescribeRule"] = failing("AccessDeniedException")
    assert person.types("doctor").endswith("Nothing is wrong. 2 things could not be told.\n")


def test_a_stream_without_the_marks_gets_words(
    person: Person, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers["GetQueueAttributes"] = {"Attributes": {"ApproximateNumberOfMessages": "2"}}
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", errors=encoding.NAME)
    monkeypatch.setattr(sys, "stdout", stream)
    person.types("doctor", code=1)
    stream.seek(0)
    shown = stream.read()
    assert "wrong dead letters: 2 events have failed" in shown
    assert "ok S3 notification" in shown
