"""`watch`: the slots, the queue and the jobs, again and again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bedrock_batch.app import Here, command
from bedrock_batch.errors import RefusedError
from bedrock_batch.times import clock_text

if TYPE_CHECKING:
    from rich.console import RenderableType

# The rate is that of the last so many seconds.
RATE_SECONDS = 300.0
# A queue that takes longer to count is shown as "many".
COUNT_SECONDS = 3.0
MOST_JOBS = 30
# The lines of a frame that are not of a model, a route or a job, and those of a pause.
FRAME_LINES = 10
PAUSE_LINES = 2
# From this width on, a job has its route and a bar; from the smaller one, its end.
WIDE = 90
MIDDLE = 60


@command
def watch(
    here: Here,
    interval: Annotated[
        float, typer.Option("--interval", "-n", help="Seconds between two looks.", min=1.0, max=3600.0)
    ] = 5.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
) -> None:
    """Watch the queue: slots by model, what waits by route, and jobs with their progress and expected ends.

    Ends with Ctrl-C. Where stdout is not a terminal, or one that cannot redraw, it looks once; with --json,
    it prints a JSON document on a line of its own for each look.
    """
    import json
    import sys

    from rich.live import Live

    from bedrock_batch.output import plain

    seen = Rates()
    try:
        if here.as_json:
            while True:
                line = json.dumps(look(here, seen), ensure_ascii=False, default=plain)
                sys.stdout.write(line + "\n")
                sys.stdout.flush()
                if once:
                    return
                time.sleep(interval)
        if once or not here.out.console.is_terminal or here.out.console.is_dumb_terminal:
            here.out.console.print(frame(look(here, seen), here.out.console.width))
            return
        with Live(console=here.out.console, screen=True, auto_refresh=False) as live:
            while True:
                shown = _look_again(here, seen)
                live.update(frame(shown, here.out.console.width, here.out.console.height), refresh=True)
                time.sleep(interval)
    except KeyboardInterrupt:
        return


def _look_again(here: Here, seen: Rates) -> dict[str, Any]:
    """Looks, and in place of an error that passes shows it, so that a night's watch goes on."""
    try:
        return look(here, seen)
    except RefusedError as error:
        if seen.last is None:
            raise
        return {**seen.last, "note": str(error)}


