"""The files that are shipped, read without the queue's own reader."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Requests:
    """One file: path below the input prefix, bytes, records by recordId, broken lines (from 1)."""

    path: str
    body: bytes
    records: Mapping[str, Mapping[str, Any]]
    broken_lines: tuple[int, ...] = ()

    @property
    def lines(self) -> int:
        """How many lines it has, broken ones too."""
        return len(self.records) + len(self.broken_lines)


def read(path: str, body: bytes) -> Requests:
    """Return what is in ``body``; a line that is not ``{"recordId": …, "modelInput": …}`` is broken."""
    records: dict[str, Mapping[str, Any]] = {}
    broken: list[int] = []
    for number, line in enumerate(body.removesuffix(b"\n").split(b"\n"), start=1):
        try:
            record = json.loads(line)
            identifier, model_input = record["recordId"], record["modelInput"]
        except (ValueError, KeyError, TypeError):
            broken.append(number)
            continue
        if identifier in records:
            broken.append(number)
        else:
            records[identifier] = model_input
    return Requests(path, body, records, tuple(broken))


def load(folder: Path) -> list[Requests]:
    """Return every .jsonl file below ``folder``, by path, in NFC: not every file system keeps that.

    Raises FileNotFoundError where there is none.
    """
    found = sorted(
        (unicodedata.normalize("NFC", file.relative_to(folder).as_posix()), file)
        for file in folder.rglob("*.jsonl")
    )
    if not found:
        raise FileNotFoundError(f"there is no .jsonl file below {folder}")
    return [read(path, file.read_bytes()) for path, file in found]
