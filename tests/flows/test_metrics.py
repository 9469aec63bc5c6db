"""What the functions tell CloudWatch about the uploads: how long they wait, and how they end."""

from __future__ import annotations

import json

import pytest
from batch_queue.core import names
from batch_queue.core.rows import Chunk, Status, Upload

from tests.support.routes import configured
from tests.support.world import HAIKU, Call, World, lines, records, statuses

pytestmark = pytest.mark.flows

CONFIG = {"models": {"*": {"min_records": 1}}}


def told(capsys: pytest.CaptureFixture[str], *metrics: str) -> dict[str, list[float]]:
    """The values of each of these metrics since the last look."""
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    return {name: [one[name] for one in documents if name in one] for name in metrics}


def waits(world: World, number: int, created: float, queued: float) -> None:
    """Stores an upload that has begun to run, with a chunk that waits."""
    stamp, upload_id = names.iso(created), names.upload_id(world.bucket, str(number), "")
    key = f"to-process/{number}.jsonl"
    chunk = Chunk(upload_id, 1, "default", key, 0, 10, 1, stamp, queued_at=names.iso(queued))
    upload = Upload(upload_id, world.bucket, key, "default", Status.IN_PROGRESS, stamp)
    assert world.unhooked().uploads.add(upload, [chunk])


def test_the_age_of_what_waits_is_told_also_behind_chunks_that_run_again(
    capsys: pytest.CaptureFixture[str],
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


def test_each_upload_that_ends_failed_or_rejected_is_counted_once(capsys: pytest.CaptureFixture[str]) -> None:
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
