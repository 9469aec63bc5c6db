"""Step 8: claims the chunks of a job and copies their bytes into the job's input folder."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field, replace
from functools import partial

from batch_queue.aws.bucket import ObjectDeniedError, ObjectGoneError
from batch_queue.aws.pool import AT_ONCE, at_once
from batch_queue.core import media, names, reading
from batch_queue.core.objects import ObjectRef
from batch_queue.core.records import dataclass
from batch_queue.core.rows import Chunk, Intent, Job, Route, Status

from .handover import end, give_back, wait
from .queue import Queue
from .run import Run

# Denied access (by S3 or Bedrock) is retried by later runs until the job is this old.
HEALING_SECONDS = 600.0
# A run with less time than this begins to copy nothing: in it, S3 copies the largest referenced object (2 GB)
# at 36 MB/s, or the largest chunks are streamed.
STAGE_SECONDS = 60.0
# Chunks that are streamed at once: each has up to two parts of 16 MiB in memory.
STREAMED_AT_ONCE = 3
_SHOWN = 500  # characters of what S3 says


class MediaError(Exception):
    """Referenced objects cannot be copied. The text is for the user; ``code`` says what follows."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class OutOfTimeError(Exception):
    """The run has too little time left to stage more. What is staged stays."""


@dataclass(slots=True)
class _Progress:
    """What a job's folder has so far: ``sizes``, key → bytes; ``counts``, key of a chunk → its records.

    ``denied``: what S3 denies, for the user. Nothing more is staged then.
    """

    run: Run
    route: Route | None
    sizes: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    denied: str = ""

    @property
    def records(self) -> int:
        return sum([*self.counts.values()])

    @property
    def size_bytes(self) -> int:
        return sum([*self.sizes.values()])

    @property
    def least_records(self) -> int:
        return self.route.min_records_per_job if self.route else 0

    @property
    def most_bytes(self) -> float:
        return self.route.max_bytes_per_job if self.route else math.inf

    @property
    def out_of_time(self) -> bool:
        return self.run.has_less_than(STAGE_SECONDS)


