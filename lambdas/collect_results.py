"""Lambda: the outputs of a finished job become results (step 10). Invoked by the processor with a job id."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import Any

import boto3
from batch_queue.collector import Collector
from batch_queue.settings import from_environment
from batch_queue.storage import Storage
from batch_queue.table import Table
from batch_queue.telemetry import CLIENT_CONFIG


@cache
def _dependencies() -> Collector:
    settings = from_environment(os.environ)
    return Collector(
        settings,
        Table(boto3.resource("dynamodb", config=CLIENT_CONFIG).Table(settings.table)),
        Storage(boto3.client("s3", config=CLIENT_CONFIG), settings.bucket, settings.kms_key_arn),
        time.time,
    )


def handler(event: dict[str, Any], context: Any) -> None:
    """Collects the job ``event["job_id"]``."""
    _dependencies().collect(event["job_id"])
