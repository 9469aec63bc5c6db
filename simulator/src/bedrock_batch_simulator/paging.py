"""The tokens with which a list goes on: opaque to the caller, and bound to the filters of the request."""

from __future__ import annotations

import base64
import json

from . import rules


def write_token(number: int, filters: list[str]) -> str:
    """A token for the page after `number`, in a list with these filters."""
    return base64.urlsafe_b64encode(json.dumps([number, filters]).encode()).decode()


def read_token(token: str, filters: list[str]) -> int:
    """The number in a token; raises `ApiError` for one that is not ours, or of a list with other filters."""
    try:
        number, given = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError):
        raise rules.BAD_PAGE.error(what="is not valid") from None
    if given != filters or not isinstance(number, int):
        raise rules.BAD_PAGE.error(what="belongs to a request with other filters")
    return number
