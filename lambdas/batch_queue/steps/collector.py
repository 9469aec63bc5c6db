"""Step 10: the outputs of a job that has ended become results. Safe to run twice."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from batch_queue.aws.bucket import PUT_PART_BYTES, ObjectGoneError
from batch_queue.aws.pool import at_once, by_size
from batch_queue.aws.runtime import Runtime
from batch_queue.aws.table.chunks import Closing
from batch_queue.aws.telemetry import count, log
from batch_queue.core import names, outputs, reports, scheduling
from batch_queue.core.objects import ObjectRef
from batch_queue.core.rows import ACTIVE, TERMINAL, Chunk, Counts, Intent, Job, Route, Status

from .assembly import STEP_SECONDS
from .finish import READ_AT_ONCE, Finish
from .handover import go_on_collecting
from .on_demand import AtWorkError, OnDemand
from .queue import Queue
from .run import Run
from .settlement import Settlement, is_open


class Collector:
    """Settles the chunks of an ended job, and finishes the uploads that have no open chunk left."""

    def __init__(self, queue: Queue, runtime: Runtime) -> None:
        self._queue = queue
        self._work = queue.settings.work_prefix
        self._on_demand = OnDemand(queue, runtime)

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
        intent = self._queue.table.jobs.intent(job_id)
        there = self._there(job, intent)
        written = self._written(job, there)
        routes = self._queue.table.models.routes()
        settlement = Settlement(self._queue, job, written, routes.get(job.route))
        again = self._settle(intent, settlement, run, job_id)
        self._count(job, settlement.counts, routes.get(job.route))
        # Another run may still write an answer on demand.
        sizes = {} if job.instead else written
        ended = Finish(self._queue, routes, sizes).uploads(intent.upload_ids, run)
        if run.unfinished and not run.errors:
            log.info("collecting continues in another run", extra={"job_id": job_id})
            go_on_collecting(self._queue, job, run.function_name)
        if not run.unfinished and not run.errors:
            job = self._counted(job, written)
            if settlement.referring <= ended:  # else a version before this one left them their parts there
                self._clear(job, there, settlement)
            if not job.collected_at:
                self._finish_job(job, len(intent.chunks))
        if again:
            self._queue.wake_processor("records to run again")
        run.raise_first()
        return True

    def end(self, upload_ids: Sequence[str], function_name: str, seconds_left: float) -> None:
        """Ends those of these uploads that have no open chunk, as an order has left them.

        If ``seconds_left`` is not enough, a new invocation of ``function_name`` continues. Raises the first
        error after all were tried.
        """
        run = Run(self._queue.clock, function_name, seconds_left)
        Finish(self._queue, self._queue.table.models.routes(), {}).uploads(upload_ids, run)
        run.raise_first()
        if run.unfinished:
            self._queue.functions.wake(function_name, {"upload_ids": list(upload_ids)})

    def _count(self, job: Job, counts: Counts, route: Route | None) -> None:
        """Counts the records and tokens of attempts that this run has closed. ``route``: for the prices."""
        if counts == Counts():
            return
        cost = reports.cost(route, counts.input_tokens, counts.output_tokens)
        values = {
            "RecordsSucceeded": counts.success,
            "RecordsFailed": counts.error,
            "InputTokens": counts.input_tokens,
            "OutputTokens": counts.output_tokens,
            **({} if cost is None else {"Cost": float(cost)}),
        }
        count(self._queue.settings.name, values, job.route)

    def _settle(self, intent: Intent, settlement: Settlement, run: Run, job_id: str) -> bool:
        """Settles the chunks of a job, as long as there is time. Returns whether any records run again."""
        again = False
        for at in range(0, len(intent.chunks), READ_AT_ONCE):
            if run.is_out_of_time(STEP_SECONDS):
                break
            chunks = run.attempt(settlement.open, intent.chunks[at : at + READ_AT_ONCE], job_id=job_id)

            def prepare(chunk: Chunk) -> Closing | None:
                if run.is_out_of_time(STEP_SECONDS):
                    return None
                return run.attempt(settlement.prepare, chunk, job_id=job_id, chunk=chunk.ref.file_name)

            closings = [found for found in by_size(prepare, chunks or (), settlement.size) if found]
            # One upload's side by side would only meet in its row.
            by_upload: dict[str, list[Closing]] = {}
            for closing in closings:
                by_upload.setdefault(closing.chunk.upload_id, []).append(closing)

            def close(some: list[Closing]) -> None:
                run.attempt(settlement.close, some, job_id=job_id, upload_id=some[0].chunk.upload_id)

            at_once(close, by_upload.values())
            again |= not all(closing.ends for closing in closings)
        return again

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

    def _there(self, job: Job, intent: Intent) -> dict[str, int]:
        """Returns key → size in bytes of the objects in a job's folder.

        S3 lists them, which costs as much as 12 other requests. It need not if the job has one chunk, a whole
        object that one run has copied and the job has answered: Bedrock's documentation says where.
        """
        if job.status == Status.COMPLETED and not job.instead and len(intent.chunks) == job.tries == 1:
            (ref,) = intent.chunks
            chunk = self._queue.table.chunks.get(ref)
            if chunk and chunk.whole and not chunk.rewrite and not chunk.gone and is_open(chunk, ref, job):
                staged = names.input_folder(self._work, job.job_id) + ref.file_name
                output = names.output_key(self._work, job.job_id, job.arn, ref.file_name)
                with suppress(ObjectGoneError):
                    size = self._queue.bucket.size(ObjectRef(output))
                    manifest = names.manifest_key(self._work, job.job_id, job.arn)
                    return {staged: chunk.end, output: size, manifest: 0}
        return self._queue.bucket.sizes_below(names.work_folder(self._work, job.job_id))

    def _written(self, job: Job, there: Mapping[str, int]) -> dict[str, int]:
        """Returns key → size of a job's outputs in its folder. A job that was never submitted has none."""
        folder = names.output_folder(self._work, job.job_id)
        return {key: size for key, size in there.items() if job.arn and key.startswith(folder)}

    def _clear(self, job: Job, there: Mapping[str, int], settlement: Settlement) -> None:
        """Deletes the folder of a job that is collected; ``there``: key → size of its objects at first.

        What a run that was ended left of an object in parts is looked for where there can be any.
        """
        in_parts = max(there.values(), default=0) > PUT_PART_BYTES
        if job.instead or in_parts or settlement.in_parts:
            self._queue.bucket.delete_folder(names.work_folder(self._work, job.job_id))
        else:
            self._queue.bucket.delete(list(there))

    def _counted(self, job: Job, written: Collection[str]) -> Job:
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

    def _finish_job(self, job: Job, chunks: int) -> None:
        now = self._queue.now()
        self._learn(job)
        self._queue.table.jobs.finish(
            replace(job, collected_at=now, updated_at=now, expires_at=self._queue.expires_at())
        )
        log.info("job collected", extra={"job_id": job.job_id, "status": job.status, "chunks": chunks})

    def _learn(self, job: Job) -> None:
        """Updates the estimate of the model's overhead and rate from a completed job."""
        if not scheduling.tells_its_times(job):
            return
        base = names.base_model(job.model_id)
        known = self._queue.table.models.estimates().get(base)
        self._queue.table.models.learn(base, scheduling.learned(known, job))
