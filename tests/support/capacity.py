"""What DynamoDB takes in a second, and what a row costs: units by partition key, in the table and its index.

A partition takes 1,000 write units and 3,000 read units a second ("Designing partition keys" in the DynamoDB
Developer Guide), and saves what it does not need for one second. Here, each partition key has a partition of
its own, in the table and in the index. The sizes of items are those of "DynamoDB item sizes" there.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Place = tuple[str, str]  # "table" or "index", and the partition key
Item = Mapping[str, Any]  # attribute name → AttributeValue

WRITE_UNITS = 1000.0
READ_UNITS = 3000.0
WRITE_BYTES = 1024
READ_BYTES = 4096


def size_of(item: Item) -> int:
    """Returns the size of an item in bytes."""
    size = 0
    for name, value in item.items():
        for kind, content in value.items():
            # Most are texts and numbers, and this is done very often.
            if kind == "S":
                size += len(name) + (len(content) if content.isascii() else len(content.encode()))
            elif kind == "N":
                size += len(name) + len(content) // 2 + 1
            else:
                size += len(name) + _SIZES[kind](content)
    return size


#: The size of what an AttributeValue of another type has.
_SIZES: dict[str, Callable[[Any], int]] = {
    "BOOL": lambda _: 1,
    "NULL": lambda _: 1,
    "B": len,
    "SS": lambda texts: sum(len(text.encode()) for text in texts),
    "L": lambda values: 3 + sum(1 + size_of({"": inner}) for inner in values),
    "M": lambda values: 3 + len(values) + size_of(values),
}


def write_units(size: int) -> int:
    """Returns what writing an item of this size costs."""
    return max(1, math.ceil(size / WRITE_BYTES))


def read_units(size: int, *, consistent: bool) -> float:
    """Returns what reading items of this size in one call costs."""
    units = max(1, math.ceil(size / READ_BYTES))
    return float(units) if consistent else units / 2


@dataclass
class UnitsLeft:
    """The units of one partition that are left, at most those of one second."""

    rate: float
    left: float = field(init=False)
    at: float = 0.0

    def __post_init__(self) -> None:
        self.left = self.rate

    def has(self, units: float, now: float) -> bool:
        self.left = min(self.rate, self.left + (now - self.at) * self.rate)
        self.at = now
        return self.left >= min(units, self.rate)


class Capacity:
    """The units that are left in each partition. Without ``limits``, nothing is ever throttled."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        limits: bool,
        writes: float = WRITE_UNITS,
        reads: float = READ_UNITS,
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._writes = defaultdict[Place, UnitsLeft](lambda: UnitsLeft(writes))
        self._reads = defaultdict[Place, UnitsLeft](lambda: UnitsLeft(reads))

    def read(self, place: Place, units: float) -> bool:
        """Takes read units. Returns False, and takes nothing, if the partition has too few."""
        if not self._limits:
            return True
        bucket = self._reads[place]
        if not bucket.has(units, self._clock()):
            return False
        bucket.left -= units
        return True

    def write(self, costs: Counter[Place]) -> set[Place]:
        """Takes write units, or a half of those that are there if others are not. Returns what was full."""
        if not self._limits:
            return set()
        now = self._clock()
        full = {place for place, units in costs.items() if not self._writes[place].has(units, now)}
        for place, units in costs.items():
            if place not in full:
                self._writes[place].left -= units / 2 if full else units
        return full
