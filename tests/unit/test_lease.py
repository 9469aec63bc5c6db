"""The lease of the processor: many wake-ups cost little, and none is lost."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any, cast

import pytest
from batch_queue.aws.patience import Patience
from batch_queue.aws.table.dynamo import Dynamo
from batch_queue.aws.table.lease import Lease

from tests.support.limits import LimitedTable, Limits
from tests.support.turns import Turns
from tests.support.typed import TypedClient

pytestmark = pytest.mark.unit

NOW, UNTIL = 100.0, 400.0


def opened(turns: Turns, chance: Random) -> tuple[Lease, LimitedTable]:
    """The lease of a table whose calls take between nothing and a second."""
    table = LimitedTable(turns, lambda _: turns.sleep(chance.random()), Limits(), chance)
    return Lease(Dynamo(cast("Any", TypedClient(table)), table.name, Patience())), table


def calls_of(table: LimitedTable, lease: Lease, owner: str) -> Counter[str]:
    """The calls that a run makes which does not get the lease."""
    before = Counter(table.calls)
    assert not lease.acquire(owner, NOW, UNTIL)
    return table.calls - before


def test_a_run_that_finds_the_lease_taken_and_marked_writes_nothing() -> None:
    lease, table = opened(Turns(), Random(0))
    assert lease.acquire("one", NOW, UNTIL)
    assert calls_of(table, lease, "two") == {"GetItem": 1, "UpdateItem": 1}, "it leaves the mark"
    assert calls_of(table, lease, "three") == {"GetItem": 1}
    # And the mark counts once
    assert not lease.release("one")
    assert calls_of(table, lease, "four") == {"GetItem": 1, "UpdateItem": 1}
    assert not lease.release("one")
    assert lease.release("one")
    assert lease.acquire("five", NOW, UNTIL)


@pytest.mark.parametrize("seed", range(300))
def test_no_wake_up_is_lost_and_one_run_holds_the_lease_whatever_the_order_of_calls(seed: int) -> None:
    # Given runs that are woken while others hold the lease, take it, give it back and mark it
    turns, chance = Turns(), Random(seed)
    lease, _ = opened(turns, chance)
    stored: set[int] = set()
    seen: set[int] = set()

    holders: list[int] = []

    def round_(number: int) -> None:
        holders.append(number)
        found = set(stored)
        turns.sleep(chance.random())
        seen.update(found)
        assert holders == [number]
        holders.clear()

    def woken(number: int) -> None:
        stored.add(number)
        owner = f"run-{number}"
        if lease.acquire(owner, NOW, UNTIL):
            round_(number)
            while not lease.release(owner):
                round_(number)

    for number in range(chance.randint(2, 6)):
        turns.start(lambda number=number: woken(number), delay=chance.random() * 4)  # type: ignore[misc]
    turns.run()
    # Then some round has seen what each was woken for, and no two ran at once
    assert seen == stored


@pytest.mark.parametrize("seed", range(300))
def test_whoever_stores_work_finds_a_round_that_follows_whatever_the_order_of_calls(seed: int) -> None:
    # Given functions that store work and then wake the processor, and runs that begin a while after that
    turns, chance = Turns(), Random(seed)
    lease, _ = opened(turns, chance)
    stored: set[int] = set()
    seen: set[int] = set()
    sent: list[int] = []

    def run(number: int) -> None:
        owner = f"run-{number}"
        if not lease.acquire(owner, turns(), turns() + 60):
            return
        while True:
            found = set(stored)
            turns.sleep(chance.random())
            seen.update(found)
            if lease.release(owner):
                return

    def store(number: int) -> None:
        stored.add(number)
        if lease.wake(turns()):
            sent.append(number)
            turns.start(lambda: run(number), delay=chance.random() * 3)

    for number in range(chance.randint(2, 12)):
        turns.start(lambda number=number: store(number), delay=chance.random() * 6)  # type: ignore[misc]
    turns.run()
    # Then no work is left behind, for few wake-ups
    assert seen == stored
    assert len(sent) <= 6


def test_one_wake_up_is_sent_for_many_and_the_others_write_nothing() -> None:
    lease, table = opened(Turns(), Random(0))
    assert lease.needs_wake_up(NOW)
    assert lease.wake(NOW)
    before = Counter(table.calls)
    assert not lease.needs_wake_up(NOW + 1)
    assert not lease.wake(NOW + 1)
    assert table.calls - before == {"GetItem": 2}
    # When the run that it woke holds the lease, one mark is enough
    assert lease.acquire("one", NOW + 2, UNTIL)
    assert lease.needs_wake_up(NOW + 3)
    assert not lease.wake(NOW + 3)
    assert not lease.needs_wake_up(NOW + 4)
    assert not lease.release("one")
    # And after it has ended, the next one is sent at once
    assert lease.release("one")
    assert lease.wake(NOW + 5)


def test_a_wake_up_that_was_lost_or_could_not_be_sent_is_sent_again() -> None:
    lease, _ = opened(Turns(), Random(0))
    assert lease.wake(NOW)
    assert not lease.wake(NOW + 29)
    assert lease.wake(NOW + 31)
    lease.withdraw(NOW + 31)
    assert lease.wake(NOW + 32)


def test_a_clock_that_is_wrong_does_not_silence_the_wake_ups() -> None:
    lease, _ = opened(Turns(), Random(0))
    assert lease.wake(NOW + 900)
    assert lease.wake(NOW)


def test_lambdas_retry_of_a_run_that_was_killed_takes_its_lease() -> None:
    lease, _ = opened(Turns(), Random(0))
    assert lease.acquire("request-1/a", NOW, UNTIL, "request-1/")
    assert not lease.acquire("request-2/b", NOW + 60, UNTIL, "request-2/")
    assert lease.acquire("request-1/c", NOW + 60, UNTIL, "request-1/")
    # And the run that was not killed after all finds that it has lost it
    assert lease.release("request-1/a"), "it stops"
    assert not lease.acquire("request-3/d", NOW + 61, UNTIL), "the retry has it"


def test_a_run_that_gathers_finds_out_that_it_was_woken() -> None:
    lease, _ = opened(Turns(), Random(0))
    assert lease.acquire("one", NOW, UNTIL)
    assert not lease.take_mark("one")
    assert not lease.wake(NOW)
    assert lease.take_mark("one")
    assert lease.release("one")
