"""Ids, Bedrock job names, model names, object keys and times."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache

from .rows import Chunk, ChunkRef

DEFAULT_ROUTE = "default"
MAX_KEY_BYTES = 1024
# How many partitions of the table the queue of a route has. A partition takes some 500 new places a second.
# Places stay where they are: a version with fewer partitions would not find all of them.
SHARDS = 4
_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")

# ------------------------------------------------------------------------------------------ ids and names


def _digest(*parts: object) -> str:
    text = "\0".join(str(part) for part in parts)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def upload_id(bucket: str, key: str, version: str) -> str:
    """Returns 32 hex digits that identify an object version by its bucket, key and version.

    ``version`` is the version id or, without one, the ETag and the last-modified time.
    """
    return _digest("upload", bucket, key, version)


def shard(upload_id: str) -> int:
    """Returns which partition of its route's queue has the chunks of an upload: 0 to SHARDS - 1."""
    return int(upload_id[:8], 16) % SHARDS


def digest_of_cut(route: str, spans: Iterable[tuple[int, int]]) -> str:
    """Returns 32 hex digits that identify how an upload is split into chunks, which are these bytes of it."""
    return _digest("cut", *((start, end, route) for start, end in spans))


def job_id(chunks: Iterable[ChunkRef]) -> str:
    """Returns 32 hex digits that depend only on the job's chunks and the attempt of each."""
    return _digest("job", *(f"{c.upload_id}/{c.number}/{c.attempt}" for c in sorted(chunks)))


def event_id(kind: str, row: str, created_at: str, time: str) -> str:
    """Returns 32 hex digits that identify what happened: the kind, to which upload or job (``row``), when.

    ``created_at``: when the row was created. A job that runs again after its row has expired is the same one
    at Bedrock, which ended when it did.
    """
    return _digest("event", kind, row, created_at, time)


def job_name(name: str, job: str) -> str:
    """Returns the ``jobName`` (1 to 63 characters, no underscore; unique in each account and Region)."""
    return f"{name}-{job}"


def check_id(random: str) -> str:
    """Returns what a job that only asks Bedrock a question has in place of a job id. ``random``: hex digits.

    It is too short for a job id, so that nobody takes such a job for one of the queue's.
    """
    return f"check-{random[:20]}"


def job_id_of(name: str, bedrock_job_name: str) -> str | None:
    """Returns the job id in a Bedrock job name, or None if the job is not from the queue ``name``."""
    match = re.fullmatch(re.escape(name) + "-([0-9a-f]{32})", bedrock_job_name)
    return match[1] if match else None


@lru_cache(maxsize=1_000)
def base_model(model_id: str) -> str:
    """Returns the base model whose quota a model id, ARN or inference profile counts against.

    The id of a system-defined inference profile is a geography prefix (``us.``, ``eu.``, ``apac.``,
    ``global.`` …) and a foundation model's id. The ARN of an application inference profile or a custom model
    does not contain its base model, so it counts as a model of its own.
    """
    resource = model_id
    if model_id.startswith("arn:"):
        resource = model_id.split(":", 5)[5]
        kind, _, name = resource.partition("/")
        if kind not in ("foundation-model", "inference-profile"):
            return resource
        resource = name
    return re.sub(r"^(?:[a-z]{2}|us-gov|apac|amer|emea|global)\.(?=[a-z0-9-]+\.)", "", resource)


# --------------------------------------------------------------------------------------------------- keys


def route_name(key: str, input_prefix: str, routes: Iterable[str]) -> str:
    """Returns the upload's first folder under the input prefix if it is a route, otherwise the default."""
    folder, slash, _ = key.removeprefix(input_prefix).partition("/")
    return folder if slash and folder in set(routes) else DEFAULT_ROUTE


def result_key(key: str, input_prefix: str, output_prefix: str) -> str:
    """Returns the key of the result: ``to-process/a/b.jsonl`` → ``processed/a/b.jsonl.out``."""
    return output_prefix + key.removeprefix(input_prefix) + ".out"


