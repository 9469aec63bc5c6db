"""Texts that cannot be written everywhere: unpaired surrogates, and streams that are not UTF-8."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from bedrock_batch import results

from tests.client.conftest import Person
from tests.support.world import lines

pytestmark = pytest.mark.client

ROOT = Path(__file__).parents[2]
#: Half of an emoji, which JSON can have and UTF-8 cannot.
HALF = "\ud83d"
BAD = {"recordId": "bad", "modelInput": {"max_tokens": 0, "half": HALF}}


def test_an_unpaired_surrogate_is_written_in_every_format(person: Person) -> None:
    body = json.dumps(BAD).encode() + b"\n" + lines([{**BAD, "recordId": "b", "modelInput": {}}])
    path = person.file("a.jsonl", body)
    person.types("submit", path, "--wait", code=1)
    target = person.folder / "out"
    person.types("results", "a.jsonl", "--join", "-o", str(target))
    (first, _) = map(json.loads, target.read_text().splitlines())
    assert first["modelInput"] == BAD["modelInput"]
    person.types("results", "a.jsonl", "--join", "-f", "csv", "-o", str(target))
    with target.open(newline="") as file:
        assert json.loads(next(csv.DictReader(file))["model_input"]) == BAD["modelInput"]
    person.types("results", "a.jsonl", "--join", "-f", "parquet", "-o", str(target))
    assert json.loads(pq.read_table(target)["model_input"][0].as_py()) == BAD["modelInput"]


@pytest.mark.parametrize(
    "answer",
    [
        {"modelOutput": {"content": [{"type": "text", "text": f"x{HALF}"}], "stop_reason": HALF}},
        {"error": {"errorCode": 400, "errorMessage": f"x{HALF}"}},
        {"error": {"errorCode": HALF, "errorMessage": {"no": "text"}}},
    ],
)
def test_a_row_can_be_written(answer: dict[str, Any], tmp_path: Path) -> None:
    found = [{"recordId": "a", "modelInput": {}, **answer}]
    with (tmp_path / "a.csv").open("w", encoding="utf-8", newline="") as file:
        results.write_csv(found, file)
    results.write_parquet(found, tmp_path / "a.parquet")
    (row,) = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert (row["text"] or row["error_message"]) in ("x?", "{'no': 'text'}")


SHOWS = """
import sys
from bedrock_batch import app
from bedrock_batch.__main__ import main
from bedrock_batch.output import Out

@app.command
def show(here: app.Here) -> None:
    "Shows texts."
    out = Out(as_json=here.as_json)
    out.line("a → ✓ \\ud83d")
    out.note("b → \\ud83d")
    out.json({"c": "→ \\ud83d"})

sys.argv = ["bedrock-batch", "show"]
main()
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_no_encoding_of_a_stream_ends_in_a_traceback(encoding: str) -> None:
    environment = {
        **os.environ,
        "PYTHONIOENCODING": encoding,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "cli"), str(ROOT / "lambdas")]),
    }
    done = subprocess.run([sys.executable, "-c", SHOWS], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"a " in done.stdout
    assert json.loads(done.stdout[done.stdout.index(b"{") :]) == {"c": f"→ {HALF}"}
    assert ("a →".encode() in done.stdout) == (encoding == "utf-8")
    assert io.BytesIO(done.stderr).readline().startswith(b"b ")


READS = """
import sys
from bedrock_batch import app
from bedrock_batch.__main__ import main
from bedrock_batch.commands import looking

class Upload:
    def blocks(self):
        return (b"x" * 1000 + b"\\n" for _ in range(10_000))

    def results(self):
        return ({"recordId": str(number), "modelOutput": {}} for number in range(100_000))

@app.command
def show(here: app.Here, form: looking.Format = looking.Format.JSONL) -> None:
    "Shows a result."
    looking._print(Upload(), join=False, form=form)

main()
"""


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_whoever_stops_reading_gets_no_error(form: str) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "cli"), str(ROOT / "lambdas")])}
    with subprocess.Popen(
        [sys.executable, "-c", READS, "show", "--form", form],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout
        assert running.stderr
        assert running.stdout.readline()
        running.stdout.close()
        assert running.wait(30) == 0
        assert not running.stderr.read()


STOPS = """
import sys, time
from pathlib import Path
from bedrock_batch import app
from bedrock_batch.__main__ import main
from bedrock_batch.commands import looking

class Upload:
    def blocks(self):
        yield b"x"
        print("half", flush=True)
        time.sleep(60)

@app.command
def show(here: app.Here, target: Path) -> None:
    "Downloads a result."
    looking.download(Upload(), target)

main()
"""


def test_what_is_not_whole_is_removed_on_sigterm(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "cli"), str(ROOT / "lambdas")])}
    with subprocess.Popen(
        [sys.executable, "-c", STOPS, "show", str(tmp_path / "out")],
        env=environment,
        stdout=subprocess.PIPE,
    ) as running:
        assert running.stdout
        assert running.stdout.readline() == b"half\n"
        running.terminate()
        assert running.wait(30) == 143
    assert not list(tmp_path.iterdir())
