"""The schedulers, the goals, and what each scheduler takes for each workload."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean

from batch_queue.core.names import base_model
from batch_queue.core.rows import Estimate

from tests.support.makespan import workloads as loads
from tests.support.makespan.baselines import POLL, one_job_a_file
from tests.support.makespan.bounds import lower_bound
from tests.support.makespan.queue import Queue
from tests.support.makespan.slots import Ran, Times, makespan
from tests.support.makespan.workloads import Workload

#: Each job takes 0.5 to 1.5 of the expected time.
NOISE = 0.5

#: A scheduler runs a workload and returns the jobs that ran.
Scheduler = Callable[[Workload, Times], list[Ran]]


def queue(known: Estimate | None = None) -> Scheduler:
    """The queue; ``known``: its estimate of each model at first, None if there is none."""

    def run(workload: Workload, times: Times) -> list[Ran]:
        models = {base_model(route.model_id) for route in workload.routes.values()}
        return Queue(workload, times, dict.fromkeys(models, known) if known else {}).run()

    return run


def article(workload: Workload, times: Times) -> list[Ran]:
    """One job a file, with a look for free slots every 15 minutes."""
    return one_job_a_file(workload, times, POLL)


def orchestrator(workload: Workload, times: Times) -> list[Ran]:
    """One job a file, started by events."""
    return one_job_a_file(workload, times)


QUEUES: dict[str, Scheduler] = {
    "cold": queue(),
    "right": queue(loads.TRUE),
    "three times too long": queue(loads.TOO_LONG),
    "three times too short": queue(loads.TOO_SHORT),
}
BASELINES: dict[str, Scheduler] = {"article": article, "orchestrator": orchestrator}

#: Makespan against the lower bound, without and with noise.
GOALS: dict[Callable[[], Workload], tuple[float, float]] = {
    loads.full: (1.02, 1.05),
    loads.heavy_tailed: (1.02, 1.05),
    loads.small: (1.02, 1.10),
    loads.two_models: (1.02, 1.12),
    loads.four_routes: (1.03, 1.09),
    loads.over_five_minutes: (1.05, 1.30),
    loads.over_a_minute: (1.10, 1.47),
    loads.tiny: (1.05, 1.30),
    loads.steady_day: (1.02, 1.05),
}
#: The most jobs for the workload ``full``.
MOST_JOBS = 150
#: A part of what a goal allows above the lower bound by which a figure may exceed it.
SLACK = 0.1


def with_slack(goal: float) -> float:
    """Returns a goal for a ratio to the lower bound with a tenth of slack: 1.022 for 1.02."""
    return 1 + (1 + SLACK) * (goal - 1)


@dataclass(frozen=True, slots=True)
class Figures:
    """Makespan against the lower bound, without noise and on average with it; and how many jobs ran."""

    quiet: float
    noisy: float
    jobs: int


def ratio(scheduler: Scheduler, workload: Workload) -> float:
    """Returns the makespan of a workload against its lower bound if each job takes the expected time."""
    return makespan(scheduler(workload, Times())) / lower_bound(workload)


def noisy_ratio(scheduler: Scheduler, workload: Workload, seeds: Iterable[int]) -> float:
    """Returns the same on average over seeds, where each job takes 0.5 to 1.5 of that time.

    The lower bound remains that of the expected times: it is no bound for one seed.
    """
    spans = [makespan(scheduler(workload, Times(NOISE, seed))) for seed in seeds]
    return fmean(spans) / lower_bound(workload)


def figures(scheduler: Scheduler, workload: Workload, seeds: Iterable[int]) -> Figures:
    """Returns what a scheduler takes for a workload."""
    ran = scheduler(workload, Times())
    quiet = makespan(ran) / lower_bound(workload)
    return Figures(quiet, noisy_ratio(scheduler, workload, seeds), len(ran))
