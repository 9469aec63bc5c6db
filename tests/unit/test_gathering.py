"""How long a run waits for uploads that are still arriving."""

import pytest
from batch_queue.core import gathering
from batch_queue.core.names import base_model, epoch, iso
from batch_queue.core.rows import ChunkRef, Estimate, Place, Route
from batch_queue.core.scheduling import Running
from hypothesis import given
from hypothesis import strategies as st

from tests.support.routes import configured

pytestmark = pytest.mark.unit

HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
NOVA = "amazon.nova-lite-v1:0"
NOW = epoch("2026-01-01T01:00:00.000Z")
ROUTE = configured("default", HAIKU)
SLOW = Estimate(overhead_seconds=900, records_per_second=16)
#: A job that was started a moment ago: uploads are coming.
LATELY = [Running(HAIKU, "default", 1e6, age=10)]


def arrived(*seconds_ago: float, records: int = 200, route: str = "default") -> list[Place]:
    """Places of one upload each, that entered the queue so long ago."""
    return [
        Place(
            ChunkRef(f"{route}{number}", 1, 1, records),
            route,
            iso(NOW - ago),
            1_000 * records,
            queued_at=iso(NOW - ago),
        )
        for number, ago in enumerate(seconds_ago)
    ]


def waits(
    places: list[Place],
    *,
    route: Route = ROUTE,
    running: list[Running] | None = None,
    estimate: Estimate = SLOW,
) -> float:
    """The seconds for which the model of one route waits."""
    routes, estimates = {route.name: route}, {base_model(route.model_id): estimate}
    found = gathering.gathers_until({route.name: places}, routes, running or [], estimates, NOW)
    assert set(found) <= {base_model(route.model_id)}
    return found.get(base_model(route.model_id), NOW) - NOW


def every(gap: float, count: int, *, last: float = 0.0) -> list[float]:
    """The times of so many uploads, the newest ``last`` seconds ago."""
    return [last + gap * number for number in reversed(range(count))]


def test_the_first_upload_after_a_lull_does_not_wait() -> None:
    assert not waits(arrived(0))
    assert not waits(arrived(0), running=[Running(HAIKU, "default", 1e6, age=61)])
    # Unless it would take the last slot
    assert waits(arrived(0), running=[Running(HAIKU, "default", 1e6, age=61)] * 9) == pytest.approx(5)


def test_an_upload_soon_after_another_waits_a_moment_for_the_next_one() -> None:
    assert waits(arrived(0), running=LATELY) == pytest.approx(5)
    assert waits(arrived(3), running=LATELY) == pytest.approx(2)
    assert not waits(arrived(5), running=LATELY)


def test_while_uploads_come_no_job_takes_a_slot_for_a_few_of_them() -> None:
    assert waits(arrived(*every(1.0, 30))) > 5
    assert waits(arrived(*every(1.0, 30, last=5))) > 0


def test_a_pause_that_is_rare_at_the_pace_so_far_ends_the_wait() -> None:
    assert not waits(arrived(*every(1.0, 30, last=10)))
    # And a pause of the same length is nothing rare where uploads come more slowly
    assert waits(arrived(*every(5.0, 10, last=10))) > 0


def test_the_pause_is_short_when_many_uploads_came_at_once() -> None:
    assert waits(arrived(*every(0.001, 100))) == pytest.approx(2)


def test_uploads_that_never_stop_wait_for_a_minute_and_a_half() -> None:
    assert waits(arrived(*every(2.0, 44))) == pytest.approx(90 - 43 * 2)
    assert not waits(arrived(*every(2.0, 46)))


def test_a_wait_is_never_longer_than_a_part_of_the_time_that_it_can_save() -> None:
    quick = Estimate(overhead_seconds=10, records_per_second=16)
    assert waits(arrived(0), running=LATELY, estimate=quick) == pytest.approx(3)
    assert not waits(arrived(*every(1.0, 5)), estimate=quick)


def test_what_fills_all_slots_does_not_wait() -> None:
    assert waits(arrived(*every(0.1, 9), records=50_000))
    assert not waits(arrived(*every(0.1, 10), records=50_000))
    # And full of bytes is full too
    assert not waits(arrived(*every(0.1, 10)), route=configured("default", HAIKU, max_bytes_per_job=200_000))


