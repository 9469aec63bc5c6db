"""The functions together, in one process: what becomes of an upload."""

import json

import pytest
from batch_queue.core import names
from batch_queue.core.rows import Status
from bedrock_batch_simulator import Fault, expected_output

from tests.support import world as worlds
from tests.support.routes import configured
from tests.support.world import HAIKU, Call, World, lines, records, statuses

pytestmark = pytest.mark.flows

NOVA = "amazon.nova-lite-v1:0"


def converse(count: int) -> list[dict[str, object]]:
    return [
        {
            "recordId": f"c{n}",
            "modelInput": {"messages": [{"role": "user", "content": [{"text": f"Hello {n}"}]}]},
        }
        for n in range(count)
    ]


def test_an_upload_ends_completed_with_every_record_answered_once() -> None:
    with World.open() as world:
        rows = records(120)
        upload_id = world.upload("a/b c=1&ä.jsonl", lines(rows))
        world.run()
        upload = world.one_upload(upload_id)
        assert upload.status == Status.COMPLETED, upload
        assert upload.result_key == "processed/a/b c=1&ä.jsonl.out"
        assert (upload.records, upload.success_count, upload.error_count) == (120, 120, 0)
        assert upload.input_tokens > 0
        found = world.result(upload)
        assert len(found) == 120
        answers = {row["recordId"]: row["modelOutput"] for row in found}
        for row in rows:
            expected = expected_output(HAIKU, "InvokeModel", row["modelInput"])
            assert {"modelOutput": answers[row["recordId"]]} == expected
        assert not world.errors


def test_an_upload_and_its_job_go_through_their_statuses_in_order() -> None:
    with World.open() as world:
        world.upload("a.jsonl", lines(records(100)))
        seen: dict[str, list[Status]] = {"upload": [], "job": []}

        def done() -> bool:
            for what, rows in (("upload", world.uploads()), ("job", world.jobs())):
                seen[what] += [row.status for row in rows if row.status not in seen[what]]
            return Status.COMPLETED in seen["upload"]

        world.run(done)
        assert seen["upload"] == [Status.PENDING, Status.SUBMITTED, Status.COMPLETED]
        assert seen["job"] == [Status.SUBMITTED, Status.IN_PROGRESS, Status.COMPLETED]


def test_a_converse_route_and_a_default_route_run_side_by_side() -> None:
    chat = configured(
        "chat", "us." + NOVA, invocation_type="Converse", timeout_hours=48, tags={"Team": "search"}
    )
    with World.open(chat) as world:
        chat_id = world.upload("chat/a.jsonl", lines(converse(100)))
        world.upload("plain/a.jsonl", lines(records(100)))
        world.run()
        assert statuses(world) == {Status.COMPLETED: 2}
        assert world.one_upload(chat_id).route == "chat"
        (job,) = [job for job in world.jobs() if job.route == "chat"]
        assert world.runs(job).request["modelInvocationType"] == "Converse"
        assert world.runs(job).request["timeoutDurationInHours"] == 48
        assert world.runs(job).request["tags"] == [{"key": "Team", "value": "search"}]


def test_the_same_event_five_times_makes_one_job() -> None:
    with World.open() as world:
        world.upload("a.jsonl", lines(records(100)), deliveries=5)
        world.run()
        assert statuses(world) == {Status.COMPLETED: 1}
        assert len(world.bedrock_jobs()) == 1


def test_a_new_version_of_a_key_is_a_new_upload_with_its_own_result() -> None:
    with World.open() as world:
        old, new = records(100, "old"), records(110, "new")
        old_id = world.upload("a.jsonl", lines(old))
        new_id = world.upload("a.jsonl", lines(new))
        world.run()
        assert statuses(world) == {Status.COMPLETED: 2}
        for upload_id, rows in ((old_id, old), (new_id, new)):
            found = world.result(world.one_upload(upload_id))
            assert sorted(row["recordId"] for row in found) == sorted(row["recordId"] for row in rows)


def test_two_processors_at_once_make_one_job_and_the_second_wakes_the_first() -> None:
    with World.open() as world:
        world.upload("a.jsonl", lines(records(100)))
        world.upload("b.jsonl", lines(records(100)))
        world.invoke("create", world.events.pop(0)[3])
        late = world.events.pop(0)[3]
        entered: list[Call] = []

        def at_create(call: Call) -> None:
            if call.operation == "CreateModelInvocationJob" and not entered:
                entered.append(call)
                world.invoke("create", late)
                world.invoke("process", {})

        world.before = at_create
        world.invoke("process", {})
        world.before = None
        assert len(world.bedrock_jobs()) == 2, (
            "the first run went round again for what the second was woken for"
        )
        world.run()
        assert statuses(world) == {Status.COMPLETED: 2}
        assert len(world.bedrock_jobs()) == 2


