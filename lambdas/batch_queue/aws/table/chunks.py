"""Chunks, and their places in the queues of the routes."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import partial
from operator import attrgetter
from typing import Any

from batch_queue.aws.pool import at_once
from batch_queue.core import names
from batch_queue.core.records import dataclass
from batch_queue.core.rows import TERMINAL, Chunk, ChunkRef, Counts, Place, Status, Upload

from .dynamo import EXISTS, EXPIRES, Dynamo, Expression
from .items import chunk_item, chunk_key, chunk_of, place_item, place_key, place_of, queue_key, upload_key

# Whether there is still time is asked after so many places.
STOP_AFTER = 1_000
# How many places the first page of a shard has: a round may need no more.
_FIRST_PAGE = 50

# TransactWriteItems accepts at most 100 items: each chunk and its place; and where attempts are closed, the
# upload too.
_WITH_PLACES = 50
# Fewer, as each has to wait until its partition takes all of it.
_ADDED_AT_ONCE = 25
CLOSED_AT_ONCE = 49
_NONE = Counts()


class UnfinishedError(Exception):
    """The caller's time is up before all of an upload is stored. What is stored stays.

    ``added``: this run has stored the upload's row.
    """

    added = False


def never() -> bool:
    """Says that there is time."""
    return False


@dataclass(frozen=True, slots=True)
class Depth:
    """How much waits in a queue: chunks, their records, and the uploads that they are of."""

    uploads: int = 0
    chunks: int = 0
    records: int = 0

    def __add__(self, more: Depth) -> Depth:
        """Adds what waits elsewhere. An upload is in one partition of one queue."""
        return Depth(self.uploads + more.uploads, self.chunks + more.chunks, self.records + more.records)


@dataclass(frozen=True, slots=True)
class Sample:
    """Places at the head of a queue. ``whole``: there are no others."""

    places: Sequence[Place]
    whole: bool

    @property
    def depth(self) -> Depth:
        """How much these places are."""
        refs = [place.ref for place in self.places]
        return Depth(len({ref.upload_id for ref in refs}), len(refs), sum(ref.records for ref in refs))


@dataclass(frozen=True, slots=True)
class Closing:
    """How one attempt of a chunk ends: ``chunk`` is the chunk as it is then, ended or pending once more.

    ``counts`` are those of this attempt only. ``job_arn`` is added to the jobs that the upload's row names.
    ``message``, if there is one, becomes that of the upload.
    """

    chunk: Chunk
    counts: Counts = _NONE
    job_arn: str = ""
    message: str = ""

    @property
    def ends(self) -> bool:
        """Whether the chunk has ended, and not only its attempt."""
        return self.chunk.status in TERMINAL

    def change(self) -> Expression:
        """Returns the change of the chunk's row."""
        chunk = self.chunk
        if self.ends:
            return Expression().set(
                {
                    "status": chunk.status,
                    "message": chunk.message,
                    "parts": list(chunk.parts),
                    "errors_by_code": dict(chunk.errors_by_code),
                    "stop_reasons": dict(chunk.stop_reasons),
                    "runs": chunk.runs,
                    **({"job_arns": set(chunk.job_arns)} if chunk.job_arns else {}),
                }
            )
        return self.whole()

    def whole(self, also: Sequence[str] = ()) -> Expression:
        """Returns the change of the chunk's row that replaces all of it, and removes ``also``."""
        item = {name: value for name, value in chunk_item(self.chunk).items() if name not in ("pk", "sk")}
        empty = {field.name for field in fields(Chunk)} - set(item) - {"upload_id"}
        return Expression().set(item).remove(sorted({*empty, *also}))


