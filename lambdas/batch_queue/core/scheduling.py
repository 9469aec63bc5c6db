"""Decides what runs next: limits, free slots, job sizes, and which chunks wait for more records."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field

from .names import base_model, epoch
from .records import dataclass
from .rows import ChunkRef, Estimate, Job, Place, Route, Status

# Each hour in the queue adds this many points of priority, so that no route starves: a route with priority 0
# overtakes one with priority 100 after ten hours.
AGING_POINTS_PER_HOUR = 10.0
# A row (at most 400 KB) lists the job's chunks, some 80 bytes each; one invocation claims and stages them.
MAX_CHUNKS_PER_JOB = 2_500
# The weight of one completed job in the estimate of its model, at least. The first jobs count alike.
LEARNING_RATE = 0.3
# A job that took so many times longer or shorter than expected shows that the estimate is out of date.
SURPRISE = 2.0


@dataclass(frozen=True, slots=True)
class Running:
    """An active job of the account. ``route`` is "" for a job that is not from this queue.

    ``ends_in``: the seconds until it is expected to end; 0 if unknown. ``age``: the seconds since it was
    created; infinite if unknown.
    """

    model_id: str
    route: str = ""
    ends_in: float = 0.0
    age: float = math.inf


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to create: its route and its chunks, in queue order."""

    route: Route
    chunks: tuple[ChunkRef, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Chunks of one route with too few ``records`` for a job; they wait until ``until`` (epoch seconds)."""

    route: Route
    places: tuple[Place, ...]
    records: int
    until: float


@dataclass(slots=True)
class Plan:
    """What to do now: jobs to create, in order; chunks that wait for more; chunks whose wait is over."""

    jobs: list[NewJob] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    undersized: list[Waiting] = field(default_factory=list)


def model_limits(routes: Iterable[Route]) -> dict[str, int]:
    """Returns base model → the maximum active jobs of the account up to which this queue starts more.

    That is the largest ``max_active_jobs`` of the routes that share the model, minus their largest
    ``reserved_slots``.
    """
    limits: dict[str, int] = {}
    reserved: dict[str, int] = {}
    for route in routes:
        model = base_model(route.model_id)
        limits[model] = max(limits.get(model, 0), route.max_active_jobs)
        reserved[model] = max(reserved.get(model, 0), route.reserved_slots)
    return {model: max(0, limit - reserved[model]) for model, limit in limits.items()}


def free_slots(routes: Iterable[Route], running: Iterable[Running]) -> dict[str, int]:
    """Returns base model → free slots (0 or more); every active job of the account takes a slot."""
    active = Counter(base_model(job.model_id) for job in running)
    return {model: max(0, limit - active[model]) for model, limit in model_limits(routes).items()}


def room(route: Route, routes: Iterable[Route], running: Sequence[Running]) -> int:
    """Returns how many jobs a route may start now: the model's free slots, within the route's own limit."""
    own = sum(1 for job in running if job.route == route.name)
    return max(0, min(free_slots(routes, running)[base_model(route.model_id)], route.max_active_jobs - own))


def slots_worth(
    route: Route, routes: Iterable[Route], running: Sequence[Running], estimate: Estimate
) -> float:
    """Returns how many full jobs must wait so that more of them would not make the next job larger.

    That is one for each free slot, and for each busy slot the part of a job that it could do before a full
    job that starts now ends. 0 if the route may not start a job.
    """
    if not room(route, routes, running):
        return 0.0
    model = base_model(route.model_id)
    takes = route.max_records_per_job / estimate.records_per_second
    busy = (max(0.0, 1 - job.ends_in / takes) for job in running if base_model(job.model_id) == model)
    return free_slots(routes, running)[model] + sum(busy)


def head(
    route: Route, routes: Iterable[Route], running: Sequence[Running], estimate: Estimate
) -> tuple[int, int]:
    """Returns how much of a route's queue a round needs to know: at most so many (records, places).

    With more, ``plan`` would make the same jobs. One minimum more than fits is read, so that what is left
    behind the last job is not mistaken for the end of the queue. (0, 0) if the route may not start a job.
    """
    jobs = slots_worth(route, routes, running, estimate)
    if not jobs:
        return 0, 0
    least = route.min_records_per_job
    return math.ceil(jobs * route.max_records_per_job) + least, math.ceil(jobs * most_chunks(route)) + least


def full_jobs(route: Route, places: Sequence[Place]) -> float:
    """Returns how many full jobs the places are: by their records, their bytes or their number."""
    return max(
        sum(place.ref.records for place in places) / route.max_records_per_job,
        sum(place.size_bytes for place in places) / route.max_bytes_per_job,
        len(places) / most_chunks(route),
    )


def duration(records: int, estimate: Estimate) -> float:
    """Returns how long a job with so many records is expected to take, in seconds from its submission."""
    return estimate.overhead_seconds + records / estimate.records_per_second


def ends_in(job: Job, estimates: Mapping[str, Estimate], now: float) -> float:
    """Returns in how many seconds a job is expected to end, which is negative if it is late.

    ``estimates``: by base model. ``now``: in epoch seconds.
    """
    estimate = estimates.get(base_model(job.model_id), Estimate())
    return epoch(job.submitted_at or job.created_at) + duration(job.records, estimate) - now


def end_of_all(pending: float, starts: Sequence[float], estimate: Estimate) -> float:
    """Returns when all pending records would be processed (seconds from now) if every slot is used.

    ``starts``: when each slot becomes free (seconds from now). Water-filling: the T for which the sum of
    (T - start - overhead) * rate over the used slots equals ``pending``; a slot is used if it becomes free
    before T - overhead.
    """
    work = pending / estimate.records_per_second
    ready = sorted(start + estimate.overhead_seconds for start in starts)
    total = 0.0
    for used, at in enumerate(ready, start=1):
        total += at
        level = (work + total) / used
        if used == len(ready) or level <= ready[used]:
            return level
    return estimate.overhead_seconds + work


def job_size(pending: float, starts: Sequence[float], estimate: Estimate) -> int:
    """Returns how many records the next job on a free slot should have, before any limit applies."""
    level = end_of_all(pending, starts, estimate)
    return max(1, round((level - estimate.overhead_seconds) * estimate.records_per_second))


def plan(
    pending: Mapping[str, Sequence[Place]],
    routes: Mapping[str, Route],
    running: Sequence[Running],
    estimates: Mapping[str, Estimate],
    now: float,
) -> Plan:
    """Packs pending chunks into jobs for the free slots.

    ``pending`` holds the head of each route's queue, oldest first. ``estimates`` is by base model. ``now`` is
    in epoch seconds. Each free slot goes to the route with the highest priority (which rises with the age of
    its oldest chunk), and among equal priorities to the route with the oldest chunk. The job takes chunks in
    order until the slot's share is full. No job exceeds the route's limits. Chunks with fewer records than
    the route's minimum wait for more.
    """
    found = Plan()
    slots = free_slots(routes.values(), running)
    caps = {name: room(route, routes.values(), running) for name, route in routes.items()}
    queues = {
        name: [place for place in places if place.not_before <= now]
        for name, places in pending.items()
        if name in routes and places
    }
    busy = list(running)
    while candidates := [
        name
        for name, places in queues.items()
        if places and slots[base_model(routes[name].model_id)] and caps[name]
    ]:
        name = min(candidates, key=lambda name: _rank(routes[name], queues[name][0], now))
        route, model = routes[name], base_model(routes[name].model_id)
        estimate = estimates.get(model, Estimate())
        left = {
            other: sum(place.ref.records for place in queues[other])
            for other in queues
            if base_model(routes[other].model_id) == model
        }
        share = _share(route, left, slots[model], busy, estimate)
        taken = _fill(queues[name], route, share)
        records = sum(place.ref.records for place in taken)
        queues[name] = queues[name][len(taken) :]
        if records < route.min_records_per_job:
            _wait(found, route, taken, now)
            continue
        found.jobs.append(NewJob(route, tuple(place.ref for place in taken)))
        slots[model] -= 1
        caps[name] -= 1
        busy.append(Running(route.model_id, name, duration(records, estimate)))
    for name, places in queues.items():
        if places and sum(place.ref.records for place in places) < routes[name].min_records_per_job:
            _wait(found, routes[name], places, now)
    return found


def _share(
    route: Route, left: Mapping[str, int], free: int, running: Sequence[Running], estimate: Estimate
) -> int:
    """Returns how many records the next job of a route should have, before any limit applies.

    ``left``: the pending records by route, of the routes that share the model. Where the route's own limit
    allows it fewer slots than the model has, its records have to do with them.
    """
    model = base_model(route.model_id)
    ends = [(job.route, max(0.0, job.ends_in)) for job in running if base_model(job.model_id) == model]
    own = [end for name, end in ends if name == route.name]
    others = sorted([*[0.0] * free, *(end for name, end in ends if name != route.name)])
    share = job_size(sum(left.values()), [*own, *others], estimate)
    if (within := max(1, route.max_active_jobs - len(own))) >= len(others):
        return share
    return max(share, job_size(left[route.name], [*own, *others[:within]], estimate))


def _rank(route: Route, head: Place, now: float) -> tuple[float, str]:
    hours = max(0.0, now - waits_since(head)) / 3600
    return (-(route.priority + int(hours * AGING_POINTS_PER_HOUR)), head.order_key)


def waits_since(place: Place) -> float:
    """Returns when a chunk began to wait, in epoch seconds: its entry into the queue, or its back-off's end.

    The event of an upload may have come late. Places of older versions do not have the time of their entry.
    """
    return max(epoch(place.queued_at or place.created_at), place.not_before)


def most_chunks(route: Route) -> int:
    """Returns the maximum chunks of a job: enough for the minimum even if each chunk has one record."""
    return max(MAX_CHUNKS_PER_JOB, route.min_records_per_job)


def _fill(places: Sequence[Place], route: Route, share: int) -> list[Place]:
    """Returns the head of a queue for one job: about ``share`` records, within the route's limits.

    Takes chunks as long as each brings the job closer to its share, and at least up to the minimum. If the
    chunks left over are below the minimum, the job takes them too where the limits allow it, and otherwise
    leaves them some of its own.
    """
    want = max(share, route.min_records_per_job)
    taken: list[Place] = []
    records = size = 0
    for place in places[: most_chunks(route)]:
        more = records + place.ref.records
        if more > route.max_records_per_job or size + place.size_bytes > route.max_bytes_per_job:
            break
        if records >= route.min_records_per_job and more - want > want - records:
            break
        taken.append(place)
        records, size = more, size + place.size_bytes
    if not taken:  # the first chunk exceeds limits that were lowered since: let Bedrock decide, on it alone
        return list(places[:1])
    rest = places[len(taken) :]
    left = sum(place.ref.records for place in rest)
    if not 0 < left < route.min_records_per_job:
        return taken
    if (
        len(places) <= most_chunks(route)
        and records + left <= route.max_records_per_job
        and size + sum(place.size_bytes for place in rest) <= route.max_bytes_per_job
    ):
        return [*taken, *rest]
    return _sharing(taken, left, route.min_records_per_job)


def _sharing(taken: list[Place], left: int, least: int) -> list[Place]:
    """Returns a job's chunks without the last ones, so that at least ``least`` records stay behind it.

    ``left``: the records behind the job as it is. Returns all chunks if the job would become too small.
    """
    records = sum(place.ref.records for place in taken)
    for end in range(len(taken) - 1, 0, -1):
        given = taken[end].ref.records
        records, left = records - given, left + given
        if records < least:
            return taken
        if left >= least:
            return taken[:end]
    return taken


def _wait(found: Plan, route: Route, places: Sequence[Place], now: float) -> None:
    """Adds chunks that are too few for a job: those that have waited long enough, and those that wait on."""
    longest = route.pack_wait_minutes * 60
    over = [place for place in places if waits_since(place) + longest <= now]
    others = [place for place in places if waits_since(place) + longest > now]
    for group, some in ((found.undersized, over), (found.waiting, others)):
        if some:
            records = sum(place.ref.records for place in some)
            until = min(waits_since(place) for place in some) + longest
            group.append(Waiting(route, tuple(some), records, until))


def tells_its_times(job: Job) -> bool:
    """Returns whether a job can improve the estimate: a completed batch job with a known start time."""
    known = job.submitted_at and job.started_at and job.ended_at
    return bool(known) and not job.instead and job.status == Status.COMPLETED


def learned(known: Estimate | None, job: Job) -> Estimate:
    """Returns a model's estimate, updated with one of its jobs, for which ``tells_its_times`` is true.

    A job that took less than half or more than twice of what was expected replaces the estimate: it would
    take too many jobs to move an average that far, and each is planned with it. The count of jobs only grows,
    because it orders what concurrent runs store.
    """
    started = epoch(job.started_at)
    overhead = max(0.0, started - epoch(job.submitted_at))
    runs = max(0.1, epoch(job.ended_at) - started)
    if known is None or not 1 / SURPRISE <= (overhead + runs) / duration(job.records, known) <= SURPRISE:
        return Estimate(overhead, job.records / runs, jobs=known.jobs + 1 if known else 1)
    weight = max(LEARNING_RATE, 1 / (known.jobs + 1))
    return Estimate(
        overhead_seconds=known.overhead_seconds + weight * (overhead - known.overhead_seconds),
        records_per_second=known.records_per_second
        + weight * (job.records / runs - known.records_per_second),
        jobs=known.jobs + 1,
    )


def informed(estimates: Mapping[str, Estimate], jobs: Iterable[Job]) -> dict[str, Estimate]:
    """Returns the estimates by base model, updated with the jobs among ``jobs`` that tell their times.

    An estimate is stored when a job's output is collected, but the slot of the job is filled at once: with
    what its end shows.
    """
    found = dict(estimates)
    for job in sorted(filter(tells_its_times, jobs), key=lambda job: job.ended_at):
        model = base_model(job.model_id)
        found[model] = learned(found.get(model), job)
    return found
