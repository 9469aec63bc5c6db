"""`submit`: a file from the disk to its result beside it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from batch_queue.core.rows import Status

from tests.client.conftest import Person
from tests.support import world as worlds
from tests.support.world import lines, records

BODY = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 20,
    "messages": [{"role": "user", "content": "Hello."}],
}


def test_a_file_is_submitted_and_its_result_lies_beside_it(person: Person) -> None:
    path = person.file("reviews.jsonl", lines(records(20)))
    out = person.types("submit", path, "--wait")
    answers = [json.loads(line) for line in Path(f"{path}.out").read_text().splitlines()]
    assert {one["recordId"] for one in answers} == {one["recordId"] for one in records(20)}
    assert all("modelOutput" in one for one in answers)
    assert "to-process/reviews.jsonl: Completed, 20 records: 20 answered" in out
    assert "20 records in 1 job" in out
    assert "InProgress" in person.err or "Submitted" in person.err


def test_without_waiting_it_says_how_to_follow_the_upload(person: Person) -> None:
    path = person.file("a b.jsonl", lines(records(3)))
    out = person.types("submit", path, "--to", "x")
    assert "Uploaded to-process/x/a b.jsonl" in out
    assert "bedrock-batch status 'x/a b.jsonl'" in out
    person.world.run()
    assert [upload.status for upload in person.world.uploads()] == [Status.COMPLETED]


def test_several_uploads_are_followed_by_the_folder_that_they_share(person: Person) -> None:
    for name in ("all/a.jsonl", "all/deep/b.jsonl"):
        person.file(name, lines(records(3)))
    out = person.types("submit", str(person.folder / "all"), "--to", "x y")
    assert "bedrock-batch status 'x y/'" in out


def test_what_is_there_is_not_sent_again(person: Person) -> None:
    path = person.file("a.jsonl", lines(records(3)))
    person.types("submit", path, "--wait")
    # When the same file is submitted again
    out = person.types("submit", path, "--wait")
    # Then its upload is followed, and nothing runs again
    assert "In the bucket already, with the same contents: 1 file." in person.err
    assert "Completed" in out
    assert len(person.world.uploads()) == 1
    # But a file that was changed is another version
    person.file("a.jsonl", lines(records(4)))
    person.types("submit", path, "--wait")
    assert len(person.world.uploads()) == 2


def test_a_file_with_faults_is_not_uploaded_and_its_lines_are_named(person: Person) -> None:
    body = lines(records(2)) + b'{"recordId": "x"}\nnot JSON\n' + lines(records(1))
    path = person.file("bad.jsonl", body)
    person.types("submit", path, "--wait", code=2)
    assert f"{path}:3: modelInput must be an object, but it is missing" in person.err
    assert f"{path}:4: not valid JSON" in person.err
    assert f"{path}:5: recordId already appears on an earlier line" in person.err
    assert person.err.startswith("bedrock-batch: 1 file has errors, and nothing was uploaded.")
    assert "Traceback" not in person.err
    assert not person.world.current("to-process/")
    # And as JSON, all of them
    found = person.document("submit", path, code=2)
    assert [fault["line"] for fault in found["faults"]] == [3, 4, 5]


def test_the_reader_is_that_of_the_function(person: Person) -> None:
    # Given files that the function rejects
    bodies = [b"", b"\n\n", b"[1]\n", b'{"recordId": "a", "modelInput": {}, "modelInput": {}}\n', b"\xff\n"]
    for number, body in enumerate(bodies):
        path = person.file(f"{number}.jsonl", body)
        # When one is submitted, and uploaded by other means
        found = person.document("submit", path, code=2)
        upload_id = person.world.upload(f"{number}.jsonl", body)
        person.world.run()
        # Then both name the same faults
        upload = person.world.one_upload(upload_id)
        assert upload.status == Status.REJECTED
        report = person.document("errors", upload_id)
        mine = [(fault["line"], fault["reason"]) for fault in found["faults"]]
        assert mine == [(fault["line"], fault["reason"]) for fault in report["faults"]]


def test_a_folder_is_submitted_with_its_folders(person: Person) -> None:
    person.file("all/one.jsonl", lines(records(3, "one")))
    person.file("all/priced/two.jsonl", lines(records(2, "two")))
    person.file("all/notes.txt", b"no")
    person.file("all/.hidden/three.jsonl", b"no")
    out = person.document("submit", str(person.folder / "all"), "--wait", "-o", str(person.folder / "out"))
    assert "1 file is left out: its name does not end with .jsonl" in person.err
    assert {one["key"]: one["route"] for one in out["uploads"]} == {
        "to-process/one.jsonl": "default",
        "to-process/priced/two.jsonl": "priced",
    }
    assert (person.folder / "out" / "priced" / "two.jsonl.out").read_text().count("\n") == 2
    assert {each["route"]: each["records"] for each in out["expected"]} == {"default": 3, "priced": 2}


def test_a_dry_run_uploads_nothing_and_says_what_it_takes(person: Person) -> None:
    path = person.file("a.jsonl", lines(records(1000)))
    out = person.types("submit", path, "--route", "priced", "--dry-run")
    assert "to-process/priced/a.jsonl: 1,000 records" in out
    assert "without the answers" in out
    assert "Nothing was uploaded" in out
    assert not person.world.current("to-process/")


def test_earlier_uploads_tell_what_the_next_one_costs(person: Person) -> None:
    first = person.file("a.jsonl", lines(records(20)))
    person.types("submit", first, "--route", "priced", "--wait")
    (upload,) = person.world.uploads()
    second = person.file("b.jsonl", lines(records(40, "b")))
    (expected,) = person.document("submit", second, "--route", "priced", "--dry-run")["expected"]
    assert expected["input_tokens"] == 2 * upload.input_tokens
    assert expected["output_tokens"] == 2 * upload.output_tokens
    cost = (0.4 * expected["input_tokens"] + 2 * expected["output_tokens"]) / 1e6
    assert float(expected["cost"]) == pytest.approx(cost)


def test_records_from_a_pipe_are_submitted(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    body = lines(records(3))
    for _ in range(2):  # the same records are the same upload
        stdin = SimpleNamespace(buffer=io.BytesIO(body), isatty=lambda: False)
        monkeypatch.setattr(sys, "stdin", stdin)
        person.types("submit", "-", "--wait", "-o", str(person.folder / "answers.jsonl"))
    assert (person.folder / "answers.jsonl").read_bytes().count(b"\n") == 3
    (upload,) = person.world.uploads()
    assert upload.key.startswith("to-process/stdin-")


def test_records_that_fail_make_the_exit_code_1(person: Person) -> None:
    rows = [*records(3), {"recordId": "bad", "modelInput": {"max_tokens": 0}}]
    path = person.file("a.jsonl", lines(rows))
    out = person.types("submit", path, "--wait", code=1)
    assert "PartiallyCompleted, 4 records: 3 answered, 1 failed" in out
    assert Path(f"{path}.out").read_bytes().count(b"\n") == 4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere.jsonl",), "nowhere.jsonl does not exist"),
        (
            ("{file}", "--route", "chta"),
            'there is no route "chta". The routes of',
        ),
        (("{file}", "-o", "x"), "--output needs --wait"),
        (("{file}", "--name", "x"), "--name is for standard input"),
        (("{text}",), "must be named *.jsonl"),
        (("{empty}",), "there is no file *.jsonl below"),
        (("{file}", "--to", "priced", "--route", "default"), "would run on the route priced"),
        (("{file}", "--what"), "No such option"),
        ((), "Missing argument"),
    ],
)
def test_a_mistake_gets_one_line_that_says_what_to_do(
    person: Person, arguments: tuple[str, ...], says: str
) -> None:
    places = {
        "file": person.file("a.jsonl", lines(records(1))),
        "text": person.file("a.txt", b""),
        "empty": str(person.folder / "empty"),
    }
    (person.folder / "empty").mkdir()
    person.types("submit", *(argument.format(**places) for argument in arguments), code=2)
    assert says in person.err
    assert person.err.count("\n") == 1
    assert not person.world.current("to-process/")


def test_an_interrupt_leaves_the_work_running_and_says_how_to_come_back(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = person.file("a.jsonl", lines(records(20)))
    looks = iter(range(3))

    def interrupted(_: float) -> None:
        person.world.step()
        if next(looks, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr("bedrock_batch.client.time.sleep", interrupted)
    person.types("submit", path, "--wait", code=130)
    assert "What was uploaded goes on. Come back with bedrock-batch status a.jsonl" in person.err
    person.world.run()
    assert [upload.status for upload in person.world.uploads()] == [Status.COMPLETED]


def test_of_many_uploads_only_their_number_is_told(person: Person) -> None:
    for number in range(25):
        person.file(f"all/{number}.jsonl", lines(records(1, str(number))))
    person.types("submit", str(person.folder / "all"), "--wait", "-o", str(person.folder / "out"))
    assert "25 Submitted" in person.err
    assert person.err.count("\n") < 25


def test_a_wait_that_takes_too_long_ends_with_exit_code_1_and_the_work_goes_on(person: Person) -> None:
    path = person.file("a.jsonl", lines(records(100)))
    person.types("submit", path, "--wait", "--timeout", "1", code=1)
    assert "1 of 1 uploads have not ended within 60 s. They go on" in person.err
    person.types("submit", path, "--timeout", "1", code=2)
    assert "--timeout needs --wait" in person.err


def test_a_folder_for_the_result_is_made(person: Person) -> None:
    path = person.file("a.jsonl", lines(records(2)))
    person.types("submit", path, "--wait", "--output", f"{person.folder}/new/")
    assert (person.folder / "new" / "a.jsonl.out").exists()


def test_many_small_files_are_uploaded_at_once_and_a_large_one_by_itself(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bedrock_batch.client.LIGHT_BYTES", 1_000)
    monkeypatch.setattr("batch_queue.aws.pool.LIGHT_BYTES", 1_000)
    for number in range(10):
        person.file(f"all/{number}.jsonl", lines(records(100 if number == 5 else 1, str(number))))
    s3, workers, configs = person.queue.connection.s3, [], []
    upload_file = s3.upload_file

    def upload(*given: Any, **more: Any) -> None:
        configs.append((Path(given[0]).name, more["Config"].use_threads))
        upload_file(*given, **more)

    def counted(count: int) -> Any:
        workers.append(count)
        return worlds._Serial(count)

    monkeypatch.setattr(s3, "upload_file", upload)
    monkeypatch.setattr("batch_queue.aws.pool.ThreadPoolExecutor", counted)
    sent = person.queue.submit(person.folder / "all").wait()
    assert [one.key for one in sent] == [f"to-process/{number}.jsonl" for number in range(10)]
    assert 9 in workers
    assert [name for name, alone in configs if alone] == ["5.jsonl"]
    assert {row.status for row in sent.states().values()} == {Status.COMPLETED}


def test_uploads_without_a_folder_in_common_are_named_by_all(person: Person) -> None:
    for name in ("all/x/a.jsonl", "all/y/b.jsonl"):
        person.file(name, lines(records(1, name)))
    out = person.types("submit", str(person.folder / "all"))
    assert out.endswith("Follow it: bedrock-batch status /\n")


def test_an_interrupt_before_the_upload_is_told(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    path = person.file("a.jsonl", lines(records(2)))
    monkeypatch.setattr("bedrock_batch.local.check", interrupted)
    person.types("submit", path, code=130)
    assert person.err == "bedrock-batch: interrupted\n"
    assert not person.world.current("to-process/")


def test_a_large_file_is_sent_in_parts_and_found_again(person: Person) -> None:
    # Given a file that boto3 sends in parts
    rows = [{"recordId": f"r{n}", "modelInput": {**BODY, "system": "x" * 1_000_000}} for n in range(20)]
    path = person.file("large.jsonl", lines(rows))
    # When it is submitted, and once more
    person.types("submit", path, "--wait")
    head = person.world.s3.head_object(Bucket=person.world.bucket, Key="to-process/large.jsonl")
    person.types("submit", path, "--wait")
    # Then it was sent in parts, once, and each record has an answer
    assert head["ETag"].strip('"').endswith("-3")
    assert "In the bucket already" in person.err
    (upload,) = person.world.uploads()
    assert (upload.status, upload.success_count) == (Status.COMPLETED, 20)
