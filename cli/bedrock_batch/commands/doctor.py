"""`doctor`: what keeps the queue from working, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict

import typer

from bedrock_batch.app import Here, command


@command
def doctor(here: Here) -> None:
    """Check what the queue needs: its parts, permissions and quotas, and whether Bedrock takes its jobs.

    Nothing is run and nothing is billed. The exit code is 1 if something is wrong or could not be told.
    """
    from rich.text import Text

    from bedrock_batch.doctor import examine

    found = []
    for finding in examine(here.queue.connection):
        found.append(finding)
        if not here.as_json:
            mark = ("ok", "green") if finding.ok else ("wrong", "red") if finding.known else ("?", "yellow")
            here.out.line(Text.assemble((f"{mark[0]:<6}", mark[1]), f"{finding.what}: {finding.words}"))
    wrong = sum(not finding.ok for finding in found)
    if here.as_json:
        here.out.json([asdict(finding) for finding in found])
    elif not wrong:
        here.out.line("Nothing is wrong.")
    if wrong:
        raise typer.Exit(1)
