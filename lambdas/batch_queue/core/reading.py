"""The JSONL reader: validates a batch inference input as a stream and splits it into chunks.

Memory is bounded by the longest line plus 8 bytes for each record, whatever the size of the input in bytes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from .cutting import MAX_LINE_BYTES, Cut, Limits, Recent, with_tail
from .digests import Ids, digest_sum

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# More than any request needs, and less than Python and Bedrock can parse, because later steps parse again.
MAX_DEPTH = 200
# Each parsed array or object takes up to 250 bytes of memory, however short its text is.
MAX_NESTED = 500_000
# How many lines a reader without a record so far processes between two checks of the time.
LINES_A_LOOK = 100_000
MAX_REPORTED_FAULTS = 100
MAX_REPORTED_ID = 200  # the maximum characters of a recordId in a fault


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault in one line (numbered from 1) or in the whole file (line 0)."""

    line: int
    reason: str
    record_id: str | None = None


@dataclass(slots=True)
class Scan:
    """The progress and findings of reading an input, the first time.

    ``offset`` and ``lines``: how many bytes and lines were read. ``done``: the whole input was read.
    ``cuts``: the chunks found so far. ``recent``: the last records, as far as they may be cut anew.
    ``faults``: the first of ``fault_count`` faults.
    """

    offset: int = 0
    lines: int = 0
    records: int = 0
    done: bool = False
    cuts: list[Cut] = field(default_factory=list)
    recent: Recent = field(default_factory=Recent)
    fault_count: int = 0
    faults: list[Fault] = field(default_factory=list)
    ids: Ids = field(default_factory=Ids)

    def to_document(self) -> dict[str, Any]:
        """Returns everything except the ids, as a JSON document."""
        return {
            "offset": self.offset,
            "lines": self.lines,
            "records": self.records,
            "fault_count": self.fault_count,
            "cuts": [[cut.start, cut.end, cut.records, cut.rewrite, cut.ids] for cut in self.cuts],
            "recent": self.recent.to_document(),
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
            recent=Recent.from_document(document.get("recent", [[], []])),
            faults=[Fault(*fault) for fault in document["faults"]],
            ids=ids,
        )

    def add(self, fault: Fault) -> None:
        """Counts a fault, and keeps it if it is one of the first ``MAX_REPORTED_FAULTS``."""
        self.fault_count += 1
        if len(self.faults) < MAX_REPORTED_FAULTS:
            self.faults.append(fault)

    def merge(self, faults: Sequence[Fault]) -> None:
        """Adds the faults of another reading of the same input, sorted by line."""
        both = sorted((*self.faults, *faults), key=lambda fault: fault.line)
        self.faults = both[:MAX_REPORTED_FAULTS]
        self.fault_count += len(faults)


class RecordError(ValueError):
    """A line that is not a valid record; the text says why and what to write instead."""

    def __init__(self, reason: str, record_id: str | None = None) -> None:
        # The reason may quote the line, and is stored in a row and a rejection report.
        super().__init__(reason.encode("utf-8", "replace").decode())
        self.record_id = None if record_id is None else record_id[:MAX_REPORTED_ID]


