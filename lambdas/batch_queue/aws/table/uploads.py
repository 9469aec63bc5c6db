"""Uploads, from the first row to the terminal status."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from typing import Any

from batch_queue.aws.telemetry import SafeError
from batch_queue.core import names
from batch_queue.core.cutting import Cut, chunk_of, from_text, to_text
from batch_queue.core.objects import NewObject
from batch_queue.core.rows import TERMINAL, Chunk, Status, Taken, Upload, statuses_before

from .chunks import Chunks, UnfinishedError, never
from .dynamo import EXISTS, NEW, TRANSACTION, Dynamo, Expression
from .items import (
    chunk_key,
    cut_key,
    denied_key,
    fields_of,
    order_key,
    upload_item,
    upload_key,
    upload_of,
)

# An upload that is cancelled meanwhile is not taken in.
_DENIED = "attribute_exists(unread) AND attribute_not_exists(cancelled_at)"
# TransactWriteItems accepts at most 100 items: one upload, two per chunk.
_CHUNKS_AT_ONCE = 40
# A row has 400 KB at most; these are some 125.
_CUTS_AT_ONCE = 5_000
_MOST_CUT_ROWS = 98  # which the transaction that stores the upload checks


class CutError(SafeError):
    """Two concurrent runs split one upload into chunks in different ways."""


class Uploads:
    """The uploads of the queue. A status never moves backward."""

    def __init__(self, dynamo: Dynamo, chunks: Chunks) -> None:
        self._dynamo = dynamo
        self._chunks = chunks

    def get(self, upload_id: str) -> Upload | None:
        """Returns one upload, or None."""
        item = self._dynamo.get(upload_key(upload_id))
        return None if item is None else upload_of(item)

    def all(self, upload_ids: Iterable[str]) -> dict[str, Upload]:
        """Returns upload id → upload of those that have a row."""
        keys = [upload_key(upload_id) for upload_id in upload_ids]
        found = map(upload_of, self._dynamo.batch_get(keys, ConsistentRead=True))
        return {upload.upload_id: upload for upload in found}

    def taken_in(self, upload_ids: Sequence[str]) -> dict[str, Taken]:
        """Returns how far those uploads that have a row are taken in. Eventually consistent."""
        found = self._dynamo.batch_get(
            [upload_key(upload_id) for upload_id in upload_ids],
            ProjectionExpression="pk, #ready, #status, unread",
            ExpressionAttributeNames={"#ready": "ready", "#status": "status"},
        )
        return {item["pk"]: _taken(item) for item in found}

    def pending(self, limit: int) -> list[Upload]:
        """Returns up to ``limit`` pending uploads, oldest first. Eventually consistent."""
        values = {":s": f"upload#{Status.PENDING}"}
        return [
            upload_of(item) for item in self._dynamo.query("status_key = :s", values, index=True, limit=limit)
        ]

    # --------------------------------------------------------------------------------------- taking it in

    def add(self, upload: Upload, chunks: Sequence[Chunk] = (), stop: Callable[[], bool] = never) -> bool:
        """Stores an upload and its chunks, and puts the chunks into the queue.

        Uses one transaction if they fit. Otherwise it stores first how the upload is split, then the upload,
        then the chunks with their places, so that ``enqueue`` can continue after an interrupted run. Replaces
        the row of ``deny``. Returns False if the upload is already stored. Raises CutError if another run is
        splitting the upload with different limits, and UnfinishedError if ``stop`` returns True first.
        """
        if self._add(upload, chunks, stop, denied=False):
            return True
        stored = self.get(upload.upload_id)
        return stored is not None and stored.unread and self._add(upload, chunks, stop, denied=True)

    def _add(
        self, upload: Upload, chunks: Sequence[Chunk], stop: Callable[[], bool], *, denied: bool
    ) -> bool:
        if len(chunks) > _CHUNKS_AT_ONCE:
            return self._add_in_steps(upload, chunks, stop, denied)
        puts = self._storing(replace(upload, ready=True), denied)
        for chunk in chunks:
            puts += self._chunks.adding(chunk)
        return self._dynamo.transact(puts)

    def _add_in_steps(
        self, upload: Upload, chunks: Sequence[Chunk], stop: Callable[[], bool], denied: bool
    ) -> bool:
        """Stores a large upload. Until it is stored, the rows ``cut`` say how it is split."""
        rows = [chunks[at : at + _CUTS_AT_ONCE] for at in range(0, len(chunks), _CUTS_AT_ONCE)]
        keys = [cut_key(upload.upload_id, number) for number in range(len(rows))]
        digest = names.digest_of_cut(upload.route, [(chunk.start, chunk.end) for chunk in chunks])
        no_upload = self._dynamo.checking(upload_key(upload.upload_id), _DENIED if denied else NEW)
        added = all(
            self._dynamo.transact(
                [no_upload, self._dynamo.putting({"pk": pk, "sk": sk, "cut": digest, "cuts": to_text(some)})]
            )
            for (pk, sk), some in zip(keys, rows, strict=True)
        ) and self._dynamo.transact(
            [
                *(self._dynamo.checking(key, "cut = :cut", cut=digest) for key in keys),
                *self._storing(upload, denied),
                self._dynamo.putting({"pk": "entering", "sk": upload.upload_id, "since": upload.updated_at}),
            ]
        )
        stored = upload if added else self.get(upload.upload_id)
        if stored is not None and stored.unread:
            return False
        if stored is None:
            raise CutError(
                f"another run is splitting {upload.key} with different limits; Lambda retries the event"
            )
        try:
            self.enqueue(stored, stop)
        except UnfinishedError as error:
            error.added = added
            raise
        return added

    def _storing(self, upload: Upload, denied: bool) -> list[Any]:
        """Returns the operations that store an upload's row, in the place of ``deny``'s if ``denied``."""
        put = self._dynamo.putting(upload_item(upload), _DENIED if denied else NEW)
        return [put, *([self._dynamo.deleting(denied_key(upload.upload_id))] if denied else [])]

    def deny(self, upload: Upload, found: NewObject) -> bool:
        """Stores that an object waits for S3's permission, and why. Returns False if it is taken in."""
        put = self._dynamo.putting(upload_item(upload), f"{NEW} OR ({_DENIED})")
        pk, sk = denied_key(upload.upload_id)
        return self._dynamo.transact([put, self._dynamo.putting({"pk": pk, "sk": sk, **asdict(found)})])

    def forget(self, upload_id: str) -> bool:
        """Deletes the row of ``deny``: the upload has run. Returns False if the upload is taken in."""
        return self._dynamo.transact(
            [
                self._dynamo.deleting(upload_key(upload_id), _DENIED),
                self._dynamo.deleting(denied_key(upload_id)),
            ]
        )

    def denied(self, after: str = "") -> Iterator[NewObject]:
        """Yields the objects that wait for S3's permission, by upload id; those behind ``after``."""
        values = {":pk": denied_key("")[0], ":after": after or " "}  # a key is never empty
        for item in self._dynamo.pages("pk = :pk AND sk > :after", values, consistent=True):
            yield NewObject(**fields_of(NewObject, item))

    def enqueue(self, upload: Upload, stop: Callable[[], bool] = never) -> None:
        """Stores those chunks of a large upload that are not stored yet, and puts them into the queue.

        Idempotent: each chunk is added once. Raises UnfinishedError if ``stop`` returns True first.
        """
        known, cuts = self._chunks.stored(upload), self._cuts(upload)
        placed = {number for number, chunk in known.items() if chunk is None}
        if cuts:
            new = [(number, cut) for number, cut in enumerate(cuts, start=1) if number not in placed]
            chunks = [chunk_of(upload, number, cut) for number, cut in new]
        else:
            chunks = [chunk for chunk in known.values() if chunk is not None]
        self._chunks.add(chunks, stop)
        self._dynamo.update(upload_key(upload.upload_id), {"ready": True}, condition=EXISTS)

    def _cuts(self, upload: Upload) -> list[Cut]:
        """Returns how a large upload is split; nothing if an earlier version stored it, chunks first."""
        first, last = cut_key(upload.upload_id, 0)[1], cut_key(upload.upload_id, _MOST_CUT_ROWS)[1]
        values = {":pk": upload.upload_id, ":first": first, ":last": last}
        rows = self._dynamo.query("pk = :pk AND sk BETWEEN :first AND :last", values, consistent=True)
        return [cut for row in rows if "cuts" in row for cut in from_text(row["cuts"])][: upload.chunks]

    def entering(self) -> dict[str, str]:
        """Returns upload id → start time (ISO 8601) of uploads whose chunks may not all be in the queue."""
        items = self._dynamo.query("pk = :pk", {":pk": "entering"}, consistent=True)
        return {item["sk"]: item["since"] for item in items}

    def entered(self, upload_id: str) -> None:
        """Records that all chunks of an upload are in the queue."""
        self._dynamo.delete(("entering", upload_id))

    # -------------------------------------------------------------------------------------------- status

    def advance(
        self, upload_id: str, status: Status, now: str, job_arn: str, *, begins: bool = False
    ) -> bool:
        """Moves an upload forward to ``status``. Returns False if it already has that or a later status.

        Adds ``job_arn`` to the upload in either case. ``begins``: a job of it begins, so that a reason for
        waiting no longer holds.
        """
        key = upload_key(upload_id)
        arns = {"job_arns": {job_arn}} if job_arn else {}
        moved = self._dynamo.update(
            key,
            {"status": status, "status_key": f"upload#{status}", "updated_at": now},
            remove=("message",),  # the reason for waiting
            add=arns,
            if_status=statuses_before(status),
        )
        if moved or not (begins or arns):
            return moved
        waits = f"{EXISTS} AND attribute_not_exists(ended_at)"
        if not self._dynamo.update(key, {}, remove=("message",), add=arns, condition=waits) and arns:
            self._dynamo.update(key, {}, add=arns, condition=EXISTS)
        return False

    def note(self, upload_id: str, message: str, status: Status | None = None) -> bool:
        """Stores why an upload, or a part of it, waits. Returns False if it has ended or has this message.

        ``status``: only if the upload still has this one, for what an index has told, which lags behind.
        """
        still = " AND #status = :still" if status else ""
        return self._dynamo.update(
            upload_key(upload_id),
            {"message": message},
            condition=f"{EXISTS} AND attribute_not_exists(ended_at) "
            f"AND (attribute_not_exists(#message) OR #message <> :message){still}",
            names={"#status": "status"} if status else None,
            values={":still": status} if status else None,
        )

    def finish(self, upload: Upload, only: Chunk | None = None) -> bool:
        """Stores how an upload ended. Returns False if it had already ended.

        ``only``: its one chunk, if no other row of it is to expire: both rows then get its ``expires_at``.
        """
        marks = {} if only is None else {"expires_at": upload.expires_at}
        ended = Expression().set(
            {
                "status": upload.status,
                "status_key": f"upload#{upload.status}",
                "message": upload.message,
                "result_key": upload.result_key,
                "result_version_id": upload.result_version_id,
                "updated_at": upload.updated_at,
                "ended_at": upload.ended_at,
                **marks,
            }
        )
        open_yet = ended.among(statuses_before(upload.status))
        open_yet += f" AND {ended.among_runs(upload.run)}"
        key = upload_key(upload.upload_id)
        also = []
        if only is not None:
            row = chunk_key(only.upload_id, only.number)
            also.append(self._dynamo.updating(row, Expression().set(marks), EXISTS))
        if upload.run > 1 or upload.cancelled_at:
            ended.remove(("preparing", "unread"))
            also.append(self._dynamo.deleting(order_key(upload.upload_id)))
        if upload.unread:
            also.append(self._dynamo.deleting(denied_key(upload.upload_id)))
        if not also:
            return self._dynamo.change(key, ended, open_yet)
        return self._dynamo.transact([self._dynamo.updating(key, ended, open_yet), *also])

    def cut_in_steps(self, upload_ids: Iterable[str]) -> set[str]:
        """Returns which of these uploads have a row ``cut``, and so may have rows that nobody reads."""
        cuts = [cut_key(upload_id, 0) for upload_id in upload_ids]
        return {item["pk"] for item in self._dynamo.batch_get(cuts, ConsistentRead=True)}

    def expire(self, upload: Upload, expires_at: int) -> None:
        """Has DynamoDB delete the rows of an upload that has ended, some time after ``expires_at``.

        ``expires_at`` is in epoch seconds. The upload's own row is marked last: as long as it is not, a run
        that repeats this begins again. Leaves what has begun to run again.
        """
        own = upload_key(upload.upload_id)
        rows = self._dynamo.pages("pk = :pk", {":pk": upload.upload_id}, consistent=True)
        keys = ((item["pk"], item["sk"]) for item in rows if (item["pk"], item["sk"]) != own)
        change = Expression().set({"expires_at": expires_at})
        ended = f"{EXISTS} AND {change.before_run(upload.run + 1)}"
        while some := list(islice(keys, TRANSACTION)):
            if not self._dynamo.transact([self._dynamo.updating(key, change, ended) for key in some]):
                # An earlier run has marked them, and some are deleted by now.
                for key in some:
                    self._dynamo.change(key, change, ended)
        self._dynamo.change(own, change, ended)


def _taken(item: Mapping[str, Any]) -> Taken:
    if item.get("unread"):
        return Taken.UNREAD
    return Taken.WHOLE if item.get("ready") or item["status"] in TERMINAL else Taken.PARTLY
