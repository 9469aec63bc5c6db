"""What came out, checked record by record against what went in. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bedrock_batch_simulator import expected_output

from tests.local_aws.demo.data import Requests

#: So many records or lines are named where something is wrong; more only counted.
NAMED = 3


@dataclass(frozen=True)
class Ended:
    """What became of one upload: the words and counts of its row, where its result or report lies, its bytes.

    ``status`` is "" where the queue has no row of it, ``body`` None where there is neither result nor report.
    """

    status: str
    message: str = ""
    success_count: int = 0
    error_count: int = 0
    uri: str = ""
    body: bytes | None = None


@dataclass
class Checked:
    """One upload, compared: ``out`` result lines, ``matched`` records that are among them, what is wrong."""

    requests: Requests
    ended: Ended
    out: int = 0
    matched: int = 0
    answered: int = 0
    failed: int = 0
    first: Mapping[str, Any] | None = None
    faults: Sequence[Mapping[str, Any]] = ()
    problems: list[str] = field(default_factory=list)

    @property
    def rejected(self) -> bool:
        """Whether the queue refused it, so that none of its records was to run."""
        return self.ended.status == "Rejected"

    @property
    def accepted(self) -> int:
        """How many records the queue owes an answer."""
        return 0 if self.rejected else len(self.requests.records)


def check(requests: Requests, model_id: str, invocation_type: str, ended: Ended) -> Checked:
    """Compare one upload with what became of it; ``model_id`` and ``invocation_type`` are its route's."""
    found = Checked(requests, ended)
    if found.rejected:
        _check_report(found)
        return found
    if requests.broken_lines:
        found.problems.append(f"has broken lines ({_named(requests.broken_lines)}) and was not rejected")
    if ended.status != "Completed":
        was = f"is {ended.status}, not Completed" if ended.status else "is not in the queue's table"
        found.problems.append(was + (f": {ended.message}" if ended.message else ""))
    if ended.body is None:
        if ended.status == "Completed":
            found.problems.append("has no result")
    else:
        _check_result(found, model_id, invocation_type, ended.body)
    return found


def _check_result(found: Checked, model_id: str, invocation_type: str, body: bytes) -> None:
    seen: Counter[str] = Counter()
    wrong: dict[str, list[str]] = {}

    def note(what: str, which: str) -> None:
        wrong.setdefault(what, []).append(which)

    for number, record in _result_lines(body):
        found.out += 1
        identifier = record.get("recordId")
        if not isinstance(identifier, str):
            note("result lines are no records", f"line {number}")
            continue
        seen[identifier] += 1
        given = found.requests.records.get(identifier)
        if given is None:
            note("result lines belong to no record of the upload", identifier)
            continue
        found.first = found.first or record
        if record.get("modelInput") != given:
            note("result lines hold another modelInput than the upload", identifier)
        expected = expected_output(model_id, invocation_type, given)
        if isinstance(record.get("error"), dict) and "modelOutput" not in record:
            found.failed += 1
        elif "error" not in record and {"modelOutput": record.get("modelOutput")} == expected:
            found.answered += 1
        else:
            note("records have a wrong answer", identifier)
    _compare_ids(found, seen, note)
    found.problems += [f"{what}: {_named(which)}" for what, which in wrong.items()]
    counts = (found.ended.success_count, found.ended.error_count)
    if counts != (found.answered, found.failed):
        found.problems.append(
            f"the queue counts {counts[0]} answers and {counts[1]} errors, "
            f"the result holds {found.answered} right answers and {found.failed} errors"
        )


def _compare_ids(found: Checked, seen: Mapping[str, int], note: Callable[[str, str], None]) -> None:
    for identifier, times in seen.items():
        if times > 1:
            note("records stand more than once in the result", identifier)
    for identifier in found.requests.records:
        if identifier in seen:
            found.matched += 1
        else:
            note("records are lost", identifier)


def _result_lines(body: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(body.split(b"\n"), start=1):
        if line.strip():
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            yield number, record if isinstance(record, dict) else {}


def _check_report(found: Checked) -> None:
    broken = found.requests.broken_lines
    if not broken:
        found.problems.append(f"was rejected though no line is broken: {found.ended.message}")
    try:
        report = json.loads(found.ended.body or b"")
        found.faults = [{"line": fault["line"], "reason": fault["reason"]} for fault in report["faults"]]
    except (ValueError, KeyError, TypeError):
        found.problems.append("has no report that can be read")
        return
    lines = tuple(fault["line"] for fault in found.faults)
    if lines != broken:
        found.problems.append(f"its report names {_lines(lines)}, broken is {_lines(broken)}")


def _lines(numbers: Sequence[int]) -> str:
    return f"line {_named(numbers)}" if numbers else "no line"


def _named(which: Iterable[object]) -> str:
    every = [str(one) for one in which]
    return ", ".join(every[:NAMED]) + (f" and {len(every) - NAMED} more" if len(every) > NAMED else "")


@dataclass(frozen=True)
class Verdict:
    """The sum of it all. ``problems`` are sentences; without one the demo has shown what it should."""

    uploads: int
    records_in: int
    records_out: int
    lost: int
    rejected: int
    problems: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether everything is as it should be."""
        return not self.problems

    @property
    def line(self) -> str:
        """The demo's last line; true also where something went wrong."""
        return (
            f"demo: {self.uploads} uploads, {self.records_in} records in, {self.records_out} out, "
            f"{self.lost} lost, {self.rejected} rejected"
        )


def judge(every: Sequence[Checked], others: Iterable[str] = ()) -> Verdict:
    """Sum up all uploads; ``others`` are problems that belong to no single upload."""
    problems = [*others, *(f"{one.requests.path}: {problem}" for one in every for problem in one.problems)]
    records_in = sum(one.accepted for one in every)
    out = sum(one.out for one in every)
    rejected = sum(one.rejected for one in every)
    if rejected != 1:
        problems.append(f"{rejected} uploads were rejected, not exactly one")
    if out != records_in:
        problems.append(f"{records_in} records went in and {out} came out")
    lost = records_in - sum(one.matched for one in every)
    return Verdict(len(every), records_in, out, lost, rejected, tuple(problems))
