"""Ids, Bedrock job names, model names, object keys and times."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from .rows import Chunk, ChunkRef

DEFAULT_ROUTE = "default"
MAX_KEY_BYTES = 1024

# ------------------------------------------------------------------------------------------ ids and names


def _digest(*parts: object) -> str:
    text = "\0".join(str(part) for part in parts)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def upload_id(bucket: str, key: str, version: str) -> str:
    """32 hex digits from the bucket, the key and what tells the versions of the key apart.

    That is the version id; where there is none, the ETag and the time of the last change.
    """
    return _digest("upload", bucket, key, version)


def digest_of_cut(chunks: Sequence[Chunk]) -> str:
    """32 hex digits by which two ways to cut the same upload differ."""
    return _digest("cut", *((chunk.start, chunk.end, chunk.route) for chunk in chunks))


def job_id(chunks: Iterable[ChunkRef]) -> str:
    """32 hex digits from what the job is about: the same chunks at the same attempt give the same job."""
    return _digest("job", *(f"{c.upload_id}/{c.number}/{c.attempt}" for c in sorted(chunks)))


def job_name(name: str, job: str) -> str:
    """Bedrock's ``jobName`` (1 to 63 characters, no underscore; unique for each account and Region)."""
    return f"{name}-{job}"


def job_id_of(name: str, bedrock_job_name: str) -> str | None:
    """The job id in a Bedrock job name, or None where the job is not one of the instance called ``name``."""
    match = re.fullmatch(re.escape(name) + "-([0-9a-f]{32})", bedrock_job_name)
    return match[1] if match else None


def base_model(model_id: str) -> str:
    """The base model whose quota a model id, ARN or inference profile counts against.

    A system-defined inference profile is a foundation model's id behind a geography (``us.``, ``eu.``,
    ``apac.``, ``global.`` …). An application inference profile or a custom model does not tell its base
    model, so it counts for itself.
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
    """The route of an upload: its first folder under the input prefix where that is one, or the default."""
    folder, slash, _ = key.removeprefix(input_prefix).partition("/")
    return folder if slash and folder in set(routes) else DEFAULT_ROUTE


def result_key(key: str, input_prefix: str, output_prefix: str) -> str:
    """``to-process/a/b.jsonl`` gives ``processed/a/b.jsonl.out``."""
    return output_prefix + key.removeprefix(input_prefix) + ".out"


def summary_key(key: str, input_prefix: str, output_prefix: str) -> str:
    """``to-process/a/b.jsonl`` gives ``processed/a/b.jsonl.summary.json``."""
    return output_prefix + key.removeprefix(input_prefix) + ".summary.json"


def report_key(key: str, input_prefix: str, output_prefix: str) -> str:
    """``to-process/a/b.jsonl`` gives ``processed/a/b.jsonl.rejected.json``."""
    return output_prefix + key.removeprefix(input_prefix) + ".rejected.json"


def input_folder(work_prefix: str, job: str) -> str:
    """The key prefix that a job's input URI names."""
    return f"{work_prefix}{job}/in/"


def output_folder(work_prefix: str, job: str) -> str:
    """The key prefix that a job's output URI names."""
    return f"{work_prefix}{job}/out/"


def output_key(work_prefix: str, job: str, arn: str, file_name: str) -> str:
    """Where Bedrock writes what became of one input file: ``<output>/<its own job id>/<file name>.out``."""
    return f"{output_folder(work_prefix, job)}{arn.rsplit('/', 1)[-1]}/{file_name}.out"


def manifest_key(work_prefix: str, job: str, arn: str) -> str:
    """Where Bedrock writes the counts of a job."""
    return output_key(work_prefix, job, arn, "manifest.json")


def key_too_long(key: str) -> bool:
    """Whether S3 would refuse a key: 1,024 bytes of UTF-8 is the most (S3 User Guide, object keys)."""
    return len(key.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES


# -------------------------------------------------------------------------------------------------- times


def iso(epoch_seconds: float) -> str:
    """ISO 8601 in UTC with milliseconds: sorts as text in the order of time."""
    stamp = datetime.fromtimestamp(epoch_seconds, UTC).isoformat(timespec="milliseconds")
    return stamp.removesuffix("+00:00") + "Z"


def epoch(stamp: str) -> float:
    """Seconds since 1970 of an ISO 8601 stamp."""
    return datetime.fromisoformat(stamp).timestamp()
