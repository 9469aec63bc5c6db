"""The demo's pure parts: what it ships, what it says when something is wrong, and its last line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from bedrock_batch_simulator import expected_output

from tests.local_aws.demo.__main__ import REQUESTS
from tests.local_aws.demo.data import Requests, load, read
from tests.local_aws.demo.verdict import Checked, Ended, check, judge
from tools import requests_data

MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
Lines = list[dict[str, Any]]

pytestmark = pytest.mark.unit


def _body(text: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 100, "messages": messages}


def _jsonl(records: Lines) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


GOOD = read("a.jsonl", _jsonl([{"recordId": f"r{n}", "modelInput": _body(f"Text {n}.")} for n in range(5)]))
BROKEN = read("b.jsonl", GOOD.body + b'{"recordId": "r5", "mod\n')


def _answers(requests: Requests = GOOD) -> Lines:
    return [
        {"recordId": identifier, "modelInput": body, **expected_output(MODEL, "InvokeModel", body)}
        for identifier, body in requests.records.items()
    ]


def _completed(lines: Lines, success: int = 5, error: int = 0) -> Ended:
    return Ended("Completed", "", success, error, "s3://b/processed/a.jsonl.out", _jsonl(lines))


def _check(ended: Ended, requests: Requests = GOOD) -> Checked:
    return check(requests, MODEL, "InvokeModel", ended)


def _rejected(*lines: int) -> Checked:
    report = {"faults": [{"line": line, "reason": "not valid JSON"} for line in lines]}
    ended = Ended("Rejected", "Rejected", uri="s3://b/r.json", body=json.dumps(report).encode())
    return _check(ended, BROKEN)


# --------------------------------------------------------------------------------------------- one upload


def test_a_right_result_in_another_order_has_no_problem() -> None:
    found = _check(_completed(_answers()[::-1]))

    assert found.problems == []
    assert (found.out, found.matched, found.answered) == (5, 5, 5)


def _lose(lines: Lines) -> None:
    del lines[1]


def _double(lines: Lines) -> None:
    lines.append(lines[2])


def _invent(lines: Lines) -> None:
    lines.append({**lines[0], "recordId": "r99"})


def _swap_answers(lines: Lines) -> None:
    lines[0]["modelOutput"], lines[1]["modelOutput"] = lines[1]["modelOutput"], lines[0]["modelOutput"]


def _no_answer(lines: Lines) -> None:
    del lines[3]["modelOutput"]


def _both(lines: Lines) -> None:
    lines[3]["error"] = {"errorCode": 500, "errorMessage": "?"}


def _other_input(lines: Lines) -> None:
    lines[4]["modelInput"] = _body("Something else.")


def _nameless(lines: Lines) -> None:
    del lines[0]["recordId"]


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (_lose, "records are lost: r1"),
        (_double, "records stand more than once in the result: r2"),
        (_invent, "result lines belong to no record of the upload: r99"),
        (_swap_answers, "records have a wrong answer: r0, r1"),
        (_no_answer, "records have a wrong answer: r3"),
        (_both, "records have a wrong answer: r3"),
        (_other_input, "result lines hold another modelInput than the upload: r4"),
        (_nameless, "result lines are no records: line 1"),
    ],
)
def test_a_spoilt_result_is_found_and_named(spoil: Callable[[Lines], None], problem: str) -> None:
    lines = _answers()
    spoil(lines)

    assert problem in _check(_completed(lines)).problems


def test_a_torn_result_line_is_a_lost_record() -> None:
    ended = _completed(_answers())
    torn = replace(ended, body=(ended.body or b"")[:-20])

    found = _check(torn)

    assert "result lines are no records: line 5" in found.problems
    assert (found.out, found.matched) == (5, 4)


def test_an_error_line_accounts_for_its_record() -> None:
    lines = _answers()
    del lines[0]["modelOutput"]
    lines[0]["error"] = {"errorCode": 429, "errorMessage": "Too many requests"}

    found = _check(_completed(lines, success=4, error=1))

    assert found.problems == []
    assert (found.matched, found.answered, found.failed) == (5, 4, 1)


def test_counts_in_the_row_that_differ_from_the_result_are_a_problem() -> None:
    (problem,) = _check(_completed(_answers(), success=4, error=1)).problems

    assert problem.startswith("the queue counts 4 answers and 1 errors, the result holds 5")


@pytest.mark.parametrize("status", ["InProgress", "PartiallyCompleted", "Failed", "Cancelled"])
def test_an_upload_that_did_not_end_completed_is_a_problem(status: str) -> None:
    found = _check(replace(_completed(_answers()), status=status, message="Why."))

    assert found.problems == [f"is {status}, not Completed: Why."]


def test_an_upload_that_the_queue_never_heard_of_is_lost() -> None:
    verdict = judge([_check(Ended("")), _rejected(6)])

    assert verdict.line == "demo: 2 uploads, 5 records in, 0 out, 5 lost, 1 rejected"
    assert "a.jsonl: is not in the queue's table" in verdict.problems


def test_a_completed_upload_without_a_result_is_a_problem() -> None:
    assert "has no result" in _check(Ended("Completed", success_count=5)).problems


def test_a_rejected_upload_with_the_right_report_has_no_problem() -> None:
    assert _rejected(6).problems == []


@pytest.mark.parametrize(("named", "says"), [((5,), "line 5"), ((), "no line"), ((5, 6), "line 5, 6")])
def test_a_report_that_names_other_lines_is_a_problem(named: tuple[int, ...], says: str) -> None:
    assert _rejected(*named).problems == [f"its report names {says}, broken is line 6"]


@pytest.mark.parametrize("body", [None, b"", b"[]", b'{"faults": 1}'])
def test_a_missing_report_is_a_problem(body: bytes | None) -> None:
    assert _check(Ended("Rejected", body=body), BROKEN).problems == ["has no report that can be read"]


def test_a_good_upload_that_was_rejected_is_a_problem() -> None:
    found = _check(Ended("Rejected", "too long", body=b'{"faults": []}'))

    assert found.problems == ["was rejected though no line is broken: too long"]


def test_a_broken_upload_that_ran_is_a_problem() -> None:
    found = _check(_completed(_answers()), BROKEN)

    assert found.problems == ["has broken lines (6) and was not rejected"]


# ------------------------------------------------------------------------------------------------- verdict


def test_the_last_line_of_a_good_run() -> None:
    verdict = judge([_check(_completed(_answers())), _rejected(6)])

    assert verdict.good
    assert verdict.line == "demo: 2 uploads, 5 records in, 5 out, 0 lost, 1 rejected"


def test_a_lost_and_a_doubled_record_do_not_cancel_out() -> None:
    lines = _answers()
    lines[0] = lines[1]

    verdict = judge([_check(_completed(lines)), _rejected(6)])

    assert not verdict.good
    assert verdict.line == "demo: 2 uploads, 5 records in, 5 out, 1 lost, 1 rejected"


@pytest.mark.parametrize("rejected", [0, 2])
def test_not_exactly_one_rejected_upload_is_a_problem(rejected: int) -> None:
    verdict = judge([_check(_completed(_answers())), *[_rejected(6)] * rejected])

    assert verdict.problems == (f"{rejected} uploads were rejected, not exactly one",)


def test_a_problem_of_no_single_upload_counts() -> None:
    verdict = judge([_check(_completed(_answers())), _rejected(6)], ["2 dead letters"])

    assert verdict.problems == ("2 dead letters",)


# ---------------------------------------------------------------------------------------------------- data


def test_the_data_is_what_the_demo_promises() -> None:
    files = load(REQUESTS)
    good = [file for file in files if not file.broken_lines]

    assert [len(file.broken_lines) for file in files if file.broken_lines] == [1]
    assert len(files) >= 4
    assert sum(len(file.records) for file in good) >= 300
    assert min(len(file.records) for file in good) >= 100
    assert any(" " in file.path and "=" in file.path and not file.path.isascii() for file in good)
    assert {file.path.startswith("chat/") for file in good} == {True, False}
    assert sum(len(file.body) for file in files) < 500_000


@pytest.mark.parametrize("file", load(REQUESTS), ids=lambda file: file.path)
def test_every_request_is_one_that_its_model_takes(file: Requests) -> None:
    route = ("amazon.nova-lite-v1:0", "Converse") if file.path.startswith("chat/") else (MODEL, "InvokeModel")

    assert [i for i, body in file.records.items() if "error" in expected_output(*route, body)] == []


@pytest.mark.parametrize("file", load(REQUESTS), ids=lambda file: file.path)
def test_the_data_is_what_its_generator_writes(file: Requests) -> None:
    assert file.body.decode() == "".join(line + "\n" for line in requests_data.lines(file.path))
