"""bedrock-batch on the real stack: every command as a process of its own, as in a terminal."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_queue.core import names
from batch_queue.core.rows import Status

from tests.integration.user import FAST, Queue, converse, eventually, lines, requests
from tests.local_aws.environment import LocalAws
from tests.local_aws.processes import ROOT

SECONDS = 180
COMMAND = (sys.executable, "-m", "bedrock_batch")


class Person:
    """Types commands in a folder of their own."""

    def __init__(self, stack: LocalAws, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("AWS_")},
            **stack.local_env(),
            "PYTHONPATH": os.pathsep.join(str(ROOT / each) for each in ("cli", "lambdas")),
        }

    def types(self, *arguments: str, code: int = 0, **environment: str) -> tuple[str, str]:
        """Runs a command, which must end with this exit code; gives its stdout and stderr."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout, done.stderr

    def document(self, *arguments: str, code: int = 0) -> Any:
        """Runs a command with --json; gives its document."""
        return json.loads(self.types(*arguments, "--json", code=code)[0])

    def file(self, name: str, rows: list[dict[str, Any]]) -> str:
        """Writes a file of records; gives its name."""
        (self.folder / name).write_bytes(lines(rows))
        return name


@pytest.fixture
def person(stack: LocalAws, tmp_path: Path) -> Person:
    return Person(stack, tmp_path)


def test_a_thousand_records_are_submitted_and_their_results_read(queue: Queue, person: Person) -> None:
    # Given a file of a thousand records
    queue.simulator.configure(models={"*": {**FAST, "records_per_second": 500.0}})
    rows = requests(1000, "cli")
    path = person.file("reviews.jsonl", rows)
    # When it is submitted, then its result is on the disk, with each record once
    out, err = person.types("submit", path, "--to", "cli", "--wait")
    assert "to-process/cli/reviews.jsonl: Completed, 1,000 records: 1,000 answered" in out
    assert "Submitted" in err
    answers = [json.loads(line) for line in (person.folder / f"{path}.out").read_text().splitlines()]
    assert sorted(one["recordId"] for one in answers) == sorted(row["recordId"] for row in rows)
    # And the same file again is followed, not sent
    _, err = person.types("submit", path, "--to", "cli", "--wait")
    assert "In the bucket already" in err
    # And every command that reads says what became of it
    upload = person.document("status", "cli/reviews.jsonl")
    assert (upload["status"], upload["success_count"]) == ("Completed", 1000)
    assert "cli/reviews.jsonl" in person.types("status", "cli/")[0]
    assert person.document("status")["uploads"]["Completed"] >= 1
    assert [job["records"] for job in person.document("jobs", "--since", "1h") if job["records"] == 1000]
    assert "It has ended as Completed" in person.document("explain", "cli/reviews.jsonl")["words"]
    joined = person.types("results", "cli/reviews.jsonl", "--join")[0].splitlines()
    assert [json.loads(line)["recordId"] for line in joined] == [row["recordId"] for row in rows]
    person.types("results", "cli/reviews.jsonl", "--format", "csv", "-o", "answers.csv")
    with (person.folder / "answers.csv").open(newline="") as file:
        assert all(row["text"] for row in csv.DictReader(file))
    person.types("results", "cli/reviews.jsonl", "--format", "parquet", "-o", "answers.parquet")
    assert (person.folder / "answers.parquet").read_bytes().startswith(b"PAR1")
    assert person.document("errors", "cli/reviews.jsonl")["errors"] == 0
    found = person.document("watch", "--once")
    assert {one["model"] for one in found["slots"]}
    person.types("report", "--since", "1h", "-o", "report.html")
    assert "cli/reviews.jsonl" in person.types("errors", "cli/reviews.jsonl")[0]
    assert (person.folder / "report.html").stat().st_size > 1_000_000
    # And somebody who reads one line of the result, and no more, is no error
    piped = '"$0" -m bedrock_batch results cli/reviews.jsonl | head -n 1 | wc -l; echo "${PIPESTATUS[0]}"'
    done = subprocess.run(
        ["bash", "-c", piped, sys.executable],
        env=person.environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.stdout.split(), done.stderr) == (["1", "0"], "")


