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

pytestmark = pytest.mark.unit

NOW, UNTIL = 100.0, 400.0


def opened(turns: Turns, chance: Random) -> tuple[Lease, LimitedTable]:
    """The lease of a table whose calls take between nothing and a second."""
    table = LimitedTable(turns, lambda _: turns.sleep(chance.random()), Limits(), chance)
    return Lease(Dynamo(cast("Any", table), Patience())), table


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
