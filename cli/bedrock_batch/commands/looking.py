"""`status`, `jobs`, `explain`, `results` and `errors`: how far uploads are, and what came out of them."""

from __future__ import annotations

import io
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bedrock_batch.app import Here, command
from bedrock_batch.errors import InputError, RefusedError
from bedrock_batch.files import whole
from bedrock_batch.times import utc_text

if TYPE_CHECKING:
    from batch_queue.core.rows import Job
    from batch_queue.core.rows import Upload as Row

    from bedrock_batch.client import Upload

UploadPath = Annotated[
    str, typer.Argument(help="A path below the input prefix, a key, an S3 URI or an upload ID.")
]
DAY = 86_400
# So many uploads and jobs are listed.
MOST = 1_000
# So many examples of an error are kept.
EXAMPLES = 3


class Format(StrEnum):
    """How results are written."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


# --------------------------------------------------------------------------------------------------- status


@command
def status(
    here: Here,
    path: Annotated[
        str,
        typer.Argument(
            help="An upload (path, key, S3 URI or ID), or a folder with a slash at its end. Default: all."
        ),
    ] = "",
) -> None:
    """Show how far an upload or the uploads below a folder are, or what the queue does."""
    if not path:
        _queue_status(here)
    elif path.endswith("/"):
        _folder_status(here, path)
    else:
        _upload_status(here, path)


def _upload_status(here: Here, path: str) -> None:
    from bedrock_batch.output import status_text

    upload = here.queue.upload(path)
    row = upload.state()
    if row is None:
        row = upload.ended()  # says why there is none
    if here.as_json:
        here.out.json(upload_document(row))
        return
    here.out.line(row.key)
    here.out.facts(
        {
            "status": status_text(row.status),
            "route": row.route,
            "records": records_words(row),
            "tokens": f"{row.input_tokens:,} in, {row.output_tokens:,} out" if row.input_tokens else "",
            "run": row.run if row.run > 1 else "",
            "accepted": row.created_at,
            "ended": row.ended_at,
            "result": f"s3://{row.bucket}/{row.result_key}" if row.result_key else "",
            "upload ID": row.upload_id,
            "message": row.message,
        }
    )


def _folder_status(here: Here, path: str) -> None:
    from batch_queue.core.reports import counted

    from bedrock_batch.output import status_text

    found = here.queue.uploads_below(path, MOST + 1)
    if not found:
        raise InputError(f"the queue knows no upload below {here.queue.key_of(path)}")
    if here.as_json:
        here.out.json([upload_document(row) for row in found[:MOST]])
        return
    prefix = here.queue.connection.about.input_prefix
    here.out.table(
        ("upload", "status", "records", "answered", "failed", "accepted"),
        [
            (
                row.key.removeprefix(prefix),
                status_text(row.status),
                f"{row.records:,}",
                f"{row.success_count:,}",
                f"{row.error_count:,}",
                utc_text(row.created_at),
            )
            for row in found[:MOST]
        ],
        right=("records", "answered", "failed"),
    )
    counts = Counter(str(row.status) for row in found[:MOST])
    more = f" Only the first {MOST:,} are shown." if len(found) > MOST else ""
    here.out.line(
        f"{counted(len(found[:MOST]), 'upload')}: "
        + ", ".join(f"{count:,} {status}" for status, count in counts.most_common())
        + f".{more}"
    )


def _queue_status(here: Here) -> None:
    from batch_queue.core import names
    from batch_queue.core.rows import TERMINAL, Status

    from bedrock_batch import rows

    connection = here.queue.connection
    since = names.iso(time.time() - DAY)
    counts = {
        str(status): rows.count(connection, "upload", status, since=since if status in TERMINAL else "")
        for status in Status
    }
    try:
        slots: dict[str, Any] | None = here.queue.status()
    except RefusedError as error:
        slots = None
        here.out.note(f"The slots are not shown: {error}", style="dim")
    open_jobs = here.queue.open_jobs()
    if here.as_json:
        here.out.json(
            {
                "queue": here.queue.name,
                "uploads": {name: count for name, count in counts.items() if count},
                "jobs": [job_document(job) for job in open_jobs],
                **(slots or {}),
            }
        )
        return
    here.out.line(f"{here.queue.name} in {connection.about.region}, version {connection.about.version}")
    ended = {str(one) for one in TERMINAL}
    here.out.facts(
        {
            "open uploads": _counts(counts, lambda name: name not in ended) or "none",
            "ended in 24 hours": _counts(counts, ended.__contains__) or "none",
            "jobs": _counts(Counter(str(job.status) for job in open_jobs), lambda _: True) or "none",
        }
    )
    if slots is not None:
        here.out.facts(slot_facts(slots))


def _counts(counts: Mapping[str, int], chosen: Callable[[str], bool]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count and chosen(name))


def slot_facts(status: Mapping[str, Any]) -> dict[str, str]:
    """Returns the slots and the pauses of an answer to the order `status`, in words."""
    facts = {
        f"slots of {one['model']}": f"{one['limit']} in all, {len(one['ours'])} taken by this queue, "
        f"{len(one['others'])} by others, {one['free']} free"
        for one in status["slots"]
    }
    for one in status["paused"]:
        what = f"route {one['route']}" if one.get("route") else "queue"
        facts[f"paused {what}"] = f"since {one['since']} by {one['by']}: {one['why']}"
    return facts


# ----------------------------------------------------------------------------------------------------- jobs


@command
def jobs(
    here: Here,
    since: Annotated[
        str, typer.Option("--since", help="Also jobs that have ended, created since then: 24h, 7d or a date.")
    ] = "",
) -> None:
    """List the jobs that run, and with --since those that have ended too."""
    from batch_queue.core import names
    from batch_queue.core.rows import TERMINAL

    from bedrock_batch.output import status_text
    from bedrock_batch.times import since_text

    start = names.iso(since_text(since, time.time())) if since else ""
    found = here.queue.open_jobs()[::-1]
    if start:
        known = {job.job_id for job in found}
        ended = here.queue.jobs(statuses=TERMINAL, since=start, most=MOST)
        found += [job for job in ended if job.job_id not in known]
    processed = {} if here.as_json or not found else _processed(here)
    if here.as_json:
        here.out.json([job_document(job) for job in found])
        return
    if not found:
        here.out.line("No job runs." + ("" if since else " --since 24h lists those that have ended."))
        return
    columns = ["job", "route", "status", "records", "done", "submitted"]
    columns += ["message"] if any(job.message for job in found) else []
    here.out.table(
        columns,
        [
            (
                job.job_name,
                job.route,
                status_text(job.status),
                f"{job.records:,}",
                f"{processed.get(job.job_name, job.success_count + job.error_count):,}",
                utc_text(job.submitted_at),
                job.message[:200],
            )[: len(columns)]
            for job in found
        ],
        right=("records", "done"),
    )


def _processed(here: Here) -> dict[str, int]:
    """Returns job name → how many of its records Bedrock has processed, as far as it says."""
    try:
        found = here.queue.status()
    except RefusedError:
        return {}
    return {
        job["job_name"]: job["records_processed"]
        for one in found["slots"]
        for job in one["ours"]
        if "records_processed" in job
    }


# -------------------------------------------------------------------------------------------------- explain


@command
def explain(here: Here, path: UploadPath) -> None:
    """Say what an upload waits for, and when it is expected to end."""
    answer = here.queue.upload(path).explain()
    if here.as_json:
        here.out.json(answer)
        return
    here.out.line(answer["key"])
    jobs_words = [
        f"{job['job_name']}: {job['status']}, {job['records']:,} records"
        + (f", {job['records_processed']:,} processed" if "records_processed" in job else "")
        for job in answer.get("jobs", [])
    ]
    here.out.facts(
        {
            "status": answer["status"],
            "records": f"{answer['records']:,}: {answer['successes']:,} answered, "
            f"{answer['errors']:,} failed",
            "": answer["words"],
            "jobs": "\n".join(jobs_words),
            "expected start": answer.get("expected_start", ""),
            "expected end": answer.get("expected_end", ""),
        }
    )


# -------------------------------------------------------------------------------------------------- results


@command
def results(
    here: Here,
    path: Annotated[
        str,
        typer.Argument(
            help="An upload (path, key, S3 URI or ID), or a folder with a slash at its end (with --output)."
        ),
    ],
    join: Annotated[
        bool, typer.Option("--join", help="In the order of the input, each record with its answer.")
    ] = False,
    form: Annotated[Format, typer.Option("--format", "-f", help="How to write them.")] = Format.JSONL,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write, or folder. Default: standard output."),
    ] = None,
) -> None:
    """Get the result of an upload that has ended, or of all below a folder.

    Without options, it is Bedrock's output: a line for each record, in no order. CSV and Parquet have a row
    for each record, with the text of the answer in a column of its own.
    """
    if path.endswith("/"):
        _results_below(here, path, output, join=join, form=form)
        return
    from bedrock_batch.client import runs_again

    if form == Format.PARQUET and output is None:
        raise InputError("a Parquet file is not for standard output: add --output with a file")
    upload = here.queue.upload(path)
    row = upload.state()
    if row is not None and runs_again(row):
        here.out.note(f"Run {row.run} has not ended: this is the result of the run before.", style="yellow")
    if output is not None and output.is_dir():
        output /= _file_name(PurePosixPath(upload.key).name, form)
    if output is None:
        _print(upload, join=join, form=form)
        return
    count = download(upload, output, join=join, form=form)
    if here.as_json:
        here.out.json({"key": upload.key, "file": output, "records": count})
    else:
        here.out.line(f"{output}: {count:,} records")


def _print(upload: Upload, *, join: bool, form: Format) -> None:
    from bedrock_batch import results as formats

    if form == Format.JSONL and not join:
        for block in upload.blocks():
            sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()
        return
    found = upload.joined() if join else upload.results()
    write = formats.write_csv if form == Format.CSV else formats.write_jsonl
    sys.stdout.flush()
    # UTF-8 with these line ends, whatever the terminal has: the same bytes as in a file.
    file = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="")
    try:
        write(found, file)
    finally:
        file.detach()


def _file_name(key: str, form: Format) -> str:
    """Returns the name of an upload's result in a folder."""
    return key + (".out" if form == Format.JSONL else f".{form}")


