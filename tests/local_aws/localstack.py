"""LocalStack in host mode: no Docker, no account, everything it writes in one folder of .build.

Version 4.9.2 runs on Python 3.11 and 3.12, 2026.3.0 on Python 3.13, each from its own hashed requirements
file. The functions run in another, small environment (AWS's runtime interface client and boto3 alone), so
that a module missing from the package is missed here too.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.local_aws.processes import (
    BUILD,
    HOST,
    ROOT,
    LocalAwsError,
    Process,
    clean_environment,
    free_port,
    http_json,
)
from tools import venv

HERE = Path(__file__).parent
#: Seconds until LocalStack has to answer; it takes 2 to 5 on two cores.
START_TIMEOUT = 90.0
#: Seconds from an asynchronous invocation that failed to its first retry (AWS: 60).
RETRY_DELAY = 2


def version_here() -> str:
    """Return the version of LocalStack that this Python runs."""
    return "2026.3.0" if sys.version_info >= (3, 13) else "4.9.2"


def install() -> tuple[Path, Path]:
    """Make the two environments if need be, and return LocalStack's Python and the functions' Python."""
    folder = BUILD / "localstack"
    with ThreadPoolExecutor(2) as pool:
        server = pool.submit(
            venv.ensure,
            folder / "venv",
            ROOT / "requirements" / f"localstack-{version_here()}.txt",
            HERE / "plugins",
        )
        runtime = pool.submit(
            venv.ensure, folder / "lambda-runtime", ROOT / "requirements" / "lambda-runtime.txt"
        )
        try:
            return server.result(), runtime.result()
        except venv.InstallError as error:
            raise LocalAwsError(f"LocalStack could not be installed: {error}") from error


def given_endpoint() -> str | None:
    """Return where a LocalStack already runs, from AWS_ENDPOINT_URL or LOCALSTACK_HOST, else None."""
    url = os.environ.get("AWS_ENDPOINT_URL")
    if not url and (host := os.environ.get("LOCALSTACK_HOST")):
        secure = os.environ.get("USE_SSL", "").lower() in {"1", "true"}
        port = os.environ.get("EDGE_PORT", "4566")
        url = f"{'https' if secure else 'http'}://{host if ':' in host else f'{host}:{port}'}"
    if not url:
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    # S3 would look up bucket.localhost: the address itself makes it use paths.
    name = HOST if parts.hostname == "localhost" else parts.hostname
    return f"{parts.scheme}://{name}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


@dataclass
class LocalStack:
    """A LocalStack that answers at ``endpoint``; ``process`` is None when somebody else started it."""

    endpoint: str
    version: str
    process: Process | None

    @property
    def description(self) -> str:
        """Say which emulator this is, for people."""
        whose = "host mode, started here" if self.process else "already running, given by the environment"
        return f"LocalStack {self.version} ({whose}) at {self.endpoint}"

    @classmethod
    def start(cls, folder: Path, *, detached: bool = False) -> LocalStack:
        """Start one on a free port with everything it writes in ``folder``, and wait until it answers.

        Raises LocalAwsError with the end of its log when it does not start.
        """
        python, runtime = install()
        last: LocalAwsError | None = None
        for _ in range(3):  # Somebody else may take the port between the look and the start.
            endpoint = f"http://{HOST}:{free_port()}"
            process = _launch(folder, endpoint, python, runtime, detached=detached)
            try:
                process.wait_until(partial(_answers, endpoint), START_TIMEOUT)
            except LocalAwsError as error:
                process.stop()
                last = error
                if "ddress already in use" not in str(error):
                    break
            except BaseException:
                process.stop()
                raise
            else:
                return cls(endpoint, _version(endpoint), process)
        raise last or LocalAwsError("LocalStack did not start")

    @classmethod
    def at(cls, endpoint: str) -> LocalStack:
        """Use the one that already runs at ``endpoint``. Raises LocalAwsError when none answers there."""
        try:
            return cls(endpoint, _version(endpoint), None)
        except (OSError, ValueError) as error:
            raise LocalAwsError(
                f"AWS_ENDPOINT_URL or LOCALSTACK_HOST says that LocalStack runs at {endpoint}, but it does "
                f"not answer as one ({error}). Start it, or unset both and one is started for you."
            ) from error

    def stop(self) -> None:
        """End it, if it was started here."""
        if self.process:
            self.process.stop()


def _answers(endpoint: str) -> bool:
    return bool(http_json(f"{endpoint}/_localstack/info", timeout=2))


def _version(endpoint: str) -> str:
    try:
        info: Any = http_json(f"{endpoint}/_localstack/info", timeout=10)
    except OSError:
        info = http_json(f"{endpoint}/_localstack/health", timeout=10)
    return str(info["version"]).split(":")[0]


def _launch(folder: Path, endpoint: str, python: Path, runtime: Path, *, detached: bool) -> Process:
    at = urlsplit(endpoint).netloc
    for name in ("root", "tmp", "home"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    clean = clean_environment()
    env = {
        "PATH": os.pathsep.join([str(python.parent), "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
        "NO_PROXY": clean["NO_PROXY"],
        "FILESYSTEM_ROOT": str(folder / "root"),
        "GATEWAY_LISTEN": at,
        "LOCALSTACK_HOST": at,
        # http://host/account/queue: the provider takes a queue's name out of no other form.
        "SQS_ENDPOINT_STRATEGY": "off",
        "OVERRIDE_IN_DOCKER": "0",
        "DNS_ADDRESS": "0",
        "DISABLE_EVENTS": "1",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "PROVIDER_OVERRIDE_DYNAMODB": "moto",
        "PROVIDER_OVERRIDE_DYNAMODBSTREAMS": "moto",
        "PROVIDER_OVERRIDE_CLOUDWATCH": "tagged",
        "LAMBDA_RUNTIME_EXECUTOR": "process",
        "LAMBDA_RETRY_BASE_DELAY": str(RETRY_DELAY),
        "LAMBDA_RUNTIME_ENVIRONMENT_TIMEOUT": "60",
        "LAMBDA_PROCESS_PYTHON": str(runtime),
        "LAMBDA_PROCESS_LOGS": str(folder / "logs"),
    }
    command = [str(python), "-P", "-m", "localstack.runtime.main"]
    return Process.start("LocalStack", command, env, folder, folder / "localstack.log", detached=detached)
