"""Reads and validates a batch inference input as a stream. Pure: standard library only.

Memory is bounded by the longest line that is allowed, however long the input is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NoReturn

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# InvokeModel takes a body of at most 25,000,000 bytes (service model of bedrock-runtime, shape Body);
# a little more leaves room for the recordId and the braces around it.
MAX_LINE_BYTES = 25_100_000
MAX_REPORTED_FAULTS = 100
MAX_REPORTED_ID = 200  # characters of a recordId that a fault keeps


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one line (numbered from 1), or with the whole file (line 0)."""

    line: int
    reason: str
    record_id: str | None = None


@dataclass(slots=True)
class Scan:
    """What a scan found: counts, the first faults, and whether the lines need tidying for Bedrock."""

    records: int = 0
    size_bytes: int = 0
    fault_count: int = 0
    faults: list[Fault] = field(default_factory=list)
    rewrite: bool = False

    def add(self, fault: Fault) -> None:
        """Counts a fault, and keeps it where it is one of the first."""
        self.fault_count += 1
        if len(self.faults) < MAX_REPORTED_FAULTS:
            self.faults.append(fault)


class RecordError(ValueError):
    """A line that is not a record; the text says why and what to write instead."""

    def __init__(self, reason: str, record_id: str | None = None) -> None:
        super().__init__(reason)
        self.record_id = None if record_id is None else record_id[:MAX_REPORTED_ID]


def lines(blocks: Iterable[bytes], max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[bytes | None]:
    r"""Yields each line of a stream of byte blocks without its ``\n``; a longer line than allowed as None.

    Splits at ``\n`` alone: U+0085 and U+2028 are ordinary characters inside a JSON string. A last line
    without ``\n`` counts, an empty end does not.
    """
    rest: list[bytes] = []
    held = 0
    overlong = False
    for block in blocks:
        pieces = block.split(b"\n")
        for piece in pieces[:-1]:
            if overlong or held + len(piece) > max_line_bytes:
                yield None
            elif rest:
                rest.append(piece)
                yield b"".join(rest)
            else:
                yield piece
            if held or overlong:
                rest, held, overlong = [], 0, False
        tail = pieces[-1]
        held += len(tail)
        if overlong or held > max_line_bytes:
            rest, overlong = [], True
        elif tail:
            rest.append(tail)
    if overlong:
        yield None
    elif held:
        yield b"".join(rest)


def _refuse_constant(name: str) -> NoReturn:
    raise RecordError(f"{name} is not JSON: write null or a number instead")


# One decoder for all lines: json.loads with a parse_constant builds a new one for every call.
_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode


def parse_line(raw: bytes) -> dict[str, Any]:
    """The JSON object on one line. Raises RecordError with a reason that names the place in the line."""
    try:
        value = _decode(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        place = f"byte {error.start + 1} of the line"
        raise RecordError(f"not UTF-8 at {place}: save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" at")
        raise RecordError(f"not JSON: {what} at character {error.pos + 1} of the line") from None
    except RecursionError:
        raise RecordError("not JSON that can be read: nested too deeply") from None
    except RecordError:
        raise
    except ValueError:
        # Python refuses integers of more than 4,300 digits, and so would any reader that keeps them exact.
        raise RecordError("not JSON that can be read: a number has too many digits") from None
    if not isinstance(value, dict):
        raise RecordError(f"not a JSON object but {_kind(value)}: write one object a line, " + _EXAMPLE)
    return value


_EXAMPLE = '{"recordId": "…", "modelInput": {…}}'


def record_id(record: dict[str, Any]) -> str:
    """The ``recordId`` of a well-formed record. Raises RecordError for one that is not well-formed."""
    identifier = record.get("recordId")
    if identifier is None:
        raise RecordError("recordId is missing: give each record a text that is unique in the file")
    if not isinstance(identifier, str) or not identifier:
        raise RecordError(f"recordId must be a text that is not empty, not {_kind(identifier)}")
    if not identifier.isascii():
        try:
            identifier.encode("utf-8")
        except UnicodeEncodeError:
            raise RecordError("recordId holds half of a surrogate pair, which UTF-8 cannot express") from None
    body = record.get("modelInput")
    if not isinstance(body, dict):
        got = "missing" if "modelInput" not in record else f"not {_kind(body)}"
        raise RecordError(f"modelInput must be an object: it is {got}", identifier)
    return identifier


def _kind(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "a text", bool: "true or false"}
    if isinstance(value, str) and not value:
        return "an empty text"
    return "null" if value is None else names.get(type(value), "a number")


def scan(blocks: Iterable[bytes], max_records: int, max_line_bytes: int = MAX_LINE_BYTES) -> Scan:
    """Validates an input line by line: one JSON object a line with a unique recordId and a modelInput.

    Blank lines, carriage returns before the line end and a byte-order mark at the start are no faults;
    they set ``rewrite``. Stops reading when there are more than ``max_records`` records.
    """
    found = Scan()
    seen: set[bytes] = set()

    def measured() -> Iterator[bytes]:
        for block in blocks:
            found.size_bytes += len(block)
            yield block

    for number, raw in enumerate(lines(measured(), max_line_bytes), start=1):
        if raw is None:
            found.add(Fault(number, f"longer than {max_line_bytes:,} bytes, the most that a model takes"))
            continue
        line = tidy(raw, first=number == 1)
        if not line or line is not raw:
            found.rewrite = True
        if not line:
            continue
        found.records += 1
        if found.records > max_records:
            found.add(Fault(number, f"more than {max_records:,} records: cut the file into several"))
            return found
        try:
            record = parse_line(line)
            identifier = record_id(record)
        except RecordError as error:
            found.add(Fault(number, str(error), error.record_id))
            continue
        mark = blake2b(identifier.encode(), digest_size=16).digest()
        if mark in seen:
            found.add(
                Fault(
                    number,
                    "recordId stands on an earlier line too: make it unique",
                    identifier[:MAX_REPORTED_ID],
                )
            )
        seen.add(mark)
    if not found.records and not found.fault_count:
        found.add(Fault(0, "no records in the file: write one object a line, " + _EXAMPLE))
    return found


def tidy(raw: bytes, first: bool) -> bytes:
    """A line as Bedrock shall see it: no byte-order mark (``first`` line), no carriage return, b"" if blank.

    Gives back the same object where there is nothing to tidy.
    """
    line = raw.removeprefix(BYTE_ORDER_MARK) if first else raw
    line = line.removesuffix(b"\r")
    return b"" if line.isspace() else line


def tidied(blocks: Iterable[bytes]) -> Iterator[bytes]:
    r"""The lines of a validated input as Bedrock shall see them, each with one ``\n``; no blank ones."""
    for number, raw in enumerate(lines(blocks), start=1):
        line = tidy(raw or b"", first=number == 1)
        if line:
            yield line + b"\n"
