"""Inputs and outputs as nobody should write them: rejected clearly or run rightly, never stuck."""

import json
import math
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from batch_queue.core import outputs, reading
from batch_queue.core.rows import TERMINAL, Route, Status, Upload
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.world import HAIKU, Call, World, lines, records

pytestmark = pytest.mark.unit

# ------------------------------------------------------------------------------------- files made of pieces


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
LIMITS = reading.Limits(3, 20_000, least_records=2, most_records=4, most_bytes=30_000, line_bytes=25_000)


# ---------------------------------------------------------------------------- the same, told line by line


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


def blocks(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def whole(data: bytes, size: int) -> reading.Scan:
    """Reads a file as the queue does: once, and a second time where recordIds seem to be doubled."""
    found = reading.scan(blocks(data, size), LIMITS)
    if suspects := found.ids.twice():
        twice = reading.doubled(blocks(data, size), suspects, LIMITS)
        found.faults = sorted((*found.faults, *twice.faults), key=lambda fault: fault.line)
        found.fault_count += twice.fault_count
    return found


# ------------------------------------------------------------------------------------------------ the reader


@examples(400)
@given(FILES, st.integers(1, 4_000))
def test_a_file_has_the_faults_and_the_records_of_a_plain_reading(data: bytes, block: int) -> None:
    found = whole(data, block)
    faults, rows = oracle(data)
    assert [fault.line for fault in found.faults] == faults
    assert all(fault.reason for fault in found.faults)
    assert found.fault_count == len(faults)
    assert (found.done, found.offset) == (True, len(data))
    if faults:
        return
    pieces = []
    reached = 0
    for cut in found.cuts:
        assert not data[reached : cut.start].strip(), "what lies between two cuts is blank"
        reached = cut.end
        piece = data[cut.start : cut.end]
        tidied = b"".join(reading.tidied(blocks(piece, block)))
        assert cut.rewrite or tidied.removesuffix(b"\n") == piece.removesuffix(b"\n")
        assert tidied.count(b"\n") == cut.records > 0
        marks = [reading.digest(record["recordId"]) for _, record in outputs.unanswered([tidied], ())]
        assert (len(marks), reading.digest_sum(marks)) == (cut.records, cut.ids)
        pieces += tidied.split(b"\n")[:-1]
    assert not data[reached:].strip()
    assert pieces == rows


@examples(150)
@given(FILES, st.integers(1, 4_000), st.integers(1, 4_000))
def test_a_reading_comes_to_the_same_whatever_its_blocks_and_wherever_it_is_cut_off(
    data: bytes, one: int, other: int
) -> None:
    expected = reading.scan(blocks(data, one), LIMITS)
    found = reading.Scan()
    while not found.done:
        before = found.offset
        document = json.loads(json.dumps(found.to_document()))
        found = reading.Scan.from_document(document, reading.Ids.from_bytes(found.ids.to_bytes()))
        rest = data[found.offset :]
        assert rest or not data, "there is no reading on behind the last byte"
        found = reading.scan(blocks(rest, other), LIMITS, found, out_of_time=lambda: True)
        assert found.done or found.offset > before
    assert found.to_document() == expected.to_document()
    assert list(found.ids.to_bytes()) == list(expected.ids.to_bytes())


@examples(150)
@given(FILES, st.booleans())
def test_what_was_accepted_is_accepted_by_all_that_comes_after(data: bytes, may_run_again: bool) -> None:
    faults, rows = oracle(data)
    if faults:
        return
    staged = b"".join(line + b"\n" for line in rows)
    inputs = [record for _, record in outputs.unanswered([staged], ())]
    errors = [outputs.error_line(record, "500", "no") for record in inputs]
    for record, line in zip(inputs, errors, strict=True):
        read = json.loads(line.decode("utf-8"), parse_constant=refuse)
        assert read["modelInput"] == record["modelInput"]
        assert read["recordId"] == record["recordId"]
    answers = [outputs.to_line({**record, "modelOutput": {}}) for record in inputs[::2]]
    output = [*answers, *errors[1::2]]
    tally = outputs.tally(output, may_run_again)
    assert len(tally.seen) == len(inputs)
    stands = list(outputs.settled(output, tally.seen - tally.again))
    again = [record for _, record in outputs.unanswered([staged], tally.seen - tally.again)]
    assert len(stands) + len(again) == len(inputs)
    assert len(stands) == tally.success + tally.error


def big(number: int, size: int) -> Iterator[bytes]:
    yield row("before") + b'\n{"recordId": "big", "modelInput": {"x": "'
    for _ in range(number):
        yield b"x" * size
    yield b'"}}\n' + row("after")


def test_a_line_of_50_mb_is_a_fault_and_never_in_memory() -> None:
    limits = reading.Limits(chunk_records=100, chunk_bytes=10**8)
    tracemalloc.start()
    try:
        found = reading.scan(big(50_000, 1_000), limits)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [(fault.line, "longer than 25,100,000 bytes" in fault.reason) for fault in found.faults] == [
        (2, True)
    ]
    assert found.records == 2
    assert peak < 40_000_000


def test_the_longest_line_is_read_with_a_multiple_of_its_size() -> None:
    limits = reading.Limits(chunk_records=100, chunk_bytes=10**8)
    tracemalloc.start()
    try:
        found = reading.scan(big(25, 1_000_000), limits)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (found.records, found.fault_count) == (3, 0)
    assert peak < 160_000_000


@pytest.mark.parametrize("item", ["[]", "{}", '{"":0}', "[[0]]"])
def test_a_line_of_too_many_values_is_a_fault_before_it_fills_the_memory(
    item: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_NESTED", 5_000)
    line = row("a", "[" + ",".join([item] * 50_000) + "]")
    tracemalloc.start()
    try:
        found = reading.scan([line], LIMITS_OF_LAMBDA)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "more than 5,000 arrays and objects" in found.faults[0].reason
    assert peak < 2_000_000


LIMITS_OF_LAMBDA = reading.Limits(chunk_records=1000, chunk_bytes=10**8)


@pytest.mark.parametrize("opened", ["[", '{"x":', '[{"x":', '["', '"\\"', '\\"'])
def test_a_line_nested_100_000_deep_raises_nothing_and_takes_no_time(opened: str) -> None:
    found = reading.scan([row("a") + b"\n" + row("b", nested(201) + opened * 100_000)], LIMITS_OF_LAMBDA)
    assert [fault.line for fault in found.faults] == [2]


@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b" \n"])
def test_blank_lines_are_no_chunk_and_make_none_too_large(blank: bytes) -> None:
    limits = reading.Limits(2, 300, least_records=2, most_records=3, most_bytes=400)
    rows = [row(f"{number:02d}") for number in range(7)]
    data = blank * 500 + (b"\n" + blank * 500).join(rows) + b"\n" + blank * 500
    found = reading.scan([data], limits)
    assert found.fault_count == 0
    assert sum(cut.records for cut in found.cuts) == 7
    assert all(cut.records for cut in found.cuts)
    assert max(cut.end - cut.start for cut in found.cuts) <= 400


