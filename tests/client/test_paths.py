"""Paths and names: of files here, of objects, and of what the client writes."""

from __future__ import annotations

import errno
import getpass
import os
import stat
import threading
from typing import Any

import pytest
from bedrock_batch import InputError

from tests.client.conftest import Person
from tests.client.test_looking import submitted
from tests.support.world import lines, records

pytestmark = pytest.mark.client


def test_results_stay_in_their_folder_whatever_the_keys_are(person: Person) -> None:
    # Given uploads of somebody whose keys lead elsewhere
    for key in ("../../up.jsonl", f"/{person.folder}/absolute.jsonl", "a//b/./c.jsonl", "good/d.jsonl"):
        person.world.upload(key, lines(records(2)))
    person.world.run()
    # When all results are downloaded
    out = person.folder / "x" / "y" / "out"
    person.types("results", "/", "-o", str(out))
    # Then none is written outside of the folder
    written = [path.relative_to(person.folder).as_posix() for path in person.folder.rglob("*.out")]
    assert len(written) == 4
    assert all(path.startswith("x/y/out/") for path in written)
    assert (out / "_" / "_" / "up.jsonl.out").exists()
    assert (out / "good" / "d.jsonl.out").exists()


def test_a_target_below_a_file_is_a_mistake(person: Person) -> None:
    submitted(person)
    person.types("results", "a.jsonl", "-o", person.file("plain", b"") + "/out", code=2)
    assert "cannot be written" in person.err


def test_a_pipe_or_a_device_does_not_become_a_file(person: Person) -> None:
    submitted(person)
    pipe = person.folder / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    person.types("results", "a.jsonl", "-o", str(pipe))
    reader.join(10)
    assert read[0].count(b"\n") == 5
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("to", ["to-process/x", "processed", "/x/"])
def test_the_path_that_submit_names_is_that_of_the_upload(person: Person, to: str) -> None:
    path = person.file("a.jsonl", lines(records(2)))
    out = person.types("submit", path, "--to", to)
    person.world.run()
    named = out.splitlines()[-1].rpartition(" ")[2]
    (upload,) = person.world.uploads()
    assert person.document("status", named)["upload_id"] == upload.upload_id
    assert "to-process/to-process" not in upload.key


@pytest.mark.parametrize("to", ["..", "../x", "a//b", "a/./b"])
def test_a_folder_with_dots_or_empty_parts_is_a_mistake(person: Person, to: str) -> None:
    person.types("submit", person.file("a.jsonl", lines(records(2))), "--to", to, code=2)
    assert "without empty parts and dots" in person.err


def test_a_name_that_is_no_utf_8_is_a_mistake(person: Person) -> None:
    name = os.fsdecode(b"\xff.jsonl")
    (person.folder / name).write_bytes(lines(records(1)))
    for given in (("submit", str(person.folder / name)), ("status", name), ("cancel", name)):
        person.types(*given, code=2)
        assert "is no UTF-8" in person.err


def test_a_folder_that_cannot_be_read_is_told(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    person.file("all/a.jsonl", lines(records(1)))
    person.file("all/secret/b.jsonl", lines(records(1)))
    scandir = os.scandir

    def denied(path: str) -> Any:
        if str(path).endswith("secret"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    person.types("submit", str(person.folder / "all"), code=2)
    assert "secret cannot be read: Permission denied" in person.err
    assert not person.world.current("to-process/")


def test_a_path_that_the_system_refuses_is_a_mistake(person: Person) -> None:
    person.types("submit", "x" * 5000, code=2)
    assert "File name too long" in person.err


@pytest.mark.parametrize("when", ["before", "during"])
def test_a_file_that_changes_is_told(person: Person, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    path = person.file("a.jsonl", lines(records(2)))
    checked = person.queue.check(path)
    if when == "during":
        upload_file = person.queue.connection.s3.upload_file

        def changing(*given: Any, **more: Any) -> None:
            upload_file(*given, **more)
            person.file("a.jsonl", b"no\n")

        monkeypatch.setattr(person.queue.connection.s3, "upload_file", changing)
    else:
        person.file("a.jsonl", b"no\n")
    words = "was changed after it was checked" if when == "before" else "was changed while it was uploaded"
    with pytest.raises(InputError, match=words):
        person.queue.upload_all(checked)
    assert bool(person.world.current("to-process/")) == (when == "during")


@pytest.mark.parametrize("since", ["999999w", "0001-01-01", "0001-01-01T00:00+14:00"])
def test_a_time_long_ago_is_a_time(person: Person, since: str) -> None:
    submitted(person)
    assert len(person.document("jobs", "--since", since)) == 1
    person.types("report", "--since", since, "-o", str(person.folder / "report.html"))
    assert (person.folder / "report.html").exists()


@pytest.mark.parametrize("error", [KeyError("getpwuid(): uid not found: 1234"), OSError("No username set")])
def test_whoever_has_no_name_gives_orders_too(
    person: Person, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def getuser() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", getuser)
    person.types("pause", "--why", "x")
    assert person.queue.status()["paused"][0]["by"] == "unknown"
