"""`report`: what a queue did becomes a page, or figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from batch_queue.core import names
from bedrock_batch import commands
from bedrock_batch import report as reporting
from bedrock_batch.report import data as reading

from tests.client.conftest import Clock, Person
from tests.support.world import World, lines, records


@pytest.fixture(autouse=True)
def clock(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands.report, "time", Clock(world))


def ran(person: Person, name: str = "a.jsonl", count: int = 20, route: str = "") -> None:
    path = person.file(name, lines(records(count)))
    person.types("submit", path, "--wait", *(("--route", route) if route else ()))


def test_what_ran_is_on_the_page(person: Person) -> None:
    ran(person, route="priced")
    page = person.folder / "week.html"
    person.types("report", "--since", "24h", "-o", str(page))
    assert f"Wrote {page} (" in person.err
    text = page.read_text(encoding="utf-8")
    assert "1 job, at most 1 at the same time, in 2 slots" in text
    assert "of 20; 0 failed, 0 not run" in text


def test_the_figures_are_those_of_the_rows(person: Person) -> None:
    ran(person, route="priced")
    ran(person, "b.jsonl", 5)
    found = person.document("report")
    (upload,) = [one for one in person.world.uploads() if one.route == "priced"]
    assert found["uploads"] == {"Completed": 2}
    assert found["jobs"] == {"Completed": 2}
    assert found["total"]["answered"] == sum(map(sum, found["answered"]["by_route"].values())) == 25
    assert found["routes"]["priced"]["input_tokens"] == upload.input_tokens > 0
    assert float(found["routes"]["priced"]["cost"]) > 0
    assert found["routes"]["priced"]["waiting"]["count"] == 1
    assert found["left_out"] == []


def test_error_codes_come_from_the_summaries(person: Person) -> None:
    bad = [{"recordId": f"bad-{number}", "modelInput": {"max_tokens": 0}} for number in range(3)]
    path = person.file("a.jsonl", lines([*records(3), *bad]))
    person.types("submit", path, "--wait", code=1)
    (upload,) = person.world.uploads()
    # When the period has the upload
    (cause,) = person.document("report")["causes"]
    # Then its errors are told
    assert (cause["text"], cause["count"], cause["example"]) == ("400", 3, upload.key)
    # But not those of another version of its key
    key = names.summary_key(upload.key, "to-process/", "processed/")
    body = json.dumps({"upload_id": "another", "errors_by_code": {"500": 1}}).encode()
    person.world.s3.put_object(Bucket=person.world.bucket, Key=key, Body=body)
    found = person.document("report")
    assert found["causes"] == []
    assert found["left_out"] == [
        "the error codes of 1 upload are not known: its summary was deleted or replaced, or cannot be read"
    ]


def test_a_page_goes_to_standard_output(person: Person) -> None:
    out = person.types("report", "-o", "-")
    assert out.startswith("<!DOCTYPE html>")
    assert "No upload ended in this period" in out
    assert not Path("-").exists()


def test_what_ended_before_the_period_is_left_out(person: Person) -> None:
    ran(person)
    person.world.clock.advance(7_200)
    assert person.document("report", "--since", "1h")["uploads"] == {}
    assert person.document("report", "--since", "1d")["uploads"] == {"Completed": 1}


def test_only_so_many_rows_are_read(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.jsonl", "b.jsonl", "c.jsonl"):
        ran(person, name, len(name) + ord(name[0]))
    monkeypatch.setattr(reading, "MOST_ROWS", 2)
    found = person.document("report")
    assert found["uploads"] == {"Completed": 2}
    assert "only the newest 2 uploads that have ended were read" in found["left_out"]


@pytest.mark.parametrize("text", ["7", "7 days", "yesterday", "-3h", ""])
def test_a_wrong_period_is_one_line_that_says_what_to_write(person: Person, text: str) -> None:
    assert person.types("report", "--since", text, code=2) == ""
    assert person.err == (
        f'bedrock-batch: "{text}" is not a time: write a number with m, h, d or w, such as 24h, or a date '
        "such as 2026-01-31\n"
    )


def test_a_file_that_cannot_be_written_is_named(person: Person) -> None:
    path = person.folder / "no" / "report.html"
    person.types("report", "-o", str(path), code=2)
    assert person.err == f"bedrock-batch: {path} cannot be written: No such file or directory\n"


def test_a_period_of_no_time_has_no_figures(person: Person) -> None:
    connection = person.queue.connection
    now = person.world.clock()
    assert reporting.page(reporting.figures(reporting.collect(connection, now, now)))
