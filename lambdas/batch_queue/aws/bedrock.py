"""Bedrock's four batch operations, and what its answers mean for the queue. Adapter for Bedrock."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from batch_queue.core.reports import MAX_MESSAGE
from batch_queue.core.rows import ACTIVE, Status

from .telemetry import SafeError

if TYPE_CHECKING:
    from mypy_boto3_bedrock import BedrockClient

_NOT_NOW_CODES = {
    "InternalFailure",
    "InternalServerException",
    "LimitExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "ServiceQuotaExceededException",
    "ServiceUnavailableException",
    "Throttling",
    "ThrottledException",
    "ThrottlingException",
    "TooManyRequestsException",
}
_NOT_NOW_STATUSES = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
_REFUSALS = {"ValidationException", "ResourceNotFoundException", "AccessDeniedException"}


class BedrockError(SafeError):
    """An answer that is about the caller, or that says nothing. ``words`` are Bedrock's: not for logs."""

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
    """Text of Bedrock's as a row can hold it."""
    return text.encode("utf-8", "replace").decode()[:MAX_MESSAGE]


@dataclass(frozen=True, slots=True)
class Accepted:
    """Bedrock has the job, from this call or an earlier one with the same token."""

    arn: str


@dataclass(frozen=True, slots=True)
class NotNow:
    """Try again later with the same token: Bedrock has no room, or its answer was lost on the way."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Trying the same again would give the same answer; ``message`` holds Bedrock's own words.

    ``may_heal``: access was denied, which a policy that has just been attached still answers for a while.
    """

    message: str
    may_heal: bool = False


@dataclass(frozen=True, slots=True)
class JobState:
    """What GetModelInvocationJob says. Counts are None where this botocore or Bedrock does not know them."""

    status: Status
    message: str
    ended_at: datetime | None
    success_count: int | None = None
    error_count: int | None = None


@dataclass(frozen=True, slots=True)
class ListedJob:
    """One active job of the account, whoever started it."""

    arn: str
    name: str
    model_id: str


class Bedrock:
    """Submits, looks up and lists batch inference jobs."""

    def __init__(self, client: BedrockClient) -> None:
        self._bedrock = client
        operation = client.meta.service_model.operation_model("CreateModelInvocationJob")
        shape = operation.input_shape
        self._knows_type = shape is not None and "modelInvocationType" in shape.members
        self._invocation_type: str | None = None
        if not self._knows_type:
            client.meta.events.register("before-call.bedrock.CreateModelInvocationJob", self._add_type)

    def submit(self, request: Mapping[str, Any]) -> Accepted | NotNow | Refused:
        """Calls CreateModelInvocationJob with exactly these parameters (clientRequestToken among them).

        Raises BedrockError for an answer that is about the caller and not about the job, such as a signature.
        """
        arguments = dict(request)
        if not self._knows_type:
            # botocore before 1.42.60 refuses the parameter, so it joins the body after botocore's check.
            self._invocation_type = arguments.pop("modelInvocationType", None)
        try:
            return Accepted(self._bedrock.create_model_invocation_job(**arguments)["jobArn"])
        except ParamValidationError as error:
            return Refused(_words(str(error)))
        except ClientError as error:
            return self._answer(error, str(request["jobName"]))
        except BotoCoreError as error:  # time-outs and broken connections: the call may have arrived
            return NotNow(f"{type(error).__name__}: {error}")

    def _add_type(self, params: dict[str, Any], **_: Any) -> None:
        if self._invocation_type:
            body = {**json.loads(params["body"]), "modelInvocationType": self._invocation_type}
            params["body"] = json.dumps(body).encode()

    def _answer(self, error: ClientError, name: str) -> Accepted | NotNow | Refused:
        code = error.response["Error"]["Code"]
        text = error.response["Error"].get("Message", "")
        told = _words(f"{code}: {text}")
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _NOT_NOW_STATUSES:
            return NotNow(told)
        if code in _NOT_NOW_CODES or (code == "ValidationException" and _speaks_of_quota(text)):
            return NotNow(told)
        if code not in _REFUSALS and code != "ConflictException":
            raise BedrockError(error) from None
        # An earlier call may have made the job and lost its answer.
        try:
            arn = self.find(name)
        except BedrockError:
            return NotNow(told)
        if arn:
            return Accepted(arn)
        if code == "ConflictException":
            return NotNow(told)
        return Refused(told, may_heal=code == "AccessDeniedException" or "assume" in text.lower())

    def state(self, arn: str) -> JobState | None:
        """What became of a job; None where Bedrock does not know it. Raises BedrockError."""
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

    def active_jobs(self) -> Iterator[ListedJob]:
        """Every active job of the account and Region, whoever started it. Raises BedrockError."""
        for status in ACTIVE:
            for job in self._listed(statusEquals=str(status), maxResults=1000):
                yield ListedJob(job["jobArn"], job["jobName"], job["modelId"])

    def find(self, name: str) -> str | None:
        """The ARN of the job with exactly this name, or None. Raises BedrockError."""
        jobs = self._listed(nameContains=name)
        return next((job["jobArn"] for job in jobs if job["jobName"] == name), None)

    def _listed(self, **query: Any) -> Iterator[Any]:
        with _discreet():
            for page in self._bedrock.get_paginator("list_model_invocation_jobs").paginate(**query):
                yield from page.get("invocationJobSummaries", [])


_QUOTA_WORDS = re.compile(r"quota|concurrent|too many|maximum number|limit|exceed")
_OTHER_LIMITS = re.compile(
    r"\b(records?|sizes?|files?|bytes|time-?outs?|hours?|names?|lengths?|tokens?|tags?)\b"
)


def _speaks_of_quota(text: str) -> bool:
    """Whether a refusal is about how many jobs there are, not about what this one is like.

    AWS does not document the wording; a refusal that is taken for the quota stands in the upload's message.
    """
    words = text.lower()
    return "job" in words and bool(_QUOTA_WORDS.search(words)) and not _OTHER_LIMITS.search(words)