def test_never_more_active_jobs_than_slots_though_foreign_jobs_hold_some() -> None:
    route = configured("default", HAIKU, max_active_jobs=3)
    with World.open(route, config={"models": {"*": {"max_active_jobs": 3}}}) as world:
        world.simulator.add_foreign("us." + HAIKU, count=2, seconds=300)
        for number in range(6):
            world.upload(f"{number}.jsonl", lines(records(100)))
        world.run()
        assert statuses(world) == {Status.COMPLETED: 6}
        assert world.simulator.peak(HAIKU) == 3
        assert world.simulator.calls["CreateModelInvocationJob"]["errors"] == {}


def test_without_any_event_the_schedule_finishes_the_work() -> None:
    with World.open(configured("default", HAIKU, max_active_jobs=1)) as world:
        world.bedrock_events = False
        for number in range(3):
            world.upload(f"{number}.jsonl", lines(records(100)))
        world.run()
        assert statuses(world) == {Status.COMPLETED: 3}


@pytest.mark.parametrize(
    ("body", "line", "reason"),
    [
        pytest.param(lines(records(3)) + b"{oops\n", 4, "not valid JSON", id="broken line"),
        pytest.param(b"", 0, "no records", id="empty"),
        pytest.param(b"\xff\xfe" + lines(records(2)), 1, "not valid UTF-8", id="not UTF-8"),
    ],
)
def test_a_bad_file_is_rejected_with_a_report_beside_it(body: bytes, line: int, reason: str) -> None:
    with World.open() as world:
        upload_id = world.upload("a/b.jsonl", body)
        world.run()
        upload = world.one_upload(upload_id)
        assert upload.status == Status.REJECTED
        assert reason in upload.message
        assert "processed/a/b.jsonl.rejected.json" in upload.message
        key = "processed/a/b.jsonl.rejected.json"
        report = json.loads(world.s3.get_object(Bucket=world.bucket, Key=key)["Body"].read())
        assert report["faults"][0]["line"] == line
        assert reason in report["faults"][0]["reason"]
        assert not world.bedrock_jobs()


def test_what_needs_tidying_runs_tidied() -> None:
    with World.open() as world:
        body = b"\xef\xbb\xbf" + lines(records(100)).replace(b"\n", b"\r\n\r\n  \n")
        upload_id = world.upload("a.jsonl", body)
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED
        assert world.one_upload(upload_id).success_count == 100


def test_objects_that_are_no_uploads_are_ignored() -> None:
    with World.open() as world:
        good = world.s3_event("to-process/x.txt", "v", "e")
        marker = world.s3_event("to-process/folder/", "v", "e")
        elsewhere = world.s3_event("other/x.jsonl", "v", "e")
        deleted = {**world.s3_event("to-process/x.jsonl", "v", "e"), "eventName": "ObjectRemoved:Delete"}
        assert world.invoke("create", {"Records": [good, marker, elsewhere, deleted]}) is None
        assert world.invoke("create", {"Event": "s3:TestEvent", "Service": "Amazon S3"}) is None
        assert world.uploads() == []


def test_an_existing_bucket_without_versions_works_too() -> None:
    with World.open() as world:
        world.s3.put_bucket_versioning(Bucket=world.bucket, VersioningConfiguration={"Status": "Suspended"})
        answer = world.s3.put_object(Bucket=world.bucket, Key="to-process/a.jsonl", Body=lines(records(100)))
        event = world.s3_event("to-process/a.jsonl", "", answer["ETag"].strip('"'))
        del event["s3"]["object"]["versionId"]
        world.send("create", {"Records": [event]})
        world.run()
        assert statuses(world) == {Status.COMPLETED: 1}
        (upload,) = world.uploads()
        found = world.s3.get_object(Bucket=world.bucket, Key=upload.result_key)["Body"].read()
        assert found.count(b"\n") == 100


