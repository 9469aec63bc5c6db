"""Step 10, chunks: decides which records of a chunk are final and which run again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from threading import Lock

from batch_queue.aws.bucket import ObjectGoneError
from batch_queue.aws.table.chunks import CLOSED_AT_ONCE, Closing
from batch_queue.core import digests, media, names, outputs, reading, reports
from batch_queue.core.objects import ObjectRef
from batch_queue.core.outputs import Left, Tally
from batch_queue.core.rows import TERMINAL, Chunk, ChunkRef, Counts, Job, Route, Status

from .handover import given_back
from .outcome import Outcome
from .queue import Queue

# The back-off after a whole job failed, four times longer after each attempt.
BACKOFF_SECONDS = 60
MAX_BACKOFF_SECONDS = 3600
# The message and the error code of records whose input was deleted before they could run again.
GONE = "The object was deleted while it ran. Records that failed or had no answer were not run again."
GONE_CODE = "InputGone"
# The error code of records that did not run because their upload was cancelled.
CANCELLED_CODE = "Cancelled"
# The error code of records that returned to the queue without having run, and then could not be staged.
NOT_STAGED_CODE = "NotStaged"
# The message of a chunk whose records to run again are gone: each ends with its last error.
RETRY_GONE = "Records that were to run again were deleted from the work area. They end with their last error."


class Settlement:
    """Closes the attempt of each chunk of one job, by its output or by the reason why there is none.

    ``written``: key → size in bytes of the job's outputs. Each method may run for many chunks at once.
    """

    def __init__(self, queue: Queue, job: Job, written: Mapping[str, int], route: Route | None) -> None:
        self._queue = queue
        self._work = queue.settings.work_prefix
        self._job = job
        self._written = written
        self._outcome = Outcome(queue, job, bool(written), route)
        self._arn = "" if job.instead else job.arn
        self._only: set[str] = set()  # uploads that have one chunk
        #: The uploads with a chunk, settled before, that refers to an object of the job.
        self.referring: set[str] = set()
        #: Whether a run before this one may have begun to write a small object of the job in parts, or was
        #: overtaken: not if each chunk is still open, and is a whole object, which small ones are copied as.
        self.in_parts = False
        #: The counts of the attempts that this run has closed.
        self.counts = Counts()
        self._lock = Lock()

    def open(self, refs: Sequence[ChunkRef]) -> list[Chunk]:
        """Returns those chunks whose attempt is not settled, as they are now."""
        found = self._queue.table.chunks.all(refs)
        chunks = [chunk for ref in refs if (chunk := self._at_attempt(ref, found.get(ref)))]
        plain = [chunk for chunk in chunks if chunk.whole and not chunk.gone]
        self.in_parts |= len(plain) < len(refs)
        # The upload of a chunk that is a whole object at its first attempt has no other.
        first = [chunk for chunk in chunks if chunk.number == 1]
        whole = {chunk.upload_id for chunk in first if chunk.whole and chunk.attempt == 1}
        asked = {chunk.upload_id for chunk in first} - whole
        uploads = self._queue.table.uploads.all(sorted(asked))
        self._only |= whole | {upload.upload_id for upload in uploads.values() if upload.chunks == 1}
        return chunks

    def size(self, chunk: Chunk) -> int:
        """Returns how many bytes of a chunk, or of its output, are read to settle it."""
        return max(chunk.end - chunk.start, self._written.get(self._output_key(chunk), 0))

    def prepare(self, chunk: Chunk) -> Closing | None:
        """Writes what is to be kept of an attempt. Returns how it ends, or None if another run has closed it.

        The caller stores that with ``close``.
        """
        try:
            return self._settle(chunk)
        except ObjectGoneError:
            if self._open(chunk.ref):
                raise
            return None  # another run has settled it, and deleted what this one was reading

    def close(self, closings: Sequence[Closing]) -> None:
        """Stores how attempts of chunks of one upload end, unless another run has."""
        for at in range(0, len(closings), CLOSED_AT_ONCE):
            some = closings[at : at + CLOSED_AT_ONCE]
            if not self._close_all(some):
                for closing in some:
                    self._close_one(closing)

    def _close_one(self, closing: Closing) -> None:
        """Stores how the attempt of a chunk ends, or of one that was cancelled meanwhile, how that ends."""
        if self._close_all([closing]) or closing.ends:
            return
        ref = replace(closing.chunk.ref, attempt=closing.chunk.attempt - 1)
        chunk = self._open(ref)
        if chunk is not None and chunk.cancelled and (final := self.prepare(chunk)):
            self._close_all([final])

    def _close_all(self, closings: Sequence[Closing]) -> bool:
        """Stores how these attempts end, and counts them. Returns False if another run has stored one."""
        if not self._queue.table.chunks.close(closings, self._job.job_id):
            return False
        with self._lock:
            self.counts = sum((closing.counts for closing in closings), self.counts)
        return True

    def _open(self, ref: ChunkRef) -> Chunk | None:
        """Returns a chunk at the job's attempt, or None if that attempt is settled."""
        return self._at_attempt(ref, self._queue.table.chunks.get(ref))

    def _at_attempt(self, ref: ChunkRef, chunk: Chunk | None) -> Chunk | None:
        job = self._job
        if chunk is None:
            return None
        if is_open(chunk, ref, job):
            return chunk
        keys = (chunk.key, chunk.last_errors, *chunk.parts)
        if any(key.startswith(names.work_folder(self._work, job.job_id)) for key in keys):
            self.referring.add(chunk.upload_id)
        return None

    def _output_key(self, chunk: Chunk) -> str:
        return names.output_key(self._work, self._job.job_id, self._job.arn, chunk.ref.file_name)

    def _settle(self, chunk: Chunk) -> Closing:
        job = self._job
        key = self._output_key(chunk)
        wrote = key in self._written
        if chunk.cancelled:
            return self._cancel(chunk, key if wrote else "")
        if chunk.gone and not wrote:  # concurrent runs that staged it may have come to different results
            return self._not_staged(chunk)
        if job.status == Status.REJECTED and (_has_run(chunk) or chunk.upload_id in self._only):
            return self._reject(chunk)
        try:
            return self._by_output(chunk, key if wrote else "")
        except ObjectGoneError as error:
            if self._open(chunk.ref) is None:
                raise
            if wrote:
                return self._end_without_input(chunk, key)
            return self._not_staged(replace(chunk, message=error.told, error_code=""))

    # ------------------------------------------------------------------------------------ with an output

    def _by_output(self, chunk: Chunk, key: str) -> Closing:
        """Settles a chunk by its output at ``key`` ("" if there is none).

        Raises ObjectGoneError if its input is needed and no longer exists.
        """
        may_run_again = self._outcome.may_run_again(chunk)
        tally = outputs.tally(self._output(key), may_run_again) if key else Tally()
        if key and not tally.is_of(chunk.records, chunk.ids):
            records = outputs.unanswered(self._inputs(chunk), ())
            known = {digests.digest(record["recordId"]) for _, record in records}
            tally = outputs.tally(self._output(key), may_run_again, known)
        missing = chunk.records - len(tally.seen)
        if key and not missing and not tally.again and not tally.untidy:
            return self._close(_with_reasons(chunk, tally), [key], tally.errors_by_code, tally.counts())
        if may_run_again and (tally.again or missing > 0):
            return self._run_again(chunk, key, tally)
        return self._give_up(chunk, key, tally)

    def _cancel(self, chunk: Chunk, key: str) -> Closing:
        """Ends a chunk of a cancelled upload: what its job has answered is kept, for it is paid for.

        Other records have the error of an earlier job, if there was one, or no line.
        """
        tally = outputs.tally(self._output(key), may_run_again=False) if key else Tally()
        if key and not tally.is_of(chunk.records, chunk.ids):
            with suppress(ObjectGoneError):  # then nobody can tell what does not belong to it
                known = {
                    digests.digest(one["recordId"]) for _, one in outputs.unanswered(self._inputs(chunk), ())
                }
                tally = outputs.tally(self._output(key), False, known)
        missing = max(0, chunk.records - len(tally.seen))
        lines: Iterator[bytes] = outputs.settled(self._output(key), tally.seen) if key else iter(())
        had = chunk.last_errors if missing and chunk.last_errors else ""
        if had:
            lines = chain(lines, outputs.settled_but(self._queue.bucket.stream(ObjectRef(had)), tally.seen))
        parts = [self._part(chunk, "cancelled", lines)] if key or had else []
        errors = tally.errors_by_code + Counter({CANCELLED_CODE: missing})
        status = Status.CANCELLED if missing else self._job.status
        return self._close(
            _with_reasons(chunk, tally), parts, errors, tally.counts(missing), status=status, message=""
        )

    def _part(self, chunk: Chunk, what: str, lines: Iterable[bytes]) -> str:
        """Writes lines to a part of the result, and returns its key."""
        part = names.settled_key(self._work, chunk, what)
        self._queue.bucket.put_stream(part, lines)
        return part

    def _run_again(self, chunk: Chunk, key: str, tally: Tally) -> Closing:
        """Writes the records without a final line to an object, from which they run again."""
        bucket = self._queue.bucket
        answered = tally.seen - tally.again
        parts = (
            [self._part(chunk, "answered", outputs.settled(self._output(key), answered))] if answered else []
        )
        left = Left()
        again = names.retry_key(self._work, chunk)
        # The media of the job is deleted with its input.
        folder, sources = names.retry_folder(self._work, chunk.folder), dict[str, str]()
        staged = names.input_folder(self._work, self._job.job_id)
        lines = left.lines(outputs.unanswered(self._inputs(chunk), answered))
        moved = media.staged(lines, bucket.name, folder, sources, below=staged)
        bucket.put_stream(again, left.measured(moved))
        self._copy_media(folder, sources)
        last_errors = chunk.last_errors
        if self._outcome.ran:
            last_errors = f"{again}.errors"
            bucket.put_stream(last_errors, self._errors(chunk, key, tally))
        failed = self._job.status == Status.FAILED
        wait = min(MAX_BACKOFF_SECONDS, BACKOFF_SECONDS * 4 ** (chunk.attempt - 1)) if failed else 0
        pending = replace(
            left.chunk(chunk, again),
            queued_at=self._queue.now(),
            runs=chunk.runs + self._outcome.ran,
            unstarted_since="" if self._outcome.ran else self._outcome.unstarted_since(chunk),
            not_before=int(self._queue.clock()) + wait,
            parts=(*chunk.parts, *parts),
            last_errors=last_errors,
            errors_by_code=Counter(chunk.errors_by_code) + tally.errors_by_code,
            stop_reasons=_with_reasons(chunk, tally).stop_reasons,
            job_arns=self._jobs(chunk),
        )
        words = reports.waits_again(self._job, left.records, self._outcome.ran)
        return Closing(pending, tally.counts(), self._arn, words)

    def _copy_media(self, folder: str, sources: Mapping[str, str]) -> None:
        """Copies referenced objects to keys below ``folder``, unless they are there.

        ``sources``: new key → key of the source. A missing object is found when the records are staged.
        """
        if not sources:
            return
        bucket = self._queue.bucket
        there = bucket.keys(f"{folder}media/")  # from other chunks, or from a run that died
        new = {key: source for key, source in sources.items() if key not in there}
        sizes = bucket.readable_sizes(sorted(set(new.values())))
        found = {key: source for key, source in new.items() if source in sizes}
        bucket.copy_all(found, sizes, lambda: False)

    def _give_up(self, chunk: Chunk, key: str, tally: Tally) -> Closing:
        """Ends a chunk at its last attempt. Records without an answer get an error line."""
        missing = max(0, chunk.records - len(tally.seen))
        errors = Counter(tally.errors_by_code)
        lines: Iterator[bytes] = outputs.settled(self._output(key), tally.seen) if key else iter(())
        if missing:
            lines = chain(lines, self._errors(chunk, key, tally))
            errors[self._outcome.code] += missing
        part = self._part(chunk, "last", lines)
        counts = tally.counts(missing)
        return self._close(_with_reasons(chunk, tally), [part], errors, counts, message=self._outcome.words)

    def _errors(self, chunk: Chunk, key: str, tally: Tally) -> Iterator[bytes]:
        """Yields an error line for each record that is to run again or that the output does not have."""
        if tally.again:
            yield from outputs.settled(self._output(key), tally.again)
        words = self._outcome.words or f"The job ended as {self._job.status} before this record was answered."
        for _, record in outputs.unanswered(self._inputs(chunk), tally.seen):
            yield outputs.error_line(record, self._outcome.code, words)

    # ------------------------------------------------------------------------------------ without an output

    def _end_without_input(self, chunk: Chunk, key: str) -> Closing:
        """Ends a chunk by its output alone: without its input, no record can run again."""
        tally = outputs.tally(self._output(key), may_run_again=False)
        part = self._part(chunk, "output", outputs.settled(self._output(key), tally.seen))
        missing = max(0, chunk.records - len(tally.seen))
        errors = tally.errors_by_code + Counter({GONE_CODE: missing})
        counts = tally.counts(missing)
        return self._close(_with_reasons(chunk, tally), [part], errors, counts, message=GONE)

    def _not_staged(self, chunk: Chunk) -> Closing:
        """Ends a chunk that was not staged. Its records get its message, if they can be read.

        A chunk that only did not fit into the job returns to the queue.
        """
        if chunk.error_code == media.NO_ROOM_CODE:
            why = "a job had no room for the objects that its records reference"
            return given_back(self._queue, chunk, why)
        message = chunk.message
        again = chunk.key.startswith(self._work)
        if chunk.error_code or (again and not chunk.last_errors):
            try:
                return self._explain(replace(chunk, error_code=chunk.error_code or NOT_STAGED_CODE))
            except ObjectGoneError as error:
                message = error.told
        if again:
            return self._end_as_it_was(chunk, RETRY_GONE if message == ObjectGoneError.told else message)
        return Closing(replace(chunk, status=Status.CANCELLED, message=message))

    def _explain(self, chunk: Chunk) -> Closing:
        """Ends a chunk with an error line for each record. Raises ObjectGoneError."""
        records = outputs.unanswered(self._source(chunk), ())
        lines = (outputs.error_line(record, chunk.error_code, chunk.message) for _, record in records)
        part = self._part(chunk, "not-staged", lines)
        errors, counts = Counter({chunk.error_code: chunk.records}), Counts(error=chunk.records)
        return self._close(chunk, [part], errors, counts, status=Status.FAILED, message=chunk.message)

    def _reject(self, chunk: Chunk) -> Closing:
        """Ends a chunk that is too small for a job. It never ran, or its last errors are final."""
        message = self._job.message
        if not _has_run(chunk):
            return Closing(replace(chunk, status=Status.REJECTED, message=message))
        return self._end_as_it_was(chunk, message)

    def _end_as_it_was(self, chunk: Chunk, message: str) -> Closing:
        """Ends a chunk whose records do not run again: each has its last error, if a job has run it."""
        # Otherwise a part is missing, for which the end of the upload writes error lines.
        part = chunk.last_errors or names.settled_key(self._work, chunk, "missing")
        if chunk.run > 1:
            part = self._errors_of_all(chunk, message)
        errors, counts = Counter({"not run again": chunk.records}), Counts(error=chunk.records)
        return self._close(chunk, [part], errors, counts, status=Status.FAILED, message=message)

    def _errors_of_all(self, chunk: Chunk, message: str) -> str:
        """Writes an error line for each record of a chunk: its last one or, if it never ran, ``message``.

        Returns the key of the part. Raises ObjectGoneError.
        """
        had = chunk.last_errors
        seen: set[int] = set()
        if had:
            stream = self._queue.bucket.stream(ObjectRef(had))
            seen = {mark for _, mark, _ in outputs.answers_in(stream) if mark is not None}
        lines = self._queue.bucket.stream(ObjectRef(had)) if had else iter(())
        others = outputs.unanswered(self._source(chunk), seen)
        more = (outputs.error_line(record, self._outcome.code, message) for _, record in others)
        return self._part(chunk, "not-run", chain(lines, more))

    # ------------------------------------------------------------------------------------------- pieces

    def _close(
        self,
        chunk: Chunk,
        parts: list[str],
        errors: Counter[str],
        counts: Counts,
        *,
        status: Status | None = None,
        message: str | None = None,
    ) -> Closing:
        """Ends a chunk and adds these parts and errors to it. The default status is that of the job."""
        ended = replace(
            chunk,
            status=status or self._job.status,
            message=self._job.message if message is None else message,
            parts=self._joined(chunk, (*chunk.parts, *parts)),
            errors_by_code=Counter(chunk.errors_by_code) + errors,
            runs=chunk.runs + (self._outcome.ran and not chunk.gone),
            job_arns=self._jobs(chunk),
        )
        return Closing(ended, counts, self._arn)

    def _jobs(self, chunk: Chunk) -> frozenset[str]:
        return chunk.job_arns | {self._arn} - {""}

    def _joined(self, chunk: Chunk, parts: tuple[str, ...]) -> tuple[str, ...]:
        """Returns the parts of a chunk that ends, as one object if its upload has other chunks.

        The only chunk of an upload is left as it is: its upload ends before the job's folder is deleted. A
        part that no longer exists stays in the list, so that the end of the upload notices.
        """
        ours = names.work_folder(self._work, chunk.folder)
        kept = len(parts) <= 1 and all(part.startswith(ours) for part in parts)
        if kept or chunk.upload_id in self._only:
            return parts
        try:
            return (self._join(chunk, parts),)
        except ObjectGoneError:
            if self._open(chunk.ref) is None:
                raise
        missing = self._queue.bucket.missing(parts)
        there = tuple(part for part in parts if part not in missing)
        return (*((self._join(chunk, there),) if there else ()), *sorted(missing))

    def _join(self, chunk: Chunk, parts: Sequence[str]) -> str:
        key = names.settled_key(self._work, chunk, names.digest_of_keys(parts))
        sizes = {} if self._job.instead else self._written  # another run may still write an answer on demand
        self._queue.bucket.concatenate(parts, key, sizes)
        return key

    def _output(self, key: str) -> Iterator[bytes]:
        return self._queue.bucket.stream(ObjectRef(key))

    def _inputs(self, chunk: Chunk) -> Iterator[bytes]:
        """Yields the job's input lines of a chunk, from where they came from if they are not staged."""
        job = self._job
        if job.arn and not job.instead:
            folder = names.input_folder(self._work, job.job_id)
            try:
                yield from self._queue.bucket.stream(ObjectRef(folder + chunk.ref.file_name))
            except ObjectGoneError:  # raised before the first block
                pass
            else:
                return
        yield from self._source(chunk)

    def _source(self, chunk: Chunk) -> Iterator[bytes]:
        """Returns the lines that a chunk runs, as they are sent to Bedrock."""
        source = ObjectRef(chunk.key, chunk.version_id, chunk.etag)
        stream = self._queue.bucket.stream(source, None if chunk.whole else (chunk.start, chunk.end))
        return reading.tidied(stream) if chunk.rewrite else stream


def is_open(chunk: Chunk, ref: ChunkRef, job: Job) -> bool:
    """Returns whether a chunk is at the attempt ``ref`` of a job, and that attempt is not settled."""
    return (chunk.job_id, chunk.attempt) == (job.job_id, ref.attempt) and chunk.status not in TERMINAL


def _has_run(chunk: Chunk) -> bool:
    """Returns whether a job has run records of a chunk, also in a run of its upload before this one."""
    return bool(chunk.runs or chunk.parts or chunk.last_errors)


def _with_reasons(chunk: Chunk, tally: Tally) -> Chunk:
    """Returns the chunk with the stop reasons of one more attempt."""
    return replace(chunk, stop_reasons=Counter(chunk.stop_reasons) + tally.stop_reasons)