def summary_key(key: str, input_prefix: str, output_prefix: str) -> str:
    """Returns the key of the summary: ``to-process/a/b.jsonl`` → ``processed/a/b.jsonl.summary.json``."""
    return output_prefix + key.removeprefix(input_prefix) + ".summary.json"


def report_key(key: str, input_prefix: str, output_prefix: str) -> str:
    """Returns the rejection report's key: ``to-process/a.jsonl`` → ``processed/a.jsonl.rejected.json``."""
    return output_prefix + key.removeprefix(input_prefix) + ".rejected.json"


def is_report(key: str) -> bool:
    """Returns whether a key is that of a rejection report."""
    return key.endswith(".rejected.json")


def work_folder(work_prefix: str, folder: str) -> str:
    """Returns the key prefix of a folder of the work area: the id of a job, or ``folder`` of an upload."""
    return f"{work_prefix}{folder}/"


def input_folder(work_prefix: str, job: str) -> str:
    """Returns the key prefix in a job's input URI."""
    return f"{work_folder(work_prefix, job)}in/"


def output_folder(work_prefix: str, job: str) -> str:
    """Returns the key prefix in a job's output URI."""
    return f"{work_folder(work_prefix, job)}out/"


def retry_folder(work_prefix: str, folder: str) -> str:
    """Returns the key prefix of the records of an upload that run again; ``folder``: the upload's."""
    return f"{work_folder(work_prefix, folder)}retry/"


def retry_key(work_prefix: str, chunk: Chunk) -> str:
    """Returns the key of the records of a chunk that run again after this attempt."""
    return f"{retry_folder(work_prefix, chunk.folder)}{chunk.number:06d}-{chunk.attempt}.jsonl"


def settled_key(work_prefix: str, chunk: Chunk, what: str) -> str:
    """Returns the key of a part of an upload's result that an attempt of a chunk adds.

    ``what`` says what the part contains, so that different contents have different keys.
    """
    folder = work_folder(work_prefix, chunk.folder)
    return f"{folder}settled/{chunk.number:06d}-{chunk.attempt}-{what}.jsonl"


def joined_folder(work_prefix: str, folder: str) -> str:
    """Returns the key prefix of the groups of parts that are joined before the result is."""
    return f"{work_folder(work_prefix, folder)}settled/joined/"


def joined_key(work_prefix: str, folder: str, first: int, parts: Sequence[str]) -> str:
    """Returns the key of a group of joined parts of an upload; ``first`` is the number of the first part."""
    last = first + len(parts) - 1
    return f"{joined_folder(work_prefix, folder)}{first:06d}-{last:06d}-{digest_of_keys(parts)}.jsonl"


def digest_of_keys(keys: Iterable[str]) -> str:
    """Returns 32 hex digits that identify a list of keys."""
    return _digest("keys", *keys)


def output_key(work_prefix: str, job: str, arn: str, file_name: str) -> str:
    """Returns the key of Bedrock's output for an input file: ``<output>/<Bedrock's job id>/<file>.out``."""
    return f"{output_folder(work_prefix, job)}{arn.rsplit('/', 1)[-1]}/{file_name}.out"


def manifest_key(work_prefix: str, job: str, arn: str) -> str:
    """Returns the key of the manifest, in which Bedrock writes the counts of a job."""
    return output_key(work_prefix, job, arn, "manifest.json")


def ids_in(key: str) -> list[str]:
    """Returns the ids of jobs and uploads in a key of the work area."""
    return _ID.findall(key)


def key_too_long(key: str) -> bool:
    """Returns whether a key exceeds S3's limit of 1,024 bytes of UTF-8 (S3 User Guide, object keys)."""
    return len(key.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES


# -------------------------------------------------------------------------------------------------- times


def iso(epoch_seconds: float) -> str:
    """Returns an ISO 8601 timestamp in UTC with milliseconds; timestamps sort as text by time."""
    stamp = datetime.fromtimestamp(epoch_seconds, UTC).isoformat(timespec="milliseconds")
    return stamp.removesuffix("+00:00") + "Z"


def epoch(stamp: str) -> float:
    """Returns the epoch seconds of an ISO 8601 timestamp."""
    return datetime.fromisoformat(stamp).timestamp()
