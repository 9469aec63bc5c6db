"""Exhaustive: every AWS call of a cycle fails, or loses its answer, or is the last thing its function does.

Afterwards AWS does what it would do (two asynchronous retries, the dead letter, the schedule) and the queue
runs to rest; the invariants must hold each time.
"""

from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest
from batch_queue.model import Route, Status
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError

from tests.support.invariants import Watch, check
from tests.support.world import HAIKU, Call, World, lines, records

pytestmark = pytest.mark.faults

CONFIG = {"models": {"*": {"min_records": 1, "max_active_jobs": 1}}}
ROUTE = Route("default", HAIKU, max_active_jobs=1, min_records_per_job=1)
ENDPOINT = "https://aws"


def cycle(world: World) -> tuple[dict[str, list[dict[str, object]]], str]:
    """Two uploads for one slot (one of them needs tidying) and one that is rejected."""
    good, untidy = records(3, "good"), records(4, "untidy")
    accepted = {
        world.upload("good.jsonl", lines(good), deliveries=2): good,
        world.upload("untidy.jsonl", lines(untidy).replace(b"\n", b"\r\n")): untidy,
    }
    return accepted, world.upload("bad.jsonl", b"{\n")


def run(fault: str, at: int) -> tuple[World, Call | None]:
    """Runs the cycle with one fault at the ``at``-th call; gives the world and the call that was hit."""
    hit: list[Call] = []

    def before(call: Call) -> None:
        if call.number == at and fault != "lose the answer":
            hit.append(call)
            if fault == "kill":
                world.kill()
            raise EndpointConnectionError(endpoint_url=ENDPOINT)

    def after(call: Call) -> None:
        if call.number == at and fault == "lose the answer":
            hit.append(call)
            raise ConnectionClosedError(endpoint_url=ENDPOINT)

    with World.open(ROUTE, config=CONFIG) as world:
        world.before, world.after = before, after
        world.bedrock_events = False  # the schedule drives it: fewer rounds, the same calls
        accepted, rejected = cycle(world)
        watch = Watch(world)
        while not (world.at_rest() and not world.events):
            assert world.calls < 2_000, "no rest in sight"
            world.step()
            watch.look()
        check(world, accepted, slots=1)
        statuses = Counter(upload.status for upload in world.uploads())
        assert statuses == {Status.COMPLETED: 2, Status.REJECTED: 1}
        assert world.one_upload(rejected).status == Status.REJECTED
        assert not world.dead_letters, "one fault is mended by a retry"
    return world, hit[0] if hit else None


def test_without_a_fault_the_cycle_ends_as_it_should() -> None:
    world, _ = run("fail", at=-1)
    assert not world.errors


def outcome(fault: str, at: int) -> tuple[str, str]:
    """Runs the cycle in a process of its own; gives what was hit and, where an invariant broke, how."""
    try:
        _, call = run(fault, at)
    except AssertionError as error:
        return f"call {at}", str(error)
    return (f"{call.function}: {call.operation}", "") if call else (f"call {at}", "the call was never made")


@pytest.mark.parametrize("fault", ["fail", "lose the answer", "kill"])
def test_a_fault_at_any_call_loses_nothing_and_doubles_nothing(fault: str) -> None:
    world, _ = run(fault, at=-1)
    with ProcessPoolExecutor() as pool:
        outcomes = list(pool.map(outcome, [fault] * world.calls, range(1, world.calls + 1)))
    broken = [f"{fault} at call {at}: {why}" for at, (_, why) in enumerate(outcomes, start=1) if why]
    assert not broken, "\n".join(broken)
    print(f"{fault}: {len(outcomes)} calls, {len({hit for hit, _ in outcomes})} kinds")
