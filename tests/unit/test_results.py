"""Counting outputs, and how uploads end."""

import json

import pytest
from batch_queue import results
from batch_queue.model import Status
from batch_queue.results import Outcome, Tally

pytestmark = pytest.mark.unit


def test_answers_and_errors_are_told_apart_and_errors_counted_by_code() -> None:
    lines = [
        {"recordId": "a", "modelInput": {}, "modelOutput": {"x": 1}},
        {"recordId": "b", "modelInput": {}, "error": {"errorCode": 400, "errorMessage": "no"}},
        {"recordId": "c", "modelInput": {}, "error": {"errorCode": 400, "errorMessage": "no"}},
        {"recordId": "d", "modelInput": {}, "error": {}},
        {"recordId": "e", "modelInput": {}},
    ]
    found = results.tally([b"\n".join(json.dumps(line).encode() for line in lines)])
    assert (found.success, found.error) == (1, 4)
    assert found.errors_by_code == {"400": 2, "unknown": 2}


@pytest.mark.parametrize("line", [b"[]", b"{", b"\xff", b"[" * 100_000])
def test_an_output_line_that_cannot_be_read_is_an_error_of_its_own(line: bytes) -> None:
    found = results.tally([line, b"\n", b'{"recordId": "a", "modelOutput": {}}'])
    assert (found.success, found.error) == (1, 1)
    assert found.errors_by_code == {"unreadable": 1}


def counted(success: int, error: int) -> Tally:
    found = Tally(success, error)
    if error:
        found.errors_by_code["400"] = error
    return found


@pytest.mark.parametrize(
    ("job", "found", "status", "words"),
    [
        pytest.param(Status.COMPLETED, counted(10, 0), Status.COMPLETED, "", id="all succeeded"),
        pytest.param(
            Status.COMPLETED, counted(7, 3), Status.PARTIALLY_COMPLETED, "3 of 10 records failed", id="some"
        ),
        pytest.param(
            Status.COMPLETED, counted(0, 10), Status.FAILED, "10 of 10 records failed", id="hidden failure"
        ),
        pytest.param(
            Status.COMPLETED, counted(9, 0), Status.PARTIALLY_COMPLETED, "lacks 1 of 10", id="one missing"
        ),
        pytest.param(Status.COMPLETED, None, Status.FAILED, "lacks 10 of 10", id="no output at all"),
        pytest.param(
            Status.PARTIALLY_COMPLETED, counted(4, 0), Status.PARTIALLY_COMPLETED, "6 of 10", id="partial"
        ),
        pytest.param(
            Status.EXPIRED, counted(4, 0), Status.EXPIRED, "6 of 10 records were not run", id="expired"
        ),
        pytest.param(Status.STOPPED, None, Status.STOPPED, "10 of 10 records were not run", id="stopped"),
        pytest.param(Status.FAILED, None, Status.FAILED, "", id="failed"),
    ],
)
def test_the_counts_decide_how_a_chunk_ends(
    job: Status, found: Tally | None, status: Status, words: str
) -> None:
    ended = results.outcome(10, job, "", found)
    assert ended.status == status
    assert words in ended.message


def test_bedrocks_own_words_come_first() -> None:
    assert results.outcome(10, Status.FAILED, "Bedrock says no.", None).message == "Bedrock says no."


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        ([Status.COMPLETED], Status.COMPLETED),
        ([Status.COMPLETED, Status.EXPIRED], Status.PARTIALLY_COMPLETED),
        ([Status.EXPIRED, Status.EXPIRED], Status.EXPIRED),
        ([Status.FAILED, Status.EXPIRED], Status.FAILED),
    ],
)
def test_an_upload_ends_as_its_chunks_do(statuses: list[Status], status: Status) -> None:
    outcomes = [Outcome(one, 5 if one == Status.COMPLETED else 0, 0, "") for one in statuses]
    assert results.combine(outcomes).status == status


def test_a_manifest_is_read_with_missing_counts_as_zero() -> None:
    found = results.manifest({"totalRecordCount": 5, "successRecordCount": 4, "inputTokenCount": 90})
    assert (found.records, found.success, found.error, found.input_tokens) == (5, 4, 0, 90)
