"""Lambda: S3 events become uploads in the queue (steps 1 and 2); a sweep finds objects without an event."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from batch_queue.start import start

with start():
    from batch_queue import clients
    from batch_queue.aws.telemetry import discreetly
    from batch_queue.steps.intake import Intake
    from batch_queue.steps.queue import Queue
    from batch_queue.steps.sweep import Sweep


@cache
def _dependencies() -> Queue:
    with start():
        return clients.queue(os.environ, later=["lambda"])


@discreetly
def handler(event: dict[str, Any], context: Any) -> dict[str, int] | None:
    """Takes in every object of the event, and wakes the processor where there is work.

    ``{"sweep": true}`` looks for objects that no event has reported, and gives how many there were.
    """
    seconds_left = context.get_remaining_time_in_millis() / 1000
    queue = _dependencies().within(seconds_left)
    if "sweep" in event:
        return Sweep(queue).run(event, context.function_name, seconds_left)
    Intake(queue).run(event, context.function_name, seconds_left)
    return None


# Lambda's own variable. AWS advises to make clients at the start (Lambda developer guide: best practices).
if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    _dependencies()
