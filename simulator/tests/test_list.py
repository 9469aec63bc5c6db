"""ListModelInvocationJobs: filters, order and pages."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import pytest
from bedrock_batch_simulator import ApiError, Simulator

from .world import World, records


@pytest.fixture
def simulator(world: World) -> Simulator:
    """Seven jobs a-0, b-1, a-2, … ten seconds apart; those before the last have failed, having no input."""
    simulator = world.simulator({"models": {"*": {"max_active_jobs": 100}}})
    for number in range(7):
        simulator.call("CreateModelInvocationJob", world.request(f"{'ab'[number % 2]}-{number}"))
        world.clock.advance(10)
        simulator.tick()
    simulator.call("CreateModelInvocationJob", world.request("last"))
    return simulator


def names(simulator: Simulator, **params: Any) -> list[str]:
    answer = simulator.call("ListModelInvocationJobs", params)
    return [each["jobName"] for each in answer["invocationJobSummaries"]]


def test_newest_first_unless_asked_otherwise(simulator: Simulator) -> None:
    assert names(simulator)[:2] == ["last", "a-6"]
    assert names(simulator, sortBy="CreationTime", sortOrder="Ascending")[:2] == ["a-0", "b-1"]


def test_filters_narrow_together(simulator: Simulator) -> None:
    assert names(simulator, statusEquals="Submitted") == ["last"]
    assert names(simulator, statusEquals="Failed", nameContains="b-") == ["b-5", "b-3", "b-1"]
    assert names(simulator, nameContains="nothing") == []


def test_times_bound_the_submission(world: World, simulator: Simulator) -> None:
    # given the time of the third job
    third = dt.datetime.fromtimestamp(world.clock() - 50, dt.UTC)

    # when the jobs before and after it are listed, then neither list has it
    assert names(simulator, submitTimeBefore=third) == ["b-1", "a-0"]
    assert names(simulator, submitTimeAfter=third, sortOrder="Ascending") == [
        "b-3",
        "a-4",
        "b-5",
        "a-6",
        "last",
    ]


def through_pages(simulator: Simulator, size: int, **params: Any) -> list[str]:
    """The names in pages of a size, one after the other."""
    found: list[str] = []
    token: dict[str, str] = {}
    while True:
        answer = simulator.call("ListModelInvocationJobs", {**params, **token, "maxResults": size})
        found += [each["jobName"] for each in answer["invocationJobSummaries"]]
        if "nextToken" not in answer:
            return found
        token = {"nextToken": answer["nextToken"]}


@pytest.mark.parametrize("size", [2, 100])
def test_the_filters_agree_with_brute_force_over_what_get_answers(world: World, size: int) -> None:
    # given jobs of several statuses, submitted at odd times, some in one millisecond, and what Get says
    simulator = world.simulator({"models": {"*": {"max_active_jobs": 100, "queue_seconds": 0.001}}})
    for number, pause in enumerate([0.0004, 0.0003, 0.0009, 1.00049, 0.5, 0.0001]):
        simulator.call("CreateModelInvocationJob", world.request(f"{'ab'[number % 2]}-{number}"))
        world.clock.advance(pause)
    simulator.tick()
    every = simulator.call("ListModelInvocationJobs", {})["invocationJobSummaries"]
    assert len({job["status"] for job in every}) > 1
    times = [None, *(dt.datetime.fromisoformat(job["submitTime"]) for job in every)]
    moved = [time + dt.timedelta(milliseconds=by) for time in times if time for by in (-1, 1)]
    orders = (None, "Descending", "Ascending")
    tried = 0

    # when they are listed by each combination of filters, then the list is what brute force finds
    for after, before, part, status, order in itertools.product(
        [*times, *moved], times, (None, "a-", "x"), (None, "Submitted", "Failed"), orders
    ):
        given = {
            "submitTimeAfter": after,
            "submitTimeBefore": before,
            "nameContains": part,
            "statusEquals": status,
            "sortOrder": order,
        }
        expected = [
            job["jobName"]
            for job in (reversed(every) if order == "Ascending" else every)
            if (after is None or dt.datetime.fromisoformat(job["submitTime"]) > after)
            and (before is None or dt.datetime.fromisoformat(job["submitTime"]) < before)
            and (part is None or part in job["jobName"])
            and (status is None or job["status"] == status)
        ]
        asked = {name: value for name, value in given.items() if value is not None}
        assert through_pages(simulator, size, **asked) == expected, given
        tried += 1
    assert tried > 2000


@pytest.mark.parametrize("order", ["Ascending", "Descending"])
@pytest.mark.parametrize("size", [1, 3, 8])
def test_the_paginator_of_boto3_finds_each_job_once(
    world: World, simulator: Simulator, order: str, size: int
) -> None:
    # given a boto3 paginator
    pages = world.client(simulator).get_paginator("list_model_invocation_jobs")

    # when it goes through small pages, filtered
    found = [
        each["jobName"]
        for page in pages.paginate(sortOrder=order, maxResults=size, statusEquals="Failed")
        for each in page["invocationJobSummaries"]
    ]

    # then each job comes once, in order
    expected = ["a-0", "b-1", "a-2", "b-3", "a-4", "b-5", "a-6"]
    assert found == (expected if order == "Ascending" else expected[::-1])


def test_a_job_that_comes_between_two_pages_shifts_nothing(world: World, simulator: Simulator) -> None:
    # given the first page, newest first
    first = simulator.call("ListModelInvocationJobs", {"maxResults": 4})

    # when a job is created before the second page is asked for
    simulator.call("CreateModelInvocationJob", world.request("between"))
    rest = names(simulator, nextToken=first["nextToken"], maxResults=100)

    # then the pages have each of the first eight jobs once
    assert [each["jobName"] for each in first["invocationJobSummaries"]] + rest == names(simulator)[1:]


def test_no_token_when_nothing_is_left(simulator: Simulator) -> None:
    assert "nextToken" not in simulator.call("ListModelInvocationJobs", {"maxResults": 8})


@pytest.mark.parametrize(
    "params",
    [{"nextToken": "rubbish"}, {"maxResults": 0}, {"maxResults": 1001}, {"statusEquals": "Done"}],
)
def test_wrong_parameters_are_refused(simulator: Simulator, params: dict[str, Any]) -> None:
    with pytest.raises(ApiError, match="ValidationException"):
        simulator.call("ListModelInvocationJobs", params)


def test_a_token_of_other_filters_is_refused(simulator: Simulator) -> None:
    token = simulator.call("ListModelInvocationJobs", {"maxResults": 1})["nextToken"]
    with pytest.raises(ApiError, match="other filters"):
        simulator.call("ListModelInvocationJobs", {"nextToken": token, "statusEquals": "Failed"})


def test_the_default_page_has_a_hundred_jobs(world: World) -> None:
    world.put("in/a.jsonl", records(1))
    simulator = world.simulator({"models": {"*": {"max_active_jobs": 500}}})
    for number in range(101):
        simulator.call("CreateModelInvocationJob", world.request(f"n-{number}"))
    answer = simulator.call("ListModelInvocationJobs", {})
    assert len(answer["invocationJobSummaries"]) == 100
    assert answer["nextToken"]
