"""What a stream that is not UTF-8 shows in place of arrows, check marks and bars: no mark becomes another."""

from __future__ import annotations

import codecs

NAME = "bedrock_batch_plain"
_PLAIN = {
    "→": "->",
    "✓": "ok",
    "✗": "wrong",
    "…": "...",
    "█": "#",
    "▒": "+",
    "·": ".",
    "━": "=",
    "╸": "=",
    "╺": "=",
    "┈": "-",
    "–": "-",
}


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(one, "?") for one in error.object[error.start : error.end]), error.end


codecs.register_error(NAME, _replaced)
