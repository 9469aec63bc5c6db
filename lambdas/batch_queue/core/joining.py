"""Plans how to join several objects into one by multipart upload."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .records import dataclass

# S3 API reference: a part of a multipart upload is 5 MiB to 5 GiB; the last part may be smaller. An object
# has at most 10,000 parts.
MIN_PART_BYTES = 5 << 20
MAX_PART_BYTES = 512 << 20
LARGEST_PART_BYTES = 5 << 30
MAX_PARTS = 10_000
# The parts of an object of more than 2 TB are larger than 512 MiB, so that they are about this many.
USUAL_PARTS = 4_000


class TooManyPartsError(Exception):
    """Objects that cannot be joined in one step: join groups of them first."""


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
    be streamed, and is less than 10 MiB. Every part except the last is at least 5 MiB. No part is more than
    512 MiB, unless the whole is more than 2 TB. The plan streams close to the minimum that these limits
    allow.

    Raises TooManyPartsError for more than 10,000 parts: at most 3,000 objects, or 50 GB, never need as many.
    """
    most = max(MAX_PART_BYTES, -(-sum(sizes) // USUAL_PARTS))
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
            end = size if left <= most else start + min(most, left - MIN_PART_BYTES)
            parts.append((Span(source, start, end),))
            start = end
        if start < size:
            held.append(Span(source, start, size))
    if held:
        parts.append(tuple(held))
    if len(parts) > MAX_PARTS or most > LARGEST_PART_BYTES:
        raise TooManyPartsError(f"{len(sizes):,} objects of {sum(sizes):,} bytes")
    return parts


def gathered(blocks: Iterable[bytes], least: int) -> Iterator[bytes]:
    """Yields the same bytes in blocks of at least ``least`` bytes; the last may be smaller."""
    held: list[bytes] = []
    size = 0
    for block in blocks:
        held.append(block)
        size += len(block)
        if size >= least:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)
