"""One process of the AWS provider for every run of a `terraform test`.

Terraform starts the provider anew for each step of each run, which takes more CPU time than all that a run
with a mocked provider asks of it. A provider that was started for a debugger serves any number of them
("Running Terraform With A Provider in Debug Mode" in the documentation of plugin development).
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools import terraform_env

VARIABLE = "TF_REATTACH_PROVIDERS"
#: Seconds until it must have started, and until it must have ended.
PATIENCE = 120.0


@contextmanager
def provider(data_dir: Path) -> Iterator[dict[str, str]]:
    """Run the provider that `terraform init` installed into ``data_dir``; gives the environment that uses it.

    Without a provider in that folder, Terraform starts its own. Raises OSError when it does not start.
    """
    found = sorted(data_dir.glob(f"providers/{terraform_env.PROVIDER}/*/*/terraform-provider-aws*"))
    if len(found) != 1:
        yield {}
        return
    process = subprocess.Popen(
        [found[0], "-debug"],
        # At its usual level it logs each call.
        env=terraform_env.environment(data_dir) | {"TF_LOG": "ERROR"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    told: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(process, told), daemon=True)
    reader.start()
    try:
        yield {VARIABLE: _address(told)}
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()
        if process.stdout:
            process.stdout.close()


def _read(process: subprocess.Popen[str], told: queue.SimpleQueue[str | None]) -> None:
    """Put the lines into ``told`` until the output ends: a pipe that is not read stops the process."""
    for line in process.stdout or ():
        told.put(line)
    told.put(None)


def _address(told: queue.SimpleQueue[str | None]) -> str:
    lines = []
    try:
        while (line := told.get(timeout=PATIENCE)) is not None:
            lines.append(line)
            _, found, value = line.partition(f"{VARIABLE}=")
            if found:
                return value.strip().strip("'")
    except queue.Empty:
        pass
    raise OSError(f"the AWS provider does not start in debug mode:{os.linesep}{''.join(lines)}")
