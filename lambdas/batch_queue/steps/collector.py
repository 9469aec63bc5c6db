"""Step 10: the outputs of a job that has ended become results. Safe to run twice."""

from __future__ import annotations

import math
from dataclasses import replace

from batch_queue.aws.runtime import Runtime
from batch_queue.aws.telemetry import log
from batch_queue.core import names, outputs, scheduling
from batch_queue.core.outputs import Manifest
from batch_queue.core.rows import ACTIVE, TERMINAL, Job, Status

from .expiry import expire
from .finish import Finish
from .on_demand import OnDemand
from .queue import Queue
from .run import Run
from .settlement import Settlement


class Collector:
    """Settles the chunks of an ended job, and finishes the uploads that have no open chunk left."""

    def __init__(self, queue: Queue, runtime: Runtime) -> None:
        self._queue = queue
        self._on_demand = OnDemand(queue, runtime)
        self._finish = Finish(queue)

    def collect(self, job_id: str, function_name: str = "", seconds_left: float = math.inf) -> bool:
        """Collects one job. Returns False if there is nothing to do (unknown, active, or collected before).

        A job that runs on demand is run first. If ``seconds_left`` is not enough, a new invocation of
        ``function_name`` continues. Raises the first error of a chunk or upload after all were tried.
        """
        run = Run(self._queue.clock, function_name, seconds_left)
        job = self._queue.table.jobs.get(job_id)
        if job is not None and job.instead and job.status in ACTIVE:
            job = self._run_on_demand(job, run)
        if job is None or job.status not in TERMINAL or job.collected_at:
            log.info("nothing to collect", extra={"job_id": job_id})
            return False
        written = self._written(job)
        route = self._queue.table.models.routes().get(job.route)
        settlement = Settlement(self._queue, job, written, route)
        again = sum(
            run.attempt(settlement.settle, ref, job_id=job_id, chunk=ref.file_name) or 0 for ref in job.chunks
        )
        for upload_id in job.upload_ids:
            run.attempt(self._finish.upload, upload_id, upload_id=upload_id)
            run.attempt(expire, self._queue, upload_id, upload_id=upload_id)
        if not run.errors:
            self._finish_job(job, self._manifest(job, written))
        if again:
            self._queue.functions.wake(
                self._queue.settings.process_function, {"reason": "records to run again"}
            )
        run.raise_first()
        return True

    def _run_on_demand(self, job: Job, run: Run) -> Job:
        jobs = self._queue.table.jobs
        if not jobs.start_work(job, self._queue.clock(), run.deadline):
            return job
        finished = False
        try:
            finished = self._on_demand.run(job, run)
        finally:
            if not finished:
                jobs.stop_work(job)
        if not finished:
            self._queue.functions.wake(run.function_name, {"job_id": job.job_id})
            return job
        now = self._queue.now()
        ended = replace(job, status=Status.COMPLETED, ended_at=now, updated_at=now)
        jobs.update(ended)
        return ended

    # -------------------------------------------------------------------------------- what Bedrock wrote

    def _written(self, job: Job) -> set[str]:
        """Returns the keys of a job's outputs. A job that was never submitted has none."""
        if not job.arn:
            return set()
        return self._queue.bucket.keys(names.output_folder(self._queue.settings.work_prefix, job.job_id))

    def _manifest(self, job: Job, written: set[str]) -> Manifest | None:
        key = names.manifest_key(self._queue.settings.work_prefix, job.job_id, job.arn)
        return outputs.manifest(self._queue.bucket.read(key)) if key in written else None

    # --------------------------------------------------------------------------------------- the job's end

    def _finish_job(self, job: Job, counts: Manifest | None) -> None:
        now = self._queue.now()
        self._learn(job)
        self._queue.table.jobs.finish(
            replace(
                job,
                collected_at=now,
                updated_at=now,
                expires_at=self._queue.expires_at(),
                success_count=counts.success if counts else job.success_count,
                error_count=counts.error if counts else job.error_count,
                input_tokens=counts.input_tokens if counts else 0,
                output_tokens=counts.output_tokens if counts else 0,
            )
        )
        log.info(
            "job collected", extra={"job_id": job.job_id, "status": job.status, "chunks": len(job.chunks)}
        )

    def _learn(self, job: Job) -> None:
        """Updates the estimate of the model's overhead and rate from a completed job."""
        if not scheduling.tells_its_times(job):
            return
        base = names.base_model(job.model_id)
        known = self._queue.table.models.estimates().get(base)
        self._queue.table.models.learn(base, scheduling.learned(known, job))
