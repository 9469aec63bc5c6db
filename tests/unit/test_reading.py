"""Reading and validating inputs."""

import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import pytest
from batch_queue.core import cutting, digests, duplicates, reading
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.unit


def record(number: int = 1, **changes: object) -> bytes:
    return json.dumps({"recordId": f"r{number}", "modelInput": {"n": number}} | changes).encode()


LIMITS = cutting.Limits(chunk_records=1000, chunk_bytes=10**9)


def cut(data: bytes, block: int) -> list[bytes]:
    return [data[at : at + block] for at in range(0, len(data), block)]


def scan(data: bytes, block: int = 7, limits: cutting.Limits = LIMITS) -> reading.Scan:
    """Reads all of it, a second time for doubled recordIds where there may be some."""
    found = reading.scan(cut(data, block), limits)
    if suspects := found.ids.twice(1000):
        found.merge(duplicates.find(cut(data, block), duplicates.Duplicates(suspects), limits).faults)
    return found


def untidy(found: reading.Scan) -> bool:
    return any(one.rewrite for one in found.cuts)


def test_a_good_file_has_its_records_counted_and_no_faults() -> None:
    found = scan(b"\n".join(record(n) for n in range(5)) + b"\n")
    assert (found.records, found.fault_count, untidy(found)) == (5, 0, False)


def test_a_last_line_without_a_line_end_counts() -> None:
    assert scan(record(1) + b"\n" + record(2)).records == 2


@pytest.mark.parametrize(
    ("data", "records"),
    [
        pytest.param(b"\xef\xbb\xbf" + record(), 1, id="byte-order mark"),
        pytest.param(record(1) + b"\r\n" + record(2) + b"\r\n", 2, id="carriage returns"),
        pytest.param(record(1) + b"\n\n" + record(2), 2, id="an empty line"),
        pytest.param(record(1) + b"\n  \t\n" + record(2), 2, id="a line of white space"),
        pytest.param(record(1) + b"\n\n", 1, id="an empty line at the end"),
    ],
)
def test_what_is_no_fault_but_needs_tidying_is_marked_for_it(data: bytes, records: int) -> None:
    found = scan(data)
    assert (found.records, found.fault_count, untidy(found)) == (records, 0, True)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param(b"{", "not valid JSON", id="broken"),
        pytest.param(b"[1]", "must be a JSON object, not an array", id="array"),
        pytest.param(b"7", "must be a JSON object, not a number", id="number"),
        pytest.param(b'"x"', "must be a JSON object, not a string", id="text"),
        pytest.param(b"null", "must be a JSON object, not null", id="null"),
        pytest.param(b'{"recordId": "a"}', "modelInput must be an object, but it is missing", id="no input"),
        pytest.param(record(modelInput="x"), "modelInput must be an object, not a string", id="text input"),
        pytest.param(record(modelInput=None), "modelInput must be an object, not null", id="null input"),
        pytest.param(b'{"modelInput": {}}', "recordId is missing", id="no id"),
        pytest.param(record(recordId=7), "recordId must be a non-empty string, not a number", id="number id"),
        pytest.param(record(recordId=""), "recordId must be a non-empty string", id="empty id"),
        pytest.param(
            b'{"recordId": "\\ud800", "modelInput": {}}', "an unpaired surrogate", id="surrogate id"
        ),
        pytest.param(
            b'{"recordId": "a\xff", "modelInput": {}}', "not valid UTF-8 at byte 16", id="not UTF-8"
        ),
        pytest.param(b'{"recordId": "a', "not valid JSON", id="cut off"),
        pytest.param("é".encode()[:1], "not valid UTF-8 at byte 1", id="cut character"),
        pytest.param(b'{"recordId":"a","modelInput":{"x":NaN}}', "NaN is not valid JSON", id="NaN"),
        pytest.param(
            b'{"recordId":"a","modelInput":{"x":' + b"9" * 5000 + b"}}", "too many digits", id="digits"
        ),
        pytest.param(b'{"recordId":"a","modelInput":' + b'{"x":' * 200_000, "nested too deeply", id="deep"),
        pytest.param(b'{"recordId":"a\x00","modelInput":{}}', "not valid JSON", id="NUL in a text"),
        pytest.param(record().decode().encode("utf-16"), "not valid UTF-8", id="UTF-16"),
    ],
)
def test_a_bad_line_is_a_fault_with_its_number_and_what_to_do(line: bytes, reason: str) -> None:
    found = scan(record(0) + b"\n" + line + b"\n" + record(2), block=100_000)
    assert [(fault.line, reason in fault.reason) for fault in found.faults] == [(2, True)], found.faults


