"""The whole queue under load: the real handlers, many at once, against AWS in memory under a virtual clock.

Each invocation is a thread, and so is each call of those that it makes at once; they take turns
(``turns.py``), and none waits in real time. Every AWS call takes the time that it usually takes
(``meter.py``). DynamoDB throttles (``capacity.py``), and Lambda has its concurrency, time-outs, retries and
dead letters (``fake_lambda.py``).
"""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import asdict, replace
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import collect_results
import create_batch_queue
import process_batch_jobs
from batch_queue import clients
from batch_queue.aws.patience import Patience
from batch_queue.core import names
from batch_queue.core.rows import Route
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from tests.support import starts
from tests.support.capacity import Capacity
from tests.support.fake_bedrock import FakeBedrock, Timeline
from tests.support.fake_dynamo import TABLE, FakeDynamo
from tests.support.fake_lambda import CONCURRENCY, FakeLambda
from tests.support.fake_pool import Pool
from tests.support.fake_rows import key_of, row_of
from tests.support.memory_s3 import MemoryS3
from tests.support.meter import CPU_SECONDS, Meter
from tests.support.turns import Turns
from tests.support.world import HAIKU, PASSING, SCHEDULE_SECONDS

EPOCH = 1_767_225_600.0
BUCKET = "bucket"
ENVIRONMENT = {
    **starts.ENVIRONMENT,
    "TABLE": TABLE,
    "BUCKET": BUCKET,
    "ROLE_ARN": "arn:aws:iam::123456789012:role/bedrock",
}
_HANDLERS = (create_batch_queue, process_batch_jobs, collect_results)
#: Rows that say that there is still something to do.
_BUSY = ("active", "entering")

_to_value = TypeSerializer().serialize
_of_value = TypeDeserializer().deserialize


