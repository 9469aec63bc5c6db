"""What receivers hear of uploads and jobs, whatever fails on the way to them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from batch_queue.core.rows import Status
from batch_queue.steps.publishing import UnsentError

from tests.support.errors import aws_error
from tests.support.routes import configured
from tests.support.world import HAIKU, Call, World, lines, records

pytestmark = pytest.mark.flows

CONFIG = {"models": {"*": {"min_records": 1}}}
ROUTE = configured("default", HAIKU, min_records_per_job=1)
ACCEPTED, ENDED = "Upload Accepted", "Upload Ended"


def failing(operation: str, times: int = 1) -> tuple[Callable[[Call], None], list[Call]]:
    """A hook by which a call fails so often, and the calls that did."""
    failed: list[Call] = []

    def before(call: Call) -> None:
        if call.operation == operation and len(failed) < times:
            failed.append(call)
            raise aws_error("ServiceUnavailable", 503, operation=operation)

    return before, failed


def test_an_upload_and_its_job_are_told_of_from_the_beginning_to_the_end() -> None:
    prices = {"input_price": "1", "output_price": "5"}
    with World.open(configured("default", HAIKU, min_records_per_job=1, **prices), config=CONFIG) as world:
        upload_id = world.upload("a.jsonl", lines(records(2)))
        world.run()
        world.tell()
        assert world.told.kinds() == dict.fromkeys((ACCEPTED, ENDED, "Job Submitted", "Job Ended"), 1)
        (accepted,) = world.told.details(ACCEPTED)
        assert (accepted["upload_id"], accepted["records"]) == (upload_id, 2)
        (ended,) = world.told.details(ENDED)
        (job,) = world.jobs()
        upload = world.one_upload(upload_id)
        assert ended["status"] == "Completed"
        assert ended["job_arns"] == [job.arn]
        assert ended["result"] == {"key": upload.result_key, "version_id": upload.result_version_id}
        cost = upload.input_tokens + 5 * upload.output_tokens
        assert ended["cost"] == f"{cost / 1_000_000:.6f}"
        summary = world.s3.get_object(Bucket=world.bucket, Key=ended["summary_key"])["Body"].read()
        assert json.loads(summary)["cost"] == ended["cost"]
        assert not world.told.messages, "nobody needs to know that all went well"


def test_an_upload_that_is_rejected_is_told_of_once_and_people_too() -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        world.upload("bad.jsonl", b"{", deliveries=2)
        world.run()
        world.tell()
        assert world.told.kinds() == {ENDED: 1}
        (ended,) = world.told.details(ENDED)
        report = world.s3.get_object(Bucket=world.bucket, Key=ended["rejection_report_key"])
        assert json.loads(report["Body"].read())["upload_id"] == ended["upload_id"]
        (message,) = world.told.messages
        assert message["Subject"] == "queue: Rejected: to-process/bad.jsonl"
        assert ended["rejection_report_key"] in message["Message"]


def test_people_are_told_only_of_the_ends_that_they_want_to_know() -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        world.notify(on=("Completed",))
        world.upload("bad.jsonl", b"{")
        world.upload("good.jsonl", lines(records(1)))
        world.run()
        world.tell()
        assert [message["Subject"] for message in world.told.messages] == [
            "queue: Completed: to-process/good.jsonl"
        ]


def test_without_a_topic_nobody_is_told_but_the_bus() -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        world.notify(topic="")
        world.upload("bad.jsonl", b"{")
        world.run()
        world.tell()
        assert world.told.kinds() == {ENDED: 1}
        assert not world.told.messages


def test_what_is_told_of_a_run_on_demand_names_no_arn() -> None:
    few = configured("default", HAIKU, pack_wait_minutes=5, undersized="on_demand")
    with World.open(few, config={"models": {"*": {"min_records": 100}}}) as world:
        world.upload("few.jsonl", lines(records(2)))
        world.run()
        world.tell()
        (submitted,) = world.told.details("Job Submitted", mode="on_demand")
        assert submitted["job_arn"] is None
        assert world.told.details("Job Ended", mode="on_demand", status="Completed")
        assert world.told.details(ENDED, status="Completed", job_arns=[], job_count=0)


@pytest.mark.parametrize("operation", ["PutEvents", "Publish", "GetItem"])
def test_what_cannot_be_sent_stays_in_the_stream_and_comes_again(operation: str) -> None:
    prices = {"input_price": "1", "output_price": "5"}
    with World.open(configured("default", HAIKU, min_records_per_job=1, **prices), config=CONFIG) as world:
        world.notify(on=("Completed",))
        world.upload("a.jsonl", lines(records(1)))
        world.run()
        pending = len(world.memory.stream.pending)
        world.before, failed = failing(operation)
        assert (world.publish() is not None) == (operation == "PutEvents"), "no progress is an error"
        assert failed
        assert 0 < len(world.memory.stream.pending) <= pending
        while world.memory.stream.pending:
            assert world.publish() is None
        assert world.told.kinds()[ENDED] == 1
        assert len(world.told.messages) == 1


def test_a_change_that_cannot_be_read_holds_up_only_what_comes_after_it() -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        for name in ("a", "b"):
            world.upload(f"{name}.jsonl", b"{")
        world.run()
        stream = world.memory.stream
        # Given a row of a version that has a status more
        good = stream.pending[1]["dynamodb"]["NewImage"]
        stream.pending[1]["dynamodb"]["NewImage"] = {**good, "status": {"S": "Paused"}}
        # When the batch is handed over, then the first change is told of, and the second stays
        assert world.publish() is None
        assert world.told.kinds() == {ENDED: 1}
        assert len(stream.pending) == 1
        # And when it comes again, the function fails, so that an alarm says so
        assert world.publish() is not None
        # When it can be read, it is told of too
        stream.pending[0]["dynamodb"]["NewImage"] = good
        assert world.publish() is None
        assert world.told.kinds() == {ENDED: 2}


def test_events_that_the_bus_refuses_are_the_functions_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        world.upload("a.jsonl", b"{")
        world.run()
        with monkeypatch.context() as patched:
            patched.setattr(type(world.bus), "send", lambda _, events: ["MalformedDetail"] * len(events))
            error = world.publish()
        assert "MalformedDetail" in str(error)
        assert UnsentError.__name__ in str(error)


def test_a_function_that_dies_after_it_has_sent_sends_again_with_the_same_id() -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        world.upload("a.jsonl", b"{")
        world.run()
        world.after = lambda call: world.kill() if call.operation == "PutEvents" else None
        assert world.publish() is not None
        world.after = None
        world.tell()
        assert Counter(one["detail"]["id"] for one in world.told.events).most_common() == [
            (world.told.details(ENDED)[0]["id"], 2)
        ]


def test_a_row_that_is_deleted_is_no_news() -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        world.keep_rows(1)
        world.upload("a.jsonl", lines(records(1)))
        world.run()
        world.tell()
        kinds = world.told.kinds()
        world.clock.advance(3 * 86_400.0)
        assert world.expire_rows()
        assert not world.memory.stream.pending
        assert world.told.kinds() == kinds


def test_an_upload_that_runs_again_after_its_row_has_expired_is_another_event() -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        world.keep_rows(1)
        _, event = world.put("a.jsonl", b"{")
        ids: set[Any] = set()
        for _ in range(2):
            world.send("create", event)
            world.run()
            world.tell()
            ids |= {detail["id"] for detail in world.told.details(ENDED, status=Status.REJECTED)}
            world.clock.advance(3 * 86_400.0)
            world.expire_rows()
            reports = world.s3.list_object_versions(Bucket=world.bucket, Prefix="processed/")["Versions"]
            for one in reports:
                world.s3.delete_object(Bucket=world.bucket, Key=one["Key"], VersionId=one["VersionId"])
        assert len(ids) == 2
