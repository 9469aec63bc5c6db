"""Whether IAM's policy documents allow a request: one evaluator for trust, identity, bucket and key policies.

Elements, operators and order are those of the IAM User Guide, "IAM JSON policy element reference" and "Policy
evaluation logic". What cannot be evaluated (an operator, a condition key or a variable that is not known) is
told, and never the reason for a refusal: it lets an Allow apply, and no Deny.
"""

from __future__ import annotations

import fnmatch
import glob
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

Document = Mapping[str, Any]
_Told = tuple[bool | None, str]
"""Whether a part of a statement fits (None: that cannot be told), and the part."""

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_ARN_PARTS = 6


@dataclass(frozen=True)
class Request:
    """What is asked of policies.

    `action` and `resource`: an IAM action and an ARN. `context`: the values of condition keys, which are in
    lower case. `complete`: the request has no other keys; else a condition on another key cannot be told.
    """

    action: str
    resource: str = ""
    context: Mapping[str, str] = field(default_factory=dict)
    complete: bool = False


@dataclass(frozen=True)
class Principals:
    """By which names (`AWS:ARN`, `Service:NAME`, `*`) a Principal element means the one who asks.

    `sessions`: with what the names of its sessions begin; which of them asks cannot be told.
    """

    names: frozenset[str]
    sessions: str = ""


@dataclass(frozen=True)
class Effects:
    """What policies say of a request. `untold`: what could not be evaluated and might have changed that."""

    allowed: bool
    denied: bool
    untold: frozenset[str] = frozenset()


def document(policy: Any) -> Document:
    """A policy as answers of AWS have it (an object, JSON, or URL-encoded JSON) → its document."""
    parsed: Document = json.loads(unquote(policy)) if isinstance(policy, str) else policy
    return parsed


def effects(policies: Iterable[Document], request: Request, principals: Principals | None = None) -> Effects:
    """What `policies` say; without `principals` they are identity policies, which have no Principal."""
    allowed = denied = False
    perhaps: dict[str, set[str]] = {"Allow": set(), "Deny": set()}
    for statement in (each for policy in policies for each in _list(policy.get("Statement"))):
        effect = statement.get("Effect")
        untold = _untold(statement, request, principals)
        if effect not in perhaps or untold is None:
            continue
        perhaps[effect] |= untold
        allowed = allowed or (effect == "Allow" and not untold)
        denied = denied or (effect == "Deny" and not untold)
    untold = perhaps["Deny"] | (set() if allowed else perhaps["Allow"])
    return Effects(allowed or bool(perhaps["Allow"]), denied, frozenset(untold))


def _untold(statement: Document, request: Request, principals: Principals | None) -> set[str] | None:
    """The parts of a statement of which cannot be told whether they fit; None when one does not."""
    untold = set()
    for fits, part in _parts(statement, request, principals):
        if fits is False:
            return None
        if fits is None:
            untold.add(part)
    return untold


def _parts(statement: Document, request: Request, principals: Principals | None) -> Iterator[_Told]:
    if principals is not None:
        yield _told(statement, "Principal", lambda named: _means(named, principals))
    action = Request(request.action.lower(), context=request.context)
    yield _told(
        statement, "Action", lambda given: _matches(action.action, [each.lower() for each in given], action)
    )
    if "Resource" in statement or "NotResource" in statement:
        yield _told(statement, "Resource", lambda given: _matches(request.resource, given, request))
    for operator, keys in (statement.get("Condition") or {}).items():
        for key, values in keys.items():
            wanted = [str(each) for each in _list(values)]
            yield _condition(operator, key.lower(), wanted, request), f"{operator} {key}"


def _told(statement: Document, element: str, fits: Callable[[Any], bool | None]) -> _Told:
    """Whether an element of a statement, or the one with Not before its name, fits."""
    negated = f"Not{element}" in statement
    given = statement.get(f"Not{element}" if negated else element)
    found = fits(given if element == "Principal" else [str(each) for each in _list(given)])
    return (not found if negated and found is not None else found), f"{element} {given}"


def _means(named: Any, principals: Principals) -> bool | None:
    kinds = named.items() if isinstance(named, Mapping) else [("", named)]
    names = [f"{kind}:{each}" if kind else str(each) for kind, given in kinds for each in _list(given)]
    if not principals.names.isdisjoint(names):
        return True
    sessions = principals.sessions and any(name.startswith(principals.sessions) for name in names)
    return None if sessions else False


def _matches(actual: str, patterns: Iterable[str], request: Request) -> bool | None:
    return _any(_like(actual, each, request) for each in patterns)


def _any(found: Iterable[bool | None]) -> bool | None:
    told = list(found)
    return True if any(told) else None if None in told else False


def _condition(operator: str, key: str, wanted: list[str], request: Request) -> bool | None:
    """Whether a condition is met; None where that cannot be told."""
    quantifier, _, name = operator.rpartition(":")
    optional, name = name.endswith("IfExists"), name.removesuffix("IfExists")
    actual = request.context.get(key)
    if actual is None and not request.complete:
        return None
    if name == "Null":
        return (actual is None) == (wanted[:1] == ["true"])
    negated = "Not" in name
    if actual is None:
        return quantifier != "ForAnyValue" and (optional or negated or quantifier == "ForAllValues")
    test = _TESTS.get(name.replace("Not", "", 1))
    if test is None:
        return None
    met = _any(test(actual, each, request) for each in wanted)
    return not met if negated and met is not None else met


def _equals(actual: str, wanted: str, request: Request) -> bool | None:
    filled = _filled(wanted, request)
    return None if filled is None else actual == filled


def _equals_in_any_case(actual: str, wanted: str, request: Request) -> bool | None:
    filled = _filled(wanted, request)
    return None if filled is None else actual.lower() == filled.lower()


def _like(actual: str, pattern: str, request: Request) -> bool | None:
    """IAM's wildcards are * and ?; brackets stand for themselves."""
    filled = _filled(pattern, request, wild=True)
    return None if filled is None else fnmatch.fnmatchcase(actual, filled)


def _arn_like(actual: str, pattern: str, request: Request) -> bool | None:
    """The six parts of an ARN are compared each for itself."""
    parts, wanted = actual.split(":", _ARN_PARTS - 1), pattern.split(":", _ARN_PARTS - 1)
    if len(parts) != len(wanted) or "${" in pattern:
        return _like(actual, pattern, request)
    return all(_like(part, each, request) for part, each in zip(parts, wanted, strict=True))


_TESTS: dict[str, Callable[[str, str, Request], bool | None]] = {
    "StringEquals": _equals,
    "StringEqualsIgnoreCase": _equals_in_any_case,
    "StringLike": _like,
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
    "Bool": _equals_in_any_case,
}


def _filled(text: str, request: Request, *, wild: bool = False) -> str | None:
    """`text` with its policy variables filled in, None where one has no value; `wild`: for fnmatch."""
    if "${" not in text:
        return _literal(text, wild)
    filled, rest = "", 0
    for found in _VARIABLE.finditer(text):
        name = found[1].strip()
        value = name if name in ("*", "?", "$") else request.context.get(name.lower())
        if value is None:
            return None
        filled += _literal(text[rest : found.start()], wild) + (glob.escape(value) if wild else value)
        rest = found.end()
    return filled + _literal(text[rest:], wild)


def _literal(text: str, wild: bool) -> str:
    return text.replace("[", "[[]") if wild else text


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