def _results_below(here: Here, path: str, output: Path | None, *, join: bool, form: Format) -> None:
    from batch_queue.core.names import is_report

    if output is None:
        raise InputError(f"{path} is a folder: add --output with the folder that gets the results")
    root = here.queue.key_of(path)
    told = []
    for row in here.queue.uploads_below(path):
        target = output / _inside(_file_name(row.key.removeprefix(root), form))
        has_result = bool(row.result_key) and not is_report(row.result_key) and bool(row.ended_at)
        if has_result:
            download(here.queue.of(row), target, join=join, form=form)
        told.append({**upload_document(row), "file": target if has_result else None})
        if not here.as_json:
            here.out.line(str(target) if has_result else f"{row.key} has no result: it is {row.status}")
    if not told:
        raise InputError(f"the queue knows no upload below {root}")
    if here.as_json:
        here.out.json(told)


def _inside(name: str) -> str:
    """Returns a path that stays in its folder: whoever can upload chooses the keys, also one with ``..``."""
    return "/".join("_" if part in ("", ".", "..") else part for part in name.split("/"))


def download(upload: Upload, target: Path, *, join: bool = False, form: Format = Format.JSONL) -> int:
    """Writes the result of an upload to a file, whole or not at all. Returns the number of records."""
    from bedrock_batch import results as formats

    with whole(target) as part:
        target.parent.mkdir(parents=True, exist_ok=True)
        if form == Format.JSONL and not join:
            return _copy(upload.blocks(), part)
        found = upload.joined() if join else upload.results()
        if form == Format.PARQUET:
            return formats.write_parquet(found, part)
        write = formats.write_csv if form == Format.CSV else formats.write_jsonl
        with part.open("w", encoding="utf-8", newline="") as file:
            return write(found, file)


