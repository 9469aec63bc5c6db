"""Many calls to S3 at once, as many as a client has connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 10  # the size of a client's connection pool


def at_once(step: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Returns what a step gives for each item, in order; ``AT_ONCE`` are in flight."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(step, items))
