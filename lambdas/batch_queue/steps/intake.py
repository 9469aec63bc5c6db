"""Step 1: stores a new object as an upload, Pending or Rejected."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from batch_queue.aws.bucket import ObjectDeniedError, ObjectGoneError
from batch_queue.aws.table.chunks import UnfinishedError, never
from batch_queue.aws.table.marks import Began
from batch_queue.aws.telemetry import EventError, count, count_end, log
from batch_queue.core import names, reading, reports
from batch_queue.core.cutting import chunk_of
from batch_queue.core.objects import NewObject, ObjectRef, new_objects, why_not
from batch_queue.core.rows import TERMINAL, Chunk, Route, Status, Upload

from .queue import Queue
from .run import CLOCK_SECONDS, Run
from .traces import Trace, Traces, UnclearError
from .validation import Begun, Validation

# The rows of an upload that has ended are kept for at least a day.
OLD_SECONDS = 86_400.0 - CLOCK_SECONDS
# A run with less time than this stores no more chunks: another one goes on.
STORE_SECONDS = 30.0


class Intake:
    """Turns objects into uploads. Safe to run twice on the same object, even at the same time."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._traces = Traces(queue)
        self._validation = Validation(queue)

    def run(self, event: Mapping[str, Any], function_name: str, seconds_left: float) -> None:
        """Takes in every object of an S3 event, or continues reading one where an earlier run stopped.

        Wakes the processor if there may be pending work, and ``function_name`` if reading must continue.
        Raises the first error after all objects were tried, or EventError for any other event.
        """
        if not {"Records", "read_on"} & set(event) and event.get("Event") != "s3:TestEvent":
            known = ", ".join(sorted(event)) or "nothing"
            raise EventError(
                f'this function takes S3 events and {{"sweep": true}}, but the event has {known}'
            )
        run = Run(self._queue.clock, function_name, seconds_left)
        routes: dict[str, Route] = {}
        going_on = "read_on" in event
        begun = Begun(event.get("from", 0), event.get("anew", False))
        objects = [NewObject(**event["read_on"])] if going_on else list(new_objects(event))
        wake = False
        for found in objects:
            if not self._foreign(found):
                status = run.attempt(self._take, found, begun, routes, run, key=found.key)
                wake |= status == Status.PENDING
        if wake or run.errors:
            self._queue.wake_processor("uploads")
        run.raise_first()

    def _take(self, listed: NewObject, begun: Begun, routes: dict[str, Route], run: Run) -> Status | None:
        """Calls ``take_in`` unless the object is gone. Fills ``routes`` when it first needs them."""
        found = self._identified(listed)
        if found is None:
            return None
        routes.update(routes or self._queue.table.models.routes())
        return self.take_in(found, routes, begun, run)

    def _foreign(self, found: NewObject) -> bool:
        reason = why_not(found.bucket, found.key, self._queue.settings)
        if reason:
            log.info("object ignored: %s", reason, extra={"bucket": found.bucket, "key": found.key})
        return bool(reason)

    def _identified(self, found: NewObject) -> NewObject | None:
        """Returns the object with what identifies it, or None if it is gone and nothing does."""
        if found.version_id or found.modified_at:
            return found
        try:
            etag, modified = self._queue.bucket.identity(ObjectRef(found.key, etag=found.etag))
        except ObjectGoneError:
            if found.sequencer:
                return found
            log.info("object was deleted after it was found", extra={"key": found.key})
            return None
        return replace(found, etag=etag, modified_at=names.iso(modified))

    def take_in(self, found: NewObject, routes: Mapping[str, Route], begun: Begun, run: Run) -> Status | None:
        """Validates one object and stores its rows. Returns the upload's status, also if it is known.

        Returns None if the object was an upload of a table that is gone, or if time ran out first. What was
        read is then stored, and another invocation continues from there (``begun``).
        """
        known = self._queue.table.uploads.get(found.upload_id)
        if known is not None and not known.unread:
            return self._known(known, found, run)
        route = routes[names.route_name(found.key, self._queue.settings.input_prefix, routes)]
        upload = Upload(
            upload_id=found.upload_id,
            bucket=found.bucket,
            key=found.key,
            version_id=found.version_id,
            etag=found.etag,
            route=route.name,
            status=Status.PENDING,
            created_at=found.created_at,
            updated_at=self._queue.now(),
        )
        try:
            if self._ran_before(found):
                if known is not None:
                    self._queue.table.uploads.forget(known.upload_id)
                return None
            size, scan = self._validation.read(found, route, begun, run)
        except ObjectGoneError as error:
            return self._store(_ended(upload, Status.CANCELLED, error.told))
        except UnclearError:
            again = replace(found, since=found.since or found.created_at)
            self._deny(known or upload, again, reports.unclear(self._queue.settings.output_prefix))
            raise
        except ObjectDeniedError as error:
            self._deny(known or upload, found, reports.denied(upload.key, str(error)))
            raise
        if not scan.done:
            return None
        try:
            return self._decide(upload, size, scan, run)
        except UnfinishedError:
            self._go_on(found, run)
            return None

    def _decide(self, upload: Upload, size: int, scan: reading.Scan, run: Run) -> Status:
        """Stores an upload that was read, rejected or accepted. Raises UnfinishedError."""
        if scan.fault_count:
            return self._reject(upload, size, scan)
        count = len(scan.cuts)
        accepted = replace(upload, size_bytes=size, records=scan.records, chunks=count, chunks_open=count)
        chunks = [chunk_of(accepted, number, cut) for number, cut in enumerate(scan.cuts, start=1)]
        return self._store(accepted, chunks, partial(run.has_less_than, STORE_SECONDS))

    def _deny(self, upload: Upload, found: NewObject, words: str) -> None:
        """Stores what S3 denies of an upload, so that people see it and each sweep tries again.

        An object that only the sequencer of its event identifies is gone: nothing waits for it.
        """
        if not (found.version_id or found.modified_at):
            return
        self._queue.table.uploads.deny(
            replace(upload, unread=True, message=words, updated_at=self._queue.now()), found
        )

    def _known(self, known: Upload, found: NewObject, run: Run) -> Status | None:
        """Puts the rest of an upload that has a row into the queue, and returns its status.

        Returns None if time runs out first: another invocation then continues.
        """
        log.info("upload is known", extra={"upload_id": known.upload_id, "key": known.key})
        if known.ready or known.status in TERMINAL:
            return known.status
        try:
            self._queue.table.uploads.enqueue(known, partial(run.has_less_than, STORE_SECONDS))
        except UnfinishedError:
            self._go_on(found, run)
            return None
        return Status.PENDING

    def _go_on(self, found: NewObject, run: Run) -> None:
        """Invokes the function again to put the rest of an upload that has a row into the queue."""
        log.info("storing continues in another run", extra={"key": found.key})
        self._queue.functions.wake(run.function_name, {"read_on": asdict(found)})

    def _ran_before(self, found: NewObject) -> bool:
        """Returns whether an object that is not taken in has ended, or was in a job of another table.

        Raises UnclearError if S3 does not let us see. Only an old event can be about such an object: one from
        before this table came into use, or so old that the rows may have expired.
        """
        began = self._began()
        since = found.since or found.created_at
        came = names.epoch(since)
        other_table = not began.empty and came <= names.epoch(began.at) + CLOCK_SECONDS
        if not other_table and self._queue.age(since) < OLD_SECONDS:
            return False
        trace = self._traces.of({found: came}, in_flight=other_table).get(found.upload_id)
        if trace == Trace.UNCLEAR:
            raise UnclearError
        if trace:
            log.info("upload has run", extra={"upload_id": found.upload_id, "key": found.key, "is": trace})
        return trace is not None

    def _began(self) -> Began:
        """Returns since when the table is in use, and whether the bucket was empty of traces then.

        Nothing of this table writes a trace before this is stored, except a sweep that has found one. So what
        the first run stores holds, also if others look at the same time.
        """
        marks = self._queue.table.marks
        return marks.began() or marks.begin(self._queue.now(), empty=self._traces.none())

    # ----------------------------------------------------------------------------------------- storing

    def _reject(self, upload: Upload, size: int, scan: reading.Scan) -> Status:
        settings = self._queue.settings
        key = names.report_key(upload.key, settings.input_prefix, settings.output_prefix)
        first = scan.faults[0]
        where = f"line {first.line}: " if first.line else ""
        more = f" ({reports.counted(scan.fault_count - 1, 'more fault')})" if scan.fault_count > 1 else ""
        message = f"Rejected, nothing was run: {where}{first.reason}{more}."
        if names.key_too_long(key):  # then only the row says so
            rejected = _ended(upload, Status.REJECTED, message)
            return self._store(replace(rejected, size_bytes=size))
        message += f" All in {key}"
        faults = [
            {
                "line": fault.line,
                **({"recordId": fault.record_id} if fault.record_id is not None else {}),
                "reason": fault.reason,
            }
            for fault in scan.faults
        ]
        advice = "Correct the lines below and upload the file again. No record of it was run."
        self._queue.bucket.put_json(key, reports.rejection(upload, advice, scan.fault_count, faults))
        rejected = _ended(upload, Status.REJECTED, message)
        return self._store(replace(rejected, size_bytes=size, records=scan.records, result_key=key))

    def _store(
        self, upload: Upload, chunks: Sequence[Chunk] = (), stop: Callable[[], bool] = never
    ) -> Status:
        if upload.status in TERMINAL:
            upload = replace(upload, expires_at=self._queue.expires_at())
        try:
            added = self._queue.table.uploads.add(upload, chunks, stop)
        except UnfinishedError as error:
            if error.added:
                self._count(upload)
            raise
        if not added:
            log.info("upload is known", extra={"upload_id": upload.upload_id, "key": upload.key})
        else:
            self._count(upload)
            log.info(
                "upload taken in",
                extra={
                    "upload_id": upload.upload_id,
                    "key": upload.key,
                    "route": upload.route,
                    "status": upload.status,
                    "records": upload.records,
                },
            )
        return upload.status

    def _count(self, upload: Upload) -> None:
        """Counts an upload whose row this run has stored."""
        name = self._queue.settings.name
        if upload.status in TERMINAL:
            count_end(name, upload.route, upload.status)
        else:
            count(name, {"UploadsAccepted": 1, "RecordsAccepted": upload.records}, upload.route)


def _ended(upload: Upload, status: Status, message: str) -> Upload:
    return replace(upload, status=status, message=message, ended_at=upload.updated_at)
