"""Reads Bedrock's output files: which records succeeded, which failed, and which run again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import field
from typing import Any

from .answers import CODE, MAX_COUNT, Answers, count_of, counted
from .cutting import MAX_LINE_BYTES
from .digests import digest, digest_sum
from .reading import ended_lines, lines
from .records import dataclass
from .rows import Chunk, Counts

# An output line holds its input line and the model's output, so it can be longer than any input line.
MAX_OUTPUT_LINE_BYTES = 4 * MAX_LINE_BYTES

_PASSING_NAMES = {
    "InternalServerException",
    "ModelNotReadyException",
    "ModelTimeoutException",
    "ServiceUnavailableException",
    "ThrottlingException",
    "TooManyRequestsException",
}
_ERROR_MEMBERS = {"errorCode", "errorMessage"}
MAX_CODES = 100
TIER_REFUSED = "ServiceTierRefused"  # the model does not have the service tier of the route
_TIMEOUT, _TOO_MANY, _SERVER_ERROR = 408, 429, 500
_PASSING_WORDS = ("internal", "unavailable", "throttl", "timed out", "timeout", "try again", "retry")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The counts in ``manifest.json.out``; a count that Bedrock did not write is 0."""

    records: int = 0
    processed: int = 0
    success: int = 0
    error: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(slots=True)
class Tally:
    """The counts of one output file. ``again``: digests of the recordIds with a transient error.

    ``seen``: digests of all its recordIds. ``untidy``: the file has a duplicate or unknown recordId, a line
    that cannot be parsed, or a line without a line ending. Counts exclude the records in ``again``. Tokens
    and stop reasons are those that the model outputs report.
    """

    success: int = 0
    error: int = 0
    errors_by_code: Counter[str] = field(default_factory=Counter)
    stop_reasons: Counter[str] = field(default_factory=Counter)
    input_tokens: int = 0
    output_tokens: int = 0
    seen: set[int] = field(default_factory=set)
    again: set[int] = field(default_factory=set)
    untidy: bool = False

    def is_of(self, records: int, ids: int) -> bool:
        """Returns whether the file has ``records`` recordIds whose ``digest_sum`` is ``ids``."""
        return (len(self.seen), digest_sum(self.seen)) == (records, ids)

    def counts(self, missing: int = 0) -> Counts:
        """Returns the counts; ``missing`` records that the file does not have are errors."""
        return Counts(self.success, self.error + missing, self.input_tokens, self.output_tokens)


def manifest(raw: bytes) -> Manifest | None:
    """Parses a ``manifest.json.out`` of Bedrock; returns None if it cannot be parsed."""
    document = _record(raw)
    if document is None:
        return None
    return Manifest(
        records=count_of(document, ("totalRecordCount",)),
        processed=count_of(document, ("processedRecordCount",)),
        success=count_of(document, ("successRecordCount",)),
        error=count_of(document, ("errorRecordCount",)),
        input_tokens=count_of(document, ("inputTokenCount",)),
        output_tokens=count_of(document, ("outputTokenCount",)),
    )


def output_lines(blocks: Iterable[bytes]) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """Yields the lines of an output file, raw and parsed; None for a line that is not a JSON object."""
    for raw, _ in lines(blocks, MAX_OUTPUT_LINE_BYTES):
        yield (b"", None) if raw is None else (raw, _record(raw))


# Parses the value at an index and returns it with its end: what json.loads comes to, without its detours.
_Scan = Callable[[str, int], tuple[Any, int]]
_scan_value: _Scan = vars(json.JSONDecoder())["scan_once"]
# The same, but with a class in place of each float, as a float is neither a count nor a word: an embedding
# has a thousand of them, and to make them takes most of the time.
_scan_without_floats: _Scan = vars(json.JSONDecoder(parse_float=type))["scan_once"]


def _record(raw: bytes, scan_value: _Scan = _scan_value) -> dict[str, Any] | None:
    try:
        text = raw.decode()
        record, end = scan_value(text, 0)
    except (ValueError, StopIteration, RecursionError):
        record = _unusual(raw.removesuffix(b"\n"))
    else:
        if end < len(text) and text[end:] != "\n":
            record = _unusual(raw.removesuffix(b"\n"))
    return record if isinstance(record, dict) else None


def _unusual(raw: bytes) -> Any:
    """Parses a line that is not just one value in UTF-8; returns None if it is not JSON at all."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def error_code(record: Mapping[str, Any]) -> str | None:
    """Returns the error code of a record as text, or None if the record succeeded."""
    error = record.get("error")
    if error is None and "modelOutput" in record:
        error = record["modelOutput"]
        # AWS documents the key error; others saw the same two members in place of the answer.
        if not isinstance(error, dict) or "errorCode" not in error or error.keys() != _ERROR_MEMBERS:
            return None
    code = error.get("errorCode") if isinstance(error, dict) else None
    if isinstance(code, int):
        return str(code) if 0 <= code <= MAX_COUNT else "unknown"
    return code if isinstance(code, str) and CODE.fullmatch(code) else "unknown"


def passing(code: str) -> bool:
    """Returns whether an error code is transient, so that a retry can succeed: throttling, 5xx, timeouts."""
    if code.isdigit():
        return int(code) in (_TIMEOUT, _TOO_MANY) or int(code) >= _SERVER_ERROR
    return code in _PASSING_NAMES


def passing_failure(message: str) -> bool:
    """Returns whether a job that failed with this message can succeed on a retry."""
    return any(word in message.lower() for word in _PASSING_WORDS)


def mark_of(record: Mapping[str, Any]) -> int | None:
    """Returns the digest of a record's recordId, or None if it has none."""
    identifier = record.get("recordId")
    return digest(identifier) if isinstance(identifier, str) else None


