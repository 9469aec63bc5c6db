"""Lambda: keeps the slots full (steps 3 to 9). Woken by the schedule, Bedrock's events and new uploads."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import Any

import boto3
from batch_queue.aws.bedrock import Bedrock
from batch_queue.aws.bucket import Storage
from batch_queue.aws.functions import Functions
from batch_queue.aws.table.uploads import Table
from batch_queue.aws.telemetry import CLIENT_CONFIG, discreetly, log
from batch_queue.core.rows import job_id_of
from batch_queue.core.settings import Settings, from_environment
from batch_queue.steps.processor import Processor


@cache
def _dependencies() -> tuple[Settings, Processor]:
    settings = from_environment(os.environ)
    processor = Processor(
        settings,
        Table(boto3.resource("dynamodb", config=CLIENT_CONFIG).Table(settings.table)),
        Storage(boto3.client("s3", config=CLIENT_CONFIG), settings.bucket, settings.kms_key_arn),
        Bedrock(boto3.client("bedrock", config=CLIENT_CONFIG)),
        Functions(boto3.client("lambda", config=CLIENT_CONFIG)),
        time.time,
    )
    return settings, processor


@discreetly
def handler(event: dict[str, Any], context: Any) -> None:
    """Runs the processor whatever woke it; the event says only that it is worth a look."""
    settings, processor = _dependencies()
    name = event.get("detail", {}).get("batchJobName")
    if name is not None and job_id_of(settings.name, name) is None:
        log.info("event of a job that is not ours ignored", extra={"job_name": name})
        return
    seconds_left = context.get_remaining_time_in_millis() / 1000
    processor.run(context.aws_request_id, context.function_name, seconds_left)
