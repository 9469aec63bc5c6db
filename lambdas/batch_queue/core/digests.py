"""RecordIds as 64-bit digests: what millions of them cost is 8 bytes each."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import pairwise

# To copy a hash takes half as long as to make one with its parameters.
_copy = blake2b(digest_size=8).copy
_from_bytes = int.from_bytes


def digest(identifier: str) -> int:
    """Returns a 64-bit digest of a recordId."""
    found = _copy()
    try:
        found.update(identifier.encode())
    except UnicodeEncodeError:
        found.update(_bytes(identifier))
    return _from_bytes(found.digest(), "big")


def digest_of(identifier: bytes) -> int:
    """Returns a 64-bit digest of a recordId in UTF-8."""
    found = _copy()
    found.update(identifier)
    return _from_bytes(found.digest(), "big")


def fingerprint(identifier: str) -> str:
    """Returns 32 hex digits that no two recordIds have in common. Unlike a digest, it is not for millions."""
    return blake2b(_bytes(identifier), digest_size=16).hexdigest()


def _bytes(identifier: str) -> bytes:
    try:
        return identifier.encode()
    except UnicodeEncodeError:
        return identifier.encode("utf-8", "surrogatepass")


def digest_sum(marks: Iterable[int]) -> int:
    """Returns a 64-bit checksum of digests that does not depend on their order."""
    return sum(marks) % (1 << 64)


class Ids:
    """A collection of recordIds as 64-bit digests, 8 bytes each, in 256 arrays by their first byte."""

    HEAPS = 256

    def __init__(self) -> None:
        self._heaps = [array("Q") for _ in range(self.HEAPS)]

    def add(self, identifier: str) -> int:
        """Adds one recordId; returns its digest."""
        mark = digest(identifier)
        self._heaps[mark >> 56].append(mark)
        return mark

    def add_digests(self, marks: Iterable[int]) -> None:
        """Adds recordIds by their digests."""
        heaps = self._heaps
        for mark in marks:
            heaps[mark >> 56].append(mark)

    def twice(self, most: int) -> set[int]:
        """Returns digests that were added more than once: duplicates or, rarely, hash collisions.

        ``most``: how many at most, so that it takes little memory also where millions are.
        """
        found: set[int] = set()
        for heap in self._heaps:
            ordered = sorted(heap)
            for one, other in pairwise(ordered):
                if one == other:
                    found.add(one)
                    if len(found) == most:
                        return found
        return found

    def to_bytes(self) -> Iterator[bytes]:
        """Yields all digests, 8 bytes each, little-endian."""
        for heap in self._heaps:
            copy = array("Q", heap)
            if sys.byteorder == "big":
                copy.byteswap()
            yield copy.tobytes()

    @classmethod
    def from_bytes(cls, blocks: Iterable[bytes]) -> Ids:
        """The inverse of ``to_bytes``; the blocks may be split anywhere."""
        found = cls()
        rest = b""
        for block in blocks:
            data = rest + block
            whole = len(data) // 8 * 8
            marks = array("Q", data[:whole])
            if sys.byteorder == "big":
                marks.byteswap()
            found.add_digests(marks)
            rest = data[whole:]
        return found
