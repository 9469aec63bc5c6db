"""Many calls to AWS at once, as many as a client has connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 32
# Steps that themselves have ``AT_ONCE`` calls at once.
NESTED_AT_ONCE = 3
# What a client needs so that no call waits for another one's connection.
CONNECTIONS = AT_ONCE * NESTED_AT_ONCE

# So much may be in memory ``AT_ONCE`` times: 128 MB.
LIGHT_BYTES = 4_000_000

_share: ContextVar[int] = ContextVar("share", default=CONNECTIONS)


def at_once(step: Callable[[T], R], items: Iterable[T], most: int = AT_ONCE) -> list[R]:
    """Returns what a step gives for each item, in the order of the items; up to ``most`` run side by side.

    A step that calls this again has its share of ``CONNECTIONS``, so that threads do not multiply. One item,
    or one at a time, runs in the caller's thread. Raises the first error in the order of the items, after the
    others have ended.
    """
    found = list(items)
    share = _share.get()
    workers = min(len(found), most, share)
    if workers <= 1:
        return [step(item) for item in found]

    def shared(item: T) -> R:
        known = _share.set(max(1, share // workers))
        try:
            return step(item)
        finally:
            _share.reset(known)

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(shared, found))


def by_size(step: Callable[[T], R], items: Iterable[T], size: Callable[[T], int]) -> list[R]:
    """Does the same for steps that have what they work on in memory: ``size`` gives its bytes.

    Items of more than ``LIGHT_BYTES`` have their turn one after the other, each with a whole pool of its own.
    """
    found = list(items)
    light = [number for number, item in enumerate(found) if size(item) <= LIGHT_BYTES]
    heavy = sorted(set(range(len(found))) - set(light))
    given = dict(zip(light, at_once(step, [found[number] for number in light]), strict=True))
    given.update({number: step(found[number]) for number in heavy})
    return [given[number] for number in range(len(found))]
