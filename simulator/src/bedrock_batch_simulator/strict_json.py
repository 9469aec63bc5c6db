"""JSON as RFC 8259 has it: Python's own parser takes more than that."""

from __future__ import annotations

import json
import math
from typing import Any


def decode(raw: bytes) -> Any:
    """JSON in UTF-8, without NaN and with finite numbers → its value; raises ValueError or RecursionError."""
    return _DECODER.decode(raw.decode("utf-8"))


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"number {text[:40]} is out of range")
    return value


_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)
