"""`python -m tests.local_aws.demo`, which `make demo` calls."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.local_aws.demo import data
from tests.local_aws.demo.board import Board, LiveBoard, PlainBoard
from tests.local_aws.demo.data import Requests
from tests.local_aws.demo.verdict import Checked, Verdict, check, judge
from tests.local_aws.demo.watch import Queue, Shipped
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
EXAMPLE_WIDTH = 160


class Demo:
    """One run of the demo: what it prints and where."""

    def __init__(self, timeout: float) -> None:
        live = sys.stdout.isatty()
        self.console = Console(force_terminal=live, highlight=False)
        self.live = live and not self.console.is_dumb_terminal
        self.timeout = timeout
        # On a LocalStack of somebody else, what an earlier demo may have left must not be in the way.
        name = f"br-demo-{uuid.uuid4().hex[:6]}" if given_endpoint() else "br-demo"
        self.stack = LocalAws(
            "demo",
            name=name,
            model_id=MODEL_ID,
            variables={"max_active_jobs": 1, "routes": ROUTES},
            simulator=SIMULATOR,
            tell=self.say,
        )

    def say(self, text: str | Text = "", *, whole: bool = False, style: str = "") -> None:
        """Print a line; on a terminal it is wrapped at words, unless it shall stay ``whole`` to be copied."""
        self.console.print(text, markup=False, soft_wrap=whole or not self.live, style=style)

    @contextlib.contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Show on a terminal that something goes on."""
        if self.live:
            with self.console.status(what):
                yield
        else:
            self.say(what)
            yield

    def run(self) -> Verdict:
        """Start, ship, watch, check, end. Raises LocalAwsError when the local AWS does not start."""
        files = data.load(REQUESTS)
        with contextlib.ExitStack() as ending:
            with self.working("Starting an AWS on this machine and applying the module …"):
                ending.enter_context(self.stack)
            queue = Queue(self.stack)
            self.say()
            late = self._ship_and_watch(queue, files)
            checked = [self._check(queue, one) for one in queue.shipped]
            verdict = judge(checked, [*late, *_others(queue)])
            self._tell(queue, checked)
            with self.working("Ending the local AWS …"):
                ending.close()
        return verdict

    def _ship_and_watch(self, queue: Queue, files: Sequence[Requests]) -> list[str]:
        """Upload all files and watch until each has ended; returns a problem where time was up before."""
        good = [file for file in files if not file.broken_lines]
        board: Board = (
            LiveBoard(self.console, sum(len(file.records) for file in good), len(good))
            if self.live
            else PlainBoard(self.console)
        )
        began = time.monotonic()
        with board:
            for file in files:
                queue.ship(file)
                board.update(queue.look())
            while not queue.finished:
                if time.monotonic() > began + self.timeout:
                    left = "".join(f"\n      {line}" for line in queue.open())
                    return [f"the queue was not done after {self.timeout:.0f} s; still open:{left}"]
                time.sleep(PERIOD)
                board.update(queue.look())
        self.say()
        self.say(f"All {len(files)} uploads ended after {time.monotonic() - began:.0f} s.")
        return []

    def _check(self, queue: Queue, one: Shipped) -> Checked:
        """Compare one upload with what became of it, and keep a copy of its result or report."""
        route = queue.route(one)
        checked = check(one.requests, route.model_id, route.invocation_type, queue.ended(one))
        if checked.ended.body is not None:
            copy = self.stack.folder / checked.ended.uri.split("/", 3)[3]
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(checked.ended.body)
        return checked

    def _tell(self, queue: Queue, every: Sequence[Checked]) -> None:
        """Print where each result lies, what the reports say, and one answer."""
        for name, (most, limit) in queue.peaks().items():
            self.say(f"{name}: at most {most} of {limit} slots used at once.")
        self.say()
        for one in every:
            self.say(_headline(one))
            if one.ended.uri:
                self.say(f"  {one.ended.uri}", whole=True, style="cyan")
            for fault in one.faults:
                self.say(f"  its report: line {fault['line']}: {fault['reason']}")
        if example := next((one for one in every if one.first), None):
            self.say()
            self.say(f"The first answer in {example.requests.path}.out (by the simulator, not by a model):")
            self.console.print(_example(example.first or {}), markup=False)
        self.say()
        self.say(f"Copies are kept in {self.stack.folder.relative_to(ROOT)}/processed/ until the next run.")


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


def _headline(one: Checked) -> Text:
    """One upload's end in a line: its path, status and counts."""
    good = not one.problems
    mark = Text("✓ ", "green") if good else Text("✗ ", "bold red")
    text = mark + Text(one.requests.path, "bold") + Text(f"  {one.ended.status or 'not in the table'}")
    if not one.rejected:
        text += Text(f", {one.answered} of {one.accepted} records answered")
        if one.failed:
            text += Text(f", {one.failed} with an error")
    return text


def _example(record: Mapping[str, Any]) -> Table:
    asked = " ".join(_texts((record.get("modelInput") or {}).get("messages")))
    answer = record.get("modelOutput") or {}
    said = " ".join(_texts(answer.get("content") or answer.get("output"))) or str(record.get("error"))
    table = Table.grid(padding=(0, 2))
    for name, text in (("recordId", str(record.get("recordId"))), ("asked", asked), ("answered", said)):
        table.add_row("", name, Text(_short(text)))
    return table


def _texts(value: Any) -> Iterator[str]:
    """All texts in messages and content blocks, InvokeModel's and Converse's."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, dict):
        for name in ("message", "content", "text"):
            yield from _texts(value.get(name))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= EXAMPLE_WIDTH else line[: EXAMPLE_WIDTH - 1] + "…"


def _logs() -> str:
    return "The logs: .build/demo/logs/ of the functions, .build/demo/*.log of everything else."


def _shout(text: str) -> None:
    sys.stdout.flush()
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Command line; the exit code is 0 only when every record came back right."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.local_aws.demo", description="Ship examples/requests/ through the queue."
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
    except (LocalAwsError, BotoCoreError, ClientError, OSError) as error:
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