class Staging:
    """Claims and stages the chunks of a job. Any number of runs may repeat each step."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def seal(self, job: Job, intent: Intent, run: Run) -> tuple[Job, Intent]:
        """Claims the job's chunks, stages those that it got, and makes the list of chunks final.

        Returns the job, and what it runs now. It is not sealed if the time of ``run`` runs out first, and
        Cancelled if too few records are left for Bedrock. Raises ObjectDeniedError if S3 denies access and
        the job is young enough for a retry.
        """
        table = self._queue.table
        folder = self._folder(job)
        now = _Progress(run, table.models.routes().get(job.route))
        tried = job.tries > 1
        if tried:
            now.sizes = self._queue.bucket.sizes_below(folder)  # from a run that died
        had = len(now.sizes)
        got = self._claim(job, intent)
        try:
            if not job.instead:
                # One after the other shows at which chunk a run dies (``release``).
                self._stage_all(job, got, now, most=1 if tried else AT_ONCE)
        except OutOfTimeError:
            come_on = len(self._queue.bucket.sizes_below(folder)) > had
            waits = replace(job, tries=1 if come_on else job.tries, updated_at=self._queue.now())
            table.jobs.update(waits)
            return waits, intent
        except ObjectDeniedError:
            wait(self._queue, replace(job, message=now.denied, updated_at=self._queue.now()))
            raise
        if not got:
            table.jobs.discard(job)
            return replace(job, status=Status.CANCELLED), intent
        runs = replace(intent, chunks=tuple(chunk.ref for chunk in got))
        records = sum(ref.records for ref in runs.chunks)
        sealed = replace(job, sealed=True, records=records, updated_at=self._queue.now())
        if not table.jobs.seal(sealed, runs if runs != intent else None):
            known = table.jobs.get(job.job_id) or replace(job, status=Status.CANCELLED)
            return known, table.jobs.intent(job.job_id)
        if not job.instead and now.records < max(1, now.least_records):
            # Bedrock would refuse the rest, so it returns to the queue.
            return end(self._queue, sealed, Status.CANCELLED), runs
        return sealed, runs

    def release(self, job: Job, intent: Intent) -> None:
        """Prepares to end a job that could not be staged, so that only the chunk it stopped at fails.

        The others return to the queue. Those that could not be copied keep their own reason.
        """
        folder = self._folder(job)
        there = self._queue.bucket.keys(folder)
        stopped = False
        for chunk in self._claim(job, intent):
            if chunk.gone or chunk.cancelled:
                continue
            if stopped or folder + chunk.ref.file_name in there:
                give_back(self._queue, chunk, job, "a job was given up because of other records")
            else:
                stopped = True

    def _folder(self, job: Job) -> str:
        return names.input_folder(self._queue.settings.work_prefix, job.job_id)

    def _claim(self, job: Job, intent: Intent) -> list[Chunk]:
        """Returns the chunks that the job has; others belong to another job or are at another attempt."""
        chunks = self._queue.table.chunks
        known = chunks.all(intent.chunks)
        there = [known[ref] for ref in intent.chunks if ref in known and known[ref].attempt == ref.attempt]
        return chunks.claim(there, job.job_id)

    def _stage_all(self, job: Job, chunks: Sequence[Chunk], now: _Progress, most: int) -> None:
        """Stages the chunks of a job, ``most`` at once. Raises OutOfTimeError."""
        for chunk in chunks:
            if (key := self._key(job, chunk)) in now.sizes:
                now.counts[key] = chunk.records
        left = [chunk for chunk in chunks if self._key(job, chunk) not in now.sizes]
        stage = partial(self._stage, job, now)
        # Records with media share what the job has room for.
        alone = now.route is None or now.route.media
        at_once(stage, [chunk for chunk in left if not chunk.rewrite], most)
        at_once(
            stage, [chunk for chunk in left if chunk.rewrite], min(most, 1 if alone else STREAMED_AT_ONCE)
        )

    def _key(self, job: Job, chunk: Chunk) -> str:
        return self._folder(job) + chunk.ref.file_name

    def _stage(self, job: Job, now: _Progress, chunk: Chunk) -> None:
        """Copies a chunk's bytes, and the media that they reference, into the job's input folder.

        Stages no file of the chunk if the upload or a referenced object cannot be copied, or not into this
        job. Raises OutOfTimeError, and ObjectDeniedError while the job is young.
        """
        # As an earlier run of this job decided, whatever exists now; or by order.
        if chunk.gone or chunk.cancelled or now.denied:
            return
        if now.out_of_time:
            raise OutOfTimeError
        bucket, chunks, key = self._queue.bucket, self._queue.table.chunks, self._key(job, chunk)
        source = ObjectRef(chunk.key, chunk.version_id, chunk.etag)
        try:
            if chunk.rewrite:
                span = None if chunk.whole else (chunk.start, chunk.end)
                lines = reading.tidied(bucket.stream(source, span))
                bucket.put_stream(key, self._with_media(lines, job, chunk, now))
            else:
                bucket.copy(source, key, chunk.start, chunk.end, whole=chunk.whole)
        except ObjectGoneError as error:
            chunks.mark_gone(chunk.ref, job.job_id, error.told)
        except ObjectDeniedError as error:
            words = _denied(chunk.key, error)
            if self._queue.age(job.created_at) < HEALING_SECONDS:
                now.denied = f"{words}."
                raise
            chunks.mark_gone(chunk.ref, job.job_id, f"Not run: {words}, then upload it again.")
        except MediaError as error:
            chunks.mark_gone(chunk.ref, job.job_id, str(error), error.code)
        else:
            now.sizes[key] = chunk.end - chunk.start
            now.counts[key] = chunk.records

    # --------------------------------------------------------------------------------------------- media

    def _with_media(self, lines: Iterable[bytes], job: Job, chunk: Chunk, now: _Progress) -> Iterator[bytes]:
        """Yields the lines with their references rewritten, and at the end copies the referenced objects.

        Raises MediaError if they may not or cannot be copied, or OutOfTimeError, so that the lines are not
        written either.
        """
        bucket = self._queue.bucket
        sources: dict[str, str] = {}
        yield from media.staged(lines, bucket.name, self._folder(job), sources)
        new = {key: source for key, source in sources.items() if key not in now.sizes}
        if not new:
            return
        settings = self._queue.settings
        # Records that run again reference copies, which are in the work area.
        retried = chunk.key.startswith(settings.work_prefix)
        allowed = (*settings.media_prefixes, *((settings.work_prefix,) if retried else ()))
        if outside := {source for source in new.values() if not source.startswith(allowed)}:
            message = media.not_allowed(outside, bucket.name, settings.media_prefixes)
            raise MediaError(message, media.NOT_ALLOWED_CODE)
        sizes = bucket.readable_sizes(sorted(set(new.values())))
        if missing := set(new.values()) - set(sizes):
            raise MediaError(media.unavailable(missing, bucket.name), media.UNAVAILABLE_CODE)
        largest = max(sizes, key=lambda source: sizes[source])
        if sizes[largest] > media.MAX_OBJECT_BYTES:
            message = media.object_too_large(largest, sizes[largest], bucket.name)
            raise MediaError(message, media.TOO_LARGE_CODE)
        had = now.size_bytes
        coming = {key: sizes[source] for key, source in new.items()}
        added = chunk.end - chunk.start + sum(coming.values())
        own = added + sum(now.sizes[key] for key in sources if key not in new)
        if had + added > now.most_bytes:
            if own <= now.most_bytes and now.records >= now.least_records:
                raise MediaError("", media.NO_ROOM_CODE)
            size = own if own > now.most_bytes else had + added
            message = media.objects_too_large(size, int(now.most_bytes), largest, sizes[largest], bucket.name)
            raise MediaError(message, media.TOO_LARGE_CODE)
        failed, finished = bucket.copy_all(new, sizes, lambda: now.out_of_time)
        if failed:
            raise MediaError(media.unavailable(failed, bucket.name), media.UNAVAILABLE_CODE)
        if not finished:
            raise OutOfTimeError
        now.sizes.update(coming)


def _denied(key: str, error: ObjectDeniedError) -> str:
    """Returns what S3 denies of an upload, and what to do."""
    return (
        f"S3 denied access to {key} ({str(error)[:_SHOWN]}). Allow the role of process_batch_jobs to "
        "read it and to write below the work prefix, and to use their KMS keys"
    )
