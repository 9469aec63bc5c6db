"""Step 10: what Bedrock wrote for a finished job becomes one result beside each upload. Safe to run twice."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

from batch_queue.aws.bucket import ObjectGoneError, ObjectRef, Storage
from batch_queue.aws.functions import Functions
from batch_queue.aws.table.uploads import Table
from batch_queue.aws.telemetry import log
from batch_queue.core import outputs as results
from batch_queue.core import reading as jsonl
from batch_queue.core import rows as model
from batch_queue.core.outputs import Manifest, Tally
from batch_queue.core.rows import (
    ACTIVE,
    TERMINAL,
    Chunk,
    ChunkRef,
    Counts,
    Estimate,
    Job,
    Route,
    Status,
    Upload,
)
from batch_queue.core.settings import Settings
from batch_queue.steps.on_demand import OnDemand

# What runs again after a whole job failed waits this long, four times longer after each attempt.
BACKOFF_SECONDS = 60
MAX_BACKOFF_SECONDS = 3600
# What is told of records whose input was deleted before they could run again, and their error code.
GONE = "The object was deleted while it ran: what failed or had no answer by then was not run again."
GONE_CODE = "InputGone"
# How much one finished job changes what was learned of its model.
LEARNING_RATE = 0.3


class Collector:
    """Settles the chunks of a job that has ended, and ends the uploads that have no open chunk left."""

    def __init__(
        self,
        settings: Settings,
        table: Table,
        storage: Storage,
        functions: Functions,
        on_demand: OnDemand,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._table = table
        self._storage = storage
        self._functions = functions
        self._on_demand = on_demand
        self._clock = clock

    def collect(self, job_id: str, function_name: str = "", seconds_left: float = math.inf) -> bool:
        """Collects one job; False where there is nothing to do (unknown, not ended, or collected already).

        A job that is to run on demand is run first; where ``seconds_left`` are not enough for that, it goes
        on in a new invocation of ``function_name``.
        """
        job = self._table.job(job_id)
        if job is not None and job.instead and job.status in ACTIVE:
            job = self._run_on_demand(job, function_name, seconds_left)
        if job is None or job.status not in TERMINAL or job.collected_at:
            log.info("nothing to collect", extra={"job_id": job_id})
            return False
        written = self._written(job)
        routes = self._table.routes()
        again = 0
        errors: list[Exception] = []
        for ref in job.chunks:
            try:
                again += self._settle(job, ref, written, routes.get(job.route))
            except Exception as error:
                log.exception("a chunk is not settled", extra={"job_id": job_id, "chunk": ref.file_name})
                errors.append(error)
        for upload_id in dict.fromkeys(ref.upload_id for ref in job.chunks):
            try:
                self._finish_upload(upload_id)
            except Exception as error:
                log.exception("an upload is not finished", extra={"upload_id": upload_id})
                errors.append(error)
        if not errors:
            self._finish_job(job, self._manifest(job, written))
        if again:
            self._functions.wake(self._settings.process_function, {"reason": "records to run again"})
        if errors:
            raise errors[0]
        return True

    def _run_on_demand(self, job: Job, function_name: str, seconds_left: float) -> Job:
        now = self._clock()
        if not self._table.start_work(job, now, now + seconds_left):
            return job
        finished = False
        try:
            finished = self._on_demand.run(job, now + seconds_left)
        finally:
            if not finished:
                self._table.stop_work(job)
        if not finished:
            self._functions.wake(function_name, {"job_id": job.job_id})
            return job
        ended_at = model.iso(self._clock())
        ended = replace(job, status=Status.COMPLETED, ended_at=ended_at, updated_at=ended_at)
        self._table.update_job(ended)
        return ended

    def _finish_job(self, job: Job, counts: Manifest | None) -> None:
        now = model.iso(self._clock())
        self._learn(job)
        self._table.finish_job(
            replace(
                job,
                collected_at=now,
                updated_at=now,
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
        """Improves the estimate of the model's overhead and rate by a job that ran to its end."""
        if (
            job.instead
            or job.status != Status.COMPLETED
            or not (job.submitted_at and job.started_at and job.ended_at)
        ):
            return
        started = model.epoch(job.started_at)
        overhead = max(0.0, started - model.epoch(job.submitted_at))
        rate = job.records / max(0.1, model.epoch(job.ended_at) - started)
        base = model.base_model(job.model_id)
        known = self._table.estimates().get(base)
        weight = LEARNING_RATE if known else 1.0
        known = known or Estimate()
        self._table.learn(
            base,
            Estimate(
                overhead_seconds=known.overhead_seconds + weight * (overhead - known.overhead_seconds),
                records_per_second=known.records_per_second + weight * (rate - known.records_per_second),
                jobs=known.jobs + 1,
            ),
        )

    # -------------------------------------------------------------------------------------- what was written

    def _written(self, job: Job) -> set[str]:
        """The keys of what Bedrock wrote for a job; none for one that it never had."""
        if not job.arn:
            return set()
        return self._storage.keys(model.output_folder(self._settings.work_prefix, job.job_id))

    def _manifest(self, job: Job, written: set[str]) -> Manifest | None:
        key = model.manifest_key(self._settings.work_prefix, job.job_id, job.arn)
        return results.manifest(self._storage.read(key)) if key in written else None

    # ------------------------------------------------------------------------------------------- chunks

    def _settle(self, job: Job, ref: ChunkRef, written: set[str], route: Route | None) -> int:
        """Settles one chunk of a job; gives how many of its records run again."""
        chunk = self._table.chunk(ref)
        mine = chunk is not None and (chunk.job_id, chunk.attempt) == (job.job_id, ref.attempt)
        if chunk is None or not mine or chunk.status in TERMINAL:
            return 0
        key = model.output_key(self._settings.work_prefix, job.job_id, job.arn, ref.file_name)
        wrote = key in written
        if chunk.gone and not wrote:  # two runs that staged it at once may have found different things
            return self._not_staged(job, chunk)
        if job.status == Status.REJECTED and (chunk.attempt > 1 or self._alone(chunk)):
            return self._reject(chunk, job.message)
        attempts = route.max_record_attempts if route else 1
        lasting = job.status in (Status.FAILED, Status.REJECTED) and not results.passing_failure(job.message)
        # A job that was cancelled before Bedrock had it, for the sake of a neighbour, costs no attempt.
        attempts += job.status == Status.CANCELLED
        may_run_again = chunk.attempt < attempts and not lasting
        try:
            return self._part(job, chunk, key if wrote else "", may_run_again)
        except ObjectGoneError as error:
            if wrote:
                return self._end_without_input(job, chunk, key)
            return self._not_staged(job, replace(chunk, message=error.told, error_code=""))

    def _part(self, job: Job, chunk: Chunk, key: str, may_run_again: bool) -> int:
        """Settles a chunk by its output at ``key`` ("" where there is none); gives how much runs again.

        Raises ObjectGoneError where its input is needed and is not there any more.
        """
        tally = results.tally(self._storage.stream(ObjectRef(key)), may_run_again) if key else Tally()
        if key and not tally.is_of(chunk.records, chunk.ids):
            records = results.unanswered(self._inputs(job, chunk), ())
            known = {jsonl.digest(record["recordId"]) for _, record in records}
            tally = results.tally(self._storage.stream(ObjectRef(key)), may_run_again, known)
        missing = chunk.records - len(tally.seen)
        errors = Counter(chunk.errors_by_code) + tally.errors_by_code
        counts = Counts(tally.success, tally.error, tally.input_tokens, tally.output_tokens)
        if key and not missing and not tally.again and not tally.untidy:
            parts = (*chunk.parts, key)
            done = replace(chunk, status=job.status, message=job.message, parts=parts, errors_by_code=errors)
            self._table.settle_chunk(done, counts)
            return 0
        anything = bool(tally.again) or missing > 0
        return self._sort_out(job, chunk, key, tally, may_run_again and anything)

    def _end_without_input(self, job: Job, chunk: Chunk, key: str) -> int:
        """Ends a chunk by its output alone: what failed or had no answer cannot run again."""
        tally = results.tally(self._storage.stream(ObjectRef(key)), may_run_again=False)
        part = f"{self._settings.work_prefix}{job.job_id}/settled/{chunk.ref.file_name}"
        self._storage.put_stream(part, results.settled(self._storage.stream(ObjectRef(key)), tally.seen))
        missing = max(0, chunk.records - len(tally.seen))
        errors = Counter(chunk.errors_by_code) + tally.errors_by_code + Counter({GONE_CODE: missing})
        parts = (*chunk.parts, part)
        ended = replace(chunk, status=job.status, message=GONE, parts=parts, errors_by_code=errors)
        error = tally.error + missing
        self._table.settle_chunk(ended, Counts(tally.success, error, tally.input_tokens, tally.output_tokens))
        return 0

    def _not_staged(self, job: Job, chunk: Chunk) -> int:
        """Ends a chunk that could not be staged."""
        told = chunk.message
        if chunk.error_code:
            try:
                return self._explain(job, chunk)
            except ObjectGoneError as error:
                told = error.told
        self._table.settle_chunk(replace(chunk, status=Status.CANCELLED, message=told), Counts())
        return 0

    def _explain(self, job: Job, chunk: Chunk) -> int:
        """Ends a chunk with its message on a line for each record. Raises ObjectGoneError."""
        key = f"{self._settings.work_prefix}{job.job_id}/settled/{chunk.ref.file_name}.errors"
        records = results.unanswered(self._source(chunk), ())
        told = (results.error_line(record, chunk.error_code, chunk.message) for _, record in records)
        self._storage.put_stream(key, told)
        errors = Counter(chunk.errors_by_code)
        errors[chunk.error_code] += chunk.records
        parts = (*chunk.parts, key)
        ended = replace(chunk, status=Status.FAILED, parts=parts, errors_by_code=errors)
        self._table.settle_chunk(ended, Counts(error=chunk.records))
        return 0

    def _alone(self, chunk: Chunk) -> bool:
        upload = self._table.upload(chunk.upload_id)
        return upload is not None and upload.chunks == 1

    def _reject(self, chunk: Chunk, message: str) -> int:
        """Ends a chunk that found no company: nothing of it was run, or its last errors stand."""
        if chunk.attempt == 1:
            self._table.settle_chunk(replace(chunk, status=Status.REJECTED, message=message), Counts())
            return 0
        errors = Counter(chunk.errors_by_code)
        errors["not run again"] += chunk.records
        parts = (*chunk.parts, chunk.last_errors)
        ended = replace(chunk, status=Status.FAILED, message=message, parts=parts, errors_by_code=errors)
        self._table.settle_chunk(ended, Counts(error=chunk.records))
        return 0

    def _sort_out(self, job: Job, chunk: Chunk, key: str, tally: Tally, may_run_again: bool) -> int:
        """Parts what stands from what runs again, or from what has no answer at the last attempt."""
        folder, name = f"{self._settings.work_prefix}{job.job_id}", chunk.ref.file_name
        answered = tally.seen - tally.again
        code = f"Job{job.status}"
        words = job.message or f"The job ended as {job.status} before this record was answered."
        left = [0, 0]  # records and bytes that are to run again
        ids: list[int] = []

        def errors() -> Iterator[bytes]:
            if key:
                stream = self._storage.stream(ObjectRef(key))
                yield from results.settled(stream, tally.again)
            for _, record in results.unanswered(self._inputs(job, chunk), tally.seen):
                yield results.error_line(record, code, words)

        def rows() -> Iterator[bytes]:
            for raw, record in results.unanswered(self._inputs(job, chunk), answered):
                left[0] += 1
                left[1] += len(raw) + 1
                ids.append(jsonl.digest(record["recordId"]))
                yield raw + b"\n"

        parts = chunk.parts
        if answered:
            stands = self._storage.stream(ObjectRef(key))
            self._storage.put_stream(f"{folder}/settled/{name}", results.settled(stands, answered))
            parts = (*parts, f"{folder}/settled/{name}")
        counts = Counts(tally.success, tally.error, tally.input_tokens, tally.output_tokens)
        by_code = Counter(chunk.errors_by_code) + tally.errors_by_code
        if not may_run_again:
            missing = chunk.records - len(tally.seen)
            if missing > 0:
                self._storage.put_stream(f"{folder}/settled/{name}.errors", errors())
                parts = (*parts, f"{folder}/settled/{name}.errors")
                by_code[code] += missing
            ended = replace(
                chunk, status=job.status, message=job.message, parts=parts, errors_by_code=by_code
            )
            self._table.settle_chunk(ended, replace(counts, error=counts.error + max(0, missing)))
            return 0
        self._storage.put_stream(f"{folder}/retry/{name}", rows())
        self._storage.put_stream(f"{folder}/retry/{name}.errors", errors())
        failed = job.status == Status.FAILED
        wait = min(MAX_BACKOFF_SECONDS, BACKOFF_SECONDS * 4 ** (chunk.attempt - 1)) if failed else 0
        again = Chunk(
            upload_id=chunk.upload_id,
            number=chunk.number,
            route=chunk.route,
            key=f"{folder}/retry/{name}",
            version_id="",
            etag="",
            start=0,
            end=left[1],
            records=left[0],
            created_at=chunk.created_at,
            ids=jsonl.digest_sum(ids),
            rewrite=chunk.rewrite,
            attempt=chunk.attempt + 1,
            not_before=int(self._clock()) + wait,
            parts=parts,
            last_errors=f"{folder}/retry/{name}.errors",
            errors_by_code=by_code,
        )
        self._table.run_again(again, job.job_id, counts)
        return left[0]

    def _inputs(self, job: Job, chunk: Chunk) -> Iterator[bytes]:
        """The lines that a job was given for a chunk, also where it never got as far as staging them."""
        if job.arn and not job.instead:
            folder = model.input_folder(self._settings.work_prefix, job.job_id)
            return self._storage.stream(ObjectRef(folder + chunk.ref.file_name))
        return self._source(chunk)

    def _source(self, chunk: Chunk) -> Iterator[bytes]:
        """The lines that a chunk is to run, tidied."""
        source = ObjectRef(chunk.key, chunk.version_id, chunk.etag)
        stream = self._storage.stream(source, None if chunk.whole else (chunk.start, chunk.end))
        return jsonl.tidied(stream) if chunk.rewrite else stream

    # ------------------------------------------------------------------------------------------ uploads

    def _finish_upload(self, upload_id: str) -> None:
        """Puts the result in its place and ends the upload, where no chunk of it is open any more."""
        upload = self._table.upload(upload_id)
        if upload is None or upload.chunks_open or upload.status in TERMINAL:
            return
        chunks = self._table.chunks(upload)
        if any(chunk.status not in TERMINAL for chunk in chunks):
            raise RuntimeError(f"upload {upload_id} has no open chunk, but one that has not ended")
        errors: Counter[str] = sum((Counter(chunk.errors_by_code) for chunk in chunks), Counter())
        status = results.upload_status(
            upload.records, upload.success_count, (chunk.status for chunk in chunks)
        )
        settings = self._settings
        key = model.result_key(upload.key, settings.input_prefix, settings.output_prefix)
        parts = [part for chunk in chunks for part in chunk.parts]
        version = self._storage.concatenate(parts, key) if parts else None
        now = model.iso(self._clock())
        ended = replace(
            upload,
            status=status,
            message=results.upload_message(
                upload.records, upload.success_count, errors, (chunk.message for chunk in chunks)
            ),
            result_key=key if version is not None else "",
            result_version_id=version or "",
            updated_at=now,
            ended_at=now,
        )
        if status == Status.REJECTED:
            ended = replace(
                ended, message=chunks[0].message, result_key=self._report(ended, chunks[0].message)
            )
        self._summarise(ended, chunks, errors)
        self._table.finish_upload(ended)
        log.info("upload ended", extra={"upload_id": upload_id, "key": upload.key, "status": status})

    def _report(self, upload: Upload, reason: str) -> str:
        """Writes beside the upload why it was not run; gives the report's key."""
        settings = self._settings
        key = model.report_key(upload.key, settings.input_prefix, settings.output_prefix)
        self._storage.put_json(key, model.rejection(upload, reason, 1, [{"line": 0, "reason": reason}]))
        return key

    def _summarise(self, upload: Upload, chunks: list[Chunk], errors: Counter[str]) -> None:
        settings = self._settings
        document: dict[str, Any] = {
            "upload_id": upload.upload_id,
            "key": upload.key,
            "version_id": upload.version_id,
            "route": upload.route,
            "status": upload.status,
            "message": upload.message,
            "records": upload.records,
            "successes": upload.success_count,
            "errors": upload.error_count,
            "errors_by_code": dict(sorted(errors.items())),
            "attempts": max(chunk.attempt for chunk in chunks),
            "chunks": len(chunks),
            "jobs": sorted(upload.job_arns),
            "input_tokens": upload.input_tokens,
            "output_tokens": upload.output_tokens,
            **self._cost(upload),
            "created_at": upload.created_at,
            "ended_at": upload.ended_at,
            "result": {"key": upload.result_key, "version_id": upload.result_version_id},
        }
        key = model.summary_key(upload.key, settings.input_prefix, settings.output_prefix)
        self._storage.put_json(key, document)

    def _cost(self, upload: Upload) -> dict[str, str]:
        """What the tokens of an upload cost by the prices of its route, or nothing where it has none."""
        route = self._table.routes().get(upload.route)
        if route is None or not (route.input_price and route.output_price):
            return {}
        million = Decimal(1_000_000)
        cost = (
            Decimal(route.input_price) * upload.input_tokens
            + Decimal(route.output_price) * upload.output_tokens
        )
        return {"cost": f"{cost / million:.6f}"}