def test_blank_lines_alone_do_not_outlast_the_time_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LINES_A_LOOK", 100)
    data = b"\n" * 250 + row("a")
    first = reading.scan([data], LIMITS, out_of_time=lambda: True)
    assert (first.done, first.offset, first.lines) == (False, 100, 100)
    last = reading.scan([data[100:]], LIMITS, first)
    assert (last.done, last.records, last.lines) == (True, 1, 251)


# ---------------------------------------------------------------------------------- inputs in the whole queue

ROUTE = Route("default", HAIKU, min_records_per_job=1, max_record_attempts=2)
CONFIG = {"models": {"*": {"min_records": 1}}}


def report(world: World, upload: Upload) -> dict[str, Any]:
    body = world.s3.get_object(Bucket=world.bucket, Key=upload.result_key)["Body"].read()
    found: dict[str, Any] = json.loads(body.decode("utf-8"), parse_constant=refuse)
    return found


def strictly(world: World, upload: Upload) -> list[dict[str, Any]]:
    """The lines of a result as a strict reader of JSON sees them."""
    body = world.s3.get_object(Bucket=world.bucket, Key=upload.result_key, VersionId=upload.result_version_id)
    text = body["Body"].read().decode("utf-8")
    return [json.loads(line, parse_constant=refuse) for line in text.split("\n") if line]


