"""Draws the dashboard of dashboard.tf from its JSON, with made-up data. Needs requirements/bench.txt.

    python -m tools.dashboard_picture              # docs/images/dashboard.svg
    python -m tools.dashboard_picture FILE.png     # to look at

The picture shows three days. On the last one, from ten to one, a route gets requests that the model refuses,
and a job of the other route stalls. It follows the JSON, so it changes with the dashboard.
"""

from __future__ import annotations

import ast
import math
import operator
import re
import sys
import textwrap
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from tools import checks
from tools.dashboard import EXAMPLE, body, expand

PICTURE = checks.ROOT / "docs" / "images" / "dashboard.svg"
RAISED = ("failed-uploads", "failed-records", "stalled-jobs-default", "dead-letters-us")
#: When people upload files, by the hour of the day.
DAY = (8, 18)
REJECTED = 33
#: Label, color, hours and values of a line.
Line = tuple[str, str | None, list[float], list[float]]
OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
HOURS = 72
#: When the made-up incident begins and ends, in hours.
INCIDENT = (58, 61)
COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b", "#17becf")


# --------------------------------------------------------------------------------------------- made-up data


def _working(hour: float) -> float:
    """How busy people are: files come from eight to six."""
    return (
        max(0.0, math.sin((hour % 24 - DAY[0]) / (DAY[1] - DAY[0]) * math.pi))
        if DAY[0] <= hour % 24 <= DAY[1]
        else 0.0
    )


def _incident(hour: float) -> bool:
    return INCIDENT[0] <= hour < INCIDENT[1]


def value(name: str, dimensions: Mapping[str, str], hour: float, hours: float) -> float | None:
    """Returns a made-up value of a metric at an hour; None where it is not sent. ``hours``: of its period."""
    chance = zlib.crc32(f"{name}{sorted(dimensions.items())}{hour}".encode()) / 2**32
    noise = 0.9 + 0.2 * chance
    route = dimensions.get("Route", "")
    part = {"bulk": 0.7, "default": 0.3}.get(route, 1.0)
    stalled = _incident(hour) and dimensions.get("model") != "nova-lite"
    come, lag = _working(hour), _working(hour - 1.5)
    waits = lag > 0 or _working(hour - 4) > 0
    if name == "OldestPendingAge":
        longer = 3600 * (hour - INCIDENT[0]) if _incident(hour) and route == "default" else 0
        return (2400 * lag + 900 * chance) * (2 if route == "bulk" else 1) + longer if waits else None
    sums = {
        "RecordsAccepted": 40_000 * come * part,
        "RecordsSucceeded": 40_000 * lag * part * (0.8 if _incident(hour) else 0.995),
        "RecordsFailed": 40_000 * lag * part * (0.2 if _incident(hour) else 0.005),
        "UploadsAccepted": 30 * come,
        "UploadsCompleted": 30 * lag * (0.6 if _incident(hour) else 1),
        "UploadsPartiallyCompleted": 30 * lag * (0.3 if _incident(hour) else 0.03),
        "UploadsFailed": 4.0 if _incident(hour) else 0,
        "UploadsRejected": 2.0 if REJECTED <= hour < REJECTED + 1 else 0,
        "InputTokens": 40_000 * lag * 900 * part,
        "OutputTokens": 40_000 * lag * 120 * part,
        "Cost": 40_000 * lag * 0.7 * (900 * 0.03 + 120 * 0.12) / 1_000_000,
    }
    if name in sums:
        return sums[name] * noise * hours if sums[name] else None
    gauges = {
        "PendingRecords": 90_000 * lag * part,
        "ActiveJobs": math.ceil(10 * lag * part),
        "SlotsFree": 10 - math.ceil(10 * lag * part),
        "ShortestTimeToExpiry": 3600 * (24 - (hour - INCIDENT[0] + 1 if _incident(hour) else 0.6 * lag)),
        "SlotsUsed": min(10, 2 + math.ceil(8 * lag)),
        "NumberOfRecordsPendingProcessing": 25_000
        * lag
        * (1 if dimensions.get("model") == "nova-lite" else 0.6),
        "NumberOfInputTokensProcessedPerMinute": 0.0 if stalled else 600_000 * lag,
        "NumberOfOutputTokensProcessedPerMinute": 0.0 if stalled else 80_000 * lag,
    }
    if name in gauges:
        exact = name in ("ActiveJobs", "SlotsFree", "SlotsUsed", "ShortestTimeToExpiry")
        return gauges[name] * (1 if exact else noise) if waits else None
    if name == "Errors":
        return 2.0 if _incident(hour) and "collect" in str(dimensions) else 0.0
    if name == "ApproximateNumberOfMessagesVisible":
        return 1.0 if hour >= INCIDENT[1] - 1 else 0.0
    return None


