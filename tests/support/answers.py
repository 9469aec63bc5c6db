"""Answers that a test gives in AWS's place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any


class Body:
    """The body of an answer, as botocore reads it from urllib3."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source

    def read(self, amount: int | None = None, **_: Any) -> bytes:
        return self._source.read(-1 if amount is None else amount)

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        while block := self._source.read(1 << 16):
            yield block

    def close(self) -> None:
        """Leaves the source open: it may be read again."""
