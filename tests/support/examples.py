"""How many examples hypothesis tries: always the same few, or with EXAMPLES=… in the environment new ones."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("EXAMPLES", "0"))


def load() -> None:
    """Makes this the rule of every property test. A slow machine is no failure."""
    settings.register_profile(
        "project",
        max_examples=EXAMPLES or 100,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    settings.load_profile("project")


def examples(count: int) -> settings:
    """``count`` examples; EXAMPLES asks for so many instead."""
    return settings(max_examples=EXAMPLES or count)
