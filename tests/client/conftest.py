"""A person at a terminal, whose queue is in one process under a virtual clock."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import boto3
import pytest
from bedrock_batch import client, commands
from bedrock_batch.__main__ import run
from bedrock_batch.client import Queue
from bedrock_batch.connection import ABOUT_KEY
from bedrock_batch.version import VERSION
from botocore.config import Config

from tests.support import world as worlds
from tests.support.routes import configured
from tests.support.world import ACCOUNT, HAIKU, REGION, World

#: Jobs of any size, which last long enough for an order to meet them.
SIMULATOR = {"models": {"*": {"min_records": 1, "max_active_jobs": 2, "records_per_second": 0.1}}}
ROUTES = (
    configured("default", HAIKU, max_active_jobs=2, min_records_per_job=1, pack_wait_minutes=0),
    configured(
        "priced",
        HAIKU,
        max_active_jobs=2,
        min_records_per_job=1,
        pack_wait_minutes=0,
        input_price="0.4",
        output_price="2",
    ),
)
FUNCTIONS = {"operate_queue": "operate", "create_batch_queue": "create", "process_batch_jobs": "process"}


class Session:
    """In the place of boto3's: its clients reach the world that is open."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.region_name = REGION

    def client(self, service: str, config: Any = None) -> Any:
        """A client; what it uploads gives the events of S3."""
        if service == "dynamodb":
            return worlds.plain_client()
        if service == "lambda":
            return Lambda(self._world)
        # moto gives the copy of an object that was sent in parts the checksum of its parts.
        without = Config(request_checksum_calculation="when_required")
        made = worlds.plain_s3((config or Config()).merge(without))
        for operation in ("PutObject", "CompleteMultipartUpload"):
            made.meta.events.register(f"after-call.s3.{operation}", self._uploaded)
        return made

    def _uploaded(self, parsed: Any, **_: Any) -> None:
        found = self._world.s3.list_object_versions(Bucket=self._world.bucket, Prefix="to-process/")
        newest = next(one for one in found["Versions"] if one["VersionId"] == parsed["VersionId"])
        event = self._world.s3_event(newest["Key"], newest["VersionId"], newest["ETag"].strip('"'))
        self._world.send("create", {"Records": [event]})


class Lambda:
    """In the place of a client of Lambda."""

    def __init__(self, world: World) -> None:
        self._world = world

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803 (boto3's)
        with redirect_stdout(io.StringIO()):
            error = self._world.invoke(FunctionName, json.loads(Payload))
        failed = {"errorMessage": str(error), "errorType": type(error).__name__}
        payload = io.BytesIO(json.dumps(failed if error else self._world.answer).encode())
        return {"StatusCode": 200, "Payload": payload, **({"FunctionError": "Unhandled"} if error else {})}


class Clock:
    """In the place of the module ``time``: whoever sleeps lets things happen in the world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def time(self) -> float:
        return self._world.clock()

    def monotonic(self) -> float:
        return self._world.clock()

    def strftime(self, _: str) -> str:
        return "12:00:00"

    def sleep(self, seconds: float) -> None:
        """Lets everything happen that is due by then."""
        end = self._world.clock() + seconds
        with redirect_stdout(io.StringIO()):  # to which functions write their metrics
            while self._world.clock() < end and self._world.step():
                pass


class Person:
    """Types commands, and sees what they print."""

    def __init__(self, world: World, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.queue = Queue(worlds.NAME, session=Session(world))  # type: ignore[arg-type]
        self._capsys = capsys
        self.err = ""

    def types(self, *arguments: str, code: int = 0) -> str:
        """Runs a command, which must end with this exit code; gives its stdout, and keeps its stderr."""
        self._capsys.readouterr()
        found = run([*arguments, "--queue", worlds.NAME])
        out, self.err = self._capsys.readouterr()
        assert found == code, f"exit code {found}\n{out}\n{self.err}"
        return out

    def document(self, *arguments: str, code: int = 0) -> Any:
        """Runs a command with --json; gives its document."""
        return json.loads(self.types(*arguments, "--json", code=code))

    def file(self, name: str, body: bytes) -> str:
        """Writes a file of the person's own; gives its path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        return str(path)


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here may reach an AWS, real or local, whatever the shell is set to."""
    for name in os.environ:
        if name.startswith("AWS_") or name == "BEDROCK_BATCH_QUEUE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with World.open(*ROUTES, config=SIMULATOR) as found:
        found.table.put_item(Item=about(found))
        monkeypatch.setattr(boto3, "Session", lambda **_: Session(found))
        clock = Clock(found)
        for module in (client, commands.submit, commands.looking, commands.watch, commands.orders):
            monkeypatch.setattr(module, "time", clock)
        yield found


@pytest.fixture
def person(world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Person:
    return Person(world, capsys, tmp_path)


def about(world: World) -> dict[str, Any]:
    """The row that Terraform writes for clients."""
    pk, sk = ABOUT_KEY
    return {
        "pk": pk,
        "sk": sk,
        "version": VERSION,
        "name": worlds.NAME,
        "account_id": ACCOUNT,
        "region": REGION,
        "bucket": world.bucket,
        "input_prefix": "to-process/",
        "output_prefix": "processed/",
        "media_prefixes": "to-process/",
        "role_arn": world.settings.role_arn,
        "dead_letter_queue": "https://sqs.us-east-1.amazonaws.com/1/letters",
        "functions": FUNCTIONS,
        "rules": {"schedule": "schedule", "job_state": "job-state"},
    }
