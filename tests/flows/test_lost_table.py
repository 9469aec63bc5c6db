"""A table that is new: what has ended or was running in the one before it is not run, and paid for, again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from batch_queue.core import names
from batch_queue.core.rows import Status, Upload

from tests.flows.test_sweep import CONFIG, CUT, ONE_SLOT, SWEEP, numbers, put, put_at, swept, unversioned
from tests.support.errors import denying
from tests.support.routes import configured
from tests.support.soak import sent
from tests.support.world import HAIKU, Call, World, lines, records, statuses

pytestmark = pytest.mark.flows

ON_DEMAND = configured("default", HAIKU, undersized="on_demand", pack_wait_minutes=1)


def summary(world: World, key: str) -> dict[str, Any]:
    """The summary beside the result of an upload."""
    body = world.s3.get_object(Bucket=world.bucket, Key=f"processed/{key}.summary.json")["Body"]
    found: dict[str, Any] = json.loads(body.read())
    return found


def not_run_again(world: World, upload_id: str) -> Upload:
    """The upload, which ended as Failed and says why and what to do."""
    upload = world.one_upload(upload_id)
    assert upload.status == Status.FAILED
    assert "Not run again" in upload.message
    assert upload_id in upload.message
    assert "upload the file again" in upload.message
    return upload


# -------------------------------------------------------------------------------------------------- sweeps


def test_what_has_ended_does_not_run_again() -> None:
    with World.open(ONE_SLOT) as world:
        # Given uploads that ended in every way that leaves them where they are
        for name, body in {"good": lines(records(100)), "few": lines(records(1)), "bad": b"{"}.items():
            world.upload(f"{name}.jsonl", body)
            world.run()
        assert statuses(world) == {Status.COMPLETED: 1, Status.REJECTED: 2}
        jobs = len(world.bedrock_jobs())
        # When the table is another one, and somebody sweeps
        world.new_table()
        # Then nothing is run, however often
        for _ in range(2):
            assert swept(world) == numbers(found=3, done=3)
            world.run()
        assert world.uploads() == []
        assert len(world.bedrock_jobs()) == jobs


def test_what_had_not_begun_to_run_runs_once() -> None:
    with World.open(ONE_SLOT) as world:
        ids = [world.upload(f"{n}.jsonl", lines(records(100, f"r{n}-"))) for n in range(3)]
        world.invoke("create", world.events[0][3])
        world.invoke("process", {})
        running = {ref.upload_id for job in world.jobs() for ref in world.runs(job).chunks}
        assert 0 < len(running) < len(ids)
        world.new_table()
        world.events.clear()
        counts = swept(world)
        assert (counts["in_flight"], counts["enqueued"]) == (len(running), len(ids) - len(running))
        world.run()
        for upload_id in ids:
            if upload_id in running:
                not_run_again(world, upload_id)
            else:
                assert world.one_upload(upload_id).status == Status.COMPLETED
        assert max(sent(world).values()) == 1


def test_what_was_running_fails_with_advice_and_stays_so() -> None:
    with World.open(ONE_SLOT) as world:
        upload_id = world.upload("a/b.jsonl", lines(records(100)))
        world.run(lambda: bool(world.bedrock_jobs()))
        world.new_table()
        world.events.clear()
        assert swept(world) == numbers(found=1, in_flight=1)
        upload = not_run_again(world, upload_id)
        told = summary(world, "a/b.jsonl")
        assert told["upload_id"] == upload_id
        assert (told["status"], told["message"]) == (upload.status, upload.message)
        # And when the files of its job and its row are gone too
        for key in _below(world, "jobs/"):
            world.s3.delete_object(Bucket=world.bucket, Key=key)
        world.new_table()
        assert swept(world) == numbers(found=1, done=1)
        world.run()
        assert len(world.bedrock_jobs()) == 1


def _below(world: World, prefix: str) -> list[str]:
    found = world.s3.list_objects_v2(Bucket=world.bucket, Prefix=prefix)
    return [one["Key"] for one in found.get("Contents", [])]


def test_what_was_answered_on_demand_is_not_asked_again() -> None:
    with World.open(ON_DEMAND) as world:
        upload_id = world.upload("a.jsonl", lines(records(3)))
        asked: list[Call] = []

        def stop(call: Call) -> None:
            asked.extend([call] if call.operation in ("InvokeModel", "Converse") else [])
            if len(asked) == 3:
                world.kill()

        world.before = stop
        world.run(lambda: len(asked) == 3)
        world.before = None
        world.new_table()
        world.events.clear()
        assert swept(world) == numbers(found=1, in_flight=1)
        not_run_again(world, upload_id)


def test_an_upload_between_two_jobs_is_not_run_again() -> None:
    expires = {"job_faults": [{"outcome": "Expired", "fraction": 0.5, "times": 1}]}
    with World.open(ONE_SLOT, config=expires) as world:
        upload_id = world.upload("a.jsonl", lines(records(300)))
        world.run(lambda: any(chunk.attempt == 2 for chunk in world.chunks()))
        world.new_table()
        world.events.clear()
        assert swept(world) == numbers(found=1, in_flight=1)
        not_run_again(world, upload_id)


def test_a_summary_of_another_version_is_not_taken_for_that_of_this_one() -> None:
    with World.open(ONE_SLOT) as world:
        world.upload("a.jsonl", lines(records(100, "old")))
        world.run()
        newer, _ = world.put("a.jsonl", lines(records(100, "new")))
        assert swept(world) == numbers(found=1, enqueued=1)
        world.run()
        assert world.one_upload(newer).status == Status.COMPLETED


def test_a_version_whose_summary_was_overwritten_or_deleted_is_known_by_the_old_summary() -> None:
    with World.open(ONE_SLOT) as world:
        world.upload("a.jsonl", lines(records(100)))
        world.upload("b.jsonl", lines(records(100)))
        world.run()
        # Given that another version of one ended after it, and that somebody deleted the results of the other
        world.s3.put_object(
            Bucket=world.bucket, Key="processed/a.jsonl.summary.json", Body=json.dumps({"upload_id": "other"})
        )
        for key in _below(world, "processed/b"):
            world.s3.delete_object(Bucket=world.bucket, Key=key)
        world.new_table()
        assert swept(world) == numbers(found=2, done=2)


@pytest.mark.parametrize("body", [b"", b"[]", b"no JSON", b"\xff"])
def test_what_is_no_summary_says_nothing(body: bytes) -> None:
    with World.open(ONE_SLOT) as world:
        world.put("a.jsonl", lines(records(100)))
        world.s3.put_object(Bucket=world.bucket, Key="processed/a.jsonl.summary.json", Body=body)
        assert swept(world) == numbers(found=1, enqueued=1)


@pytest.mark.parametrize("newer", [False, True])
def test_an_archived_summary_tells_by_its_time(newer: bool) -> None:
    with World.open(ONE_SLOT) as world:
        world.put("a.jsonl", lines(records(100)))
        years = 5 if newer else -5  # before now
        put_at(world, "a.jsonl", years * 365 * 86_400)
        world.s3.put_object(
            Bucket=world.bucket, Key="processed/a.jsonl.summary.json", Body=b"{}", StorageClass="GLACIER"
        )
        assert swept(world) == (numbers(found=1, done=1) if newer else numbers(found=1, enqueued=1))


def test_an_archived_summary_that_is_deleted_meanwhile_says_nothing_of_its_upload() -> None:
    with World.open(ONE_SLOT) as world:
        world.new_table()
        upload_id, event = world.put("a.jsonl", lines(records(100)))
        key = "processed/a.jsonl.summary.json"
        answer = world.s3.put_object(Bucket=world.bucket, Key=key, Body=b"{}", StorageClass="GLACIER")

        def delete(call: Call) -> None:
            if call.operation == "HeadObject" and key in call.params["url_path"]:
                world.before = None
                world.s3.delete_object(Bucket=world.bucket, Key=key, VersionId=answer["VersionId"])

        world.before = delete
        assert world.invoke("create", event) is None
        assert world.one_upload(upload_id).status == Status.PENDING


deny_summaries = denying("GetObject", "summary.json")


def test_where_a_summary_may_not_be_read_its_upload_waits_and_the_others_go_on() -> None:
    with World.open(ONE_SLOT) as world:
        for name in "abc":
            world.upload(f"{name}.jsonl", lines(records(100)))
        world.run()
        world.new_table()
        world.before = deny_summaries
        _, event = world.put("d.jsonl", lines(records(100)))
        assert "Unclear" in str(world.invoke("create", event))
        assert swept(world) == numbers(found=4, unclear=3, enqueued=1)
        world.before = None
        assert swept(world) == numbers(found=4, done=3, enqueued=1)


UNCLEAR = (
    "waiting: S3 denied access to the summary or the rejection report of this upload, so the queue cannot "
    "tell whether it has run. Allow the role of create_batch_queue to read the objects below processed/, and "
    "to use their KMS key. The next sweep tries again. To try at once, start a sweep."
)


def leftovers(world: World) -> dict[str, dict[str, Any]]:
    """Uploads that ended, ran and waited when the table was replaced, each with its event."""
    late = {}
    for name in ("ended", "running", "waiting"):
        _, late[name] = world.put(f"{name}.jsonl", lines(records(100, name)))
    world.send("create", late["ended"])
    world.run()
    world.send("create", late["running"])
    world.run(lambda: len(world.bedrock_jobs()) == 2)
    world.events.clear()
    return late


def found_by_event(world: World, late: dict[str, dict[str, Any]]) -> None:
    """Their events are delivered again."""
    for event in late.values():
        world.send("create", event)


def found_by_a_sweep(world: World, late: dict[str, dict[str, Any]]) -> None:
    """A sweep hands them over, although it cannot tell either."""
    assert swept(world) == numbers(found=len(late), unclear=len(late))


@pytest.mark.parametrize("find", [found_by_event, found_by_a_sweep])
def test_what_cannot_be_told_has_a_row_that_says_so_until_a_sweep_can_tell(find: Any) -> None:
    with World.open(ONE_SLOT) as world:
        late = leftovers(world)
        world.new_table()
        world.before = deny_summaries
        find(world, late)
        world.run(lambda: len(world.dead_letters) == len(late))
        assert [(one.status, one.message) for one in world.uploads()] == [(Status.PENDING, UNCLEAR)] * 3
        # And as long as it is so, a sweep changes nothing, however late
        world.clock.advance(3 * 86_400)
        assert swept(world) == numbers(found=3, enqueued=3)
        world.run(lambda: len(world.dead_letters) == 2 * len(late))
        assert {one.message for one in world.uploads()} == {UNCLEAR}
        # When S3 lets the queue read the summaries
        world.before = None
        swept(world)
        world.run()
        # Then each is what it would have been, and nothing is paid twice
        assert {one.key.split("/")[-1]: one.status for one in world.uploads()} == {
            "running.jsonl": Status.FAILED,
            "waiting.jsonl": Status.COMPLETED,
        }
        assert max(sent(world).values()) == 1
        assert [row for row in world.rows() if row["pk"] == "denied"] == []
        assert swept(world) == numbers(found=3, known=2, done=1)


def test_an_object_that_nothing_identifies_any_more_has_no_row_if_it_cannot_be_told() -> None:
    with World.open(ONE_SLOT) as world:
        world.new_table()
        unversioned(world)
        event = put(world, "a.jsonl", lines(records(100)))
        event["Records"][0]["s3"]["object"]["sequencer"] = "1"
        world.s3.put_object(Bucket=world.bucket, Key="processed/a.jsonl.summary.json", Body=b"{}")
        world.s3.delete_object(Bucket=world.bucket, Key="to-process/a.jsonl", VersionId="null")
        world.before = deny_summaries
        assert "Unclear" in str(world.invoke("create", event))
        assert world.uploads() == []


def test_unversioned_uploads_that_have_ended_do_not_run_again() -> None:
    with World.open(ONE_SLOT) as world:
        unversioned(world)
        world.send("create", put(world, "a.jsonl", lines(records(100))))
        world.run()
        world.new_table()
        assert swept(world) == numbers(found=1, done=1)


def test_an_upload_that_is_half_enqueued_is_mended_although_a_job_has_begun() -> None:
    with World.open(CUT, config=CONFIG) as world:
        # Given an upload some chunks of which run, while the rest is not in the queue yet
        rows = records(60)
        upload_id, event = world.put("a.jsonl", lines(rows))
        placed: list[Call] = []

        def die(call: Call) -> None:
            placed.extend([call] if call.enqueues else [])
            if len(placed) == 2:
                world.kill()

        world.before = die
        world.invoke("create", event)
        world.before = None
        world.invoke("process", {})
        assert _below(world, "jobs/")
        # When somebody sweeps, then the row counts, not the files
        assert swept(world) == numbers(found=1, enqueued=1)
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED


def test_a_sweep_that_dies_while_it_fails_an_upload_leaves_its_summary() -> None:
    with World.open(ONE_SLOT) as world:
        upload_id = world.upload("a.jsonl", lines(records(100)))
        world.run(lambda: bool(world.bedrock_jobs()))
        world.new_table()
        world.events.clear()

        def die(call: Call) -> None:
            if call.operation == "TransactWriteItems":
                world.kill()

        world.before = die
        assert world.invoke("create", SWEEP) is not None
        world.before = None
        assert world.uploads() == []
        assert summary(world, "a.jsonl")["upload_id"] == upload_id
        assert swept(world) == numbers(found=1, done=1)


# ---------------------------------------------------------------------------------------------- late events


def test_an_event_from_before_the_table_is_only_for_what_was_not_run() -> None:
    with World.open(ONE_SLOT) as world:
        # Given an upload that ended, one that ran and one that waited when the table was replaced
        late = {}
        for name in ("ended", "running", "waiting"):
            late[name] = world.put(f"{name}.jsonl", lines(records(100, name)))
        world.send("create", late["ended"][1])
        world.run()
        world.send("create", late["running"][1])
        world.run(lambda: len(world.bedrock_jobs()) == 2)
        world.new_table()
        world.events.clear()
        # When their events are delivered again
        for _, event in late.values():
            assert world.invoke("create", event) is None
        world.run()
        # Then only the last one runs
        not_run_again(world, late["running"][0])
        assert world.one_upload(late["waiting"][0]).status == Status.COMPLETED
        assert {upload.upload_id for upload in world.uploads()} == {
            late["running"][0],
            late["waiting"][0],
        }
        assert max(sent(world).values()) == 1


def test_an_event_from_after_the_table_came_into_use_costs_no_look_at_the_bucket() -> None:
    with World.open(ONE_SLOT) as world:
        world.upload("a.jsonl", lines(records(100)))
        calls: list[str] = []
        world.before = lambda call: calls.append(call.operation) if call.function == "create" else None
        world.run()
        assert {name for name in calls if name.startswith(("List", "Get", "Head"))} == {
            "GetItem",
            "GetObject",
            "HeadObject",
        }
        assert calls.count("GetObject") == 1


def test_a_new_table_over_an_empty_bucket_costs_one_look_at_it() -> None:
    with World.open(ONE_SLOT) as world:
        world.new_table()
        calls: list[str] = []
        world.before = lambda call: calls.append(call.operation) if call.function == "create" else None
        for n in range(3):
            world.invoke("create", world.put(f"{n}.jsonl", lines(records(100)))[1])
        assert sorted(name for name in calls if name.startswith("List")) == [
            "ListObjectVersions",
            "ListObjectsV2",
        ]
        assert calls.count("GetObject") == 3


def test_a_row_of_an_earlier_version_says_nothing_of_the_bucket() -> None:
    with World.open(ONE_SLOT) as world:
        late = leftovers(world)
        world.new_table(since=world.clock())
        for event in late.values():
            assert world.invoke("create", event) is None
        world.run()
        assert max(sent(world).values()) == 1


@pytest.mark.parametrize("left", ["jobs/", "processed/"])
@pytest.mark.parametrize("deleted", [False, True], ids=["there", "deleted"])
def test_whatever_is_left_of_an_upload_has_the_bucket_looked_at(left: str, deleted: bool) -> None:
    with World.open(ONE_SLOT) as world:
        # Given an upload that ended or runs, and nothing of any other
        _, event = world.put("a.jsonl", lines(records(100)))
        world.send("create", event)
        world.run(lambda: bool(world.bedrock_jobs()) and (left == "jobs/" or world.at_rest()))
        world.events.clear()
        for key in _below(world, "processed/") if deleted else ():
            world.s3.delete_object(Bucket=world.bucket, Key=key)
        # When the table is replaced and the event comes again
        world.new_table()
        assert world.invoke("create", event) is None
        world.run()
        # Then it does not run again
        assert len(world.bedrock_jobs()) == 1


def test_since_when_a_table_is_in_use_is_stored_once() -> None:
    with World.open(ONE_SLOT) as world:
        world.new_table()
        first = world.clock()
        for n in range(2):
            world.invoke("create", world.put(f"{n}.jsonl", lines(records(100)))[1])
            world.clock.advance(3600)
        (row,) = [row for row in world.rows() if row["pk"] == "table"]
        assert row == {"pk": "table", "sk": "began", "at": names.iso(first), "empty": True}