def _copy(blocks: Iterable[bytes], path: Path) -> int:
    count = 0
    with path.open("wb") as file:
        for block in blocks:
            file.write(block)
            count += block.count(b"\n")
    return count


# --------------------------------------------------------------------------------------------------- errors


@command
def errors(here: Here, path: UploadPath) -> None:
    """Show the errors of an upload that has ended, by code, with examples; the lines of a rejected file."""
    from batch_queue.core.reports import counted

    upload = here.queue.upload(path)
    row = upload.ended()
    report = upload.rejection()
    if report:
        _rejected(here, report)
        return
    found: dict[str, list[dict[str, str]]] = {}
    counts: Counter[str] = Counter()
    has_result = bool(row.result_key) and row.error_count
    for code, example in _errors(upload.results()) if has_result else ():
        counts[code] += 1
        if len(found.setdefault(code, [])) < EXAMPLES:
            found[code].append(example)
    by_code: Counter[str] = Counter()
    by_code.update(upload.summary().get("errors_by_code") or counts)
    if here.as_json:
        here.out.json(
            {
                "key": row.key,
                "status": str(row.status),
                "errors": row.error_count,
                "errors_by_code": [
                    {"code": code, "records": count, "examples": found.get(code, [])}
                    for code, count in by_code.most_common()
                ],
            }
        )
        return
    here.out.line(ended_words(row))
    for code, count in by_code.most_common():
        here.out.line(f"{code}: {counted(count, 'record')}", style="bold")
        for example in found.get(code, []):
            here.out.facts({example["record_id"][:40]: example["message"][:500]})


