"""The JSONL reader: validates a batch inference input as a stream and splits it into chunks.

Memory is bounded by the longest line plus 8 bytes for each record, whatever the size of the input in bytes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import field
from io import BytesIO
from typing import Any, NoReturn

from .cutting import MAX_LINE_BYTES, Cut, Limits, Recent, with_tail
from .digests import Ids, digest, digest_of, digest_sum
from .records import dataclass

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE_END = ord("\n")
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

    def cut(self, start: int, end: int, records: int, rewrite: bool, marks: Sequence[int]) -> None:
        """Adds a chunk: bytes ``[start, end)``, and the digests of its recordIds."""
        self.cuts.append(Cut(start, end, records, rewrite, digest_sum(marks)))
        self.ids.add_digests(marks)

    def end(self, offset: int) -> None:
        """Ends the scan: the whole input of ``offset`` bytes was read."""
        self.recent = Recent()
        self.offset = offset
        self.done = True
        if not self.records and not self.fault_count:
            self.add(Fault(0, "the file has no records: write one object per line, such as " + _EXAMPLE))

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


def ended_lines(blocks: Iterable[bytes], max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[bytes | int]:
    r"""Yields each line of a stream of blocks with its ``\n``, which the last line may not have.

    In place of a line that is longer than ``max_line_bytes`` (without the ``\n``), yields its length in bytes
    (with the ``\n``). Splits only at ``\n``, because U+0085 and U+2028 are ordinary characters in a JSON
    string. Holds one block and one line in memory.
    """
    rest: list[bytes] = []
    held = 0
    for block in blocks:
        stream = BytesIO(block)
        if held:
            piece = stream.readline()
            held += len(piece)
            ended = piece.endswith(b"\n")
            if held - ended <= max_line_bytes:
                rest.append(piece)
            else:
                rest = []
            if not ended:
                continue
            yield b"".join(rest) if rest else held
            rest, held = [], 0
        # One by one: a line that is freed before the next one is made leaves its memory to it.
        for line in stream:
            if line[-1] == _LINE_END:
                yield line if len(line) <= max_line_bytes + 1 else len(line)
            else:
                held = len(line)
                rest = [line] if held <= max_line_bytes else []
    if held:
        yield b"".join(rest) if rest else held


def lines(
    blocks: Iterable[bytes], max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[tuple[bytes | None, int]]:
    r"""Yields each line of a stream of blocks without its ``\n``, and the line's length including it.

    A line that is longer than ``max_line_bytes`` is yielded as None. See ``ended_lines``.
    """
    for line in ended_lines(blocks, max_line_bytes):
        if isinstance(line, int):
            yield None, line
        else:
            yield line.removesuffix(b"\n"), len(line)


def _refuse_constant(name: str) -> NoReturn:
    raise RecordError(f"{name} is not valid JSON: write null or a number instead")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise RecordError(f"the number {text[:40]} is out of range for a double: write a smaller number")
    return value


# One decoder for all lines: json.loads with parse_constant creates a decoder on every call.
_decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
_decode = _decoder.decode
_raw_decode = _decoder.raw_decode
_decode_pairs = json.JSONDecoder(object_pairs_hook=list).decode
# A string, even if truncated, or a bracket.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{}\[\]]')
# How nearly every record begins: a recordId of printable ASCII without an escape sequence, and an object.
_USUAL_HEAD = re.compile(rb'\{"recordId": ?+"([ !#-\[\]-~]++)", ?+"modelInput": ?+(?=\{)')
_USUAL_TAIL = "}\n"
# A shorter line cannot be nested too deeply, as each level has two brackets.
_FLAT_BYTES = 2 * MAX_DEPTH
# Beyond this, to find a few brackets one by one is faster than to count them byte by byte.
_LONG_BYTES = 4_000
_FEW = 40


def usual_id(raw: bytes) -> bytes | None:
    r"""Returns the recordId of a line (with its ``\n``) that is a valid record and has the usual form.

    The usual form is ``{"recordId": "…", "modelInput": {…}}`` with no other key and no white space around
    it. None for any other line: ``parse_line`` and ``record_id`` tell what it is. Much faster than these:
    the text is read once, and because both keys have been seen, none of them can be there twice.
    """
    head = _USUAL_HEAD.match(raw)
    if head is None or (len(raw) > _FLAT_BYTES and _has_many_brackets(raw)):
        return None
    try:
        text = raw.decode()
        # The head is ASCII, so that its length in bytes is its length in characters.
        _, end = _raw_decode(text, head.end())
    except ValueError:
        return None
    return head[1] if text[end:] == _USUAL_TAIL else None


def _has_many_brackets(raw: bytes) -> bool:
    """Returns whether a line opens more arrays and objects than may be nested, in its strings too."""
    if len(raw) > _LONG_BYTES:
        few = 0
        for bracket in (b"{", b"["):
            at = raw.find(bracket)
            while at >= 0 and few < _FEW:
                few += 1
                at = raw.find(bracket, at + 1)
        if few < _FEW:
            return False
    return len(raw) - len(raw.translate(None, b"[{")) > MAX_DEPTH


def parse_line(raw: bytes) -> dict[str, Any]:
    """Parses one line as a JSON object. Raises RecordError with the reason and its position in the line."""
    if _has_many_brackets(raw):
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
    checked: bytes = b"",
) -> Scan:
    """Validates an input line by line, and splits it into chunks at line boundaries.

    Each line holds one JSON object with a recordId and a modelInput. Blank lines, carriage returns at the end
    of a line and a byte-order mark at the start of the file are allowed; they set ``rewrite`` on their chunk.
    Blank lines before the first record of a chunk belong to no chunk, so every chunk has records.
    ``check`` is called with the line and the recordId of each record whose line contains ``checked``. It
    returns whether staging must change the line, which also sets ``rewrite``, or raises RecordError.

    To continue an earlier scan, pass it as ``found``, and ``blocks`` that begin at ``found.offset``. The scan
    stops at a chunk boundary, or among blank lines before a chunk, when ``out_of_time`` returns True;
    ``done`` is then False. The scan does not check that recordIds are unique: see ``duplicates.find``.
    """
    found = found or Scan()
    began = start = at = found.offset
    records, rewrite = 0, False
    marks: list[int] = []
    remembered = limits.recent
    for line in ended_lines(blocks, limits.line_bytes):
        length = line if isinstance(line, int) else len(line)
        full = records >= limits.chunk_records or (records and at + length - start > limits.chunk_bytes)
        if full:
            found.cut(start, at, records, rewrite, marks)
            records, marks = 0, []
        if not records:
            found.offset = start = at
            rewrite = False
            if at > began and (full or found.lines % LINES_A_LOOK == 0) and out_of_time():
                found.recent.keep(remembered)
                return found
        at += length
        found.lines += 1
        mark: int | None
        if isinstance(line, int) or (check is not None and checked in line):
            identifier = None
        else:
            identifier = usual_id(line)
        if identifier is not None:
            mark = digest_of(identifier)
        else:
            blank, mark, changes = _examine(line, found, limits, check)
            rewrite |= changes
            if blank:
                continue
        records += 1
        found.records += 1
        if mark is not None:
            marks.append(mark)
        if remembered:
            found.recent.add(at, mark or 0, remembered)
    if records:
        found.cut(start, at, records, rewrite, marks)
        found.cuts = with_tail(found.cuts[:-1], found.cuts[-1], limits, found.recent)
    found.end(at)
    return found


def _examine(
    line: bytes | int, found: Scan, limits: Limits, check: Callable[[bytes, str], bool] | None
) -> tuple[bool, int | None, bool]:
    """Processes a line of ``ended_lines`` that may be anything, and adds its fault.

    Returns whether it is no record but blank or too long, the digest of its recordId if it has a valid one,
    and whether staging must change it.
    """
    if isinstance(line, int):
        most = f"{limits.line_bytes:,} bytes, the maximum: shorten the record"
        found.add(Fault(found.lines, f"longer than {most}"))
        return True, None, False
    raw = line.removesuffix(b"\n")
    record = tidy(raw, first=found.lines == 1)
    changes = not record or record is not raw
    if not record:
        return True, None, changes
    mark = None
    try:
        identifier = record_id(parse_line(record))
        mark = digest(identifier)
        changes |= check is not None and check(record, identifier)
    except RecordError as error:
        found.add(Fault(found.lines, str(error), error.record_id))
    return False, mark, changes


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