def test_nothing_waits_that_could_not_start_anyway() -> None:
    assert not waits(arrived(0), running=[Running(HAIKU, "default", 100)] * 10)
    assert not waits(arrived(0, records=99))
    assert not waits([])


def test_what_waited_for_enough_records_waits_from_the_upload_that_completed_them() -> None:
    # Given a few records that have waited long, and now enough of them
    assert waits(arrived(600, 0, records=60), running=LATELY) > 0


def test_slots_that_all_uploads_will_find_free_are_taken_at_once() -> None:
    # Given an upload every 20 seconds: six of them until the wait would end, and ten slots
    assert not waits(arrived(20, 0))
    # When fewer are free, they gather
    assert waits(arrived(20, 0), running=[Running(HAIKU, "default", 1e6)] * 6) > 0


def test_what_waits_for_a_slot_has_waited_long_enough() -> None:
    assert not waits(arrived(*every(1.0, 200)), running=[Running(HAIKU, "default", 1e6)] * 9)


def test_an_upload_that_takes_all_free_slots_alone_does_not_wait() -> None:
    chunks = [
        Place(ChunkRef("large", number, 1, 5_000), "default", iso(NOW), 1_000, queued_at=iso(NOW))
        for number in range(11)
    ]
    assert not waits(chunks, running=LATELY)
    # But it does with others that came in the same moment
    assert waits([*chunks, *arrived(0)], running=LATELY)


def test_a_large_upload_whose_chunks_enter_one_after_the_other_is_one_arrival() -> None:
    chunks = [
        Place(
            ChunkRef("large", number, 1, 100),
            "default",
            iso(NOW),
            1_000,
            queued_at=iso(NOW - 1 + number / 8),
        )
        for number in range(9)
    ]
    assert waits(chunks, running=LATELY) == pytest.approx(5, abs=0.1)


def test_one_model_gathers_while_another_does_not() -> None:
    routes = {"a": configured("a", HAIKU), "b": configured("b", NOVA)}
    pending = {"a": arrived(0, route="a"), "b": arrived(100, route="b")}
    running = [Running(HAIKU, "a", 1e6, age=10), Running(NOVA, "b", 1e6, age=10)]
    found = gathering.gathers_until(pending, routes, running, {}, NOW)
    assert found == {HAIKU: pytest.approx(NOW + 5)}


def test_the_routes_of_a_model_gather_together() -> None:
    routes = {"a": configured("a", HAIKU), "b": configured("b", "us." + HAIKU)}
    pending = {"a": arrived(20, route="a"), "b": arrived(0, route="b")}
    assert list(gathering.gathers_until(pending, routes, [Running(HAIKU)] * 6, {}, NOW)) == [HAIKU]


@given(
    st.lists(st.tuples(st.floats(0, 300), st.integers(1, 5_000)), min_size=1, max_size=40),
    st.integers(0, 10),
    st.floats(0, 3_000),
)
def test_a_wait_ends_in_time_and_only_what_can_start_waits(
    uploads: list[tuple[float, int]], busy: int, overhead: float
) -> None:
    # Given any uploads, busy slots and model
    places = [
        arrived(ago, records=records, route=f"{number}-")[0] for number, (ago, records) in enumerate(uploads)
    ]
    estimate = Estimate(overhead, 10)
    running = [Running(HAIKU, "default", 1e6)] * busy
    wait = waits(places, running=running, estimate=estimate)
    # Then the wait has an end, after the first upload and after the last one
    assert 0 <= wait <= min(90.0, 0.3 * overhead) + 0.001
    assert wait <= max(0.0, 30.0 - min(ago for ago, _ in uploads)) + 0.001
    # And nothing waits without a slot, or without enough records
    if busy == 10 or sum(records for _, records in uploads) < ROUTE.min_records_per_job:
        assert not wait


@given(st.floats(0.01, 10), st.integers(1, 200))
def test_the_more_gaps_are_known_the_shorter_is_the_pause(mean: float, gaps: int) -> None:
    assert gathering.pause(gaps + 1, mean) <= gathering.pause(gaps, mean)
    assert gathering.SHORTEST_PAUSE <= gathering.pause(gaps, mean) <= gathering.LONGEST_PAUSE
