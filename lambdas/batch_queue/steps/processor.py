"""Step 3: one run at a time holds the lease and repeats its round: hand over, dispatch."""

from __future__ import annotations

from uuid import uuid4

from batch_queue.aws.bedrock import Bedrock, ListedJob
from batch_queue.aws.telemetry import log
from batch_queue.core.rows import Status

from .dispatch import ROUND_SECONDS, Dispatch, Filled
from .handover import hand_over
from .queue import Queue
from .refresh import Refresh
from .run import Run

# An intake that began this long ago has ended, its two retries included.
ENTER_SECONDS = 3600.0
# While it waits for uploads that are still arriving, a run looks for news after so many seconds.
LOOK_SECONDS = 1.0


class Processor:
    """Keeps the slots full. The lease saves work; the conditional writes keep concurrent runs correct."""

    def __init__(self, queue: Queue, bedrock: Bedrock) -> None:
        self._queue = queue
        self._refresh = Refresh(queue, bedrock)
        self._dispatch = Dispatch(queue, bedrock)
        self._listed: list[ListedJob] | None = None

    def heard(self, job_id: str, arn: str, status: Status) -> bool:
        """Stores what an event of Bedrock tells of a job. Returns whether a slot may be free now.

        Raises EventError and BedrockError, so that Lambda repeats the event.
        """
        return self._refresh.by_event(job_id, arn, status)

    def look(self, function_name: str, seconds_left: float) -> None:
        """Finds what no event has told: asks Bedrock about all active jobs, completes queue and orders.

        Raises the first error after everything was tried.
        """
        run = Run(self._queue.clock, function_name, seconds_left)
        self._listed = self._refresh.listed()
        # Without the list, every job is looked up.
        self._refresh.by_list(self._queue.table.jobs.active(), self._listed or (), run)
        for upload_id, since in self._queue.table.uploads.entering().items():
            run.attempt(self._enter, upload_id, since, upload_id=upload_id)
        run.attempt(self._go_on_with_orders)
        run.raise_first()

    def _go_on_with_orders(self) -> None:
        """Has orders carried out whose function has died."""
        if self._queue.table.orders.any():
            self._queue.functions.wake(self._queue.settings.operate_function, {"go_on": ""})

    def run(self, owner: str, function_name: str, seconds_left: float, *, counts: bool = False) -> bool:
        """Runs rounds until none was requested meanwhile. Returns False if another run has the lease.

        ``owner``: the invocation's request id. If ``seconds_left`` is not enough, a new invocation of
        ``function_name`` continues. One job's error does not stop the others; the first error is raised
        after the round. ``counts``: whether long queues are to be counted, by another invocation.
        """
        lease = self._queue.table.lease
        run = Run(self._queue.clock, function_name, seconds_left)
        # Lambda's retry of an event has its request id. So may an event that is delivered twice.
        retry_of, owner = f"{owner}/", f"{owner}/{uuid4().hex}"
        if not lease.acquire(owner, self._queue.clock(), run.deadline, retry_of):
            log.info("another run holds the lease and will run another round")
            return False
        released = False
        try:
            while (filled := self._round(run)) and not run.errors:
                if filled.gathers_until:
                    self._gather(filled.gathers_until, owner, run)
                elif released := lease.release(owner):
                    break
                if run.has_less_than(ROUND_SECONDS):
                    break
        finally:
            if not released:  # so that the next run need not wait until the lease runs out
                lease.drop(owner)
        if counts and self._dispatch.gauges.has_long_queues:
            run.attempt(self._queue.functions.wake, function_name, {"count": True})
        run.raise_first()
        if not released:
            self._queue.functions.wake(run.function_name, {"reason": "time ran out with work left"})
        return True

    def count(self, seconds_left: float) -> None:
        """Counts all that waits, and tells CloudWatch. No round waits for it: it needs no lease."""
        run = Run(self._queue.clock, "", seconds_left)
        self._dispatch.gauges.count(lambda: run.has_less_than(ROUND_SECONDS))

    def _gather(self, until: float, owner: str, run: Run) -> None:
        """Waits for uploads that are still arriving, until then (epoch seconds) or until something is new."""
        while (left := until - self._queue.clock()) > 0 and not run.has_less_than(ROUND_SECONDS):
            self._queue.sleep(min(left, LOOK_SECONDS))
            if self._queue.table.lease.take_mark(owner):
                return

    def _round(self, run: Run) -> Filled | None:
        """Runs one round. Returns None if time ran out before everything that fits was started."""
        jobs = []
        for job in self._queue.table.jobs.active():
            if job.collected_at:  # a collector died right after it had stored this
                self._queue.table.jobs.forget(job.job_id)
                continue
            jobs.append(job)
            run.attempt(hand_over, self._queue, job, job_id=job.job_id)
        listed, self._listed = self._listed, None
        return self._dispatch.run(jobs, run, listed)

    def _enter(self, upload_id: str, since: str) -> None:
        """Enqueues the rest of a large upload whose intake died."""
        table = self._queue.table
        upload = table.uploads.get(upload_id)
        if upload is not None and not upload.ready:
            if self._queue.age(since) < ENTER_SECONDS:
                return
            table.uploads.enqueue(upload)
        table.uploads.entered(upload_id)
