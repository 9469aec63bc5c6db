"""Run a command that never outlives whoever started it.

    python guard.py <grace seconds> <command> …        # standard input: a pipe held by the starter

The command gets a session of its own. When the pipe is closed (the starter ended, however it did) or the
guard gets SIGTERM, SIGINT or SIGHUP, the command's process group gets SIGTERM and after the grace SIGKILL.
The exit code is the command's. The standard library alone: it starts in a few milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1


def die_with_guard() -> None:
    """Ask Linux to kill this process when the guard is gone; elsewhere the pipe alone has to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end_group(process: subprocess.Popen[bytes], grace: float) -> None:
    """End the command's process group, gently first."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def main() -> int:
    """Start the command, wait for its end or the starter's, and leave nothing behind."""
    grace, command = float(sys.argv[1]), sys.argv[2:]
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    asked = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: asked.append(number))
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with_guard,  # noqa: PLW1509 (the guard has one thread)
    )
    while process.poll() is None and not asked:
        readable, _, _ = select.select([0, wake_read], [], [], 5.0)
        if wake_read in readable:
            os.read(wake_read, 512)
        if 0 in readable and not os.read(0, 512):
            break
    ended = process.poll() is not None
    end_group(process, 0 if ended else grace)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


if __name__ == "__main__":
    sys.exit(main())
