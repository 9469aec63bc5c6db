"""What became of a job's records: counts from Bedrock's outputs, and the status an upload ends with. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .jsonl import MAX_LINE_BYTES, lines
from .model import Status

# An output line is its input line and the model's answer, so it may be longer than any input.
MAX_OUTPUT_LINE_BYTES = 4 * MAX_LINE_BYTES


@dataclass(frozen=True, slots=True)
class Manifest:
    """The counts of ``manifest.json.out``; a count that Bedrock did not write is 0."""

    records: int = 0
    processed: int = 0
    success: int = 0
    error: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(slots=True)
class Tally:
    """The lines of one output file, counted: answers, errors, and the errors by their code."""

    success: int = 0
    error: int = 0
    errors_by_code: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a chunk or an upload ends: its status, its counts and a sentence for the user."""

    status: Status
    success: int
    error: int
    message: str


def manifest(document: Mapping[str, Any]) -> Manifest:
    """Reads ``manifest.json.out`` as Bedrock writes it."""
    return Manifest(
        records=int(document.get("totalRecordCount") or 0),
        processed=int(document.get("processedRecordCount") or 0),
        success=int(document.get("successRecordCount") or 0),
        error=int(document.get("errorRecordCount") or 0),
        input_tokens=int(document.get("inputTokenCount") or 0),
        output_tokens=int(document.get("outputTokenCount") or 0),
    )


def tally(blocks: Iterable[bytes]) -> Tally:
    """Counts the lines of an output file; one that cannot be read is an error with the code "unreadable"."""
    found = Tally()
    for raw in lines(blocks, MAX_OUTPUT_LINE_BYTES):
        if raw is not None and not raw.strip():
            continue
        record = _record(raw)
        if record is None:
            found.error += 1
            found.errors_by_code["unreadable"] += 1
            continue
        error = record.get("error")
        if error is None and "modelOutput" in record:
            found.success += 1
        else:
            found.error += 1
            code = error.get("errorCode") if isinstance(error, dict) else None
            found.errors_by_code[str(code) if code is not None else "unknown"] += 1
    return found


def _record(raw: bytes | None) -> dict[str, Any] | None:
    """An output line as an object, or None for one that is too long, cut off or otherwise not one."""
    try:
        record = json.loads(raw) if raw is not None else None
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def outcome(records: int, job_status: Status, job_message: str, found: Tally | None) -> Outcome:
    """How ``records`` records end whose job ended as ``job_status`` and left ``found`` (None: no output).

    ``Completed`` can hide a job in which every record failed, so the counts decide, not the status alone.
    """
    success, error = (found.success, found.error) if found else (0, 0)
    missing = max(0, records - success - error)
    parts = [job_message] if job_message else []
    if found and error:
        codes = ", ".join(f"{count:,} with {code}" for code, count in sorted(found.errors_by_code.items()))
        parts.append(f"{error:,} of {records:,} records failed ({codes}): their lines in the result say why.")
    if missing and job_status in (Status.EXPIRED, Status.STOPPED, Status.PARTIALLY_COMPLETED):
        parts.append(f"{missing:,} of {records:,} records were not run before the job ended as {job_status}.")
    elif missing and job_status == Status.COMPLETED:
        parts.append(f"Bedrock's output lacks {missing:,} of {records:,} records.")
    status = job_status
    if job_status in (Status.COMPLETED, Status.PARTIALLY_COMPLETED):
        if not success:
            status = Status.FAILED
        elif success < records:
            status = Status.PARTIALLY_COMPLETED
        else:
            status = Status.COMPLETED
    return Outcome(status, success, error, " ".join(parts))


def combine(outcomes: Iterable[Outcome]) -> Outcome:
    """How an upload ends whose chunks ended as ``outcomes``; PartiallyCompleted where they differ."""
    found = list(outcomes)
    statuses = {chunk.status for chunk in found}
    success = sum(chunk.success for chunk in found)
    status = statuses.pop() if len(statuses) == 1 else Status.PARTIALLY_COMPLETED
    if status == Status.PARTIALLY_COMPLETED and not success:
        status = Status.FAILED
    message = " ".join(dict.fromkeys(chunk.message for chunk in found if chunk.message))
    return Outcome(status, success, sum(chunk.error for chunk in found), message)
