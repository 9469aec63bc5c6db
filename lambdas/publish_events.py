"""Lambda: tells others how uploads and jobs fare. Invoked with the changes in the stream of the table."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from batch_queue.start import start

with start():
    from batch_queue import clients
    from batch_queue.aws.events import Events
    from batch_queue.aws.notifications import Notifications
    from batch_queue.aws.telemetry import discreetly
    from batch_queue.steps.publishing import Publishing
    from batch_queue.steps.queue import Queue


@cache
def _dependencies() -> tuple[Queue, Events, Notifications | None]:
    with start():
        # Only the prices of an upload that has ended are in the table.
        queue = clients.queue(os.environ, later=["dynamodb", "lambda", "s3"])
        settings = queue.settings
        bus = Events(clients.client("events"), settings.event_bus, queue.patience)
        if not settings.notification_topic:
            return queue, bus, None
        sns = clients.lazily(lambda: clients.client("sns"))
        return queue, bus, Notifications(sns, settings.notification_topic, queue.patience)


@discreetly
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Publishes what the changes tell. Returns which of them Lambda has to hand over again."""
    queue, bus, topic = _dependencies()
    seconds_left = context.get_remaining_time_in_millis() / 1000
    patience = queue.patience.until(queue.clock() + seconds_left)
    within = topic and topic.within(patience)
    return Publishing(queue.within(seconds_left), bus.within(patience), within).run(event)


# Lambda's own variable. AWS advises to make clients at the start (Lambda developer guide: best practices).
if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    _dependencies()
