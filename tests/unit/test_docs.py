"""The generated tables of docs/reference.md, the links of the documentation, and what the examples share."""

import re
from pathlib import Path

import pytest

from tools import docs

pytestmark = pytest.mark.unit


def rows(table: str) -> dict[str, list[str]]:
    """The cells of a Markdown table, by the name in the first one."""
    cells = [[cell.strip() for cell in row.split(" | ")] for row in table.splitlines()[2:]]
    return {row[0].strip("|` "): [cell.strip("| ") for cell in row[1:]] for row in cells}


def test_the_reference_has_the_tables_of_the_sources() -> None:
    page = docs.REFERENCE.read_text(encoding="utf-8")
    assert docs.render(page) == page, "run `make docs` and commit docs/reference.md"


def test_every_input_and_output_has_a_row_and_a_description() -> None:
    for table, kind, file in (
        (docs.inputs(), "variable", "variables.tf"),
        (docs.outputs(), "output", "outputs.tf"),
    ):
        found = rows(table)
        assert set(found) == set(docs.blocks(docs.ROOT / file, kind))
        assert all(len(cells[-1]) > 10 for cells in found.values())


def test_the_requirements_are_those_of_versions_tf() -> None:
    found = rows(docs.requirements())
    source = (docs.ROOT / "versions.tf").read_text(encoding="utf-8")
    assert [name.split("]")[0] for name in found] == ["Terraform", "[provider aws"]
    assert all(f'"{cells[0].strip("`")}"' in source for cells in found.values())


def test_every_attribute_of_a_route_has_one_row() -> None:
    found = rows(docs.routes())
    assert set(found) > {"model_id", "quota_code", "undersized"}
    assert set(found) == set(docs.route_map(docs.ROOT, "route_defaults"))
    assert found["invocation_type"][:2] == ["`string`", '`"InvokeModel"`']
    assert found["max_bytes_per_job"][:2] == ["`number`", "`5000000000`"]
    assert found["tags"][:2] == ["`map(string)`", "`{}`"]
    assert found["prices"][1] == "`null`"
    assert all(len(cells) == 3 and len(cells[2]) > 10 for cells in found.values())


def test_a_line_that_names_several_attributes_describes_each_of_them() -> None:
    text = "Routes: by name.\n- `a`, b: the first\n  and more.\n- c: the third."
    assert docs.descriptions(text) == {
        "a": "the first and more.",
        "b": "the first and more.",
        "c": "the third.",
    }


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("other = { a = 3 }", {}),
        (
            'route_defaults = { a = 3, b = "x", c = null, d = {}, e = "object({ x = number })" }',
            {"a": "3", "b": '"x"', "c": "null", "d": "{}", "e": '"object({ x = number })"'},
        ),
    ],
)
def test_types_and_defaults_are_in_local_maps(written: str, found: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "routes.tf").write_text(f"locals {{\n  {written}\n}}\n")
    assert docs.route_map(tmp_path, "route_defaults") == found


def test_defaults_that_are_no_map_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "routes.tf").write_text("locals {\n  route_defaults = merge({ a = 1 }, var.more)\n}\n")
    with pytest.raises(ValueError, match=r"routes\.tf: route_defaults is not a map"):
        docs.route_map(tmp_path, "route_defaults")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("- a: first.", 'says nothing of b: add a line "- b: …"'),
        ("- a: first.\n    - b: second.\n    - z: third.", "has a line about z, which is no attribute"),
    ],
)
def test_an_attribute_and_its_description_without_each_other_are_an_error(
    lines: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "routes.tf").write_text('locals {\n  route_types = { a = "string", b = "number" }\n}\n')
    (tmp_path / "variables.tf").write_text(
        f'variable "routes" {{\n  description = <<-EOT\n    Routes.\n    {lines}\n  EOT\n  type = any\n}}\n'
    )
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    with pytest.raises(ValueError, match=message):
        docs.routes()


@pytest.mark.parametrize("name", docs.TABLES)
def test_a_page_without_the_marks_is_an_error_that_names_them(name: str) -> None:
    page = docs.REFERENCE.read_text(encoding="utf-8").replace(f"<!-- {name} -->", "")
    with pytest.raises(ValueError, match=f"<!-- {name} -->"):
        docs.render(page)


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    assert docs.dead_links() == []


def test_dead_links_are_found_where_they_are(tmp_path: Path) -> None:
    # Given links that lead somewhere, links that lead nowhere, and code that only looks like links
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "b.md").write_text("# `B`: the *second*\n\n## Twice\n\n## Twice\n")
    (tmp_path / "docs" / "a picture.svg").write_text("<svg/>")
    (tmp_path / "a.md").write_text(
        "# One\n"
        "[one](#one) [b](docs/b.md#b-the-second) [again](docs/b.md#twice-1) [folder](docs) [web](https://a.b/c)\n"
        "![picture](docs/a%20picture.svg) `[code](nowhere.md)`\n"
        "```md\n[more code](nowhere.md)\n# Hidden\n```\n"
        "[gone](nowhere.md) [heading](#hidden) [third](docs/b.md#twice-2)\n"
        '<img src="docs/c.svg">\n'
        "[out](../b.md)\n"
    )
    # Then those that lead nowhere are named, each with its line
    assert docs.dead_links(tmp_path) == [
        "a.md:8: nowhere.md: no such file",
        "a.md:8: #hidden: a.md has no such heading",
        "a.md:8: docs/b.md#twice-2: docs/b.md has no such heading",
        "a.md:9: docs/c.svg: no such file",
        "a.md:10: ../b.md: leads out of the repository",
    ]


def test_the_complete_example_sets_every_input_that_can_be_combined() -> None:
    source = (docs.ROOT / "examples/complete/main.tf").read_text(encoding="utf-8")
    block = source.split('module "batch_inference" {')[1].split("\n}\n")[0]
    written = set(re.findall(r"^  (\w+) +=", block, re.MULTILINE)) - {"source"}

    left_out = {"create_role", "role_arn", "bucket_owner"}  # its README says so
    assert written == set(docs.blocks(docs.ROOT / "variables.tf", "variable")) - left_out


def test_the_ten_steps_name_functions_that_exist() -> None:
    page = docs.ROOT / "docs" / "architecture.md"
    section = page.read_text(encoding="utf-8").split("## The ten steps\n")[1].split("\n## ")[0]
    steps = re.findall(r"^\| (\d+) \| .* \| (.+) \| (.+) \|$", section, re.MULTILINE)
    assert [int(number) for number, _, _ in steps] == list(range(1, 11))
    for number, files, functions in steps:
        sources = [page.parent / path for path in re.findall(r"\]\(([^)]+\.py)\)", files)]
        text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
        for name in re.findall(r"`([\w.]+)`", functions):
            for part in name.split("."):
                assert re.search(rf"\b(class|def) {part}\b", text), f"step {number}: there is no {name}"


ADDRESS = re.compile(r"module\.(?:\w+|<\w+>)\.(aws_\w+\.\w+)")


def test_the_documentation_names_only_resources_of_the_module() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in sorted(docs.ROOT.glob("*.tf")))
    resources = {".".join(found) for found in re.findall(r'^resource "(\w+)" "(\w+)"', sources, re.MULTILINE)}
    pages = [docs.ROOT / "README.md", docs.ROOT / "CHANGELOG.md", *sorted((docs.ROOT / "docs").glob("*.md"))]
    named = {
        address: path.name for path in pages for address in ADDRESS.findall(path.read_text(encoding="utf-8"))
    }
    assert "aws_s3_bucket.this" in named
    assert {address: page for address, page in named.items() if address not in resources} == {}
