"""The README's tables of inputs and outputs, and what the examples share."""

import pytest

from tools import docs

pytestmark = pytest.mark.unit


def test_the_readme_has_the_inputs_and_outputs_of_the_sources() -> None:
    readme = docs.README.read_text(encoding="utf-8")
    assert docs.render(readme) == readme, "run `make docs` and commit README.md"


def test_every_input_and_output_has_a_row_and_a_description() -> None:
    for table, kind, file in (
        (docs.inputs(), "variable", "variables.tf"),
        (docs.outputs(), "output", "outputs.tf"),
    ):
        rows = {row.split("|")[1].strip(" `"): row for row in table.splitlines()[2:]}
        assert set(rows) == set(docs.blocks(docs.ROOT / file, kind))
        assert all(len(row.split("|")[-2].strip()) > 10 for row in rows.values())


def test_a_readme_without_the_marks_is_an_error_that_names_them() -> None:
    with pytest.raises(ValueError, match="<!-- inputs -->"):
        docs.render("# Nothing")


def test_both_examples_with_a_key_make_it_the_same_way() -> None:
    examples = docs.ROOT / "examples"
    assert (examples / "kms" / "kms.tf").read_text() == (examples / "complete" / "kms.tf").read_text()
