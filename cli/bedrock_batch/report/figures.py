"""What the queue did in a period, as figures. Nothing here reads or draws."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, field
from decimal import Decimal
from typing import Any

from batch_queue.core import names, reports
from batch_queue.core.records import dataclass
from batch_queue.core.rows import TERMINAL, Job, Status, Upload

from .causes import Cause, of_jobs, of_records, of_uploads
from .data import Data
from .slots import Model, models

_HOUR = 3600
# Widths of a bar of the throughput, in seconds; the first one is used that gives few enough bars.
_WIDTHS = (60, 300, 900, _HOUR, 3 * _HOUR, 6 * _HOUR, 24 * _HOUR, 7 * 24 * _HOUR)
_MOST_BUCKETS = 200
# What is left free before the first job of a plot, as a share of its width.
_MARGIN = 0.05


@dataclass(frozen=True, slots=True)
class Spread:
    """How long something took, in seconds: of ``count`` values, the median and other percentiles."""

    count: int
    p10: float
    p25: float
    median: float
    p75: float
    p90: float
    longest: float


@dataclass(frozen=True, slots=True)
class RouteFigures:
    """The uploads of a route that ended in the period, and how long its work waited.

    ``records`` = ``answered`` + ``failed`` + ``not_run``. ``cost``: None if the route has no prices.
    ``waits``: from the creation of an upload until its first job was submitted. ``starts``: from there until
    Bedrock started the job. ``runs``: from there until the job ended. None: nothing is known of it.
    """

    name: str
    uploads: int = 0
    records: int = 0
    answered: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal | None = None
    waits: Spread | None = None
    starts: Spread | None = None
    runs: Spread | None = None

    @property
    def not_run(self) -> int:
        """How many records were not run: those of rejected and of cancelled uploads."""
        return self.records - self.answered - self.failed


@dataclass(frozen=True, slots=True)
class Throughput:
    """Records that jobs answered, by when the jobs ended.

    ``starts``: where each bucket of ``width`` seconds begins, in epoch seconds. ``answered``: route → records
    in each bucket.
    """

    width: int
    starts: Sequence[int]
    answered: Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Figures:
    """What the queue did in a period. Times are in epoch seconds.

    ``uploads``: status → uploads that ended in the period, or that have not ended. ``jobs``: the same of
    jobs. ``routes``: those with anything to tell, by name. ``use``: the share of all slots that was used.
    ``causes``: why jobs, records and uploads failed; most first.
    """

    queue: str
    version: str
    since: float
    until: float
    uploads: Mapping[Status, int]
    jobs: Mapping[Status, int]
    routes: Sequence[RouteFigures]
    models: Sequence[Model]
    throughput: Throughput
    causes: Sequence[Cause]
    truncated: Sequence[str] = field(default=())

    @property
    def ended(self) -> int:
        """How many uploads ended in the period."""
        return sum(count for status, count in self.uploads.items() if status in TERMINAL)

    @property
    def drawn_since(self) -> float:
        """From when plots over time begin: a little before the first job, if that is late in the period."""
        first = min((bar.start for model in self.models for bar in model.bars), default=self.since)
        late = first - self.since > (self.until - self.since) / 2
        return first - (self.until - first) * _MARGIN if late else self.since

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to tell of the period."""
        return not any((self.uploads, self.jobs, *(model.bars for model in self.models)))

    @property
    def total(self) -> RouteFigures:
        """The sums of all routes; the cost is that of the routes with prices."""
        costs = [route.cost for route in self.routes if route.cost is not None]
        return RouteFigures(
            "",
            uploads=sum(route.uploads for route in self.routes),
            records=sum(route.records for route in self.routes),
            answered=sum(route.answered for route in self.routes),
            failed=sum(route.failed for route in self.routes),
            input_tokens=sum(route.input_tokens for route in self.routes),
            output_tokens=sum(route.output_tokens for route in self.routes),
            cost=sum(costs, Decimal(0)) if costs else None,
        )

    @property
    def use(self) -> float | None:
        """The share of the slots of all models that jobs held, from 0 to 1; None if no limit is known."""
        known = [model for model in self.models if model.limit]
        slots = sum(model.limit or 0 for model in known) * (self.until - self.since)
        return sum(model.seconds for model in known) / slots if slots > 0 else None


def figures(data: Data) -> Figures:
    """Computes the figures of a report."""
    begin, end = names.iso(data.since), names.iso(data.until)

    def counts(row: Upload | Job) -> bool:
        return row.status not in TERMINAL or begin <= row.ended_at <= end

    uploads = [upload for upload in data.uploads if counts(upload)]
    jobs = [job for job in data.jobs if counts(job)]
    ended = [upload for upload in uploads if upload.status in TERMINAL]
    done = [job for job in jobs if job.status in TERMINAL]
    return Figures(
        queue=data.queue,
        version=data.version,
        since=data.since,
        until=data.until,
        uploads=Counter(upload.status for upload in uploads),
        jobs=Counter(job.status for job in jobs),
        routes=_routes(data, ended, done),
        models=models(data.jobs, data.routes, data.since, data.until),
        throughput=throughput(done, data.since, data.until),
        causes=(
            *of_jobs(done, data.uploads),
            *of_records(data.errors, data.examples),
            *of_uploads(ended),
        ),
        truncated=data.truncated,
    )


# ----------------------------------------------------------------------------------------------- by route


def _routes(data: Data, ended: Sequence[Upload], done: Sequence[Job]) -> tuple[RouteFigures, ...]:
    waits = _waits(data)
    batch = [job for job in done if not job.instead and job.started_at]
    starts = _by_route((job.route, job.submitted_at, job.started_at) for job in batch if job.submitted_at)
    runs = _by_route((job.route, job.started_at, job.ended_at) for job in batch)
    by_route: dict[str, list[Upload]] = {}
    for upload in ended:
        by_route.setdefault(upload.route, []).append(upload)
    names_of = by_route.keys() | waits.keys() | starts.keys() | runs.keys()
    return tuple(
        _route(
            data,
            name,
            by_route.get(name, []),
            waits=spread(waits.get(name, ())),
            starts=spread(starts.get(name, ())),
            runs=spread(runs.get(name, ())),
        )
        for name in sorted(names_of)
    )


def _route(
    data: Data,
    name: str,
    uploads: Sequence[Upload],
    *,
    waits: Spread | None,
    starts: Spread | None,
    runs: Spread | None,
) -> RouteFigures:
    input_tokens = sum(upload.input_tokens for upload in uploads)
    output_tokens = sum(upload.output_tokens for upload in uploads)
    return RouteFigures(
        name=name,
        uploads=len(uploads),
        # A summary of another version may count fewer records than were answered.
        records=sum(max(upload.records, upload.success_count + upload.error_count) for upload in uploads),
        answered=sum(upload.success_count for upload in uploads),
        failed=sum(upload.error_count for upload in uploads),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost=reports.cost(data.routes.get(name), input_tokens, output_tokens),
        waits=waits,
        starts=starts,
        runs=runs,
    )


def _waits(data: Data) -> dict[str, list[float]]:
    """Returns route → seconds from the creation of each upload to its first job, if that is in the period."""
    submitted = {job.arn: job.submitted_at for job in data.jobs if job.arn and job.submitted_at}
    begin, end = names.iso(data.since), names.iso(data.until)
    spans = []
    for upload in data.uploads:
        first = min((submitted[arn] for arn in upload.job_arns if arn in submitted), default="")
        if begin <= first <= end:
            spans.append((upload.route, upload.created_at, first))
    return _by_route(spans)


def _by_route(spans: Iterable[tuple[str, str, str]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for route, start, end in spans:
        # Bedrock's clock and that of the functions differ a little.
        found.setdefault(route, []).append(max(0.0, names.epoch(end) - names.epoch(start)))
    return found


def spread(values: Iterable[float]) -> Spread | None:
    """Returns the percentiles of some values; None if there are none."""
    ordered = sorted(values)
    if not ordered:
        return None
    ranks = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
    return Spread(len(ordered), *(_percentile(ordered, rank) for rank in ranks))


def _percentile(ordered: Sequence[float], rank: float) -> float:
    at = rank * (len(ordered) - 1)
    low, high = ordered[math.floor(at)], ordered[math.ceil(at)]
    return min(high, low + (high - low) * (at - math.floor(at)))


# --------------------------------------------------------------------------------------------- throughput


def throughput(jobs: Iterable[Job], since: float, until: float) -> Throughput:
    """Returns the records that jobs answered that ended in a period, in buckets of one width."""
    width = next((one for one in _WIDTHS if (until - since) / one <= _MOST_BUCKETS), _WIDTHS[-1])
    first, last = int(since // width), int(until // width)
    answered: dict[str, list[int]] = {}
    for job in jobs:
        if job.success_count:
            row = answered.setdefault(job.route, [0] * (last - first + 1))
            # Times in rows have milliseconds, so that one may lie just before the period.
            row[max(first, int(names.epoch(job.ended_at) // width)) - first] += job.success_count
    starts = [number * width for number in range(first, last + 1)]
    return Throughput(width, starts, dict(sorted(answered.items())))


# --------------------------------------------------------------------------------------------------- JSON


def document(figures: Figures) -> dict[str, Any]:
    """Returns the figures as a JSON document. Durations are in seconds; costs are text, as in summaries."""
    total = figures.total
    return {
        "queue": figures.queue,
        "version": figures.version,
        "since": names.iso(figures.since),
        "until": names.iso(figures.until),
        "uploads": {str(status): count for status, count in sorted(figures.uploads.items())},
        "jobs": {str(status): count for status, count in sorted(figures.jobs.items())},
        "slot_use": figures.use,
        "total": _sums(total),
        "routes": {route.name: {**_sums(route), **_times(route)} for route in figures.routes},
        "models": {
            model.name: {
                "slots": model.limit,
                "most_at_once": model.lanes,
                "jobs": len(model.bars),
                "job_seconds": model.seconds,
                "slot_use": model.use,
            }
            for model in figures.models
        },
        "answered": {
            "bucket_seconds": figures.throughput.width,
            "starts": [names.iso(start) for start in figures.throughput.starts],
            "by_route": {name: list(counts) for name, counts in figures.throughput.answered.items()},
        },
        "causes": [asdict(cause) for cause in figures.causes],
        "left_out": list(figures.truncated),
    }


def _sums(route: RouteFigures) -> dict[str, Any]:
    return {
        "uploads": route.uploads,
        "records": route.records,
        "answered": route.answered,
        "failed": route.failed,
        "not_run": route.not_run,
        "input_tokens": route.input_tokens,
        "output_tokens": route.output_tokens,
        **({} if route.cost is None else {"cost": f"{route.cost:.6f}"}),
    }


def _times(route: RouteFigures) -> dict[str, Any]:
    spreads = (("waiting", route.waits), ("starting", route.starts), ("running", route.runs))
    return {name: asdict(found) for name, found in spreads if found is not None}
