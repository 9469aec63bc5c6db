"""Orders: what waits of a cancelled upload leaves the queue, and what only its like run is stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from itertools import islice

from batch_queue.aws.bedrock import Bedrock
from batch_queue.aws.pool import at_once
from batch_queue.aws.table.orders import CANCELLED_AT_ONCE, Open
from batch_queue.aws.telemetry import log
from batch_queue.core.records import dataclass
from batch_queue.core.rows import ACTIVE, Chunk, Job, Status, Upload

from .intake import STORE_SECONDS
from .queue import Queue
from .run import Run
from .settlement import CANCELLED_CODE


@dataclass(slots=True)
class Cancelled:
    """What has become of a cancelled upload.

    ``taken_out``: records that left the queue. ``in_jobs``: records that jobs have, which go on or are
    stopped. ``stopped``: the names of jobs that Bedrock was told to stop. ``waits``: whether a job may still
    have to be stopped. ``is_due``: nothing is left but to end the upload.
    """

    taken_out: int = 0
    in_jobs: int = 0
    stopped: tuple[str, ...] = ()
    waits: bool = False
    is_due: bool = False


class Cancelling:
    """Carries out orders to cancel. Any number of runs may repeat each step."""

    def __init__(self, queue: Queue, bedrock: Bedrock) -> None:
        self._queue = queue
        self._bedrock = bedrock

    def run(self, upload: Upload, order: Open, run: Run) -> Cancelled:
        """Carries out the order to cancel an upload, which its row has.

        The order stays open as long as something is left to do: until the caller has had the upload ended, or
        until all that is left are jobs that are being stopped or that run others. Raises UnfinishedError if
        time runs out first, and BedrockError.
        """
        table = self._queue.table
        if not upload.ready and upload.chunks:
            table.uploads.enqueue(upload, partial(run.has_less_than, STORE_SECONDS))
        found = Cancelled()
        while left := self._take_out(upload, found):
            if all(chunk.cancelled for chunk in left):
                break
        found.in_jobs = sum(chunk.records for chunk in left)
        if left:
            self._stop(dict.fromkeys(chunk.job_id for chunk in left), found)
            if not found.waits:
                table.orders.close(order)
        found.is_due = not left
        log.info("upload cancelled", extra={"upload_id": upload.upload_id, "records": found.taken_out})
        return found

    def _take_out(self, upload: Upload, found: Cancelled) -> list[Chunk]:
        """Ends the chunks that are pending, and marks those that jobs have. Returns those, as they were."""
        orders = self._queue.table.orders
        left: list[Chunk] = []
        chunks = self._queue.table.chunks.open_of(upload)
        while some := list(islice(chunks, CANCELLED_AT_ONCE)):
            pending = [_ended(chunk) for chunk in some if chunk.status == Status.PENDING]
            taken = orders.take_out(pending)
            if taken == len(pending):
                found.taken_out += sum(chunk.records for chunk in pending)
            else:  # a job has taken some of them meanwhile
                left += [chunk for chunk in some if chunk.status == Status.PENDING]
            running = [chunk for chunk in some if chunk.status != Status.PENDING]
            at_once(orders.mark, [chunk for chunk in running if not chunk.cancelled])
            left += running
        return left

    def _stop(self, job_ids: Iterable[str], found: Cancelled) -> None:
        """Stops those jobs all of whose uploads are cancelled."""
        table = self._queue.table
        for job_id in job_ids:
            job = table.jobs.get(job_id)
            if job is None or not self._runs_nobody_else(job):
                continue
            if job.status == Status.SUBMITTING:
                found.waits = True
            elif job.status in ACTIVE and not job.instead:
                if job.status != Status.STOPPING:
                    self._bedrock.stop(job.arn)
                    log.info("job stopped", extra={"job_id": job_id})
                found.stopped = (*found.stopped, job.job_name)

    def _runs_nobody_else(self, job: Job) -> bool:
        uploads = self._queue.table.uploads.all(self._queue.table.jobs.intent(job.job_id).upload_ids)
        return all(upload.cancelled_at for upload in uploads.values())


def _ended(chunk: Chunk) -> Chunk:
    """Returns a pending chunk as it is when its upload is cancelled: with its last errors, if it has run."""
    errors = Counter(chunk.errors_by_code) + Counter({CANCELLED_CODE: chunk.records})
    parts = (*chunk.parts, *([chunk.last_errors] if chunk.last_errors else []))
    return replace(chunk, status=Status.CANCELLED, message="", parts=parts, errors_by_code=errors)
