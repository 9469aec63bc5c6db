"""Lambda: an S3 event becomes uploads in the queue (steps 1 and 2); a sweep finds what had none."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import Any

import boto3
from batch_queue.aws.bucket import Storage
from batch_queue.aws.functions import Functions
from batch_queue.aws.table.uploads import Table
from batch_queue.aws.telemetry import CLIENT_CONFIG, discreetly
from batch_queue.core.settings import from_environment
from batch_queue.steps.intake import Intake
from batch_queue.steps.sweep import Sweep


@cache
def _dependencies() -> tuple[Intake, Sweep]:
    settings = from_environment(os.environ)
    parts = (
        settings,
        Table(boto3.resource("dynamodb", config=CLIENT_CONFIG).Table(settings.table)),
        Storage(boto3.client("s3", config=CLIENT_CONFIG), settings.bucket, settings.kms_key_arn),
        Functions(boto3.client("lambda", config=CLIENT_CONFIG)),
        time.time,
    )
    return Intake(*parts), Sweep(*parts)


@discreetly
def handler(event: dict[str, Any], context: Any) -> dict[str, int] | None:
    """Takes in every object of the event, and wakes the processor where there is work.

    ``{"sweep": true}`` looks for objects that no event has told of, and gives how many there were.
    """
    seconds_left = context.get_remaining_time_in_millis() / 1000
    intake, sweep = _dependencies()
    if "sweep" in event:
        return sweep.run(event, context.function_name, seconds_left)
    intake.run(event, context.function_name, seconds_left)
    return None
