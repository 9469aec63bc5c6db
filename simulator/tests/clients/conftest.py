"""The simulator's server, where Bedrock and S3 answer."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .isolation import REGION, isolate, refuse_connections
from .program import server

_HOME = tempfile.TemporaryDirectory(prefix="simulator-clients-")
# Before any client is imported, since some read their settings then.
isolate(Path(_HOME.name))
_REFUSED = refuse_connections()

import boto3  # noqa: E402
from bedrock_batch_simulator.control import SimulatorControl  # noqa: E402

ACCOUNT = "123456789012"
BUCKET = "batch-bucket"
CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"


def pytest_unconfigure() -> None:
    """Remove what the clients wrote."""
    _HOME.cleanup()


@dataclass(frozen=True)
class Aws:
    """The URL of the server, its clock and settings, and an S3 client to look with."""

    url: str
    control: SimulatorControl
    objects: Any
    role_arn: str = f"arn:aws:iam::{ACCOUNT}:role/batch"
    model_id: str = CLAUDE
    bucket: str = BUCKET

    def records(self, count: int) -> bytes:
        """An input of `count` records, r0, r1 and so on."""
        body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 20}
        lines = [
            {"recordId": f"r{n}", "modelInput": {**body, "messages": [{"role": "user", "content": f"Q{n}"}]}}
            for n in range(count)
        ]
        return "".join(f"{json.dumps(line)}\n" for line in lines).encode()

    def put(self, key: str, count: int) -> None:
        """Store an input of `count` records."""
        self.objects.put_object(Bucket=BUCKET, Key=key, Body=self.records(count))

    def boto3(self) -> Any:
        """A boto3 client of Bedrock."""
        return boto3.client("bedrock", region_name=REGION, endpoint_url=self.url)

    def create(self, *names: str) -> list[str]:
        """Create jobs over in/, ten simulated seconds apart; returns their ARNs."""
        arns = []
        for name in names:
            answer = self.boto3().create_model_invocation_job(
                jobName=name,
                roleArn=self.role_arn,
                modelId=self.model_id,
                inputDataConfig={"s3InputDataConfig": {"s3Uri": f"s3://{BUCKET}/in/"}},
                outputDataConfig={"s3OutputDataConfig": {"s3Uri": f"s3://{BUCKET}/out/"}},
            )
            arns.append(answer["jobArn"])
            self.control.advance(10)
        return arns

    def job(self, arn: str) -> Any:
        """The job as the simulator's state shows it."""
        return next(job for job in self.control.jobs() if job["jobArn"] == arn)


@pytest.fixture(scope="session")
def running() -> Iterator[str]:
    """The server's URL; it has the bucket."""
    with server("--account", ACCOUNT, "--region", REGION, "--no-events") as url:
        boto3.client("s3", endpoint_url=url).create_bucket(Bucket=BUCKET)
        yield url


@pytest.fixture
def aws(running: str) -> Iterator[Aws]:
    """The server without a job and an object, under a clock that stands and takes jobs of one record."""
    control = SimulatorControl(running)
    control.reset(config=True)
    control.configure(models={"*": {"min_records": 1}})
    control.clock(mode="manual", speed=1)
    objects = boto3.client("s3", endpoint_url=running)
    yield Aws(running, control, objects)
    control.reset()
    for page in objects.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for each in page.get("Contents", []):
            objects.delete_object(Bucket=BUCKET, Key=each["Key"])


@pytest.fixture(autouse=True)
def _nothing_leaves_the_machine() -> Iterator[None]:
    yield
    assert not _REFUSED, "a client tried to reach the network"
