"""The JSONL reader: validates a batch inference input as a stream and cuts it into chunks.

Memory is bounded by the longest line that is allowed, however long the input is.
"""

from __future__ import annotations

import json
import math
import re
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from typing import Any, NoReturn

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# InvokeModel takes a body of at most 25,000,000 bytes (service model of bedrock-runtime, shape Body);
# a little more leaves room for the recordId and the braces around it.
MAX_LINE_BYTES = 25_100_000
# Deeper than any request, and less than what Python or Bedrock reads: it is parsed again further on.
MAX_DEPTH = 200
# Each array or object takes up to 250 bytes when it is parsed, however short its text is.
MAX_NESTED = 500_000
# How often a reading that has come to no record looks at the time.
LINES_A_LOOK = 100_000
MAX_REPORTED_FAULTS = 100
MAX_REPORTED_ID = 200  # characters of a recordId that a fault keeps


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one line (numbered from 1), or with the whole file (line 0)."""

    line: int
    reason: str
    record_id: str | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """A run of whole lines, ``[start, end)`` in bytes: what will be a chunk.

    ``rewrite``: a line of it is to be changed on its way to Bedrock. ``ids``: the ``digest_sum`` of its
    recordIds.
    """

    start: int
    end: int
    records: int
    rewrite: bool = False
    ids: int = 0


class Ids:
    """Which recordIds were seen, in 8 bytes each: 64-bit digests, in 256 heaps by their first byte."""

    HEAPS = 256

    def __init__(self) -> None:
        self._heaps = [array("Q") for _ in range(self.HEAPS)]

    def add(self, identifier: str) -> int:
        """Takes note of one recordId; gives its digest."""
        mark = digest(identifier)
        self._heaps[mark >> 56].append(mark)
        return mark

    def twice(self) -> set[int]:
        """The digests that were added more than once: of a doubled recordId, or by rare chance of two."""
        found: set[int] = set()
        for heap in self._heaps:
            ordered = sorted(heap)
            found.update(one for one, other in pairwise(ordered) if one == other)
        return found

    def to_bytes(self) -> Iterator[bytes]:
        """All digests, 8 bytes each, little-endian."""
        for heap in self._heaps:
            copy = array("Q", heap)
            if sys.byteorder == "big":
                copy.byteswap()
            yield copy.tobytes()

    @classmethod
    def from_bytes(cls, blocks: Iterable[bytes]) -> Ids:
        """The inverse of ``to_bytes``, however the bytes are cut into blocks."""
        found = cls()
        rest = b""
        for block in blocks:
            data = rest + block
            whole = len(data) // 8 * 8
            marks = array("Q", data[:whole])
            if sys.byteorder == "big":
                marks.byteswap()
            for mark in marks:
                found._heaps[mark >> 56].append(mark)
            rest = data[whole:]
        return found


@dataclass(slots=True)
class Scan:
    """How far an input was read and what was found in it.

    ``offset`` and ``lines``: how many bytes and lines were read; ``done``: that is all of them. ``cuts`` are
    the chunks so far. ``faults`` holds the first of ``fault_count`` faults.
    """

    offset: int = 0
    lines: int = 0
    records: int = 0
    done: bool = False
    cuts: list[Cut] = field(default_factory=list)
    fault_count: int = 0
    faults: list[Fault] = field(default_factory=list)
    ids: Ids = field(default_factory=Ids)

    def to_document(self) -> dict[str, Any]:
        """All but the ids, as JSON."""
        return {
            "offset": self.offset,
            "lines": self.lines,
            "records": self.records,
            "fault_count": self.fault_count,
            "cuts": [[cut.start, cut.end, cut.records, cut.rewrite, cut.ids] for cut in self.cuts],
            "faults": [[fault.line, fault.reason, fault.record_id] for fault in self.faults],
        }

    @classmethod
    def from_document(cls, document: dict[str, Any], ids: Ids) -> Scan:
        """The inverse of ``to_document``."""
        return cls(
            offset=document["offset"],
            lines=document["lines"],
            records=document["records"],
            fault_count=document["fault_count"],
            cuts=[Cut(*cut) for cut in document["cuts"]],
            faults=[Fault(*fault) for fault in document["faults"]],
            ids=ids,
        )

    def add(self, fault: Fault) -> None:
        """Counts a fault, and keeps it where it is one of the first."""
        self.fault_count += 1
        if len(self.faults) < MAX_REPORTED_FAULTS:
            self.faults.append(fault)

    def merge(self, other: Scan) -> None:
        """Adds the faults of another reading of the same input, in the order of their lines."""
        both = sorted((*self.faults, *other.faults), key=lambda fault: fault.line)
        self.faults = both[:MAX_REPORTED_FAULTS]
        self.fault_count += other.fault_count


def digest(identifier: str) -> int:
    """64 bits of a recordId."""
    try:
        text = identifier.encode()
    except UnicodeEncodeError:
        text = identifier.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


def digest_sum(marks: Iterable[int]) -> int:
    """One number for a set of digests, whatever their order: 64 bits."""
    return sum(marks) % (1 << 64)


class RecordError(ValueError):
    """A line that is not a record; the text says why and what to write instead."""

    def __init__(self, reason: str, record_id: str | None = None) -> None:
        # It may quote the line, and stands in a row and in a report.
        super().__init__(reason.encode("utf-8", "replace").decode())
        self.record_id = None if record_id is None else record_id[:MAX_REPORTED_ID]


def lines(
    blocks: Iterable[bytes], max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[tuple[bytes | None, int]]:
    r"""Yields each line of a stream of byte blocks without its ``\n``, and its length with it.

    A longer line than allowed is None. Splits at ``\n`` alone: U+0085 and U+2028 are ordinary characters
    inside a JSON string. A last line without ``\n`` counts, an empty end does not.
    """
    rest: list[bytes] = []
    held = 0
    for block in blocks:
        pieces = block.split(b"\n")
        for piece in pieces[:-1]:
            size = held + len(piece)
            if size > max_line_bytes:
                yield None, size + 1
            elif held:
                yield b"".join((*rest, piece)), size + 1
            else:
                yield piece, size + 1
            if held:
                rest, held = [], 0
        tail = pieces[-1]
        held += len(tail)
        if held > max_line_bytes:
            rest = []
        elif tail:
            rest.append(tail)
    if held > max_line_bytes:
        yield None, held
    elif held:
        yield b"".join(rest), held


def _refuse_constant(name: str) -> NoReturn:
    raise RecordError(f"{name} is not JSON: write null or a number instead")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise RecordError(f"the number {text[:40]} is beyond the range of JSON readers: write a smaller one")
    return value


# One decoder for all lines: json.loads with a parse_constant builds a new one for every call.
_decode = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite).decode
_decode_pairs = json.JSONDecoder(object_pairs_hook=list).decode
# A text, also one that is cut off, or a bracket.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{}\[\]]')


def parse_line(raw: bytes) -> dict[str, Any]:
    """The JSON object on one line. Raises RecordError with a reason that names the place in the line."""
    if len(raw) - len(raw.translate(None, b"[{")) > MAX_DEPTH:
        _check_nesting(raw)
    try:
        value = _decode(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        place = f"byte {error.start + 1} of the line"
        raise RecordError(f"not UTF-8 at {place}: save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" at")
        raise RecordError(f"not JSON: {what} at character {error.pos + 1} of the line") from None
    except RecordError:
        raise
    except ValueError:
        # Python refuses integers of more than 4,300 digits, and so would any reader that keeps them exact.
        raise RecordError("not JSON that can be read: a number has too many digits") from None
    if not isinstance(value, dict):
        raise RecordError(f"not a JSON object but {_kind(value)}: write one object a line, " + _EXAMPLE)
    body = raw.find(b'"modelInput"')
    if body != raw.rfind(b'"modelInput"'):
        _check_once(raw, "modelInput")
    # Where the line ends with an object, that is the modelInput, and a second recordId stands before it.
    end = body if len(value) == 2 and raw.endswith(b"}}") else len(raw)  # noqa: PLR2004 (the two of them)
    if raw.find(b'"recordId"', raw.find(b'"recordId"') + 1, end) >= 0:
        _check_once(raw, "recordId")
    return value


def _check_nesting(raw: bytes) -> None:
    """Raises RecordError where a line would take more stack or memory than a reader of it may have."""
    depth = nested = 0
    for token in _TOKEN.finditer(raw):
        if token[0] in b"{[":
            depth, nested = depth + 1, nested + 1
            if depth > MAX_DEPTH:
                raise RecordError(f"nested too deeply: {MAX_DEPTH} levels are the most")
            if nested > MAX_NESTED:
                raise RecordError(f"more than {MAX_NESTED:,} arrays and objects: make it several records")
        elif token[0] in b"}]":
            depth -= 1


def _check_once(raw: bytes, name: str) -> None:
    """Raises RecordError where a line has a key twice: readers differ in which of the two they take."""
    if [key for key, _ in _decode_pairs(raw.decode("utf-8"))].count(name) > 1:
        raise RecordError(f"{name} stands twice in the line: keep one of the two")


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


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a chunk may be, and how long a line (all in bytes and records)."""

    chunk_records: int
    chunk_bytes: int
    least_records: int = 1
    most_records: int = 50_000
    most_bytes: int = 1_000_000_000
    line_bytes: int = MAX_LINE_BYTES


