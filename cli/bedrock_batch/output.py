"""What the commands print: on stdout what was asked for, on stderr how it goes on and what went wrong."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

# What is not read on a terminal is not cut to the width of one.
WIDE = 10_000
# Below this width, a table is printed as one block of lines for each of its rows.
NARROW = 60
# A value that has less room beside the names of all is printed below its own.
BESIDE = 20
COLORS = {
    "Completed": "green",
    "PartiallyCompleted": "yellow",
    "Failed": "red",
    "Expired": "red",
    "Rejected": "red",
    "Stopped": "yellow",
    "Cancelled": "yellow",
    "InProgress": "cyan",
}


class Out:
    """The two streams of a command. ``as_json``: one JSON document on stdout in place of words and tables."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = _console(sys.stdout)
        self.err = _console(sys.stderr)

    @property
    def live(self) -> bool:
        """Whether somebody sees how it goes on: stderr is a terminal that can redraw lines."""
        return self.err.is_terminal and not self.err.is_dumb_terminal

    @staticmethod
    def shows(text: str) -> bool:
        """Returns whether stdout has all characters of a text. It shows others as something plain."""
        try:
            text.encode(sys.stdout.encoding or "utf-8")
        except UnicodeEncodeError:
            return False
        return True

    def json(self, document: Any) -> None:
        """Prints a JSON document."""
        text = json.dumps(document, ensure_ascii=False, indent=2, default=plain)
        if not self.shows(text):  # the escapes of JSON suit every stream
            text = json.dumps(document, indent=2, default=plain)
        sys.stdout.write(text + "\n")

    def line(self, text: str | Text = "", style: str = "") -> None:
        """Prints a line of words."""
        self.console.print(text, style=style, markup=False, soft_wrap=not self.console.is_terminal)

    def note(self, text: str | Text, style: str = "") -> None:
        """Says on stderr how it goes on."""
        self.err.print(text, style=style, markup=False, soft_wrap=not self.err.is_terminal)

    def facts(self, facts: Mapping[str, object], indent: int = 2) -> None:
        """Prints names with their values; those that are "" are left out."""
        shown = [
            (Text(name, "dim"), value if isinstance(value, Text) else Text(str(value)))
            for name, value in facts.items()
            if value not in ("", None)
        ]
        longest = max((name.cell_len for name, _ in shown), default=0)
        if self.console.width < indent + longest + 2 + BESIDE:
            for name, value in shown:
                for text, by in ((name, indent), (value, indent + 2)):
                    if text.plain:
                        self.console.print(Padding(text, (0, 0, 0, by)), overflow="fold")
            return
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in shown:
            grid.add_row(Text(" " * indent) + name, value)
        self._print(grid)

    def table(
        self, columns: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[str] = ()
    ) -> None:
        """Prints a table; ``right``: the columns with numbers. On a narrow terminal, a block for each row."""
        cells = [[cell if isinstance(cell, Text) else Text(str(cell)) for cell in row] for row in rows]
        if self.console.is_terminal and self.console.width < NARROW:
            for row in cells:
                self.console.print(row[0], overflow="fold")
                self.facts(
                    {name: cell for name, cell in zip(columns[1:], row[1:], strict=True) if cell.plain}
                )
            return
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for name in columns:
            table.add_column(name, justify="right" if name in right else "left", overflow="fold")
        for row in cells:
            table.add_row(*row)
        self._print(table)

    def _print(self, table: Table) -> None:
        """Prints a table, without the blanks at the ends of its lines where they are not for a terminal."""
        if self.console.is_terminal:
            self.console.print(table)
            return
        with self.console.capture() as printed:
            self.console.print(table)
        lines = printed.get().removesuffix("\n").split("\n")
        self.console.file.write("".join(f"{line.rstrip()}\n" for line in lines))


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Whoever read stdout has what they wanted; rich would end with exit code 1."""
        raise BrokenPipeError


def _console(stream: Any) -> Console:
    wide = None if stream.isatty() or "COLUMNS" in os.environ else WIDE
    return _Console(file=stream, highlight=False, width=wide)


def plain(value: object) -> object:
    """Returns what JSON has for a value that it does not know."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Path | Decimal):
        return str(value)
    if isinstance(value, frozenset | set):
        return sorted(value)
    return dict(value) if isinstance(value, Mapping) else str(value)


def status_text(status: object) -> Text:
    """Returns a status in its color."""
    return Text(str(status), COLORS.get(str(status), ""))


def seconds_text(seconds: float | None) -> str:
    """Returns a time in words, such as "3 min"."""
    if seconds is None:
        return "unknown"
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:,.0f} s"


def bytes_text(size: float) -> str:
    """Returns a size in words, such as "1.2 GB"."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{size:,.0f} bytes"
