"""What the queue itself costs, from counted calls and public prices, beside two other designs.

Not counted, because it depends on what people keep and log: storage, and CloudWatch. The free tier is left
out. The events of S3 and Bedrock, and the schedule, cost nothing.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from functools import cache

from tests.support.fake_bedrock import Timeline
from tests.support.load import Load
from tests.support.meter import CPU_SECONDS, LATENCIES, Meter
from tests.support.workloads import padded, scaled
from tools import checks

#: Prices in dollars for one unit, in us-east-1, as these pages had them in 2026. Lambda: arm64, as the module
#: configures it by default, https://aws.amazon.com/lambda/pricing/ · DynamoDB: on-demand capacity, standard
#: table class, https://aws.amazon.com/dynamodb/pricing/on-demand/ · S3: Standard,
#: https://aws.amazon.com/s3/pricing/ · Step Functions: Standard workflows,
#: https://aws.amazon.com/step-functions/pricing/
PRICES = {
    "requests": 0.20e-6,
    "gb_seconds": 0.000_013_333_4,
    "write_units": 0.625e-6,
    "read_units": 0.125e-6,
    "s3_writes": 0.005e-3,
    "s3_reads": 0.0004e-3,
    "transitions": 0.025e-3,
}
#: S3 bills these as PUT, COPY, POST or LIST requests. Deletions are free, and all else is a GET.
_S3_WRITES = (
    "CompleteMultipartUpload",
    "CopyObject",
    "CreateMultipartUpload",
    "ListMultipartUploads",
    "ListObjectVersions",
    "ListObjectsV2",
    "PutObject",
    "UploadPart",
    "UploadPartCopy",
)
_S3_READS = ("GetObject", "HeadObject")


@dataclass(frozen=True)
class Usage:
    """What is billed: Lambda's requests and GB-seconds, DynamoDB's units, S3's requests, transitions."""

    requests: float = 0.0
    gb_seconds: float = 0.0
    write_units: float = 0.0
    read_units: float = 0.0
    s3_writes: float = 0.0
    s3_reads: float = 0.0
    transitions: float = 0.0

    def plus(self, other: Usage, times: float = 1.0) -> Usage:
        """Adds ``times`` of another usage."""
        names = [field.name for field in fields(self)]
        return Usage(**{name: getattr(self, name) + times * getattr(other, name) for name in names})

    def dollars(self) -> dict[str, float]:
        """What each part costs, in dollars."""
        return {name: getattr(self, name) * price for name, price in PRICES.items()}

    @property
    def total(self) -> float:
        """What all of it costs, in dollars."""
        return sum(self.dollars().values())


@dataclass(frozen=True)
class Line:
    """A cost that grows with the number of uploads: ``first`` once, and ``each`` for each of them."""

    first: Usage
    each: Usage

    def of(self, uploads: int) -> Usage:
        """What this many uploads use."""
        return self.first.plus(self.each, uploads)


@cache
def memory_gb() -> float:
    """The memory of each function, in GB: the default of the input ``lambda_memory_size``."""
    text = (checks.ROOT / "variables.tf").read_text()
    found = re.search(r'variable "lambda_memory_size" \{.*?default\s+= (\d+)', text, re.DOTALL)
    assert found is not None
    return int(found.group(1)) / 1024


def used(meter: Meter) -> Usage:
    """What the functions have used."""
    by_operation = {name: sum(n for (_, one), n in meter.calls.items() if one == name) for name in LATENCIES}
    units = {kind: sum(n for (_, one), n in meter.units.items() if one == kind) for kind in ("read", "write")}
    # Lambda bills each millisecond that has begun.
    seconds = sum(math.ceil(run.seconds * 1000) / 1000 for run in meter.invocations)
    return Usage(
        requests=len(meter.invocations),
        gb_seconds=seconds * memory_gb(),
        write_units=units["write"],
        read_units=units["read"],
        s3_writes=sum(by_operation[name] for name in _S3_WRITES),
        s3_reads=sum(by_operation[name] for name in _S3_READS),
    )


