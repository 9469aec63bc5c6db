"""What is sent to the models, also by a boto3 that does not know the service tier."""

from __future__ import annotations

import copy
import io
import json
from typing import Any

import boto3
import botocore.session
import pytest
from batch_queue.aws.runtime import Runtime
from batch_queue.core.outputs import TIER_REFUSED
from botocore.awsrequest import AWSResponse
from botocore.loaders import Loader

from tests.support.answers import Body

pytestmark = pytest.mark.unit

CHAT = {"messages": [{"role": "user", "content": [{"text": "Ä"}]}]}
MODEL = "amazon.nova-lite-v1:0"


class OldLoader(Loader):
    """Loads the model of bedrock-runtime as it was before botocore 1.40.76."""

    def load_service_model(self, service_name: str, *names: Any, **rest: Any) -> Any:
        model: Any = super().load_service_model(service_name, *names, **rest)
        if service_name != "bedrock-runtime" or "shapes" not in model:
            return model
        old = copy.deepcopy(model)
        for shape in ("InvokeModelRequest", "ConverseRequest"):
            del old["shapes"][shape]["members"]["serviceTier"]
        return old


class Sent:
    """A Runtime whose requests go nowhere, and what was in them."""

    def __init__(self, old: bool, status: int = 200, message: str = "") -> None:
        session = botocore.session.Session()
        if old:
            session.register_component("data_loader", OldLoader())
        made = boto3.Session("testing", "testing", region_name="us-east-1", botocore_session=session)
        client = made.client("bedrock-runtime")
        client.meta.events.register("before-send.bedrock-runtime", self._answer)
        self.runtime = Runtime(client, pause=lambda _: None)
        self.requests: list[Any] = []
        self._status = status
        self._body = json.dumps({"message": message}).encode()

    def _answer(self, request: Any, **_: Any) -> Any:
        self.requests.append(request)
        headers: Any = {"content-type": "application/json", "x-amzn-errortype": "ValidationException"}
        return AWSResponse(request.url, self._status, headers, Body(io.BytesIO(self._body)))


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(("tier", "sent"), [("flex", b"flex"), ("", None)])
def test_invoke_model_has_the_tier_in_a_header(old: bool, tier: str, sent: bytes | None) -> None:
    world = Sent(old)
    assert "modelOutput" in world.runtime.answer(MODEL, "InvokeModel", CHAT, tier)
    (request,) = world.requests
    assert request.headers.get("X-Amzn-Bedrock-Service-Tier") == sent
    assert ("x-amzn-bedrock-service-tier" in str(request.headers["Authorization"])) == bool(tier)
    assert json.loads(request.body) == CHAT


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(("tier", "sent"), [("flex", {"serviceTier": {"type": "flex"}}), ("", {})])
def test_converse_has_the_tier_in_its_body(old: bool, tier: str, sent: dict[str, Any]) -> None:
    world = Sent(old)
    assert "modelOutput" in world.runtime.answer(MODEL, "Converse", CHAT, tier)
    (request,) = world.requests
    assert json.loads(request.body) == {**CHAT, **sent}


@pytest.mark.parametrize(
    ("tier", "message", "code"),
    [
        ("flex", "The provided service tier is not supported for this model", TIER_REFUSED),
        ("flex", "max_tokens is too large", 400),
        ("", "The provided service tier is not supported for this model", 400),
    ],
)
def test_a_tier_that_the_model_refuses_has_a_code_of_its_own(tier: str, message: str, code: Any) -> None:
    answer = Sent(False, 400, message).runtime.answer(MODEL, "InvokeModel", CHAT, tier)
    assert answer == {"error": {"errorCode": code, "errorMessage": message}}
