"""Orders: what waits of a cancelled upload leaves the queue, and what only its like run is stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice

from batch_queue.aws.bedrock import Bedrock
from batch_queue.aws.pool import at_once
from batch_queue.aws.table.chunks import UnfinishedError
from batch_queue.aws.table.orders import CANCELLED_AT_ONCE, Open
from batch_queue.aws.telemetry import log
from batch_queue.core.records import dataclass
from batch_queue.core.rows import ACTIVE, Chunk, Job, Status, Upload

from .queue import Queue
from .settlement import CANCELLED_CODE


@dataclass(slots=True)
class Cancelled:
    """What has become of a cancelled upload.

    ``taken_out``: records that left the queue. ``in_jobs``: records that jobs have. ``job_ids``: these jobs.
    ``stopped``: the names of those that Bedrock was told to stop. ``is_due``: nothing is left but to end the
    upload.
    """

    order: Open
    taken_out: int = 0
    in_jobs: int = 0
    job_ids: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    is_due: bool = False


class Cancelling:
    """Carries out orders to cancel. Any number of runs may repeat each step."""

    def __init__(self, queue: Queue, bedrock: Bedrock) -> None:
        self._queue = queue
        self._bedrock = bedrock

    def take_out(self, upload: Upload, order: Open, stop: Callable[[], bool]) -> Cancelled:
        """Takes a cancelled upload out of the queue, and keeps what jobs have of it from coming back.

        Raises UnfinishedError if ``stop`` returns True first.
        """
        if not upload.ready and upload.chunks:
            self._queue.table.uploads.enqueue(upload, stop)
        found = Cancelled(order)
        while left := self._take_out(upload, found, stop):
            if all(chunk.cancelled for chunk in left):
                break
        found.in_jobs = sum(chunk.records for chunk in left)
        found.job_ids = tuple(dict.fromkeys(chunk.job_id for chunk in left))
        found.is_due = not left
        log.info("upload cancelled", extra={"upload_id": upload.upload_id, "records": found.taken_out})
        return found

    def stop_jobs(self, cancelled: Sequence[Cancelled]) -> None:
        """Stops the jobs that run nothing but cancelled uploads, after all of these were taken out.

        An order stays open until its upload has ended if nothing of it is left in jobs, and while one of its
        jobs is still being submitted. Raises BedrockError.
        """
        stopped: dict[str, str] = {}
        waiting: set[str] = set()
        for job_id in dict.fromkeys(job_id for one in cancelled for job_id in one.job_ids):
            job = self._queue.table.jobs.get(job_id)
            if job is None or not self._runs_nobody_else(job):
                continue
            if job.status == Status.SUBMITTING:
                waiting.add(job_id)
            elif job.status in ACTIVE and not job.instead:
                if job.status != Status.STOPPING:
                    self._bedrock.stop(job.arn)
                    log.info("job stopped", extra={"job_id": job_id})
                stopped[job_id] = job.job_name
        for one in cancelled:
            one.stopped = tuple(stopped[job_id] for job_id in one.job_ids if job_id in stopped)
            if not one.is_due and not waiting & set(one.job_ids):
                self._queue.table.orders.close(one.order)

    def _take_out(self, upload: Upload, found: Cancelled, stop: Callable[[], bool]) -> list[Chunk]:
        """Ends the chunks that are pending, and marks those that jobs have. Returns those, as they were."""
        orders = self._queue.table.orders
        left: list[Chunk] = []
        chunks = self._queue.table.chunks.open_of(upload)
        while some := list(islice(chunks, CANCELLED_AT_ONCE)):
            if stop():
                raise UnfinishedError
            pending = [chunk for chunk in some if chunk.status == Status.PENDING]
            taken = {chunk.number for chunk in orders.take_out([_ended(chunk) for chunk in pending])}
            found.taken_out += sum(chunk.records for chunk in pending if chunk.number in taken)
            running = [chunk for chunk in some if chunk.number not in taken]
            # One that a job has taken meanwhile is looked at again.
            in_jobs = [chunk for chunk in running if chunk.status != Status.PENDING]
            at_once(orders.mark, [chunk for chunk in in_jobs if not chunk.cancelled])
            left += running
        return left

    def _runs_nobody_else(self, job: Job) -> bool:
        uploads = self._queue.table.uploads.all(self._queue.table.jobs.intent(job.job_id).upload_ids)
        return all(upload.cancelled_at for upload in uploads.values())


def _ended(chunk: Chunk) -> Chunk:
    """Returns a pending chunk as it is when its upload is cancelled: with its last errors, if it has run."""
    errors = Counter(chunk.errors_by_code) + Counter({CANCELLED_CODE: chunk.records})
    parts = (*chunk.parts, *([chunk.last_errors] if chunk.last_errors else []))
    return replace(chunk, status=Status.CANCELLED, message="", parts=parts, errors_by_code=errors)
