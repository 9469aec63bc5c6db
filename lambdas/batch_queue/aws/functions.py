"""Adapter for Lambda: invokes the other functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from .patience import Patience
from .telemetry import SafeError

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

# Why Lambda does not accept an event now (Lambda API reference, Invoke).
_PASSING = {"TooManyRequestsException", "ServiceException"}


class NoAnswerError(SafeError):
    """A function that was asked has not answered; the text says why, and what to do."""


class Functions:
    """Invokes functions asynchronously: Lambda queues and retries the event.

    An event that keeps failing goes to the dead-letter queue. ``waiting``: the client for functions whose
    answer is waited for, which must not retry.
    """

    def __init__(self, client: LambdaClient, patience: Patience, waiting: LambdaClient | None = None) -> None:
        self._lambda = client
        self._patience = patience
        self._waiting = client if waiting is None else waiting

    def within(self, patience: Patience) -> Functions:
        """Returns the same functions for an invocation that has this much patience."""
        return Functions(self._lambda, patience, self._waiting)

    def wake(self, function_name: str, event: Mapping[str, Any]) -> None:
        """Sends an event to a function, and returns without waiting for the function to run."""
        send = partial(
            self._lambda.invoke,
            FunctionName=function_name,
            InvocationType="Event",
            Payload=json.dumps(event).encode(),
        )
        self._patience.call(send, _passing)

    def ask(self, function_name: str, event: Mapping[str, Any]) -> Any:
        """Runs a function once, and returns its answer. Raises NoAnswerError, and what else Lambda says."""
        try:
            done = self._waiting.invoke(FunctionName=function_name, Payload=json.dumps(event).encode())
            answer = json.loads(done["Payload"].read())
        except ReadTimeoutError:
            raise NoAnswerError(
                f"{function_name} has not answered in time. Repeat the order. If that fails too, see its log"
            ) from None
        except BotoCoreError as error:
            raise NoAnswerError(f"{function_name} cannot be invoked ({type(error).__name__})") from None
        except ClientError as error:
            if not _passing(error):
                raise
            code = error.response["Error"]["Code"]
            raise NoAnswerError(f"Lambda cannot run {function_name} now ({code}). Repeat the order") from None
        if done.get("FunctionError"):
            raise NoAnswerError(f"{function_name} failed ({_error(answer)}). See its log")
        return answer


def _error(answer: Any) -> str:
    """Returns the text of a function's error, which the function has made safe to log."""
    return str(answer.get("errorMessage", "")) if isinstance(answer, Mapping) else ""


def _passing(error: ClientError) -> bool:
    return error.response["Error"]["Code"] in _PASSING
