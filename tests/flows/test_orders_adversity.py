"""Orders on bad days: late functions, two orders at once, and objects that are gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from batch_queue.core.rows import TERMINAL, Status
from batch_queue.steps.operate import AGAIN_SECONDS, PATIENCE_SECONDS

from tests.support.errors import aws_error
from tests.support.invariants import check, check_cancelled
from tests.support.routes import configured
from tests.support.soak import sent
from tests.support.world import HAIKU, Call, World, lines, records

from .test_on_demand import asked
from .test_orders import ANY_SIZE, ONE, SMALL, ids, orders, retry, running
from .test_sweep import put, unversioned

pytestmark = pytest.mark.flows

DAY = 86_400.0
FAILS = {"job_faults": [{"outcome": "Failed", "rate": 1.0}]}
HEALS: dict[str, Any] = {"job_faults": [], "record_faults": {"permanent_rate": 0.0}}
SOME_FAIL = {"models": {"*": {"min_records": 1}}, "record_faults": {"permanent_rate": 0.3}}


def dying(world: World, at: int) -> Callable[[Call], None]:
    """Ends the function that takes orders at its ``at``-th transaction, which is stored."""
    seen = 0

    def after(call: Call) -> None:
        nonlocal seen
        if call.function == "operate" and call.operation == "TransactWriteItems":
            seen += 1
            if seen == at:
                world.kill()

    return after


def half_ordered(world: World, at: int, **order: str) -> None:
    """Somebody gives an order, and the function dies at its ``at``-th transaction."""
    world.after = dying(world, at)
    world.invoke("operate", order)
    world.after = None


# ------------------------------------------------------------------------------------------ another run


def test_an_upload_does_not_run_again_before_every_collector_of_its_last_run_has_ended() -> None:
    # Given an upload that has ended a moment ago
    with World.open(ONE, config={**ANY_SIZE, **FAILS}) as world:
        rows = records(10)
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run()
        ended = world.clock()
        world.simulator.configure(HEALS)
        # When it is retried at once
        told = world.order("retry", upload_id=upload_id)
        # Then the answer and the row say when it begins, and the schedule begins it
        assert "It begins after 20" in told["did"]
        assert "begins after" in world.one_upload(upload_id).message
        world.run(lambda: not world.one_upload(upload_id).preparing)
        assert world.clock() - ended > AGAIN_SECONDS - 60.0
        world.run()
        check(world, {upload_id: rows}, slots=1)
        assert world.one_upload(upload_id).status == Status.COMPLETED


@pytest.mark.parametrize("chunks", [0, 1, 2])
def test_an_upload_that_is_cancelled_while_its_next_run_is_prepared_ends_and_counts_each_record_once(
    chunks: int,
) -> None:
    # Given an upload of three chunks, the first of which is answered, whose next run is half prepared
    with World.open(ONE, config=ANY_SIZE) as world:
        rows = records(15)
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run(lambda: any(chunk.status in TERMINAL for chunk in world.chunks()))
        world.simulator.configure(FAILS)
        world.run()
        before = world.one_upload(upload_id)
        assert before.success_count == 5
        world.simulator.configure(HEALS)
        world.skip(AGAIN_SECONDS)
        half_ordered(world, 1 + chunks, order="retry", upload_id=upload_id)
        assert world.one_upload(upload_id).preparing
        # When it is cancelled
        world.order("cancel", upload_id=upload_id)
        world.run()
        # Then it keeps what it had, and no other record runs
        upload = world.one_upload(upload_id)
        check_cancelled(world, upload, rows)
        assert upload.success_count == 5
        assert not orders(world)
        # And it can be completed all the same
        retry(world, upload_id=upload_id)
        world.run()
        check(world, {upload_id: rows}, slots=1)
        assert set(sent(world).values()) == {1}


def test_a_late_preparation_does_not_write_over_what_runs_again() -> None:
    # Given a run that is ordered, and not prepared
    five = {"min_records_per_job": 5, "max_records_per_job": 5, "max_records_per_file": 5}
    with World.open(
        configured("default", HAIKU, max_active_jobs=1, **five), config={**ANY_SIZE, **FAILS}
    ) as world:
        rows = records(10)
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run()
        world.put_route(ONE)
        world.simulator.configure({"job_faults": [{"outcome": "Expired", "fraction": 0.5, "times": 1}]})
        world.skip(AGAIN_SECONDS)
        half_ordered(world, 1, order="retry", upload_id=upload_id)
        state: list[str] = []

        def late(call: Call) -> None:
            if call.function != "operate":
                return
            if call.operation == "GetItem" and not state:
                state.append("has read the open order")
                world.before = None
                half_ordered(world, 1, go_on="")  # a quicker one prepares a chunk, and dies
                world.before = late
            elif call.operation == "PutObject" and "/retry/" in call.params["url_path"] and len(state) == 1:
                state.append("is about to write")
                world.before = None
                world.send("process", {"source": "aws.events", "detail-type": "Scheduled Event"})
                world.run(lambda: any(chunk.runs for chunk in world.chunks()), steps=3_000)

        # When two functions prepare it, and the job of what the quicker one has prepared ends in between
        world.before = late
        world.invoke("operate", {"go_on": ""})
        world.before = None
        world.run(steps=3_000)
        # Then each record has one line, and is paid for once
        check(world, {upload_id: rows}, slots=1)
        assert max(sent(world).values()) == 1


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("kills", [1, 99])
def test_a_late_collector_leaves_the_next_run_as_it_is(versioned: bool, kills: int) -> None:
    route = configured("default", HAIKU, max_active_jobs=1, min_records_per_job=1)
    with World.open(route, config=SOME_FAIL, seed=3) as world:
        rows = records(8)
        if versioned:
            world.upload("a.jsonl", lines(rows))
        else:
            unversioned(world)
            world.send("create", put(world, "a.jsonl", lines(rows)))
        state: list[str] = []

        def late(call: Call) -> None:
            joins = call.operation in ("CopyObject", "PutObject") and "/processed/" in call.params["url_path"]
            if call.function == "collect" and joins and not state:
                # Given a collector that is about to write the result, and one that is quicker
                state.append("late")
                world.invoke("collect", {"job_id": world.jobs()[0].job_id})
                (ended,) = world.uploads()
                assert ended.status == Status.PARTIALLY_COMPLETED
                # When the upload is retried before the first one goes on
                half_ordered(world, kills, order="retry", upload_id=ended.upload_id)
                world.simulator.configure(HEALS)

        world.before = late
        world.run()
        # Then the next run has all answers
        (upload,) = world.uploads()
        assert (upload.run, upload.status, upload.success_count) == (2, Status.COMPLETED, 8)
        body = world.s3.get_object(Bucket=world.bucket, Key="processed/a.jsonl.out")["Body"].read()
        found = [json.loads(line) for line in body.splitlines()]
        assert ids(found) == {row["recordId"]: 1 for row in rows}
        assert all("modelOutput" in row for row in found)
        assert not world.left()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("InvalidObjectState", "it is archived. Restore it first"),
        ("AccessDenied", "Allow the role of operate_queue to read it"),
        ("NoSuchKey", "it no longer exists"),
    ],
)
def test_a_result_that_cannot_be_read_stops_a_retry(code: str, words: str) -> None:
    with World.open(ONE, config=SOME_FAIL, seed=3) as world:
        upload_id = world.upload("a.jsonl", lines(records(20)))
        world.run()
        before = world.one_upload(upload_id)

        def unreadable(call: Call) -> None:
            if call.operation == "GetObject" and "/processed/" in call.params["url_path"]:
                raise aws_error(code, 403, "so it is", "GetObject")

        world.before = unreadable
        told = retry(world, upload_id=upload_id)
        world.before = None
        assert words in told["error"]
        assert world.one_upload(upload_id) == before


def test_a_result_that_is_deleted_while_a_run_is_prepared_has_no_answer_paid_for_again() -> None:
    with World.open(ONE, config=SOME_FAIL, seed=3) as world:
        rows = records(20)
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run()
        before = world.one_upload(upload_id)
        answered = {row["recordId"] for row in world.result(before) if "modelOutput" in row}
        world.simulator.configure(HEALS)
        world.skip(AGAIN_SECONDS)
        half_ordered(world, 1, order="retry", upload_id=upload_id)
        world.s3.delete_object(Bucket=world.bucket, Key=before.result_key, VersionId=before.result_version_id)
        world.run()
        upload = world.one_upload(upload_id)
        assert ids(world.result(upload)) == {row["recordId"]: 1 for row in rows}
        assert upload.success_count + upload.error_count == 20
        assert not {one for one in answered if sent(world)[upload_id, one] > 1}


def test_a_failed_upload_whose_result_was_deleted_is_retried() -> None:
    with World.open(ONE, config={**ANY_SIZE, **FAILS}) as world:
        rows = records(7)
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run()
        upload = world.one_upload(upload_id)
        world.s3.delete_object(Bucket=world.bucket, Key=upload.result_key, VersionId=upload.result_version_id)
        world.simulator.configure(HEALS)
        retry(world, upload_id=upload_id)
        world.run()
        check(world, {upload_id: rows}, slots=1)
        assert world.one_upload(upload_id).status == Status.COMPLETED


def test_records_that_failed_keep_their_lines_where_the_next_run_is_cancelled() -> None:
    # Given an upload of several chunks, some of whose records have failed
    route = configured("default", HAIKU, max_active_jobs=2, **SMALL)
    with World.open(route, config=SOME_FAIL, seed=3) as world:
        rows = records(40)
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run()
        slow = {"models": {"*": {"min_records": 1, "records_per_second": 0.01}}}
        world.simulator.configure({**HEALS, **slow})
        # When it runs again, and is cancelled when some of its chunks are done
        retry(world, upload_id=upload_id)
        world.run(lambda: sum(chunk.status in TERMINAL for chunk in world.chunks()) >= 5)
        world.order("cancel", upload_id=upload_id)
        world.run()
        # Then each record has one line: it ran in the first run
        assert ids(world.result(world.one_upload(upload_id))) == {row["recordId"]: 1 for row in rows}


def test_records_that_are_too_few_again_have_a_line_each() -> None:
    # Given an upload that was cancelled with answers, errors and records that never ran
    slow = {**SOME_FAIL, "models": {"*": {"min_records": 1, "records_per_second": 0.01}}}
    route = configured("default", HAIKU, max_active_jobs=1, min_records_per_job=1)
    with World.open(route, config=slow, seed=3) as world:
        rows = records(12)
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run(running(world))
        world.clock.advance(700.0)
        world.simulator.tick()
        world.order("cancel", upload_id=upload_id)
        world.run()
        # When it runs again in a route for which the rest is too few
        world.put_route(
            configured("default", HAIKU, max_active_jobs=1, min_records_per_job=100, undersized="reject")
        )
        retry(world, upload_id=upload_id)
        world.run()
        assert ids(world.result(world.one_upload(upload_id))) == {row["recordId"]: 1 for row in rows}


def test_an_upload_that_is_too_small_again_is_rejected_again() -> None:
    with World.open(configured("default", HAIKU, undersized="reject")) as world:
        upload_id = world.upload("a.jsonl", lines(records(3)))
        world.run()
        retry(world, upload_id=upload_id)
        world.run()
        upload = world.one_upload(upload_id)
        assert (upload.run, upload.status) == (2, Status.REJECTED)
        assert "fewer than the" in upload.message


def test_an_upload_whose_route_was_removed_is_not_retried() -> None:
    route = configured("other", HAIKU, max_active_jobs=1, **SMALL)
    with World.open(ONE, route, config={**ANY_SIZE, **FAILS}) as world:
        upload_id = world.upload("other/a.jsonl", lines(records(5)))
        world.run()
        world.table.delete_item(Key={"pk": "route", "sk": "other"})
        assert "the route other of to-process/other/a.jsonl" in retry(world, upload_id=upload_id)["error"]


def test_an_upload_that_runs_again_waits_since_that_was_ordered(capsys: pytest.CaptureFixture[str]) -> None:
    with World.open(ONE, config={**ANY_SIZE, **FAILS}) as world:
        upload_id = world.upload("a.jsonl", lines(records(5)))
        world.run()
        world.skip(10 * DAY)
        world.order("pause", by="ana", why="a test")
        capsys.readouterr()
        world.order("retry", upload_id=upload_id)
        world.run(lambda: not world.events)
        told = [
            json.loads(line) for line in capsys.readouterr().out.splitlines() if "OldestPendingAge" in line
        ]
        assert told
        assert max(one["OldestPendingAge"] for one in told) < DAY
        world.order("resume")
        world.run()


# ----------------------------------------------------------------------------------------------- cancel


def test_answers_on_demand_that_are_paid_for_are_kept() -> None:
    # Given records that run on demand, whose collector dies when some of them are answered
    with World.open(configured("default", HAIKU, undersized="on_demand", pack_wait_minutes=0)) as world:
        rows = records(20)
        upload_id = world.upload("a.jsonl", lines(rows))
        seen = 0

        def dies(call: Call) -> None:
            nonlocal seen
            if call.function == "collect" and call.operation == "PutObject":
                seen += 1
                if seen == 8:
                    world.kill()

        world.after = dies
        world.run(lambda: seen >= 8)
        world.after = None
        # When the upload is cancelled
        world.order("cancel", upload_id=upload_id)
        paid = sum(asked(world, rows).values())
        world.run()
        # Then nothing more is asked, and what was answered is kept
        upload = world.one_upload(upload_id)
        check_cancelled(world, upload, rows)
        assert sum(asked(world, rows).values()) == paid
        assert upload.success_count == 8


def test_an_upload_that_is_cancelled_while_it_is_answered_on_demand_is_asked_about_no_more() -> None:
    with World.open(configured("default", HAIKU, undersized="on_demand", pack_wait_minutes=0)) as world:
        rows = records(30)
        upload_id = world.upload("a.jsonl", lines(rows))
        seen = 0

        def cancel(call: Call) -> None:
            nonlocal seen
            if call.operation == "InvokeModel":
                seen += 1
                if seen == 8:
                    world.order("cancel", upload_id=upload_id)

        world.after = cancel
        world.run()
        upload = world.one_upload(upload_id)
        check_cancelled(world, upload, rows)
        assert upload.success_count == sum(asked(world, rows).values()) == 8


def test_a_cancelled_upload_ends_also_while_its_route_is_paused() -> None:
    with World.open(ONE, config=ANY_SIZE) as world:
        world.simulator.add_foreign(HAIKU, count=2, seconds=4000.0)
        world.put_route(configured("default", HAIKU, max_active_jobs=4, **SMALL))
        upload_id = world.upload("a.jsonl", lines(records(5)))
        world.run(lambda: any(job.sealed for job in world.jobs()) and not world.events)
        world.order("pause", by="ana", why="a test")
        world.order("cancel", upload_id=upload_id)
        world.run()
        assert world.one_upload(upload_id).status == Status.CANCELLED
        assert not orders(world)


def test_a_cancelled_job_that_bedrock_has_all_the_same_is_stopped() -> None:
    # Given a job that Bedrock has, while the answer was lost and all that follow
    with World.open(ONE, config=ANY_SIZE) as world:
        upload_id = world.upload("a.jsonl", lines(records(5)))

        def lost(call: Call) -> None:
            if call.operation == "CreateModelInvocationJob":
                world.kill()

        world.after = lost
        world.run(lambda: bool(world.bedrock_jobs()))
        # When its upload is cancelled
        told = world.order("cancel", upload_id=upload_id)
        assert told["stopped_jobs"] == []
        world.after = None
        world.simulator.configure({"models": {"*": {"records_per_second": 0.0001}}})
        world.run()
        # Then it is found, and stopped
        (job,) = world.bedrock_jobs()
        assert job["status"] == "Stopped"
        assert world.one_upload(upload_id).status in (Status.CANCELLED, Status.STOPPED)
        assert not orders(world)


def test_a_job_of_a_paused_route_that_bedrock_has_all_the_same_holds_its_slot() -> None:
    # Given a job whose answer was lost, of a route that is then paused
    first, second = (configured(name, HAIKU, max_active_jobs=1, **SMALL) for name in ("default", "second"))
    with World.open(first, second, config=ANY_SIZE) as world:
        world.upload("a.jsonl", lines(records(5, "a")))

        def lost(call: Call) -> None:
            if call.operation == "CreateModelInvocationJob":
                world.kill()

        world.after = lost
        world.run(lambda: bool(world.bedrock_jobs()))
        world.after = None
        world.order("pause", route="default", by="ana", why="a test")
        # When a route of the same model has work, and the limit is one job
        world.upload("second/b.jsonl", lines(records(5, "b")))
        world.run(
            lambda: any(one.route == "second" and one.status == Status.COMPLETED for one in world.uploads())
        )
        # Then it begins when that job has ended
        assert world.simulator.peak(HAIKU) == 1
        world.order("resume", route="default")
        world.run()


def test_a_pause_of_the_queue_holds_also_for_a_route_that_was_removed() -> None:
    limits = {"max_active_jobs": 4, **SMALL}
    other = configured("other", HAIKU, **limits)
    with World.open(configured("default", HAIKU, **limits), other, config=ANY_SIZE) as world:
        world.simulator.add_foreign(HAIKU, count=2, seconds=4000.0)
        world.upload("other/a.jsonl", lines(records(5)))
        world.run(lambda: any(job.sealed for job in world.jobs()) and not world.events)
        world.table.delete_item(Key={"pk": "route", "sk": "other"})
        world.order("pause", by="ana", why="a test")
        began = world.clock()
        world.run(lambda: world.clock() > began + 9_000.0)
        assert [job.status for job in world.jobs()] == [Status.SUBMITTING]
        world.put_route(other)
        world.order("resume")
        world.run()


def test_what_is_ahead_is_told_also_behind_a_pause() -> None:
    with World.open(ONE, config=ANY_SIZE) as world:
        world.order("pause", by="ana", why="a test")
        for number in range(4):
            last = world.upload(f"{number}.jsonl", lines(records(5, f"u{number}-")))
            world.run(lambda: not world.events)
        assert world.order("explain", upload_id=last)["ahead"]["records"] == 15
        world.order("resume")
        world.run()


@pytest.mark.parametrize("order", ["cancel", "retry"])
def test_a_sender_does_not_wait_for_a_large_upload(order: str) -> None:
    # Given an upload of 60 chunks, ten to a job, and calls that take their time
    route = replace(ONE, max_records_per_job=50)
    with World.open(route, config={**ANY_SIZE, **FAILS}) as world:
        world.order("pause", by="ana", why="a test")
        rows = records(300)
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run(lambda: not world.events)
        if order == "retry":
            world.order("resume")
            world.run(steps=20_000)
            world.skip(AGAIN_SECONDS)
            world.simulator.configure(HEALS)

        def slow(call: Call) -> None:
            if call.function == "operate":
                world.clock.advance(3.5 if order == "cancel" else 0.5)

        # When it is cancelled, or retried
        world.before = slow
        began = world.clock()
        world.order(order, upload_id=upload_id)
        # Then the answer comes in time, and the rest is done after it
        assert world.clock() - began < PATIENCE_SECONDS + 20.0
        world.before = None
        world.run(steps=20_000)
        upload = world.one_upload(upload_id)
        assert upload.success_count + upload.error_count == 300
        assert upload.status == (Status.CANCELLED if order == "cancel" else Status.COMPLETED)