def scan(
    blocks: Iterable[bytes],
    limits: Limits,
    found: Scan | None = None,
    out_of_time: Callable[[], bool] = lambda: False,
    check: Callable[[bytes, str], bool] | None = None,
) -> Scan:
    """Validates an input line by line, and cuts it at line ends into chunks.

    Each line holds one JSON object with a recordId and a modelInput. Blank lines, carriage returns before
    the line end and a byte-order mark at the start are no faults; they set ``rewrite`` on their chunk. Blank
    lines before its first record belong to no chunk, so that each has records.
    ``check`` sees each record's line and recordId: it says whether the line is to be changed on its way to
    Bedrock, which sets ``rewrite`` too, or raises RecordError.

    ``blocks`` begin at ``found.offset`` where an earlier scan is to go on. Stops at a boundary between two
    chunks, or among blank lines before one, when ``out_of_time`` says so (then ``done`` stays False).
    Whether recordIds are unique is not known yet: see ``doubled``.
    """
    found = found or Scan()
    began = start = at = found.offset
    records, rewrite = 0, False
    marks: list[int] = []
    for raw, length in lines(blocks, limits.line_bytes):
        full = records >= limits.chunk_records or (records and at + length - start > limits.chunk_bytes)
        if full:
            found.cuts.append(Cut(start, at, records, rewrite, digest_sum(marks)))
            records, rewrite = 0, False
            marks.clear()
        if not records:
            found.offset = start = at
            rewrite = False
            if at > began and (full or found.lines % LINES_A_LOOK == 0) and out_of_time():
                return found
        at += length
        found.lines += 1
        if raw is None:
            most = f"{limits.line_bytes:,} bytes, the most that a model takes"
            found.add(Fault(found.lines, f"longer than {most}"))
            continue
        line = tidy(raw, first=found.lines == 1)
        rewrite |= not line or line is not raw
        if not line:
            continue
        found.records += 1
        records += 1
        try:
            identifier = record_id(parse_line(line))
            marks.append(found.ids.add(identifier))
            rewrite |= check is not None and check(line, identifier)
        except RecordError as error:
            found.add(Fault(found.lines, str(error), error.record_id))
    if records:
        tail = Cut(start, at, records, rewrite, digest_sum(marks))
        found.cuts = _with_tail(found.cuts, tail, limits)
    found.offset = at
    found.done = True
    if not found.records and not found.fault_count:
        found.add(Fault(0, "no records in the file: write one object a line, " + _EXAMPLE))
    return found


