"""Reads Bedrock's output files: which records succeeded, which failed, and which run again."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .cutting import MAX_LINE_BYTES
from .digests import digest, digest_sum
from .reading import lines
from .rows import Counts

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
# A row counts errors by code and answers by stop reason, so these must be short words or numbers, and few.
_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
MAX_CODES = 100
MAX_REASONS = 20
OTHER_CODE = "other"
TIER_REFUSED = "ServiceTierRefused"  # the model does not have the service tier of the route
# Where models say why they stopped: at the top, or in the first element of one of these lists.
_REASONS = ("stopReason", "stop_reason", "finish_reason", "completionReason")
_ANSWERS = ("choices", "outputs", "results", "generations")
MAX_COUNT = 10**15  # a larger number cannot be a count, and DynamoDB stores at most 38 digits
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
        records=_first(document, "totalRecordCount"),
        processed=_first(document, "processedRecordCount"),
        success=_first(document, "successRecordCount"),
        error=_first(document, "errorRecordCount"),
        input_tokens=_first(document, "inputTokenCount"),
        output_tokens=_first(document, "outputTokenCount"),
    )


def output_lines(blocks: Iterable[bytes]) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """Yields the lines of an output file, raw and parsed; None for a line that is not a JSON object."""
    for raw, _ in lines(blocks, MAX_OUTPUT_LINE_BYTES):
        yield (b"", None) if raw is None else (raw, _record(raw))


def _record(raw: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def error_code(record: Mapping[str, Any]) -> str | None:
    """Returns the error code of a record as text, or None if the record succeeded."""
    error = record.get("error")
    if error is None and "modelOutput" in record:
        error = record["modelOutput"]
        # AWS documents the key error; others saw the same two members in place of the answer.
        if not isinstance(error, dict) or set(error) != _ERROR_MEMBERS:
            return None
    code = error.get("errorCode") if isinstance(error, dict) else None
    if isinstance(code, int):
        return str(code) if 0 <= code <= MAX_COUNT else "unknown"
    return code if isinstance(code, str) and _CODE.fullmatch(code) else "unknown"


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
    for raw, size in lines(blocks, MAX_OUTPUT_LINE_BYTES):
        record = None if raw is None else _record(raw)
        # Without a line ending, the next line would be appended to it.
        found.untidy |= raw is not None and size == len(raw)
        mark = None if record is None else mark_of(record)
        strange = mark is None or mark in found.seen or (known is not None and mark not in known)
        if record is None or mark is None or strange:
            found.untidy = True
            continue
        found.seen.add(mark)
        code = error_code(record)
        if code is None:
            found.success += 1
            used_in, used_out = tokens(record["modelOutput"])
            found.input_tokens += used_in
            found.output_tokens += used_out
            if reason := stop_reason(record["modelOutput"]):
                _count(found.stop_reasons, reason, MAX_REASONS)
        elif may_run_again and passing(code):
            found.again.add(mark)
        else:
            found.error += 1
            _count(found.errors_by_code, code, MAX_CODES)
    return found


def _count(counter: Counter[str], word: str, most: int) -> None:
    """Counts a word; beyond ``most`` different ones, as ``OTHER_CODE``."""
    full = len(counter) >= most and word not in counter
    counter[OTHER_CODE if full else word] += 1


def stop_reason(answer: Any) -> str:
    """Returns why the model stopped, as it says it, or "" if it does not.

    Knows Converse and Nova (``stopReason``), Claude and Llama (``stop_reason``), models with OpenAI's format
    (``choices[].finish_reason``), Mistral (``outputs[]`` or ``choices[]``: ``stop_reason``), Titan
    (``results[].completionReason``) and Cohere (``finish_reason``, also in ``generations[]``).
    """
    if not isinstance(answer, dict):
        return ""
    lists = [answer[name] for name in _ANSWERS if isinstance(answer.get(name), list)]
    places = [answer, *(found[0] for found in lists if found and isinstance(found[0], dict))]
    words = (place[name] for place in places for name in _REASONS if isinstance(place.get(name), str))
    word = next(words, "")
    return word if not word or _CODE.fullmatch(word) else OTHER_CODE


def tokens(answer: Any) -> tuple[int, int]:
    """Returns the input and output tokens in a model output, or 0.

    Knows Converse and Nova, Claude, models with OpenAI's format, Llama, and Titan, in this order.
    """
    if not isinstance(answer, dict):
        return 0, 0
    usage = answer.get("usage")
    usage = usage if isinstance(usage, dict) else answer
    used_in = _first(
        usage, "inputTokens", "input_tokens", "prompt_tokens", "prompt_token_count", "inputTextTokenCount"
    )
    used_out = _first(usage, "outputTokens", "output_tokens", "completion_tokens", "generation_token_count")
    parts = answer.get("results")
    if not used_out and isinstance(parts, list):
        used_out = sum(_first(part, "tokenCount") for part in parts if isinstance(part, dict))
    return used_in, used_out


def _first(document: Mapping[str, Any], *names: str) -> int:
    return next((document[name] for name in names if _is_count(document.get(name))), 0)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT


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