def ends_rightly(world: World, upload: Upload, data: bytes) -> None:
    faults, rows = oracle(data)
    assert upload.status in TERMINAL
    if faults:
        assert upload.status == Status.REJECTED
        assert [fault["line"] for fault in report(world, upload)["faults"]] == faults[:100]
        return
    expected = {told_plainly(line): json.loads(line)["modelInput"] for line in rows}
    found = strictly(world, upload)
    assert Counter(each["recordId"] for each in found) == Counter(expected.keys())
    assert {each["recordId"]: each["modelInput"] for each in found} == expected
    assert upload.success_count + upload.error_count == len(rows)


@pytest.mark.parametrize("undersized", ["reject", "on_demand"])
@examples(2)
@given(files=st.lists(FILES, min_size=6, max_size=10))
def test_poisoned_files_are_rejected_or_run_and_hold_up_no_good_one(
    files: list[bytes], undersized: str
) -> None:
    least = 1 if undersized == "reject" else 1_000
    route = Route(
        "default",
        HAIKU,
        min_records_per_job=least,
        pack_wait_minutes=0,
        undersized=undersized,
        max_record_attempts=2,
    )
    with World.open(route, config=CONFIG) as world:
        rows = records(3, "good")
        good = world.upload("good.jsonl", lines(rows))
        poisoned = {world.upload(f"{number}.jsonl", data): data for number, data in enumerate(files)}
        world.run()
        upload = world.one_upload(good)
        assert (upload.status, upload.success_count) == (Status.COMPLETED, 3), upload.message
        for upload_id, data in poisoned.items():
            ends_rightly(world, world.one_upload(upload_id), data)
        assert not world.errors
        assert not world.dead_letters


@pytest.mark.parametrize(
    "fault", [{"outcome": "Expired", "fraction": 0}, {"outcome": "Failed", "message": "no"}]
)
def test_what_never_ran_stands_in_the_result_as_it_was_given(fault: dict[str, Any]) -> None:
    accepted = [value for value in VALUES if told_plainly(row("a", value))]
    data = b"\n".join(row(f"v{number}", value) for number, value in enumerate(accepted))
    with World.open(ROUTE, config={**CONFIG, "job_faults": [fault]}) as world:
        upload_id = world.upload("a.jsonl", data)
        world.run()
        upload = world.one_upload(upload_id)
        assert upload.error_count == len(accepted) > 10
        ends_rightly(world, upload, data)
        assert not world.errors


# --------------------------------------------------------------------------------- outputs in the whole queue


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


def output_keys(world: World, ending: str) -> list[str]:
    """The keys of what Bedrock wrote, by their ending."""
    found = world.s3.list_objects_v2(Bucket=world.bucket, Prefix="jobs/").get("Contents", [])
    return [each["Key"] for each in found if "/out/" in each["Key"] and each["Key"].endswith(ending)]


