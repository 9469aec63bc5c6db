"""Adapter for Lambda: invokes the other functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


class Functions:
    """Invokes functions asynchronously: Lambda queues and retries the event.

    An event that keeps failing goes to the dead-letter queue.
    """

    def __init__(self, client: LambdaClient) -> None:
        self._lambda = client

    def wake(self, function_name: str, event: Mapping[str, Any]) -> None:
        """Sends an event to a function, and returns without waiting for the function to run."""
        self._lambda.invoke(
            FunctionName=function_name, InvocationType="Event", Payload=json.dumps(event).encode()
        )
