"""Adapter for Bedrock Runtime: runs one record at a time, on demand."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

_BAD_REQUEST, _TOO_MANY, _UNAVAILABLE = 400, 429, 503
_TRIES = 5


class Runtime:
    """Runs one record with InvokeModel or Converse. Thread-safe."""

    def __init__(self, client: BedrockRuntimeClient, pause: Callable[[float], None] = time.sleep) -> None:
        self._runtime = client
        self._pause = pause

    def answer(self, model_id: str, invocation_type: str, model_input: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what a batch job would write to the record's output line: ``modelOutput`` or ``error``.

        Retries throttled calls, with backoff. Retries no other error, because the call may have been billed.
        """
        for attempt in range(_TRIES - 1):
            found = self._ask(model_id, invocation_type, model_input)
            if "error" not in found or found["error"]["errorCode"] != _TOO_MANY:
                return found
            self._pause(2.0**attempt)
        return self._ask(model_id, invocation_type, model_input)

    def _ask(self, model_id: str, invocation_type: str, model_input: Mapping[str, Any]) -> dict[str, Any]:
        try:
            if invocation_type == "Converse":
                arguments: Any = {**_raw(model_input), "modelId": model_id}
                answer: Any = self._runtime.converse(**arguments)
                return {"modelOutput": {k: v for k, v in answer.items() if k != "ResponseMetadata"}}
            body = json.dumps(model_input).encode()
            found = self._runtime.invoke_model(
                modelId=model_id, body=body, contentType="application/json", accept="application/json"
            )
            return {"modelOutput": json.loads(found["body"].read())}
        except ParamValidationError as error:
            return _error(_BAD_REQUEST, str(error))
        except ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            return _error(status, error.response["Error"].get("Message", ""))
        except BotoCoreError as error:
            return _error(_UNAVAILABLE, f"{type(error).__name__}: {error}")
        except (ValueError, TypeError, RecursionError) as error:  # a body that boto3 or JSON cannot represent
            return _error(_BAD_REQUEST, f"{type(error).__name__}: {error}")


def _error(status: int, message: str) -> dict[str, Any]:
    return {"error": {"errorCode": status, "errorMessage": message}}


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
