"""One record at a time, on demand. Adapter for Bedrock's runtime."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

_BAD_REQUEST, _UNAVAILABLE = 400, 503


class Runtime:
    """Asks a model about one record, by InvokeModel or Converse. May be used from several threads."""

    def __init__(self, client: BedrockRuntimeClient) -> None:
        self._runtime = client

    def answer(self, model_id: str, invocation_type: str, model_input: Mapping[str, Any]) -> dict[str, Any]:
        """What a batch job would have written beside the record: ``modelOutput``, or ``error``.

        Throttling is waited out by the client's own retries; what they do not mend is an error with its
        status, as in a batch job, and is told apart by it.
        """
        try:
            if invocation_type == "Converse":
                arguments: Any = {"modelId": model_id, **_raw(model_input)}
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


def _error(status: int, message: str) -> dict[str, Any]:
    return {"error": {"errorCode": status, "errorMessage": message}}


def _raw(value: Any) -> Any:
    """A Converse body as boto3 takes it: what is base64 in JSON are bytes there."""
    if isinstance(value, Mapping):
        return {
            key: base64.b64decode(inner) if key == "bytes" and isinstance(inner, str) else _raw(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_raw(inner) for inner in value]
    return value
