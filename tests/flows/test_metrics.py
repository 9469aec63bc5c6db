"""What the functions tell CloudWatch: how much waits and how long, who has the slots, and how it ends."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pytest
from batch_queue.aws.table.chunks import Depth
from batch_queue.aws.telemetry import METRICS, NAMESPACE
from batch_queue.core import names
from batch_queue.core.rows import Chunk, Status, Upload

from tests.local_aws.plugins.local_aws_plugins.embedded_metrics import datapoints
from tests.support.routes import configured
from tests.support.world import HAIKU, NAME, Call, World, lines, records, statuses

pytestmark = pytest.mark.flows

CONFIG = {"models": {"*": {"min_records": 1}}}
Printed = pytest.CaptureFixture[str]
# By name and route ("" for the queue as a whole): the values in order.
Told = dict[tuple[str, str], list[float]]


def everything(capsys: Printed) -> Told:
    """All values since the last look."""
    found: Told = defaultdict(list)
    for one in datapoints(capsys.readouterr().out):
        dimensions = dict(one.dimensions)
        assert (one.namespace, one.unit) == (NAMESPACE, METRICS[one.name])
        assert dimensions.pop("Queue") == NAME
        found[one.name, dimensions.pop("Route", "")].append(one.value)
        assert not dimensions
    return dict(found)


def told(capsys: Printed, *metrics: str) -> dict[str, list[float]]:
    """The values of each of these metrics of the queue since the last look."""
    found = everything(capsys)
    return {name: found.get((name, ""), []) for name in metrics}


def waits(world: World, number: int, created: float, queued: float, route: str = "default") -> None:
    """Stores an upload that has begun to run, with a chunk of two records that waits."""
    stamp, upload_id = names.iso(created), names.upload_id(world.bucket, str(number), "")
    key = f"to-process/{number}.jsonl"
    chunk = Chunk(upload_id, 1, route, key, 0, 10, 2, stamp, queued_at=names.iso(queued))
    uploads = world.unhooked().uploads
    assert uploads.add(Upload(upload_id, world.bucket, key, route, Status.PENDING, stamp), [chunk])
    assert uploads.advance(upload_id, Status.IN_PROGRESS, stamp, "")


def test_the_age_of_what_waits_is_told_also_behind_chunks_that_run_again(
    capsys: Printed,
) -> None:
    with World.open(configured("default", HAIKU, max_active_jobs=1), config=CONFIG) as world:
        # Given an upload that waits for the slot, behind chunks of older ones, which have just come back
        world.simulator.add_foreign(HAIKU, count=1, seconds=1_000_000)
        began = world.clock()
        world.clock.advance(3 * 3600)
        for number in range(20):
            waits(world, number, created=began + number, queued=world.clock())
        waits(world, 20, created=began + 60, queued=began + 60)
        # When the processor looks
        world.invoke("process", {})
        # Then it tells how long that upload has waited
        assert told(capsys, "OldestPendingAge") == {"OldestPendingAge": [3 * 3600 - 60]}


def test_each_upload_that_ends_failed_or_rejected_is_counted_once(capsys: Printed) -> None:
    faults = [{"outcome": "Failed", "message": "The model refused the input.", "times": 1}]
    met: list[Call] = []
    few = configured("few", HAIKU, pack_wait_minutes=5, undersized="reject")

    def twice(call: Call) -> None:
        """Has a second collector end the upload right before the first one does."""
        if (
            call.operation == "UpdateItem"
            and b'"ended_at"' in call.params["body"]
            and call.function == "collect"
        ):
            world.before = None
            met.append(call)
            world.invoke("collect", {"job_id": world.jobs()[0].job_id})

    with World.open(few, config={"job_faults": faults}) as world:
        # Given one upload whose job fails, one that is rejected as it is, one that is too small, and two that
        # end otherwise; each event comes twice, and the first upload is ended by two collectors at once
        world.upload("failed.jsonl", lines(records(100, "a")), deliveries=2)
        world.before = twice
        world.run()
        world.upload("bad.jsonl", b"{", deliveries=2)
        world.upload("few/small.jsonl", lines(records(3, "b")), deliveries=2)
        world.upload("good.jsonl", lines(records(100, "c")), deliveries=2)
        _, event = world.put("gone.jsonl", lines(records(100, "d")))
        key, version = "to-process/gone.jsonl", event["Records"][0]["s3"]["object"]["versionId"]
        world.s3.delete_object(Bucket=world.bucket, Key=key, VersionId=version)
        world.send("create", event)
        world.run()
        ended = {Status.FAILED: 1, Status.REJECTED: 2, Status.COMPLETED: 1, Status.CANCELLED: 1}
        assert statuses(world) == ended
        assert met
        # Then each end is counted once
        found = told(capsys, "UploadsFailed", "UploadsRejected")
        assert found == {"UploadsFailed": [1], "UploadsRejected": [1, 1]}


def test_an_idle_queue_sends_two_metrics(capsys: Printed) -> None:
    with World.open(configured("default", HAIKU), configured("bulk", HAIKU)) as world:
        # Given a queue with nothing to do
        # When the processor looks
        world.invoke("process", {})
        # Then it sends these two and no others, each of which would be billed for the hour
        assert everything(capsys) == {("OldestPendingAge", ""): [0.0], ("ActiveJobs", ""): [0]}


def test_what_waits_and_who_has_the_slots_is_told_for_each_route_with_work(capsys: Printed) -> None:
    routes = (configured("default", HAIKU, max_active_jobs=3), configured("bulk", HAIKU, max_active_jobs=3))
    with World.open(*routes, config=CONFIG) as world:
        # Given three slots that others have, and two chunks of one route that wait
        world.simulator.add_foreign(HAIKU, count=3, seconds=1_000_000)
        for number in range(2):
            waits(world, number, created=world.clock(), queued=world.clock(), route="bulk")
        world.clock.advance(60)
        # When the processor looks
        world.invoke("process", {})
        # Then it tells that of the queue and of this route, and nothing of the other one
        found = everything(capsys)
        assert found == {
            ("OldestPendingAge", ""): [60.0],
            ("ActiveJobs", ""): [0],
            ("PendingUploads", ""): [2],
            ("PendingChunks", ""): [2],
            ("PendingRecords", ""): [4],
            ("OldestPendingAge", "bulk"): [60.0],
            ("ActiveJobs", "bulk"): [0],
            ("PendingRecords", "bulk"): [4],
            ("SlotsUsed", "bulk"): [3],
            ("SlotsFree", "bulk"): [0],
        }


def test_what_waits_for_a_route_that_was_removed_is_told_too(capsys: Printed) -> None:
    with World.open(configured("default", HAIKU), configured("gone", HAIKU), config=CONFIG) as world:
        # Given a chunk of a route that the queue has known, and that was removed
        world.invoke("process", {})
        waits(world, 1, created=world.clock(), queued=world.clock(), route="gone")
        world.table.delete_item(Key={"pk": "route", "sk": "gone"})
        everything(capsys)
        # When the processor looks
        world.invoke("process", {})
        # Then it tells what waits, and of no slots: there are none for it
        found = everything(capsys)
        assert found["PendingRecords", "gone"] == found["PendingRecords", ""] == [2]
        assert ("SlotsFree", "gone") not in found


@pytest.mark.parametrize("looks", [True, False])
def test_a_long_queue_is_counted_by_the_schedule_and_not_by_other_runs(capsys: Printed, looks: bool) -> None:
    with World.open(configured("default", HAIKU, max_active_jobs=1), config=CONFIG) as world:
        # Given more chunks than a round reads of a queue whose slot is taken
        world.simulator.add_foreign(HAIKU, count=1, seconds=1_000_000)
        for number in range(500):
            waits(world, number, created=world.clock() + number, queued=world.clock())
        # When a run looks at everything, or is only woken
        world.invoke("process", {} if looks else {"reason": "uploads"})
        world.run(lambda: not world.events)
        # Then the first one tells the exact numbers, and the other one tells none instead of too low ones
        found = everything(capsys)
        assert found.get(("PendingRecords", "default"), []) == ([1_000] if looks else [])
        assert found.get(("PendingUploads", ""), []) == ([500] if looks else [])
        assert found.get(("PendingChunks", ""), []) == ([500] if looks else [])
        assert found["OldestPendingAge", ""]


def test_a_queue_that_cannot_be_counted_in_time_has_no_depth() -> None:
    with World.open(configured("default", HAIKU)) as world:
        # Given more chunks than are counted between two looks at the time
        for number in range(5_000):
            waits(world, number, created=world.clock() + number, queued=world.clock())
        chunks = world.unhooked().chunks
        # When there is no time left, then nothing is known; else everything is
        assert chunks.depth("default", lambda: True) is None
        assert chunks.depth("default", lambda: False) == Depth(5_000, 5_000, 10_000)


def test_the_last_values_of_a_route_are_zero(capsys: Printed) -> None:
    with World.open(configured("default", HAIKU)) as world:
        # Given an upload
        world.upload("a.jsonl", lines(records(100)))
        # When it has come to its end
        world.run()
        assert statuses(world) == {Status.COMPLETED: 1}
        # Then nothing on a dashboard goes on as if it still ran
        found = everything(capsys)
        assert found["ActiveJobs", "default"][-1] == found["PendingRecords", "default"][-1] == 0
        assert found["PendingUploads", ""][-1] == found["PendingRecords", ""][-1] == 0
        assert max(found["ActiveJobs", "default"]) == 1
        world.invoke("process", {})
        assert {route for _, route in everything(capsys)} == {""}


@pytest.mark.parametrize(("timeout", "hours"), [(None, 24), (48, 48)])
def test_the_time_until_the_first_job_expires_is_told(
    capsys: Printed, timeout: int | None, hours: int
) -> None:
    with World.open(configured("default", HAIKU, timeout_hours=timeout), config=CONFIG) as world:
        # Given a job that Bedrock has begun an hour ago and does not end, and one that is ten hours older
        world.simulator.configure({"models": {"*": {"schedule_seconds": 30 * 86_400.0}}})
        world.upload("a.jsonl", lines(records(100, "a")))
        world.run(lambda: len(world.bedrock_jobs()) == 1)
        submitted = names.epoch(world.jobs()[0].submitted_at)
        capsys.readouterr()
        # When the processor looks hours later
        world.clock.advance(submitted + 10 * 3600 - world.clock())
        world.invoke("process", {})
        # Then it tells how much time is left
        (left,) = told(capsys, "ShortestTimeToExpiry")["ShortestTimeToExpiry"]
        assert left == pytest.approx((hours - 10) * 3600, abs=2)


def test_records_tokens_and_cost_are_counted_once_and_as_in_the_summaries(capsys: Printed) -> None:
    met: list[Call] = []
    priced = configured(
        "priced", HAIKU, input_price="1.5", output_price="7.5", max_record_attempts=2, min_records_per_job=1
    )

    def twice(call: Call) -> None:
        """Has a second collector close the attempts right before the first one does."""
        if call.function == "collect" and call.operation == "TransactWriteItems":
            world.before = None
            met.append(call)
            world.invoke("collect", {"job_id": world.jobs()[0].job_id})

    faults = {"record_faults": {"passing_rate": 0.3, "passing_codes": [500]}, **CONFIG}
    with World.open(priced, config=faults) as world:
        # Given records of which some fail at both attempts, in two files; their first job is collected twice
        world.upload("priced/a.jsonl", lines(records(150, "a")), deliveries=2)
        world.upload("priced/b.jsonl", lines(records(50, "b")))
        world.before = twice
        # When they have come to their end
        world.run()
        ends = [summary(world, f"priced/{name}.jsonl") for name in "ab"]
        assert met
        # Then the sums of the metrics are those of the summaries, of the route and of the queue
        found = everything(capsys)
        expected = {
            "RecordsSucceeded": sum(end["successes"] for end in ends),
            "RecordsFailed": sum(end["errors"] for end in ends),
            "InputTokens": sum(end["input_tokens"] for end in ends),
            "OutputTokens": sum(end["output_tokens"] for end in ends),
            "RecordsAccepted": 200,
            "UploadsAccepted": 2,
            "UploadsPartiallyCompleted": 2,
        }
        assert expected["RecordsFailed"] > 0
        for route in ("", "priced"):
            assert {name: sum(found[name, route]) for name in expected} == expected
            assert sum(found["Cost", route]) == pytest.approx(
                sum(float(end["cost"]) for end in ends), abs=1e-5
            )


def test_the_tokens_of_a_route_without_prices_have_no_cost(capsys: Printed) -> None:
    with World.open(configured("default", HAIKU)) as world:
        world.upload("a.jsonl", lines(records(100)))
        world.run()
        found = everything(capsys)
        assert sum(found["InputTokens", ""]) > 0
        assert ("Cost", "") not in found


def summary(world: World, key: str) -> dict[str, Any]:
    body = world.s3.get_object(Bucket=world.bucket, Key=f"processed/{key}.summary.json")["Body"].read()
    return dict(json.loads(body))
