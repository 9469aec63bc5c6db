"""Logs and metrics. They never contain records, model outputs or Bedrock's messages.

The text of an error may quote any of these (a parameter's value, a URL with a key, a message of Bedrock). So
an error that is logged, or that a handler raises, is reduced to its type, its traceback, and safe text.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import ContextDecorator

from botocore.config import Config
from botocore.exceptions import ClientError

from batch_queue.core.rows import TERMINAL, Status

log = logging.getLogger("batch_queue")
log.setLevel(logging.INFO)


class SafeError(Exception):
    """An error whose text may be logged: it quotes no record, model output or message of Bedrock."""


class EventError(SafeError, ValueError):
    """An event that a function does not accept; the text says what to send instead."""


class FailedError(Exception):
    """The loggable form of another error: its type, its text if that is safe, and its traceback."""


def discreet(error: BaseException) -> FailedError:
    """Returns the loggable form of an error."""
    text = type(error).__name__
    if isinstance(error, SafeError):
        text += f": {error}"
    elif isinstance(error, ClientError):
        about = error.response.get("Error", {})
        text += f": {about.get('Code')} from {error.operation_name}"
        if str(about.get("Code")).startswith("AccessDenied"):  # the message names the missing permission
            text += f": {about.get('Message')}"
    return FailedError(text).with_traceback(error.__traceback__)


class _Discreetly(ContextDecorator):
    """Wraps a handler so that it raises only loggable errors: Lambda logs the whole text of an error."""

    def __enter__(self) -> None:
        """Begins the handler's run."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Exception):
            raise discreet(error) from None


discreetly = _Discreetly()


class _Discretion(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            safe = discreet(record.exc_info[1])
            record.exc_info = (FailedError, safe, safe.__traceback__)
        return True


log.addFilter(_Discretion())

# botocore retries throttling and transient errors within a call; the limits let a run end in time.
CLIENT_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=5, read_timeout=60
)

# A model may take minutes to respond, and every attempt is billed: botocore does not retry.
RUNTIME_CONFIG = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=600)

# For a function that waits for another one, for less time than its own caller waits. A retry would run the
# other one again.
WAITING_CONFIG = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=50)

NAMESPACE = "BedrockBatchQueue"
_COUNT, _SECONDS, _NONE = "Count", "Seconds", "None"
#: The metrics of the functions, and their units in CloudWatch. Cost is in the currency of the route's prices.
METRICS: Mapping[str, str] = {
    "OldestPendingAge": _SECONDS,
    "ActiveJobs": _COUNT,
    "ShortestTimeToExpiry": _SECONDS,
    "PendingUploads": _COUNT,
    "PendingChunks": _COUNT,
    "PendingRecords": _COUNT,
    "SlotsUsed": _COUNT,
    "SlotsFree": _COUNT,
    "PausedRoutes": _COUNT,
    "UploadsAccepted": _COUNT,
    "RecordsAccepted": _COUNT,
    **{f"Uploads{status}": _COUNT for status in TERMINAL},
    "RecordsSucceeded": _COUNT,
    "RecordsFailed": _COUNT,
    "InputTokens": _COUNT,
    "OutputTokens": _COUNT,
    "Cost": _NONE,
}


def measure(queue: str, values: Mapping[str, float], route: str = "") -> None:
    """Prints what is now: of a route (dimensions Queue and Route) or, without one, of the queue (Queue)."""
    if values:
        _emit(values, {"Queue": queue, "Route": route} if route else {"Queue": queue})


def count(queue: str, values: Mapping[str, float], route: str) -> None:
    """Prints what has happened: CloudWatch adds it to the sums of the route and of the queue."""
    _emit(values, {"Queue": queue, "Route": route}, ["Queue"])


def count_end(queue: str, route: str, status: Status) -> None:
    """Counts an upload that has just ended."""
    count(queue, {f"Uploads{status}": 1}, route)


def _emit(values: Mapping[str, float], dimensions: Mapping[str, str], *more: Sequence[str]) -> None:
    """Prints one line in CloudWatch embedded metric format: one metric for each value and set of dimensions.

    ``more``: further sets of these dimensions.
    """
    document = {
        "_aws": {
            "Timestamp": int(time.time() * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": NAMESPACE,
                    "Dimensions": [*more, [*dimensions]],
                    "Metrics": [{"Name": name, "Unit": METRICS[name]} for name in values],
                }
            ],
        },
        **dimensions,
        **values,
    }
    # In one piece: steps side by side print too.
    print(json.dumps(document) + "\n", end="", flush=True)