def tally(blocks: Iterable[bytes], may_run_again: bool, known: Collection[int] | None = None) -> Tally:
    """Counts the records of an output file; a duplicate recordId counts once.

    ``may_run_again``: put records with a transient error into ``again`` instead of counting them.
    ``known``: the digests of the expected recordIds; None accepts any.
    """
    found = Tally()
    seen = found.seen
    answers = Answers()
    line: bytes | int = b"\n"
    for line in ended_lines(blocks, MAX_OUTPUT_LINE_BYTES):
        record = None if isinstance(line, int) else _record(line, _scan_without_floats)
        identifier = record.get("recordId") if record else None
        if not record or not isinstance(identifier, str):
            found.untidy = True
            continue
        mark = digest(identifier)
        if mark in seen or (known is not None and mark not in known):
            found.untidy = True
            continue
        seen.add(mark)
        answer = record.get("modelOutput")
        # What most lines have is told apart without a call.
        plain = isinstance(answer, dict) and "errorCode" not in answer and "error" not in record
        code = None if plain else error_code(record)
        if code is None:
            found.success += 1
            answers.add(answer)
        elif may_run_again and passing(code):
            found.again.add(mark)
        else:
            found.error += 1
            counted(found.errors_by_code, code, MAX_CODES)
        record = answer = None  # frees their memory for the next line
    found.input_tokens, found.output_tokens = answers.input_tokens, answers.output_tokens
    found.stop_reasons.update(answers.stop_reasons)
    # Without a line ending, the first line of the next file would be appended to it.
    found.untidy |= isinstance(line, bytes) and not line.endswith(b"\n")
    return found


def settled(blocks: Iterable[bytes], chosen: Collection[int]) -> Iterator[bytes]:
    r"""Yields the first output line of each recordId whose digest is in ``chosen``, with ``\n``."""
    seen: set[int] = set()
    for raw, record in output_lines(blocks):
        mark = None if record is None else mark_of(record)
        if mark is None or mark in seen:
            continue
        if mark in chosen:
            yield raw + b"\n"
        seen.add(mark)


def settled_but(blocks: Iterable[bytes], others: Collection[int]) -> Iterator[bytes]:
    r"""Yields the first output line of each recordId whose digest is not in ``others``, with ``\n``."""
    seen = set(others)
    for raw, record in output_lines(blocks):
        mark = None if record is None else mark_of(record)
        if mark is not None and mark not in seen:
            seen.add(mark)
            yield raw + b"\n"


def answers_in(blocks: Iterable[bytes]) -> Iterator[tuple[int, int | None, bool]]:
    """Yields of each line of a result its length in bytes, its recordId's digest, and if it is an answer.

    The digest is None for a line that has no recordId.
    """
    for raw, length in lines(blocks, MAX_OUTPUT_LINE_BYTES):
        record = None if raw is None else _record(raw, _scan_without_floats)
        mark = None if record is None else mark_of(record)
        yield length, mark, record is not None and "modelOutput" in record and error_code(record) is None


def unanswered(inputs: Iterable[bytes], seen: Collection[int]) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yields the lines of a staged file, raw and parsed, whose recordId's digest is not in ``seen``."""
    for raw, _ in lines(inputs):
        if raw and raw.strip():
            record = json.loads(raw)
            if digest(record["recordId"]) not in seen:
                yield raw, record


def error_line(record: Mapping[str, Any], code: str, message: str) -> bytes:
    r"""Returns an output line, with ``\n``, for a record that Bedrock wrote no output for."""
    line = {
        "recordId": record.get("recordId"),
        "modelInput": record.get("modelInput"),
        "error": {"errorCode": code, "errorMessage": message},
    }
    return to_line(line)


def to_line(document: Mapping[str, Any], default: Callable[[Any], Any] | None = None) -> bytes:
    r"""Returns a JSON document as one line of UTF-8, with ``\n``. ``default`` is passed to ``json.dumps``."""
    try:
        return json.dumps(document, ensure_ascii=False, default=default).encode() + b"\n"
    except UnicodeEncodeError:  # an unpaired surrogate can only be written as an escape sequence
        return json.dumps(document, default=default).encode() + b"\n"


class Left:
    """Counts the records to run again while they are written: ``size`` in bytes, ``ids`` as digests."""

    def __init__(self) -> None:
        self.records = 0
        self.size = 0
        self.ids: list[int] = []

    def lines(self, records: Iterable[tuple[bytes, dict[str, Any]]]) -> Iterator[bytes]:
        """Yields the lines of records, and counts the records."""
        for raw, record in records:
            self.records += 1
            self.ids.append(digest(record["recordId"]))
            yield raw + b"\n"

    def measured(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Yields lines as they are written, and adds up their size."""
        for line in lines:
            self.size += len(line)
            yield line

    def chunk(self, had: Chunk, key: str) -> Chunk:
        """Returns a chunk as it waits for its next attempt: the records that are left are the object ``key``.

        It keeps what it has of its result. The caller sets since when it waits.
        """
        start, end, records = had.origin or (0, 0, 0)
        return Chunk(
            upload_id=had.upload_id,
            number=had.number,
            route=had.route,
            key=key,
            start=0,
            end=self.size,
            records=self.records,
            created_at=had.created_at,
            shard=had.shard,
            ids=digest_sum(self.ids),
            rewrite=had.rewrite,
            attempt=had.attempt + 1,
            run=had.run,
            runs=had.runs,
            parts=had.parts,
            errors_by_code=had.errors_by_code,
            stop_reasons=had.stop_reasons,
            job_arns=had.job_arns,
            origin_start=start,
            origin_end=end,
            origin_records=records,
        )