def _errors(records: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, str]]]:
    for record in records:
        error = record.get("error")
        if isinstance(error, dict):
            code = str(error.get("errorCode", "unknown"))
            words = str(error.get("errorMessage", ""))
            yield code, {"record_id": str(record.get("recordId")), "message": words}


def _rejected(here: Here, report: Mapping[str, Any]) -> None:
    if here.as_json:
        here.out.json(report)
        return
    here.out.line(f"{report['key']} was rejected. {report['what_to_do']}")
    for fault in report["faults"]:
        where = f"line {fault['line']}" if fault["line"] else "the file"
        here.out.facts({where: fault["reason"]})
    more = report["fault_count"] - len(report["faults"])
    if more > 0:
        here.out.line(f"and {more:,} more")


# -------------------------------------------------------------------------------------------------- in words


def records_words(row: Row) -> str:
    """Returns how many records an upload has, and what became of them."""
    left = row.records - row.success_count - row.error_count
    words = [f"{row.success_count:,} answered"]
    words += [f"{row.error_count:,} failed"] if row.error_count else []
    words += [f"{left:,} open"] if left > 0 and not row.ended_at else []
    return f"{row.records:,}: {', '.join(words)}" if row.records else ""


def ended_words(row: Row) -> str:
    """Returns in a line how an upload has ended."""
    from batch_queue.core.reports import counted

    words = records_words(row).partition(": ")[2]
    records = f", {counted(row.records, 'record')}: {words}" if row.records else ""
    return f"{row.key}: {row.status}{records}" + (f". {row.message}" if row.message else "")


def upload_document(row: Row) -> dict[str, Any]:
    """Returns the row of an upload as a document: what people ask for, and nothing of how it is stored."""
    inner = {"etag", "ready", "unread", "expires_at", "preparing", "chunks", "chunks_open"}
    return _document(row, inner)


def job_document(job: Job) -> dict[str, Any]:
    """Returns the row of a job as a document."""
    inner = {"sealed", "told", "tries", "tried_at", "unanswered", "collect_requested_at", "expires_at"}
    return _document(job, inner)


def _document(row: Any, leave_out: set[str]) -> dict[str, Any]:
    names: Sequence[str] = [field.name for field in fields(row) if field.name not in leave_out]
    return {name: getattr(row, name) for name in names}
