"""Converts rows to items of the table, and items to rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from batch_queue.core.rows import Chunk, ChunkRef, Intent, Job, Place, Status, Upload

from .dynamo import Key


def upload_key(upload_id: str) -> Key:
    """Returns the key of an upload."""
    return upload_id, "upload"


def chunk_key(upload_id: str, number: int) -> Key:
    """Returns the key of a chunk; an upload's chunks sort by number."""
    return upload_id, f"chunk#{number:06d}"


def cut_key(upload_id: str, number: int) -> Key:
    """Returns the key of a row that says how a large upload is split; ``number`` counts from 0."""
    return upload_id, f"cut#{number:06d}" if number else "cut"


def queue_key(route: str, shard: int) -> str:
    """Returns the partition key of one shard of a route's queue; versions without shards used that of 0."""
    return f"queue#{route}#{shard}" if shard else f"queue#{route}"


def place_key(place: Place) -> Key:
    """Returns the key of a place; the places of a shard sort in queue order."""
    return queue_key(place.route, place.shard), place.order_key


def job_key(job_id: str) -> Key:
    """Returns the key of a job."""
    return job_id, "job"


def intent_key(job_id: str) -> Key:
    """Returns the key of what a job runs."""
    return job_id, "intent"


def active_key(job_id: str) -> Key:
    """Returns the key of the item that exists until the job's results are collected."""
    return "active", job_id


def denied_key(upload_id: str) -> Key:
    """Returns the key of the item that exists until an object that S3 denies can be read."""
    return "denied", upload_id


def order_key(upload_id: str) -> Key:
    """Returns the key of the item that exists until an order about an upload is carried out."""
    return "orders", upload_id


def upload_item(upload: Upload) -> dict[str, Any]:
    """Converts an upload to an item."""
    return {
        **_keys(upload_key(upload.upload_id)),
        "status_key": f"upload#{upload.status}",
        "order_key": f"{upload.created_at}#{upload.upload_id}",
        **_filled(upload, "upload_id", *_first(upload.run)),
    }


def upload_of(item: Mapping[str, Any]) -> Upload:
    """The inverse of ``upload_item``."""
    return Upload(
        **{
            **fields_of(Upload, item),
            "upload_id": item["pk"],
            "status": Status(item["status"]),
            "job_arns": frozenset(item.get("job_arns", ())),
        }
    )


def chunk_item(chunk: Chunk) -> dict[str, Any]:
    """Converts a chunk to an item."""
    # `whole` defaults to True, so False must be stored. DynamoDB has no tuples.
    attributes = {
        **_filled(chunk, "upload_id", *_first(chunk.run)),
        "whole": chunk.whole,
        "parts": list(chunk.parts),
    }
    return {**_keys(chunk_key(chunk.upload_id, chunk.number)), **attributes}


def chunk_of(item: Mapping[str, Any]) -> Chunk:
    """The inverse of ``chunk_item``."""
    parts = tuple(item.get("parts", ()))
    # Rows of older versions do not have the runs: there, each attempt was one.
    known = {"runs": item["attempt"] - 1, **fields_of(Chunk, item)}
    arns = frozenset(item.get("job_arns", ()))
    return Chunk(
        **{
            **known,
            "upload_id": item["pk"],
            "status": Status(item["status"]),
            "parts": parts,
            "job_arns": arns,
        }
    )


def place_item(place: Place) -> dict[str, Any]:
    """Converts a place to an item."""
    return {
        **_keys(place_key(place)),
        "created_at": place.created_at,
        "size_bytes": place.size_bytes,
        "not_before": place.not_before,
        "queued_at": place.queued_at,
        **ref_item(place.ref),
    }


def place_of(item: Mapping[str, Any], route: str, shard: int) -> Place:
    """The inverse of ``place_item``."""
    ref = ChunkRef(**fields_of(ChunkRef, item))
    return Place(**{**fields_of(Place, item), "ref": ref, "route": route, "shard": shard})


def ref_item(ref: ChunkRef) -> dict[str, Any]:
    """Converts a chunk reference to attributes."""
    return {name: getattr(ref, name) for name in ("upload_id", "number", "attempt", "records")}


def job_item(job: Job) -> dict[str, Any]:
    """Converts a job to an item."""
    return {
        **_keys(job_key(job.job_id)),
        "status_key": f"job#{job.status}",
        "order_key": f"{job.created_at}#{job.job_id}",
        **_filled(job, "job_id", "told"),
    }


def job_of(item: Mapping[str, Any]) -> Job:
    """The inverse of ``job_item``, except that ``told`` is not known."""
    return Job(**{**fields_of(Job, item), "job_id": item["pk"], "status": Status(item["status"])})


def intent_item(job_id: str, intent: Intent) -> dict[str, Any]:
    """Converts what a job runs to an item."""
    return {**_keys(intent_key(job_id)), "request": dict(intent.request), "chunks": refs_item(intent.chunks)}


def intent_of(item: Mapping[str, Any]) -> Intent:
    """The inverse of ``intent_item``. Also takes the item of a job of an earlier version."""
    return Intent(tuple(map(_ref_of, item.get("chunks", ()))), item.get("request", {}))


def refs_item(refs: Sequence[ChunkRef]) -> list[str]:
    """Converts the chunks of a job to short texts: a list of maps would cost three times as much to read."""
    return [f"{ref.upload_id}/{ref.number}/{ref.attempt}/{ref.records}" for ref in refs]


def _ref_of(item: str | Mapping[str, Any]) -> ChunkRef:
    if not isinstance(item, str):
        return ChunkRef(**fields_of(ChunkRef, item))
    upload_id, *numbers = item.split("/")
    return ChunkRef(upload_id, *map(int, numbers))


def fields_of(kind: Any, item: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes of an item that are fields of a row; a newer version may have stored more."""
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in item.items() if name in names}


def _first(run: int) -> tuple[str, ...]:
    """Returns what is left out of a row in its first run: rows of earlier versions do not have it either."""
    return ("run",) if run == 1 else ()


def _keys(key: Key) -> dict[str, str]:
    return {"pk": key[0], "sk": key[1]}


def _filled(row: Any, *leave_out: str) -> dict[str, Any]:
    """Returns the non-empty fields of a row; an empty field is not stored and reads as its default.

    DynamoDB has no frozen sets.
    """
    values = {field.name: getattr(row, field.name) for field in fields(row) if field.name not in leave_out}
    return {
        name: set(value) if isinstance(value, frozenset) else value
        for name, value in values.items()
        if value is not False and value not in (None, "", frozenset(), ())
    }
