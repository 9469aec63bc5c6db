"""Writes docs/performance.md from what `make bench` has measured.

    python -m tools.performance

``tools/plots.py`` draws the plots that the page shows. A section that was not measured is left out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MEASURED = ROOT / ".build" / "bench.json"
PAGE = ROOT / "docs" / "performance.md"
#: Where the plots are, as the page links to them.
PLOTS = "performance"

#: From this number on, figures are shown without decimals, and between 10 and it with one.
WHOLE = 100

INTRODUCTION = """\
# Performance

What the queue adds to Amazon Bedrock's own time, and what it saves of it. The figures are written to \
`.build/bench.json` by

    make bench

and this page is made of them by `make bench-docs`. Counts and virtual times do not depend on the machine; \
real time is shown as a ratio within one run. The tests hold the goals, with a tenth of slack."""

MAKESPAN = """\
## Makespan

How long a workload takes, from the first upload to the end of the last job, divided by a lower bound. In \
parentheses: the mean of eight runs in which each job takes 0.5 to 1.5 of its time.

![Makespan of each workload against the lower bound]({plots}/makespan.svg)

{table}

With other estimates at the start, the queue takes as long as this:

{estimates}

**Method.** `tests/support/makespan` simulates slots, arrivals and job times under a virtual clock, with the \
queue's own code: what a round reads (`scheduling.head`), what it starts (`scheduling.plan`), what it learns \
(`scheduling.learned`) and when it waits for further uploads (`core/gathering.py`). A job takes 15 minutes \
and a minute for each 1,000 records. There are ten slots, a job has at most 50,000 records, and an upload is \
split into chunks of 5,000. The time of the functions themselves is not part of it: it is seconds, and \
measured under load.

- **article**: [AWS's article]({article}) starts one job for each file, and looks for free slots every 15 \
minutes.
- **orchestrator**: AWS's orchestrator sample starts one job for each file, and is told by events.
- **lower bound**: each slot runs its even part of the records that arrive from any moment on, in the fewest \
jobs that can hold them, each of which costs the 15 minutes. It is the bound for expected times, so that a \
run with chance can be below it.

Both baselines are treated kindly: files above the limit of a job are split into full jobs, and files with \
fewer than 100 records, which Bedrock refuses, run all the same.

Command: `make bench` or `.venv/bin/python -m pytest -m bench -s tests/bench/test_makespan.py`

### Slots over time

The workload "{workload}" with chance. Each bar is a job, and each row one of the ten slots: gaps are slots \
that stand idle, and the paler start of a bar is the fixed time.

![Slots over time: the queue, the orchestrator and the article]({plots}/slots.svg)"""

ARTICLE = (
    "https://aws.amazon.com/blogs/machine-learning/automate-amazon-bedrock-batch-inference-building-a-scalable-"
    "and-efficient-pipeline/"
)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a table in Markdown; numbers are rounded as people read them."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join("| " + " | ".join(shown(cell) for cell in line) + " |" for line in lines)


def shown(value: object) -> str:
    """Returns a value as the page shows it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or (isinstance(value, float) and abs(value) >= WHOLE):
        return f"{value:,.0f}"
    if isinstance(value, float):
        return f"{value:.1f}" if abs(value) >= WHOLE / 10 else f"{value:.2f}"
    return str(value).replace("|", "\\|")


def ratio(figures: Mapping[str, float]) -> str:
    """Returns a makespan without and, in parentheses, with noise."""
    return f"{figures['quiet']:.2f} ({figures['noisy']:.2f})"


def makespan(measured: Mapping[str, Any]) -> str:
    """Returns the section about makespans."""
    found = measured["makespan"]
    rows = [
        (
            name,
            one["files"],
            round(one["bound_minutes"]),
            "{:.2f} ({:.2f})".format(*one["goal"]),
            f"**{ratio(one['schedulers']['cold'])}**",
            *(ratio(one["schedulers"][baseline]) for baseline in ("orchestrator", "article")),
            one["schedulers"]["cold"]["jobs"],
            one["schedulers"]["orchestrator"]["jobs"],
        )
        for name, one in found.items()
    ]
    columns = ("workload", "files", "lower bound, minutes", "goal", "queue", "orchestrator", "article")
    known = ("cold", "right", "three times too long", "three times too short")
    estimates = [(name, *(ratio(one["schedulers"][key]) for key in known)) for name, one in found.items()]
    return MAKESPAN.format(
        plots=PLOTS,
        article=ARTICLE,
        workload=measured["slots"]["workload"],
        table=table((*columns, "jobs of the queue", "jobs of the baselines"), rows),
        estimates=table(("workload", "none", *known[1:]), estimates),
    )


def section(name: str, values: Mapping[str, Any]) -> str:
    """Returns any other section: plots, a table of the values, and a table for each kind of rows."""
    parts = [f"## {name[:1].upper()}{name[1:]}"]
    if note := values.get("note"):
        parts.append(str(note))
    parts += [
        f"![{title}]({PLOTS}/{stem(name, title)}.svg)" for title, value in values.items() if is_plot(value)
    ]
    plain: list[tuple[str, object]] = []
    rows: dict[tuple[str, ...], list[list[object]]] = {}
    for key, value in values.items():
        if is_plot(value) or key == "note":
            continue
        if isinstance(value, Mapping):
            rows.setdefault(tuple(value), []).append([key, *value.values()])
        else:
            plain.append((key, value))
    if plain:
        parts.append(table(("what", "measured"), plain))
    parts += [table(("", *columns), some) for columns, some in rows.items()]
    return "\n\n".join(parts)


def is_plot(value: object) -> bool:
    """Returns whether a value of a section is a plot: a mapping with ``series``."""
    return isinstance(value, Mapping) and "series" in value


def stem(section_name: str, title: str) -> str:
    """Returns the name of a plot's file, without its ending."""
    text = f"{section_name} {title}".lower()
    return "-".join("".join(letter if letter.isalnum() else " " for letter in text).split())


def page(measured: Mapping[str, Any]) -> str:
    """Returns the page for the sections that were measured, by name."""
    parts = [INTRODUCTION]
    if "makespan" in measured and "slots" in measured:
        parts.append(makespan(measured))
    others = {name: values for name, values in measured.items() if name not in ("makespan", "slots")}
    parts += [section(name, values) for name, values in sorted(others.items())]
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """Command line: see the module's doc string."""
    if not MEASURED.exists():
        print(f"{MEASURED.relative_to(ROOT)} is missing: run `make bench` first", file=sys.stderr)
        return 1
    PAGE.write_text(page(json.loads(MEASURED.read_text(encoding="utf-8"))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
