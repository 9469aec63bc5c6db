"""What an upload is expected to take, before it is uploaded: jobs, time, tokens and cost."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from batch_queue.core import names, reports, scheduling
from batch_queue.core.forecasting import Forecast, forecast
from batch_queue.core.records import dataclass
from batch_queue.core.rows import ChunkRef, Place, Route, Upload
from batch_queue.core.scheduling import Running

from .local import Checked

if TYPE_CHECKING:
    from batch_queue.aws.table import Table

# So many places of each queue are read.
MOST_PLACES = 5_000
# So many bytes of a record are a token, if no earlier upload tells better.
BYTES_PER_TOKEN = 4
_NEW = "0" * 32


@dataclass(frozen=True, slots=True)
class Expected:
    """What the files of one route are expected to take. Times are in seconds from now; None: not known.

    ``ends``: if nothing else is uploaded, and others in the account hold no slots. ``cost``: at the prices
    of the route; None without prices. ``learned``: tokens and cost come from earlier uploads of the route;
    otherwise ``input_tokens`` is guessed from the bytes, and the answers' tokens are left out.
    """

    route: str
    records: int
    jobs: int
    ends: float | None
    input_tokens: int
    output_tokens: int
    cost: Decimal | None
    learned: bool


def expected(
    route: Route,
    checked: Sequence[Checked],
    table: Table,
    earlier: Collection[Upload],
    now: float,
) -> Expected:
    """Returns what files are expected to take on a route. ``earlier``: uploads that have ended."""
    records = sum(one.records for one in checked)
    seen = _forecast(route, checked, table, now)
    input_tokens, output_tokens, learned = _tokens(route, checked, records, earlier)
    return Expected(
        route.name,
        records,
        seen.jobs,
        seen.ends,
        input_tokens,
        output_tokens,
        reports.cost(route, input_tokens, output_tokens),
        learned,
    )


def _forecast(route: Route, checked: Sequence[Checked], table: Table, now: float) -> Forecast:
    routes = table.models.routes()
    base = names.base_model(route.model_id)
    active = table.jobs.active()
    estimates = scheduling.informed(table.models.estimates(), active)
    pauses = table.orders.pauses()
    if pauses.of(route.name):
        return Forecast()
    pending = {
        name: table.chunks.pending(name, sys.maxsize, MOST_PLACES, 0.0)
        for name, one in routes.items()
        if names.base_model(one.model_id) == base and not pauses.of(name)
    }
    pending[route.name] = [*pending.get(route.name, []), *_places(route, checked, now)]
    running = [
        Running(job.model_id, job.route, max(1.0, scheduling.ends_in(job, estimates, now)))
        for job in active
        if not job.instead and not job.collected_at
    ]
    return forecast(_NEW, pending, routes, running, estimates, now)


def _places(route: Route, checked: Sequence[Checked], now: float) -> list[Place]:
    cuts = [cut for one in checked for cut in one.cuts]
    return [
        Place(
            ChunkRef(_NEW, number, 1, cut.records),
            route.name,
            names.iso(now),
            cut.end - cut.start,
            queued_at=names.iso(now),
        )
        for number, cut in enumerate(cuts, start=1)
    ]


def _tokens(
    route: Route, checked: Sequence[Checked], records: int, earlier: Collection[Upload]
) -> tuple[int, int, bool]:
    ran = [one for one in earlier if one.route == route.name and one.success_count and one.output_tokens]
    if answered := sum(one.success_count for one in ran):
        used_in = sum(one.input_tokens for one in ran) / answered
        used_out = sum(one.output_tokens for one in ran) / answered
        return round(used_in * records), round(used_out * records), True
    return sum(one.size for one in checked) // BYTES_PER_TOKEN, 0, False
