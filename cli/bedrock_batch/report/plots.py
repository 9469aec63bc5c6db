"""The plots of a report, as plotly.js takes them. Nothing here imports plotly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batch_queue.core.records import dataclass
from batch_queue.core.reports import counted
from batch_queue.core.rows import TERMINAL

from .causes import Cause
from .figures import Figures, RouteFigures
from .slots import SEVERAL, Bar, Model, is_bad, merged
from .words import clean, duration, escaped, moment, percent, shortened

# Colors that can be told apart on white and on black, also by people who do not see red and green.
COLORS = ("#2a8ea6", "#dd9a2b", "#8672c4", "#5f9a58", "#4b7fd1", "#a9744f", "#cc6d9e", "#94a02f")
GREY, BAD = "#8b949e", "#cf4a43"
# Shades of one color that no route has.
SHADES = ("#aab6ea", "#7c8ddb", "#5567c4")
OTHERS = "other routes"
_FAILED = "failed, expired or stopped"
MOST_BARS = 2_000
_LABEL, _MESSAGE, _LINE = 26, 200, 60
_FEW = 5  # so few need no ticks between whole numbers
_HOVER = {"bgcolor": "#1f2933", "bordercolor": "#1f2933", "font": {"color": "#ffffff", "size": 12}}
_DURATIONS = (1, 10, 60, 600, 3600, 6 * 3600, 86400, 7 * 86400, 30 * 86400)


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot. ``label``: what it shows, for people who do not see it. ``legend``: name → color."""

    label: str
    traces: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]
    legend: Mapping[str, str]


def colors(figures: Figures) -> dict[str, str]:
    """Returns route → color, for the routes with most records; the others are one."""
    answered = {name: sum(counts) for name, counts in figures.throughput.answered.items()}
    known = {route.name: route.records for route in figures.routes}
    all_names = {*known, *answered, *(bar.route for model in figures.models for bar in model.bars)}
    first = sorted(all_names, key=lambda name: (-max(known.get(name, 0), answered.get(name, 0)), name))
    return dict(zip(first[: len(COLORS)], COLORS, strict=False))


# -------------------------------------------------------------------------------------------------- slots


def slots(model: Model, palette: Mapping[str, str], since: float, until: float) -> Plot:
    """Returns the jobs of a model: one lane for each slot, over the time."""
    bars = merged(model.bars, MOST_BARS)
    lanes = max(model.lanes, model.limit or 0, 1)
    groups: dict[str, list[Bar]] = {}
    for bar in bars:
        name = bar.route if bar.route in palette else SEVERAL if bar.route == SEVERAL else OTHERS
        groups.setdefault(_FAILED if is_bad(bar.status) else name, []).append(bar)
    known = {**palette, OTHERS: GREY, SEVERAL: GREY, _FAILED: BAD}
    legend = {name: color for name, color in known.items() if name in groups}
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": escaped(name),
            "y": [bar.lane for bar in own],
            "base": [_ms(bar.start) for bar in own],
            "x": [_ms(bar.end) - _ms(bar.start) for bar in own],
            "width": 0.8,
            "marker": {
                "color": legend[name],
                "opacity": [1 if bar.status in TERMINAL else 0.5 for bar in own],
                "line": {"width": 0},
            },
            "hovertext": [_about(bar) for bar in own],
            "hoverinfo": "text",
            "textposition": "none",
        }
        for name, own in ((name, groups[name]) for name in legend)
    ]
    height = min(640.0, max(6.0, min(20.0, 640 / lanes)) * lanes)
    layout = _layout(
        height + 50,
        barmode="overlay",
        xaxis={"type": "date", "range": [_ms(since), _ms(until)], "showgrid": True},
        yaxis={
            "range": [lanes + 0.6, 0.4],
            "dtick": max(1, round(lanes / 10)),
            "tick0": 1,
            "showgrid": False,
            "fixedrange": True,
            "title": {"text": "slot", "font": {"size": 12}},
        },
        shapes=[_limit(model.limit)] if model.limit else [],
    )
    label = (
        f"Slots of {model.name} over time: {counted(sum(bar.jobs for bar in bars), 'job')}, at most "
        f"{model.lanes:,} at the same time; {model.limit or 'no'} slots, {percent(model.use)} of them used."
    )
    return Plot(label, traces, layout, legend)


def _limit(limit: int) -> dict[str, Any]:
    line = {"color": GREY, "width": 1.5, "dash": "dash"}
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": limit + 0.5,
        "y1": limit + 0.5,
        "line": line,
    }


