"""How the program starts, and what it says when it cannot."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bedrock_batch_simulator import SimulatorControl, server
from bedrock_batch_simulator.emulator import Emulator
from bedrock_batch_simulator.http1 import HttpServer
from bedrock_batch_simulator.wire import Request, Response

from .program import PATIENCE, Program, environment

NOBODY = "http://127.0.0.1:9"
BUCKETS = b"<ListAllMyBucketsResult><Owner><ID>1</ID></Owner><Buckets></Buckets></ListAllMyBucketsResult>"
PLUGS = """
def good(*, endpoint_url, region, account):
    return {"authorize": lambda who, checks: f"no: {endpoint_url} {region} {account}"}

def fails(*, endpoint_url, region, account):
    raise LookupError("nothing there")

def wrong(*, endpoint_url, region, account):
    return {"autorize": None}

value = 1
"""


@contextmanager
def answering(body: bytes, status: int = 200, port: int = 0) -> Iterator[str]:
    """A URL where that is answered to every request."""

    def answer(_: Request) -> Response:
        return Response(status, {"Content-Type": "text/html"}, body)

    with HttpServer("127.0.0.1", port, answer) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}"
        finally:
            http.shutdown()
            thread.join(PATIENCE)


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Call the program, which does not start; returns what it says."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plugs.py").write_text(PLUGS)

    def call(*options: str) -> str:
        # A program that starts all the same ends at once.
        monkeypatch.setattr(server.SimulatorServer, "start", lambda _: pytest.fail("it started"))
        code = server.main(["--port", "0", "--wait", "0", *options])
        said = capsys.readouterr()
        assert (code, said.out) == (2, "")
        return said.err

    return call


def is_one_line(said: str) -> bool:
    return said.startswith("bedrock-batch-simulator: ") and said.count("\n") == 1


# --- the endpoint -------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["localhost:4566", "127.0.0.1", "ftp://x", "http://", "http://x:port"])
def test_an_endpoint_that_is_no_url_is_refused(refused: Any, url: str) -> None:
    said = refused("--endpoint-url", url)
    assert is_one_line(said)
    assert f"--endpoint-url {url}: write a URL such as http://127.0.0.1:4566" in said


def test_an_endpoint_where_nothing_listens_is_told(refused: Any) -> None:
    said = refused("--endpoint-url", NOBODY)
    assert is_one_line(said)
    assert f"--endpoint-url {NOBODY}: nothing listens there" in said


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"<!doctype html><title>Hi<p>there", 200, "not as Amazon S3 does"),
        (b"<html><body>there</body></html>", 200, "not as Amazon S3 does"),
        (b"{}", 200, "not as Amazon S3 does"),
        (b"<html><body>not found</body></html>", 404, "HTTP 404"),
        (b"", 503, "HTTP 503"),
    ],
)
def test_an_endpoint_that_is_not_s3_is_told(refused: Any, body: bytes, status: int, words: str) -> None:
    with answering(body, status) as url:
        said = refused("--endpoint-url", url)
    assert is_one_line(said)
    assert words in said


@pytest.mark.parametrize(
    ("body", "status"),
    [(BUCKETS, 200), (b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>", 403)],
)
def test_an_endpoint_that_is_s3_is_taken(body: bytes, status: int) -> None:
    with answering(body, status) as url:
        Emulator(url, "000000000000").wait(0, threading.Event())


def test_an_endpoint_may_come_up_later() -> None:
    # given a program whose endpoint is not there yet
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    command = [sys.executable, "-m", "bedrock_batch_simulator", "--port", "0"]
    command += ["--endpoint-url", f"http://127.0.0.1:{port}", "--wait", str(PATIENCE)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            assert "waiting up to 30 s" in process.stderr.readline()

            # when it comes up, then the program listens
            with answering(BUCKETS, port=port):
                assert "listening on" in process.stdout.readline()
        finally:
            process.kill()


def test_a_program_that_waits_ends_on_sigterm() -> None:
    command = [sys.executable, "-m", "bedrock_batch_simulator", "--port", "0", "--endpoint-url", NOBODY]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment()) as process:
        try:
            assert process.stderr is not None
            assert "waiting" in process.stderr.readline()
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


# --- the rest of the options --------------------------------------------------------------------


def test_a_port_in_use_is_told(refused: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refused("--port", port)
    assert is_one_line(said)
    assert f"port {port}" in said
    assert "ddress already in use" in said


@pytest.mark.parametrize("options", [("--port", "70000"), ("--host", "no.such.host.invalid")])
def test_a_place_where_nothing_can_listen_is_told(refused: Any, options: tuple[str, str]) -> None:
    said = refused(*options)
    assert is_one_line(said)
    assert "cannot listen on" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "Expecting property name"),
        ("[]", "must be a JSON object"),
        ('{"modles": {}}', "unknown key 'modles'"),
        ('{"models": {"*": {"min_records": -1}}}', "must not be negative"),
        ("\udcff", "can't decode"),
    ],
)
def test_a_wrong_configuration_file_is_named(refused: Any, tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    said = refused("--config", str(file))
    assert is_one_line(said)
    assert f"--config {file}: " in said
    assert words in said


@pytest.mark.parametrize("name", [".", "missing.json"])
def test_a_configuration_file_that_cannot_be_read_is_named(refused: Any, name: str) -> None:
    said = refused("--config", name)
    assert is_one_line(said)
    assert f"--config {name}: " in said


@pytest.mark.parametrize(
    ("plug", "words"),
    [
        ("no_such_module:function", "No module named"),
        ("plugs", "write module:function"),
        ("plugs:missing", "no attribute"),
        (":function", "write module:function"),
        ("plugs:value", "not callable"),
        ("plugs:fails", "nothing there"),
        ("plugs:wrong", "autorize"),
    ],
)
def test_a_wrong_plug_is_named(refused: Any, plug: str, words: str) -> None:
    with answering(BUCKETS) as url:
        said = refused("--endpoint-url", url, "--plug", plug)
    assert is_one_line(said)
    assert f"--plug {plug}: " in said
    assert words in said


def test_a_plug_is_called_for_each_account_and_region(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "plugs.py").write_text(PLUGS)
    monkeypatch.chdir(tmp_path)
    aws = Emulator(NOBODY, "000000000000", plug="plugs:good")("111111111111", "eu-west-1")
    assert aws.authorize is not None
    assert aws.authorize(None, []) == f"no: {NOBODY} eu-west-1 111111111111"  # type: ignore[arg-type]


def test_a_plug_needs_an_endpoint(refused: Any) -> None:
    assert "--plug: needs --endpoint-url" in refused("--plug", "plugs:good")


def test_a_botocore_that_is_too_old_is_told(refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_old() -> None:
        raise RuntimeError(
            "the Bedrock simulator needs botocore 1.42.88 or newer, whose model has the counts"
        )

    monkeypatch.setattr(server, "service_model", too_old)
    said = refused()
    assert is_one_line(said)
    assert "botocore 1.42.88 or newer" in said


# --- a program that runs ------------------------------------------------------------------------


def test_the_program_says_where_it_listens_and_ends_on_sigterm(tmp_path: Path) -> None:
    # given the program with a configuration
    settings = tmp_path / "config.json"
    settings.write_text(json.dumps({"quota_error": "ValidationException"}))
    with Program.started("--config", str(settings)) as program:
        # when it has said its line, then it listens there with that configuration
        control = SimulatorControl(program.url)
        assert control.health()["status"] == "ok"
        assert control.state()["config"]["quota_error"] == "ValidationException"

        # and ends cleanly when asked to
        began = time.monotonic()
        os.kill(program.process.pid, signal.SIGTERM)
        assert program.process.wait(15) == 0
        assert time.monotonic() - began < 10
        assert program.process.stdout is not None
        assert program.process.stdout.read() == ""


@pytest.mark.parametrize(
    ("options", "looks"),
    [
        ([], False),
        (["--check-role"], True),
        (["--endpoint-url", NOBODY], True),
        (["--endpoint-url", NOBODY, "--no-check-role"], False),
    ],
)
def test_the_role_is_looked_at_where_iam_is_somebody_elses(options: list[str], looks: bool) -> None:
    assert server._configuration(server._parser().parse_args(options)).check_role is looks


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--region", "b@d"], "--region: "),
        (["--speed", "-1"], "speed: must be between"),
        (["--answers-from", "http://[::1", "--answers-model", "m"], "is no base URL"),
    ],
)
def test_an_option_of_a_wrong_value_is_told(
    refused: Any, monkeypatch: pytest.MonkeyPatch, options: list[str], words: str
) -> None:
    monkeypatch.setenv("MOTO_ACCOUNT_ID", "123456789012")  # which the program takes out of its environment
    said = refused(*options)
    assert is_one_line(said)
    assert words in said
