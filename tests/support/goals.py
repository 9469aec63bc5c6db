"""What the queue is to reach under load, and the measurements that tell whether it does.

``GOALS`` has a row for each number: what it is to be at most, and what it was before the functions were made
for much at once. Each workload runs once for all of its rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from tests.support import costs, growth, workloads

MILLION = 1_000_000
SLACK = 1.1


@dataclass(frozen=True)
class Goal:
    """At most ``goal``, which a test holds with a tenth of slack. ``before``: what it was; None if unknown.

    ``exact``: the goal has no slack. ``reached``: what the queue reaches where it does not reach the goal; a
    test holds that in place of the goal.
    """

    measured: Callable[[], float]
    before: float | None
    goal: float
    exact: bool = False
    reached: float | None = None

    @property
    def limit(self) -> float:
        """The most that a test accepts."""
        return (self.reached or self.goal) * (1.0 if self.exact else SLACK)


class Ended(Protocol):
    """A workload that has run to its end."""

    @property
    def health(self) -> workloads.Health: ...


burst = cache(workloads.burst)


@cache
def quick() -> workloads.Burst:
    """The burst on a table that is never throttled, as the times before were measured."""
    return workloads.burst(limits=False)


@cache
def quick_large() -> workloads.Large:
    """The large upload on such a table."""
    return workloads.large(limits=False)


refill = cache(workloads.refill)
packed = cache(workloads.packed)
large = cache(workloads.large)
tiny = cache(workloads.tiny)
template = cache(growth.template)


@cache
def rounds(pending: int) -> tuple[growth.Round, growth.Round]:
    """What a round costs with none and with one free slot."""
    return growth.rounds(template(), pending)


def _grows(free: int, what: str) -> float:
    """How much more a round costs with ten times as much."""
    few, many = rounds(10_000)[free], rounds(100_000)[free]
    return float(getattr(many, what) / getattr(few, what))


def packed_line() -> costs.Line:
    """The cost of small uploads, 500 to a job."""
    run = packed()
    return costs.Line(costs.Usage(), costs.Usage().plus(costs.used(run.load.meter), 1 / run.health.uploads))


def packed_cost(uploads: int) -> float:
    """The cost of small uploads that are packed, in dollars."""
    return packed_line().of(uploads).total


GOALS = {
    "5,000 small uploads: last upload → first job submitted, s": Goal(lambda: quick().first_job, 50, 5),
    "5,000 small uploads: last upload → tenth job submitted, s": Goal(lambda: quick().tenth_job, 496, 15),
    "5,000 small uploads: invocations of process_batch_jobs": Goal(
        lambda: burst().process_invocations, 5080, 100
    ),
    "5,000 small uploads: writes to the lease's partition in the worst second": Goal(
        lambda: burst().lease_writes, 8748, 100
    ),
    "5,000 small uploads: calls of process_batch_jobs for an upload": Goal(
        lambda: burst().process_calls, 9.3, 3
    ),
    "5,000 small uploads: calls of collect_results for an upload": Goal(
        lambda: burst().collect_calls, 10.0, 6
    ),
    "5,000 small uploads: dead letters": Goal(lambda: burst().health.dead_letters, 175, 0),
    "ten jobs that end at once: slot free → next job submitted, longest, s": Goal(
        lambda: refill().idle[-1], None, 3
    ),
    "collecting one job of 500 uploads, s": Goal(lambda: packed().seconds, 88, 5),
    "an upload of 2,500 chunks: last byte → first job submitted, s": Goal(
        lambda: quick_large().first_job, 81, 6
    ),
    "an upload of 2,500 chunks: last byte → tenth job submitted, s": Goal(
        lambda: quick_large().tenth_job, 103, 13
    ),
    "an upload of 2,500 chunks: GetModelInvocationJob calls for a job": Goal(lambda: large().gets, 37, 8),
    "an upload of 9,000 chunks: dead letters": Goal(lambda: tiny().health.dead_letters, 1, 0),
    "one round, no slot free: calls with 100,000 pending against 10,000": Goal(
        lambda: _grows(0, "calls"), 1.0, 1.2, exact=True
    ),
    "one round, no slot free: items read with 100,000 pending against 10,000": Goal(
        lambda: _grows(0, "items"), 1.0, 1.2, exact=True
    ),
    "one round, one slot free: calls with 100,000 pending against 10,000": Goal(
        lambda: _grows(1, "calls"), 1.0, 1.2, exact=True
    ),
    "one round, one slot free: items read with 100,000 pending against 10,000": Goal(
        lambda: _grows(1, "items"), 1.0, 1.2, exact=True
    ),
    "1,000,000 uploads with a job each, $": Goal(
        lambda: costs.one_job_each().of(MILLION).total, 211, 60, reached=72
    ),
    "1,000,000 small uploads, packed, $": Goal(lambda: packed_cost(MILLION), 50, 40),
}
