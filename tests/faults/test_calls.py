"""Exhaustive: every AWS call of a cycle fails, loses its answer, or is the last thing its function does.

Before each call of a collector, others also run to their end, as when Lambda delivers an event twice.

Afterwards AWS does what it would do (two asynchronous retries, the dead letter, the schedule) and the queue
runs to rest; the invariants must hold each time.

What leaves AWS in the same state and tells the function the same is one history, and is lived through once:
a read that loses its answer is a read that failed; and a function that is ended after a read could as well
have been ended before it, so that each has its ends before its first call and right after each of its writes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import patch

import pytest
from batch_queue.core.rows import Route, Status
from batch_queue.steps.operate import AGAIN_SECONDS
from bedrock_batch_simulator import Fault
from botocore.exceptions import ConnectionClosedError

from tests.support import world as world_module
from tests.support.errors import denying
from tests.support.forks import Forks
from tests.support.invariants import Watch, check, check_cancelled
from tests.support.routes import configured
from tests.support.soak import sent
from tests.support.world import HAIKU, Call, World, lines, records

pytestmark = pytest.mark.faults

SLOTS = 2
LEAST = 4
CONFIG = {
    "models": {"*": {"min_records": LEAST, "max_active_jobs": SLOTS}},
    "job_faults": [{"outcome": "Expired", "fraction": 0.5, "times": 1}],  # what is left runs again
}
DEFAULT = configured(
    "default",
    HAIKU,
    max_active_jobs=SLOTS,
    min_records_per_job=LEAST,
    max_records_per_file=40,  # so that an upload of 9 records is cut
    pack_wait_minutes=5,
    undersized="on_demand",
    max_record_attempts=9,
)
#: A job for each chunk.
ORDERED = configured(
    "default", HAIKU, max_active_jobs=1, min_records_per_job=1, max_records_per_job=4, max_records_per_file=4
)
#: A job whose output takes the collector several runs: each of its calls takes so long (seconds).
SLOW = 60.0
LONG = configured("default", HAIKU, max_active_jobs=1, min_records_per_job=LEAST, max_records_per_file=40)
UNTIDY = lines(records(3, "untidy")).replace(b"\n", b"\r\n")
BATCH = {"cut": lines(records(9, "cut")), "few": lines(records(2, "few")), "untidy": UNTIDY}
BAD = b"{\n"
#: Whether the call arrived, who made it cannot tell.
LOST = ConnectionClosedError(endpoint_url="https://aws")
READS = ("BatchGet", "Get", "Head", "List", "Query")


def cycle(
    forks: Forks,
    bodies: Mapping[str, bytes],
    route: Route = DEFAULT,
    config: Mapping[str, Any] = CONFIG,
    slow: float = 0.0,
) -> Counter[str]:
    """The uploads, and beside them one that is rejected, in one life.

    Each call is also lived through with each fault, in a copy; where the collector is ``slow``, each of its
    calls. Gives how often each function makes each call.
    """
    with World.open(route, config=config) as world:
        world.keep_rows(1)
        calls = fork_at_calls(world, forks, slow, only="collect" if slow else "")
        # So that a job is tried a second time, and how often is stored before.
        world.simulator.add_fault(Fault("server_error", "CreateModelInvocationJob", times=1))
        world.bedrock_events = False  # the schedule drives it: fewer rounds, the same calls
        put = {name: world.put(f"{name}.jsonl", body) for name, body in {**bodies, "bad": BAD}.items()}
        accepted = {put[name][0]: [json.loads(row) for row in bodies[name].splitlines()] for name in bodies}
        bad = put["bad"][0]
        event = {"Records": [record for _, one in put.values() for record in one["Records"]]}
        for _ in range(2):
            world.send("create", event)
        watch = Watch(world)
        while not (world.at_rest() and not world.events):
            assert world.calls < 3_000, "no rest in sight"
            world.step()
            publish(world)
            watch.look()
        publish(world)
        check(world, accepted, slots=SLOTS)
        check_told(world, accepted, bad)
        ended = {upload.upload_id: upload.status for upload in world.uploads()}
        expected: dict[str, Any] = dict.fromkeys(accepted, Status.COMPLETED)
        assert ended == {**expected, bad: Status.REJECTED}
        assert not world.dead_letters, "one fault is mended by a retry"
        assert forks.variant or not world.errors
    return calls


def publish(world: World) -> None:
    """The event source mapping hands over what there is, and again what failed."""
    stream = world.memory.stream
    for _ in range(100):
        if not stream.pending:
            return
        world.publish()
    raise AssertionError(f"still in the stream: {stream.pending}")


def check_told(world: World, accepted: Mapping[str, Any], bad: str) -> None:
    """Whatever died, receivers were told of each step, and people of what went wrong."""
    kinds = world.told.kinds()
    assert kinds["Upload Accepted"] == len(accepted)
    assert kinds["Upload Ended"] == len(accepted) + 1
    assert kinds["Job Submitted"] >= 1
    assert kinds["Job Ended"] >= 1
    assert {message["Subject"] for message in world.told.messages} == {
        "queue: Rejected: to-process/bad.jsonl"
    }, f"people were not told that {bad} was rejected, or of more than that"


def unclear(forks: Forks) -> Counter[str]:
    """Events come to a new table while S3 denies what tells whether their uploads have run; then a sweep.

    One of the uploads has ended in the table before, and one is new. Each call of the intake and of the sweep
    is also lived through with each fault, in a copy. Gives how often each call is made.
    """
    with World.open(LONG, config={"models": CONFIG["models"]}) as world:
        world.bedrock_events = False
        done, again = world.put("done.jsonl", lines(records(LEAST, "done")))
        world.send("create", again)
        world.run()
        lost = {done, *(job.job_id for job in world.jobs())}
        world.new_table()
        rows = records(LEAST, "new")
        new, event = world.put("new.jsonl", lines(rows))
        calls = fork_at_calls(world, forks, 0.0, only="create")
        may = world.before
        world.before = denying("GetObject", "/processed/", after=may)
        world.send("create", {"Records": [*again["Records"], *event["Records"]]})
        world.run(lambda: not world.events and not world.jobs())
        waiting = {upload.upload_id for upload in world.uploads() if upload.unread}
        assert waiting == {done, new}, "both have a row that says what S3 denies"
        assert len(world.dead_letters) == 1
        world.before = may
        world.send("create", {"sweep": True})
        world.run()
        assert [upload.upload_id for upload in world.uploads()] == [new], "what had ended has no row any more"
        check(world, {new: rows}, slots=1, lost=lost)
        assert not [row for row in world.rows() if row["pk"] == "denied"]
        assert set(sent(world).values()) == {1}, "no record is paid for twice"
    return calls


def ordered(forks: Forks) -> Counter[str]:
    """An upload of three chunks is cancelled in its middle, retried, and paused while it runs again.

    Each call of the function that takes the orders is also lived through with each fault, in a copy. Whoever
    gives an order repeats it after an error, but not if the function was ended: what was stored by then is
    carried out all the same. Gives how often each call is made.
    """
    rows = records(3 * LEAST, "order")
    slow = {"models": {"*": {"min_records": 1, "max_active_jobs": SLOTS, "records_per_second": 0.01}}}
    with World.open(ORDERED, config=slow) as world:
        world.keep_rows(1)
        calls = fork_at_calls(world, forks, 0.0, only="operate")

        def left_at_that() -> bool:
            return forks.variant.endswith("ended")

        def order(kind: str, **members: str) -> None:
            wanted = {"order": kind, **members}
            for _ in range(5):
                if world.invoke("operate", wanted) is None or (left_at_that() and kind != "resume"):
                    return
            raise AssertionError("one fault is mended by a repetition")

        upload_id = world.upload("a.jsonl", lines(rows))
        world.run(lambda: [job["status"] for job in world.bedrock_jobs()] == ["Completed", "InProgress"])
        order("cancel", upload_id=upload_id)
        world.run()
        first = world.one_upload(upload_id)
        if first.status != Status.COMPLETED:
            check_cancelled(world, first, rows)
        else:
            assert left_at_that(), "only an order that was never stored is not carried out"
        world.skip(AGAIN_SECONDS)
        order("retry", key="to-process/a.jsonl")
        order("pause", by="ana", why="a test")
        began = world.clock()
        world.run(lambda: world.clock() > began + 1800.0)
        order("resume")
        world.run()
        second = world.one_upload(upload_id)
        if first.status == Status.COMPLETED or second.run == 2:
            check(world, {upload_id: rows}, slots=1)
        else:
            assert left_at_that()
        assert set(sent(world).values()) <= {0, 1}, "no record is paid for twice"
        assert not world.dead_letters
    return calls


def fork_at_calls(world: World, forks: Forks, slow: float, only: str = "") -> Counter[str]:
    """Has a world fork at each call of a function, or of all. Gives the counts of the calls by then.

    ``slow``: how long each call takes, in seconds.
    """
    calls: Counter[str] = Counter()
    begun: set[str] = set()

    def before(call: Call) -> None:
        if only and call.function != only:
            return
        calls[f"{call.function}: {call.operation}"] += 1
        name = f"call {call.number}, {call.function}: {call.operation}"
        if forks.split(f"{name} fails"):
            raise LOST
        if call.function == "collect" and forks.split(f"{name} is overtaken by other collectors"):
            collect_all(world)
        if call.invocation.request_id not in begun:
            begun.add(call.invocation.request_id)
            if forks.split(f"{name} never happens, for the function was ended"):
                world.kill()

    def after(call: Call) -> None:
        if only and call.function != only:
            return
        world.clock.advance(slow)
        if call.operation.startswith(READS):
            return
        name = f"call {call.number}, {call.function}: {call.operation}"
        if forks.split(f"{name} loses its answer"):
            raise LOST
        if forks.split(f"{name} is the last, for the function was ended"):
            world.kill()

    world.before, world.after = before, after
    return calls


def collect_all(world: World) -> None:
    """A collector for each job that has ended."""
    for job_id in [job.job_id for job in world.jobs() if job.ended_at]:
        world.invoke("collect", {"job_id": job_id})


@pytest.mark.parametrize(
    "bodies",
    [
        pytest.param(BATCH, id="cut, tidied, packed and run again"),
        pytest.param({"one": lines(records(1))}, id="answered on demand"),
    ],
)
def test_a_fault_at_any_call_loses_nothing_and_doubles_nothing(bodies: Mapping[str, bytes]) -> None:
    live_through(lambda forks: cycle(forks, bodies))


def test_a_fault_at_any_call_of_collectors_that_take_several_runs_loses_nothing_and_doubles_nothing() -> None:
    config = {"models": CONFIG["models"]}
    bodies = {"long": lines(records(17, "long"))}  # four chunks, and so two groups of parts
    with patch.object(world_module, "GROUP", 2):
        calls = live_through(lambda forks: cycle(forks, bodies, LONG, config, SLOW))
    assert calls["collect: Invoke"] >= 3


def test_a_fault_at_any_call_of_a_new_table_that_may_not_see_what_has_run_pays_for_nothing_twice() -> None:
    live_through(unclear)


def test_a_fault_at_any_call_of_an_order_loses_nothing_and_doubles_nothing() -> None:
    live_through(ordered)


def live_through(history: Callable[[Forks], Counter[str]]) -> Counter[str]:
    """Lives through a history with all its faults. Gives how often each function makes each call."""
    forks = Forks()
    made: list[Counter[str]] = []
    ended = forks.run(lambda: made.append(history(forks)))
    broken = [f"{name}:\n{failure}" for name, failure in ended.items() if failure]
    assert not broken, "\n\n".join(broken)
    (calls,) = made
    writes = sum(count for name, count in calls.items() if not name.partition(": ")[2].startswith(READS))
    faults = Counter(name.partition(": ")[2].partition(" ")[2] for name in ended)
    assert faults["fails"] == calls.total()
    assert faults["loses its answer"] == faults["is the last, for the function was ended"] == writes
    print(
        f"{calls.total()} calls of {len(calls)} kinds, {writes} of them writes; {len(ended)} faults survived"
    )
    print("\n".join(f"{count:4} {name}" for name, count in sorted(calls.items())))
    return calls
