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
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import BatchError, InputError, InterruptError
from .version import VERSION

if TYPE_CHECKING:
    from .client import Queue
    from .output import Out

DEFAULT_NAME = "br-batch-inference"
INTERRUPTED = 130
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
        self._session = (region, profile)
        self.name = name
        self.as_json = as_json
        self._queue: Queue | None = None
        self._out: Out | None = None

    @property
    def out(self) -> Out:
        """Where the command prints."""
        if self._out is None:
            from .output import Out  # noqa: PLC0415 (so that --help is quick)

            self._out = Out(as_json=self.as_json)
        return self._out

    @property
    def queue(self) -> Queue:
        """The queue. Raises InputError if there is none.

        If its version is not the client's, this is said on stderr.
        """
        if self._queue is None:
            from .client import Queue  # noqa: PLC0415
            from .connection import session_of  # noqa: PLC0415

            self._queue = Queue(self.name, session=session_of(*self._session))
            self._compare(self._queue.connection.about.version)
        return self._queue

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
    queue: QueueName = DEFAULT_NAME, region: Region = "", profile: Profile = "", json: AsJson = False
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
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 (for what is left to flush at the end)
            raise typer.Exit from None

    def keyword(one: inspect.Parameter) -> inspect.Parameter:
        return one.replace(kind=inspect.Parameter.KEYWORD_ONLY)

    signature = own.replace(parameters=[keyword(one) for one in (*parameters, *common)])
    run.__signature__ = signature  # type: ignore[attr-defined]
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


def run(arguments: Sequence[str]) -> int:
    """Runs the command line and returns its exit code. Errors are one line on stderr."""
    from . import commands  # noqa: F401, PLC0415 (which need this module)

    try:
        code = app(args=list(arguments), prog_name="bedrock-batch", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return _failed("interrupted", INTERRUPTED)
    except (BatchError, OSError) as error:
        return _failed(*_of(error))
    except typer.TyperException as error:
        if not error.format_message():  # no command: the help was printed
            return error.exit_code
        message = error.format_message().replace("Value error, ", "").rstrip(".")
        return _failed(f"{message}. --help says more.", error.exit_code)
    return code if isinstance(code, int) else 0


def _of(error: BatchError | OSError) -> tuple[str, int]:
    """Returns the words for an error, and its exit code."""
    if isinstance(error, BatchError):
        return str(error), error.exit_code
    # Of this machine: the client turns errors of the network into a BatchError.
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}", InputError.exit_code


def _failed(message: str, code: int) -> int:
    sys.stderr.write(f"bedrock-batch: {message}\n")
    return code