def _evaluated(tree: ast.expr, values: Mapping[str, float]) -> float:
    """Returns the value of an expression of sums, products and quotients."""
    if isinstance(tree, ast.BinOp):
        return OPERATORS[type(tree.op)](_evaluated(tree.left, values), _evaluated(tree.right, values))
    return values[tree.id] if isinstance(tree, ast.Name) else float(ast.literal_eval(tree))


class Series:
    """The made-up values of a widget's metrics. ``period``: in seconds, that of the widget."""

    def __init__(self, widget: Mapping[str, Any]) -> None:
        self._properties = widget["properties"]
        self._period = int(self._properties.get("period", 300))
        self._metrics = expand(self._properties["metrics"])
        self._by_id = {options["id"]: (words, options) for words, options in self._metrics if "id" in options}

    def lines(self) -> list[Line]:
        """Returns label, color, hours and values of each line that is drawn."""
        found: list[Line] = []
        for words, options in self._metrics:
            if options.get("visible") is False:
                continue
            if search := re.search(r'MetricName="(\w+)"', str(options.get("expression", ""))):
                for model in ("nova-lite", "claude-haiku-4-5"):
                    label = f"{options.get('label')} {model}".strip()
                    found.append((label, None, *self._values([search[1]], {"model": model})))
            elif "expression" in options:
                found.append((options["label"], options.get("color"), *self._computed(options["expression"])))
            else:
                dimensions = dict(zip(words[2::2], words[3::2], strict=True))
                label = options.get("label", words[1])
                found.append((label, options.get("color"), *self._values(words[1:2], dimensions)))
        return found

    def _computed(self, expression: str) -> tuple[list[float], list[float]]:
        names = [name for name in re.findall(r"[a-z]\w*", expression) if name in self._by_id]
        each = {}
        for name in names:
            words, _ = self._by_id[name]
            hours, values = self._values(words[1:2], dict(zip(words[2::2], words[3::2], strict=True)))
            each[name] = dict(zip(hours, values, strict=True))
        at = sorted(set.intersection(*(set(one) for one in each.values())))
        tree = ast.parse(expression, mode="eval").body
        return at, [_evaluated(tree, {name: each[name][hour] for name in names}) for hour in at]

    def _values(self, name: Sequence[str], dimensions: Mapping[str, str]) -> tuple[list[float], list[float]]:
        step = self._period / 3600
        found: list[tuple[float, float]] = []
        for number in range(int(HOURS / step)):
            hour = number * step
            inner = [hour] if step <= 1 else [hour + n for n in range(int(step))]
            told = [
                one for at in inner if (one := value(name[0], dimensions, at, min(step, 1.0))) is not None
            ]
            if told:
                found.append((hour, sum(told) if self._properties.get("stat") == "Sum" else max(told)))
        return [hour for hour, _ in found], [one for _, one in found]

    def totals(self) -> list[tuple[str, str | None, float]]:
        """Returns label, color and sum over the whole time of each metric."""
        self._period = 3600
        return [(label, color, sum(values)) for label, color, _, values in self.lines()]


# ------------------------------------------------------------------------------------------------- drawing


def draw(dashboard: Mapping[str, Any], alarms: Sequence[str], to: Path) -> None:
    """Draws a dashboard. ``alarms``: words in the names of the alarms that are raised in the picture."""
    mpl.rcParams.update(
        {"svg.hashsalt": "dashboard", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 7}
    )
    widgets = dashboard["widgets"]
    high = max(widget["y"] + widget["height"] for widget in widgets)
    figure = Figure(figsize=(16, high * 0.55))
    for widget in widgets:
        left, width = widget["x"] / 24, widget["width"] / 24
        bottom, height = 1 - (widget["y"] + widget["height"]) / high, widget["height"] / high
        box = (left + 0.025, bottom + 0.18 * height, width - 0.035, height * 0.62)
        axes = figure.add_axes(box)
        _WIDGETS[widget["type"] if widget["properties"].get("view") != "singleValue" else "value"](
            axes, widget, alarms
        )
    figure.savefig(
        to,
        metadata={"Date": None, "Creator": None} if to.suffix == ".svg" else None,
        facecolor="white",
        dpi=110,
    )


