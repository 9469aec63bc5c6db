"""Step 8: claims the chunks of a job and copies their bytes into the job's input folder."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from batch_queue.aws.bucket import ObjectDeniedError, ObjectGoneError
from batch_queue.core import media, names, reading
from batch_queue.core.objects import ObjectRef
from batch_queue.core.rows import Chunk, ChunkRef, Job, Route, Status

from .handover import end, give_back, wait
from .queue import Queue
from .run import Run

# Denied access (by S3 or Bedrock) is retried by later runs until the job is this old.
HEALING_SECONDS = 600.0
# A run with less time than this begins to copy nothing: in it, S3 copies the largest referenced object (2 GB)
# at 36 MB/s, or the largest chunk is streamed.
STAGE_SECONDS = 60.0
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
    """What a job has so far: ``got``, its chunks; ``sizes``, key → bytes in its folder; records staged."""

    run: Run
    route: Route | None
    sizes: dict[str, int]
    got: list[ChunkRef] = field(default_factory=list)
    records: int = 0

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

    def seal(self, job: Job, run: Run) -> Job:
        """Claims the job's chunks, stages those that it got, and makes the list of chunks final.

        Returns a job that is not sealed if the time of ``run`` runs out first, and a Cancelled job if too few
        records are left for Bedrock. Raises ObjectDeniedError if S3 denies access and the job is young enough
        for a retry.
        """
        table = self._queue.table
        there = self._queue.bucket.sizes_below(self._folder(job))  # from a run that died
        had = len(there)
        now = _Progress(run, table.models.routes().get(job.route), there)
        try:
            self._claim_and_stage(job, now)
        except OutOfTimeError:
            come_on = len(self._queue.bucket.sizes_below(self._folder(job))) > had
            waits = replace(job, tries=1 if come_on else job.tries, updated_at=self._queue.now())
            table.jobs.update(waits)
            return waits
        if not now.got:
            table.jobs.discard(job)
            return replace(job, status=Status.CANCELLED)
        sealed = replace(
            job,
            chunks=tuple(now.got),
            sealed=True,
            records=sum(ref.records for ref in now.got),
            updated_at=self._queue.now(),
        )
        if not table.jobs.seal(sealed):
            return table.jobs.get(job.job_id) or replace(job, status=Status.CANCELLED)
        if not now.records or (not job.instead and now.records < now.least_records):
            # Bedrock would refuse the rest, so it returns to the queue.
            return end(self._queue, sealed, Status.CANCELLED)
        return sealed

    def _claim_and_stage(self, job: Job, now: _Progress) -> None:
        """Adds the chunks that the job gets to ``now``. Raises OutOfTimeError."""
        for ref in job.chunks:
            ready = bool(job.instead) or self._folder(job) + ref.file_name in now.sizes
            if not ready and now.out_of_time:
                raise OutOfTimeError
            if not (chunk := self._claim(ref, job)):
                continue
            ready = ready or self._stage(job, chunk, now)
            now.got.append(ref)
            now.records += ref.records if ready else 0

    def release(self, job: Job) -> None:
        """Prepares to end a job that could not be staged, so that only the chunk it stopped at fails.

        The chunks that it staged return to the queue, where those behind that chunk still are. Those that
        could not be copied keep their own reason.
        """
        folder = self._folder(job)
        there = self._queue.bucket.keys(folder)
        for ref in job.chunks:
            chunk = self._claim(ref, job)
            if chunk is None or chunk.gone:
                continue
            if folder + ref.file_name not in there:
                return
            give_back(self._queue, chunk, job, "a job was given up because of other records")

    def _folder(self, job: Job) -> str:
        return names.input_folder(self._queue.settings.work_prefix, job.job_id)

    def _claim(self, ref: ChunkRef, job: Job) -> Chunk | None:
        """Returns the chunk, or None if another job has it or it is at another attempt."""
        chunk = self._queue.table.chunks.get(ref)
        if chunk is None or chunk.attempt != ref.attempt:
            return None
        return chunk if self._queue.table.chunks.claim(chunk, job.job_id) else None

    def _stage(self, job: Job, chunk: Chunk, now: _Progress) -> bool:
        """Copies a chunk's bytes, and the media that they reference, into the job's input folder.

        Returns False, with no file of the chunk staged, if the upload or a referenced object cannot be
        copied, or not into this job. Raises OutOfTimeError.
        """
        if chunk.gone:  # as an earlier run of this job decided, whatever exists now
            return False
        bucket, chunks, folder = self._queue.bucket, self._queue.table.chunks, self._folder(job)
        key = folder + chunk.ref.file_name
        source = ObjectRef(chunk.key, chunk.version_id, chunk.etag)
        span = None if chunk.whole else (chunk.start, chunk.end)
        try:
            if chunk.rewrite:
                lines = reading.tidied(bucket.stream(source, span))
                bucket.put_stream(key, self._with_media(lines, job, chunk, now))
            else:
                bucket.copy(source, key, span)
        except ObjectGoneError as error:
            chunks.mark_gone(chunk.ref, job.job_id, error.told)
            return False
        except ObjectDeniedError as error:
            chunks.mark_gone(chunk.ref, job.job_id, self._denied(job, chunk.key, error))
            return False
        except MediaError as error:
            chunks.mark_gone(chunk.ref, job.job_id, str(error), error.code)
            return False
        now.sizes[key] = chunk.end - chunk.start
        return True

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
        had = sum(now.sizes.values())
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

    def _denied(self, job: Job, key: str, error: ObjectDeniedError) -> str:
        """Returns the message for an upload that S3 denies access to. Raises the error at first."""
        message = (
            f"S3 denied access to {key} ({str(error)[:_SHOWN]}). Allow the role of process_batch_jobs to "
            "read it and to write below the work prefix, and to use their KMS keys"
        )
        if self._queue.age(job.created_at) < HEALING_SECONDS:
            wait(self._queue, replace(job, message=f"{message}.", updated_at=self._queue.now()))
            raise error
        return f"Not run: {message}, then upload it again."
