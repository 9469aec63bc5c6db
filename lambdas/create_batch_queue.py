"""Lambda: an S3 event becomes uploads in the queue (steps 1 and 2)."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import Any

import boto3
from batch_queue.functions import Functions
from batch_queue.intake import Intake, new_objects
from batch_queue.settings import Settings, from_environment
from batch_queue.storage import Storage
from batch_queue.table import Table
from batch_queue.telemetry import CLIENT_CONFIG, log


@cache
def _dependencies() -> tuple[Settings, Intake, Functions]:
    settings = from_environment(os.environ)
    table = Table(boto3.resource("dynamodb", config=CLIENT_CONFIG).Table(settings.table))
    storage = Storage(boto3.client("s3", config=CLIENT_CONFIG), settings.bucket, settings.kms_key_arn)
    functions = Functions(boto3.client("lambda", config=CLIENT_CONFIG))
    return settings, Intake(settings, table, storage, time.time), functions


def handler(event: dict[str, Any], context: Any) -> None:
    """Takes in every object of the event and wakes the processor where there is work."""
    settings, intake, functions = _dependencies()
    try:
        wake = intake.run(new_objects(event))
    except Exception:
        # Other objects of the same event may have become pending work.
        functions.wake(settings.process_function, {"reason": "uploads, one of them failed"})
        raise
    if wake:
        log.info("waking the processor")
        functions.wake(settings.process_function, {"reason": "uploads"})