def _text(axes: Axes, widget: Mapping[str, Any], _alarms: Sequence[str]) -> None:
    axes.axis("off")
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", widget["properties"]["markdown"])
    lines = plain.replace("**", "").replace("$", r"\$").splitlines()
    axes.text(0, 1, lines[0].lstrip("# "), fontsize=14, weight="bold", va="top")
    axes.text(0, 0.45, "\n".join(textwrap.fill(line, 220) for line in lines[1:]), va="top")


def _alarm(axes: Axes, widget: Mapping[str, Any], alarms: Sequence[str]) -> None:
    axes.axis("off")
    axes.set_title(widget["properties"]["title"], loc="left", weight="bold")
    names = [arn.rsplit(":", 1)[1] for arn in widget["properties"]["alarms"]]
    columns = 4
    for number, name in enumerate(sorted(names, key=lambda name: not any(word in name for word in alarms))):
        raised = any(word in name for word in alarms)
        x, y = (
            number % columns / columns,
            1 - (number // columns + 1) / (math.ceil(len(names) / columns) + 0.2),
        )
        style = {"facecolor": "#d62728" if raised else "#2ca02c", "edgecolor": "none", "pad": 1.5}
        short = name.replace("-us-east-1", "").removeprefix("reviews-")
        axes.text(x, y, short, color="white", bbox=style, fontsize=6.5)


def _value(axes: Axes, widget: Mapping[str, Any], _alarms: Sequence[str]) -> None:
    axes.axis("off")
    axes.set_title(widget["properties"]["title"], loc="left", weight="bold")
    found = Series(widget).totals()
    for number, (label, color, total) in enumerate(found):
        x = number / len(found)
        axes.text(
            x,
            0.45,
            f"{total:,.2f}" if label == "cost" else f"{total:,.0f}",
            fontsize=13,
            color=color or "black",
        )
        axes.text(x, 0.2, label)


def _metric(axes: Axes, widget: Mapping[str, Any], _alarms: Sequence[str]) -> None:
    properties = widget["properties"]
    axes.set_title(properties["title"], loc="left", weight="bold")
    lines = Series(widget).lines()
    step = int(properties.get("period", 300)) / 3600
    colors = iter(COLORS * 4)
    floor: dict[float, float] = {}
    for label, color, hours, values in lines:
        shade = color or next(colors)
        if properties.get("stacked"):
            bottoms = [floor.get(hour, 0.0) for hour in hours]
            edge = "white" if step > 1 else "none"
            axes.bar(
                hours,
                values,
                width=step,
                align="edge",
                bottom=bottoms,
                color=shade,
                alpha=0.8,
                edgecolor=edge,
            )
            axes.plot([], [], color=shade, label=label, linewidth=4)
            floor.update({hour: floor.get(hour, 0.0) + one for hour, one in zip(hours, values, strict=True)})
        else:
            gaps_at, gaps = list(hours), list(values)
            for at in range(len(hours) - 1, 0, -1):
                if hours[at] - hours[at - 1] > 1.01 * step:
                    gaps_at.insert(at, hours[at])
                    gaps.insert(at, math.nan)
            axes.plot(gaps_at, gaps, color=shade, label=label, linewidth=1)
    for line in properties.get("annotations", {}).get("horizontal", []):
        axes.axhline(line["value"], color=line["color"], linewidth=0.8, linestyle="--")
        axes.text(0, line["value"], line["label"], color=line["color"], fontsize=6, va="bottom")
    axis = properties.get("yAxis", {}).get("left", {})
    axes.set_ylim(bottom=axis.get("min"), top=axis.get("max"))
    axes.set_ylabel(axis.get("label", ""))
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlim(0, HOURS)
    axes.set_xticks(range(0, HOURS + 1, 12), [f"{hour % 24:02d}:00" for hour in range(0, HOURS + 1, 12)])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=4, frameon=False, fontsize=6)


_WIDGETS = {"text": _text, "alarm": _alarm, "value": _value, "metric": _metric}


def main() -> int:
    """Draws the picture of the documentation, or the file that is named."""
    to = Path(sys.argv[1]) if sys.argv[1:] else PICTURE
    draw(body(EXAMPLE), RAISED, to)
    print(f"wrote {to}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
