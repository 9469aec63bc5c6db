"""An instance of a JSON schema: the same one for the same schema and seed.

Known are the keywords that describe the arguments of tools and structured answers. What cannot be met for
sure (`pattern` without an example, `not`, `if`, …) is an error rather than an instance that may be wrong.
Source: JSON Schema, draft 2020-12.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from bedrock_batch_simulator.chance import draw, identifier, identity

_DEEPEST = 24
_OPTIONAL = 4
"""How deep what may be left out is there."""
_MOST = 5_000
_HALF, _LARGEST = 0.5, 1e15
_LONGEST = 10_000
_UNKNOWN = (
    "not",
    "if",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "contains",
    "patternProperties",
    "propertyNames",
    "unevaluatedProperties",
    "unevaluatedItems",
    "$dynamicRef",
    "$recursiveRef",
)
_COMBINED = ("$ref", "allOf", "anyOf", "oneOf")
_TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")
_FORMATS = {
    "date": "2025-01-31",
    "time": "12:00:00Z",
    "date-time": "2025-01-31T12:00:00Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
}


class SchemaError(ValueError):
    """No instance can be made; the text says where and why."""


def instance(schema: Any, seed: str) -> Any:
    """A value that is valid against `schema`, made from `seed`; raises SchemaError where there is none."""
    return _Maker(schema, seed).make(schema, "#", 0)


class _Maker:
    def __init__(self, root: Any, seed: str) -> None:
        self._root, self._seed, self._made = root, seed, 0

    def _draw(self, path: str) -> float:
        return draw(self._seed, path)

    def _count(self, path: str, depth: int) -> None:
        self._made += 1
        if depth > _DEEPEST or self._made > _MOST:
            raise SchemaError(f"{path} is nested too deeply, or needs too large an instance")

    def make(self, schema: Any, path: str, depth: int) -> Any:
        if schema is True:
            return "value"
        if not isinstance(schema, Mapping):
            raise SchemaError(f"{path} is not a schema that anything is valid against")
        self._count(path, depth)
        schema = self._flat(schema, path, depth)
        for keyword in _UNKNOWN:
            if keyword in schema:
                raise SchemaError(f"{path} has the keyword {keyword!r}, which is not supported")
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._one_of(schema["enum"], schema.get("type"), path)
        kind = self._kind(schema, path)
        if kind == "null":
            return None
        if kind == "boolean":
            return self._draw(path) < _HALF
        makers = {"object": self._object, "array": self._array, "string": self._string}
        maker = makers.get(kind)
        return maker(schema, path, depth) if maker is not None else self._number(schema, path, kind)

    def _flat(self, schema: Mapping[str, Any], path: str, depth: int) -> Mapping[str, Any]:
        """The schema without what combines several: of alternatives the first that can be met."""
        self._count(path, depth)
        merged = {name: each for name, each in schema.items() if name not in _COMBINED}
        joined = list(_list(schema, "allOf", path))
        if "$ref" in schema:
            joined.append(self._referred(schema["$ref"], path))
        for each in joined:
            if each is True:
                continue
            if not isinstance(each, Mapping):
                raise SchemaError(f"{path} refers to what is no schema that can be met")
            merged = _merge(merged, self._flat(each, path, depth + 1), path)
        for name in ("anyOf", "oneOf"):
            if name in schema:
                merged = _merge(
                    merged, self._alternative(_list(schema, name, path), merged, path, depth), path
                )
        return merged

    def _alternative(
        self, choices: list[Any], beside: Mapping[str, Any], path: str, depth: int
    ) -> Mapping[str, Any]:
        why: SchemaError | None = None
        for choice in choices:
            try:
                flat = self._flat({"allOf": [choice]}, path, depth + 1)
                self.make(_merge(beside, flat, path), path, depth + 1)
            except SchemaError as error:
                why = why or error
            else:
                return flat
        raise why or SchemaError(f"{path} has no alternatives")

    def _referred(self, reference: Any, path: str) -> Any:
        found = self._root
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise SchemaError(f"{path} refers to {reference!r}, which is not in this schema")
        for part in reference[1:].split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or name not in found:
                raise SchemaError(f"{path} refers to {reference!r}, which is not in this schema")
            found = found[name]
        return found

    def _one_of(self, values: Any, kinds: Any, path: str) -> Any:
        known = kinds if isinstance(kinds, list) else [kinds]
        if isinstance(values, list) and kinds is not None:
            values = [each for each in values if any(_is(each, kind) for kind in known)]
        if not isinstance(values, list) or not values:
            raise SchemaError(f"{path}/enum is not a list with values of the type")
        return values[int(self._draw(path) * len(values))]

    def _kind(self, schema: Mapping[str, Any], path: str) -> str:
        given = schema.get("type")
        if given is None:
            if "properties" in schema or "required" in schema:
                return "object"
            if "items" in schema or "prefixItems" in schema:
                return "array"
            numeric = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
            return "number" if any(name in schema for name in numeric) else "string"
        kinds = given if isinstance(given, list) else [given]
        found = next((each for each in kinds if each in _TYPES), None) if kinds else None
        if found is None:
            raise SchemaError(f"{path}/type is {given!r}, not one of {', '.join(_TYPES)}")
        return str(found)

    def _object(self, schema: Mapping[str, Any], path: str, depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        required = _list(schema, "required", path) if "required" in schema else []
        if not isinstance(properties, Mapping) or not all(isinstance(each, str) for each in required):
            raise SchemaError(f"{path}: properties is an object of schemas, required a list of names")
        most = _whole(schema, "maxProperties", path)
        made: dict[str, Any] = {}
        for name in required:
            rest = schema.get("additionalProperties", True)
            made[name] = self.make(properties.get(name, rest), f"{path}/properties/{name}", depth + 1)
        for name, each in properties.items():
            if name in made or depth >= _OPTIONAL or (most is not None and len(made) >= most):
                continue
            try:
                made[name] = self.make(each, f"{path}/properties/{name}", depth + 1)
            except SchemaError:  # it may be left out
                continue
        while len(made) < (_whole(schema, "minProperties", path) or 0):
            name = f"property{len(made)}"
            rest = schema.get("additionalProperties", True)
            made[name] = self.make(rest, f"{path}/properties/{name}", depth + 1)
        if most is not None and len(made) > most:
            raise SchemaError(f"{path} requires more properties than maxProperties")
        return made

    def _array(self, schema: Mapping[str, Any], path: str, depth: int) -> list[Any]:
        first = _list(schema, "prefixItems", path) if "prefixItems" in schema else []
        least, most = _whole(schema, "minItems", path), _whole(schema, "maxItems", path)
        items = schema.get("items", True)
        size = max(least or 0, len(first))
        if least is None and not first and items is not False and depth < _OPTIONAL:
            size = 1
        size = size if most is None else min(size, most)
        if least is not None and size < least:
            raise SchemaError(f"{path}: minItems is above maxItems")
        unique, made, seen = schema.get("uniqueItems") is True, list[Any](), set[str]()
        for number in range(size * (20 if unique else 1)):
            if len(made) == size:
                break
            inner = first[len(made)] if len(made) < len(first) else items
            try:
                value = self.make(inner, f"{path}/items/{number}", depth + 1)
            except SchemaError:
                if len(made) >= (least or 0):
                    break
                raise
            text = json.dumps(value, sort_keys=True)
            if not unique or text not in seen:
                made.append(value)
            seen.add(text)
        if len(made) < (least or 0):
            raise SchemaError(f"{path}: no {least} items that differ were found")
        return made

    def _string(self, schema: Mapping[str, Any], path: str, _: int) -> str:
        if "pattern" in schema:
            return self._example(schema, path)
        least, most = _whole(schema, "minLength", path) or 0, _whole(schema, "maxLength", path)
        form = schema.get("format")
        text = f"text {identifier(6, self._seed, path)}"
        if form == "uuid":
            text = identity(self._seed, path)
        elif isinstance(form, str) and form in _FORMATS:
            text = _FORMATS[form]
        if len(text) < least and form is None:
            text = text.ljust(least, "x")
        if most is not None and len(text) > most and form is None:
            text = text[:most]
        if len(text) < least or (most is not None and len(text) > most):
            raise SchemaError(f"{path}: minLength, maxLength and format cannot be met together")
        return text

    def _example(self, schema: Mapping[str, Any], path: str) -> str:
        """An example or the default of a text with a pattern, taken at the author's word."""
        for value in (
            *(_list(schema, "examples", path) if "examples" in schema else []),
            schema.get("default"),
        ):
            if isinstance(value, str):
                return value
        raise SchemaError(f"{path} has a pattern; give it an example (examples, default, enum or const)")

    def _number(self, schema: Mapping[str, Any], path: str, kind: str) -> int | float:
        low, high = _bound(schema, "minimum", path), _bound(schema, "maximum", path)
        above, below = _bound(schema, "exclusiveMinimum", path), _bound(schema, "exclusiveMaximum", path)
        step = _bound(schema, "multipleOf", path)
        if step is not None and step <= 0:
            raise SchemaError(f"{path}/multipleOf is not above 0")
        unit = step if step is not None else (1 if kind == "integer" else None)
        if unit is None:
            return self._real(low, high, above, below, path)
        if kind == "integer" and unit != int(unit):
            raise SchemaError(f"{path}: an integer that is a multiple of {unit} is not supported")
        lowest = max((each for each in (low, above) if each is not None), default=None)
        highest = min((each for each in (high, below) if each is not None), default=None)
        if lowest is None:
            lowest = 0 if highest is None or highest >= 0 else highest - 100 * unit
        if abs(lowest / unit) > _LARGEST or (highest is not None and abs(highest / unit) > _LARGEST):
            raise SchemaError(f"{path}/multipleOf is too small for its bounds")
        first = math.ceil(lowest / unit)
        if above is not None and first * unit <= above:
            first += 1
        last = first + 99 if highest is None else math.floor(highest / unit)
        if below is not None and last * unit >= below:
            last -= 1
        if last < first:
            raise SchemaError(f"{path}: no number is within its bounds")
        value = (first + int(self._draw(path) * (min(last, first + 99) - first + 1))) * unit
        return int(value) if kind == "integer" else value

    def _real(
        self, low: float | None, high: float | None, above: float | None, below: float | None, path: str
    ) -> float:
        lowest = max((each for each in (low, above) if each is not None), default=None)
        highest = min((each for each in (high, below) if each is not None), default=None)
        if lowest is None:
            lowest = 0.0 if highest is None or highest > 0 else highest - 1.0
        if highest is None:
            highest = lowest + 1.0
        value = lowest + (highest - lowest) * round(0.25 + self._draw(path) / 2, 3)
        if not lowest <= value <= highest or value in (above, below) or not math.isfinite(value):
            raise SchemaError(f"{path}: no number is within its bounds")
        return float(value)