def _about(bar: Bar) -> str:
    """Returns what is shown of a bar when one points at it."""
    job = bar.job
    first = f"<b>{escaped(job.job_name)}</b>" if bar.jobs == 1 else f"<b>{counted(bar.jobs, 'short job')}</b>"
    lines = [
        first,
        f"{counted(bar.records, 'record')} of {escaped(bar.route)}",
        f"{bar.status}, {duration(bar.end - bar.start)} in the slot",
        f"from {moment(bar.start)}",
        f"to {moment(bar.end)}" if bar.status in TERMINAL else "still active",
    ]
    if bar.jobs == 1 and job.message:
        lines += _wrapped(shortened(clean(job.message), _MESSAGE))
    return "<br>".join(lines)


def _wrapped(text: str) -> list[str]:
    return [escaped(text[at : at + _LINE]) for at in range(0, len(text), _LINE)]


# --------------------------------------------------------------------------------------------- throughput


def throughput(figures: Figures, palette: Mapping[str, str]) -> Plot:
    """Returns the records that were answered over time, by route."""
    found = figures.throughput
    groups: dict[str, list[int]] = {}
    for name, counts in found.answered.items():
        row = groups.setdefault(name if name in palette else OTHERS, [0] * len(counts))
        groups[name if name in palette else OTHERS] = [a + b for a, b in zip(row, counts, strict=True)]
    legend = {name: palette[name] for name in palette if name in groups}
    legend.update({OTHERS: GREY} if OTHERS in groups else {})
    traces = [
        {
            "type": "bar",
            "name": escaped(name),
            "x": [1000 * start for start in found.starts],
            "y": groups[name],
            "offset": 0,
            "width": 940 * found.width,
            "marker": {"color": color, "line": {"width": 0}},
            "hovertext": [
                f"<b>{counted(count, 'record')}</b><br>{escaped(name)}<br>"
                f"{duration(found.width)} from {moment(start)}"
                for count, start in zip(groups[name], found.starts, strict=True)
            ],
            "hoverinfo": "text",
            "textposition": "none",
        }
        for name, color in legend.items()
    ]
    layout = _layout(
        280,
        barmode="stack",
        xaxis={"type": "date", "range": [_ms(figures.drawn_since), _ms(figures.until)], "showgrid": False},
        yaxis={
            "rangemode": "tozero",
            "exponentformat": "B",
            "title": {"text": f"records per {per(found.width)}", "font": {"size": 12}},
        },
    )
    answered = sum(map(sum, groups.values()))
    return Plot(f"Records answered over time, by route: {answered:,} together.", traces, layout, legend)


def per(seconds: int) -> str:
    """Returns the width of a bucket in words, without "1"."""
    return {60: "minute", 3600: "hour", 86400: "day", 7 * 86400: "week"}.get(seconds, duration(seconds))


def waits(routes: Sequence[RouteFigures]) -> Plot:
    """Returns how long uploads waited and jobs took, by route."""
    phases = (
        ("waiting in the queue", SHADES[0], [(row, route.waits) for row, route in enumerate(routes)]),
        ("at Bedrock, not started", SHADES[1], [(row, route.starts) for row, route in enumerate(routes)]),
        ("running", SHADES[2], [(row, route.runs) for row, route in enumerate(routes)]),
    )
    traces: list[dict[str, Any]] = []
    for phase, color, spreads in phases:
        known = [(row, found) for row, found in spreads if found]
        if not known:
            continue
        values = {
            "lowerfence": [max(1, found.p10) for _, found in known],
            "q1": [max(1, found.p25) for _, found in known],
            "median": [max(1, found.median) for _, found in known],
            "q3": [max(1, found.p75) for _, found in known],
            "upperfence": [max(1, found.p90) for _, found in known],
        }
        traces.append(
            {
                "type": "box",
                "orientation": "h",
                "name": phase,
                "y": [row for row, _ in known],
                "fillcolor": _faint(color),
                "line": {"color": color, "width": 1.5},
                "hoverinfo": "skip",
                **values,
            }
        )
    longest = max((found.p90 for _, _, spreads in phases for _, found in spreads if found), default=1)
    shown = [tick for tick in _DURATIONS if tick <= 10 * longest]
    layout = _layout(
        90 + 66 * len(routes),
        boxmode="group",
        xaxis={
            "type": "log",
            "tickvals": shown,
            "ticktext": [duration(tick) for tick in shown],
            "showgrid": True,
            "fixedrange": True,
        },
        yaxis={**_categories([route.name for route in routes]), "showgrid": False},
    )
    legend = {phase: color for phase, color, spreads in phases if any(found for _, found in spreads)}
    return Plot(
        "How long uploads waited, and jobs took, by route; the table has the numbers.", traces, layout, legend
    )


