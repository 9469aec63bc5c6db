"""Writes the tables of docs/reference.md from the Terraform sources, and checks the documentation's links.

``python tools/docs.py`` writes the tables; ``--check`` only compares them and looks for dead links.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import hcl2

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference.md"
GENERATED = {".build", ".git", ".mypy_cache", ".pytest_cache", ".terraform", ".venv", "node_modules"}


def blocks(path: Path, kind: str) -> dict[str, dict[str, Any]]:
    """The blocks of one kind in a Terraform file, by name and in their order."""
    return {_text(name): body for block in _load(path)[kind] for name, body in block.items()}


def requirements() -> str:
    """The table of required versions, in Markdown."""
    settings = _load(ROOT / "versions.tf")["terraform"][0]
    rows = ["| name | version |", "|---|---|", f"| Terraform | `{_text(settings['required_version'])}` |"]
    for providers in settings["required_providers"]:
        for name, provider in providers.items():
            if isinstance(provider, dict):
                source = f"https://registry.terraform.io/providers/{_text(provider['source'])}/latest"
                rows.append(f"| [provider {_text(name)}]({source}) | `{_text(provider['version'])}` |")
    return "\n".join(rows)


def inputs() -> str:
    """The table of inputs, in Markdown. The attributes of a route have a table of their own.

    The input ``routes`` takes any type, because the module itself checks it: it is shown as what it must be.
    """
    rows = ["| name | type | default | description |", "|---|---|---|---|"]
    for name, body in blocks(ROOT / "variables.tf", "variable").items():
        kind = _type(_text(body["type"]))
        default = "**required**" if "default" not in body else f"`{_value(body['default'])}`"
        description = _text(body["description"])
        if name == "routes":
            kind = "map(object)"
            introduction = re.sub(r"\.\s[^.]*:$", ".", description.partition("\n- ")[0])
            description = f"{introduction} See [Routes](#routes)."
        rows.append(f"| `{name}` | `{kind}` | {default} | {_cell(description)} |")
    return "\n".join(rows)


def routes() -> str:
    """The table of a route's attributes, in Markdown.

    Raises:
        ValueError: An attribute has no description, or a description names no attribute.
    """
    variable = blocks(ROOT / "variables.tf", "variable")["routes"]
    described = descriptions(_text(variable["description"]))
    found = route_map(ROOT, "route_types")
    if missing := [name for name in found if name not in described]:
        raise ValueError(
            f"variables.tf: the description of routes says nothing of {', '.join(missing)}: "
            f'add a line "- {missing[0]}: …"'
        )
    if unknown := [name for name in described if name not in found]:
        raise ValueError(
            f"variables.tf: the description of routes has a line about {', '.join(unknown)}, "
            "which is no attribute in route_types: correct the name or remove the line"
        )
    defaults = route_map(ROOT, "route_defaults")
    rows = ["| name | type | default | description |", "|---|---|---|---|"]
    for name, kind in found.items():
        value = defaults.get(name, "null")
        rows.append(f"| `{name}` | `{json.loads(kind)}` | `{value}` | {_cell(_sentence(described[name]))} |")
    return "\n".join(rows)


def outputs() -> str:
    """The table of outputs, in Markdown."""
    rows = ["| name | description |", "|---|---|"]
    for name, body in blocks(ROOT / "outputs.tf", "output").items():
        rows.append(f"| `{name}` | {_cell(_text(body['description']))} |")
    return "\n".join(rows)


TABLES = {"requirements": requirements, "inputs": inputs, "routes": routes, "outputs": outputs}


def render(page: str) -> str:
    """The reference with its tables written anew. Raises ValueError where the marks for one are missing."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found_begin, rest = page.partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found_begin and found_end):
            raise ValueError(f"docs/reference.md has no {begin.strip()} … {end} for the table")
        page = f"{before}{begin}{table()}\n{end}{after}"
    return page


