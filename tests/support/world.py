"""The whole queue in one process, under a virtual clock: the real handlers, and AWS as tests need it.

S3 is moto's without HTTP (``direct_s3.py``), DynamoDB a table in memory (``memory_table.py``), and Bedrock
the simulator's core.

Nothing sleeps and nothing runs by itself: events wait in ``World.events`` until ``World.run`` delivers them.
Every AWS call of a handler passes ``World.before`` and ``World.after``, so that a test can fail it, take its
answer away, or end the function there.
"""

from __future__ import annotations

import heapq
import io
import itertools
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Self, cast
from unittest.mock import patch
from urllib.parse import quote_plus, unquote

import boto3
import collect_results
import create_batch_queue
import operate_queue
import process_batch_jobs
import publish_events
from batch_queue.aws import pool
from batch_queue.aws.bedrock import Bedrock
from batch_queue.aws.bucket import Bucket
from batch_queue.aws.events import Events
from batch_queue.aws.functions import Functions
from batch_queue.aws.listing import Listing
from batch_queue.aws.notifications import Notifications
from batch_queue.aws.patience import Patience
from batch_queue.aws.runtime import Runtime
from batch_queue.aws.table import Table
from batch_queue.aws.table.items import chunk_of, intent_of, job_of, upload_of
from batch_queue.aws.table.values import values_of
from batch_queue.core import names
from batch_queue.core.rows import TERMINAL, Chunk, Intent, Job, Route, Status, Upload
from batch_queue.core.settings import Settings
from batch_queue.steps import assembly, on_demand, queue
from batch_queue.steps.queue import Queue
from bedrock_batch_simulator import Config, Simulator, VirtualClock, attach
from botocore import UNSIGNED
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config as ClientConfig
from moto.core.models import MockAWS, botocore_stubber
from moto.moto_api._internal import mock_random
from moto.s3 import models as moto_s3
from moto.s3.models import s3_backends

from tests.support import direct_s3, lifecycle
from tests.support.memory_table import MemoryTable
from tests.support.routes import configured
from tests.support.told import Told

log = logging.getLogger(__name__)

REGION = "us-east-1"
ACCOUNT = "123456789012"  # the one that moto answers for
NAME = "queue"
HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
TIMEOUTS = {"create": 900.0, "process": 300.0, "collect": 900.0, "operate": 900.0, "publish": 60.0}
HANDLERS = {
    "create": create_batch_queue.handler,
    "process": process_batch_jobs.handler,
    "collect": collect_results.handler,
    "operate": operate_queue.handler,
    "publish": publish_events.handler,
}
GROUP = 4  # chunks whose parts are joined at once: so few that uploads of the tests have several groups
# The statuses that the rule of Bedrock's events leaves out (``job_state`` in main.tf).
PASSING = ("Submitted", "Validating", "Scheduled")
#: The default of the input notify_on.
NOTIFY_ON = ("Cancelled", "Expired", "Failed", "PartiallyCompleted", "Rejected", "Stopped")
SCHEDULE_SECONDS = 900.0
SWEEP_SECONDS = 86_400.0
RETRY_SECONDS = (60.0, 120.0)  # Lambda retries an asynchronous event twice, after a minute and two more

#: How the partitions of rows begin that are there as long as something is to be done.
BUSY = ("active", "entering", "orders", "queue#")
ENDED = frozenset(str(status) for status in TERMINAL)

Hook = Callable[["Call"], None]


class KilledError(Exception):
    """The function was ended in the middle; every further call of the same invocation fails with it too."""


@dataclass(frozen=True)
class Call:
    """One AWS call of a handler: which handler's, the how-many-eth of the whole run, and what it calls."""

    invocation: Invocation
    number: int
    operation: str
    params: Mapping[str, Any]

    @property
    def function(self) -> str:
        """Whose call it is: create, process, collect, operate or publish."""
        return self.invocation.function

    @property
    def to_the_table(self) -> bool:
        """Whether it goes to DynamoDB."""
        return "X-Amz-Target" in self.params["headers"]

    @property
    def enqueues(self) -> bool:
        """Whether it puts a chunk into the queue."""
        return self.operation == "TransactWriteItems" and b'"queue#' in self.params["body"]


