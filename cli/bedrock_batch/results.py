"""Results: streams of answers, joined with the input in its order, and as tables."""

from __future__ import annotations

import csv
import json
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TextIO

from batch_queue.core import answers
from batch_queue.core.reading import lines, parse_line, record_id, tidied

from .errors import InputError

# A line of a result: the record, the answer, and the names of their members.
MAX_LINE_BYTES = 1 << 30
# So many records of a Parquet file are in memory, and so many characters of them.
_AT_ONCE = 10_000
_MOST_CHARACTERS = 64_000_000
COLUMNS = (
    "record_id",
    "text",
    "stop_reason",
    "input_tokens",
    "output_tokens",
    "error_code",
    "error_message",
    "model_input",
    "model_output",
)
# Where models put their text (docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html).
_TEXTS = ("text", "outputText", "completion", "generation", "output_text", "content")
_INSIDE = (
    "output",
    "message",
    "content",
    "results",
    "outputs",
    "choices",
    "generations",
    "completions",
    "data",
)
NO_ANSWER = "NoAnswer"


def records(blocks: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yields the records of a result or an upload, line by line."""
    for line, _ in lines(blocks, MAX_LINE_BYTES):
        if line:
            record: dict[str, Any] = json.loads(line)
            yield record


def joined(upload: Iterable[bytes], result: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yields the records of an upload in its order, each with the ``modelOutput`` or ``error`` of the result.

    A record without a line in the result, because it was cancelled before it ran, gets an error with the code
    ``NoAnswer``. What both have is kept in a file on this machine, not in memory.
    """
    with tempfile.TemporaryDirectory() as folder, closing(_Answers(Path(folder))) as found:
        found.add(result)
        for line in tidied(upload):
            record = parse_line(line.removesuffix(b"\n"))
            yield found.answered(record)


class _Answers:
    """The lines of a result by recordId, on disk."""

    def __init__(self, folder: Path) -> None:
        self._lines = (folder / "result").open("w+b")
        self._places = sqlite3.connect(folder / "places")
        self._places.execute("PRAGMA synchronous = OFF")
        self._places.execute("PRAGMA journal_mode = OFF")
        self._places.execute("CREATE TABLE place (id TEXT PRIMARY KEY, at INT, size INT) WITHOUT ROWID")

    def add(self, result: Iterable[bytes]) -> None:
        """Adds the lines of a result."""
        try:
            self._places.executemany("INSERT OR REPLACE INTO place VALUES (?, ?, ?)", self._stored(result))
            self._places.commit()
            self._lines.flush()
        except (sqlite3.Error, OSError) as error:
            raise InputError(
                f"the answers cannot be kept in {tempfile.gettempdir()}: {error}. TMPDIR names another folder"
            ) from error

    def _stored(self, result: Iterable[bytes]) -> Iterator[tuple[str, int, int]]:
        at = 0
        for line, _ in lines(result, MAX_LINE_BYTES):
            if line:
                self._lines.write(line)
                yield _id(json.loads(line)), at, len(line)
                at += len(line)

    def answered(self, record: dict[str, Any]) -> dict[str, Any]:
        """Returns a record of the upload with its answer."""
        query = "SELECT at, size FROM place WHERE id = ?"
        row = self._places.execute(query, (_id(record),)).fetchone()
        if row is None:
            words = "The record has no line in the result: it was cancelled before it ran."
            return {**record, "error": {"errorCode": NO_ANSWER, "errorMessage": words}}
        self._lines.seek(row[0])
        answer = json.loads(self._lines.read(row[1]))
        return {**record, **{name: answer[name] for name in ("modelOutput", "error") if name in answer}}

    def close(self) -> None:
        """Ends the use of the files."""
        self._lines.close()
        self._places.close()


def _id(record: Mapping[str, Any]) -> str:
    # SQLite stores no unpaired surrogates, which a line of Bedrock's could contain.
    return record_id({"modelInput": {}, **record}).encode("utf-8", "surrogatepass").hex()


def row(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a record with its answer as a row with ``COLUMNS``, in which documents are JSON texts."""
    output, error = record.get("modelOutput"), record.get("error") or {}
    used_in, used_out = answers.tokens(output)
    answered = output is not None
    return {
        "record_id": record.get("recordId"),
        "text": _text(text_of(output)) if answered else None,
        "stop_reason": _text(answers.stop_reason(output)) or None,
        "input_tokens": used_in if answered else None,
        "output_tokens": used_out if answered else None,
        "error_code": _text(error["errorCode"]) if "errorCode" in error else None,
        "error_message": _text(error["errorMessage"]) if "errorMessage" in error else None,
        "model_input": _json(record.get("modelInput")),
        "model_output": _json(output) if answered else None,
    }


def _json(document: Any) -> str:
    text = json.dumps(document, ensure_ascii=False)
    # An unpaired surrogate, which may be in a record, has no bytes in UTF-8: it stays escaped.
    return text if encodable(text) else json.dumps(document)


def encodable(text: str) -> bool:
    """Returns whether a text can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(value: object) -> str:
    """Returns a value as a text that can be written as UTF-8."""
    text = str(value)
    return text if encodable(text) else text.encode("utf-8", "replace").decode()


def text_of(output: Any) -> str:
    """Returns the text in a model output, of Converse and of the models' own formats; "" without one.

    Several texts are joined by line ends.
    """
    return "\n".join(_texts(output))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, dict):
        for name in _TEXTS:
            if isinstance(text := value.get(name), str):
                yield text
                return
        for name in _INSIDE:
            if isinstance(value.get(name), dict | list):
                found = list(_texts(value[name]))
                if found:
                    yield from found
                    return


def write_jsonl(found: Iterable[Mapping[str, Any]], file: TextIO) -> int:
    """Writes records as JSON Lines, and returns how many."""
    count = 0
    for record in found:
        file.write(_json(record) + "\n")
        count += 1
    return count


def write_csv(found: Iterable[Mapping[str, Any]], file: TextIO) -> int:
    """Writes records as CSV with ``COLUMNS`` (RFC 4180), and returns how many."""
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    count = 0
    for record in found:
        writer.writerow(row(record))
        count += 1
    return count


def write_parquet(found: Iterable[Mapping[str, Any]], path: Path) -> int:
    """Writes records as a Parquet file with ``COLUMNS``, and returns how many.

    Raises InputError without the package pyarrow.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 (an extra, and slow to import)
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise InputError(
            "Parquet needs the package pyarrow: install bedrock-batch with its extra parquet, such as "
            "pip install '.[parquet]'"
        ) from error
    counts = ("input_tokens", "output_tokens")
    schema = pa.schema([(name, pa.int64() if name in counts else pa.string()) for name in COLUMNS])
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for some in _groups(found):
            writer.write_table(pa.Table.from_pylist(some, schema=schema))
            count += len(some)
    return count


def _groups(found: Iterable[Mapping[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    size = 0
    for record in found:
        group.append(row(record))
        size += sum(len(cell) for cell in group[-1].values() if isinstance(cell, str))
        if len(group) == _AT_ONCE or size >= _MOST_CHARACTERS:
            yield group
            group, size = [], 0
    yield group
