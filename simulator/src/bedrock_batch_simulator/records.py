"""A job's files: read and validated line by line, and written as results. Touches the S3 client alone."""

from __future__ import annotations

import array
import bisect
import collections
import dataclasses
import itertools
import json
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from . import rules, strict_json
from .answering import Answering, Record
from .answers import Answer, RecordError, check, digest
from .chance import draw, identifier
from .config import ModelConfig, RecordErrorConfig, RecordFaultConfig
from .errors import InputError

_SPOOL = 64 * 1024 * 1024
_READ = 1024 * 1024

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
    """What validation found: the files by key."""

    files: tuple[InputFile, ...]

    @property
    def total(self) -> int:
        """The number of records of the job."""
        return sum(each.records for each in self.files)


@dataclass(frozen=True)
class Spec:
    """What reading and writing a job's files needs to know of it."""

    job_id: str
    job_arn: str
    job_name: str
    model_id: str
    base_model: str
    invocation_type: str
    source: Location
    target: Location
    limits: ModelConfig
    record_faults: RecordFaultConfig
    seed: int
    encryption_key: str = ""
    record_errors: Mapping[str, RecordErrorConfig] = field(default_factory=dict)

    @property
    def encryption(self) -> dict[str, str]:
        """What S3 is told about the encryption of the outputs; without a key nothing."""
        if not self.encryption_key:
            return {}
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.encryption_key}


class Answers:
    """What a job's records came to, in the order of processing: their output lines, and what is counted.

    The lines are in a file of its own once they have 64 MiB. One thread adds, others may count meanwhile.
    """

    def __init__(self) -> None:
        self._lines = tempfile.SpooledTemporaryFile(max_size=_SPOOL)  # noqa: SIM115 (`close` ends it)
        self._ends = array.array("Q", [0])
        self._tokens_in, self._tokens_out = array.array("Q", [0]), array.array("Q", [0])
        self._files = array.array("L")
        self._successes = bytearray()

    @property
    def made(self) -> int:
        """How many records have their answer."""
        return len(self._successes)

    def add(self, file: int, line: bytes, said: Answer | None) -> None:
        """Add the output line of the next record, of the `file` with that number; `said` None is an error."""
        end = self._ends[-1]
        self._lines.seek(end)
        self._lines.write(line)
        self._ends.append(end + len(line))
        self._files.append(file)
        self._tokens_in.append(self._tokens_in[-1] + (said.input_tokens if said is not None else 0))
        self._tokens_out.append(self._tokens_out[-1] + (said.output_tokens if said is not None else 0))
        self._successes.append(said is not None)

    def successes(self, count: int) -> int:
        """How many of the first `count` records have an output rather than an error."""
        return self._successes.count(1, 0, count)

    def tokens(self, count: int) -> tuple[int, int]:
        """The tokens in and out of the first `count` records."""
        return self._tokens_in[count], self._tokens_out[count]

    def of_file(self, file: int, count: int) -> tuple[int, Iterator[bytes]]:
        """The size of the lines of one file that are among the first `count`, and those lines in pieces."""
        ends, runs, position = self._ends, list[tuple[int, int]](), 0
        for number, run in itertools.groupby(self._files[:count]):
            begun, position = position, position + sum(1 for _ in run)
            if number == file:
                runs.append((ends[begun], ends[position]))
        return sum(end - start for start, end in runs), self._read(runs)

    def _read(self, runs: list[tuple[int, int]]) -> Iterator[bytes]:
        for start, end in runs:
            self._lines.seek(start)
            for size in (min(_READ, end - at) for at in range(start, end, _READ)):
                yield self._lines.read(size)

    def close(self) -> None:
        """Give up the lines and where they are; what `made` and `successes` tell stays."""
        self._lines.close()
        for each in (self._ends, self._tokens_in, self._tokens_out):
            del each[1:]
        del self._files[:]


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


