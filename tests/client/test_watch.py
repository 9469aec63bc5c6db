"""`watch`: what it shows, and its rates."""

from __future__ import annotations

import io
import json
from itertools import pairwise
from typing import Any

import pytest
from bedrock_batch.commands.watch import Rates, frame
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tests.client.conftest import Person
from tests.client.test_looking import running
from tests.support.world import HAIKU, lines, records


def shown(found: dict[str, Any], width: int, height: int | None = None) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(frame(found, width, height))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def look(jobs: int, limit: int = 10, others: int = 1) -> dict[str, Any]:
    ours = [
        {
            "job_name": f"queue-{number:032x}",
            "arn": "",
            "route": "a-route-with-a-long-name",
            "status": "InProgress",
            "records": 50_000,
            "records_processed": 25_000,
            "submitted_at": "2026-01-01T00:00:00.000Z",
            "expected_end": "2026-01-01T05:30:00.000Z",
        }
        for number in range(jobs)
    ]
    slots = {
        "model": "anthropic.claude-haiku-4-5-20251001-v1:0",
        "limit": limit,
        "free": limit - jobs - others,
        "ours": ours,
        "others": [{"job_name": "x", "status": "InProgress"}] * others,
    }
    return {
        "at": "2026-01-01T01:02:03.000Z",
        "queue": "br-batch-inference",
        "slots": [slots],
        "paused": [{"since": "2026-01-01T00:00:00Z", "by": "ana", "why": "a reason that takes some words"}],
        "uncollected_jobs": 2,
        "waiting": {
            "default": {"uploads": 3, "records": 1_200},
            "chat": None,
            "idle": {"uploads": 0, "records": 0},
        },
        "records_per_minute": 1234.5,
    }


def test_slots_queue_and_jobs_are_shown(person: Person) -> None:
    person.world.simulator.add_foreign(HAIKU, count=1, seconds=4000.0)
    running(person)
    person.world.upload("b.jsonl", lines(records(7, "b")))
    person.world.run(lambda: len(person.world.uploads()) == 2 and not person.world.events)
    out = person.types("watch")
    assert "1 + 1 of 2" in out
    assert "default  7 records of 1 upload" in out
    assert "/20" in out
    found = json.loads(person.types("watch", "--once", "--json"))
    assert found["waiting"]["default"] == {"uploads": 1, "records": 7}


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_a_frame_fits_the_terminal(width: int) -> None:
    out = shown(look(jobs=6), width, height=20)
    assert max(len(line.rstrip()) for line in out.splitlines()) <= width
    assert "6 + 1 of 10" in out
    assert "25,000/50,000" in out
    assert len(shown(look(jobs=9), 80, height=20).splitlines()) <= 20


def test_a_bar_has_the_shares_of_the_slots() -> None:
    out = shown(look(jobs=6, limit=10, others=1), 80)
    assert "██████▒···" in out


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 100)), min_size=2, max_size=10))
def test_a_rate_counts_what_was_processed_between_looks(looks: list[dict[str, int]]) -> None:
    rates = Rates()
    assert rates.add(0.0, looks[0]) is None
    done = 0
    for number, (before, after) in enumerate(pairwise(looks), start=1):
        done += sum(max(0, count - before.get(job, 0)) for job, count in after.items())
        assert rates.add(number * 10.0, after) == pytest.approx(done / (number * 10.0) * 60)


def test_a_terminal_that_cannot_redraw_is_looked_at_once(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes the stream for a terminal
    monkeypatch.setenv("TERM", "dumb")
    out = person.types("watch")
    assert "No job runs." in out
