"""Which slot each job held, and when."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from batch_queue.core import names, scheduling
from batch_queue.core.records import dataclass
from batch_queue.core.rows import TERMINAL, Job, Route, Status

# Stands for the route of a bar of jobs of several routes.
SEVERAL = "several routes"
# The width of a plot, in pixels: what is shorter than one cannot be seen.
FINEST = 1024


@dataclass(frozen=True, slots=True)
class Bar:
    """A job in its lane, or several jobs in a row that are too short to be seen apart.

    Times are in epoch seconds. ``lane`` counts from 1. ``job``: the first of ``jobs``. ``status``: the worst
    of theirs.
    """

    lane: int
    start: float
    end: float
    route: str
    status: Status
    records: int
    job: Job
    jobs: int = 1


@dataclass(frozen=True, slots=True)
class Model:
    """The slots of a base model in the period.

    ``limit``: how many jobs the queue may have active; None if no route has the model any more. ``lanes``:
    how many were active at the same time at most. ``seconds``: how long the jobs held slots, together.
    ``use``: the share of the slots that the jobs held, from 0 to 1; None without a limit.
    """

    name: str
    limit: int | None
    lanes: int
    bars: Sequence[Bar]
    seconds: float
    use: float | None


def models(jobs: Iterable[Job], routes: Mapping[str, Route], since: float, until: float) -> tuple[Model, ...]:
    """Returns the base models that had jobs in the period, or have a route; most jobs first.

    Jobs on demand hold no slot, and neither do those that Bedrock has not accepted.
    """
    limits = scheduling.model_limits(routes.values())
    found: dict[str, list[tuple[float, float, Job]]] = {name: [] for name in limits}
    for job in jobs:
        if job.instead or not job.submitted_at:
            continue
        start, end = max(since, names.epoch(job.submitted_at)), min(_end(job, until), until)
        if start <= end:
            found.setdefault(names.base_model(job.model_id), []).append((start, end, job))
    made = [_model(name, limits.get(name), held, until - since) for name, held in found.items()]
    return tuple(sorted(made, key=lambda model: (-len(model.bars), model.name)))


def _end(job: Job, until: float) -> float:
    return names.epoch(job.ended_at) if job.status in TERMINAL and job.ended_at else until


def _model(name: str, limit: int | None, held: Sequence[tuple[float, float, Job]], period: float) -> Model:
    bars = lanes(held)
    seconds = sum(bar.end - bar.start for bar in bars)
    use = seconds / (limit * period) if limit and period > 0 else None
    return Model(name, limit, max((bar.lane for bar in bars), default=0), bars, seconds, use)


def lanes(held: Iterable[tuple[float, float, Job]]) -> list[Bar]:
    """Gives each job, with its start and end, the first lane that is free: as few lanes as can be."""
    free: list[int] = []
    taken: list[tuple[float, int]] = []  # until when, and the lane
    bars: list[Bar] = []
    for start, end, job in sorted(held, key=lambda one: (one[0], one[1], one[2].job_id)):
        while taken and taken[0][0] <= start:
            heapq.heappush(free, heapq.heappop(taken)[1])
        lane = heapq.heappop(free) if free else len(taken) + 1
        heapq.heappush(taken, (end, lane))
        bars.append(Bar(lane, start, end, job.route, job.status, job.records, job))
    return bars


def merged(bars: Sequence[Bar], most: int) -> Sequence[Bar]:
    """Returns at most ``most`` bars, or one for each lane if there are more lanes.

    Short neighbors of a lane become one bar, so that the picture stays the same as far as it can be seen.
    """
    if not bars:
        return bars
    span = max(bar.end for bar in bars) - min(bar.start for bar in bars)
    for doubled in range(FINEST.bit_length() + 1):
        if len(bars) <= most:
            break
        in_order = sorted(bars, key=lambda bar: (bar.lane, bar.start))
        own = groupby(in_order, lambda bar: bar.lane)
        bars = [bar for _, some in own for bar in _joined(some, span * 2**doubled / FINEST)]
    return bars


def _joined(bars: Iterable[Bar], shortest: float) -> list[Bar]:
    """Joins the bars of a lane, in order, that together are not longer than ``shortest``."""
    found: list[Bar] = []
    for bar in bars:
        if found and bar.end - found[-1].start <= shortest:
            found[-1] = _both(found[-1], bar)
        else:
            found.append(bar)
    return found


def _both(first: Bar, second: Bar) -> Bar:
    return Bar(
        lane=first.lane,
        start=first.start,
        end=second.end,
        route=first.route if first.route == second.route else SEVERAL,
        status=max(first.status, second.status, key=_badness),
        records=first.records + second.records,
        job=first.job,
        jobs=first.jobs + second.jobs,
    )


def is_bad(status: Status) -> bool:
    """Returns whether a job with this status did not run to its end."""
    return status in (Status.FAILED, Status.EXPIRED, Status.STOPPED)


def _badness(status: Status) -> int:
    return 2 if is_bad(status) else int(status not in TERMINAL)
