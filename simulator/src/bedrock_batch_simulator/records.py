"""A job's files: read and validated line by line, and written as results. Touches the S3 client alone."""

from __future__ import annotations

import array
import bisect
import itertools
import json
import math
import random
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import rules
from .answers import RecordError, answer, check, digest
from .chance import draw, identifier
from .config import ModelConfig, RecordFaultConfig
from .errors import InputError

_SPOOL = 64 * 1024 * 1024
_READ = 1024 * 1024

SUCCESS, REFUSED, PERMANENT, PASSING = 0, 1, 2, 3
"""What becomes of a record, in one byte; PASSING + n fails with the n-th configured passing code."""

_PASSING_MESSAGES = {
    408: "Model has timed out in processing the request. Try your request again.",
    424: "The model encountered an error while processing the request.",
    429: "Too many requests, please wait before trying again.",
    500: "The system encountered an unexpected error during processing. Try your request again.",
    503: "Bedrock is unable to process your request.",
}


PERMANENT_MESSAGE = "The request was refused by the model."
"""What a record says that `permanent_rate` lets fail."""


@dataclass(frozen=True)
class Location:
    """An S3 URI, taken apart. `key` has no leading slash."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> Location:
        """`s3://bucket/key` → its parts."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return cls(bucket, key)

    @property
    def is_file(self) -> bool:
        """Whether it names one `.jsonl` object rather than a folder."""
        return self.key.endswith(".jsonl")

    @property
    def prefix(self) -> str:
        """The key as a folder: ends with a slash unless it is the whole bucket."""
        return self.key if not self.key or self.key.endswith("/") else self.key + "/"

    @property
    def folder(self) -> str:
        """The folder that referenced media must lie under."""
        return self.key.rpartition("/")[0] + "/" if self.is_file else self.prefix


@dataclass(frozen=True)
class InputFile:
    """One input object: its `key`, the `name` relative to the folder, and how many `records` it has."""

    key: str
    name: str
    size: int
    records: int = 0


@dataclass(frozen=True)
class JobFiles:
    """What validation found: the files by key, and each record's outcome in the order of processing."""

    files: tuple[InputFile, ...]
    outcomes: bytes

    @property
    def total(self) -> int:
        """The number of records of the job."""
        return len(self.outcomes)


@dataclass(frozen=True)
class Spec:
    """What reading and writing a job's files needs to know of it."""

    job_id: str
    job_arn: str
    base_model: str
    invocation_type: str
    source: Location
    target: Location
    limits: ModelConfig
    record_faults: RecordFaultConfig
    seed: int
    encryption_key: str = ""

    @property
    def encryption(self) -> dict[str, str]:
        """What S3 is told about the encryption of the outputs; without a key nothing."""
        if not self.encryption_key:
            return {}
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.encryption_key}


@dataclass(frozen=True)
class Written:
    """What the manifest says."""

    processed: int
    success: int
    error: int
    input_tokens: int
    output_tokens: int


def fails_for_good(seed: int, record_faults: RecordFaultConfig, model_input: Mapping[str, Any]) -> bool:
    """Whether a record with this `modelInput` is one of those that `permanent_rate` lets fail each time."""
    return record_faults.permanent_rate > 0 and (
        draw(seed, "permanent", digest(model_input)) < record_faults.permanent_rate
    )


def passing_error(code: int) -> RecordError:
    """A failure for a passing reason, with the service's words for the HTTP status `code`."""
    return RecordError(code, _PASSING_MESSAGES.get(code, "The request failed for a passing reason."))


def _lines(body: Any) -> Iterator[bytes]:
    """The lines of a streaming body, cut at LF only, without it; nothing after the last LF is no line."""
    rest = b""
    while chunk := body.read(_READ):
        parts = (rest + chunk).split(b"\n")
        rest = parts.pop()
        yield from parts
    if rest:
        yield rest


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"number {text[:40]} is out of range")
    return value


_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)


def decode_json(raw: bytes) -> Any:
    """Strict JSON (UTF-8, no NaN, finite numbers) → its value; raises ValueError or RecursionError."""
    return _DECODER.decode(raw.decode("utf-8"))


def _record(line: bytes) -> tuple[str | None, dict[str, Any]]:
    """The record id (None when missing) and the `modelInput` of a line; raises InputError with the reason."""
    if not line.strip():
        raise InputError("is blank")
    try:
        record = decode_json(line)
    except UnicodeDecodeError:
        raise InputError("is not UTF-8") from None
    except (ValueError, RecursionError):
        raise InputError("is not a valid JSON object") from None
    if not isinstance(record, dict):
        raise InputError("is not a JSON object")
    if not isinstance(record.get("modelInput"), dict):
        raise InputError("has no modelInput object")
    record_id = record.get("recordId")
    if record_id is not None and not isinstance(record_id, str):
        raise InputError("has a recordId that is not a string")
    return record_id, record["modelInput"]


