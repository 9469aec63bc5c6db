"""Tells CloudWatch how much waits, how long, and who holds the slots. Only what has work is told.

A custom metric is billed for the hours in which it is sent: an idle queue sends two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from batch_queue.aws.table.chunks import Depth, Sample
from batch_queue.aws.telemetry import log, measure
from batch_queue.core import names, scheduling
from batch_queue.core.records import dataclass
from batch_queue.core.rows import ACTIVE, Job, Pauses, Route
from batch_queue.core.scheduling import Running

from .queue import Queue

# "Default: 24 hours" (timeoutDurationInHours in the API reference of CreateModelInvocationJob).
TIMEOUT_HOURS = 24


@dataclass(frozen=True, slots=True)
class Seen:
    """What a round has seen after it filled the slots.

    ``jobs``: all jobs whose results are not collected yet. ``samples``: the heads of the queues by route,
    also of routes that were removed. ``since``: by route, since when each thing waits (epoch seconds).
    ``running``: every active job of the account; None if Bedrock was not asked. ``pauses``: those that hold.
    """

    jobs: Collection[Job]
    routes: Mapping[str, Route]
    samples: Mapping[str, Sample]
    since: Mapping[str, Sequence[float]]
    running: Sequence[Running] | None
    pauses: Pauses


class Gauges:
    """The metrics of what is now, as one run sees it."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._name = queue.settings.name
        #: Whether the last round has read only a part of what waits in a queue.
        self.has_long_queues = False

    def tell(self, seen: Seen) -> None:
        """Prints what a round has seen: a line for each route with work, and one for the queue."""
        self.has_long_queues = not all(one.whole for one in seen.samples.values())
        active: defaultdict[str, int] = defaultdict(int)
        for job in seen.jobs:
            active[job.route] += job.status in ACTIVE
        busy = {job.route for job in seen.jobs} | {name for name, one in seen.samples.items() if one.places}
        for name in sorted(busy):
            values = {"OldestPendingAge": self._oldest(seen.since.get(name, ())), "ActiveJobs": active[name]}
            if name in seen.samples and seen.samples[name].whole:
                values["PendingRecords"] = seen.samples[name].depth.records
            measure(self._name, {**values, **_slots(seen, name)}, name)
        everything = [stamp for stamps in seen.since.values() for stamp in stamps]
        values = {"OldestPendingAge": self._oldest(everything), "ActiveJobs": sum(active.values())}
        if busy:
            values |= self._expiry(seen)
            if not self.has_long_queues:
                values |= _totals(one.depth for one in seen.samples.values())
        if paused := sum(1 for name in seen.routes if seen.pauses.of(name)):
            values["PausedRoutes"] = paused
        measure(self._name, values)

    def count(self, stop: Callable[[], bool]) -> None:
        """Reads all that waits, and prints how much it is. Gives up if ``stop`` returns True.

        For queues that are too long for a round to know. Takes a second for some 10,000 chunks.
        """
        table = self._queue.table
        depths: list[Depth] = []
        for name in sorted(table.models.routes().keys() | table.queues.known()):
            depth = table.chunks.depth(name, stop)
            if depth is None:
                log.warning("no time to count all that waits", extra={"route": name})
                return
            if depth.chunks:
                measure(self._name, {"PendingRecords": depth.records}, name)
            depths.append(depth)
        measure(self._name, _totals(depths))

    def _oldest(self, since: Collection[float]) -> float:
        now = self._queue.clock()
        return max(0.0, now - min(since, default=now))

    def _expiry(self, seen: Seen) -> dict[str, float]:
        """Returns in how many seconds the first job expires, by the timeout that its route has now."""
        left = []
        for job in seen.jobs:
            if job.status in ACTIVE and not job.instead:
                route = seen.routes.get(job.route)
                hours = (route.timeout_hours if route else None) or TIMEOUT_HOURS
                left.append(hours * 3600 - self._queue.age(job.submitted_at))
        return {"ShortestTimeToExpiry": max(0.0, min(left))} if left else {}


def _slots(seen: Seen, name: str) -> dict[str, float]:
    """Returns how many active jobs the account has for a route's model, and how many the route may start."""
    route = seen.routes.get(name)
    if route is None or seen.running is None:
        return {}
    base = names.base_model(route.model_id)
    return {
        "SlotsUsed": sum(1 for job in seen.running if names.base_model(job.model_id) == base),
        "SlotsFree": scheduling.room(route, seen.routes.values(), seen.running),
    }


def _totals(depths: Iterable[Depth]) -> dict[str, float]:
    """Returns how much waits in all queues."""
    depth = sum(depths, Depth())
    return {
        "PendingUploads": depth.uploads,
        "PendingChunks": depth.chunks,
        "PendingRecords": depth.records,
    }
