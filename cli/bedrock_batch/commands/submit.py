"""`submit`: checks files, says what they will take, uploads them, waits, and downloads their results."""

from __future__ import annotations

import contextlib
import hashlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from bedrock_batch.app import Here, command
from bedrock_batch.errors import InputError, InterruptError, PassingError, RefusedError
from bedrock_batch.times import clock_text

if TYPE_CHECKING:
    from batch_queue.core.rows import Upload as Row

    from bedrock_batch.client import Submission, Upload
    from bedrock_batch.local import Checked
    from bedrock_batch.output import Out

STDIN = "-"
_BLOCK = 1 << 20
WAITING = "waiting for its event"
# How often a waiting command asks the queue about the first upload: for a bar, and for a line of words.
BAR_SECONDS = 5.0
WORDS_SECONDS = 60.0
# After so long, the event of an upload may be lost.
UNKNOWN_SECONDS = 120.0
# More files than these are counted, not listed.
MOST_LISTED = 20


@command
def submit(
    here: Here,
    path: Annotated[str, typer.Argument(help="A .jsonl file, a folder of them, or - for standard input.")],
    route: Annotated[
        str, typer.Option("--route", help="Route to run on. Default: the one that the first folder selects.")
    ] = "",
    to: Annotated[str, typer.Option("--to", help="Folder to upload to, below the input prefix.")] = "",
    name: Annotated[
        str, typer.Option("--name", help="With -: name of the file. Default: made from its contents.")
    ] = "",
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Wait until all have ended, and download their results.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", help="With --wait: longest time to wait, in minutes.", min=0.1),
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", help="With --wait: file, or folder with a slash. Default: beside each file."
        ),
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, and say what it will take, but upload nothing.")
    ] = False,
) -> None:
    """Check and upload a file, or all .jsonl files below a folder.

    The files are checked by the same code that the queue checks them with, before anything is uploaded. What
    is in the bucket already, with the same contents, is not uploaded again. With --wait, the exit code is 0
    only if every record was answered.
    """
    if output and not wait:
        raise InputError("--output needs --wait: without it, bedrock-batch results gets the results later")
    if timeout is not None and not wait:
        raise InputError("--timeout needs --wait")
    if name and path != STDIN:
        raise InputError("--name is for standard input: the name of a file is its own")
    with contextlib.ExitStack() as ending:
        local = _stdin(name, ending) if path == STDIN else Path(path)
        checked = _checked(here, local, to, route)
        document = _expect(here, checked)
        if dry_run:
            if here.as_json:
                here.out.json(document)
            else:
                here.out.line("Nothing was uploaded (--dry-run).")
            return
        submission = _sent(here, checked)
        if not wait:
            _submitted(here, submission, document)
            return
        found = _waited(here, submission, None if timeout is None else timeout * 60)
        targets = _targets(local, checked, output, from_stdin=path == STDIN)
        _ended(here, submission, found, targets, document)


def _stdin(name: str, ending: contextlib.ExitStack) -> Path:
    """Copies standard input to a file."""
    if sys.stdin.isatty():
        raise InputError("- reads standard input, and this is a terminal. Pipe the records into the command")
    folder = Path(ending.enter_context(tempfile.TemporaryDirectory()))
    sha256 = hashlib.sha256()
    with (folder / "stdin").open("wb") as file:
        while block := sys.stdin.buffer.read(_BLOCK):
            sha256.update(block)
            file.write(block)
    from bedrock_batch.local import named

    return named(folder / "stdin", name or f"stdin-{sha256.hexdigest()[:12]}.jsonl")


def _checked(here: Here, path: Path, to: str, route: str) -> list[Checked]:
    from batch_queue.core.reports import counted

    from bedrock_batch.client import RejectedError

    queue, out = here.queue, here.out
    sources, left_out = queue.sources(path, to=to, route=route)
    if left_out:
        are = "is left out: its name does" if left_out == 1 else "are left out: their names do"
        out.note(f"{counted(left_out, 'file')} {are} not end with .jsonl.", style="dim")
    size = sum(source.path.stat().st_size for source in sources)
    with _progress(out, "Checking", size) as advance:
        checked = queue.check_all(sources, advance)
    if any(one.fault_count for one in checked):
        if here.as_json:
            out.json({"uploaded": [], "faults": _faults(checked)})
        raise RejectedError(checked)
    return checked


def _faults(checked: Sequence[Checked]) -> list[dict[str, Any]]:
    return [
        {
            "file": str(one.source.path),
            "line": fault.line,
            "reason": fault.reason,
            "record_id": fault.record_id,
        }
        for one in checked
        for fault in one.faults
    ]


