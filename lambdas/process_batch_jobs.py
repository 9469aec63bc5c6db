"""Lambda: keeps the slots full (steps 3 to 9). Woken by the schedule, Bedrock's events and new uploads."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from batch_queue.start import start

with start():
    from batch_queue import clients
    from batch_queue.aws.bedrock import Bedrock
    from batch_queue.aws.telemetry import discreetly, log
    from batch_queue.core.names import job_id_of
    from batch_queue.core.rows import Status
    from batch_queue.steps.checking import Checking
    from batch_queue.steps.processor import Processor
    from batch_queue.steps.queue import Queue


@cache
def _dependencies() -> tuple[Queue, Bedrock]:
    with start():
        # Only a run that submits a job needs S3.
        return clients.queue(os.environ, later=["lambda", "s3"]), Bedrock(clients.client("bedrock"))


@discreetly
def handler(event: dict[str, Any], context: Any) -> dict[str, Any] | None:
    """Stores what an event of Bedrock tells, or looks at everything, and fills the slots.

    A wake-up by another function (it has a ``reason``) only fills the slots. The schedule, and whatever else
    invokes the function, has it look at everything. ``{"count": true}`` counts what waits, for the metrics.
    ``{"check": true}`` returns what Bedrock says of the models of the routes, and does nothing else.
    """
    queue, bedrock = _dependencies()
    seconds_left = context.get_remaining_time_in_millis() / 1000
    if "check" in event:
        return Checking(queue.within(seconds_left), bedrock).check()
    processor = Processor(queue.within(seconds_left), bedrock)
    if "count" in event:
        processor.count(seconds_left)
        return None
    job = event.get("detail", {})
    name, arn, status = (str(job.get(key, "")) for key in ("batchJobName", "batchJobArn", "status"))
    job_id = job_id_of(queue.settings.name, name)
    if name and not job_id:
        log.info("event of a job that is not ours ignored", extra={"job_name": name})
        return None
    if job_id and arn and status in set(Status):
        if not processor.heard(job_id, arn, Status(status)):
            return None
        looks = False
    else:  # also an event that says less than Bedrock's do today, or a status that is new
        looks = "reason" not in event
    if looks:
        processor.look(context.function_name, seconds_left)
    processor.run(context.aws_request_id, context.function_name, seconds_left, counts=looks)
    return None


# Lambda's own variable. AWS advises to make clients at the start (Lambda developer guide: best practices).
if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    _dependencies()
