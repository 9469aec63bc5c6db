"""Which pending chunks become jobs, how large they are, and what waits."""

from collections import Counter
from dataclasses import replace

import pytest
from batch_queue.core import scheduling
from batch_queue.core.names import base_model, epoch, iso
from batch_queue.core.rows import ChunkRef, Estimate, Job, Place, Route, Status
from batch_queue.core.scheduling import Plan, Running
from hypothesis import given
from hypothesis import strategies as st

from tests.support.routes import configured

pytestmark = pytest.mark.unit

HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
NOVA = "amazon.nova-lite-v1:0"
NOW = epoch("2026-01-01T01:00:00.000Z")
QUICK = Estimate(overhead_seconds=10, records_per_second=10)


def places(route: str, *records: int, minutes_ago: float = 1, size: int = 1000) -> list[Place]:
    return [
        Place(
            ChunkRef(f"{route}{number}", 1, 1, count),
            route,
            iso(NOW - minutes_ago * 60 + number / 1000),
            size,
        )
        for number, count in enumerate(records)
    ]


def plan(pending: dict[str, list[Place]], *routes: Route, running: list[Running] | None = None) -> Plan:
    by_name = {route.name: route for route in routes}
    estimates = {HAIKU: QUICK, NOVA: QUICK}
    return scheduling.plan(pending, by_name, running or [], estimates, NOW)


def sizes(found: Plan) -> list[int]:
    return [sum(ref.records for ref in job.chunks) for job in found.jobs]


def names(found: Plan) -> list[str]:
    return [ref.upload_id for job in found.jobs for ref in job.chunks]


def test_slots_are_the_limit_less_every_active_job_of_the_base_model_and_the_reserve() -> None:
    routes = [configured("default", HAIKU, max_active_jobs=10, reserved_slots=2)]
    running = [Running(HAIKU, "default"), Running("us." + HAIKU), Running(NOVA)]
    assert scheduling.free_slots(routes, running) == {HAIKU: 6}


def test_more_active_jobs_than_the_limit_leave_no_slot() -> None:
    routes = [configured("default", HAIKU, max_active_jobs=1)]
    assert scheduling.free_slots(routes, [Running(HAIKU)] * 3) == {HAIKU: 0}


def test_all_slots_would_end_at_the_same_time() -> None:
    estimate = Estimate(overhead_seconds=100, records_per_second=2)
    assert scheduling.end_of_all(1000, [0, 0], estimate) == pytest.approx(100 + 250)
    assert scheduling.end_of_all(1000, [0, 300], estimate) == pytest.approx((500 + 100 + 400) / 2)
    assert scheduling.end_of_all(1000, [0, 9000], estimate) == pytest.approx(600), (
        "a late slot is not waited for"
    )


@given(
    st.integers(1, 10**6),
    st.lists(st.floats(0, 10**4), min_size=1, max_size=20),
    st.floats(0, 1000),
    st.floats(0.1, 100),
)
def test_the_water_level_holds_exactly_the_pending_work(
    pending: int, starts: list[float], overhead: float, rate: float
) -> None:
    level = scheduling.end_of_all(pending, starts, Estimate(overhead, rate))
    held = sum(max(0.0, level - start - overhead) * rate for start in starts)
    assert held == pytest.approx(pending, rel=1e-6)


def test_many_small_chunks_share_the_slots_evenly() -> None:
    found = plan({"default": places("default", *[100] * 40)}, configured("default", HAIKU, max_active_jobs=4))
    assert sizes(found) == [1000] * 4


def test_a_job_never_exceeds_the_limits_of_records_and_bytes() -> None:
    route = configured("default", HAIKU, max_active_jobs=3, max_records_per_job=250)
    assert sizes(plan({"default": places("default", *[100] * 40)}, route)) == [200] * 3
    route = configured("default", HAIKU, max_active_jobs=3, max_bytes_per_job=3000)
    assert sizes(plan({"default": places("default", *[100] * 40)}, route)) == [300] * 3


def test_a_job_has_no_more_chunks_than_its_row_and_one_invocation_take() -> None:
    found = plan({"default": places("default", *[1] * 6000)}, configured("default", HAIKU, max_active_jobs=1))
    assert [len(job.chunks) for job in found.jobs] == [2_500]


