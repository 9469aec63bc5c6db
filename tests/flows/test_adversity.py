"""What goes wrong around the queue, and what must not come of it. Each of these was a fault once."""

import io
import json
from itertools import pairwise
from typing import Any

import boto3
import pytest
from batch_queue.aws import bedrock
from batch_queue.aws.runtime import Runtime
from batch_queue.aws.telemetry import RUNTIME_CONFIG
from batch_queue.core import cutting, reading
from batch_queue.core.names import epoch
from batch_queue.core.rows import Job, Status
from batch_queue.steps import on_demand
from bedrock_batch_simulator import Fault
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError

from tests.support import world as worlds
from tests.support.errors import aws_error
from tests.support.routes import configured
from tests.support.world import HAIKU, Call, World, lines, records, statuses

pytestmark = pytest.mark.flows


def test_what_a_run_must_not_miss_is_read_with_strong_consistency() -> None:
    with World.open() as world:
        weak: list[str] = []

        def settings(text: str) -> bool:
            return '"route"' in text or '"model"' in text

        def look(call: Call) -> None:
            body = call.params.get("body", b"")
            text = body.decode() if isinstance(body, bytes) else str(body)
            if call.operation == "Query" and "IndexName" not in text and not settings(text):
                weak.extend([] if '"ConsistentRead": true' in text else [text])

        world.before = look
        world.upload("a.jsonl", lines(records(100)))
        world.run()
        assert weak == []


def test_a_job_that_cannot_be_looked_up_yet_is_not_given_up() -> None:
    with World.open() as world:
        upload_id = world.upload("a.jsonl", lines(records(100)))
        missed: list[Call] = []

        def miss_once(call: Call) -> None:
            if call.operation == "GetModelInvocationJob" and not missed:
                missed.append(call)
                raise aws_error("ResourceNotFoundException", 404)

        world.before = miss_once
        world.run()
        assert missed
        assert world.one_upload(upload_id).status == Status.COMPLETED


def test_one_upload_that_cannot_be_staged_does_not_hold_up_the_others() -> None:
    with World.open() as world:
        bad = world.upload("bad.jsonl", lines(records(100)))
        good = [world.upload(f"{n}.jsonl", lines(records(100))) for n in range(3)]

        def forbid(call: Call) -> None:
            if call.function == "process" and "bad.jsonl" in str(call.params["headers"]):
                raise aws_error("InvalidRequest", 400)

        world.before = forbid
        world.run(lambda: statuses(world)[Status.COMPLETED] == len(good))
        assert world.one_upload(bad).status == Status.PENDING
        world.run(lambda: world.one_upload(bad).status != Status.PENDING)
        assert world.one_upload(bad).status == Status.FAILED
        assert "could not be submitted for a day" in world.one_upload(bad).message


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("Too many concurrent batch inference jobs for inference profile us.anthropic.x", True),
        ("You have exceeded the maximum number of active model invocation jobs", True),
        (
            "Sum of in-progress and submitted batch inference jobs using a base model: quota of 10 reached",
            True,
        ),
        ("Your account has reached its limit of jobs for this inference profile", True),
        ("Job timeout is above the limit of 168 hours.", False),
        ("The number of records in the job exceeds the quota of 50000", False),
        ("The job's input file size exceeds the limit", False),
        ("The job name exceeds 63 characters", False),
        ("The provided model identifier is invalid.", False),
    ],
)
def test_a_validation_answer_is_about_the_quota_of_jobs_or_about_this_job(text: str, quota: bool) -> None:
    assert bedrock._speaks_of_quota(text) is quota


@pytest.mark.parametrize(
    ("code", "status"),
    [("Throttling", 400), ("RequestTimeout", 408), ("ModelNotReadyException", 429), ("Whatever", 503)],
)
def test_a_passing_answer_leaves_the_upload_pending_and_says_why(code: str, status: int) -> None:
    with World.open() as world:
        upload_id = world.upload("a.jsonl", lines(records(100)))
        hit: list[Call] = []

        def fail_once(call: Call) -> None:
            if call.operation == "CreateModelInvocationJob" and not hit:
                hit.append(call)
                raise aws_error(code, status, "come back later")

        world.before = fail_once
        world.run(lambda: not world.events)
        assert world.one_upload(upload_id).status == Status.PENDING
        assert world.one_upload(upload_id).message == f"waiting: {code}: come back later"
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED
        assert world.one_upload(upload_id).message == ""


