"""The queue of a route is spread over partitions of the table, and is read as one, from its head."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any, cast

import pytest
from batch_queue.aws.patience import Patience
from batch_queue.aws.table import Table
from batch_queue.core import names
from batch_queue.core.rows import Chunk, ChunkRef, Status, Upload

from tests.support.limits import LimitedTable, Limits
from tests.support.turns import Turns
from tests.support.typed import TypedClient

pytestmark = pytest.mark.unit


class Queue:
    """A table with the places of some uploads of the route ``default``, one record each."""

    def __init__(self, uploads: int, *, shards: bool = True) -> None:
        turns = Turns()
        self.rows = LimitedTable(turns, turns.sleep, Limits(writes=1e9, reads=1e9), Random(0))
        self.table = Table(cast("Any", TypedClient(self.rows)), self.rows.name, Patience())
        self.chunks = [chunk(number, shards=shards) for number in range(uploads)]
        for one in self.chunks:
            self.table.uploads.add(upload(one), [one])
        self.rows.calls.clear()

    def partitions(self) -> Counter[str]:
        """How many places each partition has."""
        return Counter({pk: len(rows) for pk, rows in self.rows.items.items() if pk.startswith("queue#")})


def chunk(number: int, *, shards: bool = True) -> Chunk:
    upload_id = names.upload_id("bucket", f"{number}.jsonl", "")
    made = Chunk(upload_id, 1, "default", f"{number}.jsonl", 0, 10, 1, names.iso(1_000 + number % 977))
    return replace(made, shard=names.shard(upload_id)) if shards else made


def upload(one: Chunk) -> Upload:
    return Upload(
        upload_id=one.upload_id,
        bucket="bucket",
        key=one.key,
        version_id="",
        etag="",
        route="default",
        status=Status.PENDING,
        created_at=one.created_at,
        updated_at=one.created_at,
    )


def order(chunks: list[Chunk]) -> list[ChunkRef]:
    """The chunks in the order of the queue."""
    return [one.ref for one in sorted(chunks, key=lambda one: one.place.order_key)]


def test_the_places_of_many_uploads_spread_over_the_partitions_and_are_read_in_order() -> None:
    queue = Queue(2_000)
    found = queue.table.chunks.pending("default", 10_000, 2_000, now=0.0)
    assert [place.ref for place in found] == order(queue.chunks)
    partitions = queue.partitions()
    assert len(partitions) == names.SHARDS
    assert max(partitions.values()) < 1.2 * 2_000 / names.SHARDS


@pytest.mark.parametrize("records", [1, 100, 1_000])
def test_reading_stops_soon_after_the_records_that_are_wanted(records: int) -> None:
    queue = Queue(6_000)
    read = Counter[str]()
    query = queue.rows.query

    def counting(**arguments: Any) -> dict[str, Any]:
        page = query(**arguments)
        read["items"] += len(page["Items"])
        return page

    queue.rows.query = counting  # type: ignore[method-assign]
    found = queue.table.chunks.pending("default", records, 10_000, now=0.0)
    assert [place.ref for place in found] == order(queue.chunks)[:records]
    assert read["items"] <= 2 * records + 50 * names.SHARDS
    assert queue.rows.calls["Query"] <= names.SHARDS * (1 + math.log2(1 + records / 50))


def test_the_places_of_a_version_without_shards_are_read_and_claimed() -> None:
    # Given a queue to which an earlier version added some uploads, and this one others
    queue = Queue(40, shards=False)
    assert list(queue.partitions()) == ["queue#default"]
    for number in range(40, 80):
        queue.chunks.append(chunk(number))
        queue.table.uploads.add(upload(queue.chunks[-1]), [queue.chunks[-1]])
    # When all are claimed, as they are read
    found = queue.table.chunks.pending("default", 10_000, 1_000, now=0.0)
    assert [place.ref for place in found] == order(queue.chunks)
    for place in found:
        stored = queue.table.chunks.get(place.ref)
        assert stored is not None
        assert stored.place == place
        assert queue.table.chunks.claim([stored], "job")
    # Then none waits any longer
    assert not queue.partitions().total()
