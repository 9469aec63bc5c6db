"""Logs and metrics. Record contents, model outputs and Bedrock's messages never go into them.

An error's text may quote any of them (a parameter's value, a URL with a key, Bedrock's words), so of an error
that is logged, or that a handler ends with, only its type and place are told, and what is known to be safe.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError

log = logging.getLogger("batch_queue")
log.setLevel(logging.INFO)

Handler = Callable[[dict[str, Any], Any], Any]


class SafeError(Exception):
    """An error whose text may be logged: it holds nothing of a record, of an answer or of Bedrock's words."""


class EventError(SafeError, ValueError):
    """An event that a function does not take; the text says what to write instead."""


class FailedError(Exception):
    """What is told of another error: its type, its text where that is safe, and (as traceback) its place."""


def discreet(error: BaseException) -> FailedError:
    """The error as it may be logged."""
    told = type(error).__name__
    if isinstance(error, SafeError):
        told += f": {error}"
    elif isinstance(error, ClientError):
        about = error.response.get("Error", {})
        told += f": {about.get('Code')} from {error.operation_name}"
        if str(about.get("Code")).startswith("AccessDenied"):  # it names the permission that is missing
            told += f": {about.get('Message')}"
    return FailedError(told).with_traceback(error.__traceback__)


def discreetly(handler: Handler) -> Handler:
    """A handler whose error Lambda may log: it does so with everything that the error says."""

    @wraps(handler)
    def guarded(event: dict[str, Any], context: Any) -> Any:
        try:
            return handler(event, context)
        except Exception as error:  # noqa: BLE001 - it is raised again, in the form that may be logged
            raise discreet(error) from None

    return guarded


class _Discretion(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            told = discreet(record.exc_info[1])
            record.exc_info = (FailedError, told, told.__traceback__)
        return True


log.addFilter(_Discretion())

# Throttling and passing faults are tried again inside one call; bounded, so that a run ends in time.
CLIENT_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=5, read_timeout=60
)

# A model may take minutes for one answer, and each repetition is billed: no answer is waited for twice.
RUNTIME_CONFIG = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=600)

NAMESPACE = "BedrockBatchQueue"


def emit_metrics(queue: str, values: Mapping[str, float], units: Mapping[str, str]) -> None:
    """Prints one line in CloudWatch's embedded metric format: dimension Queue, one metric for each value."""
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
    print(json.dumps(document), flush=True)
