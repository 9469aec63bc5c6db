"""`cancel`, `retry`, `pause`, `resume`, `sweep` and `drain`: orders to the queue (docs/orders.md)."""

from __future__ import annotations

import getpass
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from bedrock_batch.app import Here, command
from bedrock_batch.errors import InputError, InterruptError, PassingError, TimedOutError

UploadPath = Annotated[
    str, typer.Argument(help="A path below the input prefix, a key, an S3 URI or an upload ID.")
]
Why = Annotated[str, typer.Option("--why", help="Reason, which the rows and messages repeat.")]
By = Annotated[str, typer.Option("--by", help="Who gives the order. Default: your user name.")]
RouteName = Annotated[str, typer.Option("--route", help="A route. Default: the whole queue.")]


def _who(by: str) -> str:
    if by:
        return by
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container may run as a user that has no name
        return "unknown"


def _tell(here: Here, answer: Mapping[str, Any], words: str) -> None:
    if here.as_json:
        here.out.json(answer)
    else:
        here.out.line(words)


@command
def cancel(here: Here, path: UploadPath, why: Why = "", by: By = "") -> None:
    """Cancel an upload, or all uploads below a folder (a path that ends with a slash).

    Records that wait are not run, and not billed. What was answered by then is kept as the result.
    """
    if path.endswith("/"):
        from batch_queue.core.reports import counted

        answer = here.queue.cancel_below(path, by=_who(by), why=why)
        words = f"Cancelled {counted(answer['cancelled'], 'upload')}."
        if before := answer["cancelled_before"]:
            words += f" Cancelled before: {before:,}."
        if ended := answer["ended"]:
            words += f" Already ended: {ended:,}."
        if unknown := answer["unknown"]:
            words += f" Not known to the queue: {counted(unknown, 'object')}."
        _tell(here, answer, words + (" It goes on with the rest." if answer.get("goes_on") else ""))
        return
    answer = here.queue.upload(path).cancel(by=_who(by), why=why)
    _tell(here, answer, f"{answer['key']} is cancelled. {answer['did']}")


@command
def retry(here: Here, path: UploadPath, why: Why = "", by: By = "") -> None:
    """Run the records of an ended upload that have no answer.

    It begins 22 minutes after the upload has ended, at the earliest.
    """
    answer = here.queue.upload(path).retry(by=_who(by), why=why)
    _tell(here, answer, f"{answer['key']}: {answer['did']}")


@command
def pause(
    here: Here,
    why: Annotated[str, typer.Option("--why", help="Reason, which others see.")],
    route: RouteName = "",
    by: By = "",
) -> None:
    """Pause a route or the queue: uploads are taken in and wait, and running jobs go on."""
    answer = here.queue.pause(route, by=_who(by), why=why)
    _tell(here, answer, answer["did"])


@command
def resume(here: Here, route: RouteName = "", by: By = "") -> None:
    """End the pause of a route, or of the queue."""
    answer = here.queue.resume(route, by=_who(by))
    _tell(here, answer, answer["did"])


@command
def sweep(
    here: Here,
    path: Annotated[str, typer.Argument(help="Folder below the input prefix. Default: all of it.")] = "",
) -> None:
    """Have the queue look for uploads whose event was lost, and for files that were there before it.

    Every .jsonl file below the input prefix that has not run yet is run, and billed.
    """
    answer = here.queue.sweep(path)
    _tell(here, answer, answer["did"])


@command
def drain(
    here: Here,
    why: Annotated[str, typer.Option("--why", help="Reason, which others see.")] = "the queue is drained",
    by: By = "",
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait until no job runs and all results are collected.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout", help="With --wait: longest time to wait, in minutes. Default: 1,440.", min=0.1
        ),
    ] = None,
) -> None:
    """Pause the queue, and with --wait until its jobs have ended: before maintenance, or before a destroy."""
    from bedrock_batch.client import again

    if timeout is not None and not wait:
        raise InputError("--timeout needs --wait")
    answer = here.queue.pause(by=_who(by), why=why)
    if not wait:
        _tell(here, answer, answer["did"])
        return
    here.out.note(answer["did"])
    minutes = 24 * 60 if timeout is None else timeout
    left = 0

    def note(words: str) -> None:
        here.out.note(f"{time.strftime('%H:%M:%S')} {words}")

    def trouble(error: PassingError) -> None:
        note(f"{error}. Trying again")

    try:
        for jobs in again(here.queue.open_jobs, minutes * 60, trouble):
            if not jobs:
                break
            if len(jobs) != left:
                here.out.note(
                    f"{time.strftime('%H:%M:%S')} jobs that run or are to be collected: {len(jobs):,}"
                )
            left = len(jobs)
        else:
            raise TimedOutError(
                f"{left:,} jobs have not ended within {minutes:,.0f} min. The queue stays paused"
            )
    except KeyboardInterrupt:
        here.out.note("Interrupted. The queue stays paused; bedrock-batch resume ends the pause.")
        raise typer.Exit(InterruptError.exit_code) from None
    _tell(here, {**answer, "drained": True}, "No job runs. bedrock-batch resume ends the pause.")
