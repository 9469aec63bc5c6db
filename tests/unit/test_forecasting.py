"""When an upload is expected to begin and to end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from batch_queue.core.forecasting import Forecast, forecast
from batch_queue.core.names import iso
from batch_queue.core.rows import ChunkRef, Estimate, Place
from batch_queue.core.scheduling import Running
from hypothesis import given
from hypothesis import strategies as st

from tests.support.routes import configured
from tests.support.world import HAIKU

pytestmark = pytest.mark.unit

NOW = 1_800_000_000.0
ROUTE = configured(
    "default",
    HAIKU,
    max_active_jobs=2,
    min_records_per_job=1,
    max_records_per_job=100,
    max_records_per_file=100,
)
ROUTES = {"default": ROUTE}
KNOWN = {HAIKU: Estimate(overhead_seconds=100.0, records_per_second=1.0, jobs=5)}


def place(upload: str, records: int, at: int) -> Place:
    return Place(ChunkRef(upload, 1, 1, records), "default", iso(NOW - 1000 + at), 1000 * records)


def foretold(places: list[Place], running: list[Running], upload: str = "mine") -> Forecast:
    return forecast(upload, {"default": places}, ROUTES, running, KNOWN, NOW)


def test_an_upload_alone_begins_now_and_takes_as_long_as_its_job() -> None:
    assert foretold([place("mine", 50, 0)], []) == Forecast(0.0, 150.0, 1)


def test_an_upload_behind_others_begins_when_the_first_slot_is_free() -> None:
    running = [Running(HAIKU, "default", 70.0), Running(HAIKU, "default", 90.0)]
    assert foretold([place("mine", 50, 0)], running) == Forecast(70.0, 220.0, 1)


def test_an_upload_that_does_not_wait_has_no_forecast() -> None:
    assert foretold([place("other", 50, 0)], []) == Forecast()


def test_nobody_knows_when_jobs_of_others_end() -> None:
    assert foretold([place("mine", 50, 0)], [Running(HAIKU), Running(HAIKU)]) == Forecast()


def test_a_chunk_that_runs_again_begins_after_its_back_off() -> None:
    found = foretold([replace(place("mine", 50, 0), not_before=int(NOW) + 600)], [])
    assert found == Forecast(600.0, 750.0, 1)


@given(
    st.lists(st.integers(1, 100), max_size=8),
    st.lists(st.floats(1.0, 500.0), max_size=2),
    st.integers(1, 100),
)
def test_what_is_ahead_never_makes_an_upload_begin_earlier(
    ahead: list[int], ends: list[float], records: int
) -> None:
    running = [Running(HAIKU, "default", end) for end in ends]
    others = [place(f"u{number}", count, number) for number, count in enumerate(ahead)]
    mine = place("mine", records, 500)
    alone, behind = foretold([mine], running), foretold([*others, mine], running)
    assert alone.begins is not None
    assert behind.begins is not None
    assert behind.ends is not None
    assert behind.begins >= alone.begins
    assert behind.ends >= behind.begins + 100.0
