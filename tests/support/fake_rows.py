"""The rows of a DynamoDB table in memory, by key and by the key of its index."""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple, Protocol

from tests.support.capacity import size_of
from tests.support.fake_expressions import Item

Key = tuple[str, str]  # pk and sk


class Stored(Protocol):
    """A row of the table, and its size in bytes."""

    @property
    def item(self) -> Item: ...

    @property
    def size(self) -> int: ...


class Row(NamedTuple):
    """A row and its size in bytes."""

    item: Item
    size: int


class Span(NamedTuple):
    """Which rows of a partition are read, in which order. ``after``: the key of the row before the first.

    ``first`` and ``last``: sort keys, or "" for any.
    """

    by_status: bool = False
    backward: bool = False
    after: Item | None = None
    first: str = ""
    last: str = ""


def key_of(item: Item) -> Key:
    """Returns the key of a row."""
    return item["pk"]["S"], item["sk"]["S"]


def row_of(item: Item) -> Row:
    """Returns a row with its size."""
    return Row(item, size_of(item))


class Rows:
    """Rows by partition key and sort key; those with a ``status_key`` also by it and ``order_key``."""

    def __init__(self) -> None:
        self._rows = defaultdict[str, dict[str, Stored]](dict)
        self._order = defaultdict[str, list[str]](list)
        self._index = defaultdict[str, list[tuple[str, str, str]]](list)

    def get(self, key: Key) -> Stored | None:
        """Returns a row, or None."""
        return self._rows[key[0]].get(key[1]) if key[0] in self._rows else None

    def of(self, pk: str) -> list[Item]:
        """Returns the rows of a partition key, in order."""
        return [self._rows[pk][sk].item for sk in self._order[pk]] if pk in self._rows else []

    def __iter__(self) -> Iterator[Item]:
        """Yields every row."""
        for rows in self._rows.values():
            for row in rows.values():
                yield row.item

    def keys(self, pk: str, span: Span) -> Iterator[Key]:
        """Yields the keys of the rows of a partition of the table or the index."""
        if span.by_status:
            yield from self._indexed(pk, span)
            return
        order, after = self._order[pk], span.after["sk"]["S"] if span.after else ""
        if span.backward:
            at = bisect.bisect_left(order, after) if after else len(order)
            found = reversed(order[:at])
        else:
            at = bisect.bisect_right(order, after) if after else bisect.bisect_left(order, span.first)
            found = islice(order, at, None)
        for sk in found:
            if span.last and sk > span.last:
                return
            yield pk, sk

    def _indexed(self, status: str, span: Span) -> Iterator[Key]:
        entries, at = self._index[status], 0
        if span.after:
            at = bisect.bisect_right(entries, (span.after["order_key"]["S"], *key_of(span.after)))
        for _, pk, sk in reversed(entries) if span.backward else islice(entries, at, None):
            yield pk, sk

    def fill(self, rows: Iterable[tuple[Item, Stored]]) -> None:
        """Stores many new rows, each with the attributes that are keys of the table and of the index."""
        orders, indexes = set(), set()
        for keys, row in rows:
            pk, sk = key_of(keys)
            self._rows[pk][sk] = row
            self._order[pk].append(sk)
            orders.add(pk)
            if "status_key" in keys:
                status = keys["status_key"]["S"]
                self._index[status].append((keys["order_key"]["S"], pk, sk))
                indexes.add(status)
        for pk in orders:
            self._order[pk].sort()
        for status in indexes:
            self._index[status].sort()

    def store(self, key: Key, new: Stored | None) -> None:
        """Stores a row, or deletes it."""
        pk, sk = key
        old = self._rows[pk].pop(sk, None)
        if old is not None and "status_key" in old.item:
            entries = self._index[old.item["status_key"]["S"]]
            del entries[bisect.bisect_left(entries, (old.item["order_key"]["S"], pk, sk))]
        if new is None:
            if old is not None:
                order = self._order[pk]
                del order[bisect.bisect_left(order, sk)]
            return
        self._rows[pk][sk] = new
        if old is None:
            bisect.insort(self._order[pk], sk)
        if "status_key" in new.item:
            bisect.insort(self._index[new.item["status_key"]["S"]], (new.item["order_key"]["S"], pk, sk))
