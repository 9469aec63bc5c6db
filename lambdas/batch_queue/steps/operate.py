"""Orders: the one door for what people want of the queue. What an order begins is carried out by any run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

from batch_queue.aws.bedrock import Bedrock
from batch_queue.aws.pool import at_once
from batch_queue.aws.table.chunks import UnfinishedError
from batch_queue.aws.table.orders import Open
from batch_queue.aws.telemetry import EventError, log
from batch_queue.core import names, reports
from batch_queue.core.objects import why_not
from batch_queue.core.orders import Kind, Order, OrderError, order_of
from batch_queue.core.records import dataclass
from batch_queue.core.rows import TERMINAL, Pause, Status, Upload

from .cancelling import Cancelled, Cancelling
from .checking import Checking
from .explaining import Explaining, about
from .handover import COLLECT_SECONDS
from .preparation import Preparation
from .queue import Queue
from .run import Run

# How long an order is carried out while its sender waits (a client waits for a minute by default); what is
# left then, another invocation does.
PATIENCE_SECONDS = 25.0
# A run with less time than this begins nothing else.
STOP_SECONDS = 60.0
LOOKUP_BATCH = 100
# An upload does not run again before every collector that knows only its run before has ended: it lives for
# 15 minutes, and clocks differ.
AGAIN_SECONDS = COLLECT_SECONDS + 360.0


class Operate:
    """Takes orders. Each is stored in one transaction with the mark that it is open, and then carried out."""

    def __init__(self, queue: Queue, bedrock: Bedrock) -> None:
        self._queue = queue
        self._cancelling = Cancelling(queue, bedrock)
        self._preparation = Preparation(queue)
        self._explaining = Explaining(queue, bedrock)
        self._checking = Checking(queue, bedrock)

    def run(self, event: Any, function_name: str, seconds_left: float) -> dict[str, Any]:
        """Carries out an order, and returns what it did; ``{"error": …}`` says what to write instead.

        ``{"go_on": …}`` carries out what other invocations have left, from behind that upload id. Raises
        EventError, and what AWS raises: what was stored by then is carried out all the same.
        """
        run = Run(self._queue.clock, function_name, seconds_left)
        if isinstance(event, Mapping) and "go_on" in event:
            if not isinstance(event["go_on"], str):
                raise EventError('"go_on" must be the id of an upload, or ""')
            self._go_on(event["go_on"], run)
            return {}
        try:
            order = order_of(event, self._queue.settings, self._queue.table.models.routes())
            return self._obey(order, run)
        except OrderError as error:
            return {"error": str(error)}

    def _obey(self, order: Order, run: Run) -> dict[str, Any]:
        of_queue = {
            Kind.STATUS: lambda _: self._explaining.status(),
            Kind.CHECK: lambda _: self._checking.order(),
            Kind.PAUSE: self._pause,
            Kind.RESUME: self._resume,
            Kind.SWEEP: self._sweep,
        }
        if order.kind in of_queue:
            return of_queue[order.kind](order)
        if order.prefix:
            return self._cancel_below(order, run)
        upload = self._upload(order)
        if order.kind == Kind.EXPLAIN:
            return self._explaining.explain(upload)
        obey = self._cancel if order.kind == Kind.CANCEL else self._retry
        return obey(upload, order, run, self._patience(run))

    def _patience(self, run: Run) -> Callable[[], bool]:
        """Returns what says when another invocation has to do the rest, because a sender waits."""
        until = self._queue.clock() + PATIENCE_SECONDS
        return lambda: self._queue.clock() >= until or run.has_less_than(STOP_SECONDS)

    # --------------------------------------------------------------------------------------- which upload

    def _upload(self, order: Order) -> Upload:
        """Returns the upload that an order names. Raises OrderError."""
        if order.upload_id:
            found = self._queue.table.uploads.get(order.upload_id)
            if found is None:
                raise OrderError(
                    f"no upload has the id {order.upload_id}, or its row has expired. Write the attribute pk "
                    "of a row whose sk is upload"
                )
            return found
        versions = self._queue.listing.versions_of(order.key)
        if order.version_id:
            versions = [one for one in versions if one.version_id == order.version_id]
        bucket = self._queue.settings.bucket
        if not versions:
            what = f"version {order.version_id} of {order.key}" if order.version_id else order.key
            raise OrderError(
                f"the bucket {bucket} has no {what}. If the object was deleted, name the upload by its "
                '"upload_id"'
            )
        found = self._queue.table.uploads.get(versions[0].object(bucket).upload_id)
        if found is None:
            which = f"version {versions[0].version_id}" if versions[0].version_id else "current version"
            raise OrderError(
                f"the queue does not know the {which} of {order.key}: its event may be on its way, or its "
                "row has expired. Try again in a minute; a sweep finds an object whose event was lost"
            )
        return found

    # --------------------------------------------------------------------------------------------- cancel

    def _cancel(self, upload: Upload, order: Order, run: Run, stop: Callable[[], bool]) -> dict[str, Any]:
        """Cancels one upload. Raises OrderError if it has ended."""
        if upload.status in TERMINAL and not upload.cancelled_at:
            raise OrderError(_has_ended(upload))
        cancelled = self._mark(upload, order)
        if cancelled is None:  # it has ended, or was cancelled, a moment ago
            upload = self._queue.table.uploads.get(upload.upload_id) or upload
            if not upload.cancelled_at:
                raise OrderError(_has_ended(upload))
        found = self._carry_out([upload.upload_id], run, stop)
        now = self._queue.table.uploads.get(upload.upload_id) or upload
        return {**about(now), "order": "cancel", **_told(now, found, again=cancelled is None)}

    def _mark(self, upload: Upload, order: Order) -> Upload | None:
        """Stores the order to cancel an upload. Returns the upload as it then is, or None if it cannot be."""
        if upload.status in TERMINAL or upload.cancelled_at:
            return None
        now = self._queue.now()
        marked = replace(
            upload, cancelled_at=now, cancelled_by=order.by, cancelled_why=order.why, updated_at=now
        )
        marked = replace(marked, message=reports.cancelling(marked))
        return marked if self._queue.table.orders.cancel(marked) else None

    def _cancel_below(self, order: Order, run: Run) -> dict[str, Any]:
        """Cancels all uploads below a folder whose objects exist, in all their versions.

        What time does not suffice for, another invocation does.
        """
        stop = partial(run.has_less_than, STOP_SECONDS) if order.after else self._patience(run)
        counts: Counter[str] = Counter(cancelled=0, cancelled_before=0, ended=0, unknown=0)
        answer = {"order": "cancel", "prefix": order.prefix}
        settings = self._queue.settings
        for page, end in self._queue.listing.versions(order.prefix, order.after):
            ours = [one for one in page if not why_not(settings.bucket, one.key, settings)]
            for at in range(0, len(ours), LOOKUP_BATCH):
                some, left = ours[at : at + LOOKUP_BATCH], ours[at + LOOKUP_BATCH :]
                upload_ids = [one.object(settings.bucket).upload_id for one in some]
                self._cancel_some(upload_ids, order, run, stop, counts)
                # Another run begins behind a key, and so would leave out what is left of this one.
                if (not left or left[0].key != some[-1].key) and stop():
                    after = some[-1].key if left else end
                    again = {"order": "cancel", "prefix": order.prefix, "by": order.by, "why": order.why}
                    event = {name: text for name, text in {**again, "after": after}.items() if text}
                    self._queue.functions.wake(run.function_name, event)
                    return {**answer, **counts, "goes_on": True}
        run.raise_first()
        return {**answer, **counts, "goes_on": False}

    def _cancel_some(
        self, upload_ids: list[str], order: Order, run: Run, stop: Callable[[], bool], counts: Counter[str]
    ) -> None:
        known = self._queue.table.uploads.all(upload_ids)
        counts["unknown"] += len(set(upload_ids) - set(known))
        open_yet = [upload for upload in known.values() if upload.status not in TERMINAL]
        counts["ended"] += len(known) - len(open_yet)
        marked = at_once(lambda upload: self._mark(upload, order), open_yet)
        counts["cancelled"] += len(marked) - marked.count(None)
        counts["cancelled_before"] += marked.count(None)
        self._carry_out([upload.upload_id for upload in open_yet], run, stop)

    # ---------------------------------------------------------------------------------------------- retry

    def _retry(self, upload: Upload, order: Order, run: Run, stop: Callable[[], bool]) -> dict[str, Any]:
        """Begins another run of an upload that has ended. Raises OrderError if it cannot run again."""
        if upload.status not in TERMINAL:
            if upload.preparing:  # as an order before this one has begun
                return self._told_again(upload, run, stop)
            raise OrderError(
                f"{upload.key} is {upload.status} and has not ended: records that fail run again by "
                'themselves. Wait for its end, or write {"order": "cancel"} first'
            )
        if upload.success_count == upload.records and upload.records:
            raise OrderError(
                f"all {upload.records:,} records of {upload.key} have an answer: nothing is left to run"
            )
        if upload.route not in self._queue.table.models.routes():
            raise OrderError(
                f"the route {upload.route} of {upload.key} is not configured: add it again first"
            )
        if why := self._preparation.why_not(upload):
            raise OrderError(f"{upload.key} cannot run again: {why}")
        now = self._queue.now()
        begins = max(now, names.iso(names.epoch(upload.ended_at) + AGAIN_SECONDS))
        by = f" by {order.by}" if order.by else ""
        said = f" ({order.why})" if order.why else ""
        at = "is being prepared" if begins == now else f"begins after {begins}"
        new = replace(
            upload,
            status=Status.PENDING,
            run=upload.run + 1,
            preparing=True,
            message=f"waiting: run {upload.run + 1}, ordered at {now}{by}{said}, {at}",
            updated_at=now,
            ended_at="",
            cancelled_at="",
            cancelled_by="",
            cancelled_why="",
            result_key=upload.result_key if self._preparation.has_result(upload) else "",
        )
        if not self._queue.table.orders.retry(new, upload.status, begins):
            raise OrderError(
                f"another order about {upload.key} was quicker: ask what it has done with explain"
            )
        return self._told_again(new, run, stop)

    def _told_again(self, upload: Upload, run: Run, stop: Callable[[], bool]) -> dict[str, Any]:
        self._carry_out([upload.upload_id], run, stop)
        now = self._queue.table.uploads.get(upload.upload_id) or upload
        order = self._queue.table.orders.get(upload.upload_id)
        told = f"Run {now.run} has begun, and is being prepared."
        if now.preparing and order and order.not_before > self._queue.now():
            told = (
                f"Run {now.run} is ordered. It begins after {order.not_before}, when no function can be at "
                "work for the run before any more."
            )
        elif not now.preparing:
            kept = now.success_count
            left = now.records - kept
            told = f"Run {now.run} has begun: {left:,} records run again, and {kept:,} answers are kept."
        return {**about(now), "order": "retry", "did": told}

    # ---------------------------------------------------------------------------------------------- pause

    def _pause(self, order: Order) -> dict[str, Any]:
        wanted = Pause(order.route, self._queue.now(), order.by, order.why)
        holds = self._queue.table.orders.pause(wanted)
        again = "" if holds == wanted else " It was paused already, and stays as it was."
        log.info("paused", extra={"route": order.route})
        return {
            "order": "pause",
            "paused": {"since": holds.since, "by": holds.by, "why": holds.why},
            "did": f"{_what(order)} submits nothing new, but for jobs that are being submitted now. What "
            f"runs goes on and is collected.{again}",
        }

    def _resume(self, order: Order) -> dict[str, Any]:
        pauses = self._queue.table.orders.pauses().by_route
        if order.route not in pauses:
            held = ", ".join(name or "the whole queue" for name in sorted(pauses)) or "nothing"
            raise OrderError(f"{_what(order)} is not paused; paused is: {held}")
        self._queue.table.orders.resume(order.route)
        self._queue.wake_processor("resumed")
        log.info("resumed", extra={"route": order.route})
        still = "" if not order.route or "" not in pauses else " The whole queue is still paused."
        return {"order": "resume", "did": f"{_what(order)} submits jobs again.{still}"}

    # ---------------------------------------------------------------------------------------------- sweep

    def _sweep(self, order: Order) -> dict[str, Any]:
        """Begins a sweep, of which nothing is stored: an order that was lost is given again."""
        within = {"prefix": order.prefix} if order.prefix else {}
        self._queue.functions.wake(self._queue.settings.create_function, {"sweep": True, **within})
        log.info("sweep ordered")
        where = order.prefix or self._queue.settings.input_prefix
        return {
            "order": "sweep",
            "prefix": where,
            "did": f"A sweep of {where} has begun. What has not run yet is enqueued, whatever its age.",
        }

    # ------------------------------------------------------------------------------------ what is left open

    def _go_on(self, after: str, run: Run) -> None:
        """Carries out what other invocations have left. Raises the first error after all were tried."""
        stop = partial(run.has_less_than, STOP_SECONDS)
        opened = self._queue.table.orders.open(after)
        while some := list(islice(opened, LOOKUP_BATCH)):
            if stop():
                self._queue.functions.wake(run.function_name, {"go_on": after})
                break
            self._carry_out([order.upload_id for order in some], run, stop)
            after = some[-1].upload_id
        run.raise_first()

    def _carry_out(self, upload_ids: Sequence[str], run: Run, stop: Callable[[], bool]) -> Cancelled | None:
        """Carries out the open orders about these uploads. Returns what has become of the last cancelled one.

        Keeps errors in ``run``; that of a single upload is raised. What time does not suffice for, another
        invocation does.
        """

        def step(upload_id: str) -> Cancelled | _Again | _Unfinished | None:
            return run.attempt(self._step, upload_id, stop, upload_id=upload_id)

        steps = at_once(step, upload_ids)
        if len(upload_ids) == 1:
            run.raise_first()
        cancelled = [one for one in steps if isinstance(one, Cancelled)]
        again = [one for one in steps if isinstance(one, _Again)]
        self._cancelling.stop_jobs(cancelled)
        due = [one.order.upload_id for one in cancelled if one.is_due]
        for at in range(0, len(due), LOOKUP_BATCH):
            some = due[at : at + LOOKUP_BATCH]
            self._queue.functions.wake(self._queue.settings.collect_function, {"upload_ids": some})
        if any(isinstance(one, _Unfinished) for one in steps):
            self._queue.functions.wake(run.function_name, {"go_on": ""})
        if again:
            self._queue.wake_processor("uploads run again")
        at_once(lambda one: self._queue.table.orders.close(one.order), again)
        return cancelled[-1] if cancelled else None

    def _step(self, upload_id: str, stop: Callable[[], bool]) -> Cancelled | _Again | _Unfinished | None:
        """Does what is left of the open order about an upload, up to what several of them have in common.

        Returns None if nothing is left, or nothing can be done now.
        """
        order, upload = self._read(upload_id)
        if order is None:
            return None
        if upload is None or upload.status in TERMINAL:
            self._queue.table.orders.close(order)
            return None
        try:
            if upload.preparing:
                if order.not_before > self._queue.now() or not self._preparation.run(upload, order, stop):
                    return None
                order, upload = self._read(upload_id)
            return self._rest(order, upload, stop) if order and upload else None
        except UnfinishedError:
            return _Unfinished()

    def _read(self, upload_id: str) -> tuple[Open | None, Upload | None]:
        """Returns the open order about an upload and, read after it, the upload, which thus says as much."""
        order = self._queue.table.orders.get(upload_id)
        return order, self._queue.table.uploads.get(upload_id)

    def _rest(self, order: Open, upload: Upload, stop: Callable[[], bool]) -> Cancelled | _Again:
        """Does what is left of an order about an upload that is prepared."""
        if upload.cancelled_at and upload.status not in TERMINAL:
            return self._cancelling.take_out(upload, order, stop)
        if not upload.chunks_open:  # none of its records can run any more
            return Cancelled(order, is_due=True)
        return _Again(order)


@dataclass(frozen=True, slots=True)
class _Again:
    """The records of an upload are in the queue again, as was ordered."""

    order: Open


class _Unfinished:
    """Time ran out: another invocation does the rest."""


def _has_ended(upload: Upload) -> str:
    result = f"Its result is {upload.result_key}" if upload.result_key else "It has no result"
    return (
        f"{upload.key} has ended as {upload.status} at {upload.ended_at}: nothing is left to cancel. {result}"
    )


def _told(upload: Upload, found: Cancelled | None, *, again: bool) -> dict[str, Any]:
    """Returns what the order to cancel an upload has done."""
    words = ["It was cancelled before."] if again else []
    if found is None:
        ended = upload.status in TERMINAL
        words.append(
            f"It has ended as {upload.status}." if ended else "It ends with the jobs that have begun."
        )
        return {"did": " ".join(words)}
    words.append(f"{found.taken_out:,} records have left the queue.")
    if found.in_jobs:
        stopped = (
            f" {reports.counted(len(found.stopped), 'job')} with nothing else to run will be stopped."
            if found.stopped
            else ""
        )
        words.append(f"{found.in_jobs:,} records are in jobs: what these answer is kept.{stopped}")
    return {
        "did": " ".join(words),
        "records_taken_out": found.taken_out,
        "records_in_jobs": found.in_jobs,
        "stopped_jobs": list(found.stopped),
    }


def _what(order: Order) -> str:
    return f"The route {order.route}" if order.route else "The queue"
