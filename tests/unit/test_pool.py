"""Calls at once: in order, never more than a client has connections for."""

from __future__ import annotations

import threading

import pytest
from batch_queue.aws.pool import AT_ONCE, CONNECTIONS, LIGHT_BYTES, NESTED_AT_ONCE, at_once, by_size

SECONDS = 30.0  # a test that takes longer hangs


class Peak:
    """How many steps run at one time. Each waits until ``most`` do, if so many ever should."""

    def __init__(self, most: int) -> None:
        self.seen = 0
        self._now = 0
        self._lock = threading.Lock()
        self._barrier = threading.Barrier(most)

    def step(self, _: object) -> None:
        with self._lock:
            self._now += 1
            self.seen = max(self.seen, self._now)
        self._barrier.wait(SECONDS)
        with self._lock:
            self._now -= 1


def test_results_come_in_the_order_of_the_items() -> None:
    first = threading.Event()

    def step(number: int) -> int:
        if number:
            first.set()
        else:
            assert first.wait(SECONDS)  # so the first ends last
        return number * 2

    assert at_once(step, [0, 1]) == [0, 2]


@pytest.mark.parametrize(("most", "items"), [(AT_ONCE, 2 * AT_ONCE), (2, 6)])
def test_as_many_run_side_by_side_as_may_and_no_more(most: int, items: int) -> None:
    peak = Peak(most)
    at_once(peak.step, range(items), most)
    assert peak.seen == most


@pytest.mark.parametrize(("steps", "each"), [(AT_ONCE, NESTED_AT_ONCE), (4, CONNECTIONS // 4)])
def test_steps_that_make_calls_at_once_share_the_connections(steps: int, each: int) -> None:
    # Given steps side by side, each of which has a pool of its own
    peak = Peak(steps * each)
    at_once(lambda _: at_once(peak.step, range(2 * each)), range(steps))
    # Then each has its share
    assert peak.seen == steps * each == CONNECTIONS


@pytest.mark.parametrize("most", [1, AT_ONCE])
def test_one_at_a_time_runs_in_the_caller_s_thread_and_may_have_a_whole_pool(most: int) -> None:
    peak = Peak(AT_ONCE)
    threads: set[int] = set()

    def step(_: int) -> None:
        threads.add(threading.get_ident())
        at_once(peak.step, range(AT_ONCE))

    at_once(step, range(2 if most == 1 else 1), most)
    assert threads == {threading.get_ident()}
    assert peak.seen == AT_ONCE


def test_the_pool_of_a_step_is_a_whole_one_again_after_the_others() -> None:
    at_once(lambda number: number, range(2))
    peak = Peak(AT_ONCE)
    at_once(peak.step, range(AT_ONCE))
    assert peak.seen == AT_ONCE


def test_an_error_is_raised_after_what_had_begun_has_ended() -> None:
    ended: list[int] = []
    failed = threading.Event()

    def step(number: int) -> None:
        if number == 0:
            failed.set()
            raise ValueError("the first")
        assert failed.wait(SECONDS)
        ended.append(number)

    with pytest.raises(ValueError, match="the first"):
        at_once(step, range(3), most=3)
    assert sorted(ended) == [1, 2]


def test_what_is_large_comes_one_after_the_other_and_each_has_a_whole_pool() -> None:
    # Given two large items among small ones
    light, whole = Peak(2), Peak(AT_ONCE)
    alone = threading.Lock()

    def step(size: int) -> int:
        if size <= LIGHT_BYTES:
            light.step(size)
        else:
            assert alone.acquire(blocking=False)
            at_once(whole.step, range(AT_ONCE))
            alone.release()
        return -size

    sizes = [LIGHT_BYTES + 1, 1, LIGHT_BYTES + 2, LIGHT_BYTES]
    # Then the small ones are side by side, the others are not, and all results are in order
    assert by_size(step, sizes, lambda size: size) == [-size for size in sizes]
    assert (light.seen, whole.seen) == (2, AT_ONCE)


def test_nothing_to_do_is_done() -> None:
    assert at_once(str, []) == by_size(str, [], len) == []