class Chunks:
    """The chunks of all uploads: each is pending with a place, belongs to one job, or has ended."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo

    def get(self, ref: ChunkRef) -> Chunk | None:
        """Returns one chunk, or None."""
        item = self._dynamo.get(chunk_key(ref.upload_id, ref.number))
        return None if item is None else chunk_of(item)

    def all(self, refs: Sequence[ChunkRef]) -> dict[ChunkRef, Chunk]:
        """Returns the chunks that these references name and that exist, whatever their attempt is now."""
        keys = {chunk_key(ref.upload_id, ref.number): ref for ref in refs}
        items = self._dynamo.batch_get([*keys], ConsistentRead=True)
        return {keys[item["pk"], item["sk"]]: chunk_of(item) for item in items}

    def only(self, uploads: Sequence[Upload]) -> dict[str, Chunk]:
        """Returns upload id → the chunk of each of these uploads, which have one each."""
        found = self.all([ChunkRef(upload.upload_id, 1, 1, 0) for upload in uploads])
        return {ref.upload_id: chunk for ref, chunk in found.items()}

    def of(self, upload: Upload, first: int = 1) -> list[Chunk]:
        """Returns all chunks of an upload, in order; those from the number ``first`` on."""
        return [chunk_of(item) for item in self._items(upload, first)]

    def open_of(self, upload: Upload) -> Iterator[Chunk]:
        """Yields the chunks of an upload that have not ended, in order."""
        found = map(chunk_of, self._items(upload))
        return (chunk for chunk in found if chunk.status not in TERMINAL)

    def stored(self, upload: Upload) -> dict[int, Chunk | None]:
        """Returns number → chunk of those chunks of an upload that have a row; None if it had a place too.

        Without rows of an upload that ran before, which may not be deleted yet.
        """
        found = (item for item in self._items(upload) if "expires_at" not in item)
        return {item["number"]: None if item.get("placed") else chunk_of(item) for item in found}

    def _items(self, upload: Upload, start: int = 1) -> Iterator[dict[str, Any]]:
        if start > upload.chunks:
            return iter(())
        # An interrupted run may have split the upload differently: ignore chunks beyond its count.
        pk, first = chunk_key(upload.upload_id, start)
        last = chunk_key(upload.upload_id, upload.chunks)[1]
        values = {":pk": pk, ":first": first, ":last": last}
        return self._dynamo.pages("pk = :pk AND sk BETWEEN :first AND :last", values, consistent=True)

    # --------------------------------------------------------------------------------------------- queue

    def pending(self, route: str, most_records: int, most_places: int, now: float) -> list[Place]:
        """Returns the head of a route's queue, oldest first, up to ``most_records`` records that may run now.

        ``now`` is in epoch seconds. Reading stops there or after ``most_places`` places, so the cost of a
        round depends on what it can dispatch, not on the length of the queue.
        """
        found: list[Place] = []
        records = 0
        shards = (self._places(route, shard) for shard in range(names.SHARDS))
        for place in heapq.merge(*shards, key=attrgetter("order_key")):
            found.append(place)
            records += place.ref.records if place.not_before <= now else 0
            if records >= most_records or len(found) >= most_places:
                break
        return found

    def _places(self, route: str, shard: int) -> Iterator[Place]:
        """Yields the places of one shard of a queue, oldest first; reads them in growing pages."""
        key = {":pk": queue_key(route, shard)}
        for item in self._dynamo.pages("pk = :pk", key, consistent=True, first_page=_FIRST_PAGE):
            yield place_of(item, route, shard)

    def sample(self, route: str) -> Sample:
        """Returns the first places of each shard of a route's queue, 200 at most."""
        found: list[Place] = []
        whole = True
        for shard in range(names.SHARDS):
            key = {":pk": queue_key(route, shard)}
            items = self._dynamo.query("pk = :pk", key, limit=_FIRST_PAGE, consistent=True)
            found += [place_of(item, route, shard) for item in items]
            whole &= len(items) < _FIRST_PAGE
        return Sample(found, whole)

    def depth(self, route: str, stop: Callable[[], bool]) -> Depth | None:
        """Counts all that waits in a route's queue. Returns None if ``stop`` returns True first.

        Reads every place: a megabyte, some 4,000 places, with each call.
        """
        found = at_once(lambda shard: self._depth(route, shard, stop), range(names.SHARDS))
        known = [depth for depth in found if depth is not None]
        return sum(known, Depth()) if len(known) == len(found) else None

    def _depth(self, route: str, shard: int, stop: Callable[[], bool]) -> Depth | None:
        upload_ids: set[str] = set()
        chunks = records = 0
        for item in self._dynamo.pages("pk = :pk", {":pk": queue_key(route, shard)}):
            upload_ids.add(item["upload_id"])
            chunks += 1
            records += item["records"]
            if chunks % STOP_AFTER == 0 and stop():
                return None
        return Depth(len(upload_ids), chunks, records)

    def adding(self, chunk: Chunk, condition: str = "") -> list[dict[str, Any]]:
        """Returns the operations that store a new chunk and its place in the queue."""
        row = {**chunk_item(chunk), "placed": True}
        return [self._dynamo.putting(row, condition), self.placing(chunk)]

    def add(self, chunks: Sequence[Chunk], stop: Callable[[], bool] = never) -> None:
        """Stores chunks and their places in the queue. Idempotent: each chunk is added once.

        Raises UnfinishedError if ``stop`` returns True first.
        """
        # One transaction after the other uses up what a partition takes; side by side, they only meet in it.
        for at in range(0, len(chunks), _ADDED_AT_ONCE):
            if stop():
                raise UnfinishedError
            some = chunks[at : at + _ADDED_AT_ONCE]
            if not self._add(some):  # another run has added some of them
                for chunk in some:
                    self._add([chunk])

    def _add(self, chunks: Sequence[Chunk]) -> bool:
        """Stores chunks and their places, all of them or none. Returns False if any was already added."""
        # An earlier version stored chunks before their places. Rows of an upload that ran before expire.
        new = f"attribute_not_exists(placed) OR {EXPIRES}"
        return self._dynamo.transact([each for chunk in chunks for each in self.adding(chunk, new)])

    def placing(self, chunk: Chunk) -> dict[str, Any]:
        """Returns the operation that puts a chunk into the queue."""
        return self._dynamo.putting(place_item(chunk.place))

    def displacing(self, chunk: Chunk) -> dict[str, Any]:
        """Returns the operation that removes a chunk from the queue."""
        return self._dynamo.deleting(place_key(chunk.place))

    # ----------------------------------------------------------------------------------------- its attempt

    def claim(self, chunks: Sequence[Chunk], job_id: str) -> list[Chunk]:
        """Assigns pending chunks to a job and removes their places from the queue.

        Returns those that the job now has, also if it had them before; without those that another job has or
        that are at a different attempt.
        """
        groups = [chunks[at : at + _WITH_PLACES] for at in range(0, len(chunks), _WITH_PLACES)]
        return [chunk for got in at_once(partial(self._claim, job_id), groups) for chunk in got]

    def _claim(self, job_id: str, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        """Claims chunks in one transaction or, if the job does not get all of them, one by one."""
        operations = [operation for chunk in chunks for operation in self._claiming(chunk, job_id)]
        if self._dynamo.transact(operations):
            return chunks
        if len(chunks) == 1:
            return ()
        return [chunk for chunk in chunks if self._dynamo.transact(self._claiming(chunk, job_id))]

    def _claiming(self, chunk: Chunk, job_id: str) -> list[dict[str, Any]]:
        claim = Expression().set({"status": Status.SUBMITTED, "job_id": job_id})
        claim.values.update({":attempt": chunk.attempt, ":pending": Status.PENDING})
        mine = "(#status = :status AND #job_id = :job_id)"
        condition = f"attempt = :attempt AND (#status = :pending OR {mine})"
        return [
            self._dynamo.updating(chunk_key(chunk.upload_id, chunk.number), claim, condition),
            self.displacing(chunk),
        ]

    def mark_gone(self, ref: ChunkRef, job_id: str, message: str, error_code: str = "") -> None:
        """Records that a chunk could not be staged, and why."""
        self._dynamo.update(
            chunk_key(ref.upload_id, ref.number),
            {"gone": True, "message": message, "error_code": error_code},
            condition="job_id = :job AND #status = :submitted",
            names={"#status": "status"},
            values={":job": job_id, ":submitted": Status.SUBMITTED},
        )

    def count_asked(self, chunk: Chunk, had: Mapping[str, int], asked: Mapping[str, int], run: str) -> bool:
        """Stores how often records are asked about on demand.

        Returns False if another run changed it, or if the upload is cancelled. ``had``: the counts as this
        run knows them. ``run`` identifies it.
        """
        stored = self._dynamo.update(
            chunk_key(chunk.upload_id, chunk.number),
            {"asked": dict(asked), "asked_by": run},
            condition="job_id = :job AND #status = :submitted AND attribute_not_exists(cancelled) AND "
            + ("#asked = :had" if had else "(attribute_not_exists(#asked) OR #asked = :had)"),
            names={"#status": "status"},
            values={":job": chunk.job_id, ":submitted": Status.SUBMITTED, ":had": dict(had)},
        )
        if stored:
            return True
        # botocore repeats a write whose answer was lost, and the second one meets what the first has written.
        now = self.get(chunk.ref)
        return now is not None and (now.job_id, now.asked_by, now.asked) == (chunk.job_id, run, asked)

    def close(self, closings: Sequence[Closing], job_id: str) -> bool:
        """Closes the last attempts of chunks of one upload, and adds their counts to it, in one transaction.

        Takes ``CLOSED_AT_ONCE`` at most. ``job_id`` is the job of these attempts. A chunk that is pending
        again gets a place in the queue, unless its upload is cancelled. Returns False, and changes nothing,
        if that is so, or if any of them is closed already.
        """
        operations = [operation for closing in closings for operation in self._closing(closing, job_id)]
        counts = [closing.counts for closing in closings]
        arns = {one.job_arn for one in closings if one.job_arn and one.chunk.ref.is_named}
        words = [closing.message for closing in closings if closing.message]
        added = (
            Expression()
            .add(
                {
                    "chunks_open": -sum(closing.ends for closing in closings),
                    "success_count": sum(each.success for each in counts),
                    "error_count": sum(each.error for each in counts),
                    "input_tokens": sum(each.input_tokens for each in counts),
                    "output_tokens": sum(each.output_tokens for each in counts),
                    # Also if the run that stored the job's ARN died before it told its uploads.
                    **({"job_arns": arns} if arns else {}),
                }
            )
            .set({"message": words[-1]} if words else {})
        )
        upload = self._dynamo.updating(upload_key(closings[0].chunk.upload_id), added, EXISTS)
        return self._dynamo.transact([*operations, upload])

    def _closing(self, closing: Closing, job_id: str) -> list[dict[str, Any]]:
        """Returns the operations that change a chunk's row, and that put it into the queue again."""
        chunk = closing.chunk
        change = closing.change()
        had = chunk.attempt if closing.ends else chunk.attempt - 1
        change.values.update({":job": job_id, ":submitted": Status.SUBMITTED, ":had": had})
        mine = "job_id = :job AND #status = :submitted AND attempt = :had"
        if not closing.ends:  # what is cancelled does not return to the queue
            mine += " AND attribute_not_exists(cancelled)"
        row = self._dynamo.updating(chunk_key(chunk.upload_id, chunk.number), change, mine)
        return [row] if closing.ends else [row, self.placing(chunk)]

    def mend(self, had: Chunk, chunk: Chunk, counts: Counts) -> bool:
        """Replaces the parts of a chunk that has ended, with its errors and its message.

        ``had``: the chunk as it was. ``counts`` are added to those of its upload. Returns False if the parts
        have changed or the upload has ended.
        """
        change = Expression().set(
            {
                "parts": list(chunk.parts),
                "errors_by_code": dict(chunk.errors_by_code),
                "message": chunk.message,
            }
        )
        change.values[":had"] = list(had.parts)
        added = Expression().add({"success_count": counts.success, "error_count": counts.error})
        return self._dynamo.transact(
            [
                self._dynamo.updating(chunk_key(chunk.upload_id, chunk.number), change, "#parts = :had"),
                self._dynamo.updating(
                    upload_key(chunk.upload_id), added, f"{EXISTS} AND attribute_not_exists(ended_at)"
                ),
            ]
        )
