"""Many calls to S3 at once, as many as a client has connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

CONNECTIONS = 32


def at_once(step: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Returns what a step gives for each item, in order; ``CONNECTIONS`` are in flight."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return list(pool.map(step, items))
