"""Chunks, and their places in the queues of the routes."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any

from batch_queue.core import names
from batch_queue.core.rows import Chunk, ChunkRef, Counts, Place, Status, Upload

from .dynamo import EXISTS, Dynamo, Expression
from .items import chunk_item, chunk_key, chunk_of, place_item, place_key, place_of, queue_key, upload_key

# How many places the first page of a shard has: a round may need no more.
_FIRST_PAGE = 50

_PLACES_AT_ONCE = 50  # TransactWriteItems accepts at most 100 items: the chunk and its place


class Chunks:
    """The chunks of all uploads: each is pending with a place, belongs to one job, or has ended."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo

    def get(self, ref: ChunkRef) -> Chunk | None:
        """Returns one chunk, or None."""
        item = self._dynamo.get(chunk_key(ref.upload_id, ref.number))
        return None if item is None else chunk_of(item)

    def of(self, upload: Upload) -> list[Chunk]:
        """Returns all chunks of an upload, in order."""
        return [chunk_of(item) for item in self._items(upload)]

    def unplaced(self, upload: Upload) -> list[Chunk]:
        """Returns the chunks of an upload that were never in the queue, in order."""
        return [chunk_of(item) for item in self._items(upload) if not item.get("placed")]

    def cut_as(self, upload: Upload, cut: str) -> set[int]:
        """Returns the numbers of the chunks that are stored from splitting an upload as ``cut`` says.

        Without those of an upload that ran before, which may not be deleted yet.
        """
        found = (item for item in self._items(upload) if "expires_at" not in item)
        return {item["number"] for item in found if item.get("cut") == cut}

    def _items(self, upload: Upload) -> Iterator[dict[str, Any]]:
        # An interrupted run may have split the upload differently: ignore chunks beyond its count.
        (pk, first), (_, last) = chunk_key(upload.upload_id, 1), chunk_key(upload.upload_id, upload.chunks)
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

    def sample(self, route: str) -> list[Place]:
        """Returns the first places of each shard of a route's queue, 200 at most."""
        found: list[Place] = []
        for shard in range(names.SHARDS):
            key = {":pk": queue_key(route, shard)}
            items = self._dynamo.query("pk = :pk", key, limit=_FIRST_PAGE, consistent=True)
            found += [place_of(item, route, shard) for item in items]
        return found

    def adding(self, chunk: Chunk) -> list[dict[str, Any]]:
        """Returns the operations that store a new chunk and its place in the queue."""
        return [self._dynamo.putting({**chunk_item(chunk), "placed": True}), self._placing(chunk)]

    def enqueue(self, chunks: Sequence[Chunk]) -> None:
        """Puts stored chunks into the queue. Idempotent: each chunk is added once."""
        for at in range(0, len(chunks), _PLACES_AT_ONCE):
            some = chunks[at : at + _PLACES_AT_ONCE]
            if not self._enqueue(some):  # another run has added some of them
                for chunk in some:
                    self._enqueue([chunk])

    def _enqueue(self, chunks: Sequence[Chunk]) -> bool:
        """Puts chunks into the queue, all of them or none. Returns False if any was already added."""
        mine = f"attribute_not_exists(placed) AND {EXISTS}"
        placed = Expression().set({"placed": True})
        keys = [chunk_key(chunk.upload_id, chunk.number) for chunk in chunks]
        updates = [self._dynamo.updating(key, placed, mine) for key in keys]
        return self._dynamo.transact([*updates, *map(self._placing, chunks)])

    def _placing(self, chunk: Chunk) -> dict[str, Any]:
        return self._dynamo.putting(place_item(chunk.place))

    # ----------------------------------------------------------------------------------------- its attempt

    def claim(self, chunk: Chunk, job_id: str) -> bool:
        """Assigns a pending chunk to a job and removes its place from the queue.

        Returns True also if the job already has the chunk; False if another job has it, or if it is at a
        different attempt.
        """
        claim = Expression().set({"status": Status.SUBMITTED, "job_id": job_id})
        claim.values.update({":attempt": chunk.attempt, ":pending": Status.PENDING})
        mine = "(#status = :status AND #job_id = :job_id)"
        condition = f"attempt = :attempt AND (#status = :pending OR {mine})"
        return self._dynamo.transact(
            [
                self._dynamo.updating(chunk_key(chunk.upload_id, chunk.number), claim, condition),
                self._dynamo.deleting(place_key(chunk.place)),
            ]
        )

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
        """Stores how often records are asked about on demand. Returns False if another run changed it.

        ``had``: the counts as this run knows them. ``run`` identifies it.
        """
        stored = self._dynamo.update(
            chunk_key(chunk.upload_id, chunk.number),
            {"asked": dict(asked), "asked_by": run},
            condition="job_id = :job AND #status = :submitted AND "
            + ("#asked = :had" if had else "(attribute_not_exists(#asked) OR #asked = :had)"),
            names={"#status": "status"},
            values={":job": chunk.job_id, ":submitted": Status.SUBMITTED, ":had": dict(had)},
        )
        if stored:
            return True
        # botocore repeats a write whose answer was lost, and the second one meets what the first has written.
        now = self.get(chunk.ref)
        return now is not None and (now.job_id, now.asked_by, now.asked) == (chunk.job_id, run, asked)

    def settle(self, chunk: Chunk, counts: Counts, job_arn: str = "") -> bool:
        """Stores how a chunk ended and adds the counts to its upload, in one transaction.

        ``counts`` are those of the last attempt only. ``job_arn`` is added to the jobs that the upload's row
        names. Returns False if the chunk had already ended.
        """
        ended = Expression().set(
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
        return self._close_attempt(chunk, chunk.attempt, ended, counts, job_arn, chunks_open=-1)

    def run_again(
        self, chunk: Chunk, job_id: str, counts: Counts, job_arn: str = "", message: str = ""
    ) -> bool:
        """Puts the remaining records of a chunk back into the queue, as its next attempt.

        ``chunk`` is the new state of the chunk; ``job_id`` is the job of the last attempt, and ``counts``
        are its counts. ``message`` becomes that of the upload. Returns False if this was already done.
        """
        item = {name: value for name, value in chunk_item(chunk).items() if name not in ("pk", "sk")}
        empty = {field.name for field in fields(Chunk)} - set(item) - {"upload_id"}
        again = Expression().set(item).remove(sorted(empty))
        had = replace(chunk, job_id=job_id)
        return self._close_attempt(
            had,
            chunk.attempt - 1,
            again,
            counts,
            job_arn,
            chunks_open=0,
            message=message,
            also=[self._placing(chunk)],
        )

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

    def _close_attempt(
        self,
        chunk: Chunk,
        attempt: int,
        change: Expression,
        counts: Counts,
        job_arn: str,
        *,
        chunks_open: int,
        message: str = "",
        also: Sequence[dict[str, Any]] = (),
    ) -> bool:
        named = job_arn and chunk.ref.is_named
        change.values.update({":job": chunk.job_id, ":submitted": Status.SUBMITTED, ":had": attempt})
        mine = "job_id = :job AND #status = :submitted AND attempt = :had"
        added = (
            Expression()
            .add(
                {
                    "chunks_open": chunks_open,
                    "success_count": counts.success,
                    "error_count": counts.error,
                    "input_tokens": counts.input_tokens,
                    "output_tokens": counts.output_tokens,
                    # Also if the run that stored the job's ARN died before it told its uploads.
                    **({"job_arns": {job_arn}} if named else {}),
                }
            )
            .set({"message": message} if message else {})
        )
        return self._dynamo.transact(
            [
                self._dynamo.updating(chunk_key(chunk.upload_id, chunk.number), change, mine),
                self._dynamo.updating(upload_key(chunk.upload_id), added, EXISTS),
                *also,
            ]
        )
