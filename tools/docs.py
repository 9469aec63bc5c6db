"""Writes the tables of inputs and outputs in README.md from variables.tf and outputs.tf.

``python tools/docs.py`` writes them; ``--check`` only compares.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import hcl2

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"


def blocks(path: Path, kind: str) -> dict[str, dict[str, Any]]:
    """The blocks of one kind in a Terraform file, by name and in their order."""
    with path.open(encoding="utf-8") as file:
        found = hcl2.load(file)[kind]
    return {_text(name): body for block in found for name, body in block.items()}


def inputs() -> str:
    """The table of inputs, in Markdown."""
    rows = ["| name | type | default | what it is |", "|---|---|---|---|"]
    for name, body in blocks(ROOT / "variables.tf", "variable").items():
        kind = re.sub(r"\(\{.*", "", _text(body["type"])).replace("(object", "(object)")
        default = "**required**" if "default" not in body else f"`{_value(body['default'])}`"
        rows.append(f"| `{name}` | `{kind}` | {default} | {_cell(body['description'])} |")
    return "\n".join(rows)


def outputs() -> str:
    """The table of outputs, in Markdown."""
    rows = ["| name | what it is |", "|---|---|"]
    for name, body in blocks(ROOT / "outputs.tf", "output").items():
        rows.append(f"| `{name}` | {_cell(body['description'])} |")
    return "\n".join(rows)


def render(readme: str) -> str:
    """README.md with its tables made anew. Raises ValueError where the marks for one are missing."""
    for name, table in (("inputs", inputs()), ("outputs", outputs())):
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found_begin, rest = readme.partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found_begin and found_end):
            raise ValueError(f"README.md has no {begin.strip()} … {end} for the table")
        readme = f"{before}{begin}{table}\n{end}{after}"
    return readme


def _text(value: str) -> str:
    """The inside of a string, heredoc or expression as the parser gives it."""
    value = value.strip()
    if value.startswith('"<<'):
        body = value.strip('"').split("\n", 1)[1].rsplit("\n", 1)[0]
        return textwrap.dedent(body).strip()
    if value.startswith("${") and value.endswith("}"):
        return value[2:-1]
    return str(json.loads(value)) if value.startswith('"') else value


def _value(value: Any) -> str:
    if isinstance(value, str):
        inner = _text(value)
        return f'"{inner}"' if value.startswith('"') else inner
    return json.dumps(value)


def _cell(description: str) -> str:
    text = _text(description).replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\n- ", "<br>• ").replace("\n", " ")


def main(arguments: list[str] | None = None) -> int:
    """Writes the tables, or with ``--check`` says whether they are up to date (exit status 1 if not)."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    options = parser.parse_args(arguments)
    current = README.read_text(encoding="utf-8")
    fresh = render(current)
    if current == fresh:
        print("README.md has the inputs and outputs of the sources")
        return 0
    if options.check:
        print("README.md has other inputs or outputs than the sources: run `make docs` and commit it")
        return 1
    README.write_text(fresh, encoding="utf-8")
    print("wrote the tables of README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
