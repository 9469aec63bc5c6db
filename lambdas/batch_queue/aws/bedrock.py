"""Adapter for Bedrock: creates, gets and lists batch inference jobs, and interprets the responses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import botocore
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from batch_queue.core.checking import Answer
from batch_queue.core.records import dataclass
from batch_queue.core.reports import MAX_MESSAGE
from batch_queue.core.rows import ACTIVE, TERMINAL, Status

from .pool import at_once
from .telemetry import SafeError

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient

# About how much this account does now: each other job of the model would get the same answer.
_QUOTA_CODES = {
    "LimitExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "ServiceQuotaExceededException",
    "Throttling",
    "ThrottledException",
    "ThrottlingException",
    "TooManyRequestsException",
}
_SERVER_CODES = {"InternalFailure", "InternalServerException", "ServiceUnavailableException"}
# StopModelInvocationJob: the job has ended, or is being stopped (Bedrock API reference).
_NOTHING_TO_STOP = {"ConflictException", "ResourceNotFoundException"}
# AWS was also seen to answer so of a job that has ended: "State was: Completed" (system test of Airflow's
# Bedrock operators).
_ENDED = re.compile(rf"\b(?:{'|'.join(TERMINAL)})\b")
_REFUSALS = {"ValidationException", "ResourceNotFoundException", "AccessDeniedException"}


class BedrockError(SafeError):
    """An error that concerns the caller, not the job. ``words`` is Bedrock's message: do not log it."""

    def __init__(self, error: ClientError) -> None:
        self.code = error.response["Error"]["Code"]
        self.words = _words(f"{self.code}: {error.response['Error'].get('Message', '')}")
        super().__init__(f"{self.code} from {error.operation_name}")


@contextmanager
def _discreet() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise BedrockError(error) from None


def _words(text: str) -> str:
    """Makes a text from Bedrock safe to store in a row."""
    return text.encode("utf-8", "replace").decode()[:MAX_MESSAGE]


@dataclass(frozen=True, slots=True)
class Accepted:
    """Bedrock has the job, from this call or an earlier one with the same client token."""

    arn: str


@dataclass(frozen=True, slots=True)
class NotNow:
    """Try again later with the same client token.

    ``quota``: a quota is exhausted or calls are throttled, which concerns every job of the model. Otherwise,
    Bedrock failed or its response was lost, which may concern this job alone.
    """

    reason: str
    quota: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """Bedrock rejected the job, and a retry would fail the same way; ``message`` is Bedrock's.

    ``may_heal``: access was denied. A later retry can succeed, because a policy that was just attached takes
    a while to take effect.
    """

    message: str
    may_heal: bool = False


@dataclass(frozen=True, slots=True)
class JobState:
    """The state of a job from GetModelInvocationJob. A count is None if botocore or Bedrock omits it."""

    status: Status
    message: str
    ended_at: datetime | None
    success_count: int | None = None
    error_count: int | None = None


@dataclass(frozen=True, slots=True)
class ListedJob:
    """One active job of the account, whoever started it.

    ``processed``: its records that were processed; None if botocore (before 1.42.88) or Bedrock omits it.
    """

    arn: str
    name: str
    model_id: str
    status: Status
    processed: int | None = None


