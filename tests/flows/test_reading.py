"""A file that is read in several runs, whose state in the work area gets lost or cannot be read."""

from __future__ import annotations

import pytest
from batch_queue.core.rows import Status

from tests.support.errors import aws_error
from tests.support.invariants import check
from tests.support.routes import configured
from tests.support.world import HAIKU, Call, World, lines, records

pytestmark = pytest.mark.flows

ROUTE = configured("default", HAIKU, min_records_per_job=1, max_records_per_file=100, max_active_jobs=4)
CONFIG = {"models": {"*": {"min_records": 1}}}


class Slow:
    """Reading takes all of a run's time, so that each run reads one chunk. Counts the readings."""

    def __init__(self, world: World) -> None:
        self.readings = 0
        self.lose: tuple[str, int] = ("", 0)
        self.deny = False
        self._world = world
        world.before = self._before

    def _before(self, call: Call) -> None:
        if call.function != "create" or call.operation != "GetObject":
            return
        if "/reading/" in call.params["url_path"]:
            if self.deny:
                raise aws_error("AccessDenied", 403, "no")
            self._lose()
        elif "to-process" in call.params["url_path"]:
            self.readings += 1
            self._world.clock.advance(850.0)

    def _lose(self) -> None:
        suffix, times = self.lose
        found = [key for key, _ in self._world.current("jobs/reading/") if key.endswith(suffix)]
        if times and self.readings > 2:
            self.lose = (suffix, times - 1)
            for key in found:
                self._world.s3.delete_object(Bucket=self._world.bucket, Key=key)


@pytest.mark.parametrize("suffix", ["", ".ids"], ids=["all", "the recordIds"])
def test_a_file_whose_reading_state_is_deleted_is_read_from_the_beginning(suffix: str) -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        rows = records(50)
        upload_id = world.upload("a.jsonl", lines(rows))
        # Given a reading of several runs, before one of which its state is deleted
        slow = Slow(world)
        slow.lose = (suffix, 1)
        world.run(until=lambda: bool(world.uploads()))
        # Then it begins anew, and the upload ends as any other
        assert slow.readings == 3 + 5
        world.before = None
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED
        check(world, {upload_id: rows}, slots=4)
        assert not world.errors


def test_a_reading_state_that_is_always_deleted_does_not_go_on_for_ever() -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        rows = records(50)
        upload_id = world.upload("a.jsonl", lines(rows))
        # Given somebody who deletes the state of each reading
        slow = Slow(world)
        slow.lose = ("", 1_000)
        world.run(until=lambda: bool(world.dead_letters), steps=100)
        # Then nothing is said of the upload that is not so, and the event becomes a dead letter
        assert slow.readings < 10
        assert not world.uploads()
        # And when that is over, the sweep has it read
        slow.lose = ("", 0)
        world.send("create", {"sweep": True})
        world.run(until=lambda: bool(world.uploads()))
        world.before = None
        world.run()
        check(world, {upload_id: rows}, slots=4)


def test_a_reading_state_that_s3_denies_is_not_taken_for_the_upload() -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        rows = records(50)
        upload_id = world.upload("a.jsonl", lines(rows))
        slow = Slow(world)
        # Given a policy that denies the function its own state
        slow.deny = True
        world.run(until=lambda: bool(world.errors))
        assert not world.uploads()
        # When it is corrected, then Lambda's retry goes on
        slow.deny = False
        world.run(until=lambda: bool(world.uploads()))
        assert slow.readings == 5
        world.before = None
        world.run()
        check(world, {upload_id: rows}, slots=4)