def _record(line: bytes) -> tuple[str | None, dict[str, Any]]:
    """The record id (None when missing) and the `modelInput` of a line; raises InputError with the reason."""
    if not line.strip():
        raise InputError("is blank")
    try:
        record = strict_json.decode(line)
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

    `modelInput` is not looked into: a record that the model refuses is one for its results.
    """
    limits, uri = spec.limits, f"s3://{spec.source.bucket}/{spec.source.key}"
    files = _find_files(s3, spec)
    if not files:
        raise rules.NO_FILE.failure(uri=uri)
    if (size := sum(each.size for each in files)) > limits.max_job_bytes:
        raise rules.JOB_BYTES.failure(arn=spec.job_arn, size=size, limit=limits.max_job_bytes)
    total = 0
    counted: list[InputFile] = []
    for each in files:
        if each.size > limits.max_file_bytes:
            raise rules.FILE_BYTES.failure(name=each.name, size=each.size, limit=limits.max_file_bytes)
        number = 0
        body = s3.get_object(Bucket=spec.source.bucket, Key=each.key)["Body"]
        for number, line in enumerate(_lines(body), start=1):
            try:
                _record(line)
            except InputError as fault:
                raise rules.LINE.failure(line=number, name=each.name, fault=fault) from None
        if number > limits.max_records_per_file:
            raise rules.FILE_RECORDS.failure(name=each.name, count=number, limit=limits.max_records_per_file)
        counted.append(dataclasses.replace(each, records=number))
        total += number
    if total > limits.max_records_per_job:
        raise rules.JOB_RECORDS.failure(arn=spec.job_arn, count=total, limit=limits.max_records_per_job)
    if total < limits.min_records:
        raise rules.MIN_RECORDS.failure(arn=spec.job_arn, count=total, limit=limits.min_records)
    return JobFiles(tuple(counted))


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


def _check_told(spec: Spec, record_id: str) -> None:
    if (told := spec.record_errors.get(record_id)) is not None:
        raise RecordError(told.code, told.message)


def _check_media(spec: Spec, model_input: dict[str, Any]) -> None:
    folder = f"s3://{spec.source.bucket}/{spec.source.folder}"
    for uri in media_uris(model_input):
        if spec.source.is_file or not uri.startswith(folder):
            raise RecordError(400, rules.LINKED_MEDIA.text(uri=uri))


def _check_chances(spec: Spec, record_id: str, model_input: dict[str, Any]) -> None:
    chances = spec.record_faults
    if fails_for_good(spec.seed, chances, model_input):
        raise RecordError(chances.permanent_code, PERMANENT_MESSAGE)
    if chances.passing_rate and draw(spec.seed, "passing", spec.job_id, record_id) < chances.passing_rate:
        number = int(draw(spec.seed, "code", spec.job_id, record_id) * len(chances.passing_codes))
        raise passing_error(chances.passing_codes[number])


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


def process(
    s3: Any,
    spec: Spec,
    job: JobFiles,
    planned: int,
    answers: Answers,
    answering: Answering,
    going: Callable[[], bool],
) -> None:
    """Answer the first `planned` records in the order of processing, each once, as long as it is `going`.

    What `answers` has already is not done again, so that a try after a fault goes on. Raises InputError when
    an input file changed or went away since it was validated, or the user's answers fail.
    """
    if planned == answers.made:
        return
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL) as source:
        ends, starts = array.array("Q", [0]), [0]
        for file in job.files:
            for line in _lines(s3.get_object(Bucket=spec.source.bucket, Key=file.key)["Body"]):
                source.write(line)
                ends.append(ends[-1] + len(line))
            starts.append(len(ends) - 1)
            if starts[-1] - starts[-2] != file.records:
                raise rules.CHANGED.failure(name=file.name)

        def read(index: int) -> tuple[int, str, dict[str, Any], bytes]:
            number = bisect.bisect_right(starts, index) - 1
            source.seek(ends[index])
            line = source.read(ends[index + 1] - ends[index])
            try:
                given, model_input = _record(line)
            except InputError:
                raise rules.CHANGED.failure(name=job.files[number].name) from None
            record_id = _record_id(spec, job.files[number], index - starts[number] + 1, given)
            return number, record_id, model_input, line

        def result(number: int, *record: Any) -> tuple[int, bytes, Answer | None]:
            return number, *_result(spec, answering, *record)

        lines = (read(index) for index in _order(spec, job.total)[answers.made : planned])
        for made in _side_by_side(result, lines, answering.concurrency):
            if not going():
                return
            answers.add(*made)


def _side_by_side(work: Callable[..., Any], given: Iterator[tuple[Any, ...]], threads: int) -> Iterator[Any]:
    """What `work` gives for each, in order, done by as many threads, with as many more begun ahead."""
    if threads <= 1:
        yield from (work(*each) for each in given)
        return
    with ThreadPoolExecutor(threads, "answers") as pool:
        begun = collections.deque(pool.submit(work, *each) for each in itertools.islice(given, 2 * threads))
        try:
            while begun:
                yield begun.popleft().result()
                begun.extend(pool.submit(work, *each) for each in itertools.islice(given, 1))
        finally:
            pool.shutdown(cancel_futures=True)


def _result(
    spec: Spec, answering: Answering, record_id: str, model_input: dict[str, Any], line: bytes
) -> tuple[bytes, Answer | None]:
    """The output line of a record, and its answer where it has no error."""
    result: dict[str, Any] = {"recordId": record_id, "modelInput": model_input}
    said = None
    try:
        _check_told(spec, record_id)
        check(spec.base_model, spec.invocation_type, model_input)
        if b"s3Location" in line:
            _check_media(spec, model_input)
        _check_chances(spec, record_id, model_input)
        said = answering.answer(
            Record(
                record_id,
                spec.model_id,
                spec.base_model,
                spec.invocation_type,
                model_input,
                spec.job_name,
                spec.job_arn,
            )
        )
        result["modelOutput"] = said.output
    except RecordError as error:
        result["error"] = error.as_error()
    return _encode(result) + b"\n", said


def write_results(s3: Any, spec: Spec, job: JobFiles, answers: Answers, processed: int) -> None:
    """Write the output files and the manifest for the first `processed` records in the order of processing.

    With none processed nothing is written, and a file without a processed record gets no output file. Each
    object is put whole, in the place of the one before.
    """
    if processed == 0:
        return
    folder = f"{spec.target.prefix}{spec.job_id}/"
    for number, file in enumerate(job.files):
        size, pieces = answers.of_file(number, processed)
        if size:
            _write_file(s3, spec, size, pieces, f"{folder}{file.name}.out")
    success = answers.successes(processed)
    tokens_in, tokens_out = answers.tokens(processed)
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


def _write_file(s3: Any, spec: Spec, size: int, pieces: Iterator[bytes], key: str) -> None:
    if size <= _SPOOL:
        s3.put_object(Bucket=spec.target.bucket, Key=key, Body=b"".join(pieces), **spec.encryption)
        return
    with tempfile.TemporaryFile() as whole:
        whole.writelines(pieces)
        whole.seek(0)
        s3.upload_fileobj(whole, spec.target.bucket, key, ExtraArgs=spec.encryption)


_LINE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_ESCAPED_LINE = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def _encode(result: dict[str, Any]) -> bytes:
    try:
        return _LINE.encode(result).encode()
    except UnicodeEncodeError:  # a lone surrogate, which only the escaped form can carry
        return _ESCAPED_LINE.encode(result).encode()
