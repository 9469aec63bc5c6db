"""Start, find and end the processes of a local stack, without ever leaving one behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from tools import terraform_env

ROOT = terraform_env.ROOT
BUILD = ROOT / ".build"
GUARD = Path(__file__).with_name("guard.py")
HOST = "127.0.0.1"
#: How long a server's process group may take to end before it is killed, in seconds: it has nothing to save.
GRACE = 2.0
#: The same for a command such as Terraform, which finishes what it does and writes its state.
COMMAND_GRACE = 20.0
#: Two readings of a process's start differ by less than this, in seconds.
SAME_START = 1.5


class LocalAwsError(RuntimeError):
    """Something of the local AWS did not start, answer or end; the message says where to look."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def clean_environment() -> dict[str, str]:
    """Return the caller's environment without settings of AWS, Terraform and Python."""
    return terraform_env.without_settings(dict(os.environ))


def tail(file: Path, lines: int = 25) -> str:
    """Return the end of a log file."""
    try:
        return "\n".join(file.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return f"(no {file.name})"


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def http_json(url: str, body: Any = None, *, method: str | None = None, timeout: float = 10.0) -> Any:
    """Call an address of this machine, without any proxy, and return its answer's JSON (None when empty).

    Raises OSError (urllib's errors are such) when there is no good answer within ``timeout`` seconds.
    """
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with _OPENER.open(request, timeout=timeout) as answer:
        text = answer.read()
    return json.loads(text) if text.strip() else None


class Process:
    """A process that we started: its group goes with it."""

    def __init__(
        self, name: str, pid: int, started: float, log: Path, popen: subprocess.Popen[bytes] | None
    ) -> None:
        self.name = name
        self.pid = pid
        self.started = started
        self.log = log
        self._popen = popen

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        *,
        detached: bool,
    ) -> Process:
        """Start ``command`` in a session of its own; unless ``detached``, it ends when this process ends."""
        log.parent.mkdir(parents=True, exist_ok=True)
        cwd.mkdir(parents=True, exist_ok=True)
        guard = [] if detached else [sys.executable, "-I", "-S", str(GUARD), str(GRACE)]
        with log.open("ab") as out:
            popen = subprocess.Popen(
                [*guard, *command],
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL if detached else subprocess.PIPE,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        return cls(name, popen.pid, psutil.Process(popen.pid).create_time(), log, popen)

    @property
    def alive(self) -> bool:
        """Whether it still runs, and is not another process that got its number."""
        if self._popen is not None and self._popen.poll() is not None:
            return False
        try:
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.started) < SAME_START
            return same and found.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until ``ready()`` is true.

        Raises LocalAwsError when the process ends before, or when ``seconds`` are over.
        """
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError, ValueError):
                if ready():
                    return
            if not self.alive:
                raise LocalAwsError(f"{self.name} ended while it started. {self.log}:\n{tail(self.log)}")
            if time.monotonic() > end:
                raise LocalAwsError(
                    f"{self.name} was not ready after {seconds:.0f} s. {self.log}:\n{tail(self.log)}"
                )
            time.sleep(0.1)

    def stop(self) -> None:
        """End the whole group, gently first; it is gone when this returns."""
        if self.alive:
            family = self._family()
            self._signal(signal.SIGTERM)
            _, left = psutil.wait_procs(family, timeout=GRACE + 5)
            if left:
                self._signal(signal.SIGKILL)
                for process in left:
                    with contextlib.suppress(psutil.Error):
                        process.kill()
                psutil.wait_procs(left, timeout=5)
        if self._popen is not None:
            self._popen.wait(5)
            if self._popen.stdin:
                self._popen.stdin.close()

    def _family(self) -> list[psutil.Process]:
        try:
            this = psutil.Process(self.pid)
            return [*this.children(recursive=True), this]
        except psutil.Error:
            return []

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, number)

    def to_json(self) -> dict[str, Any]:
        """Return what ``from_json`` needs to find the process again."""
        return {"name": self.name, "pid": self.pid, "started": self.started, "log": str(self.log)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Process:
        """Return the process that ``to_json`` described; whether it still runs, ``alive`` tells."""
        return cls(data["name"], int(data["pid"]), float(data["started"]), Path(data["log"]), None)


def run(
    command: Sequence[str], env: Mapping[str, str], cwd: Path, *, timeout: float, log: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``command`` to its end under the guard and return its exit code and output.

    Raises LocalAwsError when it takes longer than ``timeout`` seconds; it is ended then.
    """
    guarded = [sys.executable, "-I", "-S", str(GUARD), str(COMMAND_GRACE), *command]
    with subprocess.Popen(
        guarded,
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        held, process.stdin = (
            process.stdin,
            None,
        )  # communicate() would close it, and the guard would end the command
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException as error:
            process.terminate()
            process.wait(COMMAND_GRACE + 10)
            if isinstance(error, subprocess.TimeoutExpired):
                raise LocalAwsError(
                    f"`{' '.join(command[:4])} …` did not end within {timeout:.0f} s"
                ) from error
            raise
        finally:
            if held:
                held.close()
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            file.write(f"$ {' '.join(command)}\n{out}{err}\nexit code {process.returncode}\n\n")
    return subprocess.CompletedProcess(list(command), process.returncode, out, err)
