"""Wakes the other functions. Adapter for Lambda."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


class Functions:
    """Invokes Lambda functions asynchronously: Lambda keeps the event, retries it, and dead-letters it."""

    def __init__(self, client: LambdaClient) -> None:
        self._lambda = client

    def wake(self, function_name: str, event: Mapping[str, Any]) -> None:
        """Hands an event over to a function and returns at once."""
        self._lambda.invoke(
            FunctionName=function_name, InvocationType="Event", Payload=json.dumps(event).encode()
        )