class Bedrock:
    """Submits, gets, finds and lists batch inference jobs."""

    def __init__(self, client: BedrockClient) -> None:
        self._bedrock = client
        operation = client.meta.service_model.operation_model("CreateModelInvocationJob")
        shape = operation.input_shape
        self._knows_type = shape is not None and "modelInvocationType" in shape.members
        # Of the call that is being made: jobs are submitted in several threads.
        self._type: ContextVar[str | None] = ContextVar("modelInvocationType", default=None)
        if not self._knows_type:
            client.meta.events.register("before-call.bedrock.CreateModelInvocationJob", self._add_type)

    def submit(self, request: Mapping[str, Any]) -> Accepted | NotNow | Refused:
        """Calls CreateModelInvocationJob with exactly these parameters, including clientRequestToken.

        Raises BedrockError for an error that concerns the caller, not the job, such as an invalid signature.
        """
        try:
            return Accepted(self._create(request))
        except ParamValidationError as error:
            return Refused(_words(str(error)))
        except ClientError as error:
            return self._answer(error, str(request["jobName"]))
        except BotoCoreError as error:  # timeout or connection error: Bedrock may have received the call
            return NotNow(f"{type(error).__name__}: {error}")

    def ask(self, request: Mapping[str, Any]) -> Accepted | Answer:
        """Calls CreateModelInvocationJob as ``submit`` does, and returns an error as it is."""
        try:
            return Accepted(self._create(request))
        except ParamValidationError as error:
            return Answer(type(error).__name__, _words(str(error)))
        except ClientError as error:
            code, text = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
            return Answer(code, _words(text), _is_quota(error), _is_failure(error))
        except BotoCoreError as error:
            return Answer(type(error).__name__, _words(str(error)), failed=True)

    def versions(self) -> dict[str, Any]:
        """Returns the versions of boto3 ("" if it is not there) and botocore.

        ``converse``: whether botocore knows ``modelInvocationType``. If not, it is sent all the same.
        """
        from importlib import metadata  # noqa: PLC0415 - a start has no time for it

        try:
            boto3 = metadata.version("boto3")
        except metadata.PackageNotFoundError:
            boto3 = ""
        return {"boto3": boto3, "botocore": botocore.__version__, "converse": self._knows_type}

    def _create(self, request: Mapping[str, Any]) -> str:
        """Creates a job, and returns its ARN."""
        arguments = dict(request)
        if not self._knows_type:
            # botocore before 1.42.60 rejects the parameter, so it is added to the body after validation.
            self._type.set(arguments.pop("modelInvocationType", None))
        return self._bedrock.create_model_invocation_job(**arguments)["jobArn"]

    def _add_type(self, params: dict[str, Any], **_: Any) -> None:
        if kind := self._type.get():
            body = {**json.loads(params["body"]), "modelInvocationType": kind}
            params["body"] = json.dumps(body).encode()

    def _answer(self, error: ClientError, name: str) -> Accepted | NotNow | Refused:
        code = error.response["Error"]["Code"]
        text = error.response["Error"].get("Message", "")
        message = _words(f"{code}: {text}")
        quota = _is_quota(error)
        if quota or _is_failure(error):
            return NotNow(message, quota)
        if code not in _REFUSALS and code != "ConflictException":
            raise BedrockError(error) from None
        # An earlier call may have created the job, but its response was lost.
        try:
            arn = self.find(name)
        except BedrockError:
            return NotNow(message)
        if arn:
            return Accepted(arn)
        if code == "ConflictException":
            return NotNow(message)
        return Refused(message, may_heal=code == "AccessDeniedException" or "assume" in text.lower())

    def stop(self, arn: str) -> None:
        """Has a job stopped: it becomes Stopping, then Stopped. Does nothing if it has ended.

        Raises BedrockError.
        """
        try:
            self._bedrock.stop_model_invocation_job(jobIdentifier=arn)
        except ClientError as error:
            code, text = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
            if code not in _NOTHING_TO_STOP and not (code == "ValidationException" and _ENDED.search(text)):
                raise BedrockError(error) from None

    def state(self, arn: str) -> JobState | None:
        """Returns the state of a job, or None if Bedrock does not know it. Raises BedrockError."""
        try:
            answer: Any = self._bedrock.get_model_invocation_job(jobIdentifier=arn)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return None
            raise BedrockError(error) from None
        return JobState(
            status=Status(answer["status"]),
            message=_words(answer.get("message", "")),
            ended_at=answer.get("endTime"),
            success_count=answer.get("successRecordCount"),
            error_count=answer.get("errorRecordCount"),
        )

    def active_jobs(self) -> list[ListedJob]:
        """Returns every active job of the account in the Region, whoever started it. Raises BedrockError.

        One list for each status, all at once. A job that changes its status meanwhile may be missing, or in
        two of them: the later status counts.
        """
        lists = at_once(self._active, ACTIVE)
        return list({job.arn: job for jobs in lists for job in jobs}.values())

    def _active(self, status: Status) -> list[ListedJob]:
        return [
            ListedJob(job["jobArn"], job["jobName"], job["modelId"], status, job.get("processedRecordCount"))
            for job in self._listed(statusEquals=str(status), maxResults=1000)
        ]

    def find(self, name: str) -> str | None:
        """Returns the ARN of the job with exactly this name, or None. Raises BedrockError."""
        jobs = self._listed(nameContains=name)
        return next((job["jobArn"] for job in jobs if job["jobName"] == name), None)

    def _listed(self, **query: Any) -> Iterator[Any]:
        with _discreet():
            for page in self._bedrock.get_paginator("list_model_invocation_jobs").paginate(**query):
                yield from page.get("invocationJobSummaries", [])


def _is_quota(error: ClientError) -> bool:
    """Returns whether an error is about how much the account does now."""
    code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    if code in _QUOTA_CODES or status == HTTPStatus.TOO_MANY_REQUESTS:
        return True
    return code == "ValidationException" and _speaks_of_quota(error.response["Error"].get("Message", ""))


def _is_failure(error: ClientError) -> bool:
    """Returns whether Bedrock itself failed."""
    code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    failed = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT
    return failed or code in _SERVER_CODES


_QUOTA_WORDS = re.compile(r"quota|concurrent|too many|maximum number|limit|exceed")
_OTHER_LIMITS = re.compile(
    r"\b(records?|sizes?|files?|bytes|time-?outs?|hours?|names?|lengths?|tokens?|tags?)\b"
)


def _speaks_of_quota(text: str) -> bool:
    """Returns whether a validation error is about the number of jobs, not about this job.

    AWS does not document the wording. An error that is mistaken for a quota error is still visible, because
    the upload's message contains it.
    """
    words = text.lower()
    return "job" in words and bool(_QUOTA_WORDS.search(words)) and not _OTHER_LIMITS.search(words)
