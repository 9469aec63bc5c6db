"""Orders on the real stack: somebody invokes operate_queue and reads its answer."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from batch_queue.core import names

from tests.integration.user import FAST, Queue, converse, eventually, lines

Order = Callable[..., dict[str, Any]]


@pytest.fixture
def order(lambda_: Any, outputs: dict[str, Any]) -> Order:
    """Gives an order and returns the answer."""

    def give(order: str, **members: Any) -> dict[str, Any]:
        payload = json.dumps({"order": order, **members}).encode()
        done = lambda_.invoke(FunctionName=outputs["functions"]["operate_queue"]["name"], Payload=payload)
        answer: dict[str, Any] = json.loads(done["Payload"].read())
        assert "FunctionError" not in done, answer
        return answer

    return give


@pytest.fixture
def ended_long_ago(table: Any) -> Callable[[str], None]:
    """Rewinds the end of an upload by an hour: it can run again at once, as no function is at work for it."""

    def rewind(upload_id: str) -> None:
        table.update_item(
            Key={"pk": upload_id, "sk": "upload"},
            UpdateExpression="SET ended_at = :then",
            ExpressionAttributeValues={":then": names.iso(time.time() - 3600)},
        )

    return rewind


@pytest.fixture
def slow(queue: Queue) -> Queue:
    """A queue whose jobs take half a minute for 100 records."""
    queue.simulator.configure(models={"*": {**FAST, "records_per_second": 3.0}})
    return queue


def answered(queue: Queue, row: dict[str, Any]) -> Counter[str]:
    """How often the result has an answer of each record."""
    return Counter(line["recordId"] for line in queue.result(row) if "modelOutput" in line)


def test_an_upload_that_is_cancelled_in_its_middle_keeps_its_answers_and_is_completed_by_a_retry(
    slow: Queue, order: Order, ended_long_ago: Callable[[str], None]
) -> None:
    # Given an upload whose job has answered a part of it, of a route that runs on demand what is too few
    rows = converse(100, "cancel")
    upload = slow.upload("direct/cancel.jsonl", lines(rows))

    def half() -> bool | None:
        return any(10 <= job.get("processedRecordCount", 0) < 100 for job in slow.jobs_of(upload)) or None

    eventually(half, 60, "the first answers")
    # When it is cancelled
    told = order("cancel", key="to-process/direct/cancel.jsonl", by="ana", why="wrong prompt")
    assert len(told["stopped_jobs"]) == 1
    (row,) = slow.ended(upload)
    # Then what was answered is kept, once
    kept = answered(slow, row)
    assert row["status"] == "Stopped"
    assert 10 <= len(kept) < 100
    assert set(kept.values()) == {1}
    assert "by ana (wrong prompt)" in row["message"]
    # And a retry answers the others, each record once
    slow.simulator.configure(models={"*": FAST})
    ended_long_ago(upload)
    assert f"{len(kept)} answers are kept" in order("retry", upload_id=upload)["did"]
    (row,) = slow.ended(upload)
    assert (row["status"], row["run"]) == ("Completed", 2)
    assert answered(slow, row) == {record["recordId"]: 1 for record in rows}


def test_twenty_uploads_wait_behind_a_pause_and_run_once_it_is_resumed(queue: Queue, order: Order) -> None:
    told = order("pause", route="single", by="ana", why="the prompt is being reviewed")
    assert told["paused"]["by"] == "ana"
    try:
        ids = [queue.upload(f"single/paused/{n:02d}.jsonl", lines(converse(100, f"p{n}"))) for n in range(20)]
        eventually(lambda: all(queue.row(each) for each in ids) or None, 60, "the intake")
        words = "the route single is paused since"
        messages = ((queue.row(each) or {}).get("message", "") for each in ids)
        eventually(lambda: all(words in each for each in messages) or None, 90, "the reason in the rows")
        assert not queue.jobs_of(*ids)
        assert words in order("explain", upload_id=ids[0])["words"]
        assert order("status")["routes"]["single"]["paused"]["why"] == "the prompt is being reviewed"
    finally:
        assert "did" in order("resume", route="single")
    assert {row["status"] for row in queue.ended(*ids)} == {"Completed"}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"order": "cancel", "key": "to-process/none.jsonl"}, "has no to-process/none.jsonl"),
        ({"order": "cancel", "kee": "to-process/none.jsonl"}, 'did you mean "key"?'),
        ({"order": "retry", "key": "to-process/single/ended.jsonl"}, "all 100 records"),
        ({"order": "cancel", "key": "to-process/single/ended.jsonl"}, "has ended as Completed"),
        ({"order": "pause", "route": "singel", "by": "a", "why": "b"}, 'did you mean "single"?'),
        ({"order": "resume"}, "is not paused"),
    ],
)
def test_a_wrong_order_is_told_what_to_write(
    queue: Queue, order: Order, wrong: dict[str, str], words: str
) -> None:
    queue.ended(queue.upload("single/ended.jsonl", lines(converse(100, "ended"))))
    assert words in order(**wrong)["error"]


def test_an_order_that_is_given_twice_at_once_and_again_is_carried_out_once(
    slow: Queue, order: Order, ended_long_ago: Callable[[str], None]
) -> None:
    upload = slow.upload("single/twice.jsonl", lines(converse(100, "twice")))
    eventually(lambda: slow.jobs_of(upload) or None, 60, "its job")
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda by: order("cancel", upload_id=upload, by=by), ["ana", "bert"]))
    again = order("cancel", upload_id=upload, by="carl")
    assert "error" not in both[0] | both[1] | again
    (row,) = slow.ended(upload)
    assert row["cancelled_by"] in ("ana", "bert")
    assert row["status"] in ("Stopped", "Cancelled")
    slow.simulator.configure(models={"*": FAST})
    ended_long_ago(upload)
    with ThreadPoolExecutor(2) as pool:
        retries = list(pool.map(lambda _: order("retry", upload_id=upload), range(2)))
    assert sum("error" not in answer for answer in retries) >= 1
    (row,) = slow.ended(upload)
    assert (row["status"], row["run"]) == ("Completed", 2)
    assert len(slow.result(row)) == 100


def test_what_waits_is_explained(slow: Queue, order: Order) -> None:
    # Given ten uploads that have the ten slots, and one behind them
    ids = [slow.upload(f"single/slots/{n:02d}.jsonl", lines(converse(100, f"e{n}"))) for n in range(11)]
    eventually(lambda: len(slow.jobs_of(*ids)) == 10 or None, 90, "ten jobs")
    waiting = [each for each in ids if not slow.jobs_of(each)]
    # When somebody asks about it
    told = order("explain", upload_id=waiting[0])
    # Then the answer says who holds the slots, and when it is expected to run
    assert (told["slots"]["limit"], told["slots"]["free"]) == (10, 0)
    assert len(told["slots"]["ours"]) == 10
    assert "All 10 slots of amazon.nova-pro-v1:0 are taken" in told["words"]
    assert told["expected_start"] < told["expected_end"]
    order("cancel", prefix="to-process/single/slots/")
    slow.ended(*ids)


def test_the_models_are_checked_without_running_a_job(queue: Queue, order: Order) -> None:
    # Given a model that runs no batch jobs
    queue.simulator.configure(models={"amazon.nova-pro-v1:0": {"batch": False}})
    before = len(queue.simulator.jobs())
    try:
        # When the queue is checked
        found = order("check")
    finally:
        queue.simulator.configure(models={"amazon.nova-pro-v1:0": {"batch": True}})
    # Then it is the one that is named, with its routes, and no job is created
    no = [model for model in found["models"] if model["batch"] != "yes"]
    assert [(model["model_id"], model["batch"], model["about"]) for model in no] == [
        ("amazon.nova-pro-v1:0", "no", "model")
    ]
    assert "single" in no[0]["routes"]
    assert "Batch inference is not supported" in no[0]["words"]
    assert found["converse"] is True
    assert found["boto3"]
    assert len(queue.simulator.jobs()) == before
