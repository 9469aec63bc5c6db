"""What can go wrong, with the exit code that the command line ends with."""

from __future__ import annotations


class BatchError(Exception):
    """An error of this client; the text says what is wrong and what to do.

    ``exit_code`` is that of the command line.
    """

    exit_code = 1


class InputError(BatchError):
    """The caller's mistake: a wrong name, path, option or file, or no credentials."""

    exit_code = 2


class RefusedError(BatchError):
    """AWS denied a call, failed, or could not be reached."""

    exit_code = 3


class PassingError(RefusedError):
    """AWS failed, throttled a call or could not be reached: the same call may succeed later."""


class InterruptError(BatchError):
    """Somebody has pressed Ctrl-C."""

    exit_code = 130

    def __init__(self) -> None:
        super().__init__("interrupted")


class TimedOutError(BatchError):
    """An upload has not ended in the time that the caller wanted to wait. It goes on."""
