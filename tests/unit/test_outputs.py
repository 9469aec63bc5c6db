"""Reading outputs, what runs again, one result out of many pieces, and how uploads end."""

import json
from typing import Any

import pytest
from batch_queue.core import answers, joining, outputs, reports
from batch_queue.core.digests import digest
from batch_queue.core.joining import MAX_PART_BYTES, MIN_PART_BYTES
from batch_queue.core.rows import Status
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.unit


def rows(*found: dict[str, Any]) -> list[bytes]:
    return [b"".join(json.dumps({"modelInput": {}, **row}).encode() + b"\n" for row in found)]


def good(name: str, **answer: Any) -> dict[str, Any]:
    return {"recordId": name, "modelOutput": answer}


def bad(name: str, code: Any) -> dict[str, Any]:
    return {"recordId": name, "error": {"errorCode": code, "errorMessage": "no"}}


def test_answers_and_errors_are_told_apart_and_errors_counted_by_code() -> None:
    found = outputs.tally(
        rows(good("a"), bad("b", 400), bad("c", 400), {"recordId": "d", "error": {}}, {"recordId": "e"}), True
    )
    assert (found.success, found.error) == (1, 4)
    assert found.errors_by_code == {"400": 2, "unknown": 2}
    assert not found.again


def test_records_that_failed_for_a_passing_reason_run_again_while_they_may() -> None:
    output = rows(good("a"), bad("b", 429), bad("c", 400), bad("d", "ThrottlingException"))
    found = outputs.tally(output, may_run_again=True)
    assert found.again == {digest("b"), digest("d")}
    assert (found.success, found.error) == (1, 1)
    last = outputs.tally(output, may_run_again=False)
    assert not last.again
    assert (last.success, last.error) == (1, 3)


@pytest.mark.parametrize(
    ("code", "passing"),
    [
        *(
            (code, True)
            for code in ("408", "429", "500", "503", "ThrottlingException", "ModelTimeoutException")
        ),
        *((code, False) for code in ("400", "403", "404", "ValidationException", "unknown")),
    ],
)
def test_only_passing_codes_are_tried_again(code: str, passing: bool) -> None:
    assert outputs.passing(code) is passing


@pytest.mark.parametrize("line", [b"[]", b"{", b"\xff", b"[" * 100_000])
def test_an_output_line_that_cannot_be_read_counts_for_nothing_and_is_left_out(line: bytes) -> None:
    output = [line, b"\n", *rows(good("a"))]
    found = outputs.tally(output, True)
    assert (found.success, found.error, found.untidy) == (1, 0, True)
    assert [
        json.loads(raw)["recordId"] for raw in outputs.settled(output, outputs.tally(output, True).seen)
    ] == ["a"]


def test_a_record_that_stands_twice_counts_and_stands_once() -> None:
    output = rows(good("a"), good("b"), good("a"))
    found = outputs.tally(output, True)
    assert (found.success, found.untidy) == (2, True)
    assert [
        json.loads(raw)["recordId"] for raw in outputs.settled(output, outputs.tally(output, True).seen)
    ] == ["a", "b"]


@pytest.mark.parametrize(
    ("answer", "used"),
    [
        ({"usage": {"input_tokens": 3, "output_tokens": 4}}, (3, 4)),
        ({"usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}, (3, 4)),
        ({"usage": {"inputTokens": 3, "outputTokens": 4}}, (3, 4)),
        ({"prompt_token_count": 3, "generation_token_count": 4}, (3, 4)),
        ({"inputTextTokenCount": 3, "results": [{"tokenCount": 4}, {"tokenCount": 1}]}, (3, 5)),
        ({"inputTextTokenCount": 3, "embedding": []}, (3, 0)),
        ("text", (0, 0)),
        ({}, (0, 0)),
    ],
)
def test_tokens_are_those_that_the_answer_tells_of(answer: Any, used: tuple[int, int]) -> None:
    assert answers.tokens(answer) == used


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"output": {}, "stopReason": "content_filtered"}, "content_filtered"),
        ({"content": [], "stop_reason": "max_tokens", "stop_sequence": None}, "max_tokens"),
        ({"generation": "x", "stop_reason": "length"}, "length"),
        ({"choices": [{"message": {}, "finish_reason": "stop"}]}, "stop"),
        ({"choices": [{"message": {}, "stop_reason": "tool_calls"}]}, "tool_calls"),
        ({"outputs": [{"text": "x", "stop_reason": "length"}]}, "length"),
        (
            {"inputTextTokenCount": 3, "results": [{"completionReason": "CONTENT_FILTERED"}]},
            "CONTENT_FILTERED",
        ),
        ({"generations": [{"finish_reason": "MAX_TOKENS"}]}, "MAX_TOKENS"),
        ({"stopReason": None, "stop_reason": "end_turn"}, "end_turn"),
        ({"stop_reason": "a sentence of the model"}, "other"),
        ({"stop_reason": 7, "choices": [7], "outputs": [], "results": {}}, ""),
        ({"embedding": []}, ""),
        ("text", ""),
    ],
)
def test_the_stop_reason_is_the_models_own_word(answer: Any, reason: str) -> None:
    assert answers.stop_reason(answer) == reason