def _expect(here: Here, checked: Sequence[Checked]) -> dict[str, Any]:
    """Prints what the files are expected to take, and returns it as a document."""
    from batch_queue.core.reports import counted

    from bedrock_batch.output import bytes_text, seconds_text

    found = here.queue.expected(checked)
    out = here.out
    if not here.as_json:
        for one in checked[:MOST_LISTED]:
            where = one.source.key
            out.line(f"{one.source.path} → {where}: {counted(one.records, 'record')}, {bytes_text(one.size)}")
        if len(checked) > MOST_LISTED:
            out.line(f"and {counted(len(checked) - MOST_LISTED, 'more file')}")
        for each in found:
            words = [
                f"Route {each.route}: {counted(each.records, 'record')} in {counted(each.jobs, 'job')}"
                if each.jobs
                else f"Route {each.route}: {counted(each.records, 'record')}, not now: it waits"
            ]
            if each.ends is not None:
                words.append(f"expected to end in {seconds_text(each.ends)}")
            words.append(
                f"about {each.input_tokens:,} input and {each.output_tokens:,} output tokens"
                if each.learned
                else f"about {each.input_tokens:,} input tokens"
            )
            if each.cost is not None:
                words.append(f"cost about {each.cost:.2f}" + ("" if each.learned else " without the answers"))
            out.line(", ".join(words) + ".")
    return {
        "files": [
            {
                "file": str(one.source.path),
                "key": one.source.key,
                "route": one.source.route,
                "records": one.records,
                "bytes": one.size,
            }
            for one in checked
        ],
        "expected": [
            {
                "route": each.route,
                "records": each.records,
                "jobs": each.jobs,
                "seconds": each.ends,
                "input_tokens": each.input_tokens,
                "output_tokens": each.output_tokens if each.learned else None,
                "cost": each.cost,
            }
            for each in found
        ],
    }


def _sent(here: Here, checked: Sequence[Checked]) -> Submission:
    out = here.out
    try:
        with _progress(out, "Uploading", sum(one.size for one in checked)) as advance:
            submission = here.queue.upload_all(checked, advance)
    except KeyboardInterrupt:
        out.note("Interrupted. Run the same command again: what was uploaded is not uploaded again.")
        raise
    there = sum(not one.sent for one in submission)
    if there:
        from batch_queue.core.reports import counted

        out.note(f"In the bucket already, with the same contents: {counted(there, 'file')}.", style="dim")
    return submission


def _submitted(here: Here, submission: Submission, document: Mapping[str, Any]) -> None:
    if here.as_json:
        here.out.json({**document, "uploads": [_named(one) for one in submission]})
        return
    for one in submission[:MOST_LISTED]:
        here.out.line(f"Uploaded {one.key}" if one.sent else f"{one.key} was there already")
    here.out.line(f"Follow it: bedrock-batch status {_path_of(here, submission)}")


def _named(upload: Upload) -> dict[str, Any]:
    return {"key": upload.key, "upload_id": upload.upload_id, "sent": upload.sent}


def _path_of(here: Here, submission: Submission) -> str:
    """Returns a path that names the uploads: the file, or the folder that they have in common."""
    import posixpath
    import shlex
    from pathlib import PurePosixPath

    prefix = here.queue.connection.about.input_prefix
    paths = [one.key.removeprefix(prefix) for one in submission]
    if len(paths) == 1:
        return shlex.quote(paths[0])
    common = posixpath.commonpath([PurePosixPath("/", path).parent for path in paths])
    return shlex.quote(f"{common.strip('/')}/")


def _waited(here: Here, submission: Submission, timeout: float | None) -> dict[str, Row]:
    """Waits until all uploads have ended, and returns their rows by upload id."""
    watching = _Live(here, submission) if here.out.live else _Lines(here, submission)
    found: dict[str, Row] = {}
    told = _Told(here, submission)
    path = _path_of(here, submission)
    come_back = (
        f"What was uploaded goes on. Come back with bedrock-batch status {path}, and get the result with "
        f"bedrock-batch results {path}{'' if len(submission) == 1 else ' --output results'}"
    )
    try:
        with watching:
            for found in submission.watch(timeout, trouble=told.trouble):
                told.look(found)
                watching.show(found)
    except KeyboardInterrupt:
        here.out.note(f"Interrupted. {come_back}")
        raise typer.Exit(InterruptError.exit_code) from None
    except RefusedError:
        here.out.note(come_back)
        raise
    return found


class _Told:
    """Says once what a waiting person should know: that AWS does not answer, or an event may be lost."""

    def __init__(self, here: Here, submission: Submission) -> None:
        self._here = here
        self._submission = submission
        self._began = time.monotonic()
        self._trouble = ""
        self._unknown = False

    def trouble(self, error: PassingError) -> None:
        """Tells of an error that passes."""
        if str(error) != self._trouble:
            self._trouble = str(error)
            self._note(f"{error}. Trying again")

    def look(self, found: Mapping[str, Row]) -> None:
        """Tells of uploads that the queue does not know for too long."""
        if self._trouble:
            self._note("AWS answers again")
        self._trouble = ""
        unknown = sum(one.upload_id not in found for one in self._submission)
        if not unknown or self._unknown or time.monotonic() < self._began + UNKNOWN_SECONDS:
            return
        from batch_queue.core.reports import counted

        self._unknown = True
        self._note(
            f"The queue does not know {counted(unknown, 'upload')} yet. bedrock-batch sweep finds those "
            "whose events were lost, and bedrock-batch doctor says whether events reach the queue"
        )

    def _note(self, words: str) -> None:
        self._here.out.note(f"{time.strftime('%H:%M:%S')} {words}", style="yellow")


