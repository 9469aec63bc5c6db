"""Converts rows to items of the table, and items to rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from batch_queue.core.rows import Chunk, ChunkRef, Job, Place, Status, Upload

from .dynamo import Key


def upload_key(upload_id: str) -> Key:
    """Returns the key of an upload."""
    return upload_id, "upload"


def chunk_key(upload_id: str, number: int) -> Key:
    """Returns the key of a chunk; an upload's chunks sort by number."""
    return upload_id, f"chunk#{number:06d}"


def queue_key(route: str, shard: int) -> str:
    """Returns the partition key of one shard of a route's queue; versions without shards used that of 0."""
    return f"queue#{route}#{shard}" if shard else f"queue#{route}"


def place_key(place: Place) -> Key:
    """Returns the key of a place; the places of a shard sort in queue order."""
    return queue_key(place.route, place.shard), place.order_key


def job_key(job_id: str) -> Key:
    """Returns the key of a job."""
    return job_id, "job"


def active_key(job_id: str) -> Key:
    """Returns the key of the item that exists until the job's results are collected."""
    return "active", job_id


def denied_key(upload_id: str) -> Key:
    """Returns the key of the item that exists until an object that S3 denies can be read."""
    return "denied", upload_id


def upload_item(upload: Upload) -> dict[str, Any]:
    """Converts an upload to an item."""
    return {
        **_keys(upload_key(upload.upload_id)),
        "status_key": f"upload#{upload.status}",
        "order_key": f"{upload.created_at}#{upload.upload_id}",
        **_filled(upload, "upload_id"),
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
    attributes = {**_filled(chunk, "upload_id"), "whole": chunk.whole, "parts": list(chunk.parts)}
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
    """Converts a chunk reference to an element of a job's item."""
    return {name: getattr(ref, name) for name in ("upload_id", "number", "attempt", "records")}


def job_item(job: Job) -> dict[str, Any]:
    """Converts a job to an item."""
    return {
        **_keys(job_key(job.job_id)),
        "status_key": f"job#{job.status}",
        "order_key": f"{job.created_at}#{job.job_id}",
        **_filled(job, "job_id"),
        "chunks": [ref_item(ref) for ref in job.chunks],
    }


def job_of(item: Mapping[str, Any]) -> Job:
    """The inverse of ``job_item``."""
    refs = tuple(ChunkRef(**fields_of(ChunkRef, ref)) for ref in item["chunks"])
    known = fields_of(Job, item)
    return Job(**{**known, "job_id": item["pk"], "status": Status(item["status"]), "chunks": refs})


def fields_of(kind: Any, item: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the attributes of an item that are fields of a row; a newer version may have stored more."""
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in item.items() if name in names}


def _keys(key: Key) -> dict[str, str]:
    return {"pk": key[0], "sk": key[1]}


def _filled(row: Any, leave_out: str) -> dict[str, Any]:
    """Returns the non-empty fields of a row; an empty field is not stored and reads as its default.

    DynamoDB has no frozen sets.
    """
    values = {field.name: getattr(row, field.name) for field in fields(row) if field.name != leave_out}
    return {
        name: set(value) if isinstance(value, frozenset) else value
        for name, value in values.items()
        if value is not False and value not in (None, "", frozenset(), ())
    }
