"""Logs and metrics. They never contain records, model outputs or Bedrock's messages.

The text of an error may quote any of these (a parameter's value, a URL with a key, a message of Bedrock). So
an error that is logged, or that a handler raises, is reduced to its type, its traceback, and safe text.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from contextlib import ContextDecorator

from botocore.config import Config
from botocore.exceptions import ClientError

from batch_queue.core.rows import Status

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

NAMESPACE = "BedrockBatchQueue"
# The ends of uploads that somebody should look at.
_COUNTED = {Status.FAILED: "UploadsFailed", Status.REJECTED: "UploadsRejected"}


def emit_metrics(queue: str, values: Mapping[str, float], units: Mapping[str, str]) -> None:
    """Prints one line in CloudWatch embedded metric format: one metric for each value, dimension Queue."""
    document = {
        "_aws": {
            "Timestamp": int(time.time() * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": NAMESPACE,
                    "Dimensions": [["Queue"]],
                    "Metrics": [{"Name": name, "Unit": units.get(name, "Count")} for name in values],
                }
            ],
        },
        "Queue": queue,
        **values,
    }
    # In one piece: steps side by side print too.
    print(json.dumps(document) + "\n", end="", flush=True)


def count_end(queue: str, status: Status) -> None:
    """Counts an upload that has just ended, if it ended as Failed or Rejected."""
    if status in _COUNTED:
        emit_metrics(queue, {_COUNTED[status]: 1}, {})
