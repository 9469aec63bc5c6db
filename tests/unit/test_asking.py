"""Questions to Bedrock and to other functions: what is sent, and what comes back."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import boto3
import botocore
import botocore.session
import pytest
from batch_queue import clients
from batch_queue.aws.bedrock import Accepted, Bedrock
from batch_queue.aws.functions import Functions, NoAnswerError
from batch_queue.aws.patience import Patience
from batch_queue.aws.telemetry import WAITING_CONFIG
from batch_queue.core.checking import Answer
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from botocore.loaders import Loader

from tests.support.answers import Body
from tests.support.starts import ENVIRONMENT

pytestmark = pytest.mark.unit

ARN = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/abcdefghijkl"
PLACE = {"s3Uri": "s3://bucket/jobs/check-1/in/"}
REQUEST = {
    "jobName": "br-check-1",
    "clientRequestToken": "check-1",
    "roleArn": "arn:aws:iam::123456789012:role/bedrock",
    "modelId": "amazon.nova-lite-v1:0",
    "modelInvocationType": "Converse",
    "inputDataConfig": {"s3InputDataConfig": PLACE},
    "outputDataConfig": {"s3OutputDataConfig": PLACE},
}


class OldLoader(Loader):
    """Loads the model of bedrock as it was before botocore 1.42.60."""

    def load_service_model(self, service_name: str, *names: Any, **rest: Any) -> Any:
        model: Any = super().load_service_model(service_name, *names, **rest)
        if service_name != "bedrock" or "shapes" not in model:
            return model
        old = copy.deepcopy(model)
        del old["shapes"]["CreateModelInvocationJobRequest"]["members"]["modelInvocationType"]
        return old


class Network:
    """Answers clients without a connection. ``sent``: the bodies of the requests, or of their tries."""

    def __init__(self, status: int, body: Mapping[str, Any], **headers: str) -> None:
        self.sent: list[Any] = []
        self._status, self._body, self._headers = status, body, headers

    def client(self, service: str, old: bool = False, **more: Any) -> Any:
        session = botocore.session.Session()
        if old:
            session.register_component("data_loader", OldLoader())
        made: Any = boto3.Session("testing", "testing", region_name="us-east-1", botocore_session=session)
        client = made.client(service, **more)
        client.meta.events.register(f"before-send.{service}", self._answer)
        return client

    def _answer(self, request: Any, **_: Any) -> Any:
        self.sent.append(json.loads(request.body))
        headers: Any = {"content-type": "application/json", **self._headers}
        body = io.BytesIO(json.dumps(self._body).encode())
        return AWSResponse(request.url, self._status, headers, Body(body))


# ------------------------------------------------------------------------------------------------- Bedrock


@pytest.mark.parametrize("old", [False, True])
def test_the_question_has_the_invocation_type_whatever_botocore_knows(old: bool) -> None:
    network = Network(200, {"jobArn": ARN})
    adapter = Bedrock(network.client("bedrock", old))
    assert adapter.ask(REQUEST) == Accepted(ARN)
    assert network.sent == [REQUEST]
    assert adapter.versions() == {
        "boto3": boto3.__version__,
        "botocore": botocore.__version__,
        "converse": not old,
    }


def test_a_runtime_without_the_metadata_of_boto3_does_not_know_its_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert Bedrock(Network(200, {}).client("bedrock")).versions()["boto3"] == ""


@pytest.mark.parametrize(
    ("status", "code", "quota", "failed"),
    [
        (400, "ValidationException", False, False),
        (403, "AccessDeniedException", False, False),
        (400, "ServiceQuotaExceededException", True, False),
        (429, "ThrottlingException", True, False),
        (500, "InternalServerException", False, True),
    ],
)
def test_an_error_is_returned_as_it_is_without_another_call(
    status: int, code: str, quota: bool, failed: bool
) -> None:
    network = Network(status, {"message": "no"}, **{"x-amzn-errortype": code})
    client = network.client("bedrock", config=WAITING_CONFIG)
    assert Bedrock(client).ask(REQUEST) == Answer(code, "no", quota, failed)
    assert len(network.sent) == 1


def test_a_request_that_botocore_refuses_is_an_answer_too() -> None:
    found = Bedrock(Network(200, {}).client("bedrock")).ask({**REQUEST, "jobName": ""})
    assert isinstance(found, Answer)
    assert (found.code, found.quota, found.failed) == ("ParamValidationError", False, False)


# ----------------------------------------------------------------------------------------------- functions


class Asked:
    """Stands for Lambda's client."""

    def __init__(self, answer: Mapping[str, Any] | Exception) -> None:
        self._answer = answer
        self.calls: list[dict[str, Any]] = []

    def invoke(self, **call: Any) -> Any:
        self.calls.append(call)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def functions(waiting: Any) -> Functions:
    return Functions(Asked(AssertionError("the wrong client")), Patience(), waiting).within(Patience())  # type: ignore[arg-type]


def payload(answer: Any, **more: str) -> dict[str, Any]:
    return {"Payload": io.BytesIO(json.dumps(answer).encode()), **more}


def test_the_answer_of_a_function_is_returned() -> None:
    client = Asked(payload({"a": 1}))
    assert functions(client).ask("process", {"check": True}) == {"a": 1}
    assert client.calls == [{"FunctionName": "process", "Payload": b'{"check": true}'}]


def lambda_error(code: str) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": "x"}, "ResponseMetadata": {"HTTPStatusCode": 429}}
    return ClientError(answer, "Invoke")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ReadTimeoutError(endpoint_url="http://x"), "process has not answered in time"),
        (EndpointConnectionError(endpoint_url="http://x"), "cannot be invoked (EndpointConnectionError)"),
        (lambda_error("TooManyRequestsException"), "cannot run process now (TooManyRequestsException)"),
        (payload({"errorMessage": "KeyError"}, FunctionError="Unhandled"), "process failed (KeyError)"),
        (payload(None, FunctionError="Unhandled"), "process failed ()"),
    ],
)
def test_a_function_without_an_answer_is_asked_once_and_said_why(answer: Any, words: str) -> None:
    client = Asked(answer)
    with pytest.raises(NoAnswerError) as caught:
        functions(client).ask("process", {})
    assert words in str(caught.value)
    assert len(client.calls) == 1


def test_what_the_caller_may_not_do_is_raised() -> None:
    with pytest.raises(ClientError):
        functions(Asked(lambda_error("AccessDeniedException"))).ask("process", {})


def test_the_client_for_questions_waits_less_than_a_minute_and_does_not_ask_again() -> None:
    network = Network(500, {"Message": "x"}, **{"x-amzn-errortype": "ServiceException"})
    client = network.client("lambda", config=WAITING_CONFIG)
    with pytest.raises(NoAnswerError, match="ServiceException"):
        functions(client).ask("process", {})
    assert len(network.sent) == 1
    assert WAITING_CONFIG.read_timeout < 60  # type: ignore[attr-defined]


def test_the_functions_of_a_queue_ask_with_that_client(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, Any]] = []

    def client(service: str, config: Any = None) -> Any:
        made.append((service, config))
        return Asked(payload({}))

    monkeypatch.setattr(clients, "client", client)
    clients.queue(ENVIRONMENT, later=["lambda"]).functions.ask("process", {})
    assert ("lambda", WAITING_CONFIG) in made
    assert len([service for service, _ in made if service == "lambda"]) == 1
