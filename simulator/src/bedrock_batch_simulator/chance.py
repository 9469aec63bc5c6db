"""Seeded chance without state: a draw depends on the seed and on what it is about, not on earlier draws.

So a run replays exactly, also when calls interleave differently or a configuration adds more draws.
"""

from __future__ import annotations

import hashlib
import uuid

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


def _number(parts: tuple[object, ...]) -> int:
    text = "\x1f".join(str(part) for part in parts)
    raw = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return int.from_bytes(raw, "big")


def draw(*parts: object) -> float:
    """A number in [0, 1) that is a function of `parts`."""
    return (_number(parts) >> 75) / float(1 << 53)


def identifier(length: int, *parts: object) -> str:
    """`length` lower-case letters and digits (at most 24) that are a function of `parts`."""
    number, letters = _number(parts), []
    for _ in range(length):
        number, rest = divmod(number, 36)
        letters.append(_ALPHABET[rest])
    return "".join(letters)


def identity(*parts: object) -> str:
    """A UUID that is a function of `parts`."""
    return str(uuid.UUID(int=_number(parts), version=4))
