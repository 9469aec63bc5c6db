"""The CPU time of a cold start against boto3 with one client: each start is a new interpreter.

As in Lambda, the functions are the files of the package, without compiled ones; those of botocore are there.
All starts take turns, because a machine is not equally fast all the time. Each is compared with boto3 in the
same turn, and the median of the turns counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from statistics import median

import pytest

from tests.bench.record import record
from tests.support.starts import ENVIRONMENT, IN_LAMBDA
from tools import package

pytestmark = pytest.mark.bench

TURNS = 15
GOAL = 1.15
HANDLERS = ("create_batch_queue", "process_batch_jobs", "collect_results", "operate_queue", "publish_events")
BOTO3 = "import boto3; boto3.client('dynamodb')"
#: A start with the clients that a function needs later, to stage a job or to wake another function.
EVENT = """
import {0}
found = {0}._dependencies()
queue = found[0] if isinstance(found, tuple) else found
queue.functions._lambda.meta, queue.bucket._s3.meta
"""
STARTS = {
    "boto3 with one client": BOTO3,
    **{handler: f"import {handler}" for handler in HANDLERS},
    **{f"{handler}, every client but Bedrock's runtime": EVENT.format(handler) for handler in HANDLERS},
}
MEASURED = """
import resource
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime)
"""


def cpu_seconds(code: str, package_folder: Path, *options: str) -> float:
    """The CPU time of a new interpreter that runs some code, its own start included."""
    path = os.environ.get("PATH", "")
    done = subprocess.run(
        [sys.executable, *options, "-c", code + MEASURED],
        env={**ENVIRONMENT, **IN_LAMBDA, "PATH": path, "PYTHONPATH": str(package_folder)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return float(done.stdout)


def test_a_function_starts_nearly_as_fast_as_boto3_with_one_client(tmp_path: Path) -> None:
    with zipfile.ZipFile(BytesIO(package.build())) as files:
        files.extractall(tmp_path)
    cpu_seconds(BOTO3, tmp_path)  # so that botocore's files are compiled
    turns = [{name: cpu_seconds(code, tmp_path, "-B") for name, code in STARTS.items()} for _ in range(TURNS)]
    base = "boto3 with one client"
    best = {name: min(turn[name] for turn in turns) for name in STARTS}
    ratios = {name: median(turn[name] / turn[base] for turn in turns) for name in STARTS}
    print("\n to boto3: median of the turns, best of all")
    for name, ratio in ratios.items():
        print(f"{ratio:5.2f} {best[name] / best[base]:5.2f} {1000 * best[name]:4.0f} ms of CPU  {name}")
    record(
        "cold_start",
        {
            name: {"ratio to boto3": round(ratios[name], 2), "CPU (ms)": round(1000 * best[name])}
            for name in STARTS
        },
    )
    assert not list(tmp_path.rglob("*.pyc"))
    assert {name: ratio for name, ratio in ratios.items() if name in HANDLERS and ratio > GOAL} == {}
