"""The table of makespans: the queue with right, wrong and no estimates, and both baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import pytest

from tests.bench.record import record
from tests.support.makespan import workloads as loads
from tests.support.makespan.bounds import lower_bound
from tests.support.makespan.slots import Times
from tests.support.makespan.table import BASELINES, GOALS, NOISE, QUEUES, Figures, figures, with_slack
from tests.support.makespan.workloads import MINUTE, Workload

pytestmark = pytest.mark.bench

SEEDS = range(8)
SCHEDULERS = {**QUEUES, **BASELINES}
#: Whose slots are drawn over time.
DRAWN = {"queue": QUEUES["cold"], **BASELINES}


@pytest.mark.parametrize("make", GOALS, ids=lambda make: make.__name__)
def test_the_makespan_of_a_workload(make: Callable[[], Workload]) -> None:
    workload = make()
    bound = lower_bound(workload)
    found = {name: figures(scheduler, workload, SEEDS) for name, scheduler in SCHEDULERS.items()}
    shown = ", ".join(f"{name} {one.quiet:.2f} ({one.noisy:.2f})" for name, one in found.items())
    print(f"\n{workload.name}: {bound / MINUTE:,.0f} minutes at least; {shown}")
    record(
        "makespan",
        {
            workload.name: {
                "files": len(workload.files),
                "records": workload.records,
                "bound_minutes": bound / MINUTE,
                "goal": GOALS[make],
                "schedulers": {name: asdict(one) for name, one in found.items()},
            }
        },
    )
    quiet, noisy = map(with_slack, GOALS[make])
    assert [name for name in QUEUES if found[name].quiet > quiet or found[name].noisy > noisy] == []
    best = Figures(
        min(found[name].quiet for name in BASELINES), min(found[name].noisy for name in BASELINES), 0
    )
    assert found["cold"].quiet < best.quiet
    assert found["cold"].noisy < best.noisy


def test_the_slots_over_time() -> None:
    workload = loads.full()
    drawn = {name: scheduler(workload, Times(NOISE, seed=0)) for name, scheduler in DRAWN.items()}
    jobs = {
        name: [[job.slot, job.start / MINUTE, job.end / MINUTE, job.records] for job in ran]
        for name, ran in drawn.items()
    }
    record("slots", {"workload": workload.name, "jobs": jobs})
    assert all(jobs.values())
