"""How many examples hypothesis tries: always the same few, or with EXAMPLES=… in the environment new ones."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("EXAMPLES", "0"))


def examples(count: int) -> settings:
    """``count`` examples, the same in each run; EXAMPLES asks for so many new ones instead."""
    return settings(
        max_examples=EXAMPLES or count,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