def test_what_would_be_left_below_the_minimum_joins_the_last_job() -> None:
    found = plan(
        {"default": places("default", 100, 100, 30)}, configured("default", HAIKU, max_active_jobs=2)
    )
    assert sum(sizes(found)) == 230
    assert not found.waiting


def test_too_few_records_wait_until_their_time_is_up() -> None:
    route = configured("default", HAIKU, pack_wait_minutes=15)
    found = plan({"default": places("default", 30, 7)}, route)
    assert not found.jobs
    (waiting,) = found.waiting
    assert (waiting.records, len(waiting.places)) == (37, 2)
    assert waiting.until == pytest.approx(NOW + 14 * 60, abs=1)
    found = plan({"default": places("default", 30, 7, minutes_ago=15.1)}, route)
    assert not found.waiting
    assert [few.records for few in found.undersized] == [37]


def test_each_chunk_waits_by_its_own_time() -> None:
    # Given few records that have waited long enough, and others that have just come
    route = configured("default", HAIKU, pack_wait_minutes=15)
    old, young = places("default", 3, minutes_ago=16), places("default", 95, minutes_ago=0.1)
    found = plan({"default": [*old, *young]}, route)
    # Then only the old ones are too few for good
    assert [few.places for few in found.undersized] == [tuple(old)]
    assert [(few.places, few.records) for few in found.waiting] == [(tuple(young), 95)]
    # And together they would have been enough
    assert sizes(plan({"default": [*old, *places("default", 97)]}, route)) == [100]


def test_a_chunk_waits_from_its_entry_into_the_queue_not_from_its_event() -> None:
    route = configured("default", HAIKU, pack_wait_minutes=15)
    late = [replace(place, queued_at=iso(NOW - 60)) for place in places("default", 60, minutes_ago=20)]
    (waiting,) = plan({"default": late}, route).waiting
    assert waiting.until == pytest.approx(NOW + 14 * 60, abs=1)


def test_the_higher_priority_goes_first_within_one_model() -> None:
    routes = (
        configured("default", HAIKU, max_active_jobs=2),
        configured("urgent", "us." + HAIKU, max_active_jobs=2, priority=59),
    )
    found = plan({"default": places("default", 100), "urgent": places("urgent", 100)}, *routes)
    assert [job.route.name for job in found.jobs] == ["urgent", "default"]


def test_a_low_priority_is_not_starved_for_ever() -> None:
    routes = (
        configured("low", HAIKU, max_active_jobs=1),
        configured("high", HAIKU, max_active_jobs=1, priority=100),
    )
    fresh = {"low": places("low", 100, minutes_ago=60), "high": places("high", 100)}
    assert plan(fresh, *routes).jobs[0].route.name == "high"
    aged = {"low": places("low", 100, minutes_ago=11 * 60), "high": places("high", 100)}
    assert plan(aged, *routes).jobs[0].route.name == "low"


def test_a_route_keeps_within_its_own_cap_while_another_takes_the_rest() -> None:
    routes = (
        configured("small", HAIKU, max_active_jobs=1, priority=59, max_records_per_job=100),
        configured("large", HAIKU, max_active_jobs=3, max_records_per_job=100),
    )
    found = plan({"small": places("small", 100, 100), "large": places("large", 100, 100, 100)}, *routes)
    assert [job.route.name for job in found.jobs] == ["small", "large", "large"]


def test_a_route_with_fewer_slots_than_its_model_makes_its_jobs_for_those() -> None:
    routes = (
        configured("small", HAIKU, max_active_jobs=2),
        configured("large", HAIKU, max_active_jobs=10),
    )
    found = plan({"small": places("small", *[100] * 20)}, *routes)
    assert sizes(found) == [1000, 1000]
    # And one of them that runs already counts with what it has left: 100 seconds, or 1,000 records
    running = [Running(HAIKU, "small", QUICK.overhead_seconds + 100)]
    assert sizes(plan({"small": places("small", *[100] * 20)}, *routes, running=running)) == [1600]


def test_what_is_to_wait_after_a_failure_is_not_taken_before_its_time() -> None:
    early = Place(ChunkRef("a", 1, 2, 100), "default", iso(NOW - 3600), 1000, not_before=int(NOW) + 30)
    late = Place(ChunkRef("b", 1, 1, 100), "default", iso(NOW - 60), 1000)
    found = plan({"default": [early, late]}, configured("default", HAIKU))
    assert names(found) == ["b"]


