"""`python -m tests.local_aws.demo`, which `make demo` calls."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from bedrock_batch.errors import BatchError
from botocore.exceptions import BotoCoreError, ClientError

from tests.local_aws.demo import data
from tests.local_aws.demo.data import Requests
from tests.local_aws.demo.queue import Queue, Shipped
from tests.local_aws.demo.verdict import Checked, Verdict, check, judge
from tests.local_aws.environment import LocalAws, scrub
from tests.local_aws.localstack import given_endpoint
from tests.local_aws.processes import ROOT, LocalAwsError

REQUESTS = ROOT / "examples" / "requests"
MODEL_ID = "anthropic.claude-3-haiku-20240307-v1:0"
ROUTES = {
    "chat": {"model_id": "amazon.nova-lite-v1:0", "invocation_type": "Converse", "max_active_jobs": 1},
}
#: Slow enough that each job is seen for some seconds: simulated seconds, which are real ones.
SIMULATOR = {
    "models": {
        "*": {
            "queue_seconds": 1.5,
            "validation_seconds": 1.5,
            "schedule_seconds": 1.0,
            "records_per_second": 25.0,
        }
    }
}
#: Two jobs at least for each slot take half a minute; the schedule makes a lost event good after another.
TIMEOUT = 180.0
PERIOD = 0.4


class Demo:
    """One run of the demo: what it types, and what it checks."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        # On a LocalStack of somebody else, what an earlier demo may have left must not be in the way.
        name = f"br-demo-{uuid.uuid4().hex[:6]}" if given_endpoint() else "br-demo"
        self.stack = LocalAws(
            "demo",
            name=name,
            model_id=MODEL_ID,
            variables={"max_active_jobs": 1, "routes": ROUTES},
            simulator=SIMULATOR,
            tell=_say,
        )

    def run(self) -> Verdict:
        """Start, type, check, end. Raises LocalAwsError when the local AWS does not start."""
        files = data.load(REQUESTS)
        with contextlib.ExitStack() as ending:
            _say("Starting an AWS on this machine and applying the module …")
            ending.enter_context(self.stack)
            _say()
            problems = self._type(files)
            queue = Queue(self.stack)
            shipped = [queue.shipped(file) for file in files]
            checked = [self._check(queue, one) for one in shipped]
            verdict = judge(checked, [*problems, *_others(queue)])
            _say("Ending the local AWS …")
            ending.close()
        return verdict

    def _type(self, files: Sequence[Requests]) -> list[str]:
        """Type what a user would, in order, and return what did not go as it should."""
        command = _Commands(self.stack, self.timeout)
        examples = REQUESTS.relative_to(ROOT)
        good, requests = [file for file in files if not file.broken_lines], self._copy(files)
        results = self.stack.folder.relative_to(ROOT) / "results"
        _say(f"$ export BEDROCK_BATCH_QUEUE={self.stack.name}")
        # One line of these files is broken, so that nothing of them is uploaded.
        command("submit", str(examples), code=2)
        command("submit", str(requests), "--wait", "--output", str(results))
        # What was not checked before it was uploaded is checked by the queue.
        queue = Queue(self.stack)
        for file in files:
            if file.broken_lines:
                _say(f"(Another program uploads {file.path}.)\n")
                self._await(queue.put(file))
                command("errors", file.path)
        command("status", "/")
        table = self.stack.folder.relative_to(ROOT) / "answers.csv"
        command("results", good[0].path, "--join", "--format", "csv", "--output", str(table))
        command("results", good[1].path, "--join", lines=1)
        command("status")
        return command.problems

    def _copy(self, files: Sequence[Requests]) -> Path:
        """Copy the files without a broken line; return their folder, relative to the checkout."""
        folder = self.stack.folder / "requests"
        shutil.rmtree(folder, ignore_errors=True)
        for file in files:
            if not file.broken_lines:
                path = folder / file.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.body)
        return folder.relative_to(ROOT)

    def _await(self, shipped: Shipped) -> None:
        """Wait until the queue has read a file that it will reject."""
        end = time.monotonic() + self.timeout
        while (row := shipped.upload.state()) is None or not row.ended_at:
            if time.monotonic() > end:
                raise LocalAwsError(f"{shipped.requests.path} was not read within {self.timeout:.0f} s")
            time.sleep(PERIOD)

    def _check(self, queue: Queue, one: Shipped) -> Checked:
        """Compare one upload with what became of it."""
        return check(one.requests, *queue.model_of(one), queue.ended(one))


class _Commands:
    """Types commands as in a shell of the demo's own.

    ``problems``: those that ended with another exit code than expected.
    """

    def __init__(self, stack: LocalAws, timeout: float) -> None:
        self._environment = _environment(stack)
        self._timeout = timeout
        self.problems: list[str] = []

    def __call__(self, *arguments: str, code: int = 0, lines: int | None = None) -> None:
        """Type ``bedrock-batch`` with these arguments. ``lines``: how many lines of its output are shown."""
        shown = f"bedrock-batch {shlex.join(arguments)}" + (f" | head -n {lines}" if lines else "")
        _say(f"$ {shown}")
        try:
            done = subprocess.run(
                [sys.executable, "-m", "bedrock_batch", *arguments],
                env=self._environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if lines else None,
                timeout=self._timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise LocalAwsError(f"{shown} did not end within {self._timeout:.0f} s") from None
        if lines:
            sys.stdout.write("".join(done.stdout.decode().splitlines(keepends=True)[:lines]))
        _say()
        if done.returncode != code:
            self.problems.append(f"{shown} ended with exit code {done.returncode}, not {code}")


def _environment(stack: LocalAws) -> Mapping[str, str]:
    path = os.pathsep.join(str(ROOT / folder) for folder in ("cli", "lambdas"))
    return {**os.environ, **stack.local_env(), "PYTHONPATH": path}


def _others(queue: Queue) -> list[str]:
    """Problems that belong to no single upload."""
    found = [
        f"{name}: {most} jobs were active at once, {limit} are allowed"
        for name, (most, limit) in queue.peaks().items()
        if most > limit
    ]
    if letters := queue.dead_letters():
        found.append(f"{letters} invocations failed for good and lie in the dead-letter queue")
    return found


def _say(text: str = "") -> None:
    print(text, flush=True)


def _logs() -> str:
    return "The logs: .build/demo/logs/ of the functions, .build/demo/*.log of everything else."


def _shout(text: str) -> None:
    sys.stdout.flush()
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Command line; the exit code is 0 only when every record came back right."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.local_aws.demo", description="Run examples/requests/ through the queue."
    )
    parser.add_argument("--timeout", type=float, default=TIMEOUT, help="seconds until all uploads have ended")
    args = parser.parse_args()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # paths and texts hold letters that not every terminal has
    scrub()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        verdict = Demo(args.timeout).run()
    except KeyboardInterrupt:
        _shout("demo: interrupted; the local AWS was ended.")
        return 128 + signal.SIGINT
    except (LocalAwsError, BatchError, BotoCoreError, ClientError, OSError) as error:
        _shout(f"demo: FAILED: {error}\n{_logs()}")
        return 1
    if not verdict.good:
        problems = "".join(f"\n  - {problem}" for problem in verdict.problems)
        _shout(f"\ndemo: FAILED, this is not as it should be:{problems}\n{_logs()}\n")
    print(verdict.line, flush=True)
    return 0 if verdict.good else 1


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
