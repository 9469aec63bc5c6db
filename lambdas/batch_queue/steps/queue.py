"""The queue that every step works on."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace

from batch_queue.aws.bucket import Bucket
from batch_queue.aws.functions import Functions
from batch_queue.aws.listing import Listing
from batch_queue.aws.patience import Patience
from batch_queue.aws.table import Table
from batch_queue.core import names
from batch_queue.core.records import dataclass
from batch_queue.core.settings import Settings

# Functions that find at the same moment that the processor must be woken look once more after up to this many
# seconds: by then, one of them has sent the wake-up, and the others write nothing.
SPREAD_SECONDS = 0.3
_RANDOM = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue: its settings, table and bucket, the functions that it wakes, and a clock (epoch seconds).

    ``sleep`` waits for as many seconds as it is given.
    """

    settings: Settings
    table: Table
    bucket: Bucket
    listing: Listing
    functions: Functions
    clock: Callable[[], float]
    patience: Patience
    sleep: Callable[[float], None] = time.sleep

    def within(self, seconds_left: float) -> Queue:
        """Returns the queue for one invocation: throttled calls are tried again until its time is up."""
        patience = self.patience.until(self.clock() + seconds_left)
        return replace(self, table=self.table.within(patience), functions=self.functions.within(patience))

    def wake_processor(self, reason: str) -> None:
        """Has the processor start a round, after everything that is stored now.

        Invokes it only if no run has to begin a round anyway (see ``Lease``). ``reason`` is for people.
        """
        lease = self.table.lease
        if not lease.needs_wake_up(self.clock()):
            return
        self.sleep(_RANDOM.uniform(0, SPREAD_SECONDS))
        now = self.clock()
        if not lease.wake(now):
            return
        try:
            self.functions.wake(self.settings.process_function, {"reason": reason})
        except Exception:
            lease.withdraw(now)
            raise

    def now(self) -> str:
        """Returns the time as rows store it: ISO 8601 in UTC."""
        return names.iso(self.clock())

    def expires_at(self) -> int | None:
        """Returns when a row of what ends now may be deleted (epoch seconds), or None if never."""
        days = self.settings.row_retention_days
        return None if days is None else int(self.clock()) + days * 86_400

    def age(self, stamp: str) -> float:
        """Returns the seconds since a time that a row stores."""
        return self.clock() - names.epoch(stamp)