def _is(value: Any, kind: Any) -> bool:
    if isinstance(value, bool) or value is None:
        return bool(kind == ("null" if value is None else "boolean"))
    if isinstance(value, (int, float)):
        return bool(kind == "number" or (kind == "integer" and value == int(value)))
    kinds: dict[Any, type] = {"string": str, "array": list, "object": dict}
    return isinstance(kind, str) and kind in kinds and isinstance(value, kinds[kind])


def _list(schema: Mapping[str, Any], name: str, path: str) -> list[Any]:
    found = schema.get(name, [])
    if not isinstance(found, list):
        raise SchemaError(f"{path}/{name} is not a list")
    return found


def _whole(schema: Mapping[str, Any], name: str, path: str) -> int | None:
    found = _bound(schema, name, path)
    if found is None:
        return None
    if found != int(found) or found < 0 or found > _LONGEST:
        raise SchemaError(f"{path}/{name} is not a whole number up to {_LONGEST}")
    return int(found)


def _bound(schema: Mapping[str, Any], name: str, path: str) -> float | None:
    found = schema.get(name)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, (int, float)) or abs(found) > _LARGEST:
        raise SchemaError(f"{path}/{name} is not a number up to 1e15")
    return found


def _merge(one: Mapping[str, Any], other: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Both schemas in one; raises SchemaError where a keyword of both cannot be had in one."""
    merged = dict(one)
    for name, value in other.items():
        if name not in merged or merged[name] == value:
            merged[name] = value
        elif name in ("title", "description", "default", "examples", "$defs", "definitions", "$comment"):
            continue
        elif name == "properties" and isinstance(merged[name], Mapping) and isinstance(value, Mapping):
            clash = {each for each in value if each in merged[name]}
            joined = {each: {"allOf": [merged[name][each], value[each]]} for each in clash}
            merged[name] = {**merged[name], **value, **joined}
        elif name == "required" and isinstance(merged[name], list) and isinstance(value, list):
            merged[name] = [*merged[name], *(each for each in value if each not in merged[name])]
        elif name in ("minimum", "minLength", "minItems", "minProperties", "exclusiveMinimum"):
            merged[name] = max(_bound(one, name, path) or 0, _bound(other, name, path) or 0)
        elif name in ("maximum", "maxLength", "maxItems", "maxProperties", "exclusiveMaximum"):
            merged[name] = min(_bound(one, name, path) or 0, _bound(other, name, path) or 0)
        elif name == "enum" and isinstance(merged[name], list) and isinstance(value, list):
            merged[name] = [each for each in merged[name] if each in value]
        elif name == "type":
            merged[name] = _common_type(merged[name], value, path)
        else:
            raise SchemaError(f"{path} has two values for {name!r}")
    return merged


def _common_type(one: Any, other: Any, path: str) -> Any:
    left = one if isinstance(one, list) else [one]
    right = other if isinstance(other, list) else [other]
    both = [each for each in left if each in right]
    if not both and "integer" in [*left, *right] and "number" in [*left, *right]:
        both = ["integer"]
    if not both:
        raise SchemaError(f"{path} has two types, {one!r} and {other!r}")
    return both