@dataclass
class Invocation:
    """One run of a handler. ``skew``: by how many seconds its clock is ahead of the world's.

    ``answer``: what the handler returned.
    """

    function: str
    request_id: str
    deadline: float
    skew: float = 0.0
    dead: bool = False
    answer: Any = None


@dataclass(frozen=True)
class Context:
    """What Lambda hands to a handler."""

    aws_request_id: str
    function_name: str
    seconds: float

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


def records(count: int, prefix: str = "r") -> list[dict[str, Any]]:
    """Requests for a Claude model."""
    return [
        {
            "recordId": f"{prefix}{number}",
            "modelInput": {
                "anthropic_version": "bedrock-2023-05-31",
                "max_tokens": 50,
                "messages": [{"role": "user", "content": f"Question {prefix}{number}"}],
            },
        }
        for number in range(count)
    ]


def lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


_worlds: list[World] = []
"""The worlds that are open. The handlers' clients, which each process makes once, serve the last one."""

_invocation: ContextVar[Invocation] = ContextVar("invocation")


class _CurrentSimulator:
    """Stands for the simulator of the world that is open."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_worlds[-1].simulator, name)


class _End:
    """How a call ended, at once."""

    def __init__(self, function: Callable[[Any], Any], item: Any) -> None:
        with ExitStack() as stack:
            stack.push(self._keep)
            self._result = function(item)

    def _keep(self, _: object, error: BaseException | None, __: object) -> bool:
        self._error = error
        return isinstance(error, Exception)

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._result


class _Serial:
    """A pool that does what it is given in the caller's thread: one seed, one order of calls.

    What comes behind a step that fails has begun too, as if all of them had been side by side.
    """

    def __init__(self, max_workers: int) -> None:
        self._max_workers = max_workers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        ends = [_End(function, item) for item in items]
        return [end.result() for end in ends]


def _before(model: Any, params: Any, **_: Any) -> None:
    world, invocation = _worlds[-1], _invocation.get()
    if invocation.dead:
        raise KilledError
    world.calls += 1
    call = Call(invocation, world.calls, model.name, params)
    params["context"]["world_call"] = call
    if world.before:
        world.before(call)


def _after(context: Any, **_: Any) -> None:
    world = _worlds[-1]
    if world.after:
        world.after(context["world_call"])


def _invoke(params: Any, **_: Any) -> tuple[AWSResponse, dict[str, Any]]:
    function, event = params["url_path"].split("/")[3], json.loads(params["body"])
    if params["headers"].get("X-Amz-Invocation-Type") != "Event":
        return _run(params["url"], function, event)
    _worlds[-1].send(function, event)
    response = AWSResponse(params["url"], 202, HTTPHeaders(), io.BytesIO(b""))
    return response, {"StatusCode": 202, "ResponseMetadata": {"HTTPStatusCode": 202}}


def _run(url: str, function: str, event: Any) -> tuple[AWSResponse, dict[str, Any]]:
    """Runs a function whose caller waits for its answer."""
    invocation = _worlds[-1].invocation(function)
    error = _worlds[-1].invoke(function, event, invocation)
    failed = {"errorMessage": str(error), "errorType": type(error).__name__}
    payload = json.dumps(failed if error else invocation.answer).encode()
    answer = {"StatusCode": 200, "Payload": io.BytesIO(payload), "ResponseMetadata": {"HTTPStatusCode": 200}}
    response = AWSResponse(url, 200, HTTPHeaders(), io.BytesIO(b""))
    return response, {**answer, "FunctionError": "Unhandled"} if error else answer


def _put_events(params: Any, **_: Any) -> tuple[AWSResponse, dict[str, Any]]:
    entries = json.loads(params["body"])["Entries"]
    for entry in entries:
        _worlds[-1].told.take(entry)
    response = AWSResponse(params["url"], 200, HTTPHeaders(), io.BytesIO(b""))
    answers = [{"EventId": str(number)} for number in range(len(entries))]
    return response, {
        "FailedEntryCount": 0,
        "Entries": answers,
        "ResponseMetadata": {"HTTPStatusCode": 200},
    }


def _publish(params: Any, **_: Any) -> tuple[AWSResponse, dict[str, Any]]:
    _worlds[-1].told.messages.append(params["body"])
    response = AWSResponse(params["url"], 200, HTTPHeaders(), io.BytesIO(b""))
    return response, {"MessageId": "message", "ResponseMetadata": {"HTTPStatusCode": 200}}


def _if_match(params: Any, **_: Any) -> tuple[AWSResponse, dict[str, Any]] | None:
    """Has moto refuse to copy an object that was overwritten, as S3 does."""
    wanted = params["headers"].get("x-amz-copy-source-if-match")
    if not wanted:
        return None
    bucket, _slash, key = unquote(params["headers"]["x-amz-copy-source"]).lstrip("/").partition("/")
    found = s3_backends[ACCOUNT]["global"].get_object(bucket, key)
    if found is None or found.etag == wanted:
        return None
    error = {"Code": "PreconditionFailed", "Message": "The object was overwritten."}
    response = AWSResponse(params["url"], 412, HTTPHeaders(), io.BytesIO(b""))
    return response, {"Error": error, "ResponseMetadata": {"HTTPStatusCode": 412}}


#: Nobody here reads the user agent, which costs as much to build as a small answer.
CLIENT_CONFIG = ClientConfig(user_agent="tests")
#: Nor does the table in memory check a signature; moto's S3 takes a caller without one for a stranger.
DYNAMODB_CONFIG = CLIENT_CONFIG.merge(ClientConfig(signature_version=UNSIGNED))


def _memory() -> MemoryTable:
    return _worlds[-1].memory


@cache
def _session() -> Any:
    return boto3.Session(aws_access_key_id="test", aws_secret_access_key="test")


def plain_s3(config: ClientConfig) -> Any:
    """A new client that sees and arranges the world without passing the hooks."""
    client = _session().client("s3", region_name=REGION, config=config)
    direct_s3.install(client, ACCOUNT)
    return client


@cache
def _plain_s3() -> Any:
    """A client that sees and arranges the world without passing the hooks."""
    return plain_s3(CLIENT_CONFIG)


@cache
def _plain_dynamodb() -> Any:
    """A resource that sees and arranges the world without passing the hooks."""
    resource = _session().resource("dynamodb", region_name=REGION, config=DYNAMODB_CONFIG)
    MemoryTable.install(resource.meta.client, _memory)
    return resource


@cache
def plain_client() -> Any:
    """A client of DynamoDB that sees and arranges the world without passing the hooks."""
    client = _session().client("dynamodb", region_name=REGION, config=DYNAMODB_CONFIG)
    MemoryTable.install(client, _memory)
    return client


@cache
def _client(service: str) -> Any:
    """A handler's client: every call of it passes the hooks of the world that is open."""
    config = DYNAMODB_CONFIG if service == "dynamodb" else CLIENT_CONFIG
    client = _session().client(service, region_name=REGION, config=config)
    if service == "s3":
        for operation in ("CopyObject", "UploadPartCopy"):
            client.meta.events.register(f"before-call.s3.{operation}", _if_match)
        direct_s3.install(client, ACCOUNT)
    elif service == "dynamodb":
        MemoryTable.install(client, _memory)
    elif service == "lambda":
        client.meta.events.register("before-call.lambda.*", _invoke)
    elif service == "events":
        client.meta.events.register("before-call.eventbridge.PutEvents", _put_events)
    elif service == "sns":
        client.meta.events.register("before-call.sns.Publish", _publish)
    elif service.startswith("bedrock"):
        attach(cast("Simulator", _CurrentSimulator()), client)
    _hook(client)
    return client