@pytest.mark.parametrize("ending", [b"", b"\n"])
@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_of_whatever_bedrock_writes_each_record_stands_or_runs_again(
    name: str, ending: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "MAX_OUTPUT_LINE_BYTES", 100_000)
    staged = lines(records(4))
    known = {reading.digest(f"r{number}") for number in range(4)}
    answers = [json.dumps({**each, "modelOutput": {"n": 1}}).encode() for each in records(4)]
    output = blocks(b"\n".join(OUTPUTS[name](answers)) + ending, 7)

    tally = outputs.tally(output, may_run_again=False)
    exact = tally.is_of(4, reading.digest_sum(known))
    assert exact is (tally.seen == known)
    if not exact:
        tally = outputs.tally(output, False, known)
    stands = list(outputs.settled(output, tally.seen))
    again = [record for _, record in outputs.unanswered([staged], tally.seen)]
    everyone = [json.loads(line)["recordId"] for line in stands] + [each["recordId"] for each in again]
    assert sorted(everyone) == ["r0", "r1", "r2", "r3"]
    assert len(stands) == tally.success + tally.error
    assert all(code.isascii() and len(code) <= 64 for code in tally.errors_by_code)
    assert 0 <= tally.input_tokens + tally.output_tokens < 10**18
    if exact and not tally.untidy:
        assert b"".join(output) == b"".join(stands), "the file is taken as it is"


WORST = [
    "truncated",
    "blank lines",
    "doubled",
    "unknown instead of one",
    "unknown surrogate",
    "no recordId",
    "code is superscript",
    "tokens beyond all numbers",
    "carriage returns",
]


def test_whatever_bedrock_writes_each_record_stands_once_in_the_result() -> None:
    # Two records make a chunk, so that results are put together of several outputs.
    route = replace(ROUTE, max_active_jobs=1, max_records_per_file=20)
    with World.open(route, config=CONFIG) as world:
        uploads = {name: world.upload(f"{name}.jsonl", lines(records(4))) for name in WORST}
        names = {upload_id: name for name, upload_id in uploads.items()}

        def before_collecting(call: Call) -> None:
            if call.function != "collect" or not names:
                return
            for key in output_keys(world, ".jsonl.out"):
                name = names.pop(key.rpartition("/")[2].partition("-")[0], "")
                if name:
                    body = world.s3.get_object(Bucket=world.bucket, Key=key)["Body"].read()
                    changed = OUTPUTS[name](body.split(b"\n")[:-1])
                    world.s3.put_object(Bucket=world.bucket, Key=key, Body=b"\n".join(changed))

        for event in list(world.events):
            world.invoke("create", event[3])
        world.events.clear()
        world.invoke("process", {})
        world.before = before_collecting
        world.run(steps=2_000)
        assert not names, "all of them were spoiled"
        assert not world.errors
        for name, upload_id in uploads.items():
            upload = world.one_upload(upload_id)
            assert upload.status in {Status.COMPLETED, Status.PARTIALLY_COMPLETED}, (name, upload.message)
            found = strictly(world, upload)
            assert sorted(each["recordId"] for each in found) == ["r0", "r1", "r2", "r3"], name
            answered = sum("modelOutput" in each for each in found)
            assert (upload.success_count, upload.error_count) == (answered, 4 - answered), name


@pytest.mark.parametrize("name", sorted(MANIFESTS))
def test_a_manifest_that_cannot_be_read_says_nothing(name: str) -> None:
    found = outputs.manifest(MANIFESTS[name] or b"")
    assert found in {None, outputs.Manifest()}


@pytest.mark.parametrize("name", ["missing", "not JSON"])
def test_a_job_is_collected_whatever_its_manifest_is(name: str) -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        upload_id = world.upload("a.jsonl", lines(records(2)))

        def before_collecting(call: Call) -> None:
            if call.function == "collect":
                for key in output_keys(world, "/manifest.json.out"):
                    world.s3.delete_object(Bucket=world.bucket, Key=key)
                    if (body := MANIFESTS[name]) is not None:
                        world.s3.put_object(Bucket=world.bucket, Key=key, Body=body)

        world.before = before_collecting
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED
        assert not world.errors
