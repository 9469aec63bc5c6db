"""Where uploads are cut, so that a job can be made of each chunk."""

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from batch_queue.core import cutting, digests, reading
from batch_queue.core.admission import chunk_limits
from hypothesis import given
from hypothesis import strategies as st

from tests.support.routes import configured

pytestmark = pytest.mark.unit


def limits(least: int, most: int, file: int = 50_000) -> cutting.Limits:
    return chunk_limits(
        configured(
            "default",
            "amazon.nova-lite-v1:0",
            min_records_per_job=least,
            max_records_per_job=most,
            max_records_per_file=file,
        )
    )


def rows(count: int, gap: bytes = b"") -> list[bytes]:
    return [b'{"recordId":"%d","modelInput":{}}\n' % number + gap for number in range(count)]


def sizes(count: int, found: cutting.Limits) -> list[int]:
    return [cut.records for cut in reading.scan(rows(count), found).cuts]


@pytest.mark.parametrize(
    ("count", "least", "most", "expected"),
    [
        (105, 50, 100, [53, 52]),
        (205, 60, 100, [69, 68, 68]),
        (9_905, 99, 100, [100] * 5 + [99] * 95),
        (105, 100, 100, [100, 5]),  # no two jobs can be made of them
        (150, 100, 120, [120, 30]),
        (115, 10, 110, [58, 57]),
        (50_005, 100, 50_000, [5_000] * 9 + [5_005]),
    ],
)
def test_an_upload_is_cut_so_that_each_chunk_can_be_a_job(
    count: int, least: int, most: int, expected: list[int]
) -> None:
    assert sizes(count, limits(least, most)) == expected


@given(st.integers(1, 400), st.integers(1, 60), st.integers(0, 60), st.integers(1, 1_000), st.integers(0, 3))
def test_no_chunk_is_below_the_minimum_where_that_is_possible(
    count: int, least: int, above: int, file: int, stops: int
) -> None:
    most = least + above
    found = limits(least, most, file=max(least, file))
    most = found.most_records
    data = rows(count)
    cuts = scanned(data, found, stops)
    # Then the chunks are consecutive lines, each with its own records
    assert [cut.start for cut in cuts] == [0, *(cut.end for cut in cuts[:-1])]
    at = 0
    for cut in cuts:
        own = data[at : at + cut.records]
        assert (cut.start, cut.end) == (len(b"".join(data[:at])), len(b"".join(data[: at + cut.records])))
        assert cut.ids == digests.digest_sum(digests.digest(json.loads(row)["recordId"]) for row in own)
        at += cut.records
    assert at == count
    # And none is too large, or too small for a job if the records can be shared out to jobs at all
    assert all(cut.records <= most for cut in cuts)
    possible = -(-count // most) * least <= count
    assert all(cut.records >= least for cut in (cuts if possible else cuts[:-1]))


def scanned(data: list[bytes], found: cutting.Limits, stops: int) -> list[cutting.Cut]:
    """The cuts of a reading that is interrupted at so many boundaries."""
    body = b"".join(data)
    scan = reading.Scan()
    while not scan.done:
        document = json.loads(json.dumps(scan.to_document()))
        scan = reading.Scan.from_document(document, scan.ids)
        left = [stops]

        def out_of_time(left: list[int] = left) -> bool:
            left[0] -= 1
            return left[0] >= 0

        scan = reading.scan([body[scan.offset :]], found, scan, out_of_time)
        stops = max(0, stops - 1)
    return scan.cuts


def test_chunks_that_are_cut_anew_are_tidied_if_one_of_them_was() -> None:
    data = rows(101)
    data[50] = b"\r\n" + data[50]
    found = reading.scan(data, limits(40, 100))
    assert [(cut.records, cut.rewrite) for cut in found.cuts] == [(51, True), (50, True)]
    body = b"".join(data)
    tidied = [b"".join(reading.tidied([body[cut.start : cut.end]])) for cut in found.cuts]
    assert b"".join(tidied) == b"".join(rows(101))


def test_chunks_are_not_cut_anew_beyond_the_bytes_of_a_file() -> None:
    wide = [b'{"recordId":"%d","modelInput":{"x":"%s"}}\n' % (n, b"x" * 1_000) for n in range(105)]
    found = cutting.Limits(100, 10**9, least_records=50, most_records=100, most_bytes=50_000)
    assert [cut.records for cut in reading.scan(wide, found).cuts] == [100, 5]


def test_a_reading_of_an_older_version_goes_on() -> None:
    document: dict[str, Any] = reading.Scan().to_document()
    del document["recent"]
    assert reading.Scan.from_document(document, digests.Ids()).recent == cutting.Recent()


def test_what_may_be_cut_anew_takes_little_memory() -> None:
    found = limits(49_999, 50_000, file=500_000)
    assert found.recent == cutting.MAX_RECENT

    def blocks() -> Iterator[bytes]:
        for number in range(150_000):
            yield b'{"recordId":"%d","modelInput":{}}\n' % number

    tracemalloc.start()
    try:
        reading.scan(blocks(), found)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16_000_000