# ------------------------------------------------------------------------------------- bars by name


def causes(some: Sequence[Cause]) -> Plot:
    """Returns how often each cause was met."""
    kind = some[0].kind
    label = f"Failed {kind} by cause: " + "; ".join(
        f"{shortened(one.text, 60)}: {one.count:,}" for one in some
    )
    rows = [(one.text, one.count, f"<b>{one.count:,} {kind}</b>") for one in some]
    layout = _bar_layout([one.text for one in some])
    if max(one.count for one in some) <= _FEW:
        layout["xaxis"]["dtick"] = 1
    return Plot(label, [_bars("", rows, BAD)], layout, {})


def tokens(routes: Sequence[RouteFigures]) -> Plot:
    """Returns the tokens of each route."""
    pairs = (
        ("input tokens", SHADES[1], [route.input_tokens for route in routes]),
        ("output tokens", SHADES[0], [route.output_tokens for route in routes]),
    )
    traces = [
        _bars(
            phase,
            [
                (route.name, count, f"<b>{count:,} {phase}</b>")
                for route, count in zip(routes, counts, strict=True)
            ],
            color,
        )
        for phase, color, counts in pairs
    ]
    layout = _bar_layout([route.name for route in routes], each=40)
    return Plot(
        "Tokens by route; the table has the numbers.",
        traces,
        layout,
        {name: color for name, color, _ in pairs},
    )


def cost(routes: Sequence[RouteFigures]) -> Plot:
    """Returns the cost of each route that has prices."""
    rows = [
        (route.name, float(route.cost), f"<b>{route.cost:,.2f}</b>")
        for route in routes
        if route.cost is not None
    ]
    label = "Cost by route; the table has the numbers."
    return Plot(label, [_bars("", rows, SHADES[1])], _bar_layout([name for name, _, _ in rows]), {})


def _bars(name: str, rows: Sequence[tuple[str, float, str]], color: str) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "y": list(range(len(rows))),
        "x": [value for _, value, _ in rows],
        "marker": {"color": color, "line": {"width": 0}},
        "hovertext": [
            "<br>".join([words, *_wrapped(shortened(clean(text), _MESSAGE))]) for text, _, words in rows
        ],
        "hoverinfo": "text",
        "textposition": "none",
    }


def _bar_layout(labels: Sequence[str], each: int = 26) -> dict[str, Any]:
    return _layout(
        56 + each * len(labels),
        barmode="group",
        bargap=0.3,
        xaxis={
            "rangemode": "tozero",
            "exponentformat": "B",
            "nticks": 6,
            "showgrid": True,
            "fixedrange": True,
        },
        yaxis={**_categories(labels), "showgrid": False},
    )


def _categories(labels: Sequence[str]) -> dict[str, Any]:
    """Returns an axis with one row for each label, from top to bottom. Two may be the same."""
    return {
        "range": [len(labels) - 0.5, -0.5],
        "tickvals": list(range(len(labels))),
        "ticktext": [escaped(shortened(clean(text), _LABEL)) for text in labels],
        "fixedrange": True,
    }


def _layout(height: float, *, xaxis: dict[str, Any], yaxis: dict[str, Any], **more: Any) -> dict[str, Any]:
    axis = {"zeroline": False, "automargin": True, "gridcolor": GREY, "linecolor": GREY, "ticks": ""}
    return {
        "height": round(height),
        "margin": {"l": 8, "r": 12, "t": 8, "b": 32},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12},
        "showlegend": False,
        "hoverlabel": {**_HOVER, "align": "left"},
        "xaxis": {**axis, **xaxis},
        "yaxis": {**axis, **yaxis},
        **more,
    }


def _ms(epoch_seconds: float) -> int:
    return round(1000 * epoch_seconds)


def _faint(color: str) -> str:
    """Returns a color (#rrggbb) with half of its strength, in words that every plotly knows."""
    red, green, blue = bytes.fromhex(color[1:])
    return f"rgba({red}, {green}, {blue}, 0.5)"
