"""Steps 4 and 5: stores the status that Bedrock's events, its list and its look-up tell of a job."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from batch_queue.aws.bedrock import Bedrock, BedrockError, JobState, ListedJob
from batch_queue.aws.pool import at_once
from batch_queue.aws.telemetry import EventError, log
from batch_queue.core import names
from batch_queue.core.rows import ACTIVE, TERMINAL, Job, Status, statuses_before

from .handover import store_end
from .queue import Queue
from .run import Run

# Bedrock does not guarantee that a job can be looked up as soon as it is created.
UNKNOWN_SECONDS = 3600.0
# Bedrock's list has a job that was submitted this long ago.
LISTED_SECONDS = 10.0
UNKNOWN = "Bedrock no longer knows this job."


class Refresh:
    """Keeps the rows of jobs up to date. What it stores is conditional, so it needs no lease."""

    def __init__(self, queue: Queue, bedrock: Bedrock) -> None:
        self._queue = queue
        self._bedrock = bedrock

    def by_event(self, job_id: str, arn: str, status: Status) -> bool:
        """Stores the status that an event tells of a job. Returns whether the job has ended.

        Looks the job up if it has ended, because the event has neither its counts nor when it ended. Raises
        EventError if Bedrock does not say yet that it has, and BedrockError.
        """
        job = self._queue.table.jobs.get(job_id)
        if job is None or job.instead or job.status in TERMINAL:
            return status in TERMINAL
        if not job.arn:  # the run that submitted it has not stored the answer yet, or has died
            if status not in TERMINAL:
                return False
            now = self._queue.now()
            job = replace(job, arn=arn, status=Status.SUBMITTED, submitted_at=now, updated_at=now)
            self._queue.table.jobs.store_arn(job)
        if status not in TERMINAL:
            self._store(job, JobState(status, "", None))
            return False
        fresh = self._look_up(job)
        if fresh.status not in TERMINAL:
            raise EventError(
                f"Bedrock says {fresh.status} of a job, and its event {status}; Lambda tries again"
            )
        return True

    def listed(self) -> list[ListedJob] | None:
        """Returns the active jobs of the account, or None if Bedrock does not list them."""
        try:
            return self._bedrock.active_jobs()
        except BedrockError as error:
            log.warning("cannot list the active jobs of the account: %s", error.code)
            return None

    def by_list(self, jobs: Iterable[Job], listed: Iterable[ListedJob], run: Run) -> list[Job]:
        """Stores the status of active jobs: from Bedrock's list, or looked up if they are not in it.

        Returns the active jobs as they are now. Keeps errors in ``run``. The list is eventually consistent: a
        job that was submitted a moment ago is left as it is.
        """
        statuses = {job.arn: job.status for job in listed}

        def look(job: Job) -> Job:
            if status := statuses.get(job.arn):
                found = run.attempt(self._store, job, JobState(status, "", None), job_id=job.job_id)
            elif self._queue.age(job.submitted_at) > LISTED_SECONDS:
                found = run.attempt(self._look_up, job, job_id=job.job_id)
            else:
                found = None
            return found or job

        return at_once(look, [job for job in jobs if job.status in ACTIVE and not job.instead])

    def _look_up(self, job: Job) -> Job:
        """Looks a job up, stores what changed, and returns the job as it is now. Raises BedrockError."""
        found = self._bedrock.state(job.arn)
        if found is not None:
            return self._store(job, found)
        if self._queue.age(job.submitted_at) < UNKNOWN_SECONDS:
            return job
        return self._store(job, JobState(Status.FAILED, UNKNOWN, None))

    def _store(self, job: Job, found: JobState) -> Job:
        """Stores what changed of a job, has it collected if it has ended, and returns it as it is now."""
        now = self._queue.now()
        fresh = _seen(job, found, now)
        if fresh == job or job.status not in (*statuses_before(fresh.status), fresh.status):
            return job
        fresh = replace(fresh, updated_at=now)
        if fresh.status != job.status:
            log.info("job status", extra={"job_id": job.job_id, "status": fresh.status, "was": job.status})
        if fresh.status in TERMINAL:
            return store_end(self._queue, fresh)
        self._queue.table.jobs.update(fresh)
        return fresh


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