def test_stop_reasons_are_counted_for_answers_and_few_of_them_apart() -> None:
    found = [good(str(n), stop_reason=f"reason-{n}") for n in range(30)]
    again = [good(f"again-{n}", stop_reason="reason-0") for n in range(3)]
    tally = outputs.tally(rows(*found, *again, bad("b", 400), good("c")), True)
    assert tally.stop_reasons["reason-0"] == 4
    assert tally.stop_reasons["other"] == 10
    assert len(tally.stop_reasons) == answers.MAX_REASONS + 1
    assert tally.stop_reasons.total() == 33


@pytest.mark.parametrize(
    ("record", "success", "codes"),
    [
        pytest.param(good("a", embedding=[0.1, -1e-5, 1e300]), 1, {}, id="an embedding"),
        pytest.param(good("a", usage={"input_tokens": 3.0, "output_tokens": 4e2}), 1, {}, id="counts"),
        pytest.param(good("a", inputTextTokenCount=3.5, results=[{"tokenCount": 1.0}]), 1, {}, id="of parts"),
        pytest.param(good("a", stop_reason=1.5), 1, {}, id="a stop reason"),
        pytest.param({"recordId": "a", "modelOutput": 1.5}, 1, {}, id="an answer"),
        pytest.param({"recordId": "a", "error": 1.5}, 0, {"unknown": 1}, id="an error"),
        pytest.param(bad("a", 400.0), 0, {"unknown": 1}, id="a code"),
        pytest.param({**good("a"), "error": 0.0}, 0, {"unknown": 1}, id="an error beside an answer"),
        pytest.param({"recordId": 1.5, "modelOutput": {}}, 0, {}, id="a recordId"),
    ],
)
def test_a_float_is_neither_a_count_nor_a_word_nor_nothing(
    record: dict[str, Any], success: int, codes: dict[str, int]
) -> None:
    found = outputs.tally(rows(record), may_run_again=True)
    assert (found.success, found.errors_by_code) == (success, codes)
    assert (found.input_tokens, found.output_tokens, found.stop_reasons) == (0, 0, {})
    assert found.untidy is (record["recordId"] != "a")


RECORDS = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from(["good", "passing", "final", "missing"])),
    unique_by=lambda pair: pair[0],
    min_size=1,
)


@given(RECORDS, st.booleans())
def test_each_record_either_stands_or_runs_again_never_both_never_neither(
    found: list[tuple[int, str]], may_run_again: bool
) -> None:
    inputs = rows(*({"recordId": str(n)} for n, _ in found))
    code = {"passing": 500, "final": 400}
    output = rows(
        *(
            good(str(n)) if kind == "good" else bad(str(n), code[kind])
            for n, kind in found
            if kind != "missing"
        )
    )
    tally = outputs.tally(output, may_run_again)
    stands = [json.loads(raw)["recordId"] for raw in outputs.settled(output, tally.seen - tally.again)]
    again = [record["recordId"] for _, record in outputs.unanswered(inputs, tally.seen - tally.again)]
    assert sorted(stands + again) == sorted(str(n) for n, _ in found)
    assert len(stands) == tally.success + tally.error


@given(st.lists(st.integers(0, 40 * MIN_PART_BYTES) | st.integers(0, 3), max_size=12))
def test_parts_cover_everything_in_order_within_s3s_limits(sizes: list[int]) -> None:
    parts = joining.plan_parts(sizes)
    spans = [span for part in parts for span in part if span.size]
    reached = [0] * len(sizes)
    last = 0
    for span in spans:
        assert span.source >= last
        last = span.source
        assert span.start == reached[span.source]
        reached[span.source] = span.end
    assert reached == sizes
    totals = [sum(span.size for span in part) for part in parts]
    assert all(total >= MIN_PART_BYTES for total in totals[:-1])
    assert all(total <= MAX_PART_BYTES for total in totals)