class _Lines:
    """Prints a line when the status of an upload changes, and now and then what the first one waits for."""

    def __init__(self, here: Here, submission: Submission) -> None:
        self._here = here
        self._submission = submission
        self._seen: dict[str, str] = {}
        self._foretold = _Foretold(submission, WORDS_SECONDS)
        self._words = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, found: Mapping[str, Row]) -> None:
        """Prints what is new: of many uploads how many have which status, else the status of each."""
        now = {
            one.key: str(found[one.upload_id].status) if one.upload_id in found else WAITING
            for one in self._submission
        }
        if now != self._seen and len(now) > MOST_LISTED:
            self._note(", ".join(f"{count:,} {status}" for status, count in Counter(now.values()).items()))
        elif now != self._seen:
            for key, status in now.items():
                if self._seen.get(key, WAITING) != status:
                    self._note(f"{key}: {status}")
        self._seen = now
        if self._foretold.look(found) and (words := str(self._foretold.answer["words"])) != self._words:
            self._words = words
            self._note(words)

    def _note(self, words: str) -> None:
        self._here.out.note(f"{time.strftime('%H:%M:%S')} {words}")


class _Live:
    """Redraws a bar with the records that were processed, and when the first upload is expected to end."""

    def __init__(self, here: Here, submission: Submission) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._foretold = _Foretold(submission, BAR_SECONDS)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[ends]}", style="dim"),
            console=here.out.err,
            transient=True,
        )
        self._task = self._progress.add_task(WAITING, total=None, ends="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, found: Mapping[str, Row]) -> None:
        """Redraws the bar."""
        self._foretold.look(found)
        rows = list(found.values())
        total = sum(row.records for row in rows)
        jobs = self._foretold.answer.get("jobs", [])
        done = sum(row.success_count + row.error_count for row in rows)
        done += sum(int(job.get("records_processed", 0)) for job in jobs)
        statuses = sorted({str(row.status) for row in rows}) or [WAITING]
        end = str(self._foretold.answer.get("expected_end", ""))
        self._progress.update(
            self._task,
            total=total or None,
            completed=min(done, total),
            description=", ".join(statuses),
            ends=f"ends {clock_text(end)}" if end else "",
        )


class _Foretold:
    """What the queue says now and then of the first upload that has not ended, if the caller may give orders.

    ``answer``: of the order to explain it; {} if there is none.
    """

    def __init__(self, submission: Submission, seconds: float) -> None:
        self._submission = submission
        self._seconds = seconds
        self._at = time.monotonic()
        self.answer: Mapping[str, Any] = {}

    def look(self, found: Mapping[str, Row]) -> bool:
        """Returns whether there is a new answer."""
        if time.monotonic() < self._at + self._seconds:
            return False
        self._at = time.monotonic()
        is_open = [
            one for one in self._submission if one.upload_id in found and not found[one.upload_id].ended_at
        ]
        self.answer = {}
        if is_open:
            try:
                self.answer = is_open[0].explain()
            except PassingError:
                self.answer = {}  # the next look may get one
            except (InputError, RefusedError):
                self._at = float("inf")
        return bool(self.answer)


def _targets(path: Path, checked: Sequence[Checked], output: str, *, from_stdin: bool) -> dict[str, Path]:
    """Returns key → the file that gets its result."""
    if not output:
        folder = Path() if from_stdin else None
        return {
            one.source.key: (folder or one.source.path.parent) / _out(Path(one.source.path.name))
            for one in checked
        }
    target = Path(output)
    if path.is_dir() or target.is_dir() or output.endswith("/"):
        root = path if path.is_dir() else path.parent
        return {one.source.key: target / _out(one.source.path.relative_to(root)) for one in checked}
    return {checked[0].source.key: target}


def _out(path: Path) -> Path:
    return path.with_name(f"{path.name}.out")


def _ended(
    here: Here,
    submission: Submission,
    found: Mapping[str, Row],
    targets: Mapping[str, Path],
    document: Mapping[str, Any],
) -> None:
    """Downloads the results, prints how the uploads have ended, and ends with the exit code."""
    from batch_queue.core.names import is_report
    from batch_queue.core.rows import Status

    from bedrock_batch.commands.looking import download, ended_words, upload_document

    told = []
    for one in submission:
        row = found[one.upload_id]
        target = None
        if row.result_key and not is_report(row.result_key):
            target = targets[one.key]
            download(one, target)
        told.append({**upload_document(row), "file": target})
        if not here.as_json:
            here.out.line(ended_words(row))
            if target:
                here.out.line(f"  {target}")
    if here.as_json:
        here.out.json({**document, "uploads": told})
    if any(row.status != Status.COMPLETED for row in found.values()):
        raise typer.Exit(1)


@contextlib.contextmanager
def _progress(out: Out, what: str, size: int) -> Iterator[Any]:
    """Shows a bar for so many bytes on a terminal."""
    if not out.live:
        yield lambda _: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=out.err, transient=True) as progress:
        task = progress.add_task(what, total=size)
        yield lambda count: progress.advance(task, count)
