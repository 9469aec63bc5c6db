"""Steps 8 and 9: submits jobs with CreateModelInvocationJob, and stores their ARN and status."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from batch_queue.aws.bedrock import Accepted, Bedrock, BedrockError, NotNow
from batch_queue.aws.telemetry import log
from batch_queue.core import names
from batch_queue.core.rows import ON_DEMAND, ON_DEMAND_ARN, ChunkRef, Job, Route, Status

from .handover import advance_uploads, end, hand_over, wait
from .queue import Queue
from .staging import HEALING_SECONDS, Staging


class Submission:
    """Submits jobs. The job id is the client token, so that repeating a call returns the same job."""

    def __init__(self, queue: Queue, bedrock: Bedrock) -> None:
        self._queue = queue
        self._bedrock = bedrock
        self._staging = Staging(queue)

    def new_job(self, refs: tuple[ChunkRef, ...], route: Route) -> Job:
        """Returns the intent to run these chunks of a route in one job. Stores nothing."""
        job_id = names.job_id(refs)
        now = self._queue.now()
        return Job(
            job_id=job_id,
            job_name=names.job_name(self._queue.settings.name, job_id),
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
        """Returns the parameters of CreateModelInvocationJob. The name contains the job id."""
        settings = self._queue.settings
        bucket, work = f"s3://{settings.bucket}/", settings.work_prefix
        output: dict[str, Any] = {"s3Uri": bucket + names.output_folder(work, job_id)}
        if settings.kms_key_arn:
            output["s3EncryptionKeyId"] = settings.kms_key_arn
        request: dict[str, Any] = {
            "jobName": names.job_name(settings.name, job_id),
            "clientRequestToken": job_id,
            "roleArn": settings.role_arn,
            "modelId": route.model_id,
            "inputDataConfig": {
                "s3InputDataConfig": {
                    "s3Uri": bucket + names.input_folder(work, job_id),
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
        """Claims, stages and submits a job, or continues where an earlier run stopped. Returns the job.

        A job that is still Submitting was not accepted now. Any number of runs may repeat each step.
        Raises BedrockError for an answer about the caller rather than the job.
        """
        if not job.sealed:
            job = self._staging.seal(job)
        if job.status != Status.SUBMITTING:
            return job
        if job.instead == ON_DEMAND:
            return self._begin_on_demand(job)
        if job.instead:
            return end(self._queue, job, Status.REJECTED)
        return self._create(job)

    def _create(self, job: Job) -> Job:
        """Calls CreateModelInvocationJob for a sealed job and stores the answer."""
        try:
            answer = self._bedrock.submit(job.request)
        except BedrockError as error:
            wait(self._queue, replace(job, message=error.words, updated_at=self._queue.now()))
            raise
        now = self._queue.now()
        if isinstance(answer, Accepted):
            job = replace(job, arn=answer.arn, status=Status.SUBMITTED, submitted_at=now, updated_at=now)
            self._queue.table.jobs.store_arn(job)
            advance_uploads(self._queue, job, answer.arn)
            log.info("job submitted", extra={"job_id": job.job_id, "arn": job.arn, "records": job.records})
            return job
        if isinstance(answer, NotNow):
            log.info("Bedrock accepts no more jobs of this model now", extra={"job_id": job.job_id})
            return wait(self._queue, replace(job, message=answer.reason, updated_at=now))
        job = replace(job, message=answer.message, updated_at=now)
        if answer.may_heal and self._queue.age(job.created_at) < HEALING_SECONDS:
            log.warning("Bedrock denied access for a job; a later run retries", extra={"job_id": job.job_id})
            return wait(self._queue, job)
        log.error("Bedrock refused a job", extra={"job_id": job.job_id})
        return end(self._queue, job, Status.FAILED)

    def _begin_on_demand(self, job: Job) -> Job:
        """Hands a job over to the collector, which invokes the model for each record."""
        now = self._queue.now()
        begun = replace(job, arn=ON_DEMAND_ARN, status=Status.IN_PROGRESS, submitted_at=now, updated_at=now)
        self._queue.table.jobs.store_arn(begun)
        advance_uploads(self._queue, begun)
        hand_over(self._queue, begun)
        return begun
