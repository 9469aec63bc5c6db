"""Converts plain values to DynamoDB's attribute values, such as ``{"S": "text"}``, and back.

The rows need few of boto3's types, and neither its ``Decimal`` nor its ``Binary``, so this takes a fraction
of the time of boto3's resource. (DynamoDB API reference: AttributeValue.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

AttributeValue = dict[str, Any]


def item_of(values: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """Converts plain values by name to an item. Raises TypeError for what the table does not store."""
    return {name: serialized(value) for name, value in values.items()}


def values_of(item: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The inverse of ``item_of``: converts an item to plain values by name."""
    return {name: deserialized(attribute) for name, attribute in item.items()}


def serialized(value: Any) -> AttributeValue:
    """Converts a str, int, bool, None, bytes, list, tuple, dict, or set of str to an attribute value.

    Raises TypeError for any other value, such as a fraction, and for an empty set, which DynamoDB does not
    store.
    """
    for kind in type(value).__mro__:
        if kind in _WRITE:
            return _WRITE[kind](value)
    message = f"the table does not store a {type(value).__name__}"
    raise TypeError(message)


def deserialized(attribute: Mapping[str, Any]) -> Any:
    """Converts an attribute value to a plain value. A number becomes an int; the table has no fractions.

    A list stands for a tuple, and a set for a frozen one.
    """
    ((kind, value),) = attribute.items()
    return _READ[kind](value)


def _strings(values: Iterable[Any]) -> AttributeValue:
    found = list(values)
    if not found or not all(isinstance(one, str) for one in found):
        message = "the table stores only sets of strings that are not empty"
        raise TypeError(message)
    return {"SS": sorted(found)}  # the same set is the same request


def _list(values: Iterable[Any]) -> AttributeValue:
    return {"L": [serialized(value) for value in values]}


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:  # not one of ours: "1.5" or "1E+40"
        return int(Decimal(text))


def _same(value: Any) -> Any:
    return value


_WRITE: dict[type, Callable[[Any], AttributeValue]] = {
    str: lambda value: {"S": str(value)},  # also an enumeration's
    int: lambda value: {"N": str(value)},
    bool: lambda value: {"BOOL": value},
    type(None): lambda _: {"NULL": True},
    bytes: lambda value: {"B": value},
    dict: lambda value: {"M": item_of(value)},
    list: _list,
    tuple: _list,
    set: _strings,
    frozenset: _strings,
}
_READ: dict[str, Callable[[Any], Any]] = {
    "S": _same,
    "N": _number,
    "BOOL": _same,
    "NULL": lambda _: None,
    "B": _same,
    "M": values_of,
    "L": lambda values: [deserialized(value) for value in values],
    "SS": set,
    "NS": lambda numbers: set(map(_number, numbers)),
    "BS": set,
}
