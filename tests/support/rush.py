"""A rush of uploads against the limits of DynamoDB and Lambda: the real functions under a virtual clock.

The functions run as they are, each invocation in a thread that takes turns with the others (``turns.py``).
DynamoDB is ``limits.py``. S3 and Bedrock answer at once and without limits, after their latency; all slots
are taken, so that the uploads stay in the queue. Lambda runs a number of invocations at once, keeps the
events that are more, and delivers one that failed twice more, after one minute and after two.

A ``scale`` of 0.1 is a tenth of everything: uploads, invocations at once, and units of each partition. What
happens in a second is then the same, but for the grains being ten times as coarse.
"""

from __future__ import annotations

import io
import json
import logging
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, redirect_stdout
from dataclasses import asdict, dataclass
from functools import partial
from random import Random
from typing import Any, cast
from unittest.mock import patch

import create_batch_queue
import process_batch_jobs
from batch_queue.aws.bedrock import ListedJob
from batch_queue.aws.functions import Functions
from batch_queue.aws.patience import Patience
from batch_queue.aws.table import Table
from batch_queue.core import names
from batch_queue.core.rows import Status
from batch_queue.core.settings import Settings
from batch_queue.steps.queue import Queue

from tests.support.limits import LATENCY, LimitedTable, Limits
from tests.support.routes import configured
from tests.support.turns import Turns
from tests.support.typed import TypedClient
from tests.support.world import HAIKU, HANDLERS, RETRY_SECONDS, TIMEOUTS, Context, lines, records

CONCURRENCY = 1000
EVENT_SECONDS = 6 * 3600.0  # how long Lambda keeps an event
EPOCH = 1_767_225_600.0
BODY = lines(records(1))
ROUTE = configured("default", HAIKU, max_active_jobs=1, max_records_per_job=100)


class TimedOutError(Exception):
    """The function took longer than it may."""


@dataclass(frozen=True)
class Told:
    """How a rush ended. ``stored_after``: seconds until the last upload was stored.

    ``failures``: invocations that failed, by function and error; Lambda tries each event three times.
    ``throttled``: of the ``calls`` to DynamoDB, how many it throttled, by operation.
    """

    uploads: int
    stored: int
    dead_letters: Mapping[str, int]
    failures: Mapping[str, int]
    stored_after: float
    ended_after: float
    calls: Mapping[str, int]
    throttled: Mapping[str, int]


