"""Orders: another run of an upload. The answers that it has are kept; its other records run again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from itertools import chain, islice

from batch_queue.aws.bucket import ObjectArchivedError, ObjectDeniedError, ObjectGoneError
from batch_queue.aws.table.chunks import UnfinishedError
from batch_queue.aws.table.orders import Open
from batch_queue.core import digests, names, outputs, reading
from batch_queue.core.objects import ObjectRef
from batch_queue.core.outputs import Left
from batch_queue.core.records import dataclass
from batch_queue.core.reports import MAX_DENIED
from batch_queue.core.rows import Chunk, Counts, Status, Upload

from .mending import LOST_CODE
from .queue import Queue
from .settlement import GONE, GONE_CODE

# Rows that DynamoDB may delete within this time, and so much more for each chunk, are not used again.
EXPIRES_SECONDS = 6 * 3600.0
CHUNK_SECONDS = 1.0


class ChangedError(Exception):
    """The result of an upload is not as the queue has written it."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """The lines of a chunk in the result: their bytes ``[start, end)``, and whose records have an answer.

    ``only_answers``: no other line is between them.
    """

    start: int
    end: int
    answered: frozenset[int]
    only_answers: bool


class Preparation:
    """Puts the records of an upload that have no answer into the queue, for its next run.

    The lines of a result are in the order of the chunks, so that both are read side by side, one chunk at a
    time. Each chunk is stored together with how far the result was read; any number of runs may repeat a
    chunk. What a chunk keeps lies in the folder of the new run.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._work = queue.settings.work_prefix

    def why_not(self, upload: Upload) -> str:
        """Returns why an upload that has ended cannot run again, or ""."""
        if not upload.chunks:
            return f"the queue has none of its records. {upload.message}"
        chunks = self._queue.table.chunks.of(upload)
        soon = self._queue.clock() + EXPIRES_SECONDS + CHUNK_SECONDS * upload.chunks
        if len(chunks) < upload.chunks or (upload.expires_at is not None and upload.expires_at < soon):
            return "its rows have expired, or are about to. Upload its records again"
        if not all(chunk.origin for chunk in chunks):
            return "its rows are of a version of the module that could not do this. Upload its records again"
        objects = {"the object": ObjectRef(upload.key, upload.version_id, upload.etag)}
        if upload.success_count:
            objects[f"its result {upload.result_key}"] = _result(upload)
        for what, ref in objects.items():
            if said := self._unreadable(ref):
                return f"{what} cannot be read: {said}"
        if upload.success_count and not upload.result_version_id and not self._has_answers(upload):
            return (
                f"its result {upload.result_key} is not as the queue has written it. Upload its records again"
            )
        return ""

    def has_result(self, upload: Upload) -> bool:
        """Returns whether the result of an upload can be read."""
        there = bool(upload.result_key) and not names.is_report(upload.result_key)
        return there and not self._unreadable(_result(upload))

    def _unreadable(self, ref: ObjectRef) -> str:
        """Returns why an object cannot be read, or "". An archived one can be looked at, but not read."""
        try:
            for _ in self._queue.bucket.stream(ref, (0, 1)):
                break
        except ObjectArchivedError:
            return "it is archived. Restore it first"
        except ObjectGoneError:
            return "it no longer exists. Upload the records again"
        except ObjectDeniedError as error:
            said = str(error)[:MAX_DENIED]
            return f"S3 denied access ({said}). Allow the role of operate_queue to read it and to use its key"
        return ""

    def _has_answers(self, upload: Upload) -> bool:
        """Returns whether a result that has no version has as many answers as the queue has written."""
        lines = outputs.answers_in(self._queue.bucket.stream(_result(upload)))
        return sum(is_answer for _, _, is_answer in lines) == upload.success_count

    def run(self, upload: Upload, order: Open, stop: Callable[[], bool]) -> bool:
        """Prepares an upload whose row says ``preparing``. Returns False if another run is at it.

        Raises UnfinishedError if ``stop`` returns True first.
        """
        table = self._queue.table
        lines = _Lines(self._queue, upload, order.offset)
        for had in table.chunks.of(upload, order.number):
            if stop():
                raise UnfinishedError
            if had.number != order.number or had.run >= upload.run:
                return False  # another run has prepared it since the order was read
            chunk, counts = self._prepare(upload, had, lines)
            if not table.orders.prepare(order, chunk, counts, lines.offset):
                return False
            order = replace(order, number=chunk.number + 1, offset=lines.offset)
        table.orders.prepared(upload)
        return True

    def _prepare(self, upload: Upload, had: Chunk, lines: _Lines) -> tuple[Chunk, Counts]:
        """Writes what a chunk keeps and what it runs. Returns it as it then is, and its counts."""
        chunk = replace(
            had, run=upload.run, status=Status.COMPLETED, message="", errors_by_code={}, cancelled=False
        )
        origin = had.origin
        if origin is None:
            raise ChangedError(f"chunk {had.number} of {upload.key} does not say which records it has")
        source = self._source(upload, origin)
        try:
            ids = frozenset(digests.digest(one["recordId"]) for _, one in outputs.unanswered(source(), ()))
        except ObjectGoneError:
            return self._without_upload(chunk, origin, lines)
        try:
            taken = lines.take(ids)
        except ObjectGoneError:
            # A part that does not exist has the end of the upload write an error line for each record.
            part = names.settled_key(self._work, chunk, "missing")
            errors = {LOST_CODE: len(ids)}
            lost = replace(chunk, status=Status.FAILED, parts=(part,), errors_by_code=errors)
            return lost, Counts(error=len(ids))
        left = ids - taken.answered
        kept = self._kept(chunk, lines, taken)
        if not left:
            return replace(chunk, parts=kept), Counts(success=len(taken.answered))
        pending = self._pending(chunk, kept, lines, taken, ids, source)
        return pending, Counts(success=len(taken.answered))

    def _source(self, upload: Upload, origin: tuple[int, int, int]) -> Callable[[], Iterator[bytes]]:
        """Returns what reads the lines of a chunk in the upload, as they are sent to Bedrock."""
        ref = ObjectRef(upload.key, upload.version_id, upload.etag)
        start, end, _ = origin
        whole = (start, end) == (0, upload.size_bytes)

        def source() -> Iterator[bytes]:
            return reading.tidied(self._queue.bucket.stream(ref, None if whole else (start, end)))

        return source

    def _kept(self, chunk: Chunk, lines: _Lines, taken: _Taken) -> tuple[str, ...]:
        """Writes the answers of a chunk to a part of the result, if it has any. Returns its key."""
        if not taken.answered:
            return ()
        key = names.settled_key(self._work, chunk, "kept")
        if taken.only_answers:
            self._queue.bucket.copy(lines.ref, key, taken.start, taken.end, whole=False)
        else:
            stream = self._queue.bucket.stream(lines.ref, (taken.start, taken.end))
            self._queue.bucket.put_stream(key, outputs.settled(stream, taken.answered))
        return (key,)

    def _pending(
        self,
        chunk: Chunk,
        kept: tuple[str, ...],
        lines: _Lines,
        taken: _Taken,
        ids: frozenset[int],
        source: Callable[[], Iterator[bytes]],
    ) -> Chunk:
        """Returns a chunk as it is in the queue again, with those of its records that have no answer."""
        bucket, now = self._queue.bucket, self._queue.now()
        left = Left()
        again = names.retry_key(self._work, chunk)
        bucket.put_stream(again, left.measured(left.lines(outputs.unanswered(source(), taken.answered))))
        errors = ""
        if taken.end > taken.start and not taken.only_answers:
            errors = f"{again}.errors"
            stream = bucket.stream(lines.ref, (taken.start, taken.end))
            bucket.put_stream(errors, outputs.settled(stream, ids - taken.answered))
        pending = left.chunk(chunk, again)
        return replace(pending, created_at=now, queued_at=now, runs=0, parts=kept, last_errors=errors)

    def _without_upload(
        self, chunk: Chunk, origin: tuple[int, int, int], lines: _Lines
    ) -> tuple[Chunk, Counts]:
        """Ends a chunk of an upload that was deleted meanwhile, with the next lines of the result.

        Nobody can tell whose they are: each chunk takes as many as it has records, the last ones fewer.
        """
        _, _, records = origin
        gone = replace(chunk, status=Status.FAILED, parts=(), message=GONE)
        try:
            start, end = lines.next(records)
        except ObjectGoneError:
            start = end = 0
        if start == end:
            return replace(gone, errors_by_code={GONE_CODE: records}), Counts(error=records)
        key = names.settled_key(self._work, chunk, "rest")
        bucket = self._queue.bucket
        tally = outputs.tally(bucket.stream(lines.ref, (start, end)), may_run_again=False)
        bucket.copy(lines.ref, key, start, end, whole=False)
        missing = records - tally.success - tally.error
        errors = tally.errors_by_code + Counter({GONE_CODE: missing})
        kept = replace(gone, parts=(key,), errors_by_code=errors)
        return kept, Counts(success=tally.success, error=tally.error + missing)


