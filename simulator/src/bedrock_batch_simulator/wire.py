"""The APIs' HTTP without a server: a request in, a response out. And a bridge for boto3 clients."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from botocore.awsrequest import AWSResponse, HeadersDict
from botocore.exceptions import ConnectionClosedError
from botocore.model import OperationModel
from botocore.parsers import create_parser
from botocore.response import StreamingBody
from urllib3 import HTTPResponse

from . import streams
from .access import signature
from .answers import Answer
from .core import Simulator
from .errors import ApiError, ConnectionLostError
from .runtime import Invocation
from .validation import RUNTIME_OPERATIONS, route

_OK, _REDIRECTION = 200, 300


@dataclass(frozen=True)
class Request:
    """An HTTP request: method, path with query, headers as they came, the whole body."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True)
class Response:
    """An HTTP response: status, headers, body; `frames`: the body in the parts that it is sent in, if any."""

    status: int
    headers: dict[str, str]
    body: bytes
    frames: tuple[bytes, ...] = ()

    def has(self, name: str) -> bool:
        """Whether there is a header of that name, whatever its case."""
        return name.lower() in map(str.lower, self.headers)


def response(status: int, body: Mapping[str, Any], error: str | None = None) -> Response:
    """A JSON response, with the header that names the error's code where there is one."""
    headers = {"Content-Type": "application/json", "x-amzn-RequestId": str(uuid4())}
    if error is not None:
        headers["x-amzn-ErrorType"] = f"{error}:http://internal.amazon.com/coral/com.amazonaws.bedrock/"
    return Response(status, headers, json.dumps(body).encode())


def respond(
    simulator: Simulator,
    method: str,
    target: str,
    body: bytes,
    headers: Mapping[str, str] | None = None,
    *,
    pause: Callable[[float], None] | None = None,
) -> Response:
    """Answer a request for `target` (path with query). Raises ConnectionLostError when a fault says so.

    `pause` lets the latency of an admitted InvokeModel or Converse pass (simulated seconds, also 0); without
    it there is none. It is called without the simulator's lock.
    """
    parts = urlsplit(target)
    try:
        found = route(method, parts.path, parts.query, body, headers)
        if found is None:
            message = f"Unknown operation: {method} {parts.path}"
            return response(404, {"message": message}, "UnknownOperationException")
        simulator.authorize(*found, signature(headers or {}).who)
        if found[0] in RUNTIME_OPERATIONS:
            return _invoke(simulator, *found, pause)
        return response(_OK, simulator.call(*found))
    except ApiError as error:
        return response(error.status, {"message": error.message}, error.code)


def _invoke(
    simulator: Simulator, operation: str, params: Mapping[str, Any], pause: Callable[[float], None] | None
) -> Response:
    invocation, said = simulator.invoke(operation, params, pause)
    if invocation.stream:
        return _stream(invocation, said)
    answer = response(_OK, said.output)
    if operation == "InvokeModel":
        answer.headers["X-Amzn-Bedrock-Invocation-Latency"] = str(round(invocation.seconds * 1000))
        answer.headers["X-Amzn-Bedrock-Input-Token-Count"] = str(said.input_tokens)
        answer.headers["X-Amzn-Bedrock-Output-Token-Count"] = str(said.output_tokens)
        if invocation.tier:
            answer.headers["X-Amzn-Bedrock-Service-Tier"] = invocation.tier
    return answer


def _stream(invocation: Invocation, said: Answer) -> Response:
    milliseconds = round(invocation.seconds * 1000)
    headers = {"Content-Type": streams.CONTENT_TYPE, "x-amzn-RequestId": str(uuid4())}
    if invocation.operation == "Converse":
        frames = tuple(streams.frame(*event) for event in streams.converse_events(said.output))
    else:
        metrics = {
            "inputTokenCount": said.input_tokens,
            "outputTokenCount": said.output_tokens,
            "invocationLatency": milliseconds,
            "firstByteLatency": milliseconds,
        }
        chunks = streams.invoke_chunks(invocation.base_model, said.output, metrics)
        frames = tuple(map(streams.chunk_frame, chunks))
        headers["X-Amzn-Bedrock-Content-Type"] = "application/json"
        if invocation.tier:
            headers["X-Amzn-Bedrock-Service-Tier"] = invocation.tier
    return Response(_OK, headers, b"".join(frames), frames)


def attach(simulator: Simulator, client: Any, pause: Callable[[float], None] | None = None) -> Any:
    """Let a boto3 client be answered by `simulator` in this process, without a connection.

    `client`: `bedrock` or `bedrock-runtime`; it may be used from several threads. `pause`: as for `respond`.
    Serialisation, parsing, error classes and paginators stay botocore's own. There are no retries: each fault
    reaches the caller, and nothing sleeps. Returns `client`.
    """

    def answer(model: OperationModel, params: Mapping[str, Any], **_: Any) -> tuple[AWSResponse, Any]:
        return answered(simulator, model, params, pause=pause)

    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register(f"before-call.{service}.*", answer)
    return client


def answered(
    simulator: Simulator,
    model: OperationModel,
    request: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
    pause: Callable[[float], None] | None = None,
) -> tuple[AWSResponse, Any]:
    """The response to a request of botocore (its dictionary), and what botocore makes of it.

    `headers`: more of them. Raises ConnectionClosedError, as botocore does, when a fault says so.
    """
    parts = urlsplit(request["url"])
    body = request.get("body") or b""
    raw = body.encode() if isinstance(body, str) else bytes(body)
    given = {**(request.get("headers") or {}), **(headers or {})}
    try:
        result = respond(simulator, request["method"], f"{parts.path}?{parts.query}", raw, given, pause=pause)
    except ConnectionLostError as error:
        raise ConnectionClosedError(endpoint_url=request["url"], error=error) from None
    shown: Any = HeadersDict(result.headers)  # what botocore's own responses carry, whatever its stubs say
    content: Any = result.body
    if model.has_event_stream_output and result.status < _REDIRECTION:
        content = HTTPResponse(io.BytesIO(result.body), preload_content=False)
    elif model.has_streaming_output and result.status < _REDIRECTION:
        content = StreamingBody(io.BytesIO(result.body), len(result.body))
    shape: Any = model.output_shape
    parsed = create_parser("rest-json").parse(
        {
            "status_code": result.status,
            "headers": shown,
            "body": content,
            "context": {"operation_name": model.name},
        },
        shape,
    )
    return AWSResponse(request["url"], result.status, shown, io.BytesIO(result.body)), parsed
