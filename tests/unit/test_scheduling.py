"""Which pending chunks become jobs."""

from collections import Counter

import pytest
from batch_queue import scheduling
from batch_queue.model import ChunkRef, Place, Route, base_model
from batch_queue.scheduling import Running
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.unit

HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
NOVA = "amazon.nova-lite-v1:0"


def places(route: str, *times: int) -> list[Place]:
    return [
        Place(ChunkRef(f"{route}{time}", 1, 1, 100), route, f"2026-01-01T00:00:{time:02d}.000Z", 1000)
        for time in times
    ]


def chosen(jobs: list[tuple[Route, tuple[ChunkRef, ...]]]) -> list[str]:
    return [ref.upload_id for _, refs in jobs for ref in refs]


def test_slots_are_the_limit_less_every_active_job_of_the_base_model() -> None:
    routes = [Route("default", HAIKU, max_active_jobs=10)]
    running = [Running(HAIKU, "default"), Running("us." + HAIKU), Running(NOVA)]
    assert scheduling.free_slots(routes, running) == {HAIKU: 8}


def test_more_active_jobs_than_the_limit_leave_no_slot() -> None:
    routes = [Route("default", HAIKU, max_active_jobs=1)]
    assert scheduling.free_slots(routes, [Running(HAIKU)] * 3) == {HAIKU: 0}


def test_the_oldest_goes_first() -> None:
    routes = {"default": Route("default", HAIKU, max_active_jobs=2)}
    assert chosen(scheduling.choose({"default": places("default", 3, 5, 9)}, routes, [])) == [
        "default3",
        "default5",
    ]


def test_the_higher_priority_goes_first_within_one_model() -> None:
    routes = {
        "default": Route("default", HAIKU, max_active_jobs=2),
        "urgent": Route("urgent", "us." + HAIKU, max_active_jobs=2, priority=9),
    }
    pending = {"default": places("default", 1, 2), "urgent": places("urgent", 8)}
    assert chosen(scheduling.choose(pending, routes, [])) == ["urgent8", "default1"]


def test_a_route_keeps_within_its_own_cap_while_another_takes_the_rest() -> None:
    routes = {
        "small": Route("small", HAIKU, max_active_jobs=1, priority=9),
        "large": Route("large", HAIKU, max_active_jobs=3),
    }
    pending = {"small": places("small", 1, 2, 3), "large": places("large", 4, 5, 6)}
    assert chosen(scheduling.choose(pending, routes, [])) == ["small1", "large4", "large5"]


def test_models_do_not_share_slots() -> None:
    routes = {"a": Route("a", HAIKU, max_active_jobs=1), "b": Route("b", NOVA, max_active_jobs=1)}
    pending = {"a": places("a", 1, 2), "b": places("b", 3, 4)}
    assert chosen(scheduling.choose(pending, routes, [])) == ["a1", "b3"]


ROUTES = st.dictionaries(
    st.sampled_from("abcd"),
    st.tuples(st.sampled_from([HAIKU, "us." + HAIKU, NOVA]), st.integers(1, 4), st.integers(0, 2)),
    min_size=1,
).map(
    lambda found: {
        name: Route(name, m, max_active_jobs=limit, priority=p) for name, (m, limit, p) in found.items()
    }
)


@given(ROUTES, st.data())
def test_slots_and_caps_hold_and_no_slot_stays_free_that_pending_work_could_use(
    routes: dict[str, Route], data: st.DataObject
) -> None:
    names = st.sampled_from(sorted(routes))
    running = [
        Running(routes[name].model_id, name if ours else "")
        for name, ours in data.draw(st.lists(st.tuples(names, st.booleans()), max_size=6))
    ]
    pending = {name: places(name, *range(data.draw(st.integers(0, 6)))) for name in routes}
    jobs = scheduling.choose(pending, routes, running)

    refs = chosen(jobs)
    assert len(refs) == len(set(refs))
    slots = scheduling.free_slots(routes.values(), running)
    used = Counter(base_model(route.model_id) for route, _ in jobs)
    by_route = Counter(route.name for route, _ in jobs)
    own = Counter(job.route for job in running)
    for model, count in used.items():
        assert count <= slots[model]
    for name, route in routes.items():
        if by_route[name]:
            assert own[name] + by_route[name] <= route.max_active_jobs
        left = len(pending[name]) - by_route[name]
        capped = own[name] + by_route[name] >= route.max_active_jobs
        full = used[base_model(route.model_id)] >= slots[base_model(route.model_id)]
        assert not left or capped or full