class Rates:
    """How many records were processed, look by look. ``last``: the last look."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, dict[str, int]]] = deque()
        self.last: dict[str, Any] | None = None

    def add(self, now: float, processed: Mapping[str, int]) -> float | None:
        """Adds job → records processed, and returns the records per minute; None at the first look.

        ``now``: seconds of a clock that never goes back. A job that is not listed any more has processed what
        it had when it was last seen.
        """
        self._looks.append((now, dict(processed)))
        while len(self._looks) > 1 and now - self._looks[0][0] > RATE_SECONDS:
            self._looks.popleft()
        began, _ = self._looks[0]
        if now <= began:
            return None
        done = 0
        for (_, before), (_, after) in pairwise(self._looks):
            done += sum(max(0, count - before.get(job, 0)) for job, count in after.items())
        return done / (now - began) * 60


def look(here: Here, seen: Rates) -> dict[str, Any]:
    """Returns what the queue does now, as a JSON document."""
    from batch_queue.core import names

    from bedrock_batch.connection import told

    status = here.queue.status()
    table = here.queue.connection.table
    end = time.monotonic() + COUNT_SECONDS
    with told(here.name):
        depths = {
            route: table.chunks.depth(route, lambda: time.monotonic() > end) for route in status["routes"]
        }
    jobs = [job for one in status["slots"] for job in one["ours"]]
    processed = {job["job_name"]: int(job["records_processed"]) for job in jobs if "records_processed" in job}
    found = {
        "at": names.iso(time.time()),
        "queue": here.name,
        "slots": status["slots"],
        "paused": status["paused"],
        "uncollected_jobs": status["uncollected_jobs"],
        "waiting": {
            route: {"uploads": depth.uploads, "records": depth.records} if depth else None
            for route, depth in depths.items()
        },
        "records_per_minute": seen.add(time.monotonic(), processed),
    }
    seen.last = found
    return found


def frame(found: Mapping[str, Any], width: int, height: int | None = None) -> RenderableType:
    """Returns a look for a terminal of so many columns and lines."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = [Text(f"{found['queue']}  {clock_text(found['at'], '%Y-%m-%d %H:%M:%S %Z')}", "bold")]
    if note := found.get("note"):
        parts.append(Text(note, "yellow"))
    for pause in found["paused"]:
        what = f"Route {pause['route']}" if pause.get("route") else "The queue"
        parts.append(
            Text(f"{what} is paused since {pause['since'][:19]} by {pause['by']}: {pause['why']}", "yellow")
        )
    slots = Table.grid(padding=(0, 1))
    for one in found["slots"]:
        slots.add_row(
            _bar(one, max(8, min(40, width - 40))), _taken(one), Text(one["model"], "dim", overflow="fold")
        )
    parts += [Text("\nSlots", "bold"), slots]
    waits = Table.grid(padding=(0, 2))
    for route, depth in found["waiting"].items():
        waits.add_row(Text(route), _waiting(depth))
    parts += [Text("\nWaiting", "bold"), waits]
    rate = found["records_per_minute"]
    title = "\nJobs" + (f"  {rate:,.0f} records per minute" if rate is not None else "")
    parts.append(Text(title, "bold"))
    jobs = [job for one in found["slots"] for job in one["ours"]]
    others = len(found["slots"]) + len(found["waiting"]) + FRAME_LINES
    others += PAUSE_LINES * len(found["paused"])
    room = MOST_JOBS if height is None else max(1, min(MOST_JOBS, height - others))
    parts.append(_jobs(jobs[:room], width) if jobs else Text("No job runs.", "dim"))
    if len(jobs) > room:
        parts.append(Text(f"and {len(jobs) - room:,} more", "dim"))
    if found["uncollected_jobs"]:
        parts.append(
            Text(
                f"{found['uncollected_jobs']:,} jobs have ended, and their results are being collected.",
                "dim",
            )
        )
    return Group(*parts)


def _waiting(depth: Mapping[str, int] | None) -> Any:
    from batch_queue.core.reports import counted
    from rich.text import Text

    if depth is None:
        return Text("more than can be counted in a moment")
    if not depth["records"]:
        return Text("nothing", "dim")
    return Text(f"{counted(depth['records'], 'record')} of {counted(depth['uploads'], 'upload')}")


def _bar(one: Mapping[str, Any], width: int) -> Any:
    """Returns the slots of a model as a bar: this queue's, others', and the free ones."""
    from rich.text import Text

    limit = max(1, one["limit"])
    cells = min(limit, width)
    ours = min(cells, round(len(one["ours"]) * cells / limit))
    others = min(cells - ours, round(len(one["others"]) * cells / limit))
    bar = Text("█" * ours, "green")
    return bar + Text("▒" * others, "yellow") + Text("·" * (cells - ours - others), "dim")


def _taken(one: Mapping[str, Any]) -> Any:
    from rich.text import Text

    others = f" + {len(one['others'])}" if one["others"] else ""
    return Text(f"{len(one['ours'])}{others} of {one['limit']}")


def _jobs(jobs: list[Mapping[str, Any]], width: int) -> Any:
    from rich.table import Table
    from rich.text import Text

    from bedrock_batch.output import status_text

    table = Table.grid(padding=(0, 2 if width >= WIDE else 1))
    for job in jobs:
        done = job.get("records_processed")
        share = f"{done:,}/{job['records']:,}" if done is not None else f"{job['records']:,}"
        end = clock_text(job["expected_end"]) if "expected_end" in job else ""
        route = [job["route"], _progress(done, job["records"])] if width >= WIDE else []
        ends = [f"ends {end}" if end else ""] if width >= MIDDLE else []
        table.add_row(Text(job["job_name"][-8:], "dim"), status_text(job["status"]), share, *route, *ends)
    return table


def _progress(done: int | None, records: int) -> Any:
    from rich.text import Text

    cells = 20
    full = min(cells, round((done or 0) * cells / max(1, records)))
    return Text("━" * full, "cyan") + Text("┈" * (cells - full), "dim")
