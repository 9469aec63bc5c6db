"""Lambda: keeps the slots full (steps 3 to 9). Woken by the schedule, Bedrock's events and new uploads."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from batch_queue import clients
from batch_queue.aws.bedrock import Bedrock
from batch_queue.aws.telemetry import discreetly, log
from batch_queue.core.names import job_id_of
from batch_queue.steps.processor import Processor
from batch_queue.steps.queue import Queue


@cache
def _dependencies() -> tuple[Queue, Bedrock]:
    return clients.queue(os.environ), clients.bedrock()


@discreetly
def handler(event: dict[str, Any], context: Any) -> None:
    """Runs the processor whatever woke it; the event says only that it is worth a look."""
    queue, bedrock = _dependencies()
    name = event.get("detail", {}).get("batchJobName")
    if name is not None and job_id_of(queue.settings.name, name) is None:
        log.info("event of a job that is not ours ignored", extra={"job_name": name})
        return
    seconds_left = context.get_remaining_time_in_millis() / 1000
    processor = Processor(queue.within(seconds_left), bedrock)
    processor.run(context.aws_request_id, context.function_name, seconds_left)
