"""`status`, `jobs`, `explain`, `results` and `errors`."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.client.conftest import Person
from tests.support.world import lines, records

BAD = {"recordId": "bad", "modelInput": {"max_tokens": 0}}


def submitted(person: Person, name: str = "a.jsonl", count: int = 5, *more: Any) -> str:
    """Submits a file and waits for its end; gives its path below the input prefix."""
    path = person.file(name, lines([*records(count, name), *more]))
    to = str(Path(name).parent)
    person.types("submit", path, "--wait", "--to", "" if to == "." else to, code=1 if more else 0)
    return name


def running(person: Person, name: str = "a.jsonl", count: int = 20) -> str:
    """Uploads a file and lets its job begin; gives its path below the input prefix."""
    person.world.upload(name, lines(records(count, name)))
    person.world.run(
        lambda: any(
            job["status"] == "InProgress" and any(file["records"] == count for file in job["files"])
            for job in person.world.bedrock_jobs()
        )
    )
    return name


# --------------------------------------------------------------------------------------------------- status


def test_an_upload_is_found_by_its_path_key_uri_result_and_id(person: Person) -> None:
    submitted(person)
    (upload,) = person.world.uploads()
    bucket = person.world.bucket
    for path in (
        "a.jsonl",
        "to-process/a.jsonl",
        f"s3://{bucket}/to-process/a.jsonl",
        f"s3://{bucket}/processed/a.jsonl.out",
        "processed/a.jsonl.summary.json",
        upload.upload_id,
    ):
        assert person.document("status", path)["upload_id"] == upload.upload_id
    out = person.types("status", "a.jsonl")
    for words in ("Completed", "5: 5 answered", upload.upload_id, f"s3://{bucket}/processed/a.jsonl.out"):
        assert words in out


@pytest.mark.parametrize("command", ["status", "explain", "results", "errors", "cancel", "retry"])
@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("missing.jsonl", "to-process/missing.jsonl is not in the bucket"),
        ("s3://other/to-process/a.jsonl", "is in another bucket"),
        ("0123456789abcdef0123456789abcdef", "has no upload with the id"),
    ],
)
def test_an_unknown_upload_is_told_in_one_line(person: Person, command: str, path: str, says: str) -> None:
    person.types(command, path, code=2)
    assert says in person.err
    assert person.err.count("\n") == 1


def test_an_upload_whose_event_is_on_its_way_is_not_known_yet(person: Person) -> None:
    person.world.upload("a.jsonl", lines(records(1)), deliveries=0)
    person.types("status", "a.jsonl", code=2)
    assert "bedrock-batch sweep finds an upload whose event was lost" in person.err


def test_a_folder_shows_its_uploads(person: Person) -> None:
    submitted(person, "x/one.jsonl")
    submitted(person, "x/y/two.jsonl", 3, BAD)
    submitted(person, "z.jsonl")
    out = person.types("status", "x/")
    assert "2 uploads: 1 Completed, 1 PartiallyCompleted." in out
    assert "z.jsonl" not in out
    assert {row["key"] for row in person.document("status", "x/")} == {
        "to-process/x/one.jsonl",
        "to-process/x/y/two.jsonl",
    }
    person.types("status", "nothing/", code=2)
    assert "knows no upload below to-process/nothing/" in person.err


def test_the_queue_shows_what_is_open_and_who_holds_the_slots(person: Person) -> None:
    submitted(person)
    running(person, "b.jsonl")
    out = person.types("status")
    assert "1 Completed" in out
    assert "1 Submitted" in out
    assert "2 in all, 1 taken by this queue, 0 by others, 1 free" in out
    found = person.document("status")
    assert found["uploads"] == {"Submitted": 1, "Completed": 1}
    assert [job["records"] for job in found["jobs"]] == [20]


# ----------------------------------------------------------------------------------------------------- jobs


def test_jobs_are_listed_with_their_progress(person: Person) -> None:
    assert "No job runs" in person.types("jobs")
    running(person)
    person.world.clock.advance(60.0)
    out = person.types("jobs")
    assert "InProgress" in out
    assert " 20 " in out
    person.world.run()
    assert "No job runs" in person.types("jobs")
    (job,) = person.document("jobs", "--since", "1d")
    assert (job["status"], job["success_count"]) == ("Completed", 20)


@pytest.mark.parametrize("since", ["1x", "yesterday", "2100-01-01"])
def test_a_time_that_is_none_is_told(person: Person, since: str) -> None:
    person.types("jobs", "--since", since, code=2)
    assert f'"{since}" is' in person.err
    assert person.err.count("\n") == 1


# -------------------------------------------------------------------------------------------------- explain


def test_what_an_upload_waits_for_is_explained(person: Person) -> None:
    running(person)
    out = person.types("explain", "a.jsonl")
    assert "20 of its records are in 1 job." in out
    assert "expected end" in out
    assert person.document("explain", "a.jsonl")["records_in_jobs"] == 20


# -------------------------------------------------------------------------------------------------- results


def test_a_result_is_printed_as_it_is(person: Person) -> None:
    submitted(person)
    (upload,) = person.world.uploads()
    out = person.types("results", "a.jsonl")
    assert [json.loads(line) for line in out.splitlines()] == person.world.result(upload)


def test_joined_records_are_in_the_order_of_the_input(person: Person) -> None:
    submitted(person, "a.jsonl", 20, BAD)
    found = [json.loads(line) for line in person.types("results", "a.jsonl", "--join").splitlines()]
    rows = [*records(20, "a.jsonl"), BAD]
    assert [(one["recordId"], one["modelInput"]) for one in found] == [
        (one["recordId"], one["modelInput"]) for one in rows
    ]
    assert all("modelOutput" in one for one in found[:-1])
    assert found[-1]["error"]["errorCode"]


def test_a_record_that_was_cancelled_says_so(person: Person) -> None:
    running(person, "a.jsonl")
    person.world.clock.advance(100.0)
    person.types("cancel", "a.jsonl")
    person.world.run()
    found = [json.loads(line) for line in person.types("results", "a.jsonl", "--join").splitlines()]
    assert len(found) == 20
    codes = {one["error"]["errorCode"] for one in found if "error" in one}
    assert codes == {"NoAnswer"}


def test_tables_have_the_texts_of_the_answers(person: Person) -> None:
    submitted(person, "a.jsonl", 3, BAD)
    text = person.types("results", "a.jsonl", "--join", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["record_id"] for row in rows] == [one["recordId"] for one in [*records(3, "a.jsonl"), BAD]]
    assert all(row["text"] and int(row["output_tokens"]) for row in rows[:3])
    assert rows[3]["error_code"]
    assert not rows[3]["text"]
    target = person.folder / "a.parquet"
    out = person.types("results", "a.jsonl", "--join", "--format", "parquet", "-o", str(target))
    assert "4 records" in out
    table = pq.read_table(target).to_pylist()
    assert [row["text"] or "" for row in table] == [row["text"] for row in rows]
    assert [row["output_tokens"] for row in table[:3]] == [int(row["output_tokens"]) for row in rows[:3]]


def test_all_results_below_a_folder_are_written_to_a_folder(person: Person) -> None:
    submitted(person, "x/one.jsonl")
    submitted(person, "x/y/two.jsonl", 3, BAD)
    person.world.upload("x/bad.jsonl", b"no\n")
    person.world.run()
    target = person.folder / "out"
    out = person.types("results", "x/", "-o", str(target))
    assert "to-process/x/bad.jsonl has no result: it is Rejected" in out
    assert sorted(str(one.relative_to(target)) for one in target.rglob("*.out")) == [
        "one.jsonl.out",
        "y/two.jsonl.out",
    ]


def test_a_result_is_written_to_a_folder_that_exists(person: Person) -> None:
    submitted(person, "x/one.jsonl")
    target = person.folder / "out"
    target.mkdir()
    person.types("results", "x/one.jsonl", "-o", str(target), "--format", "csv")
    assert [one.name for one in target.iterdir()] == ["one.jsonl.csv"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("a.jsonl", "--format", "parquet"), "add --output with a file"),
        (("x/",), "add --output with the folder"),
        (("a.jsonl", "--format", "xml"), "xml"),
        (("a.jsonl", "-o", "{folder}/a.jsonl/out"), "cannot be written"),
        (("running.jsonl",), "to-process/running.jsonl has not ended: it is Submitted"),
        (("rejected.jsonl",), "to-process/rejected.jsonl has no result: it ended as Rejected"),
    ],
)
def test_a_result_that_cannot_be_had_is_told_in_one_line(
    person: Person, arguments: tuple[str, ...], says: str
) -> None:
    submitted(person)
    person.world.upload("rejected.jsonl", b"no\n")
    person.world.run()
    running(person, "running.jsonl")
    person.types("results", *(one.format(folder=person.folder) for one in arguments), code=2)
    assert says in person.err
    assert person.err.count("\n") == 1
    assert not list(person.folder.glob("*.part"))


# --------------------------------------------------------------------------------------------------- errors


def test_errors_are_shown_by_code_with_examples(person: Person) -> None:
    submitted(person, "a.jsonl", 3, BAD)
    out = person.types("errors", "a.jsonl")
    assert "bad" in out
    (kind,) = person.document("errors", "a.jsonl")["errors_by_code"]
    assert kind["records"] == 1
    assert kind["examples"][0]["record_id"] == "bad"
    assert kind["examples"][0]["message"]


def test_the_lines_of_a_rejected_file_are_shown(person: Person) -> None:
    person.world.upload("a.jsonl", lines(records(1)) + b"no\n")
    person.world.run()
    out = person.types("errors", "a.jsonl")
    assert "to-process/a.jsonl was rejected. Correct the lines" in out
    assert "line 2  not valid JSON" in out