ROUTES = st.dictionaries(
    st.sampled_from("abcd"),
    st.tuples(st.sampled_from([HAIKU, "us." + HAIKU, NOVA]), st.integers(1, 4), st.integers(0, 2)),
    min_size=1,
).map(
    lambda found: {
        name: configured(
            name, m, max_active_jobs=limit, priority=p, min_records_per_job=20, max_records_per_job=100
        )
        for name, (m, limit, p) in found.items()
    }
)


@given(ROUTES, st.data())
def test_limits_hold_order_is_kept_and_no_slot_stays_free_that_pending_work_could_use(
    routes: dict[str, Route], data: st.DataObject
) -> None:
    route_names = st.sampled_from(sorted(routes))
    running = [
        Running(routes[name].model_id, name if ours else "", ends_in)
        for name, ours, ends_in in data.draw(
            st.lists(st.tuples(route_names, st.booleans(), st.floats(0, 1000)), max_size=6)
        )
    ]
    counts = st.lists(st.integers(1, 60), max_size=12)
    pending = {name: places(name, *data.draw(counts)) for name in routes}
    found = scheduling.plan(pending, routes, running, {HAIKU: QUICK}, NOW)

    refs = [ref for job in found.jobs for ref in job.chunks]
    assert len(refs) == len(set(refs)), "a chunk is in one job only"
    slots = scheduling.free_slots(routes.values(), running)
    own = Counter(job.route for job in running)
    used = Counter(base_model(job.route.model_id) for job in found.jobs)
    by_route = Counter(job.route.name for job in found.jobs)
    for job in found.jobs:
        assert 20 <= sum(ref.records for ref in job.chunks) <= 100
    for model, count in used.items():
        assert count <= slots[model]
    waiting = {place.ref for wait in (*found.waiting, *found.undersized) for place in wait.places}
    for name, route in routes.items():
        taken = [ref for job in found.jobs if job.route.name == name for ref in job.chunks]
        queue = [place.ref for place in pending[name]]
        assert taken == [ref for ref in queue if ref in set(taken)], "order is kept"
        if by_route[name]:
            assert own[name] + by_route[name] <= route.max_active_jobs
        left = [ref for ref in queue if ref not in set(taken) and ref not in waiting]
        capped = own[name] + by_route[name] >= route.max_active_jobs
        full = used[base_model(route.model_id)] >= slots[base_model(route.model_id)]
        assert not left or capped or full, "a slot stays free"


@pytest.mark.parametrize(
    ("count", "slots", "expected"),
    [(2_550, 1, [2_450]), (25_050, 10, [2_500] * 9 + [2_450]), (5_050, 2, [2_500, 2_450])],
)
def test_a_job_at_its_limit_takes_fewer_so_that_what_is_left_is_a_job_too(
    count: int, slots: int, expected: list[int]
) -> None:
    # Given more small uploads than the chunks of the jobs, and less than a minimum beyond them
    route = configured("default", HAIKU, max_active_jobs=slots)
    found = plan({"default": places("default", *[1] * count)}, route)
    # Then the last job at the limit leaves the minimum behind
    assert sizes(found) == expected
    assert not found.undersized


@given(st.integers(1, 1_300), st.integers(1, 120), st.integers(1, 300), st.integers(1, 4))
def test_packing_leaves_no_less_than_the_minimum_where_it_can(
    count: int, least: int, above: int, slots: int
) -> None:
    limits = {"min_records_per_job": least, "max_records_per_job": least + above}
    route = configured("default", HAIKU, max_active_jobs=slots, **limits)
    found = plan({"default": places("default", *[1] * count)}, route)
    left = count - sum(sizes(found))
    assert all(least <= size <= least + above for size in sizes(found))
    # Too few are left only where the last job cannot give any away.
    assert not 0 < left < least or not found.jobs or sizes(found)[-1] + left < 2 * least


def test_a_chunk_above_the_limits_takes_no_other_into_its_job() -> None:
    # Given a chunk of a time with higher limits, which Bedrock may refuse, and a small one behind it
    route = configured("default", HAIKU, max_records_per_job=1_000)
    found = plan({"default": places("default", 5_000, 50)}, route)
    assert sizes(found) == [5_000]


# ------------------------------------------------------------------------------------------ the look ahead


def head(queue: list[Place], most: tuple[int, int]) -> list[Place]:
    """What ``Chunks.pending`` reads."""
    records, found = 0, []
    for place in queue[: most[1]]:
        found.append(place)
        records += place.ref.records
        if records >= most[0]:
            break
    return found


