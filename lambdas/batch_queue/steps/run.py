"""One invocation of a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from batch_queue.aws.telemetry import log

T = TypeVar("T")
# By how much the clocks of S3 and of the functions differ at most.
CLOCK_SECONDS = 900.0


class Run:
    """One invocation: its function's name, its deadline (epoch seconds), and the errors it has kept.

    Steps of it may run side by side.
    """

    def __init__(self, clock: Callable[[], float], function_name: str, seconds_left: float) -> None:
        self.function_name = function_name
        self.deadline = clock() + seconds_left
        self.errors: list[Exception] = []
        self.unfinished = False
        self._clock = clock

    def has_less_than(self, seconds: float) -> bool:
        """Returns whether less time than this is left."""
        return self._clock() + seconds > self.deadline

    def is_out_of_time(self, seconds: float) -> bool:
        """Returns whether less time than this is left. ``unfinished`` then says that another run goes on."""
        if self.has_less_than(seconds):  # set only: another thread may have set it meanwhile
            self.unfinished = True
        return self.unfinished

    def attempt(self, step: Callable[..., T], *arguments: object, **about: str) -> T | None:
        """Runs a step for one job, chunk or upload, and keeps its error so that it does not stop the others.

        ``about``: what the log names it by. Returns None if the step failed.
        """
        try:
            return step(*arguments)
        except Exception as error:
            log.exception("a step failed", extra={**about, "step": step.__name__})
            self.errors.append(error)
            return None

    def raise_first(self) -> None:
        """Raises the first error that was kept, if any, so that Lambda retries the event."""
        if self.errors:
            raise self.errors[0]
