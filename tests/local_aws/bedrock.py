"""The Bedrock simulator as a process, and its control."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.local_aws.processes import (
    HOST,
    ROOT,
    LocalAwsError,
    Process,
    clean_environment,
    free_port,
    http_json,
)

START_TIMEOUT = 60.0


@dataclass
class Bedrock:
    """A running Bedrock simulator. ``endpoint`` is what AWS_ENDPOINT_URL_BEDROCK takes."""

    endpoint: str
    process: Process

    @classmethod
    def start(
        cls,
        folder: Path,
        aws_endpoint: str,
        *,
        region: str,
        account: str,
        config: dict[str, Any] | None = None,
        options: Sequence[str] = (),
        detached: bool = False,
    ) -> Bedrock:
        """Start one that reads and writes the buckets at ``aws_endpoint``; ``config`` is the simulator's own.

        ``options``: more of its command line.

        Raises LocalAwsError with the end of its log when it does not start.
        """
        env = clean_environment() | {
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": region,
        }
        last: LocalAwsError | None = None
        for _ in range(3):
            port = free_port()
            endpoint = f"http://{HOST}:{port}"
            command = [sys.executable, "-m", "bedrock_batch_simulator", "--port", str(port)]
            command += ["--endpoint-url", aws_endpoint, "--region", region, "--account", account, *options]
            if config:
                file = folder / "simulator.json"
                folder.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(config, indent=2))
                command += ["--config", str(file)]
            log = folder / "simulator.log"
            process = Process.start("the Bedrock simulator", command, env, folder, log, detached=detached)
            try:
                process.wait_until(partial(_healthy, endpoint), START_TIMEOUT)
            except LocalAwsError as error:
                process.stop()
                last = error
                if "ddress already in use" not in str(error):
                    break
            except BaseException:
                process.stop()
                raise
            else:
                return cls(endpoint, process)
        raise last or LocalAwsError("the Bedrock simulator did not start")

    def get(self, path: str) -> Any:
        """Read from the control, for example ``get("state")``."""
        return http_json(f"{self.endpoint}/_simulator/{path}")

    def post(self, path: str, body: Any = None) -> Any:
        """Tell the control something, for example ``post("reset")``."""
        return http_json(f"{self.endpoint}/_simulator/{path}", body or {}, method="POST")

    def stop(self) -> None:
        """End it."""
        self.process.stop()


def _healthy(endpoint: str) -> bool:
    http_json(f"{endpoint}/_simulator/health", timeout=2)
    return True
