"""The command line: its commands, the options that all of them have, and what its exit codes mean.

| exit code | meaning |
|---|---|
| 0 | done; with ``--wait``, every record was answered |
| 1 | an upload has ended without an answer to every record, or a check found something wrong |
| 2 | a mistake of the user: a wrong option, path or file, no credentials, no such queue |
| 3 | AWS refused a call, failed, or could not be reached |
| 130 | interrupted (Ctrl-C); what was submitted goes on |
| 143 | ended by SIGTERM; what was submitted goes on |
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

import bedrock_batch

from . import defaults
from .errors import InterruptError
from .output import Out
from .version import VERSION

if TYPE_CHECKING:
    from .client import Queue

COMMON_PANEL = "Options of every command"

app = typer.Typer(
    name="bedrock-batch",
    help="Run files through Amazon Bedrock batch inference with a queue of this module: submit them, see how "
    "far they are, get their results, and operate the queue.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Here:
    """What a command works with: the queue, and where it prints."""

    def __init__(self, name: str, region: str, profile: str, *, as_json: bool) -> None:
        self.name = name
        self.as_json = as_json
        self.out = Out(as_json=as_json)
        self._session = (region, profile)

    @cached_property
    def queue(self) -> Queue:
        """The queue. Raises InputError if there is none.

        If its version is not the client's, this is said on stderr.
        """
        # Through the package, which imports the client when it is asked for it: --help does not wait for it.
        queue = bedrock_batch.Queue(self.name, session=bedrock_batch.session_of(*self._session))
        self._compare(queue.connection.about.version)
        return queue

    def _compare(self, version: str) -> None:
        if version != VERSION:
            newer = _parts(version) > _parts(VERSION)
            advice = (
                f"Install version {version} of bedrock-batch."
                if newer
                else f"Apply version {VERSION} of the module, or install version {version} of bedrock-batch."
            )
            self.out.note(
                f"The queue {self.name} has version {version} of the module, and this is bedrock-batch "
                f"{VERSION}. {advice}",
                style="yellow",
            )


def _parts(version: str) -> list[int]:
    return [int(part) if part.isdigit() else 0 for part in version.split(".")]


QueueName = Annotated[
    str,
    typer.Option(
        "--queue",
        "-q",
        envvar="BEDROCK_BATCH_QUEUE",
        help="Name of the queue: the input name of the module.",
        rich_help_panel=COMMON_PANEL,
    ),
]
Region = Annotated[
    str,
    typer.Option(
        "--region",
        help="AWS Region of the queue. Default: that of the environment.",
        rich_help_panel=COMMON_PANEL,
    ),
]
Profile = Annotated[
    str,
    typer.Option(
        "--profile",
        help="AWS profile to use. Default: that of the environment.",
        rich_help_panel=COMMON_PANEL,
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON instead of words and tables.", rich_help_panel=COMMON_PANEL)
]


def _common(
    queue: QueueName = defaults.QUEUE, region: Region = "", profile: Profile = "", json: AsJson = False
) -> None:
    """Has the options of every command."""


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Makes a command of a function whose first parameter is ``Here``: adds the options of every command."""
    own = inspect.signature(function, eval_str=True)
    common = list(inspect.signature(_common, eval_str=True).parameters.values())
    _, *parameters = own.parameters.values()

    def run(queue: str, region: str, profile: str, json: bool, **given: Any) -> None:
        try:
            function(Here(queue, region, profile, as_json=json), **given)
        except KeyboardInterrupt:  # Typer would end without a word
            raise InterruptError from None
        except BrokenPipeError:  # for which Typer would end with exit code 1
            raise typer.Exit from None

    def keyword(one: inspect.Parameter) -> inspect.Parameter:
        return one.replace(kind=inspect.Parameter.KEYWORD_ONLY)

    signature = own.replace(parameters=[keyword(one) for one in (*parameters, *common)])
    cast("Any", run).__signature__ = signature
    run.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()}
    # Typer keeps the line ends within a paragraph.
    help_text = re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.getdoc(function) or "")
    app.command(function.__name__, help=help_text)(run)
    return function


def _version(value: bool) -> None:
    if value:
        typer.echo(f"bedrock-batch {VERSION}")
        raise typer.Exit


@app.callback()
def _app(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass
