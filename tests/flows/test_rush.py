"""A hundred thousand uploads at once, on a new table: throttling delays them, and none fails.

At a fiftieth of everything; ``tests/bench/test_rush.py`` measures the whole.
"""

from __future__ import annotations

import pytest

from tests.support.rush import Rush
from tests.support.world import TIMEOUTS

pytestmark = pytest.mark.flows

UPLOADS = 100_000
SCALE = 0.02


def test_a_rush_of_uploads_is_stored_without_a_failed_invocation() -> None:
    # Given the events of all uploads within half a minute
    rush = Rush(UPLOADS, seconds=30.0, scale=SCALE)
    # When Lambda has delivered them
    told = rush.run()
    # Then each is stored, although most tries were throttled, and no invocation has failed
    assert told.stored == told.uploads == UPLOADS * SCALE
    assert told.failures == {}
    assert told.dead_letters == {}
    assert told.throttled["TransactWriteItems"] > told.uploads
    # And it took minutes, a third of what one invocation has
    assert told.stored_after < 330
    # And a wake-up costs less than one write
    assert told.calls["UpdateItem"] < told.uploads


def test_functions_that_give_up_sooner_fail_in_a_rush() -> None:
    told = Rush(UPLOADS, seconds=30.0, scale=SCALE, timeouts={**TIMEOUTS, "create": 30.0}).run()
    assert told.failures
