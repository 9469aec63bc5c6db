"""Inputs and outputs as nobody should write them."""

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

from batch_queue.core import cutting, reading
from hypothesis import strategies as st


def row(identifier: str, value: str = '"x"') -> bytes:
    return f'{{"recordId": "{identifier}", "modelInput": {{"x": {value}}}}}'.encode()


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


# What a value inside of modelInput may be: accepted, refused, or not JSON at all.
VALUES = [
    '"\u2028\u2029\u0085\ufeff"',
    '"\\u0000\\ud83d\\ude00"',
    '"\\ud800"',
    '"\\udfff\\ud800"',
    "0.1234567890123456789012345",
    "-0.0",
    "1e308",
    "1e-999",
    "1e999",
    "-1e400",
    "1" + "0" * 400,
    "9" * 5_000,
    "NaN",
    "-Infinity",
    "01",
    '{"a": 1, "a": 2}',
    '{"recordId": "inner", "modelInput": {}}',
    '{"recordId": 1, "recordId": 2}',
    nested(reading.MAX_DEPTH - 2),
    nested(reading.MAX_DEPTH - 1),
    nested(980),
    "[" * 100_000,
    '{"x":' * 100_000,
    '"' + "[{" * 300 + '\\"' * 300 + '"',
    '"' + '\\"' * 300,
    '"\x00"',
    '"tab\there"',
]


LINES = [
    b"",
    b" \t ",
    b"\x0b\x0c",
    b"\r",
    b"\r\r",
    b"\x00",
    b"null",
    b"[]",
    b'"text"',
    b"{}",
    b"\xff\xfe",
    reading.BYTE_ORDER_MARK,
    reading.BYTE_ORDER_MARK + row("marked"),
    row("cr") + b"\r",
    row("cr-cr") + b"\r\r",
    row("spaces") + b"  ",
    row("two") + row("two"),
    row("a\\u0000b"),
    row("\\ud800"),
    row(""),
    row("same"),
    row("s\\u0061me"),
    "é".encode()[:1],
    row("cut")[:-1],
    row("cut-é")[:18],
    b'{"recordId": 1, "modelInput": {}}',
    b'{"recordId": null, "modelInput": {}}',
    b'{"recordId": "a", "modelInput": []}',
    b'{"recordId": "twice", "recordId": "once", "modelInput": {}}',
    b'{"recordId": "twice", "modelInput": {}, "modelInput": {"x": 1}}',
    b'{"modelInput": {"recordId": "x"}, "recordId": "turned", "more": [1e5]}',
    row("x" * 5_000),
    b"x" * 3_000,
]


GOOD = st.builds(
    lambda number, value: row(f"r{number}", value), st.integers(0, 60), st.sampled_from(["1", '"ä"'])
)


POISON = st.one_of(
    st.sampled_from(LINES),
    st.builds(lambda number, value: row(f"v{number}", value), st.integers(0, 60), st.sampled_from(VALUES)),
    st.binary(max_size=12),
    # A good line in which one byte is another one, or is missing.
    st.builds(
        lambda line, at, byte: line[: at % len(line)] + byte + line[at % len(line) + 1 :],
        GOOD,
        st.integers(0, 60),
        st.binary(max_size=2),
    ),
)


FILES = st.builds(
    lambda head, found, end, tail: head + end.join(found) + tail,
    st.sampled_from([b"", reading.BYTE_ORDER_MARK, b"\n\n", b"\r\n"]),
    st.lists(st.one_of(GOOD, GOOD, POISON), max_size=12),
    st.sampled_from([b"\n", b"\n", b"\r\n", b"\n\n", b"\n \n\n"]),
    st.sampled_from([b"", b"\n", b"\n\n\n", b"\r\n", b" "]),
)


LIMITS = cutting.Limits(3, 20_000, least_records=2, most_records=4, most_bytes=30_000, line_bytes=25_000)


def refuse(name: str) -> float:
    raise ValueError(name)


