"""`doctor`: what keeps the queue from working, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict

import typer

from bedrock_batch.app import Here, command


@command
def doctor(here: Here) -> None:
    """Check what the queue needs: its parts, permissions and quotas, and whether Bedrock takes its jobs.

    Nothing is run and nothing is billed. A line begins with ✓, with ✗ if something is wrong, or with ? if it
    could not be told, and says what to do. The exit code is 1 if something is wrong.
    """
    from batch_queue.core.reports import counted
    from rich.text import Text

    from bedrock_batch.doctor import examine

    found = []
    for finding in examine(here.queue.connection):
        found.append(finding)
        if not here.as_json:
            mark = ("✓", "green") if finding.ok else ("✗", "red") if finding.known else ("?", "yellow")
            here.out.line(Text.assemble(mark, f" {finding.what}: {finding.words}"))
    wrong = sum(finding.known and not finding.ok for finding in found)
    unknown = sum(not finding.known for finding in found)
    if here.as_json:
        here.out.json([asdict(finding) for finding in found])
    else:
        also = f" {counted(unknown, 'thing')} could not be told." if unknown else ""
        here.out.line((f"{counted(wrong, 'thing')} to put right." if wrong else "Nothing is wrong.") + also)
    if wrong:
        raise typer.Exit(1)
