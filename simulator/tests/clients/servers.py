"""The simulator's server and an S3 beside it, each in a process of its own that ends with the tests."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

#: The Python that has the simulator; the one that runs the tests has the clients.
PYTHON = os.environ.get("SIMULATOR_PYTHON", sys.executable)
START_SECONDS, END_SECONDS = 60, 20

# The server ends when the pipe is closed, so also when the tests are killed.
_LEASH = '"$@" & exec >/dev/null; cat; exec 2>/dev/null; kill $!; wait $!'

_S3 = """
import logging, threading
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel("WARNING")
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print("listening on http://{}:{}".format(*server.get_host_and_port()), flush=True)
threading.Event().wait()
"""


@dataclass(frozen=True)
class Servers:
    """Where the two listen."""

    bedrock: str
    s3: str


@contextlib.contextmanager
def process(*arguments: str) -> Iterator[str]:
    """Run a server with the simulator's Python; gives the URL in the first line that it prints."""
    command = ["sh", "-c", _LEASH, "sh", PYTHON, *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as started:
        try:
            yield _url(started)
        finally:
            if started.stdin is not None:
                started.stdin.close()
            try:
                started.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(started.pid, signal.SIGKILL)
                raise


def _url(started: subprocess.Popen[str]) -> str:
    assert started.stdout is not None
    ready, _, _ = select.select([started.stdout], [], [], START_SECONDS)
    line = started.stdout.readline() if ready else ""
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert found, f"{started.args!r} did not say where it listens, but {line!r}"
    return found[0]


@contextlib.contextmanager
def servers(*options: str) -> Iterator[Servers]:
    """Run both. `options`: more of the simulator's."""
    with (
        process("-c", _S3) as s3,
        process("-m", "bedrock_batch_simulator", "--port", "0", "--endpoint-url", s3, *options) as bedrock,
    ):
        yield Servers(bedrock=bedrock, s3=s3)
