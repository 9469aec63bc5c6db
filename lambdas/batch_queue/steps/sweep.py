"""Step 1, sweep: finds objects whose S3 event was lost or that are older than the queue."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from typing import Any

from batch_queue.aws.listing import Version
from batch_queue.aws.telemetry import EventError, log
from batch_queue.core import names
from batch_queue.core.objects import NewObject, why_not
from batch_queue.core.records import dataclass
from batch_queue.core.rows import Taken

from .queue import Queue
from .run import CLOCK_SECONDS, Run
from .traces import Trace, Traces

# How many objects are looked up and handed over between two looks at the time.
LOOKUP_BATCH = 100
# The sweep continues in another run when less time than this is left.
STOP_SECONDS = 60.0
# What was overwritten before is left out, however long ago the last sweep was: S3 keeps the summaries of old
# versions for 30 days, without which a version that has ended could not be told from one that never ran.
LOOK_BACK_SECONDS = 7 * 86_400.0
KEYS = {"sweep", "prefix", "min_age_minutes", "denied_from", "from", "so_far", "began"}
COUNTS = ("found", "known", "young", *map(str, Trace), "enqueued")


@dataclass(frozen=True, slots=True)
class Order:
    """What to sweep: objects below ``prefix``, at least ``min_age_minutes`` old, after the key ``after``.

    ``denied_after``: the upload id after which to retry what S3 denied, which comes before the first key.
    ``began``: when its first run began (epoch seconds).
    """

    prefix: str
    began: float
    min_age_minutes: float = 0.0
    denied_after: str = ""
    after: str = ""

    def takes(self, one: Version, now: float) -> bool:
        """Returns whether an object is old enough. Without a minimum age, every object is."""
        return not self.min_age_minutes or now - one.modified >= self.min_age_minutes * 60


def order(event: Mapping[str, Any], input_prefix: str, now: float) -> Order:
    """Reads the event of a sweep. Raises an EventError that says what to write instead."""
    right = 'write {"sweep": true}, with "prefix" and "min_age_minutes" only if you want less than everything'
    if unknown := set(event) - KEYS:
        raise EventError(f"a sweep has no {', '.join(sorted(unknown))}: {right}")
    if event["sweep"] is not True:
        raise EventError(f'"sweep" is {event["sweep"]!r}: {right}')
    prefix = event.get("prefix", input_prefix)
    if not isinstance(prefix, str) or not prefix.startswith(input_prefix):
        raise EventError(
            f"uploads are below {input_prefix}, and {prefix!r} is not: write the prefix as "
            f'"{input_prefix}some/folder/", or leave it out to sweep them all'
        )
    age = event.get("min_age_minutes", 0)
    if isinstance(age, bool) or not isinstance(age, int | float) or age < 0:
        raise EventError(
            f"min_age_minutes must be a number of 0 or more, not {age!r}: write 60, or leave it out"
        )
    return Order(prefix, event.get("began", now), age, event.get("denied_from", ""), event.get("from", ""))


class Sweep:
    """Finds objects without an upload and hands each over to the intake, as its event would have.

    The intake runs for each in its own invocation. One that fails does not hold up the others, is retried,
    and ends in the dead-letter queue like any event. Safe to run twice, even at the same time.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._traces = Traces(queue)

    def run(self, event: Mapping[str, Any], function_name: str, seconds_left: float) -> dict[str, int]:
        """Sweeps, or continues where an earlier run stopped. Returns the counts so far.

        ``found``: versions that are uploads. Of these, ``known`` are in the table, ``young`` are below the
        minimum age, ``enqueued`` were handed over to ``function_name``, and the rest are what the bucket
        tells (Trace); ``unclear`` ones were handed over too. ``goes_on`` is 1 if another run does the rest.
        Raises EventError for an invalid event.
        """
        run = Run(self._queue.clock, function_name, seconds_left)
        settings = self._queue.settings
        wanted = order(event, settings.input_prefix, self._queue.clock())
        event = {**event, "began": wanted.began}
        since = self._since()
        counts = Counter({name: event.get("so_far", {}).get(name, 0) for name in COUNTS})
        if not wanted.after and (last := self._retry_denied(wanted, run)):
            return self._go_on(event, {"denied_from": last}, counts, function_name)
        for page, end in self._queue.listing.versions(wanted.prefix, wanted.after):
            uploads = [
                one
                for one in page
                if not why_not(settings.bucket, one.key, settings)
                and (one.current or _overwritten(one, since))
            ]
            for at in range(0, len(uploads), LOOKUP_BATCH):
                some, left = uploads[at : at + LOOKUP_BATCH], uploads[at + LOOKUP_BATCH :]
                self._hand_over(some, wanted, counts, function_name)
                # Another run begins behind a key, and so would leave out what is left of this one.
                whole = not left or left[0].key != some[-1].key
                if whole and run.has_less_than(STOP_SECONDS):
                    return self._go_on(event, {"from": some[-1].key}, counts, function_name)
            if run.has_less_than(STOP_SECONDS):
                return self._go_on(event, {"from": end}, counts, function_name)
        if wanted.prefix == settings.input_prefix:
            self._queue.table.marks.sweep_ended(names.iso(wanted.began - wanted.min_age_minutes * 60))
        log.info("sweep ended", extra={"prefix": wanted.prefix, **counts})
        return {**counts, "goes_on": 0}

    def _since(self) -> float:
        """Returns since when overwritten versions are swept (epoch seconds): since the last sweep began."""
        swept = self._queue.table.marks.swept()
        if not swept:
            return math.inf  # they may be as old as the bucket
        return max(names.epoch(swept) - CLOCK_SECONDS, self._queue.clock() - LOOK_BACK_SECONDS)

    def _hand_over(
        self, some: Sequence[Version], wanted: Order, counts: Counter[str], function_name: str
    ) -> None:
        now = self._queue.clock()
        old = [one for one in some if wanted.takes(one, now)]
        bucket, since = self._queue.settings.bucket, names.iso(now)
        objects = [one.object(bucket, since) for one in old]
        known = self._queue.table.uploads.taken_in([found.upload_id for found in objects])
        without_row = {
            found: one.modified
            for found, one in zip(objects, old, strict=True)
            if found.upload_id not in known
        }
        traces = self._traces.of(without_row)
        counts.update(found=len(some), young=len(some) - len(old), known=[*known.values()].count(Taken.WHOLE))
        counts.update(str(trace) for trace in traces.values())
        for found in objects:
            trace = traces.get(found.upload_id)
            taken = known.get(found.upload_id)
            if taken == Taken.UNREAD:  # handed over before the listing, also what was overwritten
                counts.update(enqueued=1)
            elif trace == Trace.UNCLEAR:  # the intake gives it a row, or can tell by then
                self._wake(replace(found, since=names.iso(without_row[found])), function_name)
            elif trace is None and taken != Taken.WHOLE:
                self._wake(found, function_name)
                counts.update(enqueued=1)

    def _wake(self, found: NewObject, function_name: str) -> None:
        """Hands one object over. One after the other, to leave concurrency for other functions."""
        # The intake looks up what identifies an object without a version id.
        listed = asdict(found) | ({} if found.version_id else {"modified_at": ""})
        self._queue.functions.wake(function_name, {"read_on": listed, "from": 0})

    def _retry_denied(self, wanted: Order, run: Run) -> str:
        """Hands over the objects that wait for S3's permission, also old versions.

        Returns after which upload id another run has to go on, or "" if none is left.
        """
        now = self._queue.now()
        waiting = self._queue.table.uploads.denied(wanted.denied_after)
        while some := list(islice(waiting, LOOKUP_BATCH)):
            for found in some:
                if found.key.startswith(wanted.prefix):
                    again = asdict(replace(found, created_at=now))
                    self._queue.functions.wake(run.function_name, {"read_on": again, "from": 0})
            if run.has_less_than(STOP_SECONDS):
                return some[-1].upload_id
        return ""

    def _go_on(
        self, event: Mapping[str, Any], place: Mapping[str, str], counts: Counter[str], function_name: str
    ) -> dict[str, int]:
        log.info("sweep continues in another run", extra={"place": place, **counts})
        self._queue.functions.wake(function_name, {**event, **place, "so_far": dict(counts)})
        return {**counts, "goes_on": 1}


def _overwritten(one: Version, since: float) -> bool:
    """Returns whether a version was overwritten since then, and can still be read."""
    return bool(one.version_id) and one.overwritten is not None and one.overwritten > since
