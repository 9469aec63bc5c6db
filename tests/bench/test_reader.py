"""The reader against a bare loop of json.loads over the same lines, and its memory on a file of 1 GB."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from batch_queue.core import reading
from batch_queue.steps.validation import chunk_limits

from tests.support.routes import configured

pytestmark = pytest.mark.bench

ROOT = Path(__file__).resolve().parents[2]
LIMITS = chunk_limits(configured("default", "anthropic.claude-3-haiku-20240307-v1:0"))
BLOCK = 1 << 20
MEMORY = """
import json
from batch_queue.core import reading
from tests.bench.test_reader import LIMITS, line
from tests.support.memory import peak_kib

def blocks(size):
    number = given = 0
    while given < size:
        block = b"".join(line(number + n) for n in range(1000))
        number, given = number + 1000, given + len(block)
        yield block

found = reading.scan(blocks(1_000_000_000), LIMITS)
assert not found.ids.twice(1) and not found.fault_count and found.done
print(json.dumps({"records": found.records, "bytes": found.offset, "peak_kib": peak_kib()}))
"""


def line(number: int) -> bytes:
    body = {"max_tokens": 100, "messages": [{"role": "user", "content": f"{number} " + "word " * 180}]}
    return json.dumps({"recordId": f"record-{number}", "modelInput": body}).encode() + b"\n"


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def test_the_reader_is_within_one_and_a_half_of_a_bare_loop() -> None:
    data = b"".join(line(number) for number in range(100_000))
    blocks = [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]

    def bare() -> None:
        for raw in data.split(b"\n"):
            if raw:
                json.loads(raw)

    def reader() -> None:
        assert not reading.scan(blocks, LIMITS).ids.twice(1)

    ratios = sorted(seconds(reader) / seconds(bare) for _ in range(7))
    print(f"reader / bare json.loads over {len(data) / 1e6:.0f} MB: {ratios[3]:.2f} (median of 7)")
    assert ratios[3] < 1.5


def test_the_reader_takes_little_memory_for_a_file_of_1_gb() -> None:
    path = os.pathsep.join([str(ROOT / "lambdas"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", MEMORY],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    found = json.loads(done.stdout)
    print(f"{found['bytes']:,} bytes, {found['records']:,} records: peak {found['peak_kib'] / 1024:.0f} MiB")
    assert found["peak_kib"] < 256 * 1024
