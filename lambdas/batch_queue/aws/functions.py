"""Adapter for Lambda: invokes the other functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from .patience import Patience

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

# Why Lambda does not accept an event now (Lambda API reference, Invoke).
_PASSING = {"TooManyRequestsException", "ServiceException"}


class Functions:
    """Invokes functions asynchronously: Lambda queues and retries the event.

    An event that keeps failing goes to the dead-letter queue.
    """

    def __init__(self, client: LambdaClient, patience: Patience) -> None:
        self._lambda = client
        self._patience = patience

    def within(self, patience: Patience) -> Functions:
        """Returns the same functions for an invocation that has this much patience."""
        return Functions(self._lambda, patience)

    def wake(self, function_name: str, event: Mapping[str, Any]) -> None:
        """Sends an event to a function, and returns without waiting for the function to run."""
        send = partial(
            self._lambda.invoke,
            FunctionName=function_name,
            InvocationType="Event",
            Payload=json.dumps(event).encode(),
        )
        self._patience.call(send, _passing)


def _passing(error: ClientError) -> bool:
    return error.response["Error"]["Code"] in _PASSING
