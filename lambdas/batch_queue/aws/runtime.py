"""Adapter for Bedrock Runtime: runs one record at a time, on demand."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from batch_queue.core.outputs import TIER_REFUSED

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

_BAD_REQUEST, _TOO_MANY, _UNAVAILABLE = 400, 429, 503
_TRIES = 5
_TIER, _TIER_HEADER = "serviceTier", "X-Amzn-Bedrock-Service-Tier"


class Runtime:
    """Runs one record with InvokeModel or Converse. Thread-safe."""

    def __init__(self, client: BedrockRuntimeClient, pause: Callable[[float], None] = time.sleep) -> None:
        self._runtime = client
        self._pause = pause
        for operation in ("InvokeModel", "Converse"):
            shape = client.meta.service_model.operation_model(operation).input_shape
            if shape is None or _TIER not in shape.members:
                # botocore before 1.40.76 rejects the parameter, so it is added after validation.
                events = client.meta.events
                events.register(f"before-parameter-build.bedrock-runtime.{operation}", _keep_tier)
                events.register(f"before-call.bedrock-runtime.{operation}", _add_tier)

    def answer(
        self, model_id: str, invocation_type: str, model_input: Mapping[str, Any], tier: str = ""
    ) -> dict[str, Any]:
        """Returns what a batch job would write to the record's output line: ``modelOutput`` or ``error``.

        ``tier``: the service tier, such as "flex", or "" for the default. An error has the code
        ``TIER_REFUSED`` if the model does not have it. Retries throttled calls, with backoff, and no other
        error, because the call may have been billed.
        """
        for attempt in range(_TRIES - 1):
            found = self._ask(model_id, invocation_type, model_input, tier)
            if "error" not in found or found["error"]["errorCode"] != _TOO_MANY:
                return found
            self._pause(2.0**attempt)
        return self._ask(model_id, invocation_type, model_input, tier)

    def _ask(
        self, model_id: str, invocation_type: str, model_input: Mapping[str, Any], tier: str
    ) -> dict[str, Any]:
        arguments: Any
        try:
            if invocation_type == "Converse":
                arguments = {**_raw(model_input), "modelId": model_id}
                arguments.update({_TIER: {"type": tier}} if tier else {})
                answer: Any = self._runtime.converse(**arguments)
                return {"modelOutput": {k: v for k, v in answer.items() if k != "ResponseMetadata"}}
            json_type = "application/json"
            arguments = {"modelId": model_id, "body": json.dumps(model_input).encode()}
            arguments.update({_TIER: tier} if tier else {})
            found = self._runtime.invoke_model(**arguments, contentType=json_type, accept=json_type)
            return {"modelOutput": json.loads(found["body"].read())}
        except ParamValidationError as error:
            return _error(_BAD_REQUEST, str(error))
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            message = error.response["Error"].get("Message", "")
            # "The provided service tier is not supported for this model" is a ValidationException.
            refused = tier and status == _BAD_REQUEST and "service tier" in message.lower()
            return _error(TIER_REFUSED if refused else status, message)
        except BotoCoreError as error:
            return _error(_UNAVAILABLE, f"{type(error).__name__}: {error}")
        except (ValueError, TypeError, RecursionError) as error:  # a body that boto3 or JSON cannot represent
            return _error(_BAD_REQUEST, f"{type(error).__name__}: {error}")


def _keep_tier(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    context[_TIER] = params.pop(_TIER, None)


def _add_tier(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    tier = context.get(_TIER)
    if isinstance(tier, str):
        params["headers"][_TIER_HEADER] = tier
    elif tier:
        params["body"] = json.dumps({**json.loads(params["body"]), _TIER: tier}).encode()


def _error(code: int | str, message: str) -> dict[str, Any]:
    return {"error": {"errorCode": code, "errorMessage": message}}


def _raw(value: Any) -> Any:
    """Converts a Converse body from JSON for boto3: base64 strings become bytes."""
    if isinstance(value, Mapping):
        return {
            key: base64.b64decode(inner) if key == "bytes" and isinstance(inner, str) else _raw(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_raw(inner) for inner in value]
    return value
