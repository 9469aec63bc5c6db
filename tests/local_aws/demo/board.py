"""The queue as people see it: a board that is redrawn on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

#: What an upload is called of which the queue's table knows nothing yet.
UPLOADED = "uploaded"
_STYLES = {
    UPLOADED: "dim",
    "Pending": "yellow",
    "InProgress": "bold blue",
    "Completed": "green",
    "Rejected": "magenta",
    "PartiallyCompleted": "red",
    "Failed": "bold red",
    "Stopped": "red",
    "Expired": "red",
    "Cancelled": "red",
}


@dataclass(frozen=True)
class UploadLine:
    """One upload: its path below the input prefix, its route, its lines, and its status."""

    path: str
    route: str
    records: int
    status: str


@dataclass(frozen=True)
class JobLine:
    """One job as Bedrock describes it; ``processed`` of ``total`` records are done."""

    job_id: str
    model_id: str
    status: str
    processed: int
    total: int


@dataclass(frozen=True)
class Snapshot:
    """The queue at one moment. ``slots``: base model → active jobs and how many there may be."""

    uploads: Sequence[UploadLine] = ()
    jobs: Sequence[JobLine] = ()
    slots: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def processed(self) -> int:
        """How many records Bedrock is done with."""
        return sum(job.processed for job in self.jobs)


class Board(Protocol):
    """Shows snapshots while it is entered."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def update(self, snapshot: Snapshot) -> None:
        """Show a new state of the queue."""


def changes(old: Snapshot, new: Snapshot) -> list[str]:
    """Return a line for each upload and job whose status is another than before."""
    uploads = {line.path: line.status for line in old.uploads}
    jobs = {line.job_id: line.status for line in old.jobs}
    found = []
    for upload in new.uploads:
        was = uploads.get(upload.path)
        if was != upload.status:
            found.append(f"upload {upload.path}: {_step(was, upload.status)}")
    for job in new.jobs:
        was = jobs.get(job.job_id)
        if was != job.status:
            done = f" ({job.processed}/{job.total} records)" if job.total else ""
            found.append(f"job {job.job_id[:8]} {job.model_id}: {_step(was, job.status)}{done}")
    return found


def _step(was: str | None, now: str) -> str:
    return f"{was} → {now}" if was else now


class PlainBoard:
    """A line for each change of a status, with the seconds since the board was entered."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = Snapshot()
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def update(self, snapshot: Snapshot) -> None:
        """Print what changed."""
        for line in changes(self._last, snapshot):
            stamp = f"{time.monotonic() - self._began:6.1f} s"
            self._console.print(f"{stamp}  {line}", markup=False, highlight=False, soft_wrap=True)
        self._last = snapshot


class LiveBoard:
    """Tables of uploads and jobs, the slots, and one bar over all ``records``; redrawn in place.

    ``jobs`` are how many jobs are to be expected: there is room for them from the start, so nothing jumps.
    """

    def __init__(self, console: Console, records: int, jobs: int) -> None:
        self._progress = Progress(
            TextColumn(" records "),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn(""),
            console=console,
            expand=True,
        )
        self._task = self._progress.add_task("records", total=records)
        self._jobs = jobs
        self._live = Live(
            self._render(Snapshot()), console=console, refresh_per_second=4, vertical_overflow="crop"
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop_task(self._task)
        self._live.stop()

    def update(self, snapshot: Snapshot) -> None:
        """Redraw."""
        self._progress.update(self._task, completed=snapshot.processed)
        self._live.update(self._render(snapshot))

    def _render(self, snapshot: Snapshot) -> RenderableType:
        return Group(
            _uploads(snapshot),
            Text(),
            _job_table(snapshot, self._jobs),
            Text(),
            _slots(snapshot),
            Text(),
            self._progress,
        )


def _status(status: str) -> Text:
    return Text(status, style=_STYLES.get(status, "cyan"))


def _frame() -> Table:
    return Table(box=SIMPLE_HEAD, expand=True, pad_edge=True, header_style="bold", show_edge=False)


def _uploads(snapshot: Snapshot) -> Table:
    table = _frame()
    table.add_column("upload", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("route", no_wrap=True, style="dim")
    table.add_column("records", justify="right")
    table.add_column("status", no_wrap=True, min_width=11)
    for line in snapshot.uploads:
        table.add_row(Text(line.path), line.route, f"{line.records:,}", _status(line.status))
    return table


def _job_table(snapshot: Snapshot, expected: int) -> Table:
    table = _frame()
    table.add_column("job", no_wrap=True, width=8, style="dim")
    table.add_column("model", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("records", justify="right", no_wrap=True, min_width=7)
    table.add_column("status", no_wrap=True, min_width=11)
    for job in snapshot.jobs:
        done = f"{job.processed}/{job.total}" if job.total else ""
        table.add_row(job.job_id[:8], Text(job.model_id), done, _status(job.status))
    for _ in range(expected - len(snapshot.jobs)):
        table.add_row("", Text("·", style="dim"), "", "")
    return table


def _slots(snapshot: Snapshot) -> Table:
    table = Table(box=None, expand=True, pad_edge=True, show_header=False)
    table.add_column(no_wrap=True, width=8, style="bold")
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column(justify="right", no_wrap=True, min_width=7)
    table.add_column(no_wrap=True, min_width=11)
    for at, (model, (used, limit)) in enumerate(sorted(snapshot.slots.items())):
        mark = Text("■" * used, style="blue") + Text("□" * max(0, limit - used), style="dim")
        table.add_row("slots" if not at else "", Text(model), f"{used}/{limit}", mark)
    return table
