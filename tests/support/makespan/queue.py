"""The queue, as far as it decides when which job starts: with its own code, under a virtual clock."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from math import inf

from batch_queue.core import gathering, scheduling
from batch_queue.core.admission import CHUNKS_PER_FILE
from batch_queue.core.names import base_model, iso
from batch_queue.core.rows import ChunkRef, Estimate, Job, Place, Route, Status
from batch_queue.core.scheduling import NewJob, Running

from tests.support.makespan.slots import Ran, Slots, Times
from tests.support.makespan.workloads import File, Workload

#: What the virtual clock calls 0, in epoch seconds.
EPOCH = 1_767_225_600.0
#: The size of a record, in bytes: no limit of bytes is met before one of records.
RECORD_BYTES = 1_000
#: A job is collected, and the queue stores what it learned from it, so many seconds after its end.
COLLECTED_AFTER = 10.0


@dataclass(slots=True)
class Head:
    """The queue of one route: its places in order, of which the first ``taken`` are in jobs."""

    places: list[Place] = field(default_factory=list)
    taken: int = 0

    def read(self, most_records: int, most_places: int) -> list[Place]:
        """Returns the head of the queue; stops as ``Chunks.pending`` does."""
        found: list[Place] = []
        records = 0
        for place in islice(self.places, self.taken, self.taken + most_places):
            found.append(place)
            records += place.ref.records
            if records >= most_records:
                break
        return found


@dataclass(frozen=True, slots=True)
class Active:
    """A job that is not collected: its row, and where it runs, of which the queue learns at its end."""

    job: Job
    ran: Ran


class Queue:
    """Simulates the queue on one workload. ``estimates``: what it knows of the models at first.

    ``times`` says how long jobs take. The time of the functions themselves is 0.
    """

    def __init__(self, workload: Workload, times: Times, estimates: dict[str, Estimate]) -> None:
        self._workload, self._times = workload, times
        self._estimates = dict(estimates)
        self._queues = {name: Head() for name in workload.routes}
        limits = scheduling.model_limits(workload.routes.values())
        self._slots = {model: Slots(model, count) for model, count in limits.items()}
        self._active: dict[str, Active] = {}
        self._events: list[tuple[float, int, str]] = []
        self._numbers: Counter[str] = Counter()

    def run(self) -> list[Ran]:
        """Runs until nothing waits and nothing runs. Returns the jobs that ran."""
        arriving = iter(_places(self._workload))
        coming = next(arriving, None)
        asleep = 0.0
        while coming or self._events:
            now = min(coming[0] if coming else inf, self._events[0][0] if self._events else inf)
            while coming and coming[0] <= now:
                self._queues[coming[1][0].route].places += coming[1]
                coming = next(arriving, None)
            while self._events and self._events[0][0] <= now:
                self._happens(heapq.heappop(self._events)[2], now)
            if now >= asleep and (asleep := self._round(now)) > now:
                self._push(asleep, "wake")
        return [job for own in self._slots.values() for job in own.ran]

    def _push(self, at: float, what: str) -> None:
        self._numbers["event"] += 1
        heapq.heappush(self._events, (at, self._numbers["event"], what))

    def _happens(self, what: str, now: float) -> None:
        """Handles the end of a job or of its collection; after a wait there is only another round."""
        kind, _, job_id = what.partition(" ")
        if kind == "ended":
            active = self._active[job_id]
            self._slots[active.ran.model].give_back(active.ran)
            self._active[job_id] = replace(active, job=replace(active.job, status=Status.COMPLETED))
            self._push(now + COLLECTED_AFTER, f"collected {job_id}")
        elif kind == "collected":
            job = self._active.pop(job_id).job
            model = base_model(job.model_id)
            self._estimates[model] = scheduling.learned(self._estimates.get(model), job)

    # ------------------------------------------------------------------------------------------- one round

    def _round(self, now: float) -> float:
        """Starts what should start now. Returns until when the run waits for further uploads, or ``now``."""
        routes, moment = self._workload.routes, EPOCH + now
        ended = (active.job for active in self._active.values() if active.job.status == Status.COMPLETED)
        estimates = scheduling.informed(self._estimates, ended)
        running = self._running(now, estimates)
        pending: dict[str, list[Place]] = {}
        for name, route in routes.items():
            estimate = estimates.get(base_model(route.model_id), Estimate())
            pending[name] = self._queues[name].read(
                *scheduling.head(route, routes.values(), running, estimate)
            )
        if not any(pending.values()):
            return now
        waits = gathering.gathers_until(pending, routes, running, estimates, moment)
        at_once = {
            name: places for name, places in pending.items() if base_model(routes[name].model_id) not in waits
        }
        plan = scheduling.plan(at_once, routes, running, estimates, moment)
        for new in plan.jobs:
            self._start(new, now)
        for few in plan.undersized:  # rejected, or on demand: no job
            self._queues[few.route.name].taken += len(few.places)
        for few in plan.waiting:
            self._push(few.until - EPOCH, "wake")
        return max(now, min(waits.values()) - EPOCH) if waits else now

    def _running(self, now: float, estimates: dict[str, Estimate]) -> list[Running]:
        """Returns what the queue believes of the jobs that run."""
        found = []
        for active in self._active.values():
            job = active.job
            if job.status != Status.COMPLETED:
                estimate = estimates.get(base_model(job.model_id), Estimate())
                ends = active.ran.start + scheduling.duration(job.records, estimate)
                age = now - active.ran.start
                found.append(Running(job.model_id, job.route, max(0.0, ends - now), age))
        return found

    def _start(self, new: NewJob, now: float) -> None:
        route, records = new.route, sum(ref.records for ref in new.chunks)
        self._queues[route.name].taken += len(new.chunks)
        waits, runs = self._times.draw(records)
        ran = self._slots[base_model(route.model_id)].take(now, now + waits + runs, records)
        self._numbers["job"] += 1
        job_id = str(self._numbers["job"])
        job = Job(
            job_id=job_id,
            job_name=job_id,
            route=route.name,
            model_id=route.model_id,
            status=Status.SUBMITTED,
            created_at=iso(EPOCH + now),
            records=records,
            submitted_at=iso(EPOCH + now),
            started_at=iso(EPOCH + now + waits),
            ended_at=iso(EPOCH + ran.end),
        )
        self._active[job_id] = Active(job, ran)
        self._push(ran.end, f"ended {job_id}")


@cache
def _places(workload: Workload) -> tuple[tuple[float, list[Place]], ...]:
    """Returns each upload's time and its places, split as the intake splits it."""
    return tuple(
        (file.at, _split(file, number, workload.routes[file.route]))
        for number, file in enumerate(workload.files)
    )


def _split(file: File, number: int, route: Route) -> list[Place]:
    size = route.max_records_per_file // CHUNKS_PER_FILE
    full, rest = divmod(file.records, size)
    sizes = [size] * full
    if rest >= route.min_records_per_job or not full:
        sizes.append(rest)
    else:
        sizes[-1] += rest
    entered = iso(EPOCH + file.at)
    return [
        Place(
            ChunkRef(f"{number:06d}", at, 1, records),
            file.route,
            entered,
            records * RECORD_BYTES,
            queued_at=entered,
        )
        for at, records in enumerate(sizes, start=1)
    ]
