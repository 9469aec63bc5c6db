"""Lambda: takes the orders of people: cancel, retry, pause, resume, sweep, explain, status and check."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from batch_queue.start import start

with start():
    from batch_queue import clients
    from batch_queue.aws.bedrock import Bedrock
    from batch_queue.aws.telemetry import discreetly
    from batch_queue.steps.operate import Operate
    from batch_queue.steps.queue import Queue


@cache
def _dependencies() -> tuple[Queue, Bedrock]:
    with start():
        bedrock = clients.lazily(lambda: Bedrock(clients.client("bedrock")))
        return clients.queue(os.environ, later=["lambda"]), bedrock


@discreetly
def handler(event: Any, context: Any) -> dict[str, Any]:
    """Carries out one order (docs/orders.md) and returns what it did, or ``{"error": …}``."""
    queue, bedrock = _dependencies()
    seconds_left = context.get_remaining_time_in_millis() / 1000
    return Operate(queue.within(seconds_left), bedrock).run(event, context.function_name, seconds_left)


# Lambda's own variable. AWS advises to make clients at the start (Lambda developer guide: best practices).
if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    _dependencies()