def test_every_record_of_an_event_is_taken_in_though_one_of_them_fails() -> None:
    with World.open() as world:
        first = world.upload("a.jsonl", lines(records(100)))
        second = world.upload("b.jsonl", lines(records(100)))
        events = [world.events.pop(0)[3]["Records"][0] for _ in range(2)]
        failed: list[Call] = []

        def fail_once(call: Call) -> None:
            if call.operation == "HeadObject" and not failed:
                failed.append(call)
                raise ConnectionError("S3 is out of reach")

        world.before = fail_once
        assert str(world.invoke("create", {"Records": events})) == "ConnectionError"
        assert [upload.upload_id for upload in world.uploads()] == [second]
        assert world.invoke("create", {"Records": events}) is None
        assert {upload.upload_id for upload in world.uploads()} == {first, second}


def test_an_object_deleted_before_it_was_read_is_cancelled() -> None:
    with World.open() as world:
        upload_id = world.upload("a.jsonl", lines(records(100)))
        version = world.s3.list_object_versions(Bucket=world.bucket)["Versions"][0]["VersionId"]
        world.s3.delete_object(Bucket=world.bucket, Key="to-process/a.jsonl", VersionId=version)
        world.run()
        assert world.one_upload(upload_id).status == Status.CANCELLED
        assert "Upload it again" in world.one_upload(upload_id).message


def test_an_object_deleted_while_it_waits_is_cancelled_and_holds_no_slot() -> None:
    with World.open() as world:
        upload_id = world.upload("a.jsonl", lines(records(100)))
        world.invoke("create", world.events.pop(0)[3])
        version = world.s3.list_object_versions(Bucket=world.bucket)["Versions"][0]["VersionId"]
        world.s3.delete_object(Bucket=world.bucket, Key="to-process/a.jsonl", VersionId=version)
        world.run()
        assert world.one_upload(upload_id).status == Status.CANCELLED
        assert not world.bedrock_jobs()


def test_a_delete_marker_does_not_stop_the_version_that_was_uploaded() -> None:
    with World.open() as world:
        upload_id = world.upload("a.jsonl", lines(records(100)))
        world.s3.delete_object(Bucket=world.bucket, Key="to-process/a.jsonl")
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED


@pytest.mark.parametrize("kind", ["throttling", "quota", "server_error"])
def test_what_bedrock_does_not_take_now_stays_pending_and_runs_later(kind: str) -> None:
    with World.open() as world:
        world.simulator.add_fault(Fault.from_dict({"kind": kind, "operation": "CreateModelInvocationJob"}))
        upload_id = world.upload("a.jsonl", lines(records(100)))
        world.run(lambda: not world.events)
        assert world.one_upload(upload_id).status == Status.PENDING
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED
        assert len(world.bedrock_jobs()) == 1


def test_a_validation_answer_that_speaks_of_the_quota_is_not_a_refusal() -> None:
    route = configured("default", HAIKU, max_active_jobs=5)
    settings = {"models": {"*": {"max_active_jobs": 1}}, "quota_error": "ValidationException"}
    with World.open(route, config=settings) as world:
        for number in range(3):
            world.upload(f"{number}.jsonl", lines(records(100)))
        world.run()
        assert statuses(world) == {Status.COMPLETED: 3}


@pytest.mark.parametrize("kind", ["answer_lost", "connection_lost"])
def test_a_lost_answer_finds_the_same_job_again(kind: str) -> None:
    with World.open() as world:
        world.simulator.add_fault(Fault.from_dict({"kind": kind, "operation": "CreateModelInvocationJob"}))
        upload_id = world.upload("a.jsonl", lines(records(100)))
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED
        assert len(world.bedrock_jobs()) == 1


def test_a_refusal_fails_the_upload_with_bedrocks_own_words() -> None:
    with World.open() as world:
        refusal = Fault("validation", "CreateModelInvocationJob", message="The model is not for batch.")
        world.simulator.add_fault(refusal)
        upload_id = world.upload("a.jsonl", lines(records(100)))
        world.run()
        upload = world.one_upload(upload_id)
        assert upload.status == Status.FAILED
        assert "The model is not for batch." in upload.message
        assert not world.errors


def test_access_that_is_denied_at_first_is_tried_again_before_the_upload_fails() -> None:
    with World.open() as world:
        world.simulator.add_fault(Fault("access_denied", "CreateModelInvocationJob", times=1))
        upload_id = world.upload("a.jsonl", lines(records(100)))
        world.invoke("create", world.events.pop(0)[3])
        world.run(lambda: not world.events)
        assert world.one_upload(upload_id).status == Status.PENDING
        world.invoke("process", {})
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED


def test_access_that_stays_denied_fails_the_upload() -> None:
    with World.open() as world:
        world.simulator.add_fault(Fault("access_denied", "CreateModelInvocationJob"))
        upload_id = world.upload("a.jsonl", lines(records(100)))
        world.run()
        assert world.one_upload(upload_id).status == Status.FAILED
        assert "AccessDeniedException" in world.one_upload(upload_id).message


@pytest.mark.parametrize("outcome", ["Expired", "Stopped", "PartiallyCompleted"])
def test_records_that_a_job_did_not_get_to_run_again_and_stand_once_in_the_result(outcome: str) -> None:
    faults = [{"outcome": outcome, "fraction": 0.4, "times": 1}]
    with World.open(config={"job_faults": faults}) as world:
        rows = records(300)
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run()
        upload = world.one_upload(upload_id)
        assert (upload.status, upload.success_count) == (Status.COMPLETED, 300), upload.message
        assert sorted(row["recordId"] for row in world.result(upload)) == sorted(r["recordId"] for r in rows)
        assert len(upload.job_arns) == 2


def test_what_never_runs_stands_in_the_result_with_its_last_error() -> None:
    route = configured("default", HAIKU, min_records_per_job=1, max_record_attempts=2)
    config = {"models": {"*": {"min_records": 1}}, "job_faults": [{"outcome": "Expired", "fraction": 0.5}]}
    with World.open(route, config=config) as world:
        upload_id = world.upload("a.jsonl", lines(records(100)))
        world.run()
        upload = world.one_upload(upload_id)
        assert (upload.status, upload.success_count, upload.error_count) == (
            Status.PARTIALLY_COMPLETED,
            75,
            25,
        )
        found = world.result(upload)
        assert len({row["recordId"] for row in found}) == len(found) == 100
        assert {row["error"]["errorCode"] for row in found if "error" in row} == {"JobExpired"}


def test_a_job_that_bedrock_fails_for_good_fails_its_upload_with_bedrocks_words() -> None:
    faults = [{"outcome": "Failed", "message": "The model refused the batch."}]
    with World.open(config={"job_faults": faults}) as world:
        upload_id = world.upload("a.jsonl", lines(records(100)))
        world.run()
        upload = world.one_upload(upload_id)
        assert upload.status == Status.FAILED
        assert "The model refused the batch." in upload.message
        assert {row["error"]["errorMessage"] for row in world.result(upload)} == {
            "The model refused the batch."
        }
        assert len(world.bedrock_jobs()) == 1


def test_a_job_that_bedrock_fails_for_a_passing_reason_runs_again_after_a_while() -> None:
    faults = [{"outcome": "Failed", "message": "Internal error, please try again.", "times": 1}]
    with World.open(config={"job_faults": faults}) as world:
        upload_id = world.upload("a.jsonl", lines(records(100)))
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED
        first, second = (job["timeline"] for job in world.bedrock_jobs())
        assert second[0]["at"] - first[-1]["at"] >= 60


def test_records_that_fail_make_the_upload_partially_completed_and_stand_in_the_result() -> None:
    with World.open(config={"record_faults": {"permanent_rate": 0.2}}) as world:
        upload_id = world.upload("a.jsonl", lines(records(200)))
        world.run()
        upload = world.one_upload(upload_id)
        assert upload.status == Status.PARTIALLY_COMPLETED
        assert upload.success_count + upload.error_count == 200
        assert sum("error" in row for row in world.result(upload)) == upload.error_count > 0


def test_a_job_in_which_every_record_failed_is_a_failed_upload() -> None:
    with World.open(config={"record_faults": {"permanent_rate": 1.0}}) as world:
        upload_id = world.upload("a.jsonl", lines(records(100)))
        world.run()
        assert world.one_upload(upload_id).status == Status.FAILED
        assert world.one_upload(upload_id).error_count == 100


def test_too_few_records_wait_for_company_and_say_so() -> None:
    with World.open() as world:
        few = world.upload("few.jsonl", lines(records(37, "few")))
        world.run(lambda: not world.events)
        assert world.one_upload(few).message == "waiting: 37 of 100 records, until 00:15 UTC"
        more = world.upload("more.jsonl", lines(records(80, "more")))
        world.run()
        assert {world.one_upload(one).status for one in (few, more)} == {Status.COMPLETED}
        assert len(world.bedrock_jobs()) == 1
        assert world.one_upload(few).message == ""


