"""Step 10, uploads: replaces missing parts of a result by error lines, so that the upload ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from batch_queue.aws.bucket import ObjectGoneError
from batch_queue.aws.telemetry import log
from batch_queue.core import names, outputs, reading
from batch_queue.core.objects import ObjectRef
from batch_queue.core.outputs import Tally
from batch_queue.core.rows import Chunk, Counts, Upload

from .assembly import STEP_SECONDS
from .queue import Queue
from .run import Run

# The error code and message of a record whose line in a part of the result no longer exists.
LOST_CODE = "ResultLost"
LOST = (
    "The line of this record was deleted from the work area before the result was written. Upload the record "
    "again if you need its answer."
)
LOST_LINES = "Parts of the result were deleted from the work area before the result was written."
LOST_UPLOAD = "The upload was deleted too, so the result has no lines for their records."


class Mending:
    """Gives an upload whose parts were deleted a result that has each of its records all the same."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def mend(self, upload: Upload, chunks: Sequence[Chunk], run: Run) -> None:
        """Replaces the missing parts of an upload's chunks by error lines, and says so in the chunks' rows.

        The records are read from the upload itself: those of the chunk, or all if the row of any chunk does
        not say which they are. Any number of runs may repeat this. If time runs out first, ``run.unfinished``
        says so; the chunks that were mended stay mended.
        """
        missing = self._missing(upload, [part for chunk in chunks for part in chunk.parts])
        lost = [chunk for chunk in chunks if missing.intersection(chunk.parts)]
        log.warning(
            "parts of a result are missing", extra={"upload_id": upload.upload_id, "parts": len(missing)}
        )
        # By the rows of all chunks, so that a run after one that died does not decide otherwise.
        if lost and not all(chunk.origin for chunk in chunks):
            self._mend_upload(upload, chunks, lost[-1], missing, run)
            return
        for chunk, origin in [(chunk, origin) for chunk in lost if (origin := chunk.origin)]:
            if run.is_out_of_time(STEP_SECONDS):
                return
            self._mend_chunk(upload, chunk, origin, missing)

    def _missing(self, upload: Upload, parts: Sequence[str]) -> set[str]:
        """Returns those parts that no longer exist. One list request looks at a thousand of them."""
        bucket = self._queue.bucket
        folder = names.work_folder(self._queue.settings.work_prefix, upload.folder)
        missing = set(parts) - bucket.keys(folder)
        elsewhere = {part for part in missing if not part.startswith(folder)}
        return missing - elsewhere | bucket.missing(elsewhere)

    def _mend_chunk(
        self, upload: Upload, chunk: Chunk, origin: tuple[int, int, int], missing: set[str]
    ) -> None:
        start, end, records = origin
        had = sum(chunk.errors_by_code.values())
        before = Counts(success=records - had, error=had)
        mended, after = self._mended(upload, chunk, [chunk], missing, (start, end), records)
        self._queue.table.chunks.mend(chunk, mended, _difference(after, before))

    def _mend_upload(
        self,
        upload: Upload,
        chunks: Sequence[Chunk],
        last: Chunk,
        missing: set[str],
        run: Run,
    ) -> None:
        """Mends an upload as a whole: one chunk gets the error lines, and counts the errors of all.

        That chunk, ``last``, has a missing part and is mended last: each run until then finds the part
        missing, and comes to the same lines and counts. Stops if another run has changed a chunk.
        """
        table = self._queue.table.chunks
        for chunk in chunks:
            left = replace(chunk, parts=_without(chunk.parts, missing), errors_by_code={})
            if chunk is last or left == chunk:
                continue
            if run.is_out_of_time(STEP_SECONDS) or not table.mend(chunk, left, Counts()):
                return
        if run.is_out_of_time(STEP_SECONDS):
            return
        before = Counts(success=upload.success_count, error=upload.error_count)
        mended, after = self._mended(upload, last, chunks, missing, None, upload.records)
        table.mend(last, mended, _difference(after, before))

    def _mended(
        self,
        upload: Upload,
        chunk: Chunk,
        scope: Sequence[Chunk],
        missing: set[str],
        span: tuple[int, int] | None,
        records: int,
    ) -> tuple[Chunk, Counts]:
        """Returns a chunk with error lines for the records of ``scope`` that no part has, and all counts."""
        tally = outputs.tally(self._lines(scope, missing), may_run_again=False)
        lost = max(0, records - len(tally.seen))
        parts = _without(chunk.parts, missing)
        words = LOST_LINES if lost else chunk.message
        if lost:
            # The lines depend on what is there, and so does the key: no run writes others over them.
            there = [part for each in scope for part in _without(each.parts, missing)]
            what = f"lost-{names.digest_of_keys(there)}"
            key = names.settled_key(self._queue.settings.work_prefix, chunk, what)
            try:
                self._queue.bucket.put_stream(key, self._error_lines(upload, span, tally))
                parts = (*parts, key)
            except ObjectGoneError:
                words = f"{LOST_LINES} {LOST_UPLOAD}"
        errors = tally.errors_by_code + Counter({LOST_CODE: lost})
        mended = replace(chunk, parts=parts, errors_by_code=errors, message=words)
        return mended, Counts(success=tally.success, error=tally.error + lost)

    def _lines(self, scope: Sequence[Chunk], missing: set[str]) -> Iterator[bytes]:
        for chunk in scope:
            for part in _without(chunk.parts, missing):
                yield from self._queue.bucket.stream(ObjectRef(part))

    def _error_lines(self, upload: Upload, span: tuple[int, int] | None, tally: Tally) -> Iterator[bytes]:
        """Yields an error line for each record that no part has. Raises ObjectGoneError."""
        source = ObjectRef(upload.key, upload.version_id, upload.etag)
        lines = reading.tidied(self._queue.bucket.stream(source, span))
        for _, record in outputs.unanswered(lines, tally.seen):
            yield outputs.error_line(record, LOST_CODE, LOST)


def _without(parts: Sequence[str], missing: set[str]) -> tuple[str, ...]:
    return tuple(part for part in parts if part not in missing)


def _difference(one: Counts, other: Counts) -> Counts:
    return Counts(success=one.success - other.success, error=one.error - other.error)
