"""The report as one page of HTML that needs nothing else: its style, its plots and plotly.js are in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from batch_queue.core.reports import counted
from batch_queue.core.rows import TERMINAL, Status

from . import plots
from .causes import Cause, Kind
from .figures import Figures, RouteFigures, Spread
from .pieces import Drawn, asset, section, table
from .slots import Model
from .words import compact, duration, escaped, moment, percent, shortened

MOST_ROUTES = 100
MOST_PLOTTED = 12
_MOST_MODELS = 8
_TEXT = 400
_BAD = (Status.PARTIALLY_COMPLETED, Status.FAILED, Status.EXPIRED, Status.REJECTED)
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)


def page(figures: Figures) -> str:
    """Returns the report as a page of HTML."""
    drawn = Drawn()
    if figures.is_empty:
        body = _empty(figures)
    else:
        parts = (_slots, _throughput, _waits, _causes, _tokens)
        body = "".join(part(figures, drawn) for part in parts)
    title = f"{escaped(figures.queue)}: batch queue report"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{title}</title>\n<style>{asset('report.css')}</style>\n</head>\n<body>\n"
        f"{_header(figures)}<main>\n{body}</main>\n{_footer(figures)}{drawn.scripts()}</body>\n</html>\n"
    )


# ------------------------------------------------------------------------------------------ head and foot


def _header(figures: Figures) -> str:
    period = f"{moment(figures.since)} to {moment(figures.until)} ({duration(figures.until - figures.since)})"
    return (
        f"<header>\n<p class=kind>Amazon Bedrock batch queue</p>\n<h1>{escaped(figures.queue)}</h1>\n"
        f"<p>{period}</p>\n{'' if figures.is_empty else _cards(figures)}"
        "<noscript><p class=note>The plots need JavaScript. The tables do not.</p></noscript>\n"
        f"{''.join(f'<p class=note>Note: {escaped(note)}.</p>' for note in figures.truncated)}</header>\n"
    )


def _cards(figures: Figures) -> str:
    total = figures.total
    unpriced = [route.name for route in figures.routes if route.cost is None and _used(route)]
    if total.cost is None:
        cost, priced = "–", "the routes have no prices"
    else:
        cost, priced = f"{total.cost:,.2f}", "at the prices of the routes"
        if unpriced:
            priced = f"without {shortened(', '.join(unpriced), _TEXT)}: no prices"
    ended_jobs = sum(count for status, count in figures.jobs.items() if status in TERMINAL)
    active = sum(figures.jobs.values()) - ended_jobs
    cards = (
        ("Uploads ended", f"{figures.ended:,}", _statuses(figures.uploads)),
        (
            "Records answered",
            compact(total.answered),
            f"of {total.records:,}; {total.failed:,} failed, {total.not_run:,} not run",
        ),
        ("Jobs ended", f"{ended_jobs:,}", f"{active:,} active now"),
        ("Slots used", percent(figures.use), "of the time of all slots"),
        (
            "Tokens",
            compact(total.input_tokens + total.output_tokens),
            f"{compact(total.input_tokens)} in, {compact(total.output_tokens)} out",
        ),
        ("Cost", cost, escaped(priced)),
    )
    return (
        "<dl class=cards>\n"
        + "".join(
            f"<div><dt>{name}</dt><dd>{value}<small>{more}</small></dd></div>\n"
            for name, value, more in cards
        )
        + "</dl>\n"
    )


def _used(route: RouteFigures) -> bool:
    return bool(route.input_tokens or route.output_tokens)


def _statuses(uploads: Mapping[Status, int]) -> str:
    def told(status: Status) -> str:
        return f"<span{' class=bad' if status in _BAD else ''}>{uploads[status]:,} {status}</span>"

    known = [status for status in Status if uploads.get(status)]
    ended = ", ".join(told(status) for status in known if status in TERMINAL)
    others = ", ".join(told(status) for status in known if status not in TERMINAL)
    return "; ".join(filter(None, (ended, others and f"now {others}")))


def _footer(figures: Figures) -> str:
    return _FOOT.format(made=moment(figures.until), version=escaped(figures.version))


_FOOT = """<footer>
<h2>How this is counted</h2>
<ul>
<li>Uploads and jobs count if they ended in the period. Those that have not ended are shown as they are now.
An upload is found if it was created at most 8 days before the period.</li>
<li>A job holds a slot from when Bedrock accepted it until it ended. Jobs that others in the account run also
take slots, and are not known here. Records that run on demand hold no slot.</li>
<li>Records count as answered when their job ends.</li>
<li>Tokens and cost are those of the uploads that ended in the period. The prices are those that the routes
have now, in the currency in which they were written.</li>
</ul>
<p>Made by bedrock-batch on {made}. The queue has version {version} of the module. All times are in UTC.</p>
</footer>
"""
_EMPTY = """<section>
<h2>No upload ended in this period</h2>
<p>From {since} to {until}, nothing ended and no job was active. Nothing is waiting now.</p>
<ul>
<li>Choose a longer period, for example <code>bedrock-batch report --since 30d</code>.</li>
<li>Check the name of the queue. <code>bedrock-batch status</code> shows what it is doing now.</li>
<li>The rows of uploads that have ended may have expired (<code>row_retention_days</code>).</li>
</ul>
</section>
"""


def _empty(figures: Figures) -> str:
    return _EMPTY.format(since=moment(figures.since), until=moment(figures.until))


# ----------------------------------------------------------------------------------------------- sections


def _slots(figures: Figures, drawn: Drawn) -> str:
    palette = plots.colors(figures)
    busy = [model for model in figures.models if model.bars]
    parts = [
        f"<h3>{escaped(model.name)}</h3>\n<p>{_sentence(model)}</p>\n"
        + drawn.figure(plots.slots(model, palette, figures.drawn_since, figures.until))
        for model in busy[:_MOST_MODELS]
    ]
    if not busy:
        parts = ["<p>No job was active in this period.</p>\n"]
    else:
        parts.insert(
            0,
            "<p>Each bar is a job in the slot that it held; a lighter one is still active. The dashed line "
            "marks the number of slots. Drag to zoom in, and double-click to zoom out.</p>\n",
        )
    if others := busy[_MOST_MODELS:]:
        names = ", ".join(escaped(model.name) for model in others[:MOST_ROUTES])
        parts.append(
            f"<p class=note>Not drawn: {counted(len(others), 'model')} with fewer jobs ({names}).</p>\n"
        )
    return section("Slots over time", "".join(parts))


def _sentence(model: Model) -> str:
    jobs = f"{counted(len(model.bars), 'job')}, at most {model.lanes:,} at the same time"
    if model.limit is None:
        return f"{jobs}. No route has this model any more, so its number of slots is not known."
    short = len(model.bars) > plots.MOST_BARS
    more = " Short jobs are drawn together." if short else ""
    return f"{jobs}, in {counted(model.limit, 'slot')}: {percent(model.use)} of their time was used.{more}"


def _throughput(figures: Figures, drawn: Drawn) -> str:
    if not figures.throughput.answered:
        return section("Records answered", "<p>No job that ended in this period answered a record.</p>\n")
    plot = plots.throughput(figures, plots.colors(figures))
    return section("Records answered", drawn.figure(plot))


def _waits(figures: Figures, drawn: Drawn) -> str:
    timed = [route for route in figures.routes if route.waits or route.starts or route.runs]
    if not timed:
        return section("Waiting and running", "<p>No upload began in this period, and no job ended.</p>\n")
    rows = [
        [escaped(route.name), *_spread(route.waits), *_spread(route.starts), *_spread(route.runs)]
        for route in timed[:MOST_ROUTES]
    ]
    head = ["route", "uploads", "median", "p90", "jobs", "median", "p90", "jobs", "median", "p90"]
    groups = (("", 1), ("waiting in the queue", 3), ("at Bedrock, not started", 3), ("running", 3))
    return section(
        "Waiting and running",
        "<p>How long uploads waited until their first job was submitted, and how long jobs took from there. "
        "A box holds the middle half of the values, with a line at the median. The whiskers go from p10 to "
        "p90.</p>\n"
        + drawn.figure(plots.waits(_largest(timed)))
        + table("Times by route", head, rows, groups=groups, left_out=len(timed) - len(rows)),
    )


def _spread(found: Spread | None) -> list[str]:
    if found is None:
        return ["–", "–", "–"]
    return [f"{found.count:,}", duration(found.median), duration(found.p90)]


def _causes(figures: Figures, drawn: Drawn) -> str:
    if not figures.causes:
        return section("Failures", "<p>No job, record or upload failed in this period.</p>\n")
    by_kind = [[cause for cause in figures.causes if cause.kind == kind] for kind in Kind]
    titles = {
        Kind.JOBS: "Jobs, by message",
        Kind.RECORDS: "Records, by error code",
        Kind.UPLOADS: "Uploads rejected or cancelled, by message",
    }
    drawings = "".join(
        f"<div><h3>{titles[some[0].kind]}</h3>\n{drawn.figure(plots.causes(some))}</div>\n"
        for some in by_kind
        if some
    )
    details = table("Causes", ["cause", "count"], [_cause(cause) for cause in figures.causes])
    return section("Failures", f"<div class=columns>\n{drawings}</div>\n{details}")


def _cause(cause: Cause) -> list[str]:
    more = [escaped(cause.meaning)] if cause.meaning else []
    if cause.example:
        more.append(f"Example: <code>{escaped(cause.example)}</code>")
    lines = "".join(f"<small>{line}</small>" for line in more)
    kind = str(cause.kind).removesuffix("s")
    return [escaped(shortened(cause.text, _TEXT)) + lines, counted(cause.count, kind)]


def _tokens(figures: Figures, drawn: Drawn) -> str:
    ran = [route for route in figures.routes if route.uploads]
    if not ran:
        return section("Tokens and cost", "<p>No upload ended in this period.</p>\n")
    largest = _largest(ran)
    drawings = f"<div><h3>Tokens</h3>\n{drawn.figure(plots.tokens(largest))}</div>\n"
    if any(route.cost is not None for route in largest):
        drawings += f"<div><h3>Cost</h3>\n{drawn.figure(plots.cost(largest))}</div>\n"
    head = [
        "route",
        "uploads",
        "records",
        "answered",
        "failed",
        "not run",
        "input tokens",
        "output tokens",
        "cost",
    ]
    rows = [_sums(escaped(route.name), route) for route in ran[:MOST_ROUTES]]
    details = table(
        "Uploads that ended, by route",
        head,
        rows,
        foot=_sums("all routes", figures.total),
        left_out=len(ran) - len(rows),
    )
    return section("Tokens and cost", f"<div class=columns>\n{drawings}</div>\n{details}")


def _sums(name: str, route: RouteFigures) -> list[str]:
    numbers = (
        route.uploads,
        route.records,
        route.answered,
        route.failed,
        route.not_run,
        route.input_tokens,
        route.output_tokens,
    )
    return [name, *(f"{number:,}" for number in numbers), "–" if route.cost is None else f"{route.cost:,.2f}"]


def _largest(routes: Sequence[RouteFigures]) -> list[RouteFigures]:
    return sorted(routes, key=lambda route: (-route.records, route.name))[:MOST_PLOTTED]
