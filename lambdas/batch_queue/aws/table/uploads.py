"""Uploads, from the first row to the terminal status."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from typing import Any

from batch_queue.aws.telemetry import SafeError
from batch_queue.core.names import digest_of_cut
from batch_queue.core.objects import NewObject
from batch_queue.core.rows import TERMINAL, Chunk, Status, Taken, Upload, statuses_before

from .chunks import Chunks
from .dynamo import EXISTS, NEW, TRANSACTION, Dynamo, Expression
from .items import chunk_item, denied_key, fields_of, upload_item, upload_key, upload_of

_DENIED = "attribute_exists(unread)"
# TransactWriteItems accepts at most 100 items: one upload, two per chunk; or two checks, one per chunk.
_CHUNKS_AT_ONCE = 40
_ROWS_AT_ONCE = 98


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

    def add(self, upload: Upload, chunks: Sequence[Chunk]) -> bool:
        """Stores an upload and its chunks, and puts the chunks into the queue.

        Uses one transaction if they fit. Otherwise it stores the chunks first, then the upload, then the
        places, so that an interrupted run leaves nothing that looks complete; ``enqueue`` continues. Replaces
        the row of ``deny``. Returns False if the upload is already stored. Raises CutError if another run is
        splitting the upload with different limits.
        """
        if self._add(upload, chunks, denied=False):
            return True
        stored = self.get(upload.upload_id)
        return stored is not None and stored.unread and self._add(upload, chunks, denied=True)

    def _add(self, upload: Upload, chunks: Sequence[Chunk], *, denied: bool) -> bool:
        if len(chunks) > _CHUNKS_AT_ONCE:
            return self._add_in_steps(upload, chunks, denied)
        puts = self._storing(replace(upload, ready=True), denied)
        for chunk in chunks:
            puts += self._chunks.adding(chunk)
        return self._dynamo.transact(puts)

    def _add_in_steps(self, upload: Upload, chunks: Sequence[Chunk], denied: bool) -> bool:
        """Stores a large upload. Until it is stored, the row ``cut`` says whose chunks are valid."""
        cut = digest_of_cut(chunks)
        cut_key = (upload.upload_id, "cut")
        no_upload = self._dynamo.checking(upload_key(upload.upload_id), _DENIED if denied else NEW)
        our_cut = self._dynamo.checking(cut_key, "cut = :cut", cut=cut)
        begin = self._dynamo.putting({"pk": upload.upload_id, "sk": "cut", "cut": cut})
        added = False
        if self._dynamo.transact([no_upload, begin]):
            there = self._chunks.cut_as(upload, cut)  # from a run that was interrupted
            left = [chunk for chunk in chunks if chunk.number not in there]
            for at in range(0, len(left), _ROWS_AT_ONCE):
                some = left[at : at + _ROWS_AT_ONCE]
                puts = [self._dynamo.putting({**chunk_item(chunk), "cut": cut}) for chunk in some]
                if not self._dynamo.transact([no_upload, our_cut, *puts]):
                    break  # another run has stored the upload, or splits it differently
            entering = {"pk": "entering", "sk": upload.upload_id, "since": upload.updated_at}
            added = self._dynamo.transact(
                [
                    our_cut,
                    *self._storing(upload, denied),
                    self._dynamo.putting(entering),
                ]
            )
        stored = self.get(upload.upload_id)
        if stored is not None and stored.unread:
            return False
        if stored is None:
            raise CutError(
                f"another run is splitting {upload.key} with different limits; Lambda retries the event"
            )
        self.enqueue(stored)
        return added

    def _storing(self, upload: Upload, denied: bool) -> list[Any]:
        """Returns the operations that store an upload's row, in the place of ``deny``'s if ``denied``."""
        put = self._dynamo.putting(upload_item(upload), _DENIED if denied else NEW)
        return [put, *([self._dynamo.deleting(denied_key(upload.upload_id))] if denied else [])]

    def deny(self, upload: Upload, found: NewObject) -> bool:
        """Stores that an object waits for S3's permission, and why. Returns False if it is taken in."""
        put = self._dynamo.putting(upload_item(upload), f"{NEW} OR {_DENIED}")
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

    def enqueue(self, upload: Upload) -> None:
        """Puts an upload's chunks into the queue. Idempotent: each chunk is added once."""
        self._chunks.enqueue(self._chunks.unplaced(upload))
        self._dynamo.update(upload_key(upload.upload_id), {"ready": True}, condition=EXISTS)

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

    def finish(self, upload: Upload) -> bool:
        """Stores how an upload ended. Returns False if it had already ended."""
        return self._dynamo.update(
            upload_key(upload.upload_id),
            {
                "status": upload.status,
                "status_key": f"upload#{upload.status}",
                "message": upload.message,
                "result_key": upload.result_key,
                "result_version_id": upload.result_version_id,
                "updated_at": upload.updated_at,
                "ended_at": upload.ended_at,
            },
            if_status=statuses_before(upload.status),
        )

    def expire(self, upload_id: str, expires_at: int) -> None:
        """Has DynamoDB delete the rows of an upload that has ended, some time after ``expires_at``.

        ``expires_at`` is in epoch seconds. The upload's own row is marked last: as long as it is not, a run
        that repeats this begins again.
        """
        own = upload_key(upload_id)
        rows = self._dynamo.pages("pk = :pk", {":pk": upload_id}, consistent=True)
        keys = ((item["pk"], item["sk"]) for item in rows if (item["pk"], item["sk"]) != own)
        change = Expression().set({"expires_at": expires_at})
        while some := list(islice(keys, TRANSACTION)):
            if not self._dynamo.transact([self._dynamo.updating(key, change, EXISTS) for key in some]):
                # An earlier run has marked them, and some are deleted by now.
                for key in some:
                    self._dynamo.update(key, {"expires_at": expires_at}, condition=EXISTS)
        self._dynamo.update(own, {"expires_at": expires_at}, condition=EXISTS)


def _taken(item: Mapping[str, Any]) -> Taken:
    if item.get("unread"):
        return Taken.UNREAD
    return Taken.WHOLE if item.get("ready") or item["status"] in TERMINAL else Taken.PARTLY
