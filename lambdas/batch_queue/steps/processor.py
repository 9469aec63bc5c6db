"""Steps 3 to 9: lease → refresh → settle → dispatch → release, or round again if woken meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import uuid4

from batch_queue.aws.bedrock import Accepted, Bedrock, BedrockError, ListedJob, NotNow
from batch_queue.aws.bucket import ObjectDeniedError, ObjectGoneError, ObjectRef, Storage
from batch_queue.aws.functions import Functions
from batch_queue.aws.table.uploads import Table
from batch_queue.aws.telemetry import emit_metrics, log
from batch_queue.core import media, scheduling
from batch_queue.core import reading as jsonl
from batch_queue.core import rows as model
from batch_queue.core.rows import (
    ACTIVE,
    ON_DEMAND,
    ON_DEMAND_ARN,
    TERMINAL,
    Chunk,
    ChunkRef,
    Estimate,
    Job,
    Place,
    Route,
    Status,
)
from batch_queue.core.scheduling import Running, Waiting
from batch_queue.core.settings import Settings

T = TypeVar("T")

# A run that has less time than this left does not start another round.
ROUND_SECONDS = 60.0
# What may heal (access denied, by Bedrock or S3) is tried again by later runs until the job is this old.
HEALING_SECONDS = 600.0
# Bedrock does not promise that a job can be looked up as soon as it is made.
UNKNOWN_SECONDS = 3600.0
# A job that cannot be submitted for an unexpected reason is given up when it is this old.
GIVE_UP_SECONDS = 24 * 3600.0
# How many of the uploads that have waited longest are told why.
TOLD_UPLOADS = 100
# An intake that began this long ago, and was tried again twice, has ended one way or another.
ENTER_SECONDS = 3600.0
# A collector that was asked this long ago has ended one way or another: its time-out is 900 s.
COLLECT_SECONDS = 960.0
_SHOWN = 500  # characters of what S3 says


class MediaError(Exception):
    """Objects that a chunk links to cannot be copied; the text is for the user."""


@dataclass(frozen=True, slots=True)
class Run:
    """One invocation: who it is, its own function's name, and when its time is up (epoch seconds)."""

    owner: str
    function_name: str
    deadline: float


