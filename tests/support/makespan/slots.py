"""What every scheduler has in common: slots, jobs that take their time, and the course of a simulation."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

from tests.support.makespan.workloads import TRUE


@dataclass(frozen=True, slots=True)
class Ran:
    """A job that ran: on which model and slot, from when to when (seconds), with how many records."""

    model: str
    slot: int
    start: float
    end: float
    records: int


class Times:
    """How long jobs take: 15 minutes and a minute for each 1,000 records, all of it times a chance.

    ``noise``: 0.5 draws the factor of each job evenly from 0.5 to 1.5. The order of the draws is that of the
    jobs, so that a seed gives each scheduler the same factors.
    """

    def __init__(self, noise: float = 0.0, seed: int = 0) -> None:
        self._noise = noise
        self._chance = random.Random(seed)

    def draw(self, records: int) -> tuple[float, float]:
        """Returns the seconds until a job starts to run records, and those that it runs them."""
        factor = 1 + self._chance.uniform(-self._noise, self._noise)
        return factor * TRUE.overhead_seconds, factor * records / TRUE.records_per_second


@dataclass(slots=True)
class Slots:
    """The slots of one model: which are free, and which jobs have run or run now."""

    model: str
    count: int
    ran: list[Ran] = field(default_factory=list)
    _free: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._free = list(range(self.count))

    @property
    def free(self) -> int:
        """How many jobs may start."""
        return len(self._free)

    def take(self, start: float, end: float, records: int) -> Ran:
        """Starts a job on the free slot with the lowest number."""
        job = Ran(self.model, heapq.heappop(self._free), start, end, records)
        self.ran.append(job)
        return job

    def give_back(self, job: Ran) -> None:
        """Ends a job."""
        heapq.heappush(self._free, job.slot)


def makespan(ran: list[Ran]) -> float:
    """Returns when the last job ends, in seconds from the first arrival."""
    return max(job.end for job in ran)