class Load:
    """One queue. ``limits``: whether DynamoDB throttles. ``pace``: seconds of CPU for each byte of an upload.

    ``foreign``: how many slots have jobs of somebody else, which never end.
    """

    def __init__(
        self,
        *routes: Route,
        timeline: Timeline | None = None,
        limits: bool = True,
        cpu_seconds: float = CPU_SECONDS,
        concurrency: int = CONCURRENCY,
        pace: float = 0.0,
        block: int = 1 << 20,
        foreign: int = 0,
        seed: int = 0,
    ) -> None:
        self.turns = Turns(EPOCH)
        self.meter = Meter(self.turns, cpu_seconds)
        self._time = SimpleNamespace(time=self.turns, sleep=self.meter.sleep)
        self._chance = Random(seed)
        self.table = FakeDynamo(self.meter, Capacity(self.turns, limits=limits), self._chance)
        self.s3 = MemoryS3(self.meter, pace, block=block)
        self.functions = FakeLambda(self.meter, concurrency)
        self.bedrock = FakeBedrock(self.meter, self.s3, self._hears, timeline or Timeline(), foreign, HAIKU)
        for route in routes:
            fields = {name: value for name, value in asdict(route).items() if value is not None}
            self.put({"pk": "route", "sk": fields.pop("name"), **fields})
        self.put({"pk": "table", "sk": "began", "at": names.iso(EPOCH - 30 * 86_400)})

    def _hears(self, event: dict[str, Any]) -> None:
        """The rule of ``main.tf`` that hands Bedrock's events over."""
        if event["detail"]["status"] not in PASSING:
            self.functions.arrives("process", event)

    # -------------------------------------------------------------------------------------- arrangement

    def put(self, row: dict[str, Any]) -> None:
        """Stores a row of the table."""
        item = {name: _to_value(value) for name, value in row.items()}
        self.table.rows.store(key_of(item), row_of(item))

    def upload(self, key: str, body: bytes, at: float = 0.0) -> None:
        """Has an upload come ``at`` seconds from now."""
        self.turns.start(partial(self._upload, f"to-process/{key}", body), at)

    def _upload(self, key: str, body: bytes) -> None:
        version = self.s3.store(key, body)
        found = {
            "key": key,
            "versionId": version.version_id,
            "eTag": version.etag.strip('"'),
            "size": len(body),
            "sequencer": version.version_id[1:],
        }
        record = {
            "eventName": "ObjectCreated:Put",
            "eventTime": names.iso(self.turns.now),
            "s3": {"bucket": {"name": BUCKET}, "object": found},
        }
        self.functions.arrives("create", {"Records": [record]})

    # --------------------------------------------------------------------------------------------- running

    def run(self, *, schedule: bool = True) -> None:
        """Lets everything happen. ``schedule``: also the scheduled runs, while there is something to do."""
        if schedule:
            self.turns.start(self._scheduled, SCHEDULE_SECONDS)
        with self.installed():
            self.turns.run()

    def invoke(self, function: str, event: Any) -> None:
        """Runs a function once, and all that follows."""
        self.functions.arrives(function, event)
        self.run(schedule=False)

    def _scheduled(self) -> None:
        if not self.functions.on_its_way and self.at_rest():
            return
        self.functions.arrives("process", {"source": "aws.events", "detail-type": "Scheduled Event"})
        self.turns.start(self._scheduled, SCHEDULE_SECONDS)

    def at_rest(self) -> bool:
        """Whether no place, active job or unfinished entry is left."""
        shards = (f"#{number}" if number else "" for number in range(names.SHARDS))
        routes = [route["sk"]["S"] for route in self.table.rows.of("route")]
        queues = [f"queue#{route}{shard}" for shard in shards for route in routes]
        return not any(self.table.rows.of(pk) for pk in (*_BUSY, *queues))

    @contextmanager
    def installed(self) -> Iterator[None]:
        """The handlers work on this queue."""
        with ExitStack() as stack:
            stack.enter_context(redirect_stdout(io.StringIO()))
            stack.enter_context(patch.dict(os.environ, ENVIRONMENT))
            stack.enter_context(patch.object(clients, "client", self._client))
            stack.enter_context(patch.object(clients, "time", self._time))
            stack.enter_context(
                patch.object(clients, "Patience", partial(Patience, self.turns, pause=self._pause))
            )
            for name, value in (("ThreadPoolExecutor", partial(Pool, self.meter)), ("_RANDOM", self._chance)):
                for module in _with(name):
                    stack.enter_context(patch.object(module, name, value))
            for handler in _HANDLERS:
                made = partial(_same, self._dependencies(handler))
                stack.enter_context(patch.object(handler, "_dependencies", made))
            logging.disable(logging.CRITICAL)
            try:
                yield
            finally:
                logging.disable(logging.NOTSET)

    def _dependencies(self, handler: Any) -> Any:
        """What a handler makes for itself, with a queue that sleeps in virtual time."""
        found = handler._dependencies.__wrapped__()
        queue, *others = found if isinstance(found, tuple) else (found,)
        queue = replace(queue, sleep=self.meter.sleep)
        return (queue, *others) if others else queue

    def _pause(self, longest: float) -> None:
        self.meter.sleep(self._chance.uniform(0, longest))

    def _client(self, service: str, _config: Any = None) -> Any:
        return {
            "s3": self.s3,
            "dynamodb": self.table,
            "lambda": self.functions,
            "bedrock": self.bedrock,
            "bedrock-runtime": self.bedrock,
        }[service]

    # ----------------------------------------------------------------------------------------------- views

    def rows(self, sk: str) -> list[dict[str, Any]]:
        """The rows whose sort key begins like this."""
        return [
            {name: _of_value(value) for name, value in item.items()}
            for item in self.table.rows
            if item["sk"]["S"].startswith(sk)
        ]

    def submitted(self) -> list[float]:
        """When each job was submitted, in seconds since the start, in order."""
        return sorted(job.history["Submitted"] - EPOCH for job in self.bedrock.jobs.values())


def _same(found: Any) -> Any:
    return found


def _with(name: str) -> list[Any]:
    """The modules of the queue that have such a name."""
    found = [module for key, module in sys.modules.items() if key.startswith("batch_queue")]
    return [module for module in found if hasattr(module, name)]
