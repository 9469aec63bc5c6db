"""The simulator's server with an AWS of its own, in a process that ends with the tests."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator

#: The Python that has the simulator; the one that runs the tests has the clients.
PYTHON = os.environ.get("SIMULATOR_PYTHON", sys.executable)
START_SECONDS, END_SECONDS = 60, 20

# The server ends when the pipe is closed, so also when the tests are killed.
_LEASH = '"$@" & exec >/dev/null; cat; exec 2>/dev/null; kill $!; wait $!'


@contextlib.contextmanager
def server(*options: str) -> Iterator[str]:
    """Run the server with the simulator's Python; gives its URL, where Bedrock and S3 answer."""
    command = ["sh", "-c", _LEASH, "sh", PYTHON, "-m", "bedrock_batch_simulator", "--port", "0", *options]
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
