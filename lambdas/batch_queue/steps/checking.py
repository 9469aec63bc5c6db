"""Orders: asks Bedrock whether it would take jobs of each model, without running one.

Nothing is stored. A job that Bedrock accepts all the same has no input: it fails in validation, costs nothing
and is not one of the queue's. If a function dies before it is stopped, that does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from batch_queue.aws.bedrock import Accepted, Bedrock, BedrockError
from batch_queue.aws.functions import NoAnswerError
from batch_queue.aws.pool import at_once
from batch_queue.aws.telemetry import log
from batch_queue.core import checking, names
from batch_queue.core.checking import Verdict
from batch_queue.core.orders import OrderError
from batch_queue.core.rows import Route

from .queue import Queue
from .submission import create_request

# Creates are throttled sooner than other calls.
AT_ONCE = 4


class Checking:
    """The two sides of the order: process_batch_jobs may create jobs, and operate_queue may stop them."""

    def __init__(self, queue: Queue, bedrock: Bedrock) -> None:
        self._queue = queue
        self._bedrock = bedrock

    def order(self) -> dict[str, Any]:
        """Returns what process_batch_jobs finds out. Raises OrderError if it does not answer."""
        try:
            found = self._queue.functions.ask(self._queue.settings.process_function, {"check": True})
        except NoAnswerError as error:
            raise OrderError(str(error)) from None
        if not isinstance(found, Mapping) or "models" not in found:
            raise OrderError(
                "process_batch_jobs has another version than operate_queue: repeat the order when terraform "
                "apply has ended"
            )
        for model in found["models"]:
            if arn := model.pop("job_arn", ""):
                self._stop(arn)
        return {"order": "check", **found}

    def _stop(self, arn: str) -> None:
        try:
            self._bedrock.stop(arn)
        except BedrockError:
            log.warning("a job that only asks a question could not be stopped", extra={"arn": arn})

    def check(self) -> dict[str, Any]:
        """Returns the versions of the AWS SDK, and what Bedrock says of each model and invocation type.

        ``job_arn``: the job, if Bedrock has accepted one.
        """
        found: dict[tuple[str, str], list[Route]] = {}
        for _, route in sorted(self._queue.table.models.routes().items()):
            found.setdefault((route.model_id, route.invocation_type), []).append(route)
        return {**self._bedrock.versions(), "models": at_once(self._ask, found.values(), AT_ONCE)}

    def _ask(self, routes: list[Route]) -> dict[str, Any]:
        route, settings = routes[0], self._queue.settings
        answer = self._bedrock.ask(create_request(settings, names.check_id(uuid4().hex), route))
        about = {
            "model_id": route.model_id,
            "invocation_type": route.invocation_type,
            "routes": [each.name for each in routes],
        }
        if isinstance(answer, Accepted):
            return {**about, **_told(checking.accepted(route.model_id)), "job_arn": answer.arn}
        said = checking.verdict(answer, route.model_id, route.invocation_type, settings.role_arn)
        return {**about, **_told(said)}


def _told(said: Verdict) -> dict[str, str]:
    return {"batch": str(said.batch), "about": str(said.about), "words": said.words}
