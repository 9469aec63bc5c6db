"""What the functions tell CloudWatch about the uploads: how long they wait, and how they end."""

from __future__ import annotations

import json

import pytest
from batch_queue.aws.patience import Patience
from batch_queue.aws.table import Table
from batch_queue.core import names
from batch_queue.core.rows import Chunk, Status, Upload

from tests.support.routes import configured
from tests.support.world import HAIKU, World

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
    assert Table(world.table, Patience()).uploads.add(upload, [chunk])


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
