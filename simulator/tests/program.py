"""The program as a process of its own, for the tests that need it whole."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config as ClientConfig

PATIENCE = 30.0
_SETTINGS = ClientConfig(retries={"total_max_attempts": 1}, read_timeout=30, s3={"addressing_style": "path"})


def environment() -> dict[str, str]:
    """That of the tests, without what it says of AWS."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MOTO_"))}


@dataclass
class Program:
    """A running one, and where it listens."""

    url: str
    process: subprocess.Popen[str]

    @classmethod
    @contextmanager
    def started(cls, *options: str) -> Iterator[Program]:
        """Start it on a free port, and end it."""
        command = [sys.executable, "-m", "bedrock_batch_simulator", "--port", "0", *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
        assert process.stdout is not None
        try:
            yield cls(process.stdout.readline().split()[-1], process)
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(PATIENCE)
            process.stdout.close()

    def client(
        self, service: str, access_key: str = "test", region: str = "us-east-1", token: str | None = None
    ) -> Any:
        """A boto3 client of a service there."""
        session: Any = boto3.session.Session(access_key, "secret", token, region_name=region)
        return session.client(service, endpoint_url=self.url, config=_SETTINGS)


def run(*options: str, code: str = "") -> tuple[int, str]:
    """The exit code and stderr of a program that ends by itself; `code` runs before it."""
    call = f"{code}\nfrom bedrock_batch_simulator.server import main\nraise SystemExit(main())"
    ended = subprocess.run(
        [sys.executable, "-c", call, *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(),
    )
    return ended.returncode, ended.stderr
