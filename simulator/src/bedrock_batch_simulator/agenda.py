"""What falls due when. No threads, no wall clock: things happen in `tick` and `advance`, in order of time."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .errors import ConfigError


@dataclass(frozen=True)
class Step:
    """One thing that is due: `run` works on S3 and changes nothing here, `finish` takes in what it gave.

    A server runs `run` without its lock, so that the calls go on meanwhile.
    """

    run: Callable[[], Any]
    finish: Callable[[Any], None]


@dataclass(order=True)
class _Entry:
    due: float
    number: int
    holds: Callable[[], bool]
    step: Callable[[float], Step]


class Agenda:
    """The things to come, by the time of a `clock` (seconds since the epoch, never going back).

    `lock`: held while something is taken and finished, and free while it runs, so that calls go on meanwhile.
    """

    def __init__(self, clock: Callable[[], float], lock: threading.RLock) -> None:
        self.clock, self._lock = clock, lock
        self._numbers = itertools.count()
        self._entries: list[_Entry] = []
        self._ticking = False

    @property
    def ticking(self) -> bool:
        """Whether things are happening right now, so that time cannot be moved."""
        return self._ticking

    def clear(self) -> None:
        """Forget all that was to come."""
        self._entries.clear()

    def at(self, due: float, holds: Callable[[], bool], step: Callable[[float], Step]) -> None:
        """At `due` take `step`, if it still `holds` then."""
        heapq.heappush(self._entries, _Entry(due, next(self._numbers), holds, step))

    def next_due(self) -> float | None:
        """When the next thing happens (seconds since the epoch), None when nothing is to come."""
        while self._entries and not self._entries[0].holds():
            heapq.heappop(self._entries)
        return self._entries[0].due if self._entries else None

    def next_step(self) -> Step | None:
        """Take the next thing that is due by now, if any; the caller runs and finishes it."""
        due = self.next_due()
        if due is None or due > self.clock():
            return None
        entry = heapq.heappop(self._entries)
        return entry.step(entry.due)

    def tick(self) -> int:
        """Let everything happen that is due by now, in order of time; returns how many things did.

        Each status carries the time it was due, so rare ticks give the same history as frequent ones. A call
        from within (an `emit` that drives more work) does nothing.
        """
        if self._ticking:
            return 0
        self._ticking, done = True, 0
        try:
            while True:
                with self._lock:
                    step = self.next_step()
                if step is None:
                    return done
                result = step.run()
                with self._lock:
                    step.finish(result)
                done += 1
        finally:
            self._ticking = False

    def advance(self, seconds: float) -> int:
        """Move a clock that can be set from one due thing to the next; returns how many came."""
        move = getattr(self.clock, "set", None)
        if move is None:
            raise ConfigError("advance needs a clock that can be set, such as VirtualClock")
        if self._ticking:
            raise RuntimeError(
                "advance was called from within an answer or an event: time cannot move while things happen"
            )
        target, done = self.clock() + seconds, self.tick()
        while True:
            with self._lock:
                due = self.next_due()
                move(target if due is None else min(due, target))
            if due is None or due > target:
                return done
            done += self.tick()
