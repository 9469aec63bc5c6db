"""The operations on jobs: what a call of the API looks at, changes and answers."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from . import rules
from .availability import Availability
from .catalog_operations import CatalogOperations
from .errors import is_passing
from .jobs import Job
from .lifecycle import LifeCycle, iso
from .models import model_arn
from .paging import read_token, write_token
from .records import Location
from .roles import check_account, check_role
from .tags import Tags, check_count, tags_of


class Operations:
    """The operations of `bedrock` on the jobs of `life`; requests are held against the model before."""

    def __init__(self, life: LifeCycle) -> None:
        self._life = life
        self.handlers = {
            "CreateModelInvocationJob": self._create,
            "GetModelInvocationJob": self._get,
            "ListModelInvocationJobs": self._list,
            "StopModelInvocationJob": self._stop,
            **CatalogOperations(life).handlers,
            **Tags(life).handlers,
        }

    def _create(self, params: dict[str, Any]) -> dict[str, Any]:
        life = self._life
        request = {name: value for name, value in params.items() if value is not None}
        with life.lock:
            if (earlier := self._with_same_token(request)) is not None:
                return {"jobArn": earlier.arn}
        tags = tags_of(request.get("tags", []))
        check_count(tags, "the job", "ValidationException")
        # What looks at IAM and S3 takes its time: the lock is free meanwhile, so that other calls go on.
        self.check_role(request)
        base_model = self.models.check_batch(request["modelId"])
        source = request["inputDataConfig"]["s3InputDataConfig"]
        s3 = life.aws.s3_of(request["roleArn"])
        if life.config.check_buckets:
            self._check_bucket(s3, "Input", source)
            self._check_bucket(s3, "Output", request["outputDataConfig"]["s3OutputDataConfig"])
        if life.config.check_input:
            self._check_input(s3, source["s3Uri"])
        with life.lock:
            if (earlier := self._with_same_token(request)) is not None:
                return {"jobArn": earlier.arn}
            if request["jobName"] in life.by_name:
                raise rules.SAME_NAME.error()
            quota = life.config.model(base_model).max_active_jobs
            if life.active(base_model) >= quota:
                raise rules.JOB_QUOTA.error(life.config.quota_error, model=base_model, quota=quota)
            job = life.new_job(life.next_number(), request)
            job.tags = tags
            return {"jobArn": job.arn}

    def _with_same_token(self, request: Mapping[str, Any]) -> Job | None:
        life, token = self._life, request.get("clientRequestToken")
        job = life.by_token.get(token) if token is not None else None
        mismatch = life.config.token_mismatch
        if job is not None and job.request != request and mismatch != "ignore":
            raise rules.SAME_TOKEN.error(mismatch, arn=job.arn)
        return job

    def check_role(self, params: Mapping[str, Any]) -> None:
        """Raise `ApiError` unless Bedrock may assume the service role that a Create names."""
        life = self._life
        check_account(str(params.get("roleArn")), life.account)
        if life.aws.iam is not None and life.config.check_role:
            arn = life.job_arn(life.job_id(0))
            check_role(life.aws.iam, str(params.get("roleArn")), life.account, arn)

    @property
    def models(self) -> Availability:
        """The models that can be called here, under the configuration of now."""
        return Availability(self._life.config, self._life.region, self._life.account)

    def _check_bucket(self, s3: Any, side: str, place: Mapping[str, Any]) -> None:
        bucket = Location.parse(place["s3Uri"]).bucket
        try:
            s3.head_bucket(Bucket=bucket)
        except ClientError as error:
            if is_passing(error):
                raise rules.S3_DOWN.error() from error
            raise rules.BUCKET_MISSING.error(side=side, bucket=bucket) from None
        except BotoCoreError as error:
            raise rules.S3_DOWN.error() from error

    def _check_input(self, s3: Any, uri: str) -> None:
        place = Location.parse(uri)
        prefix = place.key if place.is_file else place.prefix
        try:
            found = s3.list_objects_v2(Bucket=place.bucket, Prefix=prefix, MaxKeys=1)
        except ClientError as error:
            if is_passing(error):
                raise rules.S3_DOWN.error() from error
            raise rules.INPUT_DENIED.error(uri=uri) from None
        except BotoCoreError as error:
            raise rules.S3_DOWN.error() from error
        if not found.get("Contents"):
            raise rules.INPUT_MISSING.error(uri=uri)

    def _find(self, identifier_: str) -> Job:
        job = self._life.jobs.get(identifier_.rpartition("/")[2])
        if job is None or (identifier_.startswith("arn:") and identifier_ != job.arn):
            raise rules.NO_JOB.error(job=identifier_)
        return job

    def _get(self, params: dict[str, Any]) -> dict[str, Any]:
        return self._describe(self._find(params["jobIdentifier"]))

    def _stop(self, params: dict[str, Any]) -> dict[str, Any]:
        job = self._find(params["jobIdentifier"])
        if not job.active:
            code = self._life.config.stop_ended_error
            raise rules.STOP_ENDED.error(code, arn=job.arn, status=job.status)
        if job.sealed:
            raise rules.STOP_SEALED.error(arn=job.arn)
        if job.status != "Stopping":
            self._life.stop(job)
        return {}

    def _list(self, params: dict[str, Any]) -> dict[str, Any]:
        after, before = _aware(params.get("submitTimeAfter")), _aware(params.get("submitTimeBefore"))
        status, part = params.get("statusEquals"), params.get("nameContains")
        descending = params.get("sortOrder", "Descending") == "Descending"
        filters = [str(params.get(name)) for name in ("submitTimeAfter", "submitTimeBefore", "statusEquals",
                                                      "nameContains", "sortOrder")]  # fmt: skip
        start = read_token(params["nextToken"], filters) if params.get("nextToken") else None
        limit = params.get("maxResults") or self._life.config.default_max_results
        jobs = list(self._life.jobs.values())
        found: list[Job] = []
        more = False
        for job in reversed(jobs) if descending else jobs:
            if start is not None and (job.number >= start if descending else job.number <= start):
                continue
            # As answers tell it: the time that Get gave of a job bounds a list without that job.
            submitted = dt.datetime.fromisoformat(iso(job.submitted))
            if (
                (status is not None and job.status != status)
                or (part is not None and part not in job.name)
                or (after is not None and submitted <= after)
                or (before is not None and submitted >= before)
            ):
                continue
            if len(found) == limit:
                more = True
                break
            found.append(job)
        answer: dict[str, Any] = {"invocationJobSummaries": [self._summary(job) for job in found]}
        if more:
            answer["nextToken"] = write_token(found[-1].number, filters)
        return answer

    def _describe(self, job: Job) -> dict[str, Any]:
        life, request = self._life, job.request
        owner = {"s3BucketOwner": life.account}
        source = {**owner, **request["inputDataConfig"]["s3InputDataConfig"]}
        source.pop("s3InputFormat", None)
        target = {**owner, **request["outputDataConfig"]["s3OutputDataConfig"]}
        return {
            "jobArn": job.arn,
            "jobName": job.name,
            "modelId": model_arn(job.model_id, life.region, life.account, life.partition),
            "clientRequestToken": request.get("clientRequestToken"),
            "roleArn": request["roleArn"],
            "status": job.status,
            "message": job.message or None,
            "submitTime": iso(job.submitted),
            "lastModifiedTime": iso(job.modified),
            "endTime": iso(job.ended) if job.ended is not None else None,
            "inputDataConfig": {"s3InputDataConfig": source},
            "outputDataConfig": {"s3OutputDataConfig": target},
            "vpcConfig": request.get("vpcConfig"),
            "timeoutDurationInHours": job.timeout_hours,
            "jobExpirationTime": iso(job.expires),
            "modelInvocationType": request.get("modelInvocationType", "InvokeModel"),
            **job.counts(life.clock()),
        }

    def _summary(self, job: Job) -> dict[str, Any]:
        left_out = rules.SUMMARIES.value
        return {name: value for name, value in self._describe(job).items() if name not in left_out}

    def state(self, job: Job, now: float) -> dict[str, Any]:
        """What the control tells of a job, as JSON."""
        return {
            "jobId": job.id,
            "jobArn": job.arn,
            "jobName": job.name,
            "modelId": job.model_id,
            "baseModelId": job.base_model,
            "status": job.status,
            "message": job.message,
            "foreign": job.foreign_seconds is not None,
            "inputUri": job.request["inputDataConfig"]["s3InputDataConfig"]["s3Uri"],
            "outputUri": job.request["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"],
            "tags": job.tags,
            "unchecked": list(job.unchecked),
            "files": [dataclasses.asdict(each) for each in job.files.files] if job.files else [],
            "timeline": [{"status": status, "at": at, "time": iso(at)} for status, at in job.timeline],
            **job.counts(now),
        }


def _aware(time: dt.datetime | None) -> dt.datetime | None:
    """A time in UTC unless it says otherwise."""
    return time.replace(tzinfo=dt.UTC) if time is not None and time.tzinfo is None else time
