"""Step 6: passes a job's news on to the rows of its uploads and to the collector."""

from __future__ import annotations

from dataclasses import replace

from batch_queue.core import names, reports
from batch_queue.core.rows import ACTIVE, TERMINAL, Chunk, Counts, Job, Status

from .queue import Queue

# A collector that was invoked this long ago has ended: its timeout is 900 s.
COLLECT_SECONDS = 960.0
# A collector that cannot finish in time has run for longer than this.
GO_ON_SECONDS = 60.0


def hand_over(queue: Queue, job: Job) -> None:
    """Invokes the collector for a job that has ended or that runs on demand. Ignores other jobs.

    A request that was lost is repeated after ``COLLECT_SECONDS``.
    """
    if job.status in TERMINAL or (job.instead and job.status in ACTIVE):
        _request_collect(queue, job, queue.settings.collect_function, COLLECT_SECONDS)


def go_on_collecting(queue: Queue, job: Job, collector: str) -> None:
    """Invokes the function ``collector`` again for a job that the running one cannot finish in time.

    Does nothing if another run has just done so: of two runs, one goes on.
    """
    _request_collect(queue, job, collector, GO_ON_SECONDS)


def _request_collect(queue: Queue, job: Job, collector: str, seconds: float) -> None:
    """Invokes a collector for a job, unless that was requested within this time."""
    now = queue.clock()
    if queue.table.jobs.request_collect(job, names.iso(now), names.iso(now - seconds)):
        try:
            queue.functions.wake(collector, {"job_id": job.job_id})
        except Exception:
            queue.table.jobs.withdraw_collect(job, names.iso(now))
            raise


def advance_uploads(queue: Queue, job: Job, arn: str = "") -> None:
    """Moves the uploads of a job to the job's status, and adds ``arn`` to the rows that name their jobs."""
    names_it = {ref.upload_id for ref in job.chunks if ref.is_named}
    for upload_id in job.upload_ids:
        named = arn if upload_id in names_it else ""
        queue.table.uploads.advance(
            upload_id, job.status, job.updated_at, named, begins=bool(arn or job.instead)
        )


def wait(queue: Queue, job: Job) -> Job:
    """Stores why a job cannot be submitted now (its message), also in the rows of its uploads."""
    queue.table.jobs.update(job)
    for upload_id in job.upload_ids:
        queue.table.uploads.note(upload_id, f"waiting: {job.message}")
    return job


def give_back(queue: Queue, chunk: Chunk, job: Job, why: str) -> None:
    """Puts a chunk that a job has, but does not run, back into the queue at its next attempt."""
    start, end, records = chunk.origin or (0, 0, 0)
    free = replace(
        chunk,
        attempt=chunk.attempt + 1,
        origin_start=start,
        origin_end=end,
        origin_records=records,
        status=Status.PENDING,
        job_id="",
        gone=False,
        message="",
        error_code="",
        queued_at=queue.now(),
        not_before=0,
    )
    words = f"waiting: {why}; {reports.back_in_the_queue(chunk.records)}"
    queue.table.chunks.run_again(free, job.job_id, Counts(), message=words)


def end(queue: Queue, job: Job, status: Status) -> Job:
    """Ends a job that Bedrock does not run and hands it over, so that its uploads end too."""
    now = queue.now()
    ended = replace(job, status=status, ended_at=now, updated_at=now)
    queue.table.jobs.update(ended)
    hand_over(queue, ended)
    return ended