def test_an_upload_is_cancelled_in_mid_flight_and_completed_by_a_retry(
    queue: Queue, person: Person, table: Any
) -> None:
    # Given an upload whose job has answered a part of it, of a route that waits for no others
    queue.simulator.configure(models={"*": {**FAST, "records_per_second": 3.0}})
    file, path = person.file("cancel.jsonl", converse(100, "cli-cancel")), "direct/cli/cancel.jsonl"
    person.types("submit", file, "--route", "direct", "--to", "cli")

    def processed() -> bool | None:
        jobs = person.document("explain", path, code=0).get("jobs", [])
        return any(job.get("records_processed", 0) >= 10 for job in jobs) or None

    eventually(lambda: path in person.types("status", "direct/cli/")[0] or None, 60, "the intake")
    eventually(processed, 60, "the first answers")
    # When it is cancelled
    out, _ = person.types("cancel", path, "--why", "wrong prompt", "--by", "ana")
    assert "is cancelled" in out
    upload = person.document("status", path)["upload_id"]
    (row,) = queue.ended(upload)
    # Then what was answered is kept, and the others say that they have no answer
    assert row["status"] == "Stopped"
    joined = [json.loads(line) for line in person.types("results", upload, "--join")[0].splitlines()]
    assert len(joined) == 100
    assert 10 <= sum("modelOutput" in one for one in joined) < 100
    # And a retry answers them
    queue.simulator.configure(models={"*": FAST})
    table.update_item(
        Key={"pk": upload, "sk": "upload"},
        UpdateExpression="SET ended_at = :then",
        ExpressionAttributeValues={":then": names.iso(time.time() - 3600)},
    )
    assert "Run 2 has begun" in person.types("retry", upload)[0]
    (row,) = queue.ended(upload)
    assert row["status"] == "Completed"


def test_a_route_is_paused_and_resumed_and_the_queue_is_drained(queue: Queue, person: Person) -> None:
    assert "submits nothing new" in person.types("pause", "--route", "single", "--why", "a test")[0]
    try:
        path = person.file("p.jsonl", converse(100, "cli-pause"))
        person.types("submit", path, "--route", "single", "--to", "cli")
        words = "the route single is paused since"
        eventually(
            lambda: (
                words in person.types("status", "single/cli/p.jsonl", code=0)[0] or None
                if queue.row(_id(person, "single/cli/p.jsonl"))
                else None
            ),
            90,
            "the reason in the row",
        )
        assert "paused route single" in person.types("status")[0]
        drained = person.document("drain", "--wait", "--timeout", "2", "--why", "the end of a test")
        assert drained["drained"]
    finally:
        person.types("resume", "--route", "single")
        person.types("resume")
    queue.ended(_id(person, "single/cli/p.jsonl"))
    assert "A sweep of to-process/cli/" in person.types("sweep", "cli/")[0]


def _id(person: Person, path: str) -> str:
    found = subprocess.run(
        [*COMMAND, "status", path, "--json"],
        env=person.environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return str(json.loads(found.stdout)["upload_id"]) if not found.returncode else "none"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("status", "--queue", "no-such-queue"), 2, "there is no queue no-such-queue in this account"),
        (("status", "cli/none.jsonl"), 2, "to-process/cli/none.jsonl is not in the bucket"),
        (("results", "cli/none/"), 2, "add --output with the folder"),
        (("submit", "none.jsonl"), 2, "none.jsonl does not exist"),
        (("status", "--region", "eu-west-3"), 2, "in this account and Region"),
        (("cancel", "cli/none.jsonl"), 2, "is not in the bucket"),
        (("retry", "0" * 32), 2, "has no upload with the id"),
    ],
)
def test_a_mistake_gets_one_line(person: Person, arguments: tuple[str, ...], code: int, says: str) -> None:
    _, err = person.types(*arguments, code=code)
    assert says in err
    assert err.count("\n") == 1