def _find_files(s3: Any, spec: Spec) -> list[InputFile]:
    source = spec.source
    prefix = source.key if source.is_file else source.prefix
    found: list[InputFile] = []
    token: dict[str, str] = {}
    while True:
        page = s3.list_objects_v2(Bucket=source.bucket, Prefix=prefix, **token)
        for entry in page.get("Contents", []):
            key = entry["Key"]
            if source.is_file and key == source.key:
                found.append(InputFile(key, key.rpartition("/")[2], entry["Size"]))
            elif not source.is_file and key.endswith(".jsonl"):
                found.append(InputFile(key, key.removeprefix(prefix), entry["Size"]))
        if not page.get("IsTruncated"):
            return sorted(found, key=lambda each: each.key)
        token = {"ContinuationToken": page["NextContinuationToken"]}


def inspect(s3: Any, spec: Spec) -> JobFiles:
    """Read every input file and hold it against the format and the quotas; raises InputError at a fault.

    `modelInput` is not looked into for that: what the model will say of it is noted as the record's outcome.
    """
    limits, uri = spec.limits, f"s3://{spec.source.bucket}/{spec.source.key}"
    files = _find_files(s3, spec)
    if not files:
        raise rules.NO_FILE.failure(uri=uri)
    if (size := sum(each.size for each in files)) > limits.max_job_bytes:
        raise rules.JOB_BYTES.failure(arn=spec.job_arn, size=size, limit=limits.max_job_bytes)
    outcomes = bytearray()
    counted: list[InputFile] = []
    for each in files:
        if each.size > limits.max_file_bytes:
            raise rules.FILE_BYTES.failure(name=each.name, size=each.size, limit=limits.max_file_bytes)
        before = len(outcomes)
        body = s3.get_object(Bucket=spec.source.bucket, Key=each.key)["Body"]
        for number, line in enumerate(_lines(body), start=1):
            try:
                record_id, model_input = _record(line)
            except InputError as fault:
                raise rules.LINE.failure(line=number, name=each.name, fault=fault) from None
            outcomes.append(_outcome(spec, _record_id(spec, each, number, record_id), model_input, line))
        records = len(outcomes) - before
        if records > limits.max_records_per_file:
            raise rules.FILE_RECORDS.failure(name=each.name, count=records, limit=limits.max_records_per_file)
        counted.append(InputFile(each.key, each.name, each.size, records))
    if len(outcomes) > limits.max_records_per_job:
        raise rules.JOB_RECORDS.failure(
            arn=spec.job_arn, count=len(outcomes), limit=limits.max_records_per_job
        )
    if len(outcomes) < limits.min_records:
        raise rules.MIN_RECORDS.failure(arn=spec.job_arn, count=len(outcomes), limit=limits.min_records)
    return JobFiles(tuple(counted), bytes(outcomes[index] for index in _order(spec, len(outcomes))))


def _record_id(spec: Spec, file: InputFile, number: int, given: str | None) -> str:
    """The record's own id, or the one the service assigns: eleven alphanumerics."""
    return (
        given
        if given is not None
        else identifier(rules.RECORD_ID.value, spec.seed, spec.job_id, file.name, number).upper()
    )


def _order(spec: Spec, total: int) -> list[int]:
    """The order in which the records are processed, and so stand in the results."""
    order = list(range(total))
    random.Random(f"{spec.seed}:{spec.job_id}").shuffle(order)
    return order


def _outcome(spec: Spec, record_id: str, model_input: dict[str, Any], line: bytes) -> int:
    chances = spec.record_faults
    if _refusal(spec, model_input, line) is not None:
        return REFUSED
    if fails_for_good(spec.seed, chances, model_input):
        return PERMANENT
    if chances.passing_rate and draw(spec.seed, "passing", spec.job_id, record_id) < chances.passing_rate:
        return PASSING + int(draw(spec.seed, "code", spec.job_id, record_id) * len(chances.passing_codes))
    return SUCCESS


def _refusal(spec: Spec, model_input: dict[str, Any], line: bytes) -> RecordError | None:
    try:
        check(spec.base_model, spec.invocation_type, model_input)
    except RecordError as error:
        return error
    if b"s3Location" in line:
        folder = f"s3://{spec.source.bucket}/{spec.source.folder}"
        for uri in media_uris(model_input):
            if spec.source.is_file or not uri.startswith(folder):
                return RecordError(400, rules.LINKED_MEDIA.text(uri=uri))
    return None


