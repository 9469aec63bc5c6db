"""Step 10: the outputs of a job that has ended become results. Safe to run twice."""

from __future__ import annotations

import math
from dataclasses import replace

from batch_queue.aws.bucket import ObjectGoneError
from batch_queue.aws.runtime import Runtime
from batch_queue.aws.telemetry import log
from batch_queue.core import names, outputs, scheduling
from batch_queue.core.rows import ACTIVE, TERMINAL, Job, Status

from .assembly import STEP_SECONDS
from .expiry import expire
from .finish import Finish
from .handover import go_on_collecting
from .on_demand import AtWorkError, OnDemand
from .queue import Queue
from .run import Run
from .settlement import Settlement


class Collector:
    """Settles the chunks of an ended job, and finishes the uploads that have no open chunk left."""

    def __init__(self, queue: Queue, runtime: Runtime) -> None:
        self._queue = queue
        self._work = queue.settings.work_prefix
        self._on_demand = OnDemand(queue, runtime)
        self._finish = Finish(queue)

    def collect(
        self, job_id: str, function_name: str = "", seconds_left: float = math.inf, owner: str = ""
    ) -> bool:
        """Collects one job. Returns False if there is nothing to do (unknown or active).

        A job that runs on demand is run first, by one ``owner`` (an invocation's request id) at a time. If
        ``seconds_left`` is not enough, a new invocation of ``function_name`` continues. For a job that was
        collected before, deletes what a run of it has written too late. Raises the first error of a chunk or
        upload after all were tried.
        """
        run = Run(self._queue.clock, function_name, seconds_left)
        job = self._queue.table.jobs.get(job_id)
        if job is not None and job.instead and job.status in ACTIVE:
            job = self._run_on_demand(job, run, owner)
        if job is None or job.status not in TERMINAL:
            log.info("nothing to collect", extra={"job_id": job_id})
            return False
        written = self._written(job)
        route = self._queue.table.models.routes().get(job.route)
        settlement = Settlement(self._queue, job, written, route)
        again = 0
        for ref in job.chunks:
            if not run.is_out_of_time(STEP_SECONDS):
                again += run.attempt(settlement.settle, ref, job_id=job_id, chunk=ref.file_name) or 0
        ended = {
            upload_id
            for upload_id in job.upload_ids
            if not run.is_out_of_time(STEP_SECONDS)
            and run.attempt(self._finish.upload, upload_id, run, upload_id=upload_id)
        }
        if run.unfinished and not run.errors:
            log.info("collecting continues in another run", extra={"job_id": job_id})
            go_on_collecting(self._queue, job, run.function_name)
        for upload_id in ended:
            run.attempt(expire, self._queue, upload_id, upload_id=upload_id)
        if not run.unfinished and not run.errors:
            job = self._counted(job, written)
            if settlement.referring <= ended:  # else a version before this one left them their parts there
                self._queue.bucket.delete_folder(names.work_folder(self._work, job.job_id))
            if not job.collected_at:
                self._finish_job(job)
        if again:
            self._queue.functions.wake(
                self._queue.settings.process_function, {"reason": "records to run again"}
            )
        run.raise_first()
        return True

    def _run_on_demand(self, job: Job, run: Run, owner: str) -> Job:
        """Runs a job on demand, or leaves it to the run that is at work; returns the job as it is then.

        A run that fails releases its lock. One that dies keeps it until its deadline, but Lambda's retry,
        which has the same request id, takes it over at once. So a run that meets the lock of another ends
        without an error: the other one goes on, or its retry does, or the processor's next request
        (``handover.COLLECT_SECONDS``).
        """
        jobs = self._queue.table.jobs
        if not jobs.start_work(job, self._queue.clock(), run.deadline, owner):
            return job
        try:
            finished = self._on_demand.run(job, run)
        except AtWorkError:
            log.info("another run answers the same records", extra={"job_id": job.job_id})
            return job
        except Exception:
            jobs.stop_work(job, owner)
            raise
        if not finished:
            jobs.stop_work(job, owner)
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
        return self._queue.bucket.keys(names.output_folder(self._work, job.job_id))

    def _counted(self, job: Job, written: set[str]) -> Job:
        """Returns a job with the counts of its manifest, stored before the manifest is deleted."""
        key = names.manifest_key(self._work, job.job_id, job.arn)
        if key not in written:
            return job
        try:
            counts = outputs.manifest(self._queue.bucket.read(key))
        except ObjectGoneError:  # another run has collected the job, and deleted its folder
            return job
        if counts is None:
            return job
        counted = replace(
            job,
            success_count=counts.success,
            error_count=counts.error,
            input_tokens=counts.input_tokens,
            output_tokens=counts.output_tokens,
        )
        self._queue.table.jobs.count(counted)
        return counted

    # --------------------------------------------------------------------------------------- the job's end

    def _finish_job(self, job: Job) -> None:
        now = self._queue.now()
        self._learn(job)
        self._queue.table.jobs.finish(
            replace(job, collected_at=now, updated_at=now, expires_at=self._queue.expires_at())
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
