"""How objects are joined into one by multipart upload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# S3 API reference: parts of a multipart upload have 5 MiB to 5 GiB, the last may be smaller.
MIN_PART_BYTES = 5 << 20
MAX_PART_BYTES = 512 << 20


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes ``[start, end)`` of the ``source``-th of several objects."""

    source: int
    start: int
    end: int

    @property
    def size(self) -> int:
        """In bytes."""
        return self.end - self.start


def plan_parts(sizes: Sequence[int]) -> list[tuple[Span, ...]]:
    """How to put objects together by multipart upload: for each part the spans that it is made of, in order.

    A part of one span can be copied by the server; a part of several is streamed. Every part but the last
    has at least 5 MiB, none more than 512 MiB. What is streamed is as little as that allows, about.
    """
    parts: list[tuple[Span, ...]] = []
    held: list[Span] = []
    for source, size in enumerate(sizes):
        start = 0
        if held:
            need = MIN_PART_BYTES - sum(span.size for span in held)
            # Leave nothing behind that could not be a part of its own.
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