SIZES = (
    st.integers(0, 3) | st.integers(0, 3 * MIN_PART_BYTES) | st.integers(0, 5 << 30) | st.integers(0, 5 << 40)
)


@given(st.lists(st.tuples(SIZES, st.integers(1, 1_000)), max_size=3), st.integers(0, 9))
def test_a_plan_has_no_more_and_no_larger_parts_than_s3_accepts(
    runs: list[tuple[int, int]], among: int
) -> None:
    # Given up to 3,000 objects, which together are no larger than an object can be
    sizes = [size for size, times in runs for size in (size, *[0] * (among % 3)) * times][:3_000]
    while sum(sizes) > 5 << 40:
        sizes = [size // 2 for size in sizes]
    parts = joining.plan_parts(sizes)
    assert len(parts) <= 10_000
    totals = [sum(span.size for span in part) for part in parts]
    assert all(total <= 5 << 30 for total in totals)
    # What is streamed is in memory, a few parts at a time
    assert all(total < 10 << 20 for total, part in zip(totals, parts, strict=True) if len(part) > 1)


def test_more_parts_than_s3_accepts_are_not_planned() -> None:
    assert len(joining.plan_parts([MIN_PART_BYTES] * 10_000)) == 10_000
    with pytest.raises(joining.TooManyPartsError):
        joining.plan_parts([MIN_PART_BYTES] * 10_001)


def test_large_pieces_are_copied_and_only_the_seams_are_streamed() -> None:
    parts = joining.plan_parts([100, 50 * MIN_PART_BYTES, 7 * MIN_PART_BYTES, 200])
    streamed = sum(span.size for part in parts if len(part) > 1 for span in part)
    assert streamed <= 2 * MIN_PART_BYTES


@pytest.mark.parametrize(
    ("records", "success", "ends", "status"),
    [
        (10, 10, [Status.COMPLETED], Status.COMPLETED),
        (10, 7, [Status.COMPLETED], Status.PARTIALLY_COMPLETED),
        (10, 0, [Status.COMPLETED], Status.FAILED),
        (10, 0, [Status.EXPIRED], Status.EXPIRED),
        (10, 0, [Status.STOPPED, Status.STOPPED], Status.STOPPED),
        (10, 0, [Status.STOPPED, Status.EXPIRED], Status.FAILED),
        (10, 0, [Status.REJECTED], Status.REJECTED),
        (10, 0, [Status.CANCELLED], Status.CANCELLED),
        (10, 4, [Status.FAILED, Status.COMPLETED], Status.PARTIALLY_COMPLETED),
    ],
)
def test_the_counts_decide_how_an_upload_ends(
    records: int, success: int, ends: list[Status], status: Status
) -> None:
    assert reports.upload_status(records, success, ends) == status


def test_the_message_has_bedrocks_words_first_and_the_errors_by_code() -> None:
    message = reports.upload_message(
        1000, 990, {"400": 7, "500": 3}, ["Bedrock said so.", "", "Bedrock said so."]
    )
    assert message == (
        "Bedrock said so. 10 of 1,000 records failed (7 with 400, 3 with 500): "
        "their lines in the result say why."
    )
    assert reports.upload_message(5, 5, {}, [""]) == ""


def test_a_manifest_is_read_with_missing_counts_as_zero() -> None:
    found = outputs.manifest(b'{"totalRecordCount": 5, "successRecordCount": 4, "inputTokenCount": 90}')
    assert found is not None
    assert (found.records, found.success, found.error, found.input_tokens) == (5, 4, 0, 90)


@pytest.mark.parametrize(("code", "again"), [(429, True), ("ThrottlingException", True), (400, False)])
def test_an_error_in_place_of_the_answer_is_an_error(code: int | str, again: bool) -> None:
    # Given an output line whose modelOutput is an error and nothing else
    row = {"recordId": "a", "modelOutput": {"errorCode": code, "errorMessage": "no"}}
    found = outputs.tally([json.dumps(row).encode() + b"\n"], may_run_again=True)
    # Then it counts like one under the key error
    assert found.success == 0
    assert (len(found.again), found.error) == ((1, 0) if again else (0, 1))


def test_an_answer_that_speaks_of_an_error_code_is_an_answer() -> None:
    row = {"recordId": "a", "modelOutput": {"errorCode": 400, "errorMessage": "no", "content": "x"}}
    found = outputs.tally([json.dumps(row).encode() + b"\n"], may_run_again=True)
    assert (found.success, found.error) == (1, 0)
