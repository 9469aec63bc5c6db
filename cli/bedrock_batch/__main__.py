"""`bedrock-batch`, also as `python -m bedrock_batch`."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence

import typer

from . import encoding
from .commands import app
from .errors import BatchError, InputError, InterruptError

TERMINATED = 128 + signal.SIGTERM


def run(arguments: Sequence[str]) -> int:
    """Runs the command line and returns its exit code. Errors are one line on stderr."""
    try:
        code = app(args=list(arguments), prog_name="bedrock-batch", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return _failed(*_of(InterruptError()))
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


def _terminated(*_: object) -> None:
    sys.exit(TERMINATED)  # so that files of this command that are not whole are removed


def main() -> None:
    """Runs the command line, and ends with its exit code (docs/client.md)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What a stream cannot show becomes something plain, and no error. Results are written as UTF-8.
            stream.reconfigure(errors=encoding.NAME)
    signal.signal(signal.SIGTERM, _terminated)
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError as error:
        # Whoever read stdout has what they wanted, or the disk is full. Python would complain at its end that
        # it cannot flush.
        if not isinstance(error, BrokenPipeError) and not code:
            sys.stderr.write(f"bedrock-batch: {error.strerror}\n")
            code = 2
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


if __name__ == "__main__":
    main()
