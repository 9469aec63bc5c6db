"""Plans how to join several objects into one by multipart upload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# S3 API reference: a part of a multipart upload is 5 MiB to 5 GiB; the last part may be smaller.
MIN_PART_BYTES = 5 << 20
MAX_PART_BYTES = 512 << 20


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes ``[start, end)`` of one of several objects; ``source`` is its index, from 0."""

    source: int
    start: int
    end: int

    @property
    def size(self) -> int:
        """The length of the span in bytes."""
        return self.end - self.start


def plan_parts(sizes: Sequence[int]) -> list[tuple[Span, ...]]:
    """Returns the parts of a multipart upload that joins objects of these sizes (bytes), in order.

    Each part is the spans that it consists of. S3 can copy a part of one span; a part of several spans must
    be streamed. Every part except the last is at least 5 MiB, and no part is more than 512 MiB. The plan
    streams close to the minimum that these limits allow.
    """
    parts: list[tuple[Span, ...]] = []
    held: list[Span] = []
    for source, size in enumerate(sizes):
        start = 0
        if held:
            need = MIN_PART_BYTES - sum(span.size for span in held)
            # Do not leave a remainder that is too small to be a part.
            take = size if size - need < MIN_PART_BYTES else need
            if take:
                held.append(Span(source, 0, take))
            start = take
            if sum(span.size for span in held) >= MIN_PART_BYTES:
                parts.append(tuple(held))
                held = []
        while size - start >= MIN_PART_BYTES:
            left = size - start
            end = size if left <= MAX_PART_BYTES else start + min(MAX_PART_BYTES, left - MIN_PART_BYTES)
            parts.append((Span(source, start, end),))
            start = end
        if start < size:
            held.append(Span(source, start, size))
    if held:
        parts.append(tuple(held))
    return parts
