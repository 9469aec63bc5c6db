"""What is answered on demand is paid for by the call: a record is asked about a bounded number of times."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from batch_queue.core import names
from batch_queue.core.rows import Status
from batch_queue.steps import on_demand

from tests.support.errors import aws_error
from tests.support.routes import configured
from tests.support.world import HAIKU, RETRY_SECONDS, Call, World, lines, plain_client, records

pytestmark = pytest.mark.flows

ROUTE = configured("default", HAIKU, undersized="on_demand", pack_wait_minutes=0)
DENIED = aws_error("AccessDenied", 403, operation="PutObject")
DAYS = 3 * 96  # steps of a schedule of 15 minutes


def asked(world: World, rows: list[dict[str, Any]]) -> Counter[str]:
    """How often the model was asked about each record."""
    count = world.simulator.on_demand.answered
    return Counter({row["recordId"]: count("InvokeModel", HAIKU, row["modelInput"]) for row in rows})


def stores(call: Call, record_id: str = "") -> bool:
    """Whether a call stores answers, of this record."""
    path = str(call.params.get("url_path"))
    return call.operation == "PutObject" and "/out/" in path and record_id.encode() in _body(call)


def _body(call: Call) -> bytes:
    body = call.params["body"]
    if isinstance(body, bytes | bytearray):
        return bytes(body)
    found: bytes = body.read()
    body.seek(0)
    return found


def days(world: World) -> None:
    for _ in range(DAYS):
        if not world.step():
            break


def test_a_record_at_which_every_run_dies_is_asked_three_times_and_ends_with_an_error() -> None:
    with World.open(ROUTE) as world:
        rows = records(20)
        upload_id = world.upload("few.jsonl", lines(rows))

        # Given a record whose answer no run lives to store
        def kill(call: Call) -> None:
            if call.function == "collect" and stores(call, '"r5"') and b"errorCode" not in _body(call):
                world.kill()

        world.before = kill
        world.run(steps=3_000)
        # Then it is asked about three times, and no neighbour more than once beside each time
        upload = world.one_upload(upload_id)
        assert upload.status == Status.PARTIALLY_COMPLETED
        assert (upload.success_count, upload.error_count) == (19, 1)
        found = asked(world, rows)
        assert found["r5"] == on_demand.MAX_ASKED
        assert max(found.values()) <= on_demand.MAX_ASKED
        (line,) = [line for line in world.result(upload) if line["recordId"] == "r5"]
        assert line["error"]["errorCode"] == on_demand.UNANSWERED_CODE


def test_answers_that_cannot_be_stored_are_not_paid_for_without_end() -> None:
    with World.open(ROUTE) as world:
        rows = records(8)
        world.upload("few.jsonl", lines(rows))

        def deny(call: Call) -> None:
            if call.function == "collect" and stores(call):
                raise DENIED

        world.before = deny
        days(world)
        assert max(asked(world, rows).values()) <= on_demand.MAX_ASKED
        assert world.dead_letters, "somebody hears of it"


def test_lambda_s_retry_of_a_run_that_died_goes_on_at_once() -> None:
    with World.open(ROUTE) as world:
        rows = records(20)
        upload_id = world.upload("few.jsonl", lines(rows))
        killed: list[float] = []

        # Given a run that dies between the model's answer and its store
        def kill(call: Call) -> None:
            if call.function == "collect" and stores(call) and not killed:
                killed.append(world.clock())
                world.kill()

        world.before = kill
        world.run()
        # Then the retry a minute later does not wait until the lock of the dead run expires
        ended = names.epoch(world.one_upload(upload_id).ended_at)
        assert world.one_upload(upload_id).status == Status.COMPLETED
        assert ended - killed[0] < 2 * RETRY_SECONDS[0]
        assert asked(world, rows).total() == 21


def test_after_an_error_another_invocation_goes_on_at_once() -> None:
    with World.open(ROUTE) as world:
        rows = records(20)
        upload_id = world.upload("few.jsonl", lines(rows))

        # Given a run that ends with an error
        def deny(call: Call) -> None:
            if call.function == "collect" and stores(call):
                raise DENIED

        world.before = deny
        world.run(lambda: bool(world.errors))
        world.before = None
        # When another one comes before Lambda's retry
        (job,) = world.jobs()
        world.invoke("collect", {"job_id": job.job_id})
        # Then it does not find the job locked
        assert world.one_upload(upload_id).status == Status.COMPLETED


def test_a_run_that_meets_the_lock_of_another_ends_quietly() -> None:
    with World.open(ROUTE) as world:
        rows = records(20)
        upload_id = world.upload("few.jsonl", lines(rows))
        met: list[bool] = []

        def meet(call: Call) -> None:
            if call.operation == "InvokeModel" and not met:
                met.append(True)
                (job,) = world.jobs()
                world.send("collect", {"job_id": job.job_id})
                world.invoke("collect", {"job_id": job.job_id})

        world.before = meet
        world.run()
        assert met
        assert set(asked(world, rows).values()) == {1}
        assert world.one_upload(upload_id).status == Status.COMPLETED
        assert not world.errors
        assert not world.dead_letters


def test_a_count_whose_answer_was_lost_uses_up_nothing() -> None:
    with World.open(ROUTE) as world:
        rows = records(20)
        upload_id = world.upload("few.jsonl", lines(rows))
        lost: list[bool] = []

        # Given a count that arrives and whose answer does not, so that botocore sends it again
        def lose(call: Call) -> None:
            if call.operation == "UpdateItem" and b'"asked"' in call.params["body"] and not lost:
                lost.append(True)
                plain_client().update_item(**json.loads(call.params["body"]))

        world.before = lose
        world.run()
        # Then it counts as stored
        assert lost
        assert not world.errors
        assert set(asked(world, rows).values()) == {1}
        assert world.one_upload(upload_id).status == Status.COMPLETED


def test_two_runs_at_once_do_not_both_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    with World.open(ROUTE) as world:
        rows = records(8)
        upload_id = world.upload("few.jsonl", lines(rows))
        # Given a lock that two runs have, as when Lambda delivers an event twice
        monkeypatch.setattr(type(world.queue.table.jobs), "start_work", lambda *_: True)
        second: list[bool] = []

        def meet(call: Call) -> None:
            if call.operation == "UpdateItem" and b'"asked"' in call.params["body"] and not second:
                second.append(True)
                (job,) = world.jobs()
                world.invoke("collect", {"job_id": job.job_id})

        world.before = meet
        world.run()
        # Then the one that counts last stops before it asks, and leaves the rest to the other
        assert second
        assert set(asked(world, rows).values()) == {1}
        assert world.one_upload(upload_id).status == Status.COMPLETED
        assert not world.errors
        assert not world.dead_letters


@pytest.mark.parametrize(
    ("most", "sizes", "expected"),
    [(200, [10] * 20, [8, 8, 4]), (9, [9, 9, 9], [1, 1, 1]), (9, [4, 4, 4], [2, 1]), (9, [20, 1], [1, 1])],
)
def test_a_batch_is_bounded_by_records_and_bytes(
    most: int, sizes: list[int], expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_demand, "BATCH_BYTES", most)
    rows = [(b"x" * size, {"recordId": f"r{at}"}) for at, size in enumerate(sizes)]
    assert [len(batch) for batch in on_demand.batches(iter(rows), {})] == expected


def test_a_record_that_was_asked_about_before_is_asked_about_alone() -> None:
    rows = [(b"x", {"recordId": f"r{at}"}) for at in range(5)]
    again = {on_demand.asked_key({"recordId": "r2"}): 1}
    found = [[record["recordId"] for record in batch] for batch in on_demand.batches(iter(rows), again)]
    assert found == [["r0", "r1"], ["r2"], ["r3", "r4"]]


def test_an_attempt_counts_anew() -> None:
    # Given records that fail for a passing reason at the first attempt
    route = replace(ROUTE, max_record_attempts=3)
    with World.open(route, config={"record_faults": {"passing_rate": 0.3}}) as world:
        rows = records(30)
        upload_id = world.upload("few.jsonl", lines(rows))
        world.run(steps=3_000)
        upload = world.one_upload(upload_id)
        assert upload.success_count + upload.error_count == 30
        assert upload.success_count > 20
        assert json.dumps([row["recordId"] for row in world.result(upload)]).count("r") >= 30


def test_a_run_that_continues_does_not_read_the_answers_that_are_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given runs that have time for a batch each
    monkeypatch.setattr(on_demand, "BATCH_SECONDS", 899.0)
    with World.open(ROUTE) as world:
        rows = records(40)
        upload_id = world.upload("few.jsonl", lines(rows))
        reads: Counter[str] = Counter()

        def note(call: Call) -> None:
            if call.operation == "InvokeModel":
                world.clock.advance(1)
            path = str(call.params.get("url_path"))
            if call.operation == "GetObject" and "/out/" in path:
                reads[path] += 1

        world.before = note
        world.run(steps=3_000)
        # Then each answer is read when they are joined, and when they are tallied, and not by every run
        assert world.one_upload(upload_id).status == Status.COMPLETED
        assert set(asked(world, rows).values()) == {1}
        answers = {path: count for path, count in reads.items() if not path.endswith(".out")}
        assert set(answers.values()) == {1}


CHAT = {"messages": [{"role": "user", "content": [{"text": "x"}]}]}


@pytest.mark.parametrize("kind", ["InvokeModel", "Converse"])
def test_flex_asks_for_the_service_tier_and_on_demand_does_not(kind: str) -> None:
    flex = replace(ROUTE, undersized="flex", invocation_type=kind)
    other = replace(ROUTE, name="other", invocation_type=kind)
    with World.open(flex, other) as world:
        rows = (
            records(20)
            if kind == "InvokeModel"
            else [{"recordId": f"r{n}", "modelInput": CHAT} for n in range(20)]
        )
        upload_id = world.upload("few.jsonl", lines(rows))
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED
        assert world.simulator.on_demand.tiers == {"flex": 20}
        assert not world.bedrock_jobs()
        world.upload("other/few.jsonl", lines(rows))
        world.run()
        assert world.simulator.on_demand.tiers == {"flex": 20, "": 20}


def test_records_that_run_again_at_the_tier_flex_stay_there() -> None:
    route = replace(ROUTE, undersized="flex", max_record_attempts=9)
    with World.open(route, config={"record_faults": {"passing_rate": 0.3}}) as world:
        upload_id = world.upload("few.jsonl", lines(records(20)))
        world.run()
        assert world.one_upload(upload_id).success_count == 20
        assert world.simulator.on_demand.tiers == {"flex": 20}


@pytest.mark.parametrize("kind", ["InvokeModel", "Converse"])
def test_a_model_without_the_tier_flex_says_so_in_the_row(kind: str) -> None:
    route = replace(ROUTE, undersized="flex", invocation_type=kind)
    with World.open(route, config={"models": {"*": {"service_tiers": ["default"]}}}) as world:
        rows = (
            records(3)
            if kind == "InvokeModel"
            else [{"recordId": f"r{n}", "modelInput": CHAT} for n in range(3)]
        )
        upload_id = world.upload("few.jsonl", lines(rows))
        calls: Counter[str] = Counter()

        def count(call: Call) -> None:
            calls[call.operation] += 1

        world.before = count
        world.run()
        # Then each record is refused once, its line says why, and the row says what to write
        upload = world.one_upload(upload_id)
        assert (upload.status, upload.error_count) == (Status.FAILED, 3)
        assert calls[kind] == 3
        assert "3 with ServiceTierRefused" in upload.message
        assert 'set undersized of the route to "on_demand" or "reject"' in upload.message
        assert {row["error"]["errorMessage"] for row in world.result(upload)} == {
            "The provided service tier is not supported for this model"
        }
