"""Inputs and outputs as nobody should write them: rejected clearly or run rightly, never stuck."""

import json
import tracemalloc
from collections.abc import Iterator

import pytest
from batch_queue.core import cutting, digests, duplicates, outputs, reading
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.poison import FILES, LIMITS, MANIFESTS, OUTPUTS, nested, oracle, refuse, row
from tests.support.world import lines, records

pytestmark = pytest.mark.unit


def blocks(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def whole(data: bytes, size: int) -> reading.Scan:
    """Reads a file as the queue does: once, and a second time where recordIds seem to be doubled."""
    found = reading.scan(blocks(data, size), LIMITS)
    if suspects := found.ids.twice(1000):
        found.merge(duplicates.find(blocks(data, size), duplicates.Duplicates(suspects), LIMITS).faults)
    return found


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
        between = data[reached : cut.start]
        blank = between if reached else between.removeprefix(reading.BYTE_ORDER_MARK)
        assert not blank.strip(), "what lies between two cuts is blank"
        reached = cut.end
        piece = data[cut.start : cut.end]
        tidied = b"".join(reading.tidied(blocks(piece, block)))
        assert cut.rewrite or tidied.removesuffix(b"\n") == piece.removesuffix(b"\n")
        assert tidied.count(b"\n") == cut.records > 0
        marks = [digests.digest(record["recordId"]) for _, record in outputs.unanswered([tidied], ())]
        assert (len(marks), digests.digest_sum(marks)) == (cut.records, cut.ids)
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
        found = reading.Scan.from_document(document, digests.Ids.from_bytes(found.ids.to_bytes()))
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
    limits = cutting.Limits(chunk_records=100, chunk_bytes=10**8)
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
    limits = cutting.Limits(chunk_records=100, chunk_bytes=10**8)
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


LIMITS_OF_LAMBDA = cutting.Limits(chunk_records=1000, chunk_bytes=10**8)


@pytest.mark.parametrize("opened", ["[", '{"x":', '[{"x":', '["', '"\\"', '\\"'])
def test_a_line_nested_100_000_deep_raises_nothing_and_takes_no_time(opened: str) -> None:
    found = reading.scan([row("a") + b"\n" + row("b", nested(201) + opened * 100_000)], LIMITS_OF_LAMBDA)
    assert [fault.line for fault in found.faults] == [2]


@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b" \n"])
def test_blank_lines_are_no_chunk_and_make_none_too_large(blank: bytes) -> None:
    limits = cutting.Limits(2, 300, least_records=2, most_records=3, most_bytes=400)
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


@pytest.mark.parametrize("ending", [b"", b"\n"])
@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_of_whatever_bedrock_writes_each_record_stands_or_runs_again(
    name: str, ending: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "MAX_OUTPUT_LINE_BYTES", 100_000)
    staged = lines(records(4))
    known = {digests.digest(f"r{number}") for number in range(4)}
    answers = [json.dumps({**each, "modelOutput": {"n": 1}}).encode() for each in records(4)]
    output = blocks(b"\n".join(OUTPUTS[name](answers)) + ending, 7)

    tally = outputs.tally(output, may_run_again=False)
    exact = tally.is_of(4, digests.digest_sum(known))
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


@pytest.mark.parametrize("name", sorted(MANIFESTS))
def test_a_manifest_that_cannot_be_read_says_nothing(name: str) -> None:
    found = outputs.manifest(MANIFESTS[name] or b"")
    assert found in {None, outputs.Manifest()}
