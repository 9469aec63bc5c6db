"""The memory of a run on demand with eight records of 25 MB, the longest lines that an upload may have."""

from __future__ import annotations

import base64
import io
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import boto3
import pytest
from batch_queue.aws.bucket import Bucket
from batch_queue.aws.runtime import Runtime
from batch_queue.aws.telemetry import CLIENT_CONFIG, RUNTIME_CONFIG
from batch_queue.core.rows import Chunk, Intent, Job, Status
from batch_queue.core.settings import Settings
from batch_queue.steps.on_demand import OnDemand
from batch_queue.steps.queue import Queue
from batch_queue.steps.run import Run
from botocore.awsrequest import AWSResponse

from tests.support.answers import Body
from tests.support.memory import peak_kib

pytestmark = pytest.mark.bench

ROOT = Path(__file__).resolve().parents[2]
RECORDS, RECORD_BYTES = 8, 25_000_000
#: Of the 1,024 MB that collect_results has by default; the rest is for the runtime and for what is not freed.
MOST_MIB = 640
LISTED = b"<ListBucketResult></ListBucketResult>"
BEGUN = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
COPIED = b"<CopyPartResult><ETag>x</ETag></CopyPartResult>"
JOINED = b"<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>"
ANSWER = {"output": {"message": {"role": "assistant", "content": [{"text": "x"}]}}, "stopReason": "end_turn"}


class AWS:
    """Answers for S3 and the models; it keeps nothing that it is sent."""

    def __init__(self, source: IO[bytes], size: int) -> None:
        self._source = source
        self._size = size

    def bucket(self, request: Any, **_: Any) -> Any:
        headers: Any = {"ETag": '"x"'}
        body = io.BytesIO()
        if request.method == "GET" and "list-type" in request.url:
            body = io.BytesIO(LISTED)
        elif request.method == "GET" and "source" in request.url:
            self._source.seek(0)
            headers["Content-Length"] = str(self._size)
            return AWSResponse(request.url, 200, headers, Body(self._source))
        elif request.method == "HEAD":
            headers["Content-Length"] = "6000000"  # a part that can be copied
        elif request.method == "POST":
            body = io.BytesIO(JOINED if "uploadId" in request.url else BEGUN)
        elif "copy" in str(request.headers):
            body = io.BytesIO(COPIED)
        return AWSResponse(request.url, 200, headers, Body(body))

    def model(self, request: Any, **_: Any) -> Any:
        time.sleep(0.3)  # so that calls overlap
        headers: Any = {"content-type": "application/json"}
        return AWSResponse(request.url, 200, headers, Body(io.BytesIO(json.dumps(ANSWER).encode())))


class Table:
    """The one chunk, and the job that runs it."""

    def __init__(self, chunk: Chunk, kind: str) -> None:
        self._chunk = chunk
        self._intent = Intent((chunk.ref,), {"modelInvocationType": kind})
        self.chunks = self
        self.jobs = self

    def intent(self, *_: Any) -> Intent:
        return self._intent

    def get(self, *_: Any) -> Chunk:
        return self._chunk

    def count_asked(self, *_: Any) -> bool:
        return True


def line(number: int, kind: str) -> bytes:
    data = base64.b64encode(os.urandom(RECORD_BYTES * 3 // 4)).decode()
    image: Any = {"type": "image", "source": {"type": "base64", "data": data}}
    if kind == "Converse":
        image = {"image": {"format": "png", "source": {"bytes": data}}}
    body = {"messages": [{"role": "user", "content": [image]}]}
    return json.dumps({"recordId": f"r{number}", "modelInput": body}).encode() + b"\n"


def run(kind: str) -> int:
    """Runs the records on demand; returns the peak memory of the process in KiB."""
    with TemporaryFile() as source:
        size = sum(source.write(line(number, kind)) for number in range(RECORDS))
        aws = AWS(source, size)
        session = boto3.Session("testing", "testing", region_name="us-east-1")
        s3 = session.client("s3", config=CLIENT_CONFIG)
        s3.meta.events.register("before-send.s3", aws.bucket)
        models = session.client("bedrock-runtime", config=RUNTIME_CONFIG)
        models.meta.events.register("before-send.bedrock-runtime", aws.model)
        chunk = Chunk("u", 1, "default", "source", 0, size, RECORDS, "", job_id="j", status=Status.SUBMITTED)
        job = Job(
            "j", "n", "default", "amazon.nova-lite-v1:0", Status.IN_PROGRESS,
            "", instead="on_demand", arn="on-demand",
        )  # fmt: skip
        table: Any = Table(chunk, kind)
        nobody: Any = None
        settings, bucket = Settings("n", "t", "b"), Bucket(s3, "b")
        queue = Queue(settings, table, bucket, nobody, nobody, time.time, nobody)
        assert OnDemand(queue, Runtime(models)).run(job, Run(time.time, "f", math.inf))
        return peak_kib()


@pytest.mark.parametrize("kind", ["InvokeModel", "Converse"])
def test_the_largest_records_fit_into_the_memory_of_the_function(kind: str) -> None:
    path = os.pathsep.join([str(ROOT / "lambdas"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", f"from tests.bench.test_on_demand import run; print(run('{kind}'))"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    peak = int(done.stdout.splitlines()[-1]) / 1024
    print(f"{RECORDS} records of {RECORD_BYTES / 1e6:.0f} MB by {kind}: peak {peak:.0f} MiB")
    assert peak < MOST_MIB
