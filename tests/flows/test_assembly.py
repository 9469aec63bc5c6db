"""A large job, or a result with many parts, takes as many runs of the collector as it needs."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from urllib.parse import unquote

import pytest
from batch_queue.core.rows import Status
from batch_queue.steps.assembly import STEP_SECONDS

from tests.support.invariants import check
from tests.support.routes import configured
from tests.support.world import GROUP, HAIKU, TIMEOUTS, Call, World, lines, records

pytestmark = pytest.mark.flows

RECORDS = 5  # of a chunk
ROUTE = configured(
    "default",
    HAIKU,
    max_active_jobs=1,
    min_records_per_job=1,
    max_records_per_file=10 * RECORDS,
    max_records_per_job=1_000,
)
CONFIG = {"models": {"*": {"min_records": 1, "max_active_jobs": 1}}}


class Slow:
    """Each call of a collector takes its time. Counts the objects that it wrote, and times its runs."""

    def __init__(self, world: World, seconds: float) -> None:
        self.wrote: Counter[str] = Counter()
        self.times: dict[str, list[float]] = {}
        self._world = world
        self._seconds = seconds
        world.after = self._after

    def _after(self, call: Call) -> None:
        if call.function != "collect":
            return
        world = self._world
        self.times.setdefault(call.invocation.request_id, [world.clock()]).append(world.clock())
        world.clock.advance(self._seconds)
        if call.operation in ("PutObject", "CopyObject"):
            self.wrote[unquote(call.params["url_path"]).removeprefix("/")] += 1


def test_what_a_collector_cannot_do_in_time_is_done_by_the_next_one() -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        # Given a job of many chunks, whose calls take so long that no run can settle them all
        rows = records(23 * RECORDS)
        upload_id = world.upload("a.jsonl", lines(rows))
        slow = Slow(world, seconds=15.0)
        world.run()
        # Then several runs do, none of which takes too long
        assert world.one_upload(upload_id).status == Status.COMPLETED
        check(world, {upload_id: rows}, slots=1)
        assert len(world.bedrock_jobs()) == 1
        runs = list(slow.times.values())
        assert len(runs) == 3
        assert max(times[-1] - times[0] for times in runs) < TIMEOUTS["collect"]
        # And each begins when the one before it ends, not when the schedule finds what is left
        assert all(after[0] - before[-1] < 60 for before, after in pairwise(runs))
        # And each part and each group of parts is written once
        groups = [key for key in slow.wrote if "/joined/" in key]
        parts = [key for key in slow.wrote if "/settled/" in key and key not in groups]
        assert (len(parts), len(groups)) == (23, -(-23 // GROUP))
        assert set(slow.wrote.values()) == {1}
        assert not world.errors


@pytest.mark.parametrize("looks", [1, 2], ids=["before any is joined", "after some are joined"])
def test_missing_parts_are_replaced_in_as_many_runs_as_it_takes(looks: int) -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        rows = records(23 * RECORDS)
        upload_id = world.upload("a.jsonl", lines(rows))

        # Given an upload whose parts are all deleted before the result is written
        def delete(call: Call) -> None:
            listing = call.params["query_string"] if call.operation == "ListObjectsV2" else {}
            looked.append(listing.get("prefix", ""))
            if looked.count(f"jobs/{upload_id}/") == looks:
                for key, _ in world.current(f"jobs/{upload_id}/settled/"):
                    if "/joined/" not in key:
                        world.s3.delete_object(Bucket=world.bucket, Key=key)
                slow.wrote.clear()
                world.before = None

        looked: list[str] = []
        slow = Slow(world, seconds=10.0)
        world.before = delete
        world.run()
        # Then several runs replace them
        upload = world.one_upload(upload_id)
        assert upload.status == Status.FAILED
        check(world, {upload_id: rows}, slots=1)
        assert max(times[-1] - times[0] for times in slow.times.values()) < TIMEOUTS["collect"]
        lost = [key for key in slow.wrote if "-lost-" in key]
        assert len(lost) == 23
        assert {slow.wrote[key] for key in lost} == {1}
        assert not world.errors


def test_missing_parts_of_rows_of_an_earlier_version_are_replaced_in_as_many_runs_as_it_takes() -> None:
    again = {"job_faults": [{"outcome": "Expired", "fraction": 0.5, "times": 1}]}
    with World.open(ROUTE, config={**CONFIG, **again}) as world:
        # Given an upload whose parts are all deleted, and rows that do not say which records are theirs
        rows = records(23 * RECORDS)
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run(until=lambda: len(world.jobs()) == 2)
        for chunk in world.chunks():
            world.table.update_item(
                Key={"pk": chunk.upload_id, "sk": f"chunk#{chunk.number:06d}"},
                UpdateExpression="REMOVE origin_start, origin_end, origin_records",
            )

        # And a table that takes its time
        times: dict[str, list[float]] = {}
        wrote: Counter[str] = Counter()

        def delete(call: Call) -> None:
            listing = call.params["query_string"] if call.operation == "ListObjectsV2" else {}
            if listing.get("prefix") == f"jobs/{upload_id}/":
                world.before = None
                world.after = slow
                for key, _ in world.current(f"jobs/{upload_id}/settled/"):
                    world.s3.delete_object(Bucket=world.bucket, Key=key)

        def slow(call: Call) -> None:
            if call.function == "collect":
                times.setdefault(call.invocation.request_id, [world.clock()]).append(world.clock())
                world.clock.advance(40.0 if call.operation == "TransactWriteItems" else 0.0)
                wrote[unquote(call.params["url_path"])] += call.operation == "PutObject"

        world.before = delete
        world.run()
        # Then several runs replace them, and one object has the lines of all
        assert world.one_upload(upload_id).error_count == len(rows)
        check(world, {upload_id: rows}, slots=1)
        assert len(times) > 1
        assert max(each[-1] - each[0] for each in times.values()) < TIMEOUTS["collect"] - STEP_SECONDS / 2
        assert sum(count for key, count in wrote.items() if "-lost-" in key) == 1
        assert not world.errors
