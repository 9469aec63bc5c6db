"""The second reading of an input, which looks for duplicate recordIds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import field
from typing import Any

from .cutting import Limits
from .digests import digest, fingerprint
from .reading import (
    MAX_REPORTED_FAULTS,
    MAX_REPORTED_ID,
    Fault,
    RecordError,
    lines,
    parse_line,
    record_id,
    tidy,
)
from .records import dataclass

# How many bytes are read between two checks of the time.
BYTES_A_LOOK = 16 << 20


@dataclass(slots=True)
class Duplicates:
    """The progress of the second reading.

    ``suspects``: the digests of ``Ids.twice``. ``offset`` and ``lines``: how many bytes and lines were read.
    ``seen``: the fingerprints of the recordIds with these digests. ``done``: no line is left to look at.
    """

    suspects: set[int]
    offset: int = 0
    lines: int = 0
    seen: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    done: bool = False

    def to_document(self) -> dict[str, Any]:
        """Returns a JSON document."""
        return {
            "suspects": sorted(self.suspects),
            "offset": self.offset,
            "lines": self.lines,
            "seen": sorted(self.seen),
            "faults": [[fault.line, fault.reason, fault.record_id] for fault in self.faults],
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Duplicates:
        """The inverse of ``to_document``."""
        return cls(
            suspects=set(document["suspects"]),
            offset=document["offset"],
            lines=document["lines"],
            seen=set(document["seen"]),
            faults=[Fault(*fault) for fault in document["faults"]],
        )


def find(
    blocks: Iterable[bytes],
    found: Duplicates,
    limits: Limits,
    out_of_time: Callable[[], bool] = lambda: False,
) -> Duplicates:
    """Reads an input a second time to find the lines with a duplicate recordId, as faults.

    ``blocks`` begin at ``found.offset``. Most inputs have no suspects, and need no second reading. Stops
    after ``MAX_REPORTED_FAULTS`` faults, or when ``out_of_time`` returns True; ``done`` is then False.
    """
    looked = found.offset
    for raw, length in lines(blocks, limits.line_bytes):
        if len(found.faults) >= MAX_REPORTED_FAULTS:
            break
        if found.offset - looked >= BYTES_A_LOOK:
            looked = found.offset
            if out_of_time():
                return found
        found.offset += length
        found.lines += 1
        line = tidy(raw or b"", first=found.lines == 1)
        if not line:
            continue
        try:
            identifier = record_id(parse_line(line))
        except RecordError:
            continue
        if digest(identifier) not in found.suspects:
            continue
        mark = fingerprint(identifier)
        if mark in found.seen:
            reason = "recordId already appears on an earlier line: make it unique"
            found.faults.append(Fault(found.lines, reason, identifier[:MAX_REPORTED_ID]))
        found.seen.add(mark)
    found.done = True
    return found
