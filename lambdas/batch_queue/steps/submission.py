"""Steps 8 and 9: submits jobs with CreateModelInvocationJob, and stores their ARN and status."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from batch_queue.aws.bedrock import Accepted, Bedrock, BedrockError, NotNow
from batch_queue.aws.telemetry import log
from batch_queue.core import names
from batch_queue.core.reports import MAX_MESSAGE
from batch_queue.core.retrying import MAX_TRIES
from batch_queue.core.rows import ON_DEMAND_ARN, ONE_BY_ONE, TERMINAL, ChunkRef, Intent, Job, Route, Status
from batch_queue.core.settings import Settings

from .handover import end, hand_over, wait
from .queue import Queue
from .run import Run
from .staging import HEALING_SECONDS, Staging

# A run that tried to submit a job this long ago has ended, and Bedrock's list has what it has created.
TRIED_SECONDS = 600.0


def create_request(settings: Settings, job_id: str, route: Route) -> dict[str, Any]:
    """Returns the parameters of CreateModelInvocationJob. The name contains the job id."""
    bucket, work = f"s3://{settings.bucket}/", settings.work_prefix
    source: dict[str, Any] = {
        "s3Uri": bucket + names.input_folder(work, job_id),
        "s3InputFormat": "JSONL",
    }
    output: dict[str, Any] = {"s3Uri": bucket + names.output_folder(work, job_id)}
    if settings.bucket_owner:  # Bedrock's default is the job's own account
        source["s3BucketOwner"] = output["s3BucketOwner"] = settings.bucket_owner
    if settings.kms_key_arn:
        output["s3EncryptionKeyId"] = settings.kms_key_arn
    request: dict[str, Any] = {
        "jobName": names.job_name(settings.name, job_id),
        "clientRequestToken": job_id,
        "roleArn": settings.role_arn,
        "modelId": route.model_id,
        "inputDataConfig": {"s3InputDataConfig": source},
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


class Submission:
    """Submits jobs. The job id is the client token, so that repeating a call returns the same job."""

    def __init__(self, queue: Queue, bedrock: Bedrock) -> None:
        self._queue = queue
        self._bedrock = bedrock
        self._staging = Staging(queue)

    def new_job(self, refs: tuple[ChunkRef, ...], route: Route) -> tuple[Job, Intent]:
        """Returns the intent to run these chunks of a route in one job. Stores nothing."""
        job_id = names.job_id(refs)
        now = self._queue.now()
        job = Job(
            job_id=job_id,
            job_name=names.job_name(self._queue.settings.name, job_id),
            route=route.name,
            model_id=route.model_id,
            status=Status.SUBMITTING,
            created_at=now,
            updated_at=now,
            records=sum(ref.records for ref in refs),
            tries=1,  # the one that follows: the intent is stored before it
            tried_at=now,
        )
        return job, Intent(refs, create_request(self._queue.settings, job_id, route))

    def retry(self, job: Job, run: Run) -> Job | None:
        """Counts a further try of a job, then makes it or, after ``MAX_TRIES``, ends the job.

        Returns the job, or None if another run tries it. Raises BedrockError as ``submit`` does.
        """
        intent = self._queue.table.jobs.intent(job.job_id)
        if job.sealed and self._is_cancelled(intent):
            return self._end_cancelled(job)
        again = replace(job, tries=job.tries + 1, tried_at=self._queue.now())
        if not self._queue.table.jobs.count_try(again):
            return None
        return self._give_up(again, intent) if again.tries > MAX_TRIES else self.submit(again, intent, run)

    def end_cancelled(self, job: Job) -> Job | None:
        """Ends a job that is not submitted, if all of its uploads are cancelled.

        Returns the job, or None if it is left as it is. Raises BedrockError.
        """
        is_cancelled = self._is_cancelled(self._queue.table.jobs.intent(job.job_id))
        return self._end_cancelled(job) if is_cancelled else None

    def _end_cancelled(self, job: Job) -> Job | None:
        """Ends a job, but not while another run may be submitting it, or Bedrock's list may not have it yet.

        If Bedrock has it, it is stored as submitted, and then stopped.
        """
        if self._queue.age(job.tried_at or job.created_at) < TRIED_SECONDS:
            return None
        arn = self._bedrock.find(job.job_name) if job.sealed and not job.instead else None
        if arn is None:
            return end(self._queue, job, Status.CANCELLED)
        accepted = self._accepted(job, arn)
        self._queue.functions.wake(self._queue.settings.operate_function, {"go_on": ""})
        return accepted

    def _is_cancelled(self, intent: Intent) -> bool:
        """Returns whether a job has no chunk left to run that is not cancelled, and has any that is."""
        chunks = self._queue.table.chunks.all(intent.chunks).values()
        return any(chunk.cancelled for chunk in chunks) and all(
            chunk.cancelled or chunk.status in TERMINAL for chunk in chunks
        )

    def submit(self, job: Job, intent: Intent, run: Run) -> Job:
        """Claims, stages and submits a job, or continues where an earlier run stopped. Returns the job.

        A job that is still Submitting was not accepted now; if it is not sealed either, the time of ``run``
        ran out. Any number of runs may repeat each step. Raises BedrockError for an answer about the caller
        rather than the job.
        """
        if not job.sealed:
            job, intent = self._staging.seal(job, intent, run)
        if job.status != Status.SUBMITTING or not job.sealed:
            return job
        if job.instead in ONE_BY_ONE:
            return self._begin_on_demand(job)
        if job.instead:
            return end(self._queue, job, Status.REJECTED)
        return self._create(job, intent)

    def _create(self, job: Job, intent: Intent) -> Job:
        """Calls CreateModelInvocationJob for a sealed job and stores the answer."""
        try:
            answer = self._bedrock.submit(intent.request)
        except BedrockError as error:
            failed = replace(job, message=error.words, unanswered=False, updated_at=self._queue.now())
            wait(self._queue, failed)
            raise
        now = self._queue.now()
        if isinstance(answer, Accepted):
            return self._accepted(job, answer.arn)
        if isinstance(answer, NotNow):
            log.info("Bedrock does not accept the job now", extra={"job_id": job.job_id})
            # What the quota stops waits for a slot, however long that takes.
            tries = 1 if answer.quota else job.tries
            waits = replace(job, message=answer.reason, tries=tries, unanswered=not answer.quota)
            return wait(self._queue, replace(waits, updated_at=now))
        job = replace(job, message=answer.message, unanswered=False, updated_at=now)
        if answer.may_heal and self._queue.age(job.created_at) < HEALING_SECONDS:
            log.warning("Bedrock denied access for a job; a later run retries", extra={"job_id": job.job_id})
            return wait(self._queue, job)
        log.error("Bedrock refused a job", extra={"job_id": job.job_id})
        return end(self._queue, job, Status.FAILED)

    def _accepted(self, job: Job, arn: str) -> Job:
        now = self._queue.now()
        job = replace(job, arn=arn, status=Status.SUBMITTED, submitted_at=now, updated_at=now)
        self._queue.table.jobs.store_arn(job)
        log.info("job submitted", extra={"job_id": job.job_id, "arn": job.arn, "records": job.records})
        return job

    def _give_up(self, job: Job, intent: Intent) -> Job:
        """Ends a job that was tried for a day. Its records return to the queue if Bedrock did not answer."""
        tried = f"The job could not be submitted for a day, in {MAX_TRIES} tries."
        if not job.sealed:
            self._staging.release(job, intent)
            message = (
                f"{tried} Each failed, or ended while the input was staged: see the log of "
                "process_batch_jobs. If it says that runs timed out, split the file or reference smaller "
                "objects."
            )
        elif job.instead:
            message = f"{tried} See the log of process_batch_jobs for the error."
        else:
            # The response to a call that Bedrock accepted may have been lost. If nobody can tell, the call is
            # repeated, with the same token.
            try:
                arn = self._bedrock.find(job.job_name)
            except BedrockError:
                return self._create(job, intent)
            if arn:
                return self._accepted(job, arn)
            message = f"{tried} The last answer: {job.message}" if job.message else tried
        log.error("a job was given up", extra={"job_id": job.job_id, "tries": job.tries})
        return end(self._queue, replace(job, message=message[:MAX_MESSAGE]), Status.FAILED)

    def _begin_on_demand(self, job: Job) -> Job:
        """Hands a job over to the collector, which invokes the model for each record."""
        now = self._queue.now()
        begun = replace(job, arn=ON_DEMAND_ARN, status=Status.IN_PROGRESS, submitted_at=now, updated_at=now)
        self._queue.table.jobs.store_arn(begun)
        hand_over(self._queue, begun)
        return begun
