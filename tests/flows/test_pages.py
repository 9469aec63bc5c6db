"""Answers that come in pages: what stands on the second one counts too."""

import pytest
from batch_queue.core.rows import Status

from tests.support.routes import configured
from tests.support.world import HAIKU, World, lines, records

pytestmark = pytest.mark.flows

PAGE = 1_000  # the most that ListModelInvocationJobs gives at once


def test_foreign_jobs_beyond_the_first_page_take_slots_too() -> None:
    # Given more foreign jobs than one page of the list holds, and by them no slot left
    limits = {"min_records": 1, "max_active_jobs": 2 * PAGE}
    route = configured("default", HAIKU, max_active_jobs=PAGE + 1, min_records_per_job=1)
    with World.open(route, config={"models": {"*": limits}}) as world:
        world.simulator.add_foreign(HAIKU, count=PAGE + 1, seconds=10_000)
        # When an upload comes
        upload = world.upload("a.jsonl", lines(records(3)))
        world.run(until=lambda: not world.events and bool(world.uploads()))
        # Then it waits
        assert world.one_upload(upload).status == Status.PENDING
        assert world.bedrock_jobs() == []


def test_rows_beyond_the_first_megabyte_are_read_too() -> None:
    # Given routes whose rows are more than the 1 MB that one Query gives
    with World.open() as world:
        for number in range(60):
            world.put_route(configured(f"route{number:02d}", HAIKU, tags={"Ballast": "x" * 40_000}))
        # When they are read, then none is missing
        assert len(world.unhooked().models.routes()) == 61
