"""How long workloads take with the queue's own planning code, against the lower bound and two baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from itertools import pairwise

import pytest

from tests.support.makespan import workloads as loads
from tests.support.makespan.bounds import lower_bound, shortest
from tests.support.makespan.slots import Ran, Times
from tests.support.makespan.table import (
    BASELINES,
    GOALS,
    MOST_JOBS,
    QUEUES,
    Scheduler,
    article,
    noisy_ratio,
    orchestrator,
    ratio,
    with_slack,
)
from tests.support.makespan.workloads import MINUTE, File, Workload

pytestmark = pytest.mark.unit

#: For workloads of which a run takes a tenth of a second; `make bench` repeats all of them, with more seeds.
QUICK = (loads.full, loads.heavy_tailed, loads.two_models, loads.four_routes, loads.over_a_minute)
SEEDS = range(6)

Make = Callable[[], Workload]


@cache
def workload(make: Make) -> Workload:
    return make()


def named(make: Make) -> str:
    return make.__name__


@cache
def quiet(name: str, make: Make) -> float:
    """The ratio of a scheduler without noise."""
    return ratio({**QUEUES, **BASELINES}[name], workload(make))


@pytest.mark.parametrize("make", GOALS, ids=named)
def test_a_queue_that_knows_nothing_of_its_models_is_near_the_lower_bound(make: Make) -> None:
    assert quiet("cold", make) <= with_slack(GOALS[make][0])


@pytest.mark.parametrize("make", GOALS, ids=named)
def test_it_is_so_though_jobs_take_half_as_long_or_longer(make: Make) -> None:
    seeds = SEEDS if make in QUICK else range(3)
    assert noisy_ratio(QUEUES["cold"], workload(make), seeds) <= with_slack(GOALS[make][1])


@pytest.mark.parametrize("known", ["three times too long", "three times too short"])
@pytest.mark.parametrize("make", [*QUICK, loads.tiny], ids=named)
def test_estimates_that_are_wrong_by_three_cost_nothing(make: Make, known: str) -> None:
    assert quiet(known, make) <= with_slack(GOALS[make][0])


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("make", GOALS, ids=named)
def test_no_baseline_is_ahead(make: Make, baseline: str) -> None:
    assert quiet("cold", make) < quiet(baseline, make)


def test_full_files_are_packed_into_full_jobs() -> None:
    assert len(QUEUES["cold"](loads.full(), Times())) <= MOST_JOBS


# ----------------------------------------------------------------------------------------- the simulation


def small(*files: tuple[float, int]) -> Workload:
    """A workload of one route with a limit of two jobs, of 1,000 records each."""
    found = loads.full()
    (route,) = found.routes.values()
    limits = {"max_active_jobs": 2, "max_records_per_job": 1_000, "max_records_per_file": 1_000}
    routes = {route.name: loads.configured(route.name, route.model_id, **limits)}
    return Workload("small", tuple(File(at, route.name, records) for at, records in files), routes)


def jobs(ran: Iterable[Ran]) -> list[tuple[float, float, int]]:
    return sorted((job.start / MINUTE, job.end / MINUTE, job.records) for job in ran)


@pytest.mark.parametrize("scheduler", [*QUEUES.values(), *BASELINES.values()])
def test_every_scheduler_runs_every_record_once_and_no_two_jobs_on_a_slot(scheduler: Scheduler) -> None:
    files = workload(loads.over_five_minutes)
    ran = scheduler(files, Times(0.5, seed=1))
    assert sum(job.records for job in ran) == files.records
    for slot in range(10):
        own = sorted((job.start, job.end) for job in ran if job.slot == slot)
        assert all(before[1] <= after[0] for before, after in pairwise(own))


def test_a_job_takes_fifteen_minutes_and_one_for_each_thousand_records() -> None:
    assert jobs(orchestrator(small((0, 500)), Times())) == [(0, 15.5, 500)]


def test_one_job_a_file_waits_for_a_slot_and_one_that_polls_also_for_its_time() -> None:
    files = small((0, 500), (0, 1_000), (60, 1_000))
    assert jobs(orchestrator(files, Times()))[-1] == (15.5, 31.5, 1_000)
    assert jobs(article(files, Times()))[-1] == (30, 46, 1_000)


def test_a_file_above_the_limit_is_several_jobs() -> None:
    assert [size for *_, size in jobs(orchestrator(small((0, 2_100)), Times()))] == [1_000, 1_000, 100]


def test_the_bound_counts_the_fixed_time_of_the_fewest_jobs() -> None:
    assert shortest(4_000, slots=2, most=1_000) == 2 * 15 * MINUTE + 2 * MINUTE
    assert shortest(4_002, slots=2, most=1_000) > 3 * 15 * MINUTE


def test_the_bound_counts_from_the_arrival_of_the_last_file() -> None:
    assert lower_bound(small((0, 1_000), (3_600, 1_000))) == 3_600 + 15 * MINUTE + 30


@pytest.mark.parametrize("make", GOALS, ids=named)
def test_nothing_is_below_the_bound(make: Make) -> None:
    assert min(quiet(name, make) for name in ("cold", *BASELINES)) >= 1


def test_what_a_job_shows_counts_before_it_is_collected() -> None:
    # Given a queue that expects jobs to take three times as long, and full first jobs that end together
    ran = QUEUES["three times too long"](workload(loads.tiny), Times())
    # Then the second ones share what is left
    second = [job.records for job in ran if job.start]
    assert max(second) < 1.2 * min(second)
