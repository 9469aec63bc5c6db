"""Paths and names: of files here, of objects, and of what the client writes."""

from __future__ import annotations

import pytest

from tests.client.conftest import Person
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
