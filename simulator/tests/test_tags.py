"""The tags of jobs: those of Create, and ListTagsForResource, TagResource and UntagResource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import boto3
import pytest
from bedrock_batch_simulator import ApiError, Check, Principal, Simulator
from bedrock_batch_simulator.access import Access
from bedrock_batch_simulator.faults import Fault
from bedrock_batch_simulator.wire import attach

from .world import REGION, World, records

MISSING = f"arn:aws:bedrock:{REGION}:123456789012:model-invocation-job/abcdefghijkl"


def written(**tags: str) -> list[dict[str, str]]:
    """Tags as requests have them."""
    return [{"key": key, "value": value} for key, value in tags.items()]


def many(count: int, first: int = 0) -> list[dict[str, str]]:
    return written(**{f"k{first + number}": "" for number in range(count)})


def submit(simulator: Simulator, world: World, name: str = "job", **change: Any) -> str:
    answer = simulator.call("CreateModelInvocationJob", world.request(name, **change))
    return str(answer["jobArn"])


def tags(bedrock: Any, arn: str) -> Mapping[str, str]:
    return {each["key"]: each["value"] for each in bedrock.list_tags_for_resource(resourceARN=arn)["tags"]}


def test_a_job_has_the_tags_of_its_create(world: World) -> None:
    simulator = world.simulator()
    arn = submit(simulator, world, tags=written(team="a", stage=""))
    assert tags(world.client(simulator), arn) == {"team": "a", "stage": ""}


def test_a_job_without_tags_has_an_empty_list(world: World) -> None:
    simulator = world.simulator()
    assert simulator.call("ListTagsForResource", {"resourceARN": submit(simulator, world)}) == {"tags": []}


def test_tags_are_added_replaced_and_taken_away(world: World) -> None:
    # given a job with two tags
    simulator = world.simulator()
    arn = submit(simulator, world, tags=written(team="a", stage="test"))
    bedrock = world.client(simulator)

    # when one is replaced and one added, and others are taken away, also one that is not there
    bedrock.tag_resource(resourceARN=arn, tags=written(team="b", cost="1"))
    assert tags(bedrock, arn) == {"team": "b", "stage": "test", "cost": "1"}
    bedrock.untag_resource(resourceARN=arn, tagKeys=["stage", "cost", "none"])

    # then the rest is there
    assert tags(bedrock, arn) == {"team": "b"}


@pytest.mark.parametrize(
    ("operation", "more"),
    [("ListTagsForResource", {}), ("TagResource", {"tags": []}), ("UntagResource", {"tagKeys": []})],
)
def test_a_job_that_is_not_there_is_not_found(world: World, operation: str, more: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        world.simulator().call(operation, {"resourceARN": MISSING, **more})
    assert (caught.value.code, caught.value.status) == ("ResourceNotFoundException", 404)


def test_a_job_of_another_region_is_not_found(world: World) -> None:
    simulator = world.simulator()
    arn = submit(simulator, world).replace(REGION, "eu-west-1")
    with pytest.raises(ApiError, match="ResourceNotFoundException"):
        simulator.call("ListTagsForResource", {"resourceARN": arn})


def test_the_tags_of_a_job_that_has_ended_are_gone(world: World) -> None:
    # given a job with a tag that has ended
    world.put("in/a.jsonl", records(1))
    simulator = world.simulator()
    arn = submit(simulator, world, tags=written(team="a"))
    simulator.advance(3600)

    # when its tags are read, then they are not found
    with pytest.raises(ApiError, match="ResourceNotFoundException"):
        simulator.call("ListTagsForResource", {"resourceARN": arn})


def test_a_job_has_at_most_fifty_tags(world: World) -> None:
    # given a job with forty-nine tags
    simulator = world.simulator()
    arn = submit(simulator, world, tags=many(49))
    bedrock = world.client(simulator)

    # when two more come, then they are refused, and none is there
    with pytest.raises(bedrock.exceptions.TooManyTagsException):
        bedrock.tag_resource(resourceARN=arn, tags=many(2, first=49))
    assert len(tags(bedrock, arn)) == 49

    # when one more comes, then it is taken
    bedrock.tag_resource(resourceARN=arn, tags=many(1, first=49))
    assert len(tags(bedrock, arn)) == 50


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (many(51), "limit of 50"),
        (many(201), "less than or equal to 200"),
        ([*written(a="1"), *written(a="2")], "Duplicate tag key: a"),
        ([{"key": "aws:x", "value": ""}], "must not begin with aws:"),
        (written(**{"a,b": ""}), "regular expression"),
    ],
)
def test_tags_that_create_does_not_take(world: World, given: list[dict[str, str]], word: str) -> None:
    simulator = world.simulator()
    with pytest.raises(ApiError) as caught:
        submit(simulator, world, tags=given)
    assert caught.value.code == "ValidationException"
    assert word in caught.value.message
    assert not simulator.jobs


def test_an_arn_has_a_form(world: World) -> None:
    with pytest.raises(ApiError, match="regular expression"):
        world.simulator().call("ListTagsForResource", {"resourceARN": "arn:aws:s3:::bucket/key-of-an-object"})


def test_calls_are_counted_and_can_be_disturbed(world: World) -> None:
    # given a fault for the operation
    simulator = world.simulator()
    arn = submit(simulator, world)
    bedrock = attach(simulator, boto3.client("bedrock", region_name=REGION))
    simulator.add_fault(Fault.from_dict({"kind": "throttling", "operation": "ListTagsForResource"}))

    # when it is called twice
    with pytest.raises(bedrock.exceptions.ThrottlingException):
        bedrock.list_tags_for_resource(resourceARN=arn)
    bedrock.list_tags_for_resource(resourceARN=arn)

    # then one of the calls was hit
    counts = simulator.calls["ListTagsForResource"]
    assert (counts["total"], counts["ok"], counts["errors"]) == (2, 1, {"ThrottlingException": 1})


@pytest.mark.parametrize(
    ("operation", "more", "context"),
    [
        ("ListTagsForResource", {}, {}),
        ("TagResource", {"tags": written(team="a")}, {"aws:RequestTag/team": "a"}),
        ("UntagResource", {"tagKeys": ["team"]}, {}),
    ],
)
def test_the_caller_needs_the_action_on_the_job(
    operation: str, more: dict[str, Any], context: dict[str, str]
) -> None:
    asked: list[Check] = []

    def authorize(_: Principal, checks: Any) -> str:
        asked.extend(checks)
        return ""

    Access(authorize, REGION, "123456789012", "aws").check(
        operation, {"resourceARN": MISSING, **more}, Principal()
    )
    assert asked == [Check(f"bedrock:{operation}", MISSING, context)]