def media_uris(value: Any) -> Iterator[str]:
    """The URIs of all `s3Location` objects below `value`."""
    if isinstance(value, dict):
        for key, each in value.items():
            if key == "s3Location" and isinstance(each, dict) and isinstance(each.get("uri"), str):
                yield each["uri"]
            else:
                yield from media_uris(each)
    elif isinstance(value, list):
        for each in value:
            yield from media_uris(each)


def write_results(s3: Any, spec: Spec, job: JobFiles, processed: int) -> Written:
    """Write the output files and the manifest for the first `processed` records in the order of processing.

    With none processed nothing is written, and a file without a processed record gets no output file. Raises
    InputError when an input file changed or went away since it was validated.
    """
    if processed == 0:
        return Written(0, 0, 0, 0, 0)
    starts = [0, *itertools.accumulate(each.records for each in job.files)]
    chosen: list[list[tuple[int, int]]] = [[] for _ in job.files]
    for position, index in enumerate(_order(spec, job.total)[:processed]):
        number = bisect.bisect_right(starts, index) - 1
        chosen[number].append((index - starts[number], job.outcomes[position]))
    folder = f"{spec.target.prefix}{spec.job_id}/"
    success = tokens_in = tokens_out = 0
    for file, picks in zip(job.files, chosen, strict=True):
        if picks:
            counts = _write_file(s3, spec, file, picks, f"{folder}{file.name}.out")
            success, tokens_in, tokens_out = (
                success + counts[0],
                tokens_in + counts[1],
                tokens_out + counts[2],
            )
    manifest = {
        "totalRecordCount": job.total,
        "processedRecordCount": processed,
        "successRecordCount": success,
        "errorRecordCount": processed - success,
        "inputTokenCount": tokens_in,
        "outputTokenCount": tokens_out,
    }
    s3.put_object(
        Bucket=spec.target.bucket,
        Key=f"{folder}{rules.RESULT_KEYS.value}",
        Body=json.dumps(manifest).encode(),
        **spec.encryption,
    )
    return Written(processed, success, processed - success, tokens_in, tokens_out)


def _write_file(
    s3: Any, spec: Spec, file: InputFile, picks: list[tuple[int, int]], key: str
) -> tuple[int, int, int]:
    success = tokens_in = tokens_out = 0
    with (
        tempfile.SpooledTemporaryFile(max_size=_SPOOL) as source,
        tempfile.SpooledTemporaryFile(max_size=_SPOOL) as target,
    ):
        offsets = array.array("Q", [0])
        for line in _lines(s3.get_object(Bucket=spec.source.bucket, Key=file.key)["Body"]):
            source.write(line)
            offsets.append(offsets[-1] + len(line))
        if len(offsets) - 1 != file.records:
            raise rules.CHANGED.failure(name=file.name)
        for index, outcome in picks:
            source.seek(offsets[index])
            line = source.read(offsets[index + 1] - offsets[index])
            given, model_input = _record(line)
            record_id = _record_id(spec, file, index + 1, given)
            result: dict[str, Any] = {"recordId": record_id, "modelInput": model_input}
            if outcome == SUCCESS:
                said = answer(spec.base_model, spec.invocation_type, model_input)
                result["modelOutput"] = said.output
                success, tokens_in, tokens_out = (
                    success + 1,
                    tokens_in + said.input_tokens,
                    tokens_out + said.output_tokens,
                )
            else:
                result["error"] = _error(spec, outcome, model_input, line)
            target.write(_encode(result) + b"\n")
        size = target.tell()
        target.seek(0)
        if size <= _SPOOL:
            s3.put_object(Bucket=spec.target.bucket, Key=key, Body=target.read(), **spec.encryption)
        else:
            s3.upload_fileobj(target, spec.target.bucket, key, ExtraArgs=spec.encryption)
    return success, tokens_in, tokens_out


def _error(spec: Spec, outcome: int, model_input: dict[str, Any], line: bytes) -> dict[str, Any]:
    chances = spec.record_faults
    if outcome == REFUSED:
        refusal = _refusal(spec, model_input, line)
        if refusal is None:
            raise InputError("An input file changed while the job was running.")
        return refusal.as_error()
    if outcome == PERMANENT:
        return RecordError(chances.permanent_code, PERMANENT_MESSAGE).as_error()
    return passing_error(chances.passing_codes[outcome - PASSING]).as_error()


def _encode(result: dict[str, Any]) -> bytes:
    try:
        return json.dumps(result, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # a lone surrogate, which only the escaped form can carry
        return json.dumps(result, separators=(",", ":")).encode()