def test_as_much_is_read_as_all_slots_together_could_take() -> None:
    # Given one free slot of three; one job ends when half a full one is done, and one much later
    route = configured("default", HAIKU, max_active_jobs=3, max_records_per_job=1_000)
    running = [Running(HAIKU, "default", 50), Running("us." + HAIKU, "", 5_000)]
    # Then one and a half jobs are read, and the minimum
    assert scheduling.head(route, [route], running, QUICK) == (1_600, 3_850)


def test_nothing_is_read_where_no_job_may_start() -> None:
    route = configured("default", HAIKU, max_active_jobs=1)
    assert scheduling.head(route, [route], [Running(HAIKU, "default", 50)], QUICK) == (0, 0)


def test_the_next_job_is_as_large_as_the_whole_queue_allows_though_one_slot_is_free() -> None:
    # Given three slots of which two are about to be free, and work for all of them
    route = configured("default", HAIKU, max_active_jobs=3, max_records_per_job=1_000)
    running = [Running(HAIKU, "default", 1), Running(HAIKU, "default", 1)]
    queue = places("default", *[50] * 200)
    seen = head(queue, scheduling.head(route, [route], running, QUICK))
    # Then the job is not a third of what it could be
    assert sizes(plan({"default": seen}, route, running=running)) == [1_000]


@given(ROUTES, st.data())
def test_a_plan_with_more_of_the_queue_would_make_the_same_jobs(
    routes: dict[str, Route], data: st.DataObject
) -> None:
    running = [
        Running(routes[name].model_id, name, ends_in)
        for name, ends_in in data.draw(
            st.lists(st.tuples(st.sampled_from(sorted(routes)), st.floats(0, 30)), max_size=6)
        )
    ]
    queues = {
        name: places(name, *data.draw(st.lists(st.integers(1, 60), max_size=60)))
        for name, route in routes.items()
        if scheduling.room(route, routes.values(), running)
    }
    estimates = {HAIKU: QUICK, NOVA: QUICK}
    seen = {
        name: head(queue, scheduling.head(routes[name], routes.values(), running, QUICK))
        for name, queue in queues.items()
    }
    every = scheduling.plan(queues, routes, running, estimates, NOW)
    assert scheduling.plan(seen, routes, running, estimates, NOW).jobs == every.jobs


# ----------------------------------------------------------------------------------------- what is learned


def ended(records: int, overhead: float, runs: float, model_id: str = HAIKU) -> Job:
    return Job(
        job_id="job",
        job_name="job",
        route="default",
        model_id=model_id,
        status=Status.COMPLETED,
        created_at=iso(NOW),
        records=records,
        submitted_at=iso(NOW),
        started_at=iso(NOW + overhead),
        ended_at=iso(NOW + overhead + runs),
    )


def test_the_first_jobs_of_a_model_count_alike_in_its_estimate() -> None:
    known = scheduling.learned(None, ended(1_000, 100, 100))
    assert known == Estimate(100, 10, 1)
    assert scheduling.learned(known, ended(1_000, 200, 50)) == Estimate(150, 15, 2)


def test_a_later_job_moves_the_estimate_by_its_weight() -> None:
    found = scheduling.learned(Estimate(100, 10, jobs=50), ended(1_000, 200, 50))
    assert (found.overhead_seconds, found.records_per_second) == (pytest.approx(130), pytest.approx(13))
    assert found.jobs == 51


@pytest.mark.parametrize(("overhead", "runs"), [(300, 301), (40, 50)])
def test_a_job_that_took_quite_another_time_than_expected_replaces_the_estimate(
    overhead: float, runs: float
) -> None:
    found = scheduling.learned(Estimate(100, 5, jobs=50), ended(1_000, overhead, runs))
    assert (found.overhead_seconds, found.records_per_second) == (overhead, pytest.approx(1_000 / runs))
    assert found.jobs == 51, "concurrent runs store the higher count"


def test_a_plan_knows_what_jobs_show_whose_output_is_not_collected_yet() -> None:
    jobs = [ended(1_000, 100, 100), replace(ended(1_000, 1, 1), status=Status.FAILED)]
    found = scheduling.informed({NOVA: QUICK}, jobs)
    assert found == {NOVA: QUICK, HAIKU: Estimate(100, 10, 1)}
