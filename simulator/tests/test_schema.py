"""Instances of JSON schemas: valid ones, the same for the same seed, or an error that says where and why."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from bedrock_batch_simulator.families.schema import SchemaError, instance
from hypothesis import given
from hypothesis import strategies as st

TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "left": {"$ref": "#/$defs/node"},
                "right": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["name"],
        }
    },
    "$ref": "#/$defs/node",
}


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {"type": "integer", "exclusiveMinimum": 4, "maximum": 5},
        {"type": "integer", "multipleOf": 7, "minimum": 50},
        {"type": "integer", "maximum": -3},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        {"type": "number", "maximum": -2.5},
        {"type": "string", "minLength": 30, "maxLength": 31},
        {"type": "string", "maxLength": 2},
        {"type": "string", "maxLength": 0},
        {"type": "string", "format": "date-time"},
        {"type": "string", "format": "uuid"},
        {"type": "string", "pattern": "^[A-Z]{2}$", "examples": ["DE"]},
        {"type": ["string", "null"]},
        {"enum": [1, "a", None]},
        {"type": "integer", "enum": ["a", 3]},
        {"const": {"a": [1]}},
        {"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 3, "uniqueItems": True},
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
        {"type": "array", "maxItems": 0},
        {"type": "object", "required": ["a"], "additionalProperties": {"type": "integer"}},
        {"type": "object", "minProperties": 2},
        {"type": "object", "properties": {"a": {}, "b": {}}, "maxProperties": 1},
        {"allOf": [{"minimum": 2, "type": "number"}, {"maximum": 3, "type": "integer"}]},
        {"type": "string", "anyOf": [{"pattern": "x"}, {"maxLength": 3}]},
        {"oneOf": [{"type": "integer"}, {"type": "string"}]},
        {"properties": {"a": {"pattern": "x"}, "b": {"type": "boolean"}}, "additionalProperties": False},
        TREE,
    ],
)
def test_an_instance_is_valid(schema: Any) -> None:
    for seed in "abcde":
        made = instance(schema, seed)
        jsonschema.validate(made, schema, format_checker=jsonschema.FormatChecker())
        assert made == instance(schema, seed)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (False, "# is not a schema"),
        ({"type": "text"}, "#/type is 'text'"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "no number is within its bounds"),
        ({"type": "string", "pattern": "x"}, "give it an example"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "cannot be met together"),
        ({"not": {}}, "'not', which is not supported"),
        ({"enum": []}, "#/enum"),
        ({"$ref": "https://example.com/schema"}, "not in this schema"),
        ({"$ref": "#"}, "nested too deeply"),
        ({"properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "nested too deeply"),
        ({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}, "too deeply"),
        ({"type": "array", "items": {"const": 1}, "minItems": 2, "uniqueItems": True}, "2 items that differ"),
        ({"type": "array", "minItems": 3, "maxItems": 2}, "minItems is above maxItems"),
        ({"allOf": [{"type": "string"}, {"type": "null"}]}, "two types"),
        ({"type": "number", "multipleOf": 1e-300, "minimum": 5}, "multipleOf"),
        ({"type": "array", "minItems": 1e9}, "minItems"),
        ({"required": "a"}, "#/required"),
    ],
)
def test_a_schema_that_cannot_be_met_says_where_and_why(schema: Any, words: str) -> None:
    with pytest.raises(SchemaError, match="#") as caught:
        instance(schema, "seed")
    assert words in str(caught.value)


SCALARS = st.one_of(
    st.fixed_dictionaries({"type": st.just("string")}, optional={"minLength": st.integers(0, 20)}),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["integer", "number"])},
        optional={
            "minimum": st.integers(-5, 2),
            "maximum": st.integers(5, 9),
            "multipleOf": st.integers(1, 3),
        },
    ),
    st.fixed_dictionaries({"enum": st.lists(st.integers(), min_size=1, max_size=3)}),
    st.sampled_from([{"type": "boolean"}, {"type": "null"}]),
)
SCHEMAS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("array"), "items": inner}, optional={"minItems": st.integers(0, 3)}
        ),
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(st.sampled_from("abc"), inner)},
            optional={"required": st.lists(st.sampled_from("abc"), unique=True)},
        ),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)}),
    ),
    max_leaves=8,
)


@given(SCHEMAS, st.text(max_size=3))
def test_whatever_is_made_is_valid(schema: Any, seed: str) -> None:
    jsonschema.validate(json.loads(json.dumps(instance(schema, seed))), schema)