def test_too_few_records_that_found_no_company_are_rejected_with_a_report() -> None:
    with World.open() as world:
        upload_id = world.upload("a.jsonl", lines(records(3)))
        world.run()
        upload = world.one_upload(upload_id)
        assert upload.status == Status.REJECTED
        assert "3 records are fewer than the 100" in upload.message
        report = world.s3.get_object(Bucket=world.bucket, Key="processed/a.jsonl.rejected.json")[
            "Body"
        ].read()
        assert "Upload them together with more." in json.loads(report)["what_to_do"]
        assert not world.bedrock_jobs()


def test_collecting_twice_changes_nothing() -> None:
    with World.open() as world:
        upload_id = world.upload("a.jsonl", lines(records(100)))
        world.run()
        before = (world.one_upload(upload_id), world.jobs())
        (job,) = world.jobs()
        assert world.invoke("collect", {"job_id": job.job_id}) is None
        assert (world.one_upload(upload_id), world.jobs()) == before
        versions = world.s3.list_object_versions(Bucket=world.bucket, Prefix="processed/")["Versions"]
        assert len(versions) == 2, "the result and its summary"


def test_a_collector_that_died_is_asked_again() -> None:
    with World.open() as world:
        upload_id = world.upload("a.jsonl", lines(records(100)))

        def lose(call: Call) -> None:
            if call.function == "collect":
                world.kill()

        world.before = lose
        world.run(lambda: bool(world.dead_letters))
        world.before = None
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED


def test_one_job_that_cannot_be_looked_up_does_not_stop_the_others_and_is_an_error() -> None:
    with World.open() as world:
        first = world.upload("a.jsonl", lines(records(100)))
        second = world.upload("b.jsonl", lines(records(100)))
        world.run(lambda: len(world.bedrock_jobs()) == 2)
        bad = min(world.jobs(), key=lambda job: job.job_id).arn

        def fail(call: Call) -> None:
            target = str(call.params.get("url_path", ""))
            if call.operation == "GetModelInvocationJob" and bad.rsplit("/", 1)[-1] in target:
                raise ConnectionError("lost")

        world.before = fail
        world.run(lambda: Status.COMPLETED in {upload.status for upload in world.uploads()})
        assert world.errors
        world.before = None
        world.run()
        assert {world.one_upload(first).status, world.one_upload(second).status} == {Status.COMPLETED}


def test_a_job_that_bedrock_forgot_is_failed_and_says_so() -> None:
    with World.open() as world:
        upload_id = world.upload("a.jsonl", lines(records(100)))
        world.run(lambda: bool(world.bedrock_jobs()))
        world.simulator.reset()
        world.run()
        assert world.one_upload(upload_id).status == Status.FAILED
        assert "no longer knows this job" in world.one_upload(upload_id).message


def test_events_of_jobs_that_are_not_ours_wake_nobody() -> None:
    with World.open() as world:
        touched: list[Call] = []
        world.before = touched.append
        event = {"detail": {"batchJobName": f"queue-of-others-{'0' * 32}", "status": "Completed"}}
        assert world.invoke("process", event) is None
        assert touched == []


def test_a_run_out_of_time_goes_on_in_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(worlds.TIMEOUTS, "process", 50.0)
    with World.open() as world:
        world.upload("a.jsonl", lines(records(100)))
        world.invoke("create", world.events.pop(0)[3])
        world.invoke("process", world.events.pop(0)[3])
        assert [(event[2], event[3]["reason"]) for event in world.events] == [
            ("process", "time ran out with work left")
        ]
        assert world.at_rest() is False
        assert not [item for item in world.rows() if item["sk"] == "lease" and "owner" in item]


def test_a_kept_lease_runs_out_with_its_function() -> None:
    with World.open() as world:
        world.upload("a.jsonl", lines(records(100)))
        world.invoke("create", world.events.pop(0)[3])
        world.before = lambda call: world.kill() if call.operation == "CreateModelInvocationJob" else None
        world.invoke("process", {})
        world.before = None
        world.events.clear()
        world.invoke("process", {})
        assert not world.bedrock_jobs(), "the lease of the dead run still holds"
        world.clock.advance(301)
        world.invoke("process", {})
        assert len(world.bedrock_jobs()) == 1


def test_the_ids_in_bedrock_are_ours() -> None:
    with World.open() as world:
        world.upload("a.jsonl", lines(records(100)))
        world.run()
        (job,) = world.jobs()
        assert names.job_id_of("queue", world.bedrock_jobs()[0]["jobName"]) == job.job_id
        assert world.runs(job).request["clientRequestToken"] == job.job_id
