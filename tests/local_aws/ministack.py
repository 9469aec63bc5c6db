"""MiniStack with IAM enforced (AUTH=true): the local AWS on which the module's policies are proven.

It is installed from requirements/ministack.txt into an environment of its own, in which its functions run
too. `ministack_server.py` adds the checks of AWS that it lacks, and the control that this file speaks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
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

SERVER = Path(__file__).with_name("ministack_server.py")
REQUIREMENTS = ROOT / "requirements" / "ministack.txt"
START_TIMEOUT = 60.0
#: Seconds from an asynchronous invocation that failed to its first retry (AWS: 60).
RETRY_DELAY = 0.05


@dataclass
class MiniStack:
    """A running MiniStack that enforces IAM policies. ``endpoint`` is what AWS_ENDPOINT_URL takes."""

    endpoint: str
    version: str
    process: Process

    @property
    def description(self) -> str:
        """Say which emulator this is, for people."""
        return f"MiniStack {self.version} (AUTH=true, IAM enforced) at {self.endpoint}"

    @classmethod
    def start(cls, folder: Path, region: str, account: str) -> MiniStack:
        """Start one on a free port with everything it writes in ``folder``, and wait until it answers.

        Raises LocalAwsError with the end of its log when it does not start.
        """
        try:
            python = venv.ensure(BUILD / "ministack" / "venv", REQUIREMENTS)
        except venv.InstallError as error:
            raise LocalAwsError(f"MiniStack could not be installed: {error}") from error
        last: LocalAwsError | None = None
        for _ in range(3):  # Somebody else may take the port between the look and the start.
            endpoint = f"http://{HOST}:{free_port()}"
            process = _launch(folder, endpoint, python, region, account)
            try:
                process.wait_until(partial(_answers, endpoint), START_TIMEOUT)
            except LocalAwsError as error:
                process.stop()
                last = error
                if "already in use" not in str(error):
                    break
            except BaseException:
                process.stop()
                raise
            else:
                health: Any = http_json(f"{endpoint}/_ministack/health")
                if health.get("auth") != "enabled":
                    process.stop()
                    raise LocalAwsError("MiniStack runs without AUTH=true: nothing would be proven")
                return cls(endpoint, str(health.get("version", "?")), process)
        raise last or LocalAwsError("MiniStack did not start")

    def journal(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the decisions after number ``since``, the oldest first.

        Of roles by their own policies, of AWS services by the resource's. Each has ``number``, ``decision``
        (Allow, Deny, ImplicitDeny) and ``request`` (principal_arn, action, resource_arn and more).
        """
        entries: list[dict[str, Any]] = self._control("journal", {"since": since})["entries"]
        return entries

    def decisions(self, policies: Sequence[Any], requests: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return what the evaluator says to ``requests`` of the journal under other policies (documents)."""
        body = {"policies": list(policies), "requests": list(requests)}
        found: list[str] = self._control("evaluate", body)["decisions"]
        return found

    def session(self, role_arn: str) -> dict[str, str]:
        """Credentials of a role: ``access_key``, ``secret_key``, ``session_token``."""
        made: dict[str, str] = self._control("session", {"role_arn": role_arn, "name": "test"})
        return made

    def runs(self) -> int:
        """How many functions run at this moment."""
        return int(self._control("busy", {})["runs"])

    def faults(self, *rules: Mapping[str, Any]) -> None:
        """Have S3 requests fail: method, path (a part of it), query (a name), status, code, times."""
        self._control("faults", {"rules": list(rules)})

    def service_may(self, service: str, action: str, resource: str, policy: Any, source: str) -> bool:
        """Whether a resource's policy lets an AWS service call it on behalf of ``source`` (an ARN)."""
        body = {
            "service": service,
            "action": action,
            "resource": resource,
            "policy": policy,
            "source": source,
        }
        return bool(self._control("service", body)["allowed"])

    def _control(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = http_json(f"{self.endpoint}/_local_aws/{name}", body, timeout=30)
        return answer

    def stop(self) -> None:
        """End it."""
        self.process.stop()


def _answers(endpoint: str) -> bool:
    return bool(http_json(f"{endpoint}/_ministack/health", timeout=2))


def _launch(folder: Path, endpoint: str, python: Path, region: str, account: str) -> Process:
    for name in ("tmp", "home"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    clean = clean_environment()
    env = {
        "PATH": os.pathsep.join([str(python.parent), "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
        "NO_PROXY": clean["NO_PROXY"],
        "AUTH": "true",
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(urlsplit(endpoint).port),
        "MINISTACK_REGION": region,
        "MINISTACK_ACCOUNT_ID": account,
        "IOT_MTLS_ENABLED": "0",
        "LAMBDA_EXECUTOR": "local",
        "LAMBDA_ASYNC_RETRY_BASE_SECONDS": str(RETRY_DELAY),
    }
    command = [str(python), "-P", str(SERVER)]
    return Process.start("MiniStack", command, env, folder, folder / "ministack.log", detached=False)