def depth_of(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


def flat(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from flat(inner)
    else:
        yield value


def content(raw: bytes, first: bool) -> bytes:
    """A line without what is no part of its record: b"" where it is blank."""
    line = raw.removeprefix(reading.BYTE_ORDER_MARK) if first else raw
    return line.removesuffix(b"\r") if line.strip() else b""


def told_plainly(line: bytes) -> str | None:
    """The recordId of a line, or None where it is not to be accepted."""
    pairs: list[list[tuple[str, Any]]] = []

    def keep(found: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs.append(found)
        return dict(found)

    try:
        value = json.loads(line.decode("utf-8"), parse_constant=refuse, object_pairs_hook=keep)
        if not isinstance(value, dict) or depth_of(value) > reading.MAX_DEPTH:
            return None
        if any(isinstance(each, float) and math.isinf(each) for each in flat(value)):
            return None
        keys = [key for key, _ in pairs[-1]]
        identifier, body = value["recordId"], value["modelInput"]
        identifier.encode("utf-8")
    except (ValueError, KeyError, AttributeError, RecursionError):
        return None
    if not identifier or not isinstance(body, dict):
        return None
    return identifier if keys.count("recordId") == keys.count("modelInput") == 1 else None


def oracle(data: bytes) -> tuple[list[int], list[bytes]]:
    """The numbers of the lines that are faults, and the lines of the records. Reads all at once."""
    faults, found = [], []
    seen: set[str] = set()
    for number, raw in enumerate(data.split(b"\n"), start=1):
        line = content(raw, number == 1)
        if len(raw) > LIMITS.line_bytes:
            faults.append(number)
        elif line:
            identifier = told_plainly(line)
            if identifier is None or identifier in seen:
                faults.append(number)
            else:
                found.append(line)
                seen.add(identifier)
    return faults or ([] if found else [0]), found


def other(line: bytes, **changes: Any) -> bytes:
    return json.dumps({**json.loads(line), **changes}).encode()


def without(line: bytes, name: str) -> bytes:
    return json.dumps({key: value for key, value in json.loads(line).items() if key != name}).encode()


def failed(line: bytes, error: Any) -> bytes:
    return json.dumps({"recordId": json.loads(line)["recordId"], "modelInput": {}, "error": error}).encode()


MANY = json.dumps({"recordId": "r1", "modelOutput": {"usage": {"input_tokens": 10**60, "output_tokens": -5}}})


OUTPUTS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "truncated": lambda rows: [*rows[:-1], rows[-1][:-20]],
    "blank lines": lambda rows: [b"", *rows, b"", b" \t", b"\r"],
    "carriage returns": lambda rows: [line + b"\r" for line in rows],
    "nothing": lambda rows: rows[:0],
    "doubled": lambda rows: [*rows, *rows],
    "doubled with another answer": lambda rows: [*rows, other(rows[0], modelOutput={})],
    "unknown": lambda rows: [*rows, other(rows[0], recordId="stranger")],
    "unknown instead of one": lambda rows: [*rows[1:], other(rows[0], recordId="stranger")],
    "unknown surrogate": lambda rows: [*rows[1:], other(rows[0], recordId="\ud800")],
    "unknown number": lambda rows: [*rows[1:], other(rows[0], recordId=1)],
    "no recordId": lambda rows: [*rows[1:], without(rows[0], "recordId")],
    "recordId is null": lambda rows: [*rows, other(rows[0], recordId=None)],
    "no answer": lambda rows: [*rows[1:], without(rows[0], "modelOutput")],
    "error is a text": lambda rows: [failed(rows[0], "no"), *rows[1:]],
    "error is a list": lambda rows: [failed(rows[0], [1]), *rows[1:]],
    "error is empty": lambda rows: [failed(rows[0], {}), *rows[1:]],
    "error is null and no answer": lambda rows: [failed(rows[0], None), *rows[1:]],
    "code is an object": lambda rows: [failed(rows[0], {"errorCode": {"a": 1}}), *rows[1:]],
    "code is empty": lambda rows: [failed(rows[0], {"errorCode": ""}), *rows[1:]],
    "code is superscript": lambda rows: [failed(rows[0], {"errorCode": "²"}), *rows[1:]],
    "code is huge": lambda rows: [failed(rows[0], {"errorCode": "9" * 5_000}), *rows[1:]],
    "code is long": lambda rows: [failed(rows[0], {"errorCode": 10**4_200}), *rows[1:]],
    "code is a surrogate": lambda rows: [failed(rows[0], {"errorCode": "\ud800"}), *rows[1:]],
    "tokens beyond all numbers": lambda rows: [MANY.encode(), *rows[2:], rows[0]],
    "not UTF-8": lambda rows: [b"\xff" + rows[0], *rows[1:], b"\xff\xfe"],
    "not objects": lambda rows: [*rows, b"[]", b"null", b"7", b"{"],
    "nested deeply": lambda rows: [*rows, b"[" * 100_000],
    "number of many digits": lambda rows: [
        *rows[1:],
        rows[0].replace(b'"modelOutput":', b'"n": ' + b"9" * 5_000 + b',"modelOutput":'),
    ],
    "huge line": lambda rows: [rows[0][:-1] + b" " * 200_000 + b"}", *rows[1:]],
}


MANIFESTS: dict[str, bytes | None] = {
    "missing": None,
    "empty": b"",
    "not JSON": b"{",
    "not UTF-8": b"\xff",
    "a list": b"[1]",
    "texts": b'{"totalRecordCount": "many", "inputTokenCount": "\xc2\xb2"}',
    "objects": b'{"totalRecordCount": {}, "successRecordCount": [], "errorRecordCount": true}',
    "beyond all numbers": b'{"totalRecordCount": 1e999, "successRecordCount": ' + b"9" * 60 + b"}",
    "deep": b"[" * 100_000,
}
