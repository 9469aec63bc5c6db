"""Step 3: one run at a time holds the lease and repeats its round: refresh, hand over, dispatch."""

from __future__ import annotations

from uuid import uuid4

from batch_queue.aws.bedrock import Bedrock
from batch_queue.aws.telemetry import log

from .dispatch import ROUND_SECONDS, Dispatch
from .handover import hand_over
from .queue import Queue
from .refresh import Refresh
from .run import Run

# An intake that began this long ago has ended, its two retries included.
ENTER_SECONDS = 3600.0


class Processor:
    """Keeps the slots full. The lease saves work; the conditional writes keep concurrent runs correct."""

    def __init__(self, queue: Queue, bedrock: Bedrock) -> None:
        self._queue = queue
        self._refresh = Refresh(queue, bedrock)
        self._dispatch = Dispatch(queue, bedrock)

    def run(self, owner: str, function_name: str, seconds_left: float) -> bool:
        """Runs rounds until none was requested meanwhile. Returns False if another run has the lease.

        ``owner``: the invocation's request id. If ``seconds_left`` is not enough, a new invocation of
        ``function_name`` continues. One job's error does not stop the others; the first error is raised
        after the round.
        """
        lease = self._queue.table.lease
        run = Run(self._queue.clock, function_name, seconds_left)
        # Lambda may deliver an event twice with the same request id.
        owner = f"{owner}/{uuid4().hex}"
        if not lease.acquire(owner, self._queue.clock(), run.deadline):
            log.info("another run holds the lease and will run another round")
            return False
        released = False
        try:
            finished = self._round(run)
            while not run.errors and not (released := lease.release(owner)):
                if run.has_less_than(ROUND_SECONDS):
                    finished = False
                    break
                finished = self._round(run)
        finally:
            if not released:  # so that the next run need not wait until the lease runs out
                lease.drop(owner)
        run.raise_first()
        if not finished:
            self._queue.functions.wake(run.function_name, {"reason": "time ran out with work left"})
        return True

    def _round(self, run: Run) -> bool:
        """Runs one round. Returns False if time ran out before everything that fits was started."""
        jobs = [
            run.attempt(self._refresh.job, job, job_id=job.job_id) or job
            for job in self._queue.table.jobs.active()
        ]
        for job in jobs:
            run.attempt(hand_over, self._queue, job, job_id=job.job_id)
        for upload_id, since in self._queue.table.uploads.entering().items():
            run.attempt(self._enter, upload_id, since, upload_id=upload_id)
        return self._dispatch.run(jobs, run)

    def _enter(self, upload_id: str, since: str) -> None:
        """Enqueues the rest of a large upload whose intake died."""
        table = self._queue.table
        upload = table.uploads.get(upload_id)
        if upload is not None and not upload.ready:
            if self._queue.age(since) < ENTER_SECONDS:
                return
            table.uploads.enqueue(upload)
        table.uploads.entered(upload_id)
