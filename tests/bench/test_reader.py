"""The readers of inputs and outputs against a bare loop of json.loads over the same lines, and their memory.

``BENCH_READER_MB``: up to which size the memory is measured (default 100; 5000 for 5 GB).
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from batch_queue.core import media, outputs, reading
from batch_queue.core.admission import chunk_limits

from tests.bench.record import record
from tests.support.routes import configured

pytestmark = pytest.mark.bench

ROOT = Path(__file__).resolve().parents[2]
LIMITS = chunk_limits(configured("default", "anthropic.claude-3-haiku-20240307-v1:0"))
# What the intake calls for each record that may reference media.
CHECK = partial(media.check, bucket="b", route="default", allowed=True, prefixes=("media/",))
BLOCK = 1 << 20
BYTES = 1_500_000  # of each kind, parsed again and again
REPEATS = 25
READER, TALLY = 0.65, 0.9  # the least speed, as a fraction of the bare loop's
SLACK = 0.9
SIZES_MB = [size for size in (10, 100, 1_000, 5_000) if size <= int(os.environ.get("BENCH_READER_MB", "100"))]
MOST_KIB = {"reader": 256 * 1024, "tally": 512 * 1024}

PROSE = (
    "the of and a to in is you that it he was for on are as with his they I at be this have from or one had "
    'by word but not what all were we when your can said there use an each which she do how their if "will" '
    "up other about out many then them these so some her would make like him into time has look two more"
)
WORDS = PROSE.split()

Body = dict[str, Any]


def text(chance: random.Random, words: int) -> str:
    return " ".join(chance.choices(WORDS, k=words))


def claude(chance: random.Random, asked: int, answered: int, turns: int = 1) -> tuple[Body, Body]:
    """A Messages request with as many words in each turn, and its answer."""
    messages = [
        {
            "role": ("user", "assistant")[turn % 2],
            "content": [{"type": "text", "text": text(chance, asked)}],
        }
        for turn in range(turns)
    ]
    request = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 512,
        "temperature": 0.2,
        "messages": messages,
    }
    usage = {"input_tokens": turns * asked, "output_tokens": answered}
    return request, {
        "id": f"msg_{chance.getrandbits(64):x}",
        "type": "message",
        "role": "assistant",
        "model": "claude-3-haiku-20240307",
        "content": [{"type": "text", "text": text(chance, answered)}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }


def short_text(chance: random.Random) -> tuple[Body, Body]:
    """A Titan request of a few words, and its answer."""
    words = chance.randint(5, 15)
    result = {"tokenCount": words, "outputText": text(chance, words), "completionReason": "FINISH"}
    return {"inputText": text(chance, words)}, {"inputTextTokenCount": words, "results": [result]}


def embedding(chance: random.Random) -> tuple[Body, Body]:
    """A paragraph, and its embedding in 1,024 dimensions."""
    words = chance.randint(50, 150)
    request = {"inputText": text(chance, words), "dimensions": 1_024, "normalize": True}
    numbers = [chance.gauss(0, 0.03) for _ in range(1_024)]
    return request, {"embedding": numbers, "inputTextTokenCount": words}


KINDS: dict[str, Callable[[random.Random], tuple[Body, Body]]] = {
    "short texts": short_text,
    "long texts": lambda chance: claude(chance, 3_000, 500),
    "chats": lambda chance: claude(chance, 40, 80, turns=9),
    "embeddings": embedding,
}


def input_line(number: int, request: Body) -> bytes:
    return json.dumps({"recordId": f"record-{number}", "modelInput": request}).encode() + b"\n"


def output_line(number: int, request: Body, answer: Body) -> bytes:
    line = {"modelInput": request, "modelOutput": answer, "recordId": f"record-{number}"}
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def made(kind: str, reader: str, size: int) -> Iterator[bytes]:
    """Blocks of lines of a kind, as the bucket hands them over: ``size`` bytes in all, or a line more."""
    chance = random.Random(kind)
    samples = [KINDS[kind](chance) for _ in range(50)]
    held, given = bytearray(), 0
    for number in count():
        request, answer = samples[number % len(samples)]
        held += input_line(number, request) if reader == "reader" else output_line(number, request, answer)
        if len(held) >= BLOCK:
            yield bytes(held[:BLOCK])
            del held[:BLOCK]
            given += BLOCK
        if given + len(held) >= size:
            break
    yield bytes(held)


def scan(blocks: list[bytes] | Iterator[bytes]) -> int:
    found = reading.scan(blocks, LIMITS, check=CHECK, checked=media.LOCATION)
    assert found.done
    assert not found.fault_count
    return found.records


def tally(blocks: list[bytes] | Iterator[bytes]) -> int:
    found = outputs.tally(blocks, may_run_again=True)
    assert found.input_tokens
    assert not found.untidy
    return found.success


READERS = {"reader": (scan, READER), "tally": (tally, TALLY)}


def bare(rows: list[bytes]) -> None:
    for row in rows:
        json.loads(row)


def seconds(work: Callable[[], object]) -> float:
    # Of the processor: what else runs on the machine counts less.
    began = time.process_time()
    work()
    return time.process_time() - began


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_a_reader_is_nearly_as_fast_as_a_bare_loop(reader: str, kind: str) -> None:
    read, least = READERS[reader]
    blocks = list(made(kind, reader, BYTES))
    data = b"".join(blocks)
    rows = data.split(b"\n")[:-1]
    assert read(blocks) == len(rows)
    # One after the other, so that whatever else the machine does is in the way of both.
    times = [(seconds(lambda: read(blocks)), seconds(lambda: bare(rows))) for _ in range(REPEATS)]
    ours, theirs = (min(column) for column in zip(*times, strict=True))
    ratio = theirs / ours
    speed = f"{len(data) / 1e6 / ours:.0f} MB/s, json.loads {len(data) / 1e6 / theirs:.0f} MB/s"
    print(f"\n{reader}, {kind} ({len(data) // len(rows):,} bytes a line): {speed}: {ratio:.2f}")
    row = {"MB/s": len(data) / 1e6 / ours, "of json.loads": ratio, "goal": least}
    record("reader", {f"{reader}, {kind}": row})
    assert ratio >= least * SLACK


MEMORY = """
import json, sys
from tests.bench.test_reader import READERS, made
from tests.support.memory import peak_kib
reader, size = sys.argv[1], int(sys.argv[2])
records = READERS[reader][0](made("chats", reader, size))
print(json.dumps({"records": records, "peak_kib": peak_kib()}))
"""


@pytest.mark.parametrize("megabytes", SIZES_MB)
@pytest.mark.parametrize("reader", READERS)
def test_a_reader_takes_little_memory_whatever_the_size(reader: str, megabytes: int) -> None:
    path = os.pathsep.join([str(ROOT / "lambdas"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, reader, str(megabytes * 1_000_000)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=3_600,
    )
    found = json.loads(done.stdout)
    peak = found["peak_kib"] / 1024
    print(f"\n{reader}: {megabytes:,} MB, {found['records']:,} records: peak {peak:.0f} MiB")
    record("reader memory", {f"{reader}, {megabytes:,} MB": {"records": found["records"], "MiB": peak}})
    assert found["peak_kib"] < MOST_KIB[reader]
