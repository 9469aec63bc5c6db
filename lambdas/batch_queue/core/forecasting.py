"""Foretells when an upload begins to run and when it ends, from what was learned of its model's jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .names import base_model
from .records import dataclass
from .rows import Estimate, Place, Route
from .scheduling import Running, duration, plan

# After so many rounds, the forecast says no more than that it takes longer.
MOST_ROUNDS = 300


@dataclass(frozen=True, slots=True)
class Forecast:
    """When an upload is expected to begin and to end, in seconds from now; None if that is not known.

    ``begins`` is None too if it runs already. ``jobs``: in how many jobs that are still to start it runs.
    """

    begins: float | None = None
    ends: float | None = None
    jobs: int = 0


def forecast(
    upload_id: str,
    pending: Mapping[str, Sequence[Place]],
    routes: Mapping[str, Route],
    running: Sequence[Running],
    estimates: Mapping[str, Estimate],
    now: float,
) -> Forecast:
    """Returns when the pending chunks of an upload are expected to run.

    Plays what ``scheduling.plan`` does: whenever a job ends, the next ones start, and nothing else comes. The
    arguments are those of ``plan``; ``pending`` has all places of the routes that matter. Jobs of others end
    when they are known to, so a slot that they hold for an unknown time counts as free once another job has
    ended.
    """
    queues = {name: list(places) for name, places in pending.items()}
    mine = {place.ref for places in queues.values() for place in places if place.ref.upload_id == upload_id}
    if not mine:
        return Forecast()
    active = list(running)
    at, begins, ends, jobs = 0.0, None, 0.0, 0
    for _ in range(MOST_ROUNDS):
        planned = plan(queues, routes, active, estimates, now + at)
        for job in planned.jobs:
            takes = duration(sum(ref.records for ref in job.chunks), _of(job.route, estimates))
            active.append(Running(job.route.model_id, job.route.name, takes))
            refs = set(job.chunks)
            queues[job.route.name] = [one for one in queues[job.route.name] if one.ref not in refs]
            if refs & mine:
                begins = at if begins is None else begins
                ends = max(ends, at + takes)
                jobs += 1
                mine -= refs
        if not mine:
            return Forecast(begins, ends, jobs)
        steps = [job.ends_in for job in active if job.ends_in > 0]
        steps += [place.not_before - now - at for places in queues.values() for place in places[:1]]
        steps = [step for step in steps if step > 0]
        if not steps:
            break
        at += min(steps)
        active = [
            replace(job, ends_in=job.ends_in - min(steps)) for job in active if job.ends_in != min(steps)
        ]
    return Forecast(begins, None, jobs)


def _of(route: Route, estimates: Mapping[str, Estimate]) -> Estimate:
    return estimates.get(base_model(route.model_id), Estimate())