def lines(
    blocks: Iterable[bytes], max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[tuple[bytes | None, int]]:
    r"""Yields each line of a stream of blocks without its ``\n``, and the line's length including it.

    A line that is longer than ``max_line_bytes`` is yielded as None. Splits only at ``\n``, because U+0085
    and U+2028 are ordinary characters in a JSON string. A last line without ``\n`` is yielded unless empty.
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
    raise RecordError(f"{name} is not valid JSON: write null or a number instead")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise RecordError(f"the number {text[:40]} is out of range for a double: write a smaller number")
    return value


# One decoder for all lines: json.loads with parse_constant creates a decoder on every call.
_decode = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite).decode
_decode_pairs = json.JSONDecoder(object_pairs_hook=list).decode
# A string, even if truncated, or a bracket.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{}\[\]]')


def parse_line(raw: bytes) -> dict[str, Any]:
    """Parses one line as a JSON object. Raises RecordError with the reason and its position in the line."""
    if len(raw) - len(raw.translate(None, b"[{")) > MAX_DEPTH:
        _check_nesting(raw)
    try:
        value = _decode(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        place = f"byte {error.start + 1} of the line"
        raise RecordError(f"not valid UTF-8 at {place}: save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" at")
        raise RecordError(f"not valid JSON: {what} at character {error.pos + 1} of the line") from None
    except RecordError:
        raise
    except ValueError:
        # Python refuses to parse integers of more than 4,300 digits.
        raise RecordError("a number has too many digits: write a smaller number") from None
    if not isinstance(value, dict):
        raise RecordError(
            f"must be a JSON object, not {_kind(value)}: write one per line, such as {_EXAMPLE}"
        )
    body = raw.find(b'"modelInput"')
    if body != raw.rfind(b'"modelInput"'):
        _check_once(raw, "modelInput")
    # If the line ends with an object, that is the modelInput, and a second recordId can only precede it.
    end = body if len(value) == _OWN_KEYS and raw.endswith(b"}}") else len(raw)
    if raw.find(b'"recordId"', raw.find(b'"recordId"') + 1, end) >= 0:
        _check_once(raw, "recordId")
    return value


def _check_nesting(raw: bytes) -> None:
    """Raises RecordError if parsing a line would take too much stack or memory."""
    depth = nested = 0
    for token in _TOKEN.finditer(raw):
        if token[0] in b"{[":
            depth, nested = depth + 1, nested + 1
            if depth > MAX_DEPTH:
                raise RecordError(f"nested too deeply: use at most {MAX_DEPTH} levels")
            if nested > MAX_NESTED:
                raise RecordError(
                    f"more than {MAX_NESTED:,} arrays and objects: split it into several records"
                )
        elif token[0] in b"}]":
            depth -= 1


def _check_once(raw: bytes, name: str) -> None:
    """Raises RecordError if a line has a key more than once: parsers differ in which value they use."""
    if [key for key, _ in _decode_pairs(raw.decode("utf-8"))].count(name) > 1:
        raise RecordError(f"{name} appears more than once in the line: keep one of them")


_OWN_KEYS = 2  # recordId and modelInput
_EXAMPLE = '{"recordId": "…", "modelInput": {…}}'


def record_id(record: dict[str, Any]) -> str:
    """Returns the ``recordId`` of a record. Raises RecordError if the record is not well-formed."""
    identifier = record.get("recordId")
    if identifier is None:
        raise RecordError("recordId is missing: give each record a string that is unique in the file")
    if not isinstance(identifier, str) or not identifier:
        raise RecordError(f"recordId must be a non-empty string, not {_kind(identifier)}")
    if not identifier.isascii():
        try:
            identifier.encode("utf-8")
        except UnicodeEncodeError:
            raise RecordError("recordId contains an unpaired surrogate: use valid Unicode text") from None
    body = record.get("modelInput")
    if not isinstance(body, dict):
        got = "but it is missing" if "modelInput" not in record else f"not {_kind(body)}"
        raise RecordError(f"modelInput must be an object, {got}", identifier)
    return identifier


def _kind(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
    if isinstance(value, str) and not value:
        return "an empty string"
    return "null" if value is None else names.get(type(value), "a number")


def scan(
    blocks: Iterable[bytes],
    limits: Limits,
    found: Scan | None = None,
    out_of_time: Callable[[], bool] = lambda: False,
    check: Callable[[bytes, str], bool] | None = None,
) -> Scan:
    """Validates an input line by line, and splits it into chunks at line boundaries.

    Each line holds one JSON object with a recordId and a modelInput. Blank lines, carriage returns at the end
    of a line and a byte-order mark at the start of the file are allowed; they set ``rewrite`` on their chunk.
    Blank lines before the first record of a chunk belong to no chunk, so every chunk has records.
    ``check`` is called with each record's line and recordId. It returns whether staging must change the line,
    which also sets ``rewrite``, or raises RecordError.

    To continue an earlier scan, pass it as ``found``, and ``blocks`` that begin at ``found.offset``. The scan
    stops at a chunk boundary, or among blank lines before a chunk, when ``out_of_time`` returns True;
    ``done`` is then False. The scan does not check that recordIds are unique: see ``duplicates.find``.
    """
    found = found or Scan()
    began = start = at = found.offset
    records, rewrite = 0, False
    marks: list[int] = []
    remembered = limits.recent
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
                found.recent.keep(remembered)
                return found
        at += length
        found.lines += 1
        if raw is None:
            most = f"{limits.line_bytes:,} bytes, the maximum: shorten the record"
            found.add(Fault(found.lines, f"longer than {most}"))
            continue
        line = tidy(raw, first=found.lines == 1)
        rewrite |= not line or line is not raw
        if not line:
            continue
        found.records += 1
        records += 1
        mark = 0
        try:
            identifier = record_id(parse_line(line))
            mark = found.ids.add(identifier)
            marks.append(mark)
            rewrite |= check is not None and check(line, identifier)
        except RecordError as error:
            found.add(Fault(found.lines, str(error), error.record_id))
        if remembered:
            found.recent.add(at, mark, remembered)
    if records:
        tail = Cut(start, at, records, rewrite, digest_sum(marks))
        found.cuts = with_tail(found.cuts, tail, limits, found.recent)
    found.recent = Recent()
    found.offset = at
    found.done = True
    if not found.records and not found.fault_count:
        found.add(Fault(0, "the file has no records: write one object per line, such as " + _EXAMPLE))
    return found


def tidy(raw: bytes, first: bool) -> bytes:
    """Returns a line without byte-order mark (``first`` line only) and carriage return, or b"" if blank.

    Returns the same object if there is nothing to remove.
    """
    line = raw.removeprefix(BYTE_ORDER_MARK) if first else raw
    line = line.removesuffix(b"\r")
    return b"" if line.isspace() else line


def tidied(blocks: Iterable[bytes]) -> Iterator[bytes]:
    r"""Yields the lines of a validated input after ``tidy``, each with one ``\n``, without blank lines."""
    for number, (raw, _) in enumerate(lines(blocks), start=1):
        line = tidy(raw or b"", first=number == 1)
        if line:
            yield line + b"\n"
