"""How long a call is tried again: as long as the invocation that makes it has time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from botocore.exceptions import ClientError

T = TypeVar("T")

# The tries end this long before the function does, so that it can still say what failed.
MARGIN_SECONDS = 15.0
# The longest wait before each try: doubled each time, up to a limit.
_FIRST_WAIT = 0.05
_LONGEST_WAIT = 5.0
_DOUBLINGS = 7
_RANDOM = random.SystemRandom()


def jittered(longest: float) -> None:
    """Sleeps for up to ``longest`` seconds, so that runs that met once do not meet again."""
    time.sleep(_RANDOM.uniform(0, longest))


class Patience:
    """The time that one invocation has for calls that fail for a passing reason.

    ``clock`` and ``deadline`` are in epoch seconds. Without a deadline, nothing is tried again. ``pause``
    waits for a random time up to the seconds that it is given.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        deadline: float = 0.0,
        pause: Callable[[float], None] = jittered,
    ) -> None:
        self._clock = clock
        self._deadline = deadline
        self._pause = pause

    def until(self, deadline: float) -> Patience:
        """Returns the patience of an invocation that ends at ``deadline`` (epoch seconds)."""
        return Patience(self._clock, deadline, self._pause)

    def wait(self, tries: int) -> bool:
        """Waits after a call that failed for the ``tries + 1``-th time. Returns False if no time is left."""
        longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(tries, _DOUBLINGS))
        if self._clock() + longest > self._deadline - MARGIN_SECONDS:
            return False
        self._pause(longest)
        return True

    def call(self, operation: Callable[[], T], passing: Callable[[ClientError], bool]) -> T:
        """Calls an AWS operation, and again after each error that is ``passing``, while time is left.

        botocore has tried a throttled call a few times by then, but not a canceled transaction.
        """
        tries = 0
        while True:
            try:
                return operation()
            except ClientError as error:
                if not passing(error) or not self.wait(tries):
                    raise
            tries += 1
