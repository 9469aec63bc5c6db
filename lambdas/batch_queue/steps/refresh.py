"""Steps 4 and 5: looks up active jobs at Bedrock and stores their status."""

from __future__ import annotations

from dataclasses import replace

from batch_queue.aws.bedrock import Bedrock, JobState
from batch_queue.aws.telemetry import log
from batch_queue.core import names
from batch_queue.core.rows import ACTIVE, TERMINAL, Job, Status

from .handover import advance_uploads
from .queue import Queue

# Bedrock does not guarantee that a job can be looked up as soon as it is created.
UNKNOWN_SECONDS = 3600.0
UNKNOWN = "Bedrock no longer knows this job."


class Refresh:
    """Looks jobs up at Bedrock."""

    def __init__(self, queue: Queue, bedrock: Bedrock) -> None:
        self._queue = queue
        self._bedrock = bedrock

    def job(self, job: Job) -> Job:
        """Looks up a job if it is active, stores what changed, and returns the job as it is now."""
        if job.status not in ACTIVE or job.instead:
            return job
        found = self._bedrock.state(job.arn)
        if found is None and self._queue.age(job.submitted_at) < UNKNOWN_SECONDS:
            return job
        fresh = _unknown(job, self._queue.now()) if found is None else _seen(job, found, self._queue.now())
        if fresh == job:
            return job
        fresh = replace(fresh, updated_at=self._queue.now())
        self._queue.table.jobs.update(fresh)
        if fresh.status != job.status:
            log.info("job status", extra={"job_id": job.job_id, "status": fresh.status, "was": job.status})
            if fresh.status in ACTIVE:
                advance_uploads(self._queue, fresh)
        return fresh


def _unknown(job: Job, now: str) -> Job:
    return replace(job, status=Status.FAILED, message=UNKNOWN, ended_at=now)


def _seen(job: Job, found: JobState, now: str) -> Job:
    ended_at = names.iso(found.ended_at.timestamp()) if found.ended_at else now
    return replace(
        job,
        status=found.status,
        message=found.message,
        success_count=job.success_count if found.success_count is None else found.success_count,
        error_count=job.error_count if found.error_count is None else found.error_count,
        started_at=job.started_at or (now if found.status == Status.IN_PROGRESS else ""),
        ended_at=ended_at if found.status in TERMINAL else "",
    )