def _with_tail(cuts: list[Cut], tail: Cut, limits: Limits) -> list[Cut]:
    """The cuts with the last one, which joins the one before it where it is too small to be a job."""
    if not cuts or tail.records >= limits.least_records:
        return [*cuts, tail]
    last = cuts[-1]
    if last.records + tail.records > limits.most_records or tail.end - last.start > limits.most_bytes:
        return [*cuts, tail]
    joined = Cut(
        last.start,
        tail.end,
        last.records + tail.records,
        # Blank lines may lie between the two.
        last.rewrite or tail.rewrite or last.end != tail.start,
        digest_sum((last.ids, tail.ids)),
    )
    return [*cuts[:-1], joined]


def doubled(blocks: Iterable[bytes], suspects: AbstractSet[int], limits: Limits) -> Scan:
    """Reads an input once more for the lines of recordIds that stand on an earlier line too.

    ``suspects`` are the digests of ``Ids.twice``; most inputs have none, and need no second reading.
    Stops at as many faults as a report lists.
    """
    found = Scan()
    seen: set[str] = set()
    for raw, _ in lines(blocks, limits.line_bytes):
        if found.fault_count >= MAX_REPORTED_FAULTS:
            break
        found.lines += 1
        line = tidy(raw or b"", first=found.lines == 1)
        if not line:
            continue
        try:
            identifier = record_id(parse_line(line))
        except RecordError:
            continue
        if digest(identifier) not in suspects:
            continue
        if identifier in seen:
            found.add(
                Fault(found.lines, "recordId stands on an earlier line too: make it unique", identifier)
            )
        seen.add(identifier)
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
    for number, (raw, _) in enumerate(lines(blocks), start=1):
        line = tidy(raw or b"", first=number == 1)
        if line:
            yield line + b"\n"
