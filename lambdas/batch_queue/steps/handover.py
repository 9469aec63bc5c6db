"""Step 6: passes a job's news on to the rows of its uploads and to the collector."""

from __future__ import annotations

from dataclasses import replace

from batch_queue.aws.pool import at_once
from batch_queue.aws.table.chunks import Closing
from batch_queue.core import names, reports
from batch_queue.core.rows import ACTIVE, TERMINAL, Chunk, Job, Status

from .queue import Queue

# A collector that was invoked this long ago has ended: its timeout is 900 s.
COLLECT_SECONDS = 960.0
# A collector that cannot finish in time has run for longer than this.
GO_ON_SECONDS = 60.0


def hand_over(queue: Queue, job: Job) -> None:
    """Invokes the collector for a job that has ended or that runs on demand. Ignores other jobs.

    A request that was lost is repeated after ``COLLECT_SECONDS``.
    """
    if not (job.status in TERMINAL or (job.instead and job.status in ACTIVE)):
        return
    # The row says so too, but most jobs that are looked at here were requested a moment ago.
    if not job.collect_requested_at or queue.age(job.collect_requested_at) > COLLECT_SECONDS:
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
        _invoke(queue, job, collector, names.iso(now))


def _invoke(queue: Queue, job: Job, collector: str, asked_at: str) -> None:
    """Invokes a collector, as the row of the job says since ``asked_at``."""
    try:
        queue.functions.wake(collector, {"job_id": job.job_id})
    except Exception:
        queue.table.jobs.withdraw_collect(job, asked_at)
        raise


def store_end(queue: Queue, job: Job) -> Job:
    """Stores how a job has ended and has it collected. Returns the job as it is then."""
    now = queue.now()
    if queue.table.jobs.update(job, collect_at=now):
        _invoke(queue, job, queue.settings.collect_function, now)
        return replace(job, collect_requested_at=now)
    hand_over(queue, job)  # another run has stored it
    return job


def tell_uploads(queue: Queue, job: Job) -> None:
    """Tells the uploads of a job that it was submitted, or runs on demand, and adds its ARN to their rows.

    Does nothing if they know. Their rows do not follow the job's statuses: each of these would be a write for
    each upload, and the job's row has them.
    """
    if job.told or not job.arn:
        return
    intent = queue.table.jobs.intent(job.job_id)
    named = set() if job.instead else {ref.upload_id for ref in intent.chunks if ref.is_named}
    status = Status.IN_PROGRESS if job.instead else Status.SUBMITTED

    def tell(upload_id: str) -> None:
        arn = job.arn if upload_id in named else ""
        queue.table.uploads.advance(upload_id, status, queue.now(), arn, begins=True)

    at_once(tell, intent.upload_ids)
    queue.table.jobs.store_told(job.job_id)


def wait(queue: Queue, job: Job) -> Job:
    """Stores why a job cannot be submitted now (its message), also in the rows of its uploads."""
    queue.table.jobs.update(job)
    note_uploads(queue, job, f"waiting: {job.message}")
    return job


def note_uploads(queue: Queue, job: Job, message: str) -> None:
    """Stores a message in the rows of the uploads of a job that have not ended."""
    upload_ids = queue.table.jobs.intent(job.job_id).upload_ids
    at_once(lambda upload_id: queue.table.uploads.note(upload_id, message), upload_ids)


def give_back(queue: Queue, chunk: Chunk, job: Job, why: str) -> None:
    """Puts a chunk that a job has, but does not run, back into the queue at its next attempt."""
    queue.table.chunks.close([given_back(queue, chunk, why)], job.job_id)


def given_back(queue: Queue, chunk: Chunk, why: str) -> Closing:
    """Returns how the attempt of a chunk ends that its job does not run: it is in the queue again."""
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
    return Closing(free, message=words)


def end(queue: Queue, job: Job, status: Status) -> Job:
    """Ends a job that Bedrock does not run and hands it over, so that its uploads end too."""
    now = queue.now()
    return store_end(queue, replace(job, status=status, ended_at=now, updated_at=now))
