"""DynamoDB's expressions, as far as the functions use them, over items of AttributeValues.

Whatever is not understood raises ValueError, so that no new expression is taken for another one.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

Item = dict[str, Any]  # attribute name → AttributeValue
Names = Mapping[str, str]
Values = Mapping[str, Any]


def plain(value: Mapping[str, Any]) -> Any:
    """Converts an AttributeValue to what Python compares."""
    ((kind, content),) = value.items()
    if kind == "N":
        return int(content) if content.lstrip("-").isdigit() else float(content)
    if kind == "L":
        return [plain(inner) for inner in content]
    if kind == "M":
        return {name: plain(inner) for name, inner in content.items()}
    if kind in ("SS", "NS"):
        return frozenset(content)
    return content


Test = Callable[[Item, Names, Values], bool]
Term = Callable[[Item, Names, Values], Any]

_TOKEN = re.compile(r"\s*([#:]?\w+|<>|<=|>=|[=<>(),])")
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class _Parser:
    """Makes a function of a condition: ``OR`` of ``AND`` of ``NOT`` of comparisons, and parentheses."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._tokens = _TOKEN.findall(expression)
        if "".join(self._tokens) != re.sub(r"\s", "", expression):
            raise self._error()

    def parsed(self) -> Test:
        found = self._any()
        if self._tokens:
            raise self._error()
        return found

    def _error(self) -> ValueError:
        return ValueError(f"not understood: {self._expression}")

    def _next(self, *wanted: str) -> str:
        if not self._tokens or (wanted and self._tokens[0] not in wanted):
            raise self._error()
        return str(self._tokens.pop(0))

    def _is(self, token: str) -> bool:
        if self._tokens and self._tokens[0] == token:
            self._tokens.pop(0)
            return True
        return False

    def _any(self) -> Test:
        tests = [self._all()]
        while self._is("OR"):
            tests.append(self._all())
        return lambda *row: any(test(*row) for test in tests)

    def _all(self) -> Test:
        tests = [self._one()]
        while self._is("AND"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda *row: all(test(*row) for test in tests)

    def _one(self) -> Test:
        if self._is("NOT"):
            test = self._one()
            return lambda *row: not test(*row)
        if self._is("("):
            inside = self._any()
            self._next(")")
            return inside
        if self._tokens and self._tokens[0] in ("attribute_exists", "attribute_not_exists", "begins_with"):
            return self._function(self._next())
        return self._comparison()

    def _function(self, name: str) -> Test:
        self._next("(")
        term = self._term()
        if name == "begins_with":
            self._next(",")
            start = self._term()
            self._next(")")
            return lambda *row: str(term(*row) or "").startswith(start(*row))
        self._next(")")
        wanted = name == "attribute_exists"
        return lambda *row: (term(*row) is not None) == wanted

    def _comparison(self) -> Test:
        left = self._term()
        sign = self._next("IN", "BETWEEN", *_COMPARED)
        if sign == "IN":
            terms = [self._in() for _ in iter(lambda: self._is(")"), True)]
            return lambda *row: left(*row) in [term(*row) for term in terms]
        if sign == "BETWEEN":
            low = self._term()
            self._next("AND")
            high = self._term()
            return lambda *row: (found := left(*row)) is not None and low(*row) <= found <= high(*row)
        right, compare = self._term(), _COMPARED[sign]

        def compared(*row: Any) -> bool:
            one, other = left(*row), right(*row)
            if (
                one is None or other is None
            ):  # an attribute that is missing is only another one than any value
                return sign == "<>"
            return compare(one, other)

        return compared

    def _in(self) -> Term:
        self._next("(", ",")
        return self._term()

    def _term(self) -> Term:
        """A value, or an attribute: None if the item does not have it."""
        name = self._next()
        if not re.match(r"[#:\w]", name):
            raise self._error()
        if name.startswith(":"):
            return lambda _item, _names, values: plain(values[name])
        return lambda item, names, _: _plain_or_none(item.get(names.get(name, name)))


def _plain_or_none(value: Mapping[str, Any] | None) -> Any:
    return None if value is None else plain(value)


@cache
def condition(expression: str) -> Test:
    """Makes a function of an item, names and values of a condition or key condition."""
    return _Parser(expression).parsed()


_CLAUSE = re.compile(r"(SET|REMOVE|ADD|DELETE)\s+(.*?)(?=\s+(?:SET|REMOVE|ADD|DELETE)\s|$)", re.DOTALL)
_SET = re.compile(r"([#\w]+)\s*=\s*(:\w+)")
_PLUS = re.compile(r"([#\w]+)\s*=\s*([#\w]+)\s*([+-])\s*(:\w+)")
_DEFAULT = re.compile(r"([#\w]+)\s*=\s*if_not_exists\s*\(\s*([#\w]+)\s*,\s*(:\w+)\s*\)")


@cache
def _changes(expression: str) -> list[tuple[str, str]]:
    return [
        (verb, part.strip())
        for verb, clause in _CLAUSE.findall(expression)
        for part in re.split(r",\s*(?![^()]*\))", clause)
    ]


def updated(item: Item, expression: str, names: Names, values: Values) -> Item:
    """Returns an item after an update expression."""
    new = dict(item)
    for verb, part in _changes(expression):
        if verb == "REMOVE":
            new.pop(names.get(part, part), None)
        elif verb == "SET":
            _set(new, part, names, values)
        else:
            name, value = part.split()
            attribute = names.get(name, name)
            _add(new, attribute, values[value], take=verb == "DELETE")
    return new


def _set(new: Item, part: str, names: Names, values: Values) -> None:
    if match := _SET.fullmatch(part):
        new[names.get(match[1], match[1])] = values[match[2]]
    elif match := _DEFAULT.fullmatch(part):
        known = new.get(names.get(match[2], match[2]))
        new[names.get(match[1], match[1])] = values[match[3]] if known is None else known
    elif match := _PLUS.fullmatch(part):
        had = int(new[names.get(match[2], match[2])]["N"])
        more = int(values[match[4]]["N"])
        new[names.get(match[1], match[1])] = {"N": str(had + more if match[3] == "+" else had - more)}
    else:
        raise ValueError(f"not understood: SET {part}")


def _add(new: Item, attribute: str, value: Mapping[str, Any], *, take: bool) -> None:
    ((kind, content),) = value.items()
    known = new.get(attribute)
    if kind == "N":
        new[attribute] = {"N": str((int(known["N"]) if known else 0) + int(content))}
        return
    had = set(known[kind]) if known else set()
    found = had - set(content) if take else had | set(content)
    if found:
        new[attribute] = {kind: sorted(found)}
    else:
        new.pop(attribute, None)
