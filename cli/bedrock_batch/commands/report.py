"""`report`: what the queue did in a period, as a page or as figures."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from bedrock_batch.app import Here, command
from bedrock_batch.files import whole

STDOUT = Path("-")


@command
def report(
    here: Here,
    since: Annotated[
        str,
        typer.Option("--since", help="Where the period begins: 90m, 24h, 7d or 2w ago, or an ISO 8601 date."),
    ] = "7d",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write. A hyphen is standard output.")
    ] = Path("report.html"),
) -> None:
    """Write a report of what the queue did: one HTML page that works offline.

    It shows the slots over time, the records that were answered, how long uploads waited and jobs took, why
    something failed, and tokens and cost by route. With --json, the figures are printed instead.
    """
    from bedrock_batch import report as reporting
    from bedrock_batch.times import since_text

    now = time.time()
    begin = since_text(since, now)
    figures = reporting.figures(reporting.collect(here.queue.connection, begin, now))
    if here.as_json:
        here.out.json(reporting.document(figures))
        return
    page = reporting.page(figures).encode()
    if output == STDOUT:
        sys.stdout.buffer.write(page)
        return
    with whole(output) as part:
        part.write_bytes(page)
    for note in figures.truncated:
        here.out.note(f"Note: {note}.", style="yellow")
    here.out.note(f"Wrote {output} ({len(page) / 1e6:.1f} MB): open it in a browser.")