def test_a_record_id_that_stands_twice_is_a_fault_on_the_later_line() -> None:
    found = scan(record(1) + b"\n" + record(2) + b"\n" + record(1))
    assert [(fault.line, fault.record_id) for fault in found.faults] == [(3, "r1")]


def test_the_second_reading_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a file of doubled recordIds, and a reader that has time for a line or two
    monkeypatch.setattr(duplicates, "BYTES_A_LOOK", 1)
    rows = [record(n) for n in (1, 2, 3, 1, 4, 3, 1)]
    data = b"\xef\xbb\xbf" + b"\r\n\n".join(rows)
    expected = scan(data).faults
    found = duplicates.Duplicates(reading.scan([data], LIMITS).ids.twice(1000))
    runs = 0
    while not found.done:
        runs += 1
        # When each run gets what the one before it has stored
        found = duplicates.Duplicates.from_document(json.loads(json.dumps(found.to_document())))
        found = duplicates.find(cut(data[found.offset :], 7), found, LIMITS, lambda: True)
    # Then the faults are those of one reading
    assert found.faults == expected
    assert [fault.line for fault in found.faults] == [7, 11, 13]
    assert runs > 5


def test_of_millions_of_doubled_record_ids_only_some_are_looked_for() -> None:
    found = reading.scan([b"\n".join(record(n % 50) for n in range(100))], LIMITS)
    assert len(found.ids.twice(10)) == 10
    assert len(found.ids.twice(1000)) == 50


@pytest.mark.parametrize("separator", ["\u2028", "\u0085", "\x0b", "\x0c"])
def test_only_a_newline_ends_a_line(separator: str) -> None:
    text = json.dumps({"recordId": "a", "modelInput": {"t": f"x{separator}y"}}, ensure_ascii=False)
    if separator in "\x0b\x0c":  # control characters stand escaped in JSON
        assert "\\" in text
    assert scan(text.encode()).records == 1


@pytest.mark.parametrize("data", [b"", b"\n\n \r\n", b"\xef\xbb\xbf\n"])
def test_a_file_without_records_is_a_fault_of_the_whole_file(data: bytes) -> None:
    assert [fault.line for fault in scan(data).faults] == [0]


def test_only_the_first_hundred_faults_are_kept_and_all_are_counted() -> None:
    found = scan(b"x\n" * 250)
    assert (found.fault_count, len(found.faults)) == (250, 100)


def test_an_overlong_line_is_a_fault_and_the_lines_around_it_are_read() -> None:
    found = scan(record(1) + b"\n" + b"x" * 500 + b"\n" + record(2), limits=replace(LIMITS, line_bytes=100))
    assert (found.records, [fault.line for fault in found.faults]) == (2, [2])