class Rush:
    """``uploads`` whose events come within ``seconds``. ``run`` gives how it ended.

    ``timeouts``: what each function has, in seconds, if not what Terraform gives it.
    """

    def __init__(
        self,
        uploads: int,
        seconds: float = 30.0,
        scale: float = 1.0,
        seed: int = 0,
        timeouts: Mapping[str, float] = TIMEOUTS,
    ) -> None:
        self.turns = Turns(EPOCH)
        self._timeouts = timeouts
        self._uploads = int(uploads * scale)
        self._seconds = seconds
        self._concurrency = int(CONCURRENCY * scale)
        self._chance = Random(seed)
        self._waiting: deque[tuple[float, str, Any, int]] = deque()
        self._running = 0
        self._dead: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._last = EPOCH
        limits = Limits(writes=1000 * scale, reads=3000 * scale)
        self.table = LimitedTable(self.turns, self.turns.sleep, limits, self._chance)
        fields = {name: value for name, value in asdict(ROUTE).items() if value is not None}
        self.table.put({"pk": "route", "sk": fields.pop("name"), **fields})

    def queue(self) -> Queue:
        """The queue that the functions work on."""
        settings = Settings(
            "queue", "queue", "bucket", process_function="process", collect_function="collect"
        )
        patience = Patience(self.turns, pause=lambda most: self.turns.sleep(self._chance.uniform(0, most)))
        return Queue(
            settings,
            Table(cast("Any", TypedClient(self.table)), self.table.name, patience),
            cast("Any", _Bucket(self.turns)),
            cast("Any", _Listing(self.turns)),
            Functions(cast("Any", self), patience),
            self.turns,
            patience,
            self.turns.sleep,
        )

    def run(self) -> Told:
        """Lets the events come, and waits until nothing is left to do."""
        queue = self.queue()
        for number in range(self._uploads):
            at = self._chance.uniform(0, self._seconds)
            self.turns.start(partial(self._arrives, "create", _event(number, EPOCH + at)), at)
        with ExitStack() as stack:
            stack.enter_context(redirect_stdout(io.StringIO()))
            stack.enter_context(patch.object(create_batch_queue, "_dependencies", lambda: queue))
            stack.enter_context(
                patch.object(process_batch_jobs, "_dependencies", lambda: (queue, _Bedrock(self.turns)))
            )
            logging.disable(logging.CRITICAL)
            try:
                self.turns.run()
            finally:
                logging.disable(logging.NOTSET)
        return Told(
            uploads=self._uploads,
            stored=sum("upload" in rows for rows in self.table.items.values()),
            dead_letters=dict(self._dead),
            failures=dict(self._failures),
            stored_after=self._last - EPOCH,
            ended_after=self.turns.now - EPOCH,
            calls=dict(self.table.calls),
            throttled=dict(self.table.throttled),
        )

    # -------------------------------------------------------------------------------------------- Lambda

    def invoke(self, FunctionName: str, Payload: bytes, **_: Any) -> None:  # noqa: N803 - boto3's names
        """Stands for Lambda's client."""
        self.turns.sleep(LATENCY)
        self._arrives(FunctionName, Payload)

    def _arrives(self, function: str, event: Any, attempt: int = 0, since: float = 0.0) -> None:
        """Lambda has an event: it runs the function, or keeps the event until there is room."""
        self._waiting.append((since or self.turns.now, function, event, attempt))
        self._next()

    def _next(self) -> None:
        if self._waiting and self._running < self._concurrency:
            self._running += 1
            self.turns.start(partial(self._run, *self._waiting.popleft()))

    def _run(self, since: float, function: str, event: Any, attempt: int) -> None:
        began = self.turns.now
        error: Exception | None = None
        if began - since > EVENT_SECONDS:
            self._dead[function] += 1
        else:
            context = Context(
                f"{function}-{began}-{self._chance.random()}", function, self._timeouts[function]
            )
            try:
                HANDLERS[function](json.loads(event) if isinstance(event, bytes) else event, context)
            except Exception as failed:  # noqa: BLE001 - counted
                error = failed
        if self.turns.now - began > self._timeouts[function]:
            error = TimedOutError()
        if error is not None:
            self._failures[f"{function}: {error}"] += 1
            if attempt < len(RETRY_SECONDS):
                again = partial(self._arrives, function, event, attempt + 1, since)
                self.turns.start(again, RETRY_SECONDS[attempt])
            else:
                self._dead[function] += 1
        elif function == "create":
            self._last = self.turns.now
        self._running -= 1
        self._next()


def _event(number: int, at: float) -> dict[str, Any]:
    thing = {"key": f"to-process/{number}.jsonl", "versionId": f"v{number}", "eTag": "e", "sequencer": "0"}
    return {
        "Records": [
            {
                "eventName": "ObjectCreated:Put",
                "eventTime": names.iso(at),
                "s3": {"bucket": {"name": "bucket"}, "object": thing},
            }
        ]
    }


class _Bucket:
    """Stands for the bucket: every object is there and has one record."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def size(self, _ref: object) -> int:
        self._turns.sleep(LATENCY)
        return len(BODY)

    def stream(self, _ref: object, _span: object = None) -> Iterator[bytes]:
        self._turns.sleep(LATENCY)
        yield BODY


class _Listing:
    """Stands for the bucket's listing: the queue has not written anything yet, and is asked only that."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def has_any(self, _prefix: str) -> bool:
        self._turns.sleep(LATENCY)
        return False

    has_any_version = has_any


class _Bedrock:
    """Stands for Bedrock: somebody else's job has the slot."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def active_jobs(self) -> list[ListedJob]:
        self._turns.sleep(LATENCY)
        return [ListedJob("arn", "another", HAIKU, Status.IN_PROGRESS)]
