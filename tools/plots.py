"""Draws the plots of docs/performance.md from what `make bench` has measured. Needs requirements/bench.txt.

    python -m tools.plots

The same figures give the same files, byte for byte.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tools.performance import MEASURED, PAGE, PLOTS, is_plot, stem

FOLDER = PAGE.parent / PLOTS
COLORS = {"queue": "#1f6f8b", "orchestrator": "#c98a1b", "article": "#a63d40"}
OTHERS = ("#1f6f8b", "#c98a1b", "#a63d40", "#5b7553", "#6b5b95", "#777777")
#: The fixed time of a job in the simulation, in minutes.
FIXED = 15
#: Ratios above this one are cut off in the plot, and written beside their bar.
FAR = 6.0
STYLE = {
    "svg.hashsalt": "performance",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
}


def save(figure: Figure, name: str) -> None:
    """Writes a figure as SVG, without what changes from one run to the next."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None, "Creator": None}, facecolor="white")


def slots(jobs: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """Returns a Gantt chart for each scheduler. ``jobs``: slot, start and end (minutes), and records."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.subplots(len(jobs), 1, sharex=True)
    last = max(job[2] for ran in jobs.values() for job in ran)
    for own, (name, ran) in zip(axes, jobs.items(), strict=True):
        end = max(job[2] for job in ran)
        fixed: dict[float, list[tuple[float, float]]] = {}
        runs: dict[float, list[tuple[float, float]]] = {}
        for slot, start, until, records in ran:
            part = (until - start) * FIXED / (FIXED + records / 1_000)
            fixed.setdefault(slot, []).append((start, part))
            runs.setdefault(slot, []).append((start + part, until - start - part))
        for bars, alpha in ((fixed, 0.4), (runs, 1.0)):
            for slot, some in bars.items():
                own.broken_barh(some, (slot + 0.6, 0.8), facecolor=COLORS[name], alpha=alpha)
        own.axvline(end, color="#333333", linewidth=0.8, linestyle="--")
        own.set_title(f"{name}: {len(ran):,} jobs, {end:,.0f} minutes", loc="left", fontsize=9)
        own.set_yticks([1, 5, 10])
        own.set_ylabel("slot")
        own.set_xlim(0, 1.02 * last)
    axes[-1].set_xlabel("minutes since the first upload")
    return figure


def makespan(found: Mapping[str, Any]) -> Figure:
    """Returns bars of the ratios to the lower bound; a line shows the mean with noise."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    own: Axes = figure.subplots()
    names = list(found)
    for shift, (label, key) in enumerate(
        (("queue", "cold"), ("orchestrator", "orchestrator"), ("article", "article"))
    ):
        for row, name in enumerate(names):
            one = found[name]["schedulers"][key]
            at = row + 0.27 * (shift - 1)
            own.barh(at, min(FAR, one["quiet"]), 0.25, color=COLORS[label], label=label if not row else None)
            if one["noisy"] <= FAR:
                own.plot([one["noisy"]] * 2, [at - 0.12, at + 0.12], color="#222222", linewidth=1.2)
            text = f"{one['quiet']:,.2f}" if one["quiet"] < FAR else f"{one['quiet']:,.0f} →"
            own.annotate(text, (min(FAR, max(one["quiet"], one["noisy"])), at), (3, -2.5), fontsize=7,
                         textcoords="offset points")  # fmt: skip
    own.axvline(1, color="#333333", linewidth=0.8, linestyle="--")
    own.set_yticks(range(len(names)), names)
    own.invert_yaxis()
    own.set_xlim(0, FAR * 1.08)
    own.set_xlabel("makespan / lower bound (the dark line: with ±50 % noise)")
    own.legend(loc="lower right", frameon=False)
    return figure


def lines(title: str, plot: Mapping[str, Any]) -> Figure:
    """Returns a plot of lines: ``series`` has the points (x, y) by name; ``x`` and ``y`` name the axes.

    ``log``: both axes are logarithmic.
    """
    figure = Figure(figsize=(8, 4), layout="constrained")
    own: Axes = figure.subplots()
    for number, (name, points) in enumerate(plot["series"].items()):
        color = COLORS.get(name, OTHERS[number % len(OTHERS)])
        own.plot(*zip(*points, strict=True), label=name, color=color, marker="o", markersize=3)
    if plot.get("log"):
        own.set_xscale("log")
        own.set_yscale("log")
    own.set_title(title, loc="left", fontsize=9)
    own.set_xlabel(plot.get("x", ""))
    own.set_ylabel(plot.get("y", ""))
    own.grid(alpha=0.3)
    own.legend(frameon=False)
    return figure


def main() -> int:
    """Command line: see the module's doc string."""
    if not MEASURED.exists():
        print("run `make bench` first", file=sys.stderr)
        return 1
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    with mpl.rc_context(STYLE):
        if "makespan" in measured and "slots" in measured:
            save(slots(measured["slots"]["jobs"]), "slots")
            save(makespan(measured["makespan"]), "makespan")
        for name, values in measured.items():
            for title, plot in values.items():
                if is_plot(plot):
                    save(lines(title, plot), stem(name, title))
    return 0


if __name__ == "__main__":
    sys.exit(main())