class Processor:
    """Keeps the slots full. Any number may run at once: the lease saves waste, the writes keep it right."""

    def __init__(
        self,
        settings: Settings,
        table: Table,
        storage: Storage,
        bedrock: Bedrock,
        functions: Functions,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._table = table
        self._storage = storage
        self._bedrock = bedrock
        self._functions = functions
        self._clock = clock

    def run(self, owner: str, function_name: str, seconds_left: float) -> bool:
        """Runs rounds until nobody has woken it meanwhile; False where another run holds the lease.

        ``owner`` tells this invocation from all others; it may run for ``seconds_left`` and goes on in a new
        invocation of ``function_name`` where that is not enough. One job's error does not stop the others;
        the first error is raised after the round.
        """
        # Lambda may deliver one event twice, under one request id.
        run = Run(f"{owner}/{uuid4().hex}", function_name, self._clock() + seconds_left)
        if not self._table.acquire_lease(run.owner, self._clock(), run.deadline):
            log.info("another run holds the lease and was told to go round again")
            return False
        errors: list[Exception] = []
        released = False
        try:
            finished = self._round(run, errors)
            while not errors and not (released := self._table.release_lease(run.owner)):
                if self._short_of_time(run):
                    finished = False
                    break
                finished = self._round(run, errors)
        finally:
            if not released:  # so that the next run need not wait until the lease runs out
                self._table.drop_lease(run.owner)
        if errors:
            raise errors[0]
        if not finished:
            self._functions.wake(run.function_name, {"reason": "time was up with work left"})
        return True

    def _short_of_time(self, run: Run) -> bool:
        return self._clock() + ROUND_SECONDS > run.deadline

    def _round(self, run: Run, errors: list[Exception]) -> bool:
        """One round; False where time was up before everything that could be started was started."""
        jobs = [
            self._guarded(errors, self.refresh, job, job_id=job.job_id) or job
            for job in self._table.active_jobs()
        ]
        for job in jobs:
            self._guarded(errors, self.settle, job, job_id=job.job_id)
        for upload_id, since in self._table.entering().items():
            self._guarded(errors, self._enter, upload_id, since, upload_id=upload_id)
        return self._dispatch(jobs, run, errors)

    def _enter(self, upload_id: str, since: str) -> None:
        """Puts what an intake that died has left of a large upload into the queue."""
        upload = self._table.upload(upload_id)
        if upload is not None and not upload.ready:
            if self._clock() - model.epoch(since) < ENTER_SECONDS:
                return
            self._table.enqueue_chunks(upload, self._table.chunks(upload))
        self._table.entered(upload_id)

    def _guarded(
        self, errors: list[Exception], step: Callable[..., T], *arguments: object, **about: str
    ) -> T | None:
        """Runs a step for one job or upload: its error is kept for the end and does not stop the others."""
        try:
            return step(*arguments)
        except Exception as error:
            log.exception("a step failed", extra={**about, "step": step.__name__})
            errors.append(error)
            return None

    # ------------------------------------------------------------------------------- steps 4 to 6: refresh

    def refresh(self, job: Job) -> Job:
        """Looks up a job that is active at Bedrock and stores what changed, for its uploads too."""
        if job.status not in ACTIVE or job.instead:
            return job
        found = self._bedrock.state(job.arn)
        now = model.iso(self._clock())
        if found is None and self._clock() - model.epoch(job.submitted_at) < UNKNOWN_SECONDS:
            return job
        if found is None:
            gone = "Bedrock does not know this job any more."
            fresh = replace(job, status=Status.FAILED, message=gone, ended_at=now)
        else:
            ended_at = model.iso(found.ended_at.timestamp()) if found.ended_at else now
            fresh = replace(
                job,
                status=found.status,
                message=found.message,
                success_count=job.success_count if found.success_count is None else found.success_count,
                error_count=job.error_count if found.error_count is None else found.error_count,
                started_at=job.started_at or (now if found.status == Status.IN_PROGRESS else ""),
                ended_at=ended_at if found.status in TERMINAL else "",
            )
        if fresh == job:
            return job
        fresh = replace(fresh, updated_at=now)
        self._table.update_job(fresh)
        if fresh.status != job.status:
            log.info("job status", extra={"job_id": job.job_id, "status": fresh.status, "was": job.status})
            if fresh.status in ACTIVE:
                self._advance_uploads(fresh)
        return fresh

    def _advance_uploads(self, job: Job, arn: str = "") -> None:
        for upload_id in dict.fromkeys(ref.upload_id for ref in job.chunks):
            self._table.advance_upload(upload_id, job.status, job.updated_at, arn)

    # ------------------------------------------------------------------------------------------- settle

    def settle(self, job: Job) -> None:
        """Has the collector collect a job that has ended, or run one on demand.

        A request that got lost is made again later.
        """
        now = self._clock()
        if job.status not in TERMINAL and not (job.instead and job.status in ACTIVE):
            return
        if self._table.request_collect(job, model.iso(now), model.iso(now - COLLECT_SECONDS)):
            try:
                self._functions.wake(self._settings.collect_function, {"job_id": job.job_id})
            except Exception:
                self._table.withdraw_collect(job, model.iso(now))
                raise

    # ---------------------------------------------------------------------------- steps 7 to 9: dispatch

    def _dispatch(self, jobs: list[Job], run: Run, errors: list[Exception]) -> bool:
        """Submits what earlier runs left unsubmitted, then fills the free slots with pending chunks."""
        full: set[str] = set()  # base models that take no more jobs in this round
        known = {job.job_id: job for job in jobs}
        routes = self._table.routes()
        unsubmitted = [job for job in jobs if job.status == Status.SUBMITTING]
        pending = self._pending(routes, self._ours(jobs, {}))
        # Whose slots are taken matters only where there is something to start.
        others = self._others(jobs) if unsubmitted or any(pending.values()) else []

        def submit(job: Job) -> None:
            result = self._guarded(errors, self.submit, job, job_id=job.job_id)
            known[job.job_id] = result or self._gave_up(job)
            if result is not None and result.status == Status.SUBMITTING:
                full.add(model.base_model(job.model_id))

        for job in unsubmitted:
            if job.instead or self._has_slot(job, known.values(), others, routes):
                submit(job)
        estimates = self._table.estimates()
        running = [*self._ours(known.values(), estimates), *others]
        pending = {
            name: places
            for name, places in pending.items()
            if scheduling.room(routes[name], routes.values(), running)
        }
        plan = scheduling.plan(pending, routes, running, estimates, self._clock())
        for new in plan.jobs:
            if model.base_model(new.route.model_id) in full:
                continue
            if self._short_of_time(run):
                return False
            job = self._new_job(new.chunks, new.route)
            if self._table.add_job(job):
                submit(job)
        for waiting in plan.waiting:
            self._tell(waiting)
        for few in plan.undersized:
            job = self._undersized(few)
            if self._table.add_job(job):
                submit(job)
        self._measure(known.values(), routes)
        return True

    def _pending(self, routes: Mapping[str, Route], running: list[Running]) -> dict[str, list[Place]]:
        """The head of each route's queue, as much as the slots could take that ``running`` leaves free."""
        return {
            # What is left behind the last job is to be enough for another: else it would seem to be alone.
            name: self._table.pending(
                name,
                room * route.max_records_per_job + route.min_records_per_job,
                (room + 1) * scheduling.most_chunks(route),
                self._clock(),
            )
            for name, route in routes.items()
            if (room := scheduling.room(route, routes.values(), running))
        }

    def _tell(self, waiting: Waiting) -> None:
        """Says in the rows of the uploads what they wait for."""
        least = waiting.route.min_records_per_job
        until = datetime.fromtimestamp(waiting.until, UTC).strftime("%H:%M UTC")
        message = f"waiting: {waiting.records:,} of {least:,} records, until {until}"
        for upload_id in dict.fromkeys(place.ref.upload_id for place in waiting.places):
            self._table.note(upload_id, message)

    def _undersized(self, few: Waiting) -> Job:
        """The job that stands for chunks which have waited for company in vain; Bedrock never has it."""
        minutes, least = few.route.pack_wait_minutes, few.route.min_records_per_job
        told = (
            f"{few.records:,} records are fewer than the {least:,} that Bedrock asks for in a batch job, "
            f"and no others came within {minutes} minutes. Upload them together with more."
        )
        rejected = few.route.undersized != ON_DEMAND
        job = self._new_job(tuple(place.ref for place in few.places), few.route)
        return replace(job, instead=few.route.undersized, message=told if rejected else "")

    def _has_slot(
        self, job: Job, known: Iterable[Job], others: Iterable[Running], routes: Mapping[str, Route]
    ) -> bool:
        """Whether a job that an earlier run left unsubmitted has a slot now: foreign jobs may have come."""
        base = model.base_model(job.model_id)
        active = [Running(one.model_id) for one in known if one.status in ACTIVE and not one.instead]
        taken = sum(model.base_model(one.model_id) == base for one in (*active, *others))
        return taken < scheduling.model_limits(routes.values()).get(base, taken + 1)

    def _gave_up(self, job: Job) -> Job:
        """A job that could not be submitted for an unexpected reason: ended where that goes on too long."""
        if self._clock() - model.epoch(job.created_at) < GIVE_UP_SECONDS:
            return job
        told = "The job could not be submitted for a day: the log of process_batch_jobs says why."
        return self._end(replace(job, message=told), Status.FAILED)

    def _ours(self, jobs: Iterable[Job], estimates: Mapping[str, Estimate]) -> list[Running]:
        return [
            Running(job.model_id, job.route, self._ends_in(job, estimates))
            for job in jobs
            if not job.instead and (job.status == Status.SUBMITTING or job.status in ACTIVE)
        ]

    def _others(self, jobs: Iterable[Job]) -> list[Running]:
        """Every active job of the account that is not one of ours, from Bedrock's list."""
        ours = {job.job_name for job in jobs}
        try:
            listed = [job for job in self._bedrock.active_jobs() if job.name not in ours]
        except BedrockError as error:
            # Slots are then counted by our own jobs alone; the quota's own answer catches what is too many.
            log.warning("active jobs of the account cannot be listed: %s", error.code)
            listed = []
        return [Running(job.model_id) for job in listed if self._counts(job)]

    def _ends_in(self, job: Job, estimates: Mapping[str, Estimate]) -> float:
        """In how many seconds a job of ours is expected to end, by what was learned of its model."""
        estimate = estimates.get(model.base_model(job.model_id), Estimate())
        takes = estimate.overhead_seconds + job.records / estimate.records_per_second
        return max(0.0, model.epoch(job.submitted_at or job.created_at) + takes - self._clock())

    def _counts(self, listed: ListedJob) -> bool:
        """Whether a listed job that is not one of our open ones is active: the list may lag behind."""
        job_id = model.job_id_of(self._settings.name, listed.name)
        job = self._table.job(job_id) if job_id else None
        return job is None or job.status not in TERMINAL

    def _new_job(self, refs: tuple[ChunkRef, ...], route: Route) -> Job:
        job_id = model.job_id(refs)
        now = model.iso(self._clock())
        return Job(
            job_id=job_id,
            job_name=model.job_name(self._settings.name, job_id),
            route=route.name,
            model_id=route.model_id,
            status=Status.SUBMITTING,
            chunks=refs,
            request=self._request(job_id, route),
            created_at=now,
            updated_at=now,
            records=sum(ref.records for ref in refs),
        )

    def _request(self, job_id: str, route: Route) -> dict[str, Any]:
        """The parameters of CreateModelInvocationJob; the job's id is its client token and in its name."""
        settings = self._settings
        bucket, work = f"s3://{settings.bucket}/", settings.work_prefix
        output: dict[str, Any] = {"s3Uri": bucket + model.output_folder(work, job_id)}
        if settings.kms_key_arn:
            output["s3EncryptionKeyId"] = settings.kms_key_arn
        request: dict[str, Any] = {
            "jobName": model.job_name(settings.name, job_id),
            "clientRequestToken": job_id,
            "roleArn": settings.role_arn,
            "modelId": route.model_id,
            "inputDataConfig": {
                "s3InputDataConfig": {
                    "s3Uri": bucket + model.input_folder(work, job_id),
                    "s3InputFormat": "JSONL",
                }
            },
            "outputDataConfig": {"s3OutputDataConfig": output},
        }
        if route.invocation_type != "InvokeModel":  # the default; older endpoints do not know the parameter
            request["modelInvocationType"] = route.invocation_type
        if route.timeout_hours is not None:
            request["timeoutDurationInHours"] = route.timeout_hours
        if settings.job_vpc:
            request["vpcConfig"] = dict(settings.job_vpc)
        if route.tags:
            request["tags"] = [{"key": key, "value": value} for key, value in sorted(route.tags.items())]
        return request

    def submit(self, job: Job) -> Job:
        """Claims, stages and submits a job, or goes on where an earlier run stopped; gives the job as it is.

        Still Submitting: Bedrock would not have it now. Every step may be repeated by any number of runs.
        """
        if not job.sealed:
            job = self._seal(job)
        if job.status != Status.SUBMITTING:
            return job
        if job.instead:
            return self._begin_on_demand(job) if job.instead == ON_DEMAND else self._end(job, Status.REJECTED)
        try:
            answer = self._bedrock.submit(job.request)
        except BedrockError as error:
            self._waits(replace(job, message=error.words, updated_at=model.iso(self._clock())))
            raise
        now = model.iso(self._clock())
        if isinstance(answer, Accepted):
            job = replace(job, arn=answer.arn, status=Status.SUBMITTED, submitted_at=now, updated_at=now)
            self._table.store_arn(job)
            self._advance_uploads(job, answer.arn)
            log.info("job submitted", extra={"job_id": job.job_id, "arn": job.arn, "records": job.records})
            return job
        if isinstance(answer, NotNow):
            log.info("Bedrock takes no more jobs of this model now", extra={"job_id": job.job_id})
            return self._waits(replace(job, message=answer.reason, updated_at=now))
        healing = answer.may_heal and self._clock() - model.epoch(job.created_at) < HEALING_SECONDS
        job = replace(job, message=answer.message, updated_at=now)
        if healing:
            log.warning("Bedrock denied a job; a later run tries again", extra={"job_id": job.job_id})
            return self._waits(job)
        log.error("Bedrock refused a job", extra={"job_id": job.job_id})
        return self._end(job, Status.FAILED)

    def _begin_on_demand(self, job: Job) -> Job:
        """Hands a job over to the collector, which asks the model about each of its records."""
        now = model.iso(self._clock())
        begun = replace(job, arn=ON_DEMAND_ARN, status=Status.IN_PROGRESS, submitted_at=now, updated_at=now)
        self._table.store_arn(begun)
        self._advance_uploads(begun)
        self.settle(begun)
        return begun

    def _waits(self, job: Job) -> Job:
        """Stores why a job cannot be submitted now, where the user looks too."""
        self._table.update_job(job)
        for upload_id in dict.fromkeys(ref.upload_id for ref in job.chunks):
            self._table.note(upload_id, f"waiting: {job.message}")
        return job

    def _denied(self, job: Job, key: str, error: ObjectDeniedError) -> str:
        """What a user is to know of an upload that S3 does not let us read. Raises the error at first."""
        told = (
            f"S3 denied access to {key} ({str(error)[:_SHOWN]}). Let the role of process_batch_jobs read it "
            "and write below the work prefix, with their keys"
        )
        if self._clock() - model.epoch(job.created_at) < HEALING_SECONDS:
            self._waits(replace(job, message=f"{told}.", updated_at=model.iso(self._clock())))
            raise error
        return f"Not run: {told}, then upload it again."

    def _seal(self, job: Job) -> Job:
        """Claims the job's chunks and stages those that it got; then the list of chunks is final."""
        got: list[ChunkRef] = []
        staged = 0
        folder = model.input_folder(self._settings.work_prefix, job.job_id)
        there = self._storage.keys(folder)  # of a run that was cut short
        for ref in job.chunks:
            if chunk := self._claim(ref, job):
                got.append(ref)
                ready = job.instead or folder + ref.file_name in there or self._stage(job, chunk)
                staged += ref.records if ready else 0
        if not got:
            self._table.discard_job(job)
            return replace(job, status=Status.CANCELLED)
        now = model.iso(self._clock())
        records = sum(ref.records for ref in got)
        sealed = replace(job, chunks=tuple(got), sealed=True, records=records, updated_at=now)
        if not self._table.seal_job(sealed):
            return self._table.job(job.job_id) or replace(job, status=Status.CANCELLED)
        route = self._table.routes().get(job.route)
        if not staged or (not job.instead and route and staged < route.min_records_per_job):
            # Bedrock would refuse what is left: it goes back into the queue.
            return self._end(sealed, Status.CANCELLED)
        return sealed

    def _claim(self, ref: ChunkRef, job: Job) -> Chunk | None:
        """The chunk, where the job has it now; None where another job has it, or it is at another attempt."""
        chunk = self._table.chunk(ref)
        if chunk is None or chunk.attempt != ref.attempt:
            return None
        return chunk if self._table.claim_chunk(chunk, job.job_id) else None

    def _stage(self, job: Job, chunk: Chunk) -> bool:
        """Copies a chunk's bytes, and the media that they link, into the job's input folder.

        False where the upload was deleted or a linked object cannot be copied: nothing of it is staged then.
        """
        if chunk.gone:  # an earlier run of this job found that; what is there by now comes too late
            return False
        folder = model.input_folder(self._settings.work_prefix, job.job_id)
        key = folder + chunk.ref.file_name
        source = ObjectRef(chunk.key, chunk.version_id, chunk.etag)
        span = None if chunk.whole else (chunk.start, chunk.end)
        try:
            if chunk.rewrite:
                lines = jsonl.tidied(self._storage.stream(source, span))
                self._storage.put_stream(key, self._with_media(lines, folder))
            else:
                self._storage.copy(source, key, span)
        except ObjectGoneError as error:
            self._table.mark_gone(chunk.ref, job.job_id, error.told)
            return False
        except ObjectDeniedError as error:
            self._table.mark_gone(chunk.ref, job.job_id, self._denied(job, chunk.key, error))
            return False
        except MediaError as error:
            self._table.mark_gone(chunk.ref, job.job_id, str(error), media.UNAVAILABLE_CODE)
            return False
        return True

    def _with_media(self, lines: Iterable[bytes], folder: str) -> Iterator[bytes]:
        """The lines with their links rewritten; after the last one the linked objects lie below ``folder``.

        Raises MediaError where they cannot: whoever writes the lines to an object then writes none.
        """
        sources: dict[str, str] = {}
        yield from media.staged(lines, self._settings.bucket, folder, sources)
        if not sources:
            return
        there = self._storage.keys(f"{folder}media/")  # of other chunks, or of a run that was cut short
        missing = self._storage.copy_all({key: source for key, source in sources.items() if key not in there})
        if missing:
            raise MediaError(media.unavailable(missing, self._settings.bucket))

    def _end(self, job: Job, status: Status) -> Job:
        """Ends a job that Bedrock does not run, and has it collected so that its uploads end too."""
        now = model.iso(self._clock())
        ended = replace(job, status=status, ended_at=now, updated_at=now)
        self._table.update_job(ended)
        self.settle(ended)
        return ended

    # ------------------------------------------------------------------------------------------ measure

    def _measure(self, jobs: Iterable[Job], routes: Mapping[str, Route]) -> None:
        pending = self._table.pending_uploads(TOLD_UPLOADS)
        for upload in pending:
            if upload.route not in routes:
                told = f"waiting: the route {upload.route} is not configured any more. Add it again."
                self._table.note(upload.upload_id, told)
        oldest = min((model.epoch(upload.created_at) for upload in pending), default=self._clock())
        emit_metrics(
            self._settings.name,
            {
                "OldestPendingAge": max(0.0, self._clock() - oldest),
                "ActiveJobs": sum(1 for job in jobs if job.status in ACTIVE),
            },
            {"OldestPendingAge": "Seconds"},
        )
