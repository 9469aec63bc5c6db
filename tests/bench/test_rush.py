"""A hundred thousand uploads within half a minute, against the limits of a new DynamoDB table.

``BENCH_RUSH_SCALE``: how much of everything, uploads and limits (default 0.1; 1 takes many minutes).
"""

import os
import time

import pytest

from tests.support.rush import Rush

pytestmark = pytest.mark.bench

UPLOADS = 100_000
SCALE = float(os.environ.get("BENCH_RUSH_SCALE", "0.1"))


def test_a_rush() -> None:
    began = time.process_time()
    told = Rush(UPLOADS, seconds=30.0, scale=SCALE).run()
    print(
        f"\n{told.stored:,} of {told.uploads:,} uploads stored after {told.stored_after:.0f} s; "
        f"dead letters: {told.dead_letters or 'none'}; failed invocations: {told.failures or 'none'}"
    )
    for operation, calls in sorted(told.calls.items()):
        print(f"{calls:9,} {operation}, {told.throttled.get(operation, 0):,} of them throttled")
    print(f"CPU time: {time.process_time() - began:.0f} s")
    assert told.stored == told.uploads
    assert not told.dead_letters
