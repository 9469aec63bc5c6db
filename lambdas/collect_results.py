"""Lambda: the outputs of a finished job become results (step 10). Invoked by the processor with a job id."""

from __future__ import annotations

import os
import time
from functools import cache
from typing import Any

import boto3
from batch_queue.aws.bucket import Storage
from batch_queue.aws.functions import Functions
from batch_queue.aws.runtime import Runtime
from batch_queue.aws.table.uploads import Table
from batch_queue.aws.telemetry import CLIENT_CONFIG, RUNTIME_CONFIG, discreetly
from batch_queue.core.settings import from_environment
from batch_queue.steps.collector import Collector
from batch_queue.steps.on_demand import OnDemand


@cache
def _dependencies() -> Collector:
    settings = from_environment(os.environ)
    table = Table(boto3.resource("dynamodb", config=CLIENT_CONFIG).Table(settings.table))
    storage = Storage(boto3.client("s3", config=CLIENT_CONFIG), settings.bucket, settings.kms_key_arn)
    runtime = Runtime(boto3.client("bedrock-runtime", config=RUNTIME_CONFIG))
    on_demand = OnDemand(settings, table, storage, runtime, time.time)
    functions = Functions(boto3.client("lambda", config=CLIENT_CONFIG))
    return Collector(settings, table, storage, functions, on_demand, time.time)


@discreetly
def handler(event: dict[str, Any], context: Any) -> None:
    """Collects the job ``event["job_id"]``."""
    seconds_left = context.get_remaining_time_in_millis() / 1000
    _dependencies().collect(event["job_id"], context.function_name, seconds_left)
