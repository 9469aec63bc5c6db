"""The pieces of a page: sections, tables and the places of plots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import field
from importlib.resources import files

from batch_queue.core.records import dataclass
from batch_queue.core.reports import counted

from .plots import Plot
from .words import escaped, shortened

_NAME = 60  # characters of a route's name


@dataclass(slots=True)
class Drawn:
    """The plots of a page, in order."""

    plots: list[Plot] = field(default_factory=list)

    def figure(self, plot: Plot) -> str:
        """Returns the place of a plot."""
        self.plots.append(plot)
        legend = "".join(
            f'<li><span class="swatch" style="background:{color}"></span>'
            f"{escaped(shortened(name, _NAME))}</li>"
            for name, color in plot.legend.items()
        )
        return (
            f"<figure>{f'<ul class=legend>{legend}</ul>' if legend else ''}"
            f'<div class="plot" role="img" aria-label="{escaped(plot.label)}" '
            f'style="height:{plot.layout["height"]}px"></div></figure>'
        )

    def scripts(self) -> str:
        """Returns the scripts that draw the plots: plotly.js, what to draw, and how."""
        if not self.plots:
            return ""
        from plotly.offline import get_plotlyjs  # noqa: PLC0415 (it has 5 MB)

        what = _safe([{"data": plot.traces, "layout": plot.layout} for plot in self.plots])
        return (
            f"<script>{get_plotlyjs()}</script>\n"
            f'<script type="application/json" id="plots">{what}</script>\n'
            f"<script>{asset('report.js')}</script>\n"
        )


def asset(name: str) -> str:
    """Returns a file of this package."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _safe(document: object) -> str:
    """Returns a JSON document that can stand in a script element: nothing in it can end the element."""
    text = json.dumps(document, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def section(title: str, content: str) -> str:
    """Returns a section of the page."""
    return f"<section>\n<h2>{title}</h2>\n{content}</section>\n"


def table(
    caption: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    groups: Sequence[tuple[str, int]] = (),
    foot: Sequence[str] = (),
    left_out: int = 0,
) -> str:
    """Returns a table whose first column names the rows; the others are numbers.

    ``groups``: names over the columns, and how many columns each has. ``left_out``: how many rows there are
    no room for.
    """

    def row(cells: Sequence[str]) -> str:
        first, *others = cells
        numbers = "".join(f"<td>{cell}</td>" for cell in others)
        return f"<tr><th scope=row>{first}</th>{numbers}</tr>\n"

    spans = "".join(
        f"<th scope=colgroup colspan={span}>{name}</th>" if name else "<td></td>" for name, span in groups
    )
    names = "".join(f"<th scope=col>{name}</th>" for name in head)
    heads = (f"<tr>{spans}</tr>" if spans else "") + f"<tr>{names}</tr>"
    more = (
        f"<p class=note>{counted(left_out, 'more route')} are not in this table; --json has them all.</p>\n"
        if left_out
        else ""
    )
    return (
        f'<div class=scroll tabindex=0 role=region aria-label="{caption}">\n'
        f"<table>\n<caption>{caption}</caption>\n<thead>{heads}</thead>\n"
        f"<tbody>\n{''.join(map(row, rows))}</tbody>\n"
        f"{f'<tfoot>{row(foot)}</tfoot>' if foot else ''}</table>\n</div>\n{more}"
    )