class _Lines:
    """The lines of the result of the run before, from ``offset`` on (bytes)."""

    def __init__(self, queue: Queue, upload: Upload, offset: int) -> None:
        self._bucket = queue.bucket
        self.ref = _result(upload)
        self.offset = offset
        self._is_there = bool(upload.result_key) and not names.is_report(upload.result_key)
        self._size = -1
        self._lines: Iterator[tuple[int, int | None, bool]] | None = None
        self._is_gone = False
        self._held: tuple[int, int | None, bool] | None = None

    def take(self, ids: Collection[int]) -> _Taken:
        """Takes the lines up to the first one of a record that is not one of ``ids`` (digests).

        Raises ObjectGoneError if the result no longer exists.
        """
        start, answered, only = self.offset, set[int](), True
        for line in self._from_here():
            length, mark, is_answer = line
            if mark is not None and mark not in ids:
                self._held = line
                break
            if is_answer and mark is not None:
                answered.add(mark)
            else:
                only = False
            self.offset += length
        return _Taken(start, self.offset, frozenset(answered), only)

    def next(self, most: int) -> tuple[int, int]:
        """Takes so many lines, or all that are left. Returns their bytes ``[start, end)``.

        Raises ObjectGoneError if the result no longer exists.
        """
        start = self.offset
        for length, _, _ in islice(self._from_here(), most):
            self.offset += length
        return start, self.offset

    def _noticed(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """Yields the blocks of the result, and remembers that it is gone: no chunk may take it for empty."""
        try:
            yield from blocks
        except ObjectGoneError:
            self._is_gone = True
            raise

    def _end(self) -> int:
        if self._size < 0:
            self._size = self._bucket.size(self.ref) if self._is_there else 0  # raises each time it is gone
        return self._size

    def _from_here(self) -> Iterator[tuple[int, int | None, bool]]:
        if self._is_gone:
            raise ObjectGoneError
        if self._lines is None:
            end = self._end()
            there = end > self.offset
            stream = self._bucket.stream(self.ref, (self.offset, end)) if there else iter(())
            self._lines = outputs.answers_in(self._noticed(stream))
        # Not a generator: one that is left in the middle would close the lines behind it.
        held = () if self._held is None else (self._held,)
        self._held = None
        return chain(held, self._lines)


def _result(upload: Upload) -> ObjectRef:
    return ObjectRef(upload.result_key, upload.result_version_id)