def descriptions(text: str) -> dict[str, str]:
    """The text of each line ``- name: text`` of a description, by name. A line may name several."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in text.splitlines():
        if item := re.match(r"- ([\w`, ]+): (.*)", line):
            names = [name.strip(" `") for name in item[1].split(",")]
            found |= dict.fromkeys(names, item[2])
        elif names:
            found |= {name: f"{found[name]} {line.strip()}".strip() for name in names}
    return found


def route_map(root: Path, name: str) -> dict[str, str]:
    """The values of a local map, such as ``route_defaults``, in the Terraform files of a folder that has it.

    Each is written as in the source: a string has its quotes.

    Raises:
        ValueError: The local is no map, so that its values cannot be read.
    """
    for path in sorted(root.glob("*.tf")):
        for block in _load(path).get("locals", []):
            found = block.get(name, {})
            if not isinstance(found, dict):
                raise ValueError(f"{path.name}: {name} is not a map: write it as {{ attribute = value, … }}")
            if found:
                return {_text(attribute): _value(value) for attribute, value in found.items()}
    return {}


def dead_links(root: Path = ROOT) -> list[str]:
    """Every relative link in the Markdown files below a folder that leads to no file or no heading.

    Each comes as ``file:line: target: what is wrong``.
    """
    found = []
    for path in sorted(root.rglob("*.md")):
        if GENERATED & set(path.relative_to(root).parts):
            continue
        for number, target in _links(path.read_text(encoding="utf-8")):
            file, _, anchor = target.partition("#")
            aim = (path.parent / unquote(file)).resolve() if file else path
            if not aim.is_relative_to(root.resolve()):
                wrong = "leads out of the repository"
            elif not aim.exists():
                wrong = "no such file"
            elif anchor and aim.suffix == ".md" and anchor not in anchors(aim.read_text(encoding="utf-8")):
                wrong = f"{aim.relative_to(root.resolve())} has no such heading"
            else:
                continue
            found.append(f"{path.relative_to(root)}:{number}: {target}: {wrong}")
    return found


def anchors(markdown: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a Markdown text."""
    found: set[str] = set()
    for _, line in _prose(markdown):
        if heading := re.match(r"#{1,6} +(.*?)(?: +#+)?$", line):
            text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            count = 0
            while (anchor := f"{slug}-{count}" if count else slug) in found:
                count += 1
            found.add(anchor)
    return found


def _links(markdown: str) -> Iterator[tuple[int, str]]:
    for number, line in _prose(markdown):
        text = re.sub(r"(`+).*?\1", "", line)
        targets = re.findall(r"\]\(\s*<?([^)>\s]+)", text)
        targets += re.findall(r'(?:src|srcset|href)="([^"]+)"', text)
        targets += re.findall(r"^\[[^\]]+\]:\s+(\S+)", text)
        yield from ((number, target) for target in targets if not re.match(r"[a-z][a-z0-9+.-]*:|//", target))


def _prose(markdown: str) -> Iterator[tuple[int, str]]:
    """The numbered lines of a Markdown text that are not in a block of code."""
    fence = ""
    for number, line in enumerate(markdown.splitlines(), start=1):
        mark = re.match(r" {0,3}(`{3,}|~{3,})", line)
        if fence:
            if mark and mark[1].startswith(fence):
                fence = ""
        elif mark:
            fence = mark[1]
        else:
            yield number, line


def _load(path: Path) -> dict[str, Any]:
    return _parsed(path.read_text(encoding="utf-8"))


@cache
def _parsed(text: str) -> dict[str, Any]:
    """The contents of a Terraform file. A long one takes a second, and each table needs several."""
    parsed: dict[str, Any] = hcl2.loads(text)
    return parsed


def _split(text: str) -> list[str]:
    """The parts of an expression between commas or line ends that are in no brackets and no string."""
    parts, depth, quoted = [""], 0, False
    for before, character in zip(" " + text, text, strict=False):
        if character == '"' and before != "\\":
            quoted = not quoted
        if not quoted:
            depth += (character in "([{") - (character in ")]}")
            if character in ",\n" and depth == 0:
                parts.append("")
                continue
        parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def _type(expression: str) -> str:
    """A type on one line: the attributes of an object in single spaces."""

    def short(match: re.Match[str]) -> str:
        inner = (re.sub(r"\s*=\s*", " = ", entry) for entry in _split(match[1]))
        return f"object({{ {', '.join(inner)} }})"

    return re.sub(r"object\(\{(.*?)\}\)", short, expression, flags=re.DOTALL)


def _sentence(text: str) -> str:
    """The text with a capital, unless it begins with a name or a value."""
    word = text.partition(" ")[0]
    return text if "_" in word or word in {"true", "false"} else text[:1].upper() + text[1:]


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


def _cell(text: str) -> str:
    text = text.replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\n- ", "<br>• ").replace("\n", " ")


def main(arguments: list[str] | None = None) -> int:
    """Writes the tables, or with ``--check`` says what is out of date or leads nowhere (exit status 1)."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare and check the links, write nothing")
    options = parser.parse_args(arguments)
    current = REFERENCE.read_text(encoding="utf-8")
    fresh = render(current)
    if not options.check:
        REFERENCE.write_text(fresh, encoding="utf-8")
        print(f"docs/reference.md {'was up to date' if current == fresh else 'has new tables'}")
        return 0
    faults = [f"{link}: correct the link" for link in dead_links()]
    if current != fresh:
        faults.append(
            "docs/reference.md: its tables differ from the Terraform sources: run `make docs` and commit it"
        )
    print("\n".join(faults or ["the tables of docs/reference.md and all links are up to date"]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
