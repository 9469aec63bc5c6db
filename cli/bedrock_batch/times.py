"""Times as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from .errors import InputError

_UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def since_text(text: str, now: float) -> float:
    """Returns the epoch seconds of a time such as 90m, 24h, 7d or 2w before ``now``, or of an ISO 8601 date.

    A date without an offset is in UTC. What is before 1970 is 1970. Raises InputError for anything else, and
    for a time to come.
    """
    if match := re.fullmatch(r"(\d{1,6})([mhdw])", text):
        return max(0.0, now - int(match[1]) * _UNITS[match[2]])
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f'"{text}" is not a time: write a number with m, h, d or w, such as 24h, or a date such as '
            "2026-01-31"
        ) from None
    when = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    if when > now:
        raise InputError(f'"{text}" is to come: write a time that has passed')
    return max(0.0, when)


def clock_text(stamp: str, form: str = "%H:%M") -> str:
    """Returns an ISO 8601 timestamp in the time zone of this machine, by default as the time of day."""
    return datetime.fromisoformat(stamp).astimezone().strftime(form)


def utc_text(stamp: str) -> str:
    """Returns an ISO 8601 timestamp in UTC without its fraction of a second; "" stays ""."""
    return f"{stamp[:19]}Z" if stamp else ""
