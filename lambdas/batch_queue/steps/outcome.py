"""Step 10, jobs: what the end of a job means for the records that it did not answer."""

from __future__ import annotations

from batch_queue.core import outputs
from batch_queue.core.rows import Chunk, Job, Route, Status

from .queue import Queue

# A job that expires before it starts has waited for 1 to 7 days (Bedrock's limits): this is 4 to 30 in a row.
UNSTARTED_DAYS = 30


class Outcome:
    """How a job ended. ``wrote``: it has outputs. ``route``: that of its records, None if it was removed."""

    def __init__(self, queue: Queue, job: Job, wrote: bool, route: Route | None) -> None:
        self._queue = queue
        self._job = job
        self._wrote = wrote
        self._route = route

    def may_run_again(self, chunk: Chunk) -> bool:
        """Returns whether the records of a chunk that have no final answer run again."""
        if self._lasting:
            return False
        if not self.ran:
            return self._queue.age(self.unstarted_since(chunk)) < UNSTARTED_DAYS * 86_400
        return chunk.runs + 1 < (self._route.max_record_attempts if self._route else 1)

    @property
    def _lasting(self) -> bool:
        """Returns whether the job ended in a way that another would end in too."""
        if self._job.arn:
            return self._job.status == Status.FAILED and not outputs.passing_failure(self._job.message)
        return self._job.status in (Status.FAILED, Status.REJECTED) and not self._job.unanswered

    @property
    def ran(self) -> bool:
        """Returns whether the job is one of the runs that ``max_record_attempts`` limits.

        A job that was not submitted is none, whether because too few records were left or because Bedrock did
        not answer. Nor is one that expired or failed before it started. A stopped job is one whether it had
        started or not: somebody stopped it, who must be able to get rid of its records.
        """
        job = self._job
        if job.status in (Status.CANCELLED, Status.REJECTED) or not job.arn:
            return False
        if job.status not in (Status.EXPIRED, Status.FAILED):
            return True
        # The job may have started and ended between two looks at it.
        return bool(job.started_at or self._wrote or job.success_count or job.error_count)

    def unstarted_since(self, chunk: Chunk) -> str:
        """Returns when the first job was created of those that have not run the chunk, this one included."""
        return chunk.unstarted_since or self._job.created_at

    @property
    def words(self) -> str:
        """Returns why records that end without an answer do so; "" if nobody said."""
        job = self._job
        if self.ran or self._lasting:
            return job.message
        said = f": {job.message}" if job.message else "."
        return (
            f"Not run: no job with these records has started for {UNSTARTED_DAYS} days. The last one ended "
            f"as {job.status}{said} Upload the records again."
        )

    @property
    def code(self) -> str:
        """Returns the error code of records that the job did not answer."""
        return f"Job{self._job.status}"
