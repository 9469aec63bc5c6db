"""Decides how long a run waits for uploads that are still arriving before it makes jobs of those it has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from .names import base_model
from .rows import Estimate, Place, Route
from .scheduling import Running, full_jobs, room, slots_worth, waits_since

# The longest wait after the first upload that could run, in seconds, and as a part of a job's fixed time: to
# save this time is all that a wait can win.
LONGEST_WAIT = 90.0
LONGEST_PART = 0.3
# The shortest pause (seconds) after which no further upload is expected: after the first one, whose successor
# may be late by the start of a function, and after several.
FIRST_PAUSE = 5.0
SHORTEST_PAUSE = 2.0
# The longest pause that is waited for, in seconds.
LONGEST_PAUSE = 30.0
# After so many seconds without a new job, one upload alone is no sign of others.
LULL = 60.0
# A pause is over if, at the pace so far, a longer one would follow an upload with less than this probability.
RARE = 0.001


def gathers_until(
    pending: Mapping[str, Sequence[Place]],
    routes: Mapping[str, Route],
    running: Sequence[Running],
    estimates: Mapping[str, Estimate],
    now: float,
) -> dict[str, float]:
    """Returns base model → until when (epoch seconds, after ``now``) no job of it should start.

    Uploads that come first would otherwise take the free slots in jobs that are too small, and those that
    follow would wait until these jobs end. Models that need not wait are not in the answer. Call again with
    what is pending then: new uploads make the wait longer or needless. ``pending`` holds the head of each
    route's queue, as far as ``scheduling.head`` says; the other arguments are those of ``scheduling.plan``.

    A model waits until no upload has come for a pause: the one that is rare at the pace at which the pending
    uploads came. It waits at most ``LONGEST_WAIT`` seconds, or ``LONGEST_PART`` of the fixed time of a job,
    after the first upload that could run. It does not wait if nothing can start, if its jobs cannot become
    larger, or if at that pace each upload will find a slot of its own. One upload alone
    does not wait if it has more chunks than there are free slots; nor if it comes after a lull, leaves slots
    to those that may follow, and it is known for how long it takes its own.
    """
    found: dict[str, float] = {}
    for model in {base_model(route.model_id) for route in routes.values()}:
        ready = {
            name: [place for place in pending.get(name, ()) if place.not_before <= now]
            for name, route in routes.items()
            if base_model(route.model_id) == model and room(route, routes.values(), running)
        }
        if (until := _until(ready, routes, running, estimates.get(model), now)) > now:
            found[model] = until
    return found


def _until(
    ready: Mapping[str, Sequence[Place]],
    routes: Mapping[str, Route],
    running: Sequence[Running],
    known: Estimate | None,
    now: float,
) -> float:
    """Returns until when one model waits, or 0. ``ready``: what may run now, of the routes that have room."""
    estimate = known or Estimate()
    startable = {
        name: places
        for name, places in ready.items()
        if sum(place.ref.records for place in places) >= routes[name].min_records_per_job
    }
    if not startable:
        return 0.0
    first = min(_startable_since(places, routes[name]) for name, places in startable.items())
    last = first + min(LONGEST_WAIT, LONGEST_PART * estimate.overhead_seconds)
    if last <= now:
        return 0.0
    full = max(slots_worth(routes[name], routes.values(), running, estimate) for name in startable)
    if sum(full_jobs(routes[name], places) for name, places in ready.items()) >= full:
        return 0.0
    came = _arrivals([place for places in ready.values() for place in places], first)
    free = max(room(routes[name], routes.values(), running) for name in startable)
    lull = min((job.age for job in running if job.route in ready), default=math.inf) > LULL
    alone = len(came) == 1
    if alone and (sum(map(len, startable.values())) > free or (lull and free > 1 and known)):
        return 0.0
    return min(last, _expected_until(came, free, last))


def pause(gaps: int, mean: float) -> float:
    """Returns after how many seconds without an upload no further one is expected.

    ``mean``: the mean of so many ``gaps`` between uploads, in seconds. If uploads come at random, the next
    gap is longer than k times the mean of n gaps with the probability (1 + k / n) ** -n: the fewer gaps are
    known, the longer is the pause.
    """
    if not gaps:
        return FIRST_PAUSE
    times: float = gaps * (RARE ** (-1 / gaps) - 1)
    return min(LONGEST_PAUSE, max(SHORTEST_PAUSE, times * mean))


def _startable_since(places: Sequence[Place], route: Route) -> float:
    """Returns since when (epoch seconds) the places have had enough records for a job."""
    records = 0
    for since, count in sorted((waits_since(place), place.ref.records) for place in places):
        records += count
        if records >= route.min_records_per_job:
            return since
    raise ValueError("the places have too few records for a job")


def _arrivals(places: Sequence[Place], since: float) -> list[float]:
    """Returns when the uploads of these places entered the queue, in order, of those since ``since``."""
    entered: dict[str, float] = {}
    for place in places:
        entered[place.ref.upload_id] = max(waits_since(place), entered.get(place.ref.upload_id, 0.0))
    return sorted(at for at in entered.values() if at >= since)


def _expected_until(came: Sequence[float], free: int, last: float) -> float:
    """Returns until when a further upload is expected, or 0 if all until ``last`` will find free slots."""
    gaps = len(came) - 1
    mean = (came[-1] - came[0]) / max(1, gaps)
    if mean and len(came) + (last - came[-1]) / mean <= free:
        return 0.0
    return came[-1] + pause(gaps, mean)