def test_an_answer_about_the_caller_is_an_error_and_fails_no_upload() -> None:
    with World.open() as world:
        upload_id = world.upload("a.jsonl", lines(records(100)))
        hit: list[Call] = []

        def fail_once(call: Call) -> None:
            if call.operation == "CreateModelInvocationJob" and not hit:
                hit.append(call)
                raise aws_error("ExpiredTokenException", 403)

        world.before = fail_once
        world.run()
        assert [function for function, _ in world.errors] == ["process"]
        assert world.one_upload(upload_id).status == Status.COMPLETED


def test_a_refusal_of_a_job_whose_first_answer_was_lost_finds_the_job() -> None:
    with World.open() as world:
        world.simulator.add_fault(Fault("answer_lost", "CreateModelInvocationJob", times=1))
        world.simulator.add_fault(Fault("validation", "CreateModelInvocationJob", times=1))
        upload_id = world.upload("a.jsonl", lines(records(100)))
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED
        assert len(world.bedrock_jobs()) == 1


@pytest.mark.parametrize("length", [1000, 1024])
def test_a_key_whose_results_would_have_too_long_names_is_rejected(length: int) -> None:
    with World.open() as world:
        key = "ä" * ((length - len("to-process/.jsonl")) // 2)
        good = world.upload(f"{key}.jsonl", lines(records(100)))
        bad = world.upload(f"{key[:-1]}.jsonl", b"{")
        world.run()
        too_long = length == 1024
        assert world.one_upload(good).status == (Status.REJECTED if too_long else Status.COMPLETED)
        assert ("shorten the name by" in world.one_upload(good).message) is too_long
        assert world.one_upload(bad).status == Status.REJECTED


def test_a_bucket_with_suspended_versions_never_runs_bytes_that_were_not_checked() -> None:
    with World.open() as world:
        world.s3.put_bucket_versioning(Bucket=world.bucket, VersioningConfiguration={"Status": "Suspended"})
        first = world.s3.put_object(Bucket=world.bucket, Key="to-process/a.jsonl", Body=lines(records(100)))
        event = world.s3_event("to-process/a.jsonl", "null", first["ETag"].strip('"'))
        world.invoke("create", {"Records": [event]})
        world.events.clear()
        world.s3.put_object(Bucket=world.bucket, Key="to-process/a.jsonl", Body=lines(records(120, "new")))
        world.run()
        assert statuses(world) == {Status.CANCELLED: 1}
        assert not world.bedrock_jobs()


def test_uploads_of_a_route_that_was_removed_say_so_and_run_when_it_is_back() -> None:
    route = configured("chat", HAIKU)
    with World.open(route) as world:
        upload_id = world.upload("chat/a.jsonl", lines(records(100)))
        world.invoke("create", world.events.pop(0)[3])
        world.table.delete_item(Key={"pk": "route", "sk": "chat"})
        world.run(lambda: not world.events)
        assert "the route chat is no longer configured" in world.one_upload(upload_id).message
        world.put_route(route)
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED


def test_a_job_left_unsubmitted_waits_for_a_slot_like_any_other() -> None:
    with World.open(configured("default", HAIKU, max_active_jobs=2)) as world:
        world.simulator.add_fault(Fault("throttling", "CreateModelInvocationJob", times=1))
        upload_id = world.upload("a.jsonl", lines(records(100)))
        world.run(lambda: not world.events)
        world.simulator.add_foreign(HAIKU, count=2, seconds=3000)
        world.invoke("process", {})
        assert world.simulator.active(HAIKU) == 2
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED


def test_one_event_delivered_twice_does_not_share_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    context = worlds.Context
    monkeypatch.setattr(worlds, "Context", lambda _, name, left: context("same", name, left))
    with World.open(configured("default", HAIKU, max_active_jobs=1)) as world:
        for number in range(2):
            world.upload(f"{number}.jsonl", lines(records(100)))
            world.invoke("create", world.events.pop(0)[3])
            world.events.clear()
        entered: list[Call] = []

        def again(call: Call) -> None:
            if call.operation == "ListModelInvocationJobs" and not entered:
                entered.append(call)
                world.invoke("process", {})

        world.before = again
        world.invoke("process", {})
        assert world.simulator.peak(HAIKU) == 1


def test_a_collector_that_could_not_be_asked_is_asked_at_once_again() -> None:
    with World.open() as world:
        upload_id = world.upload("a.jsonl", lines(records(100)))
        hit: list[Call] = []

        def throttle_once(call: Call) -> None:
            if call.operation == "Invoke" and call.function == "process" and not hit:
                hit.append(call)
                raise aws_error("TooManyRequestsException", 429)

        world.before = throttle_once
        world.run()
        upload = world.one_upload(upload_id)
        assert upload.status == Status.COMPLETED
        (job,) = world.jobs()
        assert epoch(job.collected_at) - epoch(job.ended_at) < 120


def test_a_fault_keeps_no_more_of_a_record_id_than_a_person_reads() -> None:
    row = b'{"recordId": "' + b"x" * 1_000_000 + b'", "modelInput": 1}\n'
    found = reading.scan([row * 3], cutting.Limits(chunk_records=10, chunk_bytes=10**9))
    assert [len(fault.record_id or "") for fault in found.faults] == [200] * 3


def test_a_job_that_stays_unknown_is_ended() -> None:
    with World.open() as world:
        world.upload("a.jsonl", lines(records(100)))
        world.run(lambda: bool(world.bedrock_jobs()))
        world.simulator.reset()
        world.run()
        ended: list[Job] = world.jobs()
        assert [job.message for job in ended] == ["Bedrock no longer knows this job."]


def test_an_upload_whose_intake_died_in_the_middle_of_its_chunks_goes_on_though_some_run_already() -> None:
    route = configured(
        "default", HAIKU, min_records_per_job=1, max_records_per_file=10, max_records_per_job=20
    )
    with World.open(route, config={"models": {"*": {"min_records": 1}}}) as world:
        upload_id = world.upload("a.jsonl", lines(records(130)))
        event = world.events.pop(0)[3]
        placed: list[Call] = []  # fifty places at once

        def die(call: Call) -> None:
            if call.function == "create" and call.enqueues:
                placed.append(call)
                if len(placed) == 2:
                    world.kill()

        world.before = die
        world.invoke("create", event)
        world.before = None
        world.invoke("process", {})
        assert world.one_upload(upload_id).status == Status.SUBMITTED
        world.send("create", event)
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED
        assert len(world.result(world.one_upload(upload_id))) == 130


def test_what_is_left_of_a_backlog_is_not_taken_for_too_few() -> None:
    route = configured("default", HAIKU, max_active_jobs=1, min_records_per_job=10, max_records_per_job=100)
    with World.open(route, config={"models": {"*": {"min_records": 10}}}) as world:
        ids = [world.upload(f"{n:02d}.jsonl", lines(records(6, f"u{n}-"))) for n in range(40)]
        for event in list(world.events):
            world.invoke("create", event[3])
        world.events.clear()
        world.clock.advance(3600)
        world.run()
        assert {world.one_upload(one).status for one in ids} == {Status.COMPLETED}


@pytest.mark.parametrize("body", [{"messages": [{"role": "user", "content": [{"image": {"bytes": "abc"}}]}]}])
def test_a_record_that_cannot_be_asked_about_is_an_error_of_its_own(body: dict[str, Any]) -> None:
    route = configured(
        "default", HAIKU, invocation_type="Converse", undersized="on_demand", pack_wait_minutes=0
    )
    good = {"messages": [{"role": "user", "content": [{"text": "Hello"}]}]}
    rows = [{"recordId": "bad", "modelInput": body}, {"recordId": "good", "modelInput": good}]
    with World.open(route) as world:
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run()
        upload = world.one_upload(upload_id)
        assert (upload.status, upload.success_count) == (Status.PARTIALLY_COMPLETED, 1)
        assert not world.errors


def test_an_upload_deleted_after_its_job_was_refused_does_not_hold_up_its_neighbours() -> None:
    with World.open() as world:
        ids = [world.upload(f"{n}.jsonl", lines(records(60, f"u{n}-"))) for n in range(2)]
        world.simulator.add_fault(Fault("validation", "CreateModelInvocationJob"))
        version = world.s3.list_object_versions(Bucket=world.bucket, Prefix="to-process/0.jsonl")["Versions"][
            0
        ]

        def delete(call: Call) -> None:
            if call.function == "collect":
                world.s3.delete_object(
                    Bucket=world.bucket, Key="to-process/0.jsonl", VersionId=version["VersionId"]
                )

        world.before = delete
        world.run()
        assert [world.one_upload(one).status for one in ids] == [Status.CANCELLED, Status.FAILED]


def test_an_upload_whose_neighbour_vanished_waits_for_other_company() -> None:
    with World.open() as world:
        gone, kept = (world.upload(f"{n}.jsonl", lines(records(60, f"u{n}-"))) for n in range(2))
        for _ in range(2):
            world.invoke("create", world.events.pop(0)[3])
            world.events[:] = [event for event in world.events if event[2] == "create"]
        version = world.s3.list_object_versions(Bucket=world.bucket, Prefix="to-process/0.jsonl")["Versions"][
            0
        ]
        world.s3.delete_object(Bucket=world.bucket, Key="to-process/0.jsonl", VersionId=version["VersionId"])
        world.invoke("process", {})
        other = world.upload("other.jsonl", lines(records(60, "other-")))
        world.run()
        assert world.one_upload(gone).status == Status.CANCELLED
        assert {world.one_upload(one).status for one in (kept, other)} == {Status.COMPLETED}


PASSING = "Internal error, please try again."
ANY_SIZE = {"models": {"*": {"min_records": 1}}}


def test_what_failed_time_and_again_waits_longer_but_never_more_than_an_hour() -> None:
    route = configured("default", HAIKU, min_records_per_job=1, max_record_attempts=6)
    faults = [{"outcome": "Failed", "message": PASSING, "times": 5}]
    with World.open(route, config={**ANY_SIZE, "job_faults": faults}) as world:
        upload_id = world.upload("a.jsonl", lines(records(2)))
        world.run(steps=2_000)
        assert world.one_upload(upload_id).status == Status.COMPLETED
        timelines = [job["timeline"] for job in world.bedrock_jobs()]
        waits = [late[0]["at"] - early[-1]["at"] for early, late in pairwise(timelines)]
        schedule = worlds.SCHEDULE_SECONDS + 100
        for waited, least in zip(waits, (60, 240, 960, 3600, 3600), strict=True):
            assert least <= waited < least + schedule


@pytest.mark.parametrize("message", ["x" * 500_000, "half \ud800 a pair"])
def test_no_row_takes_more_of_bedrocks_words_than_it_can_hold(message: str) -> None:
    faults = [{"outcome": "Failed", "message": message}]
    with World.open(
        configured("default", HAIKU, min_records_per_job=1), config={**ANY_SIZE, "job_faults": faults}
    ) as world:
        upload_id = world.upload("a.jsonl", lines(records(2)))
        world.run()
        assert world.one_upload(upload_id).status == Status.FAILED
        words = [row["message"] for row in world.rows() if row.get("message")]
        assert len(words) == 3, "of the upload, the chunk and the job"
        assert all(len(each.encode()) <= 2_000 for each in words)


def test_a_chunk_is_never_larger_than_a_job_may_be() -> None:
    route = configured(
        "default", HAIKU, min_records_per_job=1, max_records_per_job=30, max_bytes_per_job=4_000
    )
    limits = {"min_records": 1, "max_records_per_job": 30, "max_job_bytes": 4_000}
    with World.open(route, config={"models": {"*": limits}}) as world:
        upload_id = world.upload("a.jsonl", lines(records(70)))
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED
        assert max(chunk.end - chunk.start for chunk in world.chunks()) <= 4_000


def test_an_output_that_is_only_untidy_leaves_nothing_to_run_again() -> None:
    with World.open(configured("default", HAIKU, min_records_per_job=1), config=ANY_SIZE) as world:
        upload_id = world.upload("a.jsonl", lines(records(3)))

        def double(call: Call) -> None:
            if call.function == "collect":
                world.before = None
                for each in world.s3.list_objects_v2(Bucket=world.bucket, Prefix="jobs/")["Contents"]:
                    if each["Key"].endswith(".jsonl.out"):
                        body = world.s3.get_object(Bucket=world.bucket, Key=each["Key"])["Body"].read()
                        world.s3.put_object(Bucket=world.bucket, Key=each["Key"], Body=body + body)

        world.before = double
        world.run()
        upload = world.one_upload(upload_id)
        assert (upload.status, len(world.result(upload))) == (Status.COMPLETED, 3)
        assert [chunk.attempt for chunk in world.chunks()] == [1]
        assert len(world.bedrock_jobs()) == 1


def test_staging_that_was_cut_short_goes_on_with_what_is_not_staged_yet() -> None:
    with World.open() as world:
        ids = [world.upload(f"{n}.jsonl", lines(records(20, f"u{n}-"))) for n in range(5)]
        staged: list[str] = []

        def kill(call: Call) -> None:
            if call.operation == "CopyObject" and call.function == "process":
                staged.append(str(call.params["url_path"]))
                if len(staged) == 3:
                    world.kill()

        world.after = kill
        world.run()
        assert {world.one_upload(one).status for one in ids} == {Status.COMPLETED}
        assert len(staged) == len(set(staged)) == 5


@pytest.mark.parametrize("answer", ["an error", "a broken connection", "no answer"])
def test_a_model_is_asked_once_where_its_answer_may_have_been_paid(answer: str) -> None:
    client: Any = boto3.client("bedrock-runtime", region_name=worlds.REGION, config=RUNTIME_CONFIG)
    calls: list[str] = []

    def answered(request: Any, **_: Any) -> AWSResponse:
        calls.append(request.url)
        if answer == "an error":
            raw: Any = io.BytesIO(b'{"message": "no"}')
            raw.stream = lambda *_, **__: iter([b'{"message": "no"}'])
            return AWSResponse(request.url, 503, HTTPHeaders(), raw)
        if answer == "no answer":
            raise ReadTimeoutError(endpoint_url=request.url)
        raise ConnectionClosedError(endpoint_url=request.url)

    client.meta.events.register("before-send.bedrock-runtime.*", answered)
    found = Runtime(client, pause=lambda _: None).answer(HAIKU, "InvokeModel", {})
    assert found["error"]["errorCode"] == 503
    assert len(calls) == 1


def test_a_run_on_demand_has_time_for_the_longest_answer() -> None:
    waits: Any = RUNTIME_CONFIG
    assert waits.read_timeout + waits.connect_timeout < on_demand.BATCH_SECONDS < worlds.TIMEOUTS["collect"]


def test_an_archived_object_ends_its_upload_with_what_to_do() -> None:
    with World.open() as world:
        answer = world.s3.put_object(
            Bucket=world.bucket, Key="to-process/a.jsonl", Body=lines(records(100)), StorageClass="GLACIER"
        )
        event = world.s3_event("to-process/a.jsonl", answer["VersionId"], answer["ETag"].strip('"'))
        world.send("create", {"Records": [event]})
        world.run()
        (upload,) = world.uploads()
        assert upload.status == Status.CANCELLED
        assert (
            upload.message == "The object is archived and cannot be read. Restore it, then upload it again."
        )
        assert not world.errors


@pytest.mark.parametrize("code", ["InvalidObjectState", "ObjectNotInActiveTierError"])
def test_an_object_archived_while_it_waits_ends_its_upload_and_holds_up_no_neighbour(code: str) -> None:
    with World.open(configured("default", HAIKU, min_records_per_job=1), config=ANY_SIZE) as world:
        kept, archived = (world.upload(f"{n}.jsonl", lines(records(60, f"u{n}-"))) for n in range(2))

        def refuse(call: Call) -> None:
            if call.function != "create" and "to-process/1.jsonl" in str(call.params.get("headers")):
                raise aws_error(code, 403)

        world.before = refuse
        world.run()
        assert world.one_upload(kept).status == Status.COMPLETED
        assert world.one_upload(archived).status == Status.CANCELLED
        assert "Restore it, then upload it again." in world.one_upload(archived).message
        assert not world.errors


@pytest.mark.parametrize("heals", [True, False])
def test_an_object_that_s3_denies_says_so_and_runs_when_it_may_be_read(heals: bool) -> None:
    route = configured("default", HAIKU, max_active_jobs=1, min_records_per_job=1)
    with World.open(route, config=ANY_SIZE) as world:
        kept, denied = (world.upload(f"{n}.jsonl", lines(records(60, f"u{n}-"))) for n in range(2))

        def refuse(call: Call) -> None:
            if call.function != "create" and "to-process/1.jsonl" in str(call.params.get("headers")):
                raise aws_error("AccessDenied", 403, "the key policy says no")

        world.before = refuse
        world.run(lambda: bool(world.errors))
        words = "waiting: S3 denied access to to-process/1.jsonl (AccessDenied: the key policy says no)."
        assert {world.one_upload(one).status for one in (kept, denied)} == {Status.PENDING}
        assert words in world.one_upload(denied).message
        world.before = None if heals else refuse
        other = world.upload("other.jsonl", lines(records(60, "other-")))
        world.run()
        assert {world.one_upload(one).status for one in (kept, other)} == {Status.COMPLETED}
        ended = world.one_upload(denied)
        assert ended.status == (Status.COMPLETED if heals else Status.CANCELLED)
        assert ("then upload it again" in ended.message) is not heals
        assert not world.dead_letters or not heals


def test_an_upload_that_is_deleted_while_it_runs_on_demand_keeps_the_answers_that_it_got() -> None:
    # Given records that are asked about one by one, of which some fail for passing reasons
    route = configured("default", HAIKU, undersized="on_demand", pack_wait_minutes=0)
    with World.open(route, config={"record_faults": {"passing_rate": 0.3, "passing_codes": [500]}}) as world:
        rows = records(20)
        upload_id = world.upload("a.jsonl", lines(rows))

        def delete(call: Call) -> None:
            if call.operation == "InvokeModel":
                found = world.s3.list_object_versions(Bucket=world.bucket, Prefix="to-process/")
                for version in found.get("Versions", []):
                    world.s3.delete_object(
                        Bucket=world.bucket, Key=version["Key"], VersionId=version["VersionId"]
                    )

        # When the object is deleted after it was read
        world.after = delete
        world.run()
        # Then what was answered stands, and what failed does with its error
        upload = world.one_upload(upload_id)
        assert upload.status == Status.PARTIALLY_COMPLETED
        assert "deleted" in upload.message
        found = world.result(upload)
        assert {row["recordId"] for row in found} == {str(row["recordId"]) for row in rows}
        assert upload.success_count + upload.error_count == len(found) == len(rows)
        assert not world.dead_letters


def test_a_run_that_dies_after_it_stored_the_arn_does_not_lose_it_for_the_upload() -> None:
    with World.open() as world:
        upload_id = world.upload("a.jsonl", lines(records(100)))

        # Given a run that ends when the job's row has the ARN, and the upload's row has not, and lost events
        def kill(call: Call) -> None:
            stored = call.operation == "UpdateItem" and b'"#arn"' in call.params["body"]
            if call.function == "process" and stored and not world.errors:
                world.kill()

        world.bedrock_events = False
        world.after = kill
        # When the schedule looks again only after the job has ended
        world.run()
        # Then the upload's row and its summary name the job
        (job,) = world.jobs()
        assert world.errors
        assert world.one_upload(upload_id).job_arns == {job.arn}
        summary = world.s3.get_object(Bucket=world.bucket, Key="processed/a.jsonl.summary.json")
        assert json.loads(summary["Body"].read())["jobs"] == [job.arn]
