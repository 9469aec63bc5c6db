"""The table of rules: the code takes from it, and the page is made from it."""

from __future__ import annotations

import re
from pathlib import Path

import bedrock_batch_simulator
import pytest
from bedrock_batch_simulator.rules import page, rules

CODE = Path(bedrock_batch_simulator.__file__).parent
PAGE = Path(__file__).parents[1] / "RULES.md"


def test_the_page_is_that_of_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m bedrock_batch_simulator.rules > RULES.md"


@pytest.mark.parametrize("name", rules())
def test_the_code_uses_each_rule_that_has_words_or_a_value(name: str) -> None:
    rule = rules()[name]
    if rule.says or rule.value is not None:
        used = [
            file.name for file in CODE.rglob("*.py") if re.search(rf"\brules\.{name}\b", file.read_text())
        ]
        assert used
