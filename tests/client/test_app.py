"""The command line as a whole: its exit codes, what it says of mistakes and refusals, and how it looks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from batch_queue.core.rows import Status
from bedrock_batch import encoding
from bedrock_batch.__main__ import run
from bedrock_batch.output import Out
from bedrock_batch.version import VERSION
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, NoRegionError

from tests.client.conftest import Person
from tests.client.test_looking import submitted
from tests.support.world import lines, package_root, records

COMMANDS = {
    "submit": ("{file}",),
    "status": (),
    "jobs": (),
    "explain": ("a.jsonl",),
    "results": ("a.jsonl",),
    "errors": ("a.jsonl",),
    "watch": ("--once",),
    "cancel": ("a.jsonl",),
    "retry": ("a.jsonl",),
    "pause": ("--why", "x"),
    "resume": (),
    "sweep": (),
    "drain": (),
}


def arguments(person: Person, command: str) -> tuple[str, ...]:
    path = person.file("a.jsonl", lines(records(1)))
    return command, *(one.format(file=path) for one in COMMANDS[command])


def refusing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Has every call to DynamoDB fail."""

    class Refusing:
        def __getattr__(self, name: str) -> Any:
            def call(**_: Any) -> None:
                raise error

            return call

    class Session:
        def __init__(self, **_: Any) -> None:
            pass

        def client(self, *_: Any, **__: Any) -> Any:
            if isinstance(error, NoRegionError):
                raise error
            return Refusing()

    monkeypatch.setattr(boto3, "Session", Session)


def client_error(code: str, operation: str, message: str = "no") -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {}},  # type: ignore[typeddict-item]
        operation,
    )


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (client_error("ResourceNotFoundException", "GetItem"), 2, "there is no queue queue in this account"),
        (client_error("AccessDeniedException", "GetItem", "not authorized"), 3, "not authorized"),
        (client_error("ExpiredTokenException", "GetItem"), 3, "ExpiredTokenException"),
        (NoCredentialsError(), 2, "aws configure"),
        (NoRegionError(), 2, "--region"),
        (EndpointConnectionError(endpoint_url="https://x"), 3, "AWS could not be reached"),
    ],
    ids=["no queue", "denied", "expired", "no credentials", "no region", "no network"],
)
def test_what_aws_refuses_is_told_in_one_line(
    person: Person, monkeypatch: pytest.MonkeyPatch, command: str, error: Exception, code: int, says: str
) -> None:
    given = arguments(person, command)
    refusing(monkeypatch, error)
    person.types(*given, code=code)
    assert says in person.err
    assert person.err.startswith("bedrock-batch: ")
    assert person.err.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_a_queue_without_a_row_for_clients_is_told(person: Person, command: str) -> None:
    given = arguments(person, command)
    person.world.table.delete_item(Key={"pk": "about", "sk": "queue"})
    person.types(*given, code=2)
    assert f"Run terraform apply with version {VERSION} of the module" in person.err


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("0.0.9", f"Apply version {VERSION} of the module"),
        ("99.0.0", "Install version 99.0.0 of bedrock-batch"),
        (VERSION, ""),
    ],
)
def test_a_queue_of_another_version_is_told_and_used_all_the_same(
    person: Person, version: str, says: str
) -> None:
    item = person.world.table.get_item(Key={"pk": "about", "sk": "queue"})["Item"]
    person.world.table.put_item(Item={**item, "version": version, "something_new": "x"})
    assert "open uploads" in person.types("status")
    assert (says in person.err) if says else (not person.err)


def test_json_is_the_only_thing_on_stdout(person: Person) -> None:
    submitted(person)
    for command in ("status", "jobs", "results"):
        if command != "results":
            person.document(*arguments(person, command))
    for command in ("explain", "errors", "pause", "resume", "sweep", "drain"):
        assert person.document(*arguments(person, command))


