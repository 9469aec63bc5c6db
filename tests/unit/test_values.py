"""The conversion of plain values to DynamoDB's attribute values: as boto3's, but for what the table lacks."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from batch_queue.aws.table.values import deserialized, item_of, serialized, values_of
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.unit


class Colour(StrEnum):
    RED = "red"


NUMBERS = st.integers(-(10**37), 10**37)  # DynamoDB's have at most 38 digits
SETS = st.sets(st.text(), min_size=1)
PLAIN = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text() | st.binary() | SETS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def in_order(attribute: Any) -> Any:
    """An attribute value whose sets are in order: DynamoDB's have none."""
    if isinstance(attribute, dict):
        return {kind: sorted(value) if kind == "SS" else in_order(value) for kind, value in attribute.items()}
    return [in_order(one) for one in attribute] if isinstance(attribute, list) else attribute


@given(st.dictionaries(st.text(), PLAIN))
def test_an_item_comes_back_as_it_was_stored(values: dict[str, Any]) -> None:
    assert values_of(item_of(values)) == values


@given(PLAIN)
def test_a_value_is_stored_as_boto3_would(value: Any) -> None:
    assert serialized(value) == in_order(TypeSerializer().serialize(value))


@given(NUMBERS | st.sets(NUMBERS, min_size=1) | st.sets(st.binary(), min_size=1))
def test_what_boto3_stores_is_read(value: Any) -> None:
    assert deserialized(TypeSerializer().serialize(value)) == value


@given(st.decimals(-(10**20), 10**20, places=3))
def test_a_fraction_that_somebody_stored_is_read_as_boto3_would_and_cut_off(number: Decimal) -> None:
    stored = TypeSerializer().serialize(number)
    assert deserialized(stored) == int(TypeDeserializer().deserialize(stored))


def test_a_large_number_in_scientific_notation_is_exact() -> None:
    assert deserialized({"N": "1E+30"}) == 10**30


def test_what_the_table_cannot_tell_apart_is_read_in_its_plain_form() -> None:
    given_values = {"tuple": ("a", 1), "frozen": frozenset({"a"}), "enumeration": Colour.RED}
    plain = {"tuple": ["a", 1], "frozen": {"a"}, "enumeration": "red"}
    assert values_of(item_of(given_values)) == plain
    assert type(values_of(item_of(given_values))["enumeration"]) is str


@pytest.mark.parametrize("value", [1.5, Decimal(1), object(), set(), {1}, {"a": [2.0]}], ids=repr)
def test_what_the_table_does_not_store_is_an_error(value: Any) -> None:
    with pytest.raises(TypeError):
        serialized(value)
