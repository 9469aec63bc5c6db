"""Step 8: claims the chunks of a job and copies their bytes into the job's input folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from batch_queue.aws.bucket import ObjectDeniedError, ObjectGoneError, ObjectRef
from batch_queue.core import media, names, reading
from batch_queue.core.rows import Chunk, ChunkRef, Job, Status

from .handover import end, wait
from .queue import Queue

# Denied access (by S3 or Bedrock) is retried by later runs until the job is this old.
HEALING_SECONDS = 600.0
_SHOWN = 500  # characters of what S3 says


class MediaError(Exception):
    """Objects that a chunk links cannot be copied. The text is for the user."""


class Staging:
    """Claims and stages the chunks of a job. Any number of runs may repeat each step."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def seal(self, job: Job) -> Job:
        """Claims the job's chunks, stages those that it got, and makes the list of chunks final.

        Returns a Cancelled job if too few records are left for Bedrock. Raises ObjectDeniedError if S3
        denies access and the job is young enough for a retry.
        """
        got: list[ChunkRef] = []
        staged = 0
        folder = self._folder(job)
        there = self._queue.bucket.keys(folder)  # from a run that died
        for ref in job.chunks:
            if chunk := self._claim(ref, job):
                got.append(ref)
                ready = job.instead or folder + ref.file_name in there or self._stage(job, chunk)
                staged += ref.records if ready else 0
        table = self._queue.table
        if not got:
            table.jobs.discard(job)
            return replace(job, status=Status.CANCELLED)
        records = sum(ref.records for ref in got)
        sealed = replace(job, chunks=tuple(got), sealed=True, records=records, updated_at=self._queue.now())
        if not table.jobs.seal(sealed):
            return table.jobs.get(job.job_id) or replace(job, status=Status.CANCELLED)
        route = table.models.routes().get(job.route)
        if not staged or (not job.instead and route and staged < route.min_records_per_job):
            # Bedrock would refuse the rest, so it returns to the queue.
            return end(self._queue, sealed, Status.CANCELLED)
        return sealed

    def _folder(self, job: Job) -> str:
        return names.input_folder(self._queue.settings.work_prefix, job.job_id)

    def _claim(self, ref: ChunkRef, job: Job) -> Chunk | None:
        """Returns the chunk, or None if another job has it or it is at another attempt."""
        chunk = self._queue.table.chunks.get(ref)
        if chunk is None or chunk.attempt != ref.attempt:
            return None
        return chunk if self._queue.table.chunks.claim(chunk, job.job_id) else None

    def _stage(self, job: Job, chunk: Chunk) -> bool:
        """Copies a chunk's bytes, and the media that they link, into the job's input folder.

        Returns False, with nothing staged, if the upload or a linked object cannot be copied.
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
                bucket.put_stream(key, self._with_media(lines, folder))
            else:
                bucket.copy(source, key, span)
        except ObjectGoneError as error:
            chunks.mark_gone(chunk.ref, job.job_id, error.told)
            return False
        except ObjectDeniedError as error:
            chunks.mark_gone(chunk.ref, job.job_id, self._denied(job, chunk.key, error))
            return False
        except MediaError as error:
            chunks.mark_gone(chunk.ref, job.job_id, str(error), media.UNAVAILABLE_CODE)
            return False
        return True

    def _with_media(self, lines: Iterable[bytes], folder: str) -> Iterator[bytes]:
        """Yields the lines with their links rewritten, and at the end copies the linked objects.

        Raises MediaError if an object cannot be copied, so that the lines are not written either.
        """
        bucket = self._queue.bucket
        sources: dict[str, str] = {}
        yield from media.staged(lines, bucket.name, folder, sources)
        if not sources:
            return
        there = bucket.keys(f"{folder}media/")  # from other chunks, or from a run that died
        missing = bucket.copy_all({key: source for key, source in sources.items() if key not in there})
        if missing:
            raise MediaError(media.unavailable(missing, bucket.name))

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
