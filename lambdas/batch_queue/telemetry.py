"""Logs and metrics. Record contents, model outputs and Bedrock's messages never go into them at INFO."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping

from botocore.config import Config

log = logging.getLogger("batch_queue")
log.setLevel(logging.INFO)

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
