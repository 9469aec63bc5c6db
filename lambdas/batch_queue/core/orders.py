"""Reads the orders that people give: what they may contain, and what to write instead."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from .names import key_too_long
from .objects import why_not
from .records import dataclass
from .settings import Settings

MAX_WORDS = 500  # characters of "by" and "why", which rows and messages repeat
_UPLOAD = frozenset({"key", "version_id", "upload_id"})
_WHO = frozenset({"by", "why"})
_ID_LENGTH = 32


class Kind(StrEnum):
    """What can be ordered."""

    CANCEL = "cancel"
    RETRY = "retry"
    PAUSE = "pause"
    RESUME = "resume"
    EXPLAIN = "explain"
    SWEEP = "sweep"
    STATUS = "status"
    CHECK = "check"


_FIELDS: Mapping[Kind, frozenset[str]] = {
    Kind.CANCEL: _UPLOAD | _WHO | {"prefix", "after"},
    Kind.RETRY: _UPLOAD | _WHO,
    Kind.PAUSE: _WHO | {"route"},
    Kind.RESUME: frozenset({"route", "by"}),
    Kind.EXPLAIN: _UPLOAD,
    Kind.SWEEP: frozenset({"prefix"}),
    Kind.STATUS: frozenset(),
    Kind.CHECK: frozenset(),
}
_EXAMPLES: Mapping[Kind, str] = {
    Kind.CANCEL: '{"order": "cancel", "key": "to-process/a.jsonl", "by": "ana", "why": "wrong prompt"}',
    Kind.RETRY: '{"order": "retry", "key": "to-process/a.jsonl", "by": "ana"}',
    Kind.PAUSE: '{"order": "pause", "route": "reports", "by": "ana", "why": "the model is being changed"}',
    Kind.RESUME: '{"order": "resume", "route": "reports"}',
    Kind.EXPLAIN: '{"order": "explain", "key": "to-process/a.jsonl"}',
    Kind.SWEEP: '{"order": "sweep"}',
    Kind.STATUS: '{"order": "status"}',
    Kind.CHECK: '{"order": "check"}',
}


class OrderError(ValueError):
    """An order that cannot be carried out; the text says why, and what to write instead."""


@dataclass(frozen=True, slots=True)
class Order:
    """An order. A member that it does not have is "".

    An upload is named by its ``upload_id``, or by the ``key`` of its object with or without the
    ``version_id``; all uploads below a folder, or all objects to sweep, by their ``prefix``. ``after``: the
    key behind which another invocation goes on with a folder.
    """

    kind: Kind
    key: str = ""
    version_id: str = ""
    upload_id: str = ""
    prefix: str = ""
    route: str = ""
    by: str = ""
    why: str = ""
    after: str = ""


def order_of(event: Any, settings: Settings, routes: Collection[str]) -> Order:
    """Returns the order in an event. ``routes``: the names of those that are configured.

    Raises OrderError, which says what is wrong and what to write instead.
    """
    if not isinstance(event, Mapping):
        raise OrderError(f"an order is a JSON object, such as {_EXAMPLES[Kind.STATUS]}")
    if "order" not in event:
        raise OrderError(
            f'"order" is missing. Write one of {_listed(list(Kind))}, such as {_EXAMPLES[Kind.STATUS]}'
        )
    if event["order"] not in list(Kind):
        raise OrderError(
            f"there is no order {_quoted(event['order'])}{_meant(str(event['order']), list(Kind))}. "
            f"Write one of {_listed(list(Kind))}"
        )
    kind = Kind(event["order"])
    for name, value in event.items():
        if name != "order" and name not in _FIELDS[kind]:
            may = sorted(_FIELDS[kind] - {"after"})
            takes = f"takes {_listed(may)}" if may else "takes nothing else"
            raise OrderError(
                f"the order {_quoted(kind)} has no member {_quoted(name)}{_meant(name, may)}. It {takes}. "
                f"For example: {_EXAMPLES[kind]}"
            )
        if not isinstance(value, str) or not value or not _is_unicode(value):
            raise OrderError(f"{_quoted(name)} must be a text that is not empty: leave it out, or write one")
    found = Order(kind, **{name: value for name, value in event.items() if name != "order"})
    _check_who(found)
    _check_upload(found, settings)
    _check_prefix(found, settings)
    _check_route(found, routes)
    return found


def _check_who(order: Order) -> None:
    for name in ("by", "why"):
        text: str = getattr(order, name)
        if len(text) > MAX_WORDS:
            raise OrderError(f"{_quoted(name)} has {len(text):,} characters, and {MAX_WORDS} is the maximum")
        if order.kind == Kind.PAUSE and not text.strip():
            raise OrderError(
                f"{_quoted(name)} is missing: whoever meets the pause must be able to see who ordered it and "
                f"why. For example: {_EXAMPLES[order.kind]}"
            )


def _check_upload(order: Order, settings: Settings) -> None:
    if order.kind not in (Kind.CANCEL, Kind.RETRY, Kind.EXPLAIN):
        return
    ways = [name for name in ("key", "upload_id", "prefix") if getattr(order, name)]
    if len(ways) != 1:
        may = '"key" (with or without "version_id") or "upload_id"'
        also = ', or "prefix" for all uploads below a folder' if order.kind == Kind.CANCEL else ""
        has = f"it has {_listed(ways)}" if ways else "it has none"
        raise OrderError(
            f"name the upload by one of {may}{also}; {has}. For example: {_EXAMPLES[order.kind]}"
        )
    if order.version_id and not order.key:
        raise OrderError('"version_id" belongs to a "key": write the key too')
    if order.upload_id and (len(order.upload_id) != _ID_LENGTH or not order.upload_id.isalnum()):
        raise OrderError(
            '"upload_id" must be the 32 hex digits of the attribute pk of the row of the upload, which its '
            "summary has too"
        )
    if order.key and (key_too_long(order.key) or why_not(settings.bucket, order.key, settings)):
        raise OrderError(
            f"{order.key[:MAX_WORDS]} is not an upload of this queue: "
            f"{why_not(settings.bucket, order.key, settings) or 'the key is too long'}. Write the whole key "
            f"of the object in the bucket {settings.bucket}, without s3:// and the bucket"
        )


def _check_prefix(order: Order, settings: Settings) -> None:
    if order.prefix and not (order.prefix.startswith(settings.input_prefix) and order.prefix.endswith("/")):
        raise OrderError(
            f'"prefix" must be a folder under {settings.input_prefix} and end with a slash, such as '
            f"{settings.input_prefix}reports/"
        )


def _check_route(order: Order, routes: Collection[str]) -> None:
    if order.route and order.route not in routes and order.kind == Kind.PAUSE:
        raise OrderError(
            f"there is no route {_quoted(order.route)}{_meant(order.route, sorted(routes))}. The routes are "
            f'{_listed(sorted(routes))}. Without "route", the order is for the whole queue'
        )


def _is_unicode(text: str) -> bool:
    """Returns whether a text can be stored: JSON can contain halves of surrogate pairs."""
    return text == text.encode("utf-8", "replace").decode()


def _quoted(text: object) -> str:
    shown = str(text)[:100].encode("utf-8", "replace").decode()
    return f'"{shown}"'


def _listed(texts: Collection[Any]) -> str:
    return ", ".join(_quoted(text) for text in texts)


def _meant(name: str, known: Collection[str]) -> str:
    close = get_close_matches(name, [str(one) for one in known], n=1)
    return f" (did you mean {_quoted(close[0])}?)" if close else ""
