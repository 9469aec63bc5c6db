"""Orders of people: uploads that are cancelled or run again, and routes that are paused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from batch_queue.core.records import dataclass
from batch_queue.core.rows import TERMINAL, Chunk, Counts, Pause, Pauses, Status, Upload

from .chunks import Chunks, Closing
from .dynamo import EXISTS, Dynamo, Expression
from .items import chunk_key, fields_of, order_key, upload_key

_PAUSED = "paused"
# A sort key cannot be empty. No route has this name.
_ALL = "*"
# A transaction takes 100 items: each chunk and its place, and the upload.
CANCELLED_AT_ONCE = 49


@dataclass(frozen=True, slots=True)
class Open:
    """An order about an upload that is not carried out yet; ``at``: when it was given (ISO 8601).

    To run an upload again, its chunks are put into the queue one after the other: ``number`` is the next one,
    and ``offset`` where its lines begin in the result of the run before, in bytes. It does not begin before
    ``not_before`` (ISO 8601).
    """

    upload_id: str
    at: str
    number: int = 1
    offset: int = 0
    not_before: str = ""


class Orders:
    """What people have ordered. An order stays open until it is carried out, whoever dies on the way."""

    def __init__(self, dynamo: Dynamo, chunks: Chunks) -> None:
        self._dynamo = dynamo
        self._chunks = chunks

    # -------------------------------------------------------------------------------------- open orders

    def open(self, after: str = "") -> Iterator[Open]:
        """Yields the open orders, by upload id; those behind ``after``."""
        values = {":pk": order_key("")[0], ":after": after or " "}
        for item in self._dynamo.pages("pk = :pk AND sk > :after", values, consistent=True):
            yield _open_of(item)

    def get(self, upload_id: str) -> Open | None:
        """Returns the open order about an upload, or None."""
        item = self._dynamo.get(order_key(upload_id))
        return None if item is None else _open_of(item)

    def any(self) -> bool:
        """Returns whether an order is open."""
        key = {":pk": order_key("")[0]}
        return bool(self._dynamo.query("pk = :pk", key, limit=1, consistent=True))

    def close(self, order: Open) -> None:
        """Stores that an order is carried out, unless another one has taken its place."""
        self._dynamo.transact(
            [self._dynamo.deleting(order_key(order.upload_id), "ordered_at = :at", at=order.at)]
        )

    # ------------------------------------------------------------------------------------------- cancel

    def cancel(self, upload: Upload) -> bool:
        """Stores the order to cancel an upload: who gave it, when and why are in ``upload``.

        Returns False if the upload has ended or is cancelled already.
        """
        words = {"cancelled_by": upload.cancelled_by, "cancelled_why": upload.cancelled_why}
        change = Expression().set(
            {
                "cancelled_at": upload.cancelled_at,
                "message": upload.message,
                "updated_at": upload.updated_at,
                **{name: text for name, text in words.items() if text},
            }
        )
        new = f"{EXISTS} AND attribute_not_exists(ended_at) AND attribute_not_exists(#cancelled_at)"
        return self._dynamo.transact(
            [
                self._dynamo.updating(upload_key(upload.upload_id), change, new),
                # An order to retry may be open: how far it came stays.
                self._dynamo.updating(
                    order_key(upload.upload_id), Expression().set({"ordered_at": upload.cancelled_at}), ""
                ),
            ]
        )

    def take_out(self, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        """Ends pending chunks of a cancelled upload, and removes their places. ``chunks``: as they then are.

        Takes ``CANCELLED_AT_ONCE`` at most. Returns those that were pending: others a job has by now.
        """
        if not chunks or self._take_out(chunks):
            return chunks
        return [] if len(chunks) == 1 else [chunk for chunk in chunks if self._take_out([chunk])]

    def _take_out(self, chunks: Sequence[Chunk]) -> bool:
        operations: list[dict[str, Any]] = []
        for chunk in chunks:
            change = Closing(chunk).change()
            change.values.update({":pending": Status.PENDING, ":had": chunk.attempt})
            row = chunk_key(chunk.upload_id, chunk.number)
            waits = "#status = :pending AND attempt = :had"
            operations += [
                self._dynamo.updating(row, change, waits),
                self._chunks.displacing(chunk),
            ]
        added = Expression().add(
            {"chunks_open": -len(chunks), "error_count": sum(chunk.records for chunk in chunks)}
        )
        upload = self._dynamo.updating(upload_key(chunks[0].upload_id), added, EXISTS)
        return self._dynamo.transact([*operations, upload])

    def mark(self, chunk: Chunk) -> bool:
        """Stores that a chunk does not return to the queue from its job. Returns False if it has left it."""
        return self._dynamo.update(
            chunk_key(chunk.upload_id, chunk.number),
            {"cancelled": True},
            condition="#status = :submitted AND job_id = :job AND attempt = :had",
            names={"#status": "status"},
            values={":submitted": Status.SUBMITTED, ":job": chunk.job_id, ":had": chunk.attempt},
        )

    # -------------------------------------------------------------------------------------------- retry

    def retry(self, upload: Upload, had: Status, not_before: str) -> bool:
        """Begins another run of an upload that has ended as ``had``. ``upload``: as it then is.

        Its counts begin anew, and each of its chunks is open until ``prepare`` has said what is left of it,
        which nobody does before ``not_before`` (ISO 8601). Returns False if another order was quicker.
        """
        pk, sk = order_key(upload.upload_id)
        gone = () if upload.result_key else ("result_key", "result_version_id")
        change = (
            Expression()
            .set(
                {
                    "status": upload.status,
                    "status_key": f"upload#{upload.status}",
                    "run": upload.run,
                    "preparing": True,
                    "message": upload.message,
                    "chunks_open": upload.chunks,
                    "success_count": 0,
                    "error_count": 0,
                    "updated_at": upload.updated_at,
                }
            )
            .remove(("ended_at", "expires_at", "cancelled_at", "cancelled_by", "cancelled_why", *gone))
        )
        ended = change.among((had,))
        before = change.among_runs(upload.run - 1)
        return self._dynamo.transact(
            [
                self._dynamo.updating(upload_key(upload.upload_id), change, f"{ended} AND {before}"),
                self._dynamo.putting(
                    {"pk": pk, "sk": sk, "ordered_at": upload.updated_at, "not_before": not_before}
                ),
            ]
        )

    def prepare(self, order: Open, chunk: Chunk, counts: Counts, offset: int) -> bool:
        """Stores what is left of a chunk in another run of its upload: it is pending again, or has ended.

        ``counts``: those of its lines that the run before has answered, or that do not run again.
        ``offset``: where the lines of the next chunk begin. Returns False if another run has done so.
        """
        change = Closing(chunk).whole(also=("expires_at",))
        ended = f"{change.among(TERMINAL)} AND (attribute_not_exists(#run) OR #run < :run)"
        ends = chunk.status in TERMINAL
        key = chunk_key(chunk.upload_id, chunk.number)
        added = Expression().add(
            {"chunks_open": -int(ends), "success_count": counts.success, "error_count": counts.error}
        )
        moved = Expression().set({"number": chunk.number + 1, "offset": offset})
        moved.values.update({":at": order.at, ":mine": order.number})
        mine = "ordered_at = :at AND (attribute_not_exists(#number) OR #number = :mine)"
        return self._dynamo.transact(
            [
                self._dynamo.updating(key, change, ended),
                *([] if ends else [self._chunks.placing(chunk)]),
                self._dynamo.updating(
                    upload_key(chunk.upload_id), added, f"{EXISTS} AND attribute_exists(preparing)"
                ),
                self._dynamo.updating(order_key(order.upload_id), moved, mine),
            ]
        )

    def prepared(self, upload: Upload) -> bool:
        """Stores that all chunks of another run of an upload are in the queue, or have ended."""
        return self._dynamo.update(
            upload_key(upload.upload_id),
            {"ready": True},
            remove=("preparing", *(() if upload.cancelled_at else ("message",))),
            condition="attribute_exists(#preparing) AND #run = :run",
            names={"#run": "run"},
            values={":run": upload.run},
        )

    # -------------------------------------------------------------------------------------------- pause

    def pause(self, pause: Pause) -> Pause:
        """Pauses a route, or the queue if ``pause.route`` is "". Returns the pause that holds now.

        A route that is paused already stays as it is.
        """
        key = (_PAUSED, pause.route or _ALL)
        row = {name: value for name, value in _words(pause).items() if value}
        self._dynamo.update(key, row, condition="attribute_not_exists(pk)")
        return self.pauses().by_route.get(pause.route, pause)

    def resume(self, route: str) -> None:
        """Ends the pause of a route, or of the queue if ``route`` is ""."""
        self._dynamo.delete((_PAUSED, route or _ALL))

    def pauses(self) -> Pauses:
        """Returns the pauses that hold now."""
        found = self._dynamo.query("pk = :pk", {":pk": _PAUSED}, consistent=True)
        routes = {item["sk"].removeprefix(_ALL): item for item in found}
        return Pauses(
            {route: Pause(**{**fields_of(Pause, item), "route": route}) for route, item in routes.items()}
        )


def _open_of(item: dict[str, Any]) -> Open:
    return Open(**{**fields_of(Open, item), "upload_id": item["sk"], "at": item["ordered_at"]})


def _words(pause: Pause) -> dict[str, str]:
    return {field.name: getattr(pause, field.name) for field in fields(pause) if field.name != "route"}
