"""The mutants fit the code that they break; `make mutants` runs them."""

from __future__ import annotations

import pytest

from tests.mutants.test_mutants import MUTANTS, Mutant
from tests.support.world import package_root


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_what_a_mutant_breaks_stands_in_its_file_once(mutant: Mutant) -> None:
    source = (package_root() / "lambdas" / "batch_queue" / mutant.file).read_text(encoding="utf-8")
    assert source.count(mutant.text) == 1, "the code has changed: mend the mutant"
