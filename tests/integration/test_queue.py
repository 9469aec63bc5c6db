"""The queue on the real stack: real uploads, the packaged functions, events and schedule as on AWS."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_plus
from uuid import uuid4

from batch_queue.core.rows import ACTIVE, Status
from bedrock_batch_simulator import expected_output

from tests.integration.user import FAST, Queue, converse, eventually, lines, requests
from tests.local_aws.environment import MODEL_ID

# What a busy machine may take; the schedule would take minutes. What the functions need of it is held by
# tests/flows/test_load.py, under a virtual clock.
REFILL_SECONDS = 15.0
NOVA_PRO = "amazon.nova-pro-v1:0"
NOVA_MICRO = "amazon.nova-micro-v1:0"


def check_result(
    queue: Queue, row: dict[str, Any], rows: list[dict[str, Any]], model_id: str, kind: str
) -> None:
    found = queue.result(row)
    answers = {line["recordId"]: line.get("modelOutput") for line in found}
    assert len(found) == len(answers) == len(rows)
    for record in rows:
        expected = expected_output(model_id, kind, record["modelInput"])["modelOutput"]
        assert answers[record["recordId"]] == expected


def test_thirty_uploads_share_ten_slots(queue: Queue, record_property: Callable[[str, object], None]) -> None:
    # Given more uploads than slots, each of them some seconds of work
    queue.simulator.configure(models={"*": {**FAST, "records_per_second": 8.0}})
    batches = {f"single/{n:02d}.jsonl": converse(100, f"u{n}") for n in range(30)}
    began = queue.simulator.state()["now"]

    # When they are dropped into the bucket
    ids = {key: queue.upload(key, lines(rows)) for key, rows in batches.items()}
    ended = {row["key"]: row for row in queue.ended(*ids.values(), timeout=240)}

    # Then each has one result, from one job, and never more than ten ran at once
    for key, rows in batches.items():
        row = ended[f"to-process/{key}"]
        assert row["status"] == "Completed", row
        check_result(queue, row, rows, NOVA_PRO, "Converse")
    jobs = queue.jobs_of(*ids.values())
    assert sorted(file["name"][:32] for job in jobs for file in job["files"]) == sorted(ids.values())
    assert len(jobs) == 30
    assert queue.simulator.state()["models"][NOVA_PRO]["peak_active"] == 10

    # And statuses were seen to pass in order
    order = [str(status) for status in (Status.PENDING, *ACTIVE, Status.COMPLETED)]
    for seen in queue.seen.values():
        assert seen == sorted(seen, key=order.index)
    assert {"Pending", "Submitted", "Completed"} <= {s for seen in queue.seen.values() for s in seen}

    # And a slot that fell free was filled by the event, not by the schedule
    starts = sorted(job["timeline"][0]["at"] for job in jobs)
    ends = sorted(job["timeline"][-1]["at"] for job in jobs)
    gaps = [start - end for end, start in zip(ends[:20], starts[10:], strict=True)]
    print(
        f"slots refilled after {sorted(gaps)[10]:.2f} s (median), {max(gaps):.2f} s (most); "
        f"30 uploads in {ends[-1] - began:.1f} s"
    )
    record_property("refill_seconds_max", max(gaps))
    assert sorted(gaps)[10] < REFILL_SECONDS
    assert max(gaps) < 2 * REFILL_SECONDS


def test_with_the_event_rule_disabled_the_schedule_alone_finishes_the_work(
    queue: Queue, events: Any, outputs: dict[str, Any]
) -> None:
    rule = outputs["rules"]["job_state"]["name"]
    events.disable_rule(Name=rule)
    try:
        upload = queue.upload("schedule/only.jsonl", lines(requests(100, "s")))
        (row,) = queue.ended(upload, timeout=180)
        assert row["status"] == "Completed"
    finally:
        events.enable_rule(Name=rule)


def test_the_same_event_five_times_and_two_processors_at_once_make_one_job(
    queue: Queue, lambda_: Any, names: dict[str, str], s3: Any, bucket: str
) -> None:
    key = "to-process/again/and again.jsonl"
    upload = queue.upload(key.removeprefix("to-process/"), lines(requests(100, "again")))
    version = s3.head_object(Bucket=bucket, Key=key)["VersionId"]
    record = {
        "eventName": "ObjectCreated:Put",
        "eventTime": "2026-01-01T00:00:00.000Z",
        "s3": {
            "bucket": {"name": bucket},
            "object": {"key": quote_plus(key, safe="/"), "versionId": version, "eTag": "e", "sequencer": "1"},
        },
    }
    for _ in range(5):
        invoke(lambda_, names["create_batch_queue"], {"Records": [record]})
    for _ in range(2):
        invoke(lambda_, names["process_batch_jobs"], {})
    queue.ended(upload)
    assert len(queue.jobs_of(upload)) == 1


def invoke(lambda_: Any, name: str, event: Any) -> None:
    lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event).encode())


def test_a_converse_route_runs_with_any_boto3_and_a_key_may_hold_anything(queue: Queue) -> None:
    rows = [
        {
            "recordId": f"ü{number}",
            "modelInput": {"messages": [{"role": "user", "content": [{"text": f"Guten Tag {number}"}]}]},
        }
        for number in range(100)
    ]
    upload = queue.upload("converse/year=2026/Zürich + 1 & 2 (ä) %41.jsonl", lines(rows))
    (row,) = queue.ended(upload)
    assert row["status"] == "Completed", row
    assert row["result_key"] == "processed/converse/year=2026/Zürich + 1 & 2 (ä) %41.jsonl.out"
    check_result(queue, row, rows, "us.amazon.nova-lite-v1:0", "Converse")


def test_a_large_upload_and_many_small_ones_share_few_jobs_and_have_one_result_each(queue: Queue) -> None:
    # The least rate that the tests' simulator runs at lets the small ones wait for each other
    large = requests(12_000, "large")
    small = {f"packed/{n:02d}.jsonl": requests(20 + n, f"small{n}") for n in range(40)}
    uploads = {queue.upload("large.jsonl", lines(large)): large}
    uploads |= {queue.upload(key, lines(rows)): rows for key, rows in small.items()}
    queue.simulator.configure(models={"*": {"records_per_second": 2_000.0}})
    ended = queue.ended(*uploads, timeout=240)
    assert {row["status"] for row in ended} == {"Completed"}
    for row in ended:
        check_result(queue, row, uploads[row["pk"]], MODEL_ID, "InvokeModel")
    jobs = queue.jobs_of(*uploads)
    print(f"41 uploads in {len(jobs)} jobs")
    assert len(jobs) < 30


def test_the_sweep_has_its_rule_and_by_hand_takes_in_what_lost_its_event(
    queue: Queue, s3: Any, bucket: str, events: Any, lambda_: Any, outputs: dict[str, Any]
) -> None:
    function = outputs["functions"]["create_batch_queue"]
    (target,) = events.list_targets_by_rule(Rule=outputs["rules"]["sweep"]["name"])["Targets"]
    assert (target["Arn"], json.loads(target["Input"])["sweep"]) == (function["arn"], True)

    # Given objects that S3 told nobody of
    wired = s3.get_bucket_notification_configuration(Bucket=bucket)
    del wired["ResponseMetadata"]
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    try:
        keys = ["swept/a b+c%41&ü.jsonl", "swept/deleted.jsonl", "swept/plain.jsonl"]
        rows = {key: requests(100, f"swept{n}") for n, key in enumerate(keys)}
        lost = {key: queue.upload(key, lines(rows[key])) for key in keys}
    finally:
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=wired)
    s3.delete_object(Bucket=bucket, Key="to-process/swept/deleted.jsonl")
    assert [queue.row(upload_id) for upload_id in lost.values()] == [None] * 3

    # When somebody sweeps, and sweeps again
    order = {"sweep": True, "prefix": "to-process/swept/"}
    counts = swept(lambda_, function["name"], order)
    assert (counts["found"], counts["enqueued"]) == (2, 2)
    deleted = lost.pop("swept/deleted.jsonl")
    ended = {row["key"]: row for row in queue.ended(*lost.values())}
    again = swept(lambda_, function["name"], order)

    # Then each of them that is still there has run, once
    assert (again["known"], again["enqueued"]) == (2, 0)
    for key in lost:
        row = ended[f"to-process/{key}"]
        assert row["status"] == "Completed", row
        check_result(queue, row, rows[key], MODEL_ID, "InvokeModel")
    assert queue.row(deleted) is None
    files = [file["name"][:32] for job in queue.jobs_of(*lost.values()) for file in job["files"]]
    assert sorted(name for name in files if name in lost.values()) == sorted(lost.values())


def swept(lambda_: Any, name: str, order: dict[str, Any]) -> dict[str, int]:
    """Sweeps and waits for the counts."""
    answer = lambda_.invoke(FunctionName=name, Payload=json.dumps(order).encode())
    found: dict[str, int] = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, found
    return found


def test_too_few_records_run_on_demand_where_the_route_says_so(queue: Queue) -> None:
    rows = converse(7, f"few-{uuid4().hex[:6]}")
    upload = queue.upload("direct/few.jsonl", lines(rows))
    (row,) = queue.ended(upload)
    assert row["status"] == "Completed", row
    check_result(queue, row, rows, NOVA_MICRO, "Converse")
    assert queue.jobs_of(upload) == []


def test_a_file_with_a_fault_is_rejected_with_a_report_beside_it(queue: Queue, s3: Any, bucket: str) -> None:
    good = lines(requests(100, "b")).split(b"\n")
    good[41] = b'{"recordId": "x", "modelInput": '
    upload = queue.upload("bad/file.jsonl", b"\n".join(good))
    (row,) = queue.ended(upload)
    assert row["status"] == "Rejected"
    key = "processed/bad/file.jsonl.rejected.json"
    report = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    assert [fault["line"] for fault in report["faults"]] == [42]
    assert queue.jobs_of(upload) == []


def test_a_file_that_needs_tidying_runs_tidied(queue: Queue) -> None:
    rows = requests(100, "tidy")
    upload = queue.upload("tidy.jsonl", b"\xef\xbb\xbf" + lines(rows).replace(b"\n", b"\r\n\n"))
    (row,) = queue.ended(upload)
    assert row["status"] == "Completed"
    check_result(queue, row, rows, MODEL_ID, "InvokeModel")


def test_a_refusal_stands_in_the_row_with_bedrocks_own_words(queue: Queue) -> None:
    words = f"This model is not for batch inference, {uuid4().hex[:6]}."
    fault = {"kind": "validation", "operation": "CreateModelInvocationJob", "message": words}
    queue.simulator.faults(fault)
    upload = queue.upload("refused.jsonl", lines(requests(100, "r")))
    (row,) = queue.ended(upload)
    assert row["status"] == "Failed"
    assert words in row["message"]


def test_what_fails_for_good_is_in_the_dead_letter_queue(
    lambda_: Any, names: dict[str, str], sqs: Any, outputs: dict[str, Any]
) -> None:
    mark = uuid4().hex
    invoke(lambda_, names["collect_results"], {"not_a_job_id": mark})

    def look() -> str | None:
        url = outputs["dead_letter_queue"]["url"]
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        return next((m["Body"] for m in found.get("Messages", []) if mark in m["Body"]), None)

    assert json.loads(eventually(look, 60, "a dead letter")) == {"not_a_job_id": mark}


def test_logs_are_json_and_say_which_upload(queue: Queue, logs: Any, outputs: dict[str, Any]) -> None:
    upload = queue.upload("logged.jsonl", lines(requests(100, "secret-content")))
    queue.ended(upload)
    group = outputs["log_groups"]["create_batch_queue"]["name"]

    def look() -> dict[str, Any] | None:
        found = logs.filter_log_events(logGroupName=group)["events"]
        assert not [event for event in found if "secret-content" in event["message"]]
        entries = [json.loads(event["message"]) for event in found if event["message"].startswith("{")]
        return next((entry for entry in entries if entry.get("upload_id") == upload), None)

    entry = eventually(look, 30, "a log entry")
    assert entry["level"] == "INFO"
    assert entry["status"] == "Pending"
