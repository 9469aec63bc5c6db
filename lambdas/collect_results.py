"""Lambda: the outputs of a job that has ended become results (step 10). Invoked by the processor."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from batch_queue.start import start

with start():
    from batch_queue import clients
    from batch_queue.aws.runtime import Runtime
    from batch_queue.aws.telemetry import RUNTIME_CONFIG, discreetly
    from batch_queue.steps.collector import Collector
    from batch_queue.steps.queue import Queue


@cache
def _dependencies() -> tuple[Queue, Runtime]:
    with start():
        runtime = clients.lazily(lambda: Runtime(clients.client("bedrock-runtime", RUNTIME_CONFIG)))
        return clients.queue(os.environ, later=["lambda"]), runtime


@discreetly
def handler(event: dict[str, Any], context: Any) -> None:
    """Collects the job ``event["job_id"]``, or ends the uploads ``event["upload_ids"]``."""
    seconds_left = context.get_remaining_time_in_millis() / 1000
    queue, runtime = _dependencies()
    collector = Collector(queue.within(seconds_left), runtime)
    if "upload_ids" in event:
        collector.end(event["upload_ids"], context.function_name, seconds_left)
        return
    # Lambda's retries of an event have its request id.
    collector.collect(event["job_id"], context.function_name, seconds_left, context.aws_request_id)


# Lambda's own variable. AWS advises to make clients at the start (Lambda developer guide: best practices).
if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    _dependencies()
