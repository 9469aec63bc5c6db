"""Step 6: passes a job's news on to the rows of its uploads and to the collector."""

from __future__ import annotations

from dataclasses import replace

from batch_queue.core import names, reports
from batch_queue.core.rows import ACTIVE, TERMINAL, Chunk, Counts, Job, Status

from .queue import Queue

# A collector that was invoked this long ago has ended: its timeout is 900 s.
COLLECT_SECONDS = 960.0


def hand_over(queue: Queue, job: Job) -> None:
    """Invokes the collector for a job that has ended or that runs on demand. Ignores other jobs.

    A request that was lost is repeated after ``COLLECT_SECONDS``.
    """
    now = queue.clock()
    if job.status not in TERMINAL and not (job.instead and job.status in ACTIVE):
        return
    if queue.table.jobs.request_collect(job, names.iso(now), names.iso(now - COLLECT_SECONDS)):
        try:
            queue.functions.wake(queue.settings.collect_function, {"job_id": job.job_id})
        except Exception:
            queue.table.jobs.withdraw_collect(job, names.iso(now))
            raise


def advance_uploads(queue: Queue, job: Job, arn: str = "") -> None:
    """Moves the uploads of a job to the job's status, and adds ``arn`` to their rows."""
    for upload_id in job.upload_ids:
        queue.table.uploads.advance(
            upload_id, job.status, job.updated_at, arn, begins=bool(arn or job.instead)
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
