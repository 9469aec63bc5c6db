"""Keeps what a measurement found in .build/bench.json, from which `make bench-docs` writes its page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parents[2] / ".build" / "bench.json"


def record(section: str, values: Mapping[str, Any]) -> None:
    """Adds values to a section of the file; a name that is there gets its new value.

    A value is a number or a text, a mapping of such (a row of a table, by column), or a mapping with
    ``series`` (a plot: ``tools/plots.py``). All of it has to be what JSON can hold.
    """
    found = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    found[section] = {**found.get(section, {}), **values}
    FILE.parent.mkdir(parents=True, exist_ok=True)
    new = FILE.with_suffix(".new")
    new.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    new.replace(FILE)