# ------------------------------------------------------------------------------------------------ the queue

WEIGHT = 500
SMALL, MORE = 50, 150


def _one_job_each(uploads: int) -> Usage:
    """Each upload has 5,000 records, which are as many as a job takes."""
    weight, count = WEIGHT, 5000 // WEIGHT
    route = scaled(weight, min_records_per_job=count, max_records_per_job=count)
    load = Load(route, timeline=Timeline(weight=weight))
    for number in range(uploads):
        load.upload(f"{number:05d}.jsonl", padded(count, f"{number}-"))
    load.run()
    assert len(load.bedrock.jobs) == uploads
    return used(load.meter)


@cache
def one_job_each() -> Line:
    """The cost of uploads that have a job each, from two numbers of them."""
    return line({uploads: _one_job_each(uploads) for uploads in (SMALL, MORE)})


def line(measured: dict[int, Usage]) -> Line:
    """What two numbers of uploads have used, as a line."""
    (few, low), (many, high) = sorted(measured.items())
    each = Usage().plus(high.plus(low, -1.0), 1 / (many - few))
    return Line(low.plus(each, -few), each)


# ------------------------------------------------------------------------------------------- other designs


def _seconds(*operations: str) -> float:
    """How long a function takes for these calls, one after the other."""
    return sum(LATENCIES[name] + CPU_SECONDS for name in operations)


def article() -> Usage:
    """One upload in the design of "Automate Amazon Bedrock batch inference" (AWS Machine Learning Blog).

    ``create_batch_queue`` puts a row for each upload. ``process_batch_jobs`` runs every 15 minutes: it
    queries the table for jobs that run and for uploads that wait, gets each job, moves the files of those
    that have ended, and starts as many as have ended. One job an upload, ten at once. A job takes some 20
    minutes, so that two runs get it, which ten jobs share. Each change of the status moves the row in an
    index.
    """
    share = 2 / 10
    create = _seconds("PutItem")
    each = _seconds(
        *("GetModelInvocationJob",) * 2,
        "CreateModelInvocationJob",
        *("UpdateItem",) * 3,  # Submitted, InProgress, Completed
        "ListObjectsV2",  # its output
        *("CopyObject",) * 2,  # the input and the output, to where the processed files are
        *("DeleteObject",) * 2,
    )
    run = _seconds(*("Query",) * 3)
    return Usage(
        requests=1 + share,
        gb_seconds=(create + each + share * run) * memory_gb(),
        write_units=2 + 3 * 3,
        read_units=share * 3,
        s3_writes=3,
        s3_reads=0,
    )


def step_functions() -> Usage:
    """One upload in the design of AWS's "Bedrock Batch Job Orchestration" sample (amazon-bedrock-samples).

    A state machine runs once for an upload, from its start over five states: preprocess, a map with the task
    that starts the job and waits for its token, and a map with postprocess. A function hears of each of the
    five statuses of the job: it gets the job and the row of its token, sends a heartbeat or the success, and
    puts the row. Preprocess and postprocess have 10 GB of memory, the others 128 MB, all on x86_64, which
    costs a quarter more. What they do with the records is left out: they read their files and write one.
    """
    x86 = 0.000_016_666_7 / PRICES["gb_seconds"]
    statuses = 5
    large = _seconds("GetObject", "PutObject") + _seconds("GetObject", "GetObject", "PutObject")
    start = _seconds("CreateModelInvocationJob", "GetModelInvocationJob", "PutItem")
    told = _seconds(
        "GetModelInvocationJob", "GetItem", "Invoke", "PutItem"
    )  # a heartbeat takes as long as Invoke
    return Usage(
        requests=3 + statuses,
        gb_seconds=x86 * (large * 10 + (start + statuses * told) * 0.125),
        write_units=1 + statuses,
        read_units=statuses / 2,
        s3_writes=2,
        s3_reads=3,
        transitions=6,
    )
