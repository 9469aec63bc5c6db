"""`bedrock-batch`, also as `python -m bedrock_batch`."""

from __future__ import annotations

import io
import os
import signal
import sys

TERMINATED = 128 + signal.SIGTERM


def _terminated(*_: object) -> None:
    sys.exit(TERMINATED)  # so that files of this command that are not whole are removed


def main() -> None:
    """Runs the command line, and ends with its exit code (docs/client.md)."""
    from . import encoding  # noqa: PLC0415
    from .app import run  # noqa: PLC0415 (an interrupt while this is imported must not print a traceback)

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
