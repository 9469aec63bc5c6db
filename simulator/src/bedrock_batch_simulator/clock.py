"""Clocks of the simulator: each is called without arguments and returns seconds since the epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from .errors import ConfigError

EPOCH = 1_767_225_600.0
"""2026-01-01T00:00:00Z, where virtual clocks start unless told otherwise."""


_FASTEST = 1e9


def _checked(speed: float) -> float:
    if not 0 <= speed <= _FASTEST:
        raise ConfigError(f"speed: must be between 0 and {_FASTEST:g}, not {speed!r}")
    return speed


class VirtualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, start: float = EPOCH) -> None:
        self.now = start

    def __call__(self) -> float:
        """The time in seconds since the epoch."""
        return self.now

    def set(self, now: float) -> None:
        """Move to `now` (seconds since the epoch); a time in the past is ignored."""
        self.now = max(self.now, now)

    def advance(self, seconds: float) -> None:
        """Move `seconds` ahead."""
        self.set(self.now + seconds)


class SpeedClock:
    """Real time times a speed from now on, or standing still in mode "manual"; never goes back.

    `source` measures real time in seconds and never goes back itself; exchangeable for tests. Raises
    ConfigError for a speed that is none.
    """

    def __init__(self, speed: float = 1.0, source: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        # One tuple, which is exchanged whole: others read the clock while it is moved.
        self._run: tuple[float, float, float, Literal["wall", "manual"]]
        self._run = (time.time(), source(), _checked(speed), "wall")

    def __call__(self) -> float:
        """The time in seconds since the epoch."""
        return self._at(self._source())

    @property
    def speed(self) -> float:
        """How many seconds pass in each real one, unless the mode is "manual"."""
        return self._run[2]

    @property
    def mode(self) -> Literal["wall", "manual"]:
        """Whether it runs with the wall clock or stands still."""
        return self._run[3]

    def _at(self, real: float) -> float:
        base, mark, speed, mode = self._run
        return base if mode == "manual" else base + max(0.0, real - mark) * speed

    def set(self, now: float) -> None:
        """Jump to `now` (seconds since the epoch) and go on from there; a time in the past is ignored."""
        real = self._source()
        self._run = (max(self._at(real), now), real, self.speed, self.mode)

    def advance(self, seconds: float) -> None:
        """Jump `seconds` ahead and go on from there."""
        self.set(self() + seconds)

    def set_mode(self, mode: Literal["wall", "manual"]) -> None:
        """Run with the wall clock, or stand still until `advance`."""
        real = self._source()
        self._run = (self._at(real), real, self.speed, mode)

    def set_speed(self, speed: float) -> None:
        """Let `speed` simulated seconds pass in each real one from now on."""
        real = self._source()
        self._run = (self._at(real), real, _checked(speed), self.mode)
