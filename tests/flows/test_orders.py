"""Orders: cancel, retry, pause, resume, sweep, explain and status, in the middle of the queue's work."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from batch_queue.core.rows import Status
from batch_queue.steps.operate import AGAIN_SECONDS

from tests.support.errors import denying
from tests.support.invariants import Watch, check
from tests.support.routes import configured
from tests.support.soak import sent
from tests.support.world import HAIKU, World, lines, records

pytestmark = pytest.mark.flows

#: Jobs of five records that take long, so that orders meet them in the middle.
ANY_SIZE = {"models": {"*": {"min_records": 1, "max_active_jobs": 2, "records_per_second": 0.01}}}
SMALL = {"min_records_per_job": 1, "max_records_per_job": 5, "max_records_per_file": 5}
ONE = configured("default", HAIKU, max_active_jobs=1, **SMALL)


@pytest.fixture
def world() -> Iterator[World]:
    with World.open(ONE, config=ANY_SIZE) as world:
        yield world


def retry(world: World, **upload: str) -> dict[str, Any]:
    """Somebody has an upload run again, when no function of its last run can be at work any more."""
    world.skip(AGAIN_SECONDS)
    return world.order("retry", **upload)


def running(world: World, count: int = 1) -> Callable[[], bool]:
    """Whether so many jobs are at work at Bedrock."""
    return lambda: sum(job["status"] == "InProgress" for job in world.bedrock_jobs()) >= count


def ids(rows: list[dict[str, Any]]) -> Counter[str]:
    return Counter(str(row["recordId"]) for row in rows)


def summary(world: World, key: str) -> Any:
    body = world.s3.get_object(Bucket=world.bucket, Key=f"processed/{key}.summary.json")["Body"]
    return json.loads(body.read())


def orders(world: World) -> list[dict[str, Any]]:
    """The orders that are open."""
    return [row for row in world.rows() if row["pk"] == "orders"]


# ------------------------------------------------------------------------------------------------- cancel


def test_a_cancelled_upload_that_waits_leaves_the_queue_and_ends_as_cancelled(world: World) -> None:
    # Given an upload that waits for the only slot
    first = world.upload("first.jsonl", lines(records(5, "a")))
    world.run(running(world))
    second = world.upload("second.jsonl", lines(records(5, "b")))
    world.run(lambda: len(world.uploads()) == 2 and not world.events)
    # When somebody cancels it
    told = world.order("cancel", key="to-process/second.jsonl", by="ana", why="wrong prompt")
    # Then the answer says what was done, and the upload ends at once, without a result
    assert told["did"] == "5 records have left the queue."
    world.run(lambda: not world.events)
    upload = world.one_upload(second)
    assert (upload.status, upload.result_key, upload.chunks_open) == (Status.CANCELLED, "", 0)
    assert "by ana (wrong prompt)" in upload.message
    assert summary(world, "second.jsonl")["cancelled"]["by"] == "ana"
    # And the other one is not touched, and nothing of the second runs
    world.run()
    assert world.one_upload(first).status == Status.COMPLETED
    assert not [key for key in sent(world) if key[0] == second]
    assert not orders(world)


def test_a_job_with_nothing_but_cancelled_records_is_stopped_and_its_answers_are_kept(world: World) -> None:
    # Given an upload of three chunks: one is answered, one runs, and one waits
    rows = records(15)
    upload_id = world.upload("a.jsonl", lines(rows))
    world.run(lambda: len(world.jobs()) == 2 and running(world)())
    world.clock.advance(250.0)  # half of its records
    world.simulator.tick()
    # When it is cancelled
    told = world.order("cancel", upload_id=upload_id)
    # Then what waits leaves the queue, and the job is stopped
    assert told["records_taken_out"] == 5
    assert told["records_in_jobs"] == 5
    assert len(told["stopped_jobs"]) == 1
    world.run()
    upload = world.one_upload(upload_id)
    assert upload.status == Status.STOPPED
    assert 5 <= upload.success_count < 10
    # And the result has each answer that was paid for, once
    paid = {record for (_, record), count in sent(world).items() if count}
    assert ids(world.result(upload)) == dict.fromkeys(paid, 1)
    assert upload.success_count + upload.error_count == len(rows)
    # When it is retried
    again = retry(world, upload_id=upload_id, by="ana")
    # Then the others run, and the result has every record once
    kept = upload.success_count
    assert again["did"] == f"Run 2 has begun: {15 - kept} records run again, and {kept} answers are kept."
    world.run()
    check(world, {upload_id: rows}, slots=1)
    assert world.one_upload(upload_id).status == Status.COMPLETED
    assert world.one_upload(upload_id).run == 2
    assert set(sent(world).values()) == {1}, "nothing is paid for twice"
    assert not orders(world)


def test_a_job_with_records_of_others_goes_on_and_what_it_answers_is_kept() -> None:
    # Given two uploads in one job
    packed = configured("default", HAIKU, max_active_jobs=1, min_records_per_job=4)
    with World.open(packed, config=ANY_SIZE) as world:
        first = world.upload("a.jsonl", lines(records(3, "a")))
        second = world.upload("b.jsonl", lines(records(3, "b")))
        world.run(running(world))
        assert len(world.jobs()) == 1
        # When one of them is cancelled
        told = world.order("cancel", upload_id=first)
        # Then the job goes on, and both have their answers
        assert told["stopped_jobs"] == []
        assert "what these answer is kept" in told["did"]
        assert not orders(world), "the job ends the upload"
        world.run()
        check(world, {first: records(3, "a"), second: records(3, "b")}, slots=1)
        assert world.one_upload(first).status == Status.COMPLETED
        # When the other is cancelled too, it is too late
        assert "has ended as Completed" in world.order("cancel", upload_id=second)["error"]


@pytest.mark.parametrize("code", ["ValidationException", "ConflictException"])
def test_a_job_that_has_ended_by_the_time_it_is_to_be_stopped_is_no_error(code: str) -> None:
    with World.open(ONE, config={**ANY_SIZE, "stop_ended_error": code}) as world:
        # Given a job that has ended at Bedrock, of which the queue does not know it yet
        world.bedrock_events = False
        upload_id = world.upload("a.jsonl", lines(records(5)))
        world.run(running(world))
        world.clock.advance(3600.0)
        world.simulator.tick()
        assert [job["status"] for job in world.bedrock_jobs()] == ["Completed"]
        # When its upload is cancelled
        world.order("cancel", upload_id=upload_id)
        world.run()
        # Then the upload ends with what was answered
        assert world.one_upload(upload_id).status == Status.COMPLETED
        assert not orders(world)


def test_cancelling_the_second_upload_of_a_job_stops_it() -> None:
    packed = configured("default", HAIKU, max_active_jobs=1, min_records_per_job=4)
    with World.open(packed, config=ANY_SIZE) as world:
        both = [world.upload(f"{name}.jsonl", lines(records(3, name))) for name in "ab"]
        world.run(running(world))
        world.order("cancel", upload_id=both[0])
        told = world.order("cancel", upload_id=both[1])
        assert len(told["stopped_jobs"]) == 1
        world.run()
        assert {upload.status for upload in world.uploads()} <= {Status.STOPPED, Status.CANCELLED}


def test_records_that_would_run_again_do_not_once_their_upload_is_cancelled() -> None:
    # Given a job that expires in its middle, of an upload that is cancelled while it runs
    config = {**ANY_SIZE, "job_faults": [{"outcome": "Expired", "fraction": 0.5, "times": 1}]}
    packed = configured("default", HAIKU, max_active_jobs=1, min_records_per_job=2)
    with World.open(packed, config=config, seed=1) as world:  # two or more records of the other are left
        first = world.upload("a.jsonl", lines(records(4, "a")))
        second = world.upload("b.jsonl", lines(records(4, "b")))
        world.run(running(world))
        world.order("cancel", upload_id=first)
        # When it has expired
        world.run()
        # Then the records of the other upload run again, and those of the cancelled one do not
        assert world.one_upload(second).status == Status.COMPLETED
        upload = world.one_upload(first)
        assert upload.status in (Status.STOPPED, Status.CANCELLED)
        assert upload.success_count + upload.error_count == 4
        assert len(world.jobs()) == 2


def test_an_upload_that_s3_does_not_let_us_read_can_be_cancelled(world: World) -> None:
    # Given an upload that waits for a permission
    world.before = denying("HeadObject", "/to-process/")
    upload_id = world.upload("a.jsonl", lines(records(5)))
    world.run(lambda: bool(world.dead_letters))
    assert world.one_upload(upload_id).unread
    # When it is cancelled, and may be read again
    world.order("cancel", upload_id=upload_id)
    world.before = None
    world.send("create", {"sweep": True})
    world.run()
    # Then it does not run
    assert world.one_upload(upload_id).status == Status.CANCELLED
    assert not world.jobs()
    assert not [row for row in world.rows() if row["pk"] in ("denied", "orders")]


def test_all_below_a_folder_are_cancelled(world: World) -> None:
    # Given an upload that runs and some that wait, in two folders
    world.upload("reports/0.jsonl", lines(records(5, "x")))
    world.run(running(world))
    for number in range(1, 4):
        world.upload(f"reports/{number}.jsonl", lines(records(5, f"r{number}-")))
    other = world.upload("other.jsonl", lines(records(5, "o")))
    world.run(lambda: len(world.uploads()) == 5 and not world.events)
    world.put("reports/unknown.jsonl", lines(records(1)))
    # When all below one of them are cancelled, twice
    told = world.order("cancel", prefix="to-process/reports/")
    again = world.order("cancel", prefix="to-process/reports/")
    # Then the answer counts them
    expected = {"cancelled": 4, "cancelled_before": 0, "ended": 0, "unknown": 1, "goes_on": False}
    assert {name: told[name] for name in expected} == expected
    assert (again["cancelled"], again["cancelled_before"]) == (0, 4)
    world.run()
    assert world.one_upload(other).status == Status.COMPLETED
    assert Counter(upload.status for upload in world.uploads() if "reports/" in upload.key) == {
        Status.CANCELLED: 4
    }


def test_a_large_upload_that_is_being_stored_is_cancelled_as_a_whole() -> None:
    # Given an upload of 60 chunks whose intake dies before all of them are stored
    with World.open(ONE, config=ANY_SIZE) as world:
        upload_id, event = world.put("a.jsonl", lines(records(300)))
        seen = 0

        def dies(call: Any) -> None:
            nonlocal seen
            seen += call.enqueues
            if seen == 2 and call.function == "create":
                world.kill()

        world.before = dies
        world.invoke("create", event)
        world.before = None
        assert not world.one_upload(upload_id).ready
        # When it is cancelled
        told = world.order("cancel", upload_id=upload_id)
        # Then all of its chunks leave the queue
        assert told["records_taken_out"] == 300
        world.run()
        assert world.one_upload(upload_id).status == Status.CANCELLED
        assert not world.jobs()


# -------------------------------------------------------------------------------------------------- retry


def test_only_records_without_an_answer_run_again() -> None:
    # Given an upload of several chunks some of whose records fail for good
    config: Mapping[str, Any] = {
        "models": {"*": {"min_records": 1}},
        "record_faults": {"permanent_rate": 0.3},
    }
    rows = records(40)
    route = configured("default", HAIKU, max_active_jobs=2, **SMALL)
    with World.open(route, config=config, seed=3) as world:
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run()
        before = world.one_upload(upload_id)
        assert before.status == Status.PARTIALLY_COMPLETED
        answered = {row["recordId"]: row for row in world.result(before) if "modelOutput" in row}
        # When it is retried, and this time nothing fails
        world.simulator.configure({"record_faults": {"permanent_rate": 0.0}})
        retry(world, key="to-process/a.jsonl")
        world.run()
        # Then the result has the answers of both runs, each record once
        check(world, {upload_id: rows}, slots=2)
        after = world.one_upload(upload_id)
        assert after.status == Status.COMPLETED
        assert {row["recordId"]: row for row in world.result(after)}.items() >= answered.items()
        assert all(sent(world)[upload_id, one] == 1 for one in answered), "no answer is paid for twice"
        assert summary(world, "a.jsonl")["run"] == 2
        assert not world.left()


def test_an_upload_is_retried_as_often_as_it_fails() -> None:
    rows = records(6)
    fails = {"outcome": "Failed", "rate": 1.0}
    with World.open(ONE, config={**ANY_SIZE, "job_faults": [fails]}) as world:
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run()
        for run in (2, 3):
            assert world.one_upload(upload_id).status == Status.FAILED
            retry(world, upload_id=upload_id)
            assert world.one_upload(upload_id).run == run
            if run == 3:
                world.simulator.configure({"job_faults": []})
            world.run()
        check(world, {upload_id: rows}, slots=1)
        assert world.one_upload(upload_id).status == Status.COMPLETED


def test_an_upload_of_too_few_records_is_retried_in_a_route_that_now_takes_them() -> None:
    with World.open(configured("default", HAIKU, undersized="reject")) as world:
        upload_id = world.upload("a.jsonl", lines(records(3)))
        world.run()
        assert world.one_upload(upload_id).status == Status.REJECTED
        world.put_route(configured("default", HAIKU, undersized="on_demand"))
        retry(world, upload_id=upload_id)
        world.run()
        check(world, {upload_id: records(3)}, slots=1)
        assert world.one_upload(upload_id).status == Status.COMPLETED


def test_rows_that_were_to_expire_are_kept_for_another_run(world: World) -> None:
    # Given an upload that has failed, whose rows are marked to be deleted
    world.keep_rows(2)
    world.simulator.configure({"job_faults": [{"outcome": "Failed", "rate": 1.0}]})
    rows = records(12)
    upload_id = world.upload("a.jsonl", lines(rows))
    world.run()
    assert all("expires_at" in row for row in world.rows() if row["pk"] == upload_id)
    # When it is retried, and its old rows would be due
    world.simulator.configure({"job_faults": []})
    retry(world, upload_id=upload_id)
    assert not [row for row in world.rows() if row["pk"] == upload_id and "expires_at" in row]
    world.run()
    # Then it ends, and its rows are marked again
    check(world, {upload_id: rows}, slots=1)
    world.skip(3 * 86_400.0)
    world.expire_rows()
    assert "no upload has the id" in retry(world, upload_id=upload_id)["error"]


def test_an_upload_whose_rows_are_about_to_expire_is_not_retried(world: World) -> None:
    world.keep_rows(1)
    world.simulator.configure({"job_faults": [{"outcome": "Failed", "rate": 1.0}]})
    upload_id = world.upload("a.jsonl", lines(records(5)))
    world.run()
    world.skip(80_000.0)
    assert "its rows have expired, or are about to" in retry(world, upload_id=upload_id)["error"]


def test_an_upload_that_was_deleted_is_not_retried(world: World) -> None:
    world.simulator.configure({"job_faults": [{"outcome": "Failed", "rate": 1.0}]})
    upload_id, event = world.put("a.jsonl", lines(records(5)))
    world.send("create", event)
    world.run()
    thing = event["Records"][0]["s3"]["object"]
    world.s3.delete_object(Bucket=world.bucket, Key="to-process/a.jsonl", VersionId=thing["versionId"])
    assert "the object cannot be read: it no longer exists" in retry(world, upload_id=upload_id)["error"]
    assert world.one_upload(upload_id).status == Status.FAILED


def test_an_upload_that_is_deleted_while_its_run_is_prepared_keeps_all_its_lines() -> None:
    # Given an upload of four chunks, some of whose records have failed
    config = {"models": {"*": {"min_records": 1}}, "record_faults": {"permanent_rate": 0.4}}
    rows = records(20)
    with World.open(ONE, config=config, seed=5) as world:
        upload_id, event = world.put("a.jsonl", lines(rows))
        world.send("create", event)
        world.run()
        before = world.one_upload(upload_id)
        assert 0 < before.success_count < 20
        thing = event["Records"][0]["s3"]["object"]

        def delete(call: Any) -> None:
            if (
                call.function == "operate"
                and call.operation == "TransactWriteItems"
                and b"run" in call.params["body"]
            ):
                world.s3.delete_object(
                    Bucket=world.bucket, Key="to-process/a.jsonl", VersionId=thing["versionId"]
                )

        # When it is deleted once the run has begun
        world.after = delete
        retry(world, upload_id=upload_id)
        world.after = None
        world.run()
        # Then the upload ends with the lines that it had
        after = world.one_upload(upload_id)
        assert after.success_count == before.success_count
        assert after.error_count == before.error_count
        assert ids(world.result(after)) == {row["recordId"]: 1 for row in rows}


# ------------------------------------------------------------------------------------------ pause, resume


def test_what_is_paused_submits_nothing_until_it_is_resumed(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given a queue that is paused while a job runs
    first = world.upload("first.jsonl", lines(records(5, "f")))
    world.run(running(world))
    told = world.order("pause", by="ana", why="the model is being changed")
    assert told["paused"]["by"] == "ana"
    # When 20 uploads come
    uploads = {
        world.upload(f"{n}.jsonl", lines(records(5, f"u{n}-"))): records(5, f"u{n}-") for n in range(20)
    }
    began = world.clock()
    world.run(lambda: world.clock() > began + 7200.0)
    # Then the job is collected, nothing is submitted, and each answer and row says why
    assert world.one_upload(first).status == Status.COMPLETED
    assert len(world.bedrock_jobs()) == 1
    words = "the queue is paused since"
    waiting = [upload for upload in world.uploads() if upload.upload_id in uploads]
    assert all(words in upload.message for upload in waiting)
    assert words in world.order("explain", upload_id=waiting[0].upload_id)["words"]
    assert world.order("status")["paused"][0]["why"] == "the model is being changed"
    assert '"PausedRoutes": 1' in capsys.readouterr().out
    assert not world.errors
    # When it is resumed
    assert world.order("resume")["did"] == "The queue submits jobs again."
    world.run(steps=3_000)
    # Then all of them run
    check(world, uploads, slots=1)
    assert {upload.status for upload in world.uploads()} == {Status.COMPLETED}


def test_a_route_that_is_paused_leaves_the_slots_to_others() -> None:
    other = configured("other", HAIKU, max_active_jobs=1, **SMALL)
    with World.open(ONE, other, config=ANY_SIZE) as world:
        world.order("pause", route="default", by="ana", why="a test")
        waits = world.upload("a.jsonl", lines(records(5, "a")))
        runs = world.upload("other/b.jsonl", lines(records(5, "b")))
        world.run(
            lambda: any(one.upload_id == runs and one.status == Status.COMPLETED for one in world.uploads())
        )
        assert world.one_upload(waits).status == Status.PENDING
        assert "the route default is paused" in world.one_upload(waits).message
        world.order("resume", route="default")
        world.run()
        assert world.one_upload(waits).status == Status.COMPLETED


def test_a_job_that_bedrock_does_not_take_is_not_tried_while_its_route_is_paused(world: World) -> None:
    # Given a job that Bedrock does not answer for
    world.simulator.configure({"quota_error": "ServiceQuotaExceededException"})
    world.simulator.add_foreign(HAIKU, count=2, seconds=4000.0)
    world.put_route(configured("default", HAIKU, max_active_jobs=4, **SMALL))
    upload_id = world.upload("a.jsonl", lines(records(5)))
    world.run(lambda: any(job.status == Status.SUBMITTING for job in world.jobs()) and not world.events)
    # When its route is paused
    world.order("pause", route="default", by="ana", why="a test")
    began = world.clock()
    world.run(lambda: world.clock() > began + 9000.0)
    # Then it waits, though slots are free
    assert [job.status for job in world.jobs()] == [Status.SUBMITTING]
    world.order("resume", route="default")
    world.run()
    assert world.one_upload(upload_id).status == Status.COMPLETED


def test_a_sealed_job_whose_uploads_are_cancelled_is_not_created(world: World) -> None:
    world.simulator.add_foreign(HAIKU, count=2, seconds=4000.0)
    world.put_route(configured("default", HAIKU, max_active_jobs=4, **SMALL))
    upload_id = world.upload("a.jsonl", lines(records(5)))
    world.run(lambda: any(job.sealed for job in world.jobs()) and not world.events)
    world.order("cancel", upload_id=upload_id)
    assert orders(world), "the job may still begin"
    world.run()
    assert world.one_upload(upload_id).status == Status.CANCELLED
    assert not world.bedrock_jobs()
    world.run(lambda: not orders(world))


# ------------------------------------------------------------------------------------ wrong and repeated


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({}, '"order" is missing'),
        ({"order": "cancle"}, 'did you mean "cancel"?'),
        ({"order": ["cancel"]}, "there is no order"),
        ({"order": {}}, "there is no order"),
        ({"order": "cancel", "key": "to-process/\ud800.jsonl"}, "a text that is not empty"),
        ({"order": "pause", "by": "ana\ud800", "why": "x"}, "a text that is not empty"),
        ({"order": "cancel", "\ud800": "x"}, "has no member"),
        ({"order": "cancel", "key": "to-process/" + "x" * 2000 + ".jsonl"}, "the key is too long"),
        ({"order": "cancel"}, "name the upload by one of"),
        ({"order": "cancel", "kee": "to-process/a.jsonl"}, 'did you mean "key"?'),
        ({"order": "cancel", "key": ""}, "a text that is not empty"),
        ({"order": "cancel", "key": 7}, "a text that is not empty"),
        ({"order": "cancel", "key": "a.jsonl"}, "it is not under to-process/"),
        ({"order": "cancel", "key": "s3://b/to-process/a.jsonl"}, "without s3://"),
        ({"order": "cancel", "key": "to-process/none.jsonl"}, "has no to-process/none.jsonl"),
        ({"order": "cancel", "key": "to-process/a.jsonl", "version_id": "v"}, "has no version v of"),
        ({"order": "cancel", "key": "to-process/new.jsonl"}, "its event may be on its way"),
        ({"order": "cancel", "key": "to-process/a.jsonl", "upload_id": "a" * 32}, '"key", "upload_id"'),
        ({"order": "cancel", "upload_id": "abc"}, "the 32 hex digits"),
        ({"order": "cancel", "upload_id": "a" * 32}, "no upload has the id"),
        ({"order": "cancel", "version_id": "v"}, "name the upload by"),
        ({"order": "cancel", "prefix": "to-process"}, "end with a slash"),
        ({"order": "cancel", "prefix": "elsewhere/"}, "must be a folder under to-process/"),
        ({"order": "cancel", "key": "to-process/a.jsonl"}, "has ended as Completed"),
        ({"order": "retry", "key": "to-process/a.jsonl"}, "all 5 records"),
        (
            {"order": "retry", "key": "to-process/bad.jsonl"},
            "the queue has none of its records. Rejected, nothing was run: line 1",
        ),
        ({"order": "retry", "key": "to-process/runs.jsonl"}, "has not ended"),
        ({"order": "retry", "prefix": "to-process/x/"}, 'has no member "prefix"'),
        ({"order": "pause"}, '"by" is missing'),
        ({"order": "pause", "by": "ana"}, '"why" is missing'),
        ({"order": "pause", "by": "ana", "why": "x" * 501}, "500 is the maximum"),
        ({"order": "pause", "by": "ana", "why": "x", "route": "defalt"}, 'did you mean "default"?'),
        ({"order": "resume"}, "is not paused"),
        ({"order": "status", "route": "x"}, "It takes nothing else"),
        ([], "an order is a JSON object"),
    ],
)
def test_a_wrong_order_is_told_what_to_write_and_changes_nothing(
    order: Any, words: str, world: World
) -> None:
    # Given uploads that have ended, that run, and that the queue does not know yet
    world.upload("a.jsonl", lines(records(5, "a")))
    world.upload("bad.jsonl", b"{\n")
    world.run()
    world.upload("runs.jsonl", lines(records(5, "r")))
    world.run(lambda: sum(job["status"] == "InProgress" for job in world.bedrock_jobs()) == 1)
    world.put("new.jsonl", lines(records(5, "n")))
    before = world.rows()
    # When the order is given
    assert world.invoke("operate", order) is None
    # Then the answer says what is wrong
    assert words in world.answer["error"]
    assert world.rows() == before
    world.run()


def test_an_order_that_is_repeated_does_the_same_once(world: World) -> None:
    upload_id = world.upload("a.jsonl", lines(records(10)))
    world.run(running(world))
    first = world.order("cancel", upload_id=upload_id, by="ana")
    again = world.order("cancel", upload_id=upload_id, by="bert")
    assert first["records_taken_out"] == 5
    assert again["did"].startswith("It was cancelled before. It ends with the jobs that have begun.")
    world.run()
    assert "by ana" in world.one_upload(upload_id).message
    assert world.order("cancel", upload_id=upload_id)["did"].startswith("It was cancelled before.")
    retry(world, upload_id=upload_id)
    assert "has not ended" in world.order("retry", upload_id=upload_id)["error"]
    pause = {"by": "ana", "why": "a test"}
    since = world.order("pause", **pause)["paused"]
    world.clock.advance(60.0)
    told = world.order("pause", by="bert", why="another")
    assert told["paused"] == since
    assert "It was paused already" in told["did"]
    world.order("resume")
    assert "is not paused" in world.order("resume")["error"]
    world.run()
    check(world, {upload_id: records(10)}, slots=1)


@pytest.mark.parametrize("order", ["cancel", "retry"])
def test_two_at_once_do_it_once(order: str, world: World) -> None:
    # Given an upload that runs or that has failed
    rows = records(15)
    upload_id = world.upload("a.jsonl", lines(rows))
    if order == "retry":
        world.simulator.configure({"job_faults": [{"outcome": "Failed", "rate": 1.0}]})
        world.run()
        world.simulator.configure({"job_faults": []})
        world.skip(AGAIN_SECONDS)
    else:
        world.run(running(world))
    others: list[Any] = []

    def other(call: Any) -> None:
        if call.function == "operate" and len(others) < 40:
            world.before = None
            others.append(world.invoke("operate", {"order": order, "upload_id": upload_id}))
            world.before = other

    # When two people give the same order, one between any two calls of the other
    world.before = other
    world.order(order, upload_id=upload_id)
    world.before = None
    # Then it is carried out once
    assert others.count(None) == len(others) > 1
    watch = Watch(world)
    world.run()
    watch.look()
    upload = world.one_upload(upload_id)
    assert upload.run == (2 if order == "retry" else 1)
    if order == "retry":
        check(world, {upload_id: rows}, slots=1)
    assert upload.success_count + upload.error_count == len(rows)
    world.run(lambda: not orders(world))


def test_what_a_dead_function_has_left_is_carried_out_by_the_schedule(world: World) -> None:
    # Given an order whose function dies right after it was stored
    world.simulator.configure({"models": {"*": {"records_per_second": 0.001}}})
    upload_id = world.upload("a.jsonl", lines(records(10)))
    world.run(running(world))

    def dies(call: Any) -> None:
        if call.function == "operate" and call.operation == "TransactWriteItems":
            world.kill()

    world.after = dies
    world.invoke("operate", {"order": "cancel", "upload_id": upload_id})
    world.after = None
    assert [row["sk"] for row in orders(world)] == [upload_id]
    # When nobody repeats it
    world.run()
    # Then it is carried out
    assert world.one_upload(upload_id).status in (Status.STOPPED, Status.CANCELLED)
    assert len(world.bedrock_jobs()) == 1
    assert not orders(world)


# --------------------------------------------------------------------------------------------------- sweep


@pytest.mark.parametrize("within", [{}, {"prefix": "to-process/lost/"}], ids=["all", "folder"])
def test_a_sweep_that_is_ordered_finds_an_upload_whose_event_was_lost(
    world: World, within: dict[str, str]
) -> None:
    # Given two uploads whose events were lost
    rows = records(5)
    one = world.upload("lost/a.jsonl", lines(rows), deliveries=0)
    other = world.upload("b.jsonl", lines(records(5, "b")), deliveries=0)
    world.run()
    assert not world.uploads()
    # When somebody orders a sweep, of all or of a folder
    answer = world.order("sweep", **within)
    world.run()
    # Then what it is about has run, and nothing else
    assert answer["prefix"] == within.get("prefix", "to-process/")
    assert {upload.upload_id for upload in world.uploads()} == {one} | (set() if within else {other})
    assert world.one_upload(one).status == Status.COMPLETED


# ------------------------------------------------------------------------------------------ explain, status


def test_what_an_upload_waits_for_is_explained(world: World) -> None:
    # Given an upload that runs, one behind it, and one behind that
    for name in "abc":
        world.upload(f"{name}.jsonl", lines(records(5, name)))
        world.run(running(world))
        world.clock.advance(1.0)
    world.run(lambda: len(world.uploads()) == 3 and not world.events)
    # When somebody asks about the last one
    told = world.order("explain", key="to-process/c.jsonl")
    # Then the answer says what is ahead, who holds the slot, and what is expected
    assert told["ahead"] == {"uploads": 1, "records": 5, "at_least": False}
    (job,) = told["slots"]["ours"]
    assert (told["slots"]["limit"], told["slots"]["free"], job["status"]) == (1, 0, "InProgress")
    assert "behind 5 records of 1 other upload." in told["words"]
    assert "All 1 slots" in told["words"]
    assert told["expected_start"] > job["expected_end"]
    assert told["expected_end"] > told["expected_start"]
    # And of the first one, in which job it is
    first = world.order("explain", key="to-process/a.jsonl")
    assert [one["job_name"] for one in first["jobs"]] == [job["job_name"]]
    assert first["expected_end"] == job["expected_end"]
    world.run()
    assert world.order("explain", key="to-process/c.jsonl")["words"].startswith("It has ended as Completed.")


def test_the_status_names_who_holds_the_slots(world: World) -> None:
    world.put_route(configured("default", HAIKU, max_active_jobs=2, **SMALL))
    world.simulator.add_foreign(HAIKU, count=1, seconds=4000.0)
    world.upload("a.jsonl", lines(records(5)))
    world.run(running(world))
    (slots,) = world.order("status")["slots"]
    assert (slots["limit"], slots["free"], len(slots["ours"]), len(slots["others"])) == (2, 0, 1, 1)
    # And how far Bedrock is with each job
    assert [job["records_processed"] for job in slots["ours"]] == [0]
    world.run()