def test_no_order_is_needed_to_read(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted(person)

    def denied(*_: Any, **__: Any) -> None:
        raise client_error("AccessDeniedException", "Invoke", "not authorized to invoke")

    monkeypatch.setattr("tests.client.conftest.Lambda.invoke", denied)
    assert "1 Completed" in person.types("status")
    assert "not authorized to invoke" in person.err
    assert "No job runs" in person.types("jobs")
    person.types("results", "a.jsonl")
    path = person.file("b.jsonl", lines(records(2, "b")))
    person.types("submit", path, "--wait")
    assert len([one for one in person.world.uploads() if one.status == Status.COMPLETED]) == 2
    person.types("explain", "a.jsonl", code=3)
    assert "AWS refused Invoke" in person.err


def test_an_order_that_failed_is_told(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted(person)

    def failing(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr("batch_queue.steps.operate.Operate.run", failing)
    person.types("explain", "a.jsonl", code=3)
    assert "operate failed: RuntimeError" in person.err
    assert "can be repeated" in person.err


# --------------------------------------------------------------------------------------------- how it looks


@pytest.mark.parametrize("columns", ["40", "80"])
def test_nothing_is_wider_than_the_terminal(
    person: Person, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes the stream for a terminal
    name = "a-rather-long-name-of-a-file-that-does-not-fit.jsonl"
    submitted(person, name)
    for given in (
        ("status", name),
        ("status", "/"),
        ("status",),
        ("watch", "--once"),
        ("jobs", "--since", "1d"),
    ):
        out = person.types(*given)
        seen = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in out.splitlines()]
        assert max(map(len, seen)) <= int(columns), given
        assert "Traceback" not in person.err


def test_no_value_is_lost_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    Out(as_json=False).facts(
        {"slots of anthropic.claude-3-5-haiku-20241022-v1:0": "10 in all", "jobs": "none"}
    )
    out = capsys.readouterr().out
    assert "10 in all" in out
    assert "none" in out
    assert max(map(len, out.splitlines())) <= 40


def test_no_line_of_a_table_ends_with_blanks(person: Person) -> None:
    submitted(person)
    submitted(person, "longer-name.jsonl", 1_000)
    for what in ("", "/", "a.jsonl"):
        out = person.types("status", *([what] if what else []))
        assert [line for line in out.splitlines() if line != line.rstrip()] == []


def test_colors_are_left_out_if_nobody_wants_them(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted(person)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[32m" in person.types("status", "a.jsonl")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[3\dm", person.types("status", "a.jsonl"))


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    for command in COMMANDS:
        assert f" {command} " in shown
        assert run([command, "--help"]) == 0
        assert "--json" in capsys.readouterr().out
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"bedrock-batch {VERSION}\n"
    assert run(["statsu"]) == 2
    assert "No such command 'statsu'" in capsys.readouterr().err


# ------------------------------------------------------------------------------------- in its own process

ENVIRONMENT = {
    **{name: text for name, text in os.environ.items() if not name.startswith("AWS_")},
    "PYTHONPATH": os.pathsep.join(str(package_root() / name) for name in ("cli", "lambdas")),
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


def test_without_a_command_there_is_help_and_no_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    out, err = capfd.readouterr()
    assert "Usage: bedrock-batch" in out + err
    assert "bedrock-batch:" not in err


def test_without_credentials_it_says_how_to_get_some() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bedrock_batch", "status", "--region", "us-east-1"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "aws configure" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_told_in_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bedrock_batch", "--version"],
            env=ENVIRONMENT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (2, "bedrock-batch: No space left on device\n")


def test_no_mark_becomes_another_on_a_stream_without_them() -> None:
    written = "a.jsonl → b, ✓ ✗ ? é".encode("ascii", errors=encoding.NAME).decode()
    assert written == "a.jsonl -> b, ok wrong ? ?"


def test_a_reader_that_goes_away_is_no_error() -> None:
    # Given a command with much output, and somebody who reads one line of it and no more
    code = (
        "import sys; from bedrock_batch.__main__ import main; from bedrock_batch.app import Here, command\n"
        "def much(here: Here) -> None:\n"
        "    for number in range(100_000):\n"
        "        here.out.line(f'{number}')\n"
        "command(much); sys.argv = ['bedrock-batch', 'much']; main()"
    )
    command = 'python="$1"; "$python" -c "$2" | head -n 1; echo "${PIPESTATUS[0]}"'
    done = subprocess.run(
        ["bash", "-c", command, "-", sys.executable, code],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines() == ["0", "0"]
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_the_help_does_not_import_the_sdk() -> None:
    code = (
        "import sys; from bedrock_batch.__main__ import run; run(['--help']); "
        "print([name for name in ('boto3', 'botocore', 'plotly', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