@cache
def _bedrock() -> Bedrock:
    return Bedrock(_client("bedrock"))


def _hook(client: Any) -> None:
    service = client.meta.service_model.service_id.hyphenize()
    # As specific as the handlers that answer in the service's place: botocore calls those first.
    client.meta.events.register_first(f"before-call.{service}.*", _before)
    client.meta.events.register_last(f"after-call.{service}.*", _after)


class Moto(MockAWS):
    """moto without its mock of ``requests``, whose set-up takes a tenth of a second each time."""

    def _enable_patching(self, reset: bool = True) -> None:
        botocore_stubber.enabled = True
        if reset:
            self.reset()

    def _disable_patching(self, remove_data: bool) -> None:
        botocore_stubber.enabled = False
        if remove_data:
            self.reset()


class World:
    """An account with one queue in it. Use ``World.open`` as a context manager."""

    def __init__(
        self, routes: Sequence[Route], config: Mapping[str, Any], seed: int, media_prefixes: Sequence[str]
    ) -> None:
        self.clock = VirtualClock()
        self.model_id = routes[0].model_id
        self.before: Hook | None = None
        self.after: Hook | None = None
        self.pause: Callable[[float], None] = self.clock.advance
        self.calls = 0
        self.answer: Any = None  # of the last handler
        self.dead_letters: list[tuple[str, Any]] = []
        self.errors: list[tuple[str, Exception]] = []
        self.bedrock_events = True
        self.schedule = True
        self._next_schedule = self.clock() + SCHEDULE_SECONDS
        self.daily_sweep = False
        self._next_sweep = self.clock() + SWEEP_SECONDS
        self._ids = itertools.count(1)
        self._sequence = itertools.count()
        self._stamps = itertools.count()
        self.events: list[tuple[float, int, str, Any, int, str]] = []
        self.bucket = f"{NAME}-{ACCOUNT}-{REGION}"
        self.settings = Settings(
            name=NAME,
            table=f"{NAME}-queue",
            bucket=self.bucket,
            create_function="create",
            process_function="process",
            collect_function="collect",
            operate_function="operate",
            role_arn=f"arn:aws:iam::{ACCOUNT}:role/{NAME}-bedrock-{REGION}",
            event_bus=f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default",
            notification_topic=f"arn:aws:sns:{REGION}:{ACCOUNT}:people",
            notify_on=NOTIFY_ON,
            media_prefixes=tuple(media_prefixes),
        )
        # Plain clients see and arrange the world without passing the hooks.
        self.s3 = _plain_s3()
        self.memory = MemoryTable()
        self.told = Told()
        self.table = _plain_dynamodb().Table(self.settings.table)
        self.s3.create_bucket(Bucket=self.bucket)
        self.s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})
        self.routes = routes
        self.simulator = Simulator(
            self.s3,
            clock=self.clock,
            account=ACCOUNT,
            region=REGION,
            emit=self._bedrock_event,
            seed=seed,
            config=Config.from_dict({"check_role": False, "check_models": False, **config}),
        )
        self._wire()

    @classmethod
    @contextmanager
    def open(
        cls,
        *routes: Route,
        config: Mapping[str, Any] | None = None,
        seed: int = 0,
        media_prefixes: Sequence[str] = ("to-process/",),
    ) -> Iterator[World]:
        """A new world in which the handlers run; ``config`` is the simulator's."""
        found = (
            (configured("default", HAIKU), *routes) if "default" not in [r.name for r in routes] else routes
        )
        with Moto():
            mock_random.seed(seed)  # moto's version ids, and so our upload ids
            world = cls(found, config or {}, seed, media_prefixes)
            with (
                patch.object(moto_s3, "utcnow", world.moto_now),
                patch.object(on_demand, "ThreadPoolExecutor", _Serial),
                patch.object(pool, "ThreadPoolExecutor", _Serial),
                patch.object(assembly, "GROUP", GROUP),
                patch.object(queue, "_RANDOM", Random(seed)),
                patch.object(create_batch_queue, "_dependencies", lambda: world.queue),
                patch.object(process_batch_jobs, "_dependencies", lambda: (world.queue, _bedrock())),
                patch.object(collect_results, "_dependencies", lambda: (world.queue, world.runtime)),
                patch.object(operate_queue, "_dependencies", lambda: (world.queue, _bedrock())),
                patch.object(publish_events, "_dependencies", lambda: (world.queue, world.bus, world.topic)),
            ):
                _worlds.append(world)
                try:
                    world.new_table(world.clock() - 86_400.0)
                    yield world
                    world.tell()
                finally:
                    _worlds.pop()

    def expire_rows(self, some: Callable[[], bool] = lambda: True) -> int:
        """DynamoDB deletes rows whose time has come: those for which ``some`` says so. Gives how many."""
        due = [row for row in self.rows() if row.get("expires_at", self.clock()) < self.clock()]
        gone = [row for row in due if some()]
        for row in gone:
            self.table.delete_item(Key={"pk": row["pk"], "sk": row["sk"]})
        return len(gone)

    def new_table(self, since: float | None = None) -> None:
        """Replaces the table: only what Terraform writes is in it. ``since``: when it came into use."""
        for row in self.rows():
            self.table.delete_item(Key={"pk": row["pk"], "sk": row["sk"]})
        for route in self.routes:
            self.put_route(route)
        if since is not None:
            self.table.put_item(Item={"pk": "table", "sk": "began", "at": names.iso(since)})

    def put_route(self, route: Route) -> None:
        fields = {
            name: value for name, value in asdict(route).items() if value is not None and name != "name"
        }
        self.table.put_item(Item={"pk": "route", "sk": route.name, **fields})

    # ------------------------------------------------------------------------------------------ wiring

    def keep_rows(self, days: int | None) -> None:
        """Terraform applies another ``row_retention_days``."""
        self.settings = replace(self.settings, row_retention_days=days)
        self._wire()

    def notify(self, on: Sequence[str] = NOTIFY_ON, topic: str = "topic") -> None:
        """Terraform applies another ``notify_on`` or ``notification_topic_arn``; "" for no topic."""
        self.settings = replace(self.settings, notify_on=tuple(on), notification_topic=topic)
        self._wire()

    def _wire(self) -> None:
        settings = self.settings
        patience = Patience(self.time, pause=self._pause)
        self.queue = Queue(
            settings,
            Table(_client("dynamodb"), settings.table, patience),
            Bucket(_client("s3"), settings.bucket),
            Listing(_client("s3"), settings.bucket),
            Functions(_client("lambda"), patience),
            self.time,
            patience,
            self._sleep,
        )
        self.runtime = Runtime(_client("bedrock-runtime"), pause=lambda _: None)
        self.bus = Events(_client("events"), settings.event_bus, patience)
        topic = settings.notification_topic
        self.topic = Notifications(_client("sns"), topic, patience) if topic else None

    def _pause(self, longest: float) -> None:
        self.pause(longest)

    def _sleep(self, seconds: float) -> None:
        self.pause(seconds)

    def time(self) -> float:
        """The time (epoch seconds) as the running handler sees it."""
        return self.clock() + _invocation.get().skew

    def moto_now(self) -> datetime:
        """The time as moto's S3 stamps objects with it, by which it sorts versions: never the same twice."""
        stamp = self.clock() + next(self._stamps) / 1e6
        return datetime.fromtimestamp(stamp, UTC).replace(tzinfo=None)

    def skip(self, seconds: float) -> None:
        """Lets time pass in which no function runs: the schedule does not make up for it."""
        self.clock.advance(seconds)
        self.simulator.tick()
        self._next_schedule = self.clock() + SCHEDULE_SECONDS

    def expire(self) -> list[str]:
        """Deletes what the bucket's lifecycle rules delete because of its age; gives its keys."""
        found = []
        for rule in lifecycle.rules():
            if rule.days is None:
                continue
            born = self.clock() - rule.days * 86_400
            for key, modified in self.current(rule.prefix):
                if modified < born:
                    self.s3.delete_object(Bucket=self.bucket, Key=key)
                    found.append(key)
        return found

    def current(self, prefix: str) -> list[tuple[str, float]]:
        """The keys of the objects below a prefix, and when each was written (epoch seconds)."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [
            (one["Key"], one["LastModified"].timestamp())
            for page in pages
            for one in page.get("Contents", [])
        ]

    def left(self) -> list[str]:
        """What is left in the work area, but for how far large uploads were read, which expires by age."""
        work = self.settings.work_prefix
        keys = [key for key, _ in self.current(work)]
        parts = self.s3.list_multipart_uploads(Bucket=self.bucket, Prefix=work).get("Uploads", [])
        keys += [f"parts of {part['Key']}" for part in parts]
        return [key for key in keys if not key.startswith(f"{work}reading/")]

    def ever(self, prefix: str) -> dict[str, bytes]:
        """The last contents of all objects that were ever below a prefix, also of those that were deleted."""
        pages = self.s3.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=prefix)
        versions = [each for page in pages for each in page.get("Versions", [])]
        last = {each["Key"]: each["VersionId"] for each in reversed(versions)}
        return {
            key: self.s3.get_object(Bucket=self.bucket, Key=key, VersionId=version)["Body"].read()
            for key, version in last.items()
        }

    def kill(self) -> None:
        """Ends the invocation that is running: this call and all that follow fail."""
        _invocation.get().dead = True
        raise KilledError

    # ------------------------------------------------------------------------------------------ events

    def send(
        self, function: str, event: Any, delay: float = 0.0, attempt: int = 0, request_id: str = ""
    ) -> None:
        """Puts an asynchronous event for a function on its way. Lambda's retries have its ``request_id``."""
        entry = (self.clock() + delay, next(self._sequence), function, event, attempt, request_id)
        heapq.heappush(self.events, entry)

    def _bedrock_event(self, event: dict[str, Any]) -> None:
        detail = event["detail"]
        ours = detail["batchJobName"].startswith(f"{NAME}-") and detail["status"] not in PASSING
        if self.bedrock_events and ours:
            self.send("process", event)

    def s3_event(self, key: str, version: str, etag: str) -> dict[str, Any]:
        """One record as S3 sends it, with the key form-encoded."""
        return {
            "eventName": "ObjectCreated:Put",
            "eventTime": names.iso(self.clock()),
            "s3": {
                "bucket": {"name": self.bucket},
                "object": {
                    "key": quote_plus(key, safe="/"),
                    "versionId": version,
                    "eTag": etag,
                    "sequencer": f"{next(self._sequence):016X}",
                },
            },
        }

    def put(self, key: str, body: bytes) -> tuple[str, dict[str, Any]]:
        """Puts an object under the input prefix; gives its upload id and its event, which goes nowhere."""
        answer = self.s3.put_object(Bucket=self.bucket, Key=f"to-process/{key}", Body=body)
        version = answer["VersionId"]
        record = self.s3_event(f"to-process/{key}", version, answer["ETag"].strip('"'))
        return names.upload_id(self.bucket, f"to-process/{key}", version), {"Records": [record]}

    def upload(self, key: str, body: bytes, deliveries: int = 1) -> str:
        """Puts an object under the input prefix, whose event comes ``deliveries`` times; gives its id."""
        upload_id, event = self.put(key, body)
        for _ in range(deliveries):
            self.send("create", event)
        return upload_id

    def invocation(self, function: str, skew: float = 0.0, request_id: str = "") -> Invocation:
        """A new run of a handler, which has its function's time-out from now on."""
        request_id = request_id or f"request-{next(self._ids)}"
        return Invocation(function, request_id, self.clock() + TIMEOUTS[function], skew)

    def invoke(self, function: str, event: Any, invocation: Invocation | None = None) -> Exception | None:
        """Runs a handler now; gives the error that ended it."""
        invocation = invocation or self.invocation(function)
        known = _invocation.set(invocation)
        try:
            handler: Callable[..., Any] = HANDLERS[function]
            invocation.answer = handler(event, Context(invocation.request_id, function, TIMEOUTS[function]))
            self.answer = invocation.answer
        except Exception as error:
            log.exception("%s ended with an error", function)
            self.errors.append((function, error))
            return error
        finally:
            _invocation.reset(known)
        return None

    def order(self, order: str, **members: Any) -> dict[str, Any]:
        """Gives an order, as somebody does who invokes the function and waits for its answer."""
        error = self.invoke("operate", {"order": order, **members})
        assert error is None, error
        return cast("dict[str, Any]", self.answer)

    def publish(self, invocation: Invocation | None = None) -> Exception | None:
        """The event source mapping hands over its next batch; gives the error that ended the function."""
        stream = self.memory.stream
        batch = stream.batch()
        invocation = invocation or self.invocation("publish")
        error = self.invoke("publish", {"Records": batch}, invocation)
        stream.settle(batch, invocation.answer, error)
        return error

    def tell(self) -> None:
        """Has everything published, without a fault, and checks what receivers were told.

        It passes no hook, and no time.
        """
        before, after, calls = self.before, self.after, self.calls
        self.before = self.after = None
        try:
            while self.memory.stream.pending:
                if error := self.publish():
                    raise error
        finally:
            self.before, self.after, self.calls = before, after, calls
        self.told.check(self.uploads(), self.jobs())

    def step(self) -> bool:
        """Lets the next thing happen: an event, a change at Bedrock, or the schedule. False: none is left."""
        due = self.simulator.next_due()
        times = [self.events[0][0]] if self.events else []
        times += [due] if due is not None else []
        times += [self._next_schedule] if self.schedule else []
        times += [self._next_sweep] if self.daily_sweep else []
        if not times:
            return False
        self.clock.set(min(times))
        self.simulator.tick()
        if self.schedule and self.clock() >= self._next_schedule:
            self._next_schedule += SCHEDULE_SECONDS
            self.send("process", {"source": "aws.events", "detail-type": "Scheduled Event"})
        if self.daily_sweep and self.clock() >= self._next_sweep:
            self._next_sweep += SWEEP_SECONDS
            self.send("create", {"sweep": True})
        if self.events and self.events[0][0] <= self.clock():
            _, _, function, event, attempt, request_id = heapq.heappop(self.events)
            invocation = self.invocation(function, request_id=request_id)
            if self.invoke(function, event, invocation):
                if attempt < len(RETRY_SECONDS):
                    delay = RETRY_SECONDS[attempt]
                    self.send(function, event, delay, attempt + 1, invocation.request_id)
                else:
                    self.dead_letters.append((function, event))
        return True

    def run(self, until: Callable[[], bool] | None = None, steps: int = 600) -> None:
        """Lets things happen until ``until`` holds; by default until every upload has ended, all quiet."""
        done = until or (lambda: not self.events and self.at_rest())
        for _ in range(steps):
            if done():
                return
            if not self.step():
                break
        assert done(), f"still at work: {Counter(upload.status for upload in self.uploads())}"

    # ------------------------------------------------------------------------------------------- views

    def rows(self) -> list[dict[str, Any]]:
        """Every row of the table, read past the API: the tests look often."""
        return [values_of(item) for item in self.memory.rows]

    def unhooked(self) -> Table:
        """The queue's table, for calls that do not pass the hooks."""
        return Table(plain_client(), self.settings.table, Patience())

    def _items(self, sk_prefix: str) -> list[dict[str, Any]]:
        return [values_of(item) for item in self.memory.rows if item["sk"]["S"].startswith(sk_prefix)]

    def uploads(self) -> list[Upload]:
        return [upload_of(item) for item in self._items("upload")]

    def chunks(self) -> list[Chunk]:
        return [chunk_of(item) for item in self._items("chunk#")]

    def jobs(self) -> list[Job]:
        return [job_of(item) for item in self._items("job") if item["sk"] == "job"]

    def runs(self, job: Job) -> Intent:
        """What a job runs: nothing if that row has expired."""
        found = [row for row in self._items("intent") if row["pk"] == job.job_id]
        return intent_of(found[0] if found else {})

    def one_upload(self, upload_id: str) -> Upload:
        (found,) = [upload for upload in self.uploads() if upload.upload_id == upload_id]
        return found

    def at_rest(self) -> bool:
        """Whether every upload has ended, and no place, active job, open order or lease is left."""
        return not any(map(_at_work, self.memory.rows))

    def result(self, upload: Upload) -> list[dict[str, Any]]:
        """The lines of an upload's own result, by the version that its row names."""
        body = self.s3.get_object(
            Bucket=self.bucket, Key=upload.result_key, VersionId=upload.result_version_id
        )
        return [json.loads(line) for line in body["Body"].read().split(b"\n") if line]

    def bedrock_jobs(self) -> list[dict[str, Any]]:
        """Bedrock's own view of our jobs."""
        return [job for job in self.simulator.state()["jobs"] if not job["foreign"]]


def _at_work(item: Mapping[str, Any]) -> bool:
    """Whether a row, as DynamoDB has it, keeps the queue from being at rest."""
    sort_key = item["sk"]["S"]
    if sort_key == "upload":
        return item["status"]["S"] not in ENDED
    return item["pk"]["S"].startswith(BUSY) or (sort_key == "lease" and "owner" in item)


def statuses(world: World) -> Counter[Status]:
    """How many uploads have which status."""
    return Counter(upload.status for upload in world.uploads())


def package_root() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parents[2]
