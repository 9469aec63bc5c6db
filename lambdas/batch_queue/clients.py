"""Makes what a function needs from its environment: the one module that makes boto3 clients."""

from __future__ import annotations

import time
from collections.abc import Mapping

import boto3
from botocore.config import Config

from .aws.bedrock import Bedrock
from .aws.bucket import Bucket
from .aws.functions import Functions
from .aws.listing import Listing
from .aws.patience import Patience
from .aws.pool import CONNECTIONS
from .aws.runtime import Runtime
from .aws.table import Table
from .aws.telemetry import CLIENT_CONFIG, RUNTIME_CONFIG, log
from .core.settings import from_environment
from .steps.queue import Queue


def queue(environment: Mapping[str, str]) -> Queue:
    """The queue that a function's environment names. Raises KeyError naming a variable that is missing.

    Sets the level of the logs too.
    """
    settings = from_environment(environment)
    log.setLevel(settings.log_level)
    patience = Patience()
    s3 = boto3.client("s3", config=CLIENT_CONFIG.merge(Config(max_pool_connections=CONNECTIONS)))
    return Queue(
        settings,
        Table(boto3.resource("dynamodb", config=CLIENT_CONFIG).Table(settings.table), patience),
        Bucket(s3, settings.bucket, settings.kms_key_arn),
        Listing(s3, settings.bucket),
        Functions(boto3.client("lambda", config=CLIENT_CONFIG), patience),
        time.time,
        patience,
    )


def bedrock() -> Bedrock:
    """Bedrock's batch operations."""
    return Bedrock(boto3.client("bedrock", config=CLIENT_CONFIG))


def runtime() -> Runtime:
    """Bedrock's models, on demand."""
    return Runtime(boto3.client("bedrock-runtime", config=RUNTIME_CONFIG))
