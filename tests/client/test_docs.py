"""What the documentation says of the command line and the Python client: each name in it exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import bedrock_batch
import pytest
import typer.main
from bedrock_batch import app, commands
from bedrock_batch.client import Queue, Submission, Upload

from tools.docs import ROOT

PAGE = ROOT / "docs" / "client.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: The classes that the variables of the page's Python examples have.
VARIABLES = {"queue": Queue, "submission": Submission, "upload": Upload}
GROUP = ""


@cache
def options() -> dict[str, set[str]]:
    """Command → its options; those of bedrock-batch itself are under GROUP."""
    assert commands
    group: Any = typer.main.get_command(app.app)
    return {
        name: {"--help", "-h", *(opt for one in each.params for opt in one.opts if opt.startswith("-"))}
        for name, each in {GROUP: group, **group.commands}.items()
    }


def fences(markdown: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", markdown, re.MULTILINE | re.DOTALL)


def spans(markdown: str) -> list[str]:
    """The code within the prose."""
    prose = re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", prose)


def code(markdown: str) -> Iterator[str]:
    """Yields each line of code, with the lines that continue it, and each span of code."""
    for block in re.findall(r"^```\w*\n(.*?)^```", markdown, re.MULTILINE | re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()
    yield from spans(markdown)


def calls(markdown: str) -> Iterator[tuple[str, list[str]]]:
    """Yields each command of bedrock-batch with its options, as they are written."""
    for line in code(markdown):
        for words in re.findall(r"\bbedrock-batch ([^|;&#]*)", line):
            # A text in quotes is no option, and what follows on a line of output is no command.
            first, *rest = re.sub(r"\"[^\"]*\"|'[^']*'", "TEXT", words).split()
            given = [word.partition("=")[0] for word in rest if re.match(r"-{1,2}[a-z]", word)]
            yield (GROUP, [first, *given]) if first.startswith("-") else (first, given)


def sections() -> dict[str, str]:
    """Heading of the second level → its section of the page."""
    found = re.split(r"^## (.+)\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_of_a_page_exists(page: Path) -> None:
    found = list(calls(page.read_text(encoding="utf-8")))
    assert {name for name, _ in found} <= set(options())
    given = [(name, option) for name, some in found for option in some]
    assert [(name, option) for name, option in given if option not in options()[name]] == []


def test_the_pages_show_every_command() -> None:
    shown = {name for page in PAGES for name, _ in calls(page.read_text(encoding="utf-8"))}
    assert shown == set(options())


def test_every_command_has_a_section() -> None:
    assert set(options()) - {GROUP} <= set(sections())


@pytest.mark.parametrize("name", sorted(set(options()) - {GROUP}))
def test_the_options_in_the_section_of_a_command_are_its_own(name: str) -> None:
    alone = [span for span in spans(sections()[name]) if re.fullmatch(r"--[a-z-]+", span)]
    assert [option for option in alone if option not in options()[name]] == []


def test_the_readme_names_commands_that_exist() -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Where to look\n")[1]
    table = section.strip().split("\n\n")[0]
    cells = [re.split(r" *\| *", row)[2] for row in table.splitlines()[2:]]
    named = [span.split()[0] for cell in cells for span in re.findall(r"`([^`]+)`", cell)]
    assert named
    assert set(named) <= set(options())


def examples() -> list[str]:
    return fences(PAGE.read_text(encoding="utf-8"), "python")


@pytest.mark.parametrize("example", examples())
def test_a_python_example_names_what_exists(example: str) -> None:
    tree = ast.parse(example)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.module == "bedrock_batch"
            assert {each.name for each in node.names} <= set(bedrock_batch.__all__)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            kind = VARIABLES.get(node.value.id)
            assert kind is None or named(kind, node.attr), f"{kind} has no {node.attr}"


def test_the_attributes_that_the_page_names_exist() -> None:
    section = sections()["The Python client"]
    queue = re.findall(r"`queue\.(\w+)", section)
    assert len(queue) > 5
    assert [name for name in queue if not named(Queue, name)] == []
    table = section.split("| of an `Upload` | what it is |\n")[1].split("\n\n")[0]
    upload = [name for row in table.splitlines()[1:] for name in re.findall(r"`(\w+)", row.split(" | ")[0])]
    assert len(upload) > 10
    assert [name for name in upload if not named(Upload, name)] == []
    exceptions = re.findall(r"\b(\w+Error)\b", section)
    assert set(exceptions) == {name for name in bedrock_batch.__all__ if name.endswith("Error")}


def named(kind: type[Any], name: str) -> bool:
    """Whether an object of a class has an attribute: of the class, or one that its constructor sets."""
    return hasattr(kind, name) or name in kind.__init__.__code__.co_names  # type: ignore[misc]


def test_the_page_has_the_exit_codes_of_the_command_line() -> None:
    told = re.findall(r"^\| (\d+) \|", sections()["Scripts"], re.MULTILINE)
    assert told == re.findall(r"^\| (\d+) \|", app.__doc__ or "", re.MULTILINE)