def test_no_credentials_and_no_network_are_told(person: Person) -> None:
    nothing = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    _, err = person.types("status", code=2, **nothing, **nowhere)
    assert "aws configure" in err
    _, err = person.types("status", code=3, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert "AWS could not be reached" in err
    assert err.count("\n") == 1


def test_a_stack_of_another_version_is_told(person: Person, table: Any) -> None:
    key = {"pk": "about", "sk": "queue"}
    item = table.get_item(Key=key)["Item"]
    try:
        table.put_item(Item={**item, "version": "99.1.0"})
        _, err = person.types("jobs")
        assert "Install version 99.1.0 of bedrock-batch." in err
        table.delete_item(Key=key)
        _, err = person.types("jobs", code=2)
        assert "Run terraform apply" in err
    finally:
        table.put_item(Item=item)


# ---------------------------------------------------------------------------------------------- a terminal


class Terminal:
    """A command on a terminal of so many columns; what it shows is read as it comes."""

    def __init__(self, person: Person, columns: int, *arguments: str) -> None:
        self._mine, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=person.folder,
            env={**person.environment, "TERM": "xterm-256color"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""

    def until(self, words: str | None) -> str:
        """Reads until these words are shown, or until the command ends; gives everything shown so far."""
        end = time.monotonic() + SECONDS
        while words is None or words not in self.shown:
            assert time.monotonic() < end, f"{words!r} was not shown: {self.shown}"
            ready, _, _ = select.select([self._mine], [], [], 1.0)
            if ready:
                try:
                    data = os.read(self._mine, 65_536)
                except OSError:  # the other side is closed
                    data = b""
                if not data:
                    break
                self.shown += data.decode(errors="replace")
        return self.shown

    def end(self) -> int:
        """Reads the rest; gives the exit code."""
        self.until(None)
        return self.process.wait(SECONDS)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(SECONDS)
        os.close(self._mine)


@pytest.fixture
def terminal(person: Person) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_one(columns: int, *arguments: str) -> Terminal:
        opened.append(Terminal(person, columns, *arguments))
        return opened[-1]

    # A shell that runs the tests in the background has them ignore Ctrl-C, and so would the commands.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield open_one
    signal.signal(signal.SIGINT, before)
    for each in opened:
        each.close()


def plain_lines(shown: str) -> list[str]:
    """What is on the terminal, line by line, without colors and without what was drawn over."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.replace("\x1b[H", "\n"))
    return [line.rsplit("\r", 1)[-1].rstrip() for line in text.replace("\r\n", "\n").split("\n")]


def test_ctrl_c_leaves_the_work_running_on_a_narrow_terminal(
    queue: Queue, person: Person, terminal: Callable[..., Terminal]
) -> None:
    # Given somebody who waits for a slow upload, on a terminal of 40 columns
    queue.simulator.configure(models={"*": {**FAST, "records_per_second": 10.0}})
    path = person.file("ctrl-c.jsonl", requests(100, "ctrl-c"))
    waiting = terminal(40, "submit", path, "--to", "cli", "--wait")
    waiting.until("Submitted")
    # When they press Ctrl-C
    os.killpg(waiting.process.pid, signal.SIGINT)
    # Then the command ends at once, and says how to come back
    assert waiting.end() == 130
    words = " ".join(" ".join(plain_lines(waiting.shown)).split())
    assert "What was uploaded goes on. Come back with bedrock-batch status cli/ctrl-c.jsonl" in words
    assert "Traceback" not in waiting.shown
    (row,) = queue.ended(_id(person, "cli/ctrl-c.jsonl"))
    assert row["status"] == Status.COMPLETED


def test_watch_redraws_a_narrow_terminal_until_ctrl_c(terminal: Callable[..., Terminal]) -> None:
    watching = terminal(40, "watch", "--interval", "1")
    watching.until("Jobs")
    watching.until("records per minute")  # the second look
    os.killpg(watching.process.pid, signal.SIGINT)
    assert watching.end() == 0
    assert max(len(line) for line in plain_lines(watching.shown)) <= 40
    assert "\x1b[?1049l" in watching.shown  # the screen is as it was before