def test_an_overlong_line_is_not_held_in_memory() -> None:
    tracemalloc.start()
    try:
        list(reading.lines((b"x" * 1000 for _ in range(20_000)), max_line_bytes=10_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


@given(
    st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=8), st.integers(1, 9)
)
def test_lines_are_those_of_a_plain_split_however_the_stream_is_cut(
    given_lines: list[bytes], block: int
) -> None:
    data = b"\n".join(given_lines)
    blocks = [data[at : at + block] for at in range(0, len(data), block)]
    expected = data.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    found = list(reading.lines(blocks))
    assert [raw for raw, _ in found] == expected
    assert sum(length for _, length in found) == len(data)


@given(st.binary(max_size=200), st.integers(1, 9))
def test_any_bytes_are_either_rejected_or_all_records_are_counted(data: bytes, block: int) -> None:
    found = scan(data, block)
    assert found.offset == len(data)
    assert found.done
    assert found.fault_count or found.records


@given(
    st.lists(
        st.dictionaries(st.text(max_size=4), st.text() | st.integers() | st.none(), max_size=3),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([b"\n", b"\r\n", b"\n\n", b" \r\n"]),
    st.booleans(),
)
def test_tidying_keeps_every_record_and_leaves_nothing_else(
    bodies: list[dict[str, object]], end: bytes, mark: bool
) -> None:
    records = [{"recordId": str(n), "modelInput": body} for n, body in enumerate(bodies)]
    raw = end.join(json.dumps(record, ensure_ascii=True).encode() for record in records) + end
    data = (reading.BYTE_ORDER_MARK if mark else b"") + raw
    assert not scan(data).fault_count
    tidied = b"".join(reading.tidied([data]))
    assert [json.loads(line) for line in tidied.split(b"\n")[:-1]] == records
    assert not untidy(reading.scan([tidied], LIMITS))


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=30),
    st.integers(1, 5),
    st.integers(40, 200),
    st.integers(1, 3),
    st.integers(1, 50),
)
def test_cuts_are_whole_lines_that_cover_the_file_and_keep_the_limits(
    sizes: list[int], chunk_records: int, chunk_bytes: int, least: int, block: int
) -> None:
    rows = [record(n, modelInput={"x": "y" * size}) for n, size in enumerate(sizes)]
    data = b"\n".join(rows) + b"\n"
    limits = cutting.Limits(chunk_records, chunk_bytes, least, most_records=8, most_bytes=400)
    found = reading.scan(cut(data, block), limits)

    assert [one.start for one in found.cuts] == [0, *(one.end for one in found.cuts[:-1])]
    assert found.cuts[-1].end == len(data)
    assert sum(one.records for one in found.cuts) == len(rows)
    for one in found.cuts:
        assert data[one.start : one.end].endswith(b"\n")
        assert data[one.start : one.end].count(b"\n") == one.records
    for one in found.cuts[:-1]:
        assert one.records <= chunk_records
        assert one.records == 1 or one.end - one.start <= chunk_bytes
    last = found.cuts[-1]
    assert last.records <= max(chunk_records, 8)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=30), st.integers(1, 4), st.integers(1, 30))
def test_a_reading_that_is_cut_off_goes_on_as_if_it_had_not_been(
    sizes: list[int], chunk_records: int, block: int
) -> None:
    rows = [record(n % 20, modelInput={"x": "y" * size}) for n, size in enumerate(sizes)]
    rows[len(rows) // 2] = b"{broken"
    data = b"\xef\xbb\xbf" + b"\r\n".join(rows)
    limits = cutting.Limits(chunk_records, 10**6)
    whole = reading.scan(cut(data, block), limits)

    found = reading.Scan()
    rounds = 0
    while not found.done:
        document = json.loads(json.dumps(found.to_document()))
        ids = digests.Ids.from_bytes(cut(b"".join(found.ids.to_bytes()), 3))
        found = reading.Scan.from_document(document, ids)
        found = reading.scan(cut(data[found.offset :], block), limits, found, out_of_time=lambda: True)
        rounds += 1
        assert rounds <= len(rows) + 1
    assert found.to_document() == whole.to_document()
    assert sorted(found.ids.to_bytes()) == sorted(whole.ids.to_bytes())


def test_reading_a_large_input_takes_little_memory() -> None:
    line = record(0, modelInput={"x": "y" * 5_000})

    def blocks() -> Iterator[bytes]:
        for number in range(20_000):
            yield line.replace(b'"r0"', f'"r{number}"'.encode()) + b"\n"

    tracemalloc.start()
    try:
        found = reading.scan(blocks(), LIMITS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (found.records, found.offset) == (20_000, sum(len(block) for block in blocks()))
    assert peak < 2_000_000, "100 MB were read"


@pytest.mark.parametrize(
    "line",
    [
        b'{"recordId": "a", "recordId": "b", "modelInput": {"x": 1}}',
        b'{"recordId": "a", "modelInput": {"x": 1}, "recordId": "b"}',
        b'{"recordId": "a", "modelInput": {"x": 1}, "recordId": "b", "more": {"y": 1}}',
        b'{"modelInput": {"x": 1}, "recordId": "a", "recordId": "b"}',
    ],
)
def test_a_second_record_id_is_a_fault_wherever_it_stands(line: bytes) -> None:
    with pytest.raises(reading.RecordError, match="recordId appears more than once"):
        reading.parse_line(line)


def test_a_record_id_within_the_model_input_is_none_of_ours() -> None:
    line = b'{"recordId": "a", "modelInput": {"recordId": "b", "x": {"recordId": "c"}}}'
    assert reading.parse_line(line)["recordId"] == "a"
