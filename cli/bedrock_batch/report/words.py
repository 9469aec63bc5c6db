"""Numbers, times and texts as people read them."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SMALL = 0.1  # a smaller share has a decimal
# What no page shows, and what XML and HTML do not allow.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")


def clean(text: str) -> str:
    """Returns a text without control characters and unpaired surrogates, which no page can have."""
    return _CONTROL.sub("\ufffd", text.encode("utf-8", "replace").decode())


def escaped(text: object) -> str:
    """Returns a text for use in HTML, also in attributes."""
    return html.escape(clean(str(text)))


def shortened(text: str, most: int) -> str:
    """Returns a text of at most ``most`` characters; the dots stand for the rest."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def duration(seconds: float) -> str:
    """Returns a duration in the two largest of days, hours, minutes and seconds."""
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    for unit, name, part, part_name in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        whole, rest = divmod(round(seconds / part), unit // part)
        if whole:
            return f"{whole} {name} {rest} {part_name}" if rest else f"{whole} {name}"
    return f"{seconds:.0f} s"


def moment(epoch_seconds: float) -> str:
    """Returns a time as text, in UTC, to the minute."""
    return datetime.fromtimestamp(epoch_seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def compact(number: int) -> str:
    """Returns a number with three digits and a unit if it is large: 12.3 M."""
    for size, unit in ((1_000_000_000, "B"), (1_000_000, "M")):
        if number >= size:
            return f"{number / size:.3g} {unit}" if number < 1000 * size else f"{number / size:,.0f} {unit}"
    return f"{number:,}"


def percent(share: float | None) -> str:
    """Returns a share as a percentage; a dash if it is not known."""
    if share is None:
        return "–"
    return f"{100 * share:.1f}%" if 0 < share < _SMALL else f"{100 * share:.0f}%"
