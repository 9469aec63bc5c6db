"""What the queue reaches under load: calls, units and virtual time, which do not depend on the machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support import goals
from tests.support.goals import GOALS
from tests.support.workloads import Health

#: How much of its time-out an invocation may take: what is longer goes on in the next one.
MOST_OF_ITS_TIME = 0.9
_ENDING = {"burst": goals.burst, "refill": goals.refill, "packed": goals.packed, "large": goals.large}


@pytest.mark.parametrize("name", GOALS)
def test_goal(name: str) -> None:
    goal = GOALS[name]
    assert goal.measured() <= goal.limit


@pytest.mark.parametrize("workload", _ENDING.values(), ids=_ENDING)
def test_every_upload_ends_and_no_invocation_fails(workload: Callable[[], goals.Ended]) -> None:
    health = workload().health
    assert health.completed == health.uploads
    assert (health.dead_letters, health.failed_invocations) == (0, 0)


@pytest.mark.parametrize("workload", _ENDING.values(), ids=_ENDING)
def test_no_invocation_comes_near_its_time_out(workload: Callable[[], goals.Ended]) -> None:
    assert workload().health.longest_share < MOST_OF_ITS_TIME


def test_an_upload_of_very_many_chunks_is_stored_within_the_time_of_its_invocations() -> None:
    # Given 5 GB of short records, which take 771 seconds to read
    # When the intake has read them, in as many invocations as it needs
    found = goals.tiny()
    # Then every chunk is stored and has its place
    assert (found.chunks, found.places) == (9000, 9000)
    # And no invocation failed, or came near its time-out
    assert found.health == Health(1, 0, 0, 0, found.health.longest_share)
    assert found.health.longest_share < MOST_OF_ITS_TIME
