"""Step 2: reads an object line by line, validates it and splits it, in several runs if need be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial

from batch_queue.aws.bucket import ObjectDeniedError, ObjectGoneError
from batch_queue.aws.telemetry import log
from batch_queue.core import admission, digests, duplicates, media, reading
from batch_queue.core.objects import NewObject, ObjectRef
from batch_queue.core.records import dataclass
from batch_queue.core.rows import Route

from .queue import Queue
from .run import Run

# Reading stops at a chunk boundary when less time than this is left.
READ_SECONDS = 60.0
# Looking for duplicates takes less time than this for each record: 100 seconds for 50 million.
TWICE_SECONDS = 0.000_002
# How many duplicate recordIds to look for at most. A report lists no more than a hundred.
MAX_SUSPECTS = 1_000


class StateError(Exception):
    """What an earlier run has read of an object cannot be read back."""


@dataclass(frozen=True, slots=True)
class Begun:
    """From where a run reads an object: ``at``, which names a stored state, or is 0 for the beginning.

    ``anew``: a state was missing before, and so the object is read from its beginning for the second time.
    """

    at: int | str = 0
    anew: bool = False


class Validation:
    """Reads objects. What a run has read is stored for the next one when its time runs out."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def read(self, found: NewObject, route: Route, begun: Begun, run: Run) -> tuple[int, reading.Scan]:
        """Returns the object's size in bytes and what it contains, as far as it was read.

        ``done`` is False if another run has to read the rest. Raises ObjectGoneError, ObjectDeniedError, and
        StateError if what an earlier run has stored cannot be read.
        """
        bucket, settings = self._queue.bucket, self._queue.settings
        ref = ObjectRef(found.key, found.version_id, found.etag)
        size = bucket.size(ref)
        limits = admission.chunk_limits(route)
        if reason := admission.unreadable(found.key, size, settings):
            return size, _refused(reason)
        kept = self._kept(found, begun) if begun.at else None
        scan, again = kept or (reading.Scan(), None)
        anew = begun.anew or (bool(begun.at) and not kept)

        most = admission.most_records(settings.memory_mb)

        def stop() -> bool:
            return scan.records > most or out_of_time()

        def out_of_time() -> bool:
            return run.has_less_than(READ_SECONDS + TWICE_SECONDS * scan.records)

        def rest(offset: int) -> Iterator[bytes]:
            return bucket.stream(ref, (offset, size) if offset else None)

        if again is None:
            check = partial(
                media.check,
                bucket=settings.bucket,
                route=route.name,
                allowed=route.media,
                prefixes=settings.media_prefixes,
            )
            reading.scan(rest(scan.offset), limits, scan, stop, check, media.LOCATION)
            if reason := admission.too_much(scan, limits, most):
                return size, _refused(reason)
            if not scan.done:
                self._go_on(found, scan, None, anew, run)
                return size, scan
            suspects = scan.ids.twice(MAX_SUSPECTS)
            scan.ids = digests.Ids()  # what follows needs the memory
            if not suspects:
                return size, scan
            again = duplicates.Duplicates(suspects)
        duplicates.find(rest(again.offset), again, limits, out_of_time)
        scan.done = again.done
        if again.done:
            scan.merge(again.faults)
        else:
            self._go_on(found, scan, again, anew, run)
        return size, scan

    def _state_key(self, found: NewObject, at: int | str) -> str:
        return f"{self._queue.settings.work_prefix}reading/{found.upload_id}/{at}"

    def _kept(
        self, found: NewObject, begun: Begun
    ) -> tuple[reading.Scan, duplicates.Duplicates | None] | None:
        """Returns what an earlier run has stored with ``_go_on``, or None if it is gone.

        Raises StateError if S3 denies access to it, or if it is gone for the second time: whatever deletes
        it would otherwise have the object read without end.
        """
        key = self._state_key(found, begun.at)
        try:
            return self._state(key)
        except ObjectGoneError as error:
            if begun.anew:
                raise StateError(f"{key} was deleted, and so was one before it") from error
            log.warning("reading begins anew: its state is gone", extra={"key": found.key})
            return None
        except ObjectDeniedError as error:
            raise StateError(f"S3 denied access to {key}: {error}") from error

    def _state(self, key: str) -> tuple[reading.Scan, duplicates.Duplicates | None]:
        document = self._queue.bucket.read_json(f"{key}.json")
        if again := document.get("again"):
            return reading.Scan.from_document(document, digests.Ids()), duplicates.Duplicates.from_document(
                again
            )
        ids = digests.Ids.from_bytes(self._queue.bucket.stream(ObjectRef(f"{key}.ids")))
        return reading.Scan.from_document(document, ids), None

    def _go_on(
        self, found: NewObject, scan: reading.Scan, again: duplicates.Duplicates | None, anew: bool, run: Run
    ) -> None:
        """Stores how far the reading came, and invokes the function again to continue.

        ``again``: how far the second reading came, which does not need the recordIds of the first.
        """
        at: int | str = scan.offset if again is None else f"again-{again.offset}"
        key = self._state_key(found, at)
        document = scan.to_document()
        if again is None:
            self._queue.bucket.put_stream(f"{key}.ids", scan.ids.to_bytes())
        else:
            document["again"] = again.to_document()
        self._queue.bucket.put_json(f"{key}.json", document)
        log.info("reading continues in another run", extra={"key": found.key, "begun": at})
        event = {"read_on": asdict(found), "from": at, "anew": anew}
        self._queue.functions.wake(run.function_name, event)


def _refused(reason: str) -> reading.Scan:
    """Returns what is known of an object that is not read to its end."""
    scan = reading.Scan(done=True)
    scan.add(reading.Fault(0, reason))
    return scan
