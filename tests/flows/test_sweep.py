"""The sweep: objects whose event was lost, or that were there before the queue, become uploads, each once."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import pytest
from batch_queue.core import names
from batch_queue.core.rows import Status
from batch_queue.steps import sweep, validation
from batch_queue.steps.sweep import Sweep
from moto.s3.models import s3_backends

from tests.support.invariants import check
from tests.support.routes import configured
from tests.support.world import ACCOUNT, HAIKU, Call, World, lines, records, statuses

pytestmark = pytest.mark.flows

SWEEP = {"sweep": True}
# Enough chunks that an upload does not fit one transaction.
CUT = configured("default", HAIKU, min_records_per_job=1, max_records_per_file=10, max_active_jobs=1)
ONE_SLOT = configured("default", HAIKU, max_active_jobs=1)
CONFIG = {"models": {"*": {"min_records": 1}}}


def swept(world: World, **more: Any) -> dict[str, int]:
    """Sweeps by hand, as somebody does who waits for the answer; gives the counts."""
    found: dict[str, int] = {}
    run = Sweep.run

    def keep(sweep: Sweep, *arguments: Any) -> dict[str, int]:
        found.update(run(sweep, *arguments))
        return found

    with patch.object(Sweep, "run", keep):
        assert world.invoke("create", {**SWEEP, **more}) is None
    return found


def numbers(**counts: int) -> Any:
    """The counts of a sweep; those that are not given are 0."""
    return {**dict.fromkeys((*sweep.COUNTS, "goes_on"), 0), **counts}


def unversioned(world: World) -> None:
    """Switches versions off: from now on every object of the bucket has the version id null."""
    world.s3.put_bucket_versioning(Bucket=world.bucket, VersioningConfiguration={"Status": "Suspended"})


def put(world: World, key: str, body: bytes) -> dict[str, Any]:
    """Puts an object without a version id; gives its event, which is not sent."""
    answer = world.s3.put_object(Bucket=world.bucket, Key=f"to-process/{key}", Body=body)
    record = world.s3_event(f"to-process/{key}", "", answer["ETag"].strip('"'))
    del record["s3"]["object"]["versionId"]
    return {"Records": [record]}


def put_at(world: World, key: str, seconds: float) -> None:
    """Makes the current version of an object one that was put ``seconds`` before now."""
    (bucket,) = [b for name, b in s3_backends[ACCOUNT]["aws"].buckets.items() if name == world.bucket]
    moment = datetime.fromtimestamp(world.clock() - seconds, UTC).replace(tzinfo=None)
    bucket.keys[f"to-process/{key}"].last_modified = moment


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "3")
    monkeypatch.setattr(sweep, "LOOKUP_BATCH", 2)


# ------------------------------------------------------------------------------------------ lost and late


def test_objects_that_lost_their_event_are_taken_in_once_by_the_daily_sweep() -> None:
    with World.open(ONE_SLOT) as world:
        rows = {
            world.put(f"{n}.jsonl", lines(records(100, f"r{n}-")))[0]: records(100, f"r{n}-") for n in "ab"
        }
        world.daily_sweep = True
        world.run(lambda: len(world.uploads()) == len(rows) and world.at_rest(), steps=150)
        check(world, rows, slots=1)
        assert statuses(world) == {Status.COMPLETED: 2}
        assert swept(world) == numbers(found=2, known=2)
        assert not world.errors


def test_an_event_that_comes_after_the_sweep_changes_nothing() -> None:
    with World.open(ONE_SLOT) as world:
        upload_id, late = world.put("a b+c%41.jsonl", lines(records(100)))
        assert swept(world) == numbers(found=1, enqueued=1)
        world.run()
        before = world.one_upload(upload_id)
        assert world.invoke("create", late) is None
        world.run()
        assert world.uploads() == [before]
        assert len(world.bedrock_jobs()) == 1


def test_objects_whose_events_came_are_left_alone() -> None:
    with World.open(ONE_SLOT) as world:
        world.upload("good.jsonl", lines(records(100)))
        world.upload("bad.jsonl", b"{")
        world.run()
        assert swept(world) == numbers(found=2, known=2)
        assert not world.events


def test_two_sweeps_at_once_make_one_upload_of_each_object() -> None:
    with World.open(ONE_SLOT) as world:
        rows = {
            world.put(f"{n}.jsonl", lines(records(100, f"r{n}-")))[0]: records(100, f"r{n}-") for n in "ab"
        }
        inner: list[dict[str, int]] = []

        def sweep_meanwhile(call: Call) -> None:
            if call.operation == "Invoke" and not inner:
                inner.append({})
                inner[0] = swept(world)

        world.before = sweep_meanwhile
        assert swept(world) == inner[0] == numbers(found=2, enqueued=2)
        world.before = None
        world.run()
        check(world, rows, slots=1)
        assert sum(len(world.runs(job).chunks) for job in world.jobs()) == 2


@pytest.mark.parametrize("at", [1, 2, 3, 4], ids=["cut", "chunks", "upload", "places"])
def test_a_sweep_and_the_event_at_once_make_one_upload_of_many_chunks(at: int) -> None:
    with World.open(CUT, config=CONFIG) as world:
        rows = records(42)
        upload_id, event = world.put("a.jsonl", lines(rows))
        world.clock.advance(10)
        swept(world)
        ((_, _, _, found, *_),) = world.events
        world.events.clear()
        writes: list[Call] = []

        def event_meanwhile(call: Call) -> None:
            if call.operation in ("PutItem", "TransactWriteItems"):
                writes.append(call)
                if len(writes) == at:
                    assert world.invoke("create", event) is None

        world.before = event_meanwhile
        assert world.invoke("create", found) is None
        world.before = None
        assert len(writes) >= at
        world.run(steps=200)
        check(world, {upload_id: rows}, slots=1)


# ------------------------------------------------------------------------------------------ what is swept


def test_the_first_sweep_leaves_deleted_objects_and_old_versions_out() -> None:
    with World.open(ONE_SLOT) as world:
        world.put("old.jsonl", lines(records(100, "old")))
        current, _ = world.put("old.jsonl", lines(records(100, "new")))
        world.put("deleted.jsonl", lines(records(100, "deleted")))
        world.s3.delete_object(Bucket=world.bucket, Key="to-process/deleted.jsonl")
        assert swept(world) == numbers(found=1, enqueued=1)
        world.run()
        assert [upload.upload_id for upload in world.uploads()] == [current]


@dataclass
class History:
    """Versions of one object, each with the seconds after the last sweep at which it was put."""

    world: World
    key: str = "to-process/a.jsonl"
    ids: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, after: float) -> None:
        self.ids[name], _ = self.world.put("a.jsonl", lines(records(100, name)))
        self._at(after)

    def delete(self, after: float) -> None:
        self.world.s3.delete_object(Bucket=self.world.bucket, Key=self.key)
        self._at(after)

    def _at(self, after: float) -> None:
        (bucket,) = [
            b for name, b in s3_backends[ACCOUNT]["aws"].buckets.items() if name == self.world.bucket
        ]
        moment = datetime.fromtimestamp(self.world.clock() + after, UTC).replace(tzinfo=None)
        bucket.keys.getlist(self.key)[-1].last_modified = moment

    def ran(self) -> set[str]:
        """The names of the versions that are uploads now."""
        self.world.run()
        found = {upload.upload_id for upload in self.world.uploads()}
        return {name for name, upload_id in self.ids.items() if upload_id in found}


@pytest.fixture
def history() -> Iterator[History]:
    with World.open(ONE_SLOT) as world:
        swept(world)
        yield History(world)


HOUR, DAY = 3600.0, 86_400.0


def test_a_version_that_was_overwritten_since_the_last_sweep_is_found(history: History) -> None:
    for name, after in {"oldest": -2 * DAY, "older": -DAY, "current then": -HOUR}.items():
        history.put(name, after)
    history.put("overwritten since", HOUR)
    history.put("current", 2 * HOUR)
    history.world.clock.advance(DAY)
    # "older" was overwritten before that sweep began: it had its chance
    assert swept(history.world) == numbers(found=3, enqueued=3)
    assert history.ran() == {"current then", "overwritten since", "current"}
    assert swept(history.world)["enqueued"] == 0


def test_a_version_that_was_deleted_is_not_taken_for_overwritten(history: History) -> None:
    history.put("deleted", HOUR)
    history.delete(2 * HOUR)
    history.put("overwritten", 3 * HOUR)
    history.put("deleted too", 4 * HOUR)
    history.delete(5 * HOUR)
    history.world.clock.advance(DAY)
    swept(history.world)
    assert history.ran() == {"overwritten"}


def test_a_version_that_was_too_young_for_the_last_sweep_is_found_by_the_next(history: History) -> None:
    history.world.clock.advance(HOUR)
    history.put("overwritten at once", -0.75 * HOUR)
    history.put("current", -0.5 * HOUR)
    assert swept(history.world, min_age_minutes=60)["young"] == 2
    history.world.clock.advance(DAY)
    assert swept(history.world, min_age_minutes=60)["enqueued"] == 2
    assert history.ran() == {"overwritten at once", "current"}


def test_only_a_sweep_of_everything_that_came_to_its_end_counts(history: History) -> None:
    history.put("overwritten", HOUR)
    history.put("current", 2 * HOUR)
    history.world.clock.advance(DAY)

    def fail(call: Call) -> None:
        if call.operation == "ListObjectVersions":
            raise ConnectionError("S3 is out of reach")

    swept(history.world, prefix="to-process/b/")
    history.world.before = fail
    assert history.world.invoke("create", SWEEP) is not None
    history.world.before = None
    history.world.clock.advance(DAY)
    swept(history.world)
    assert history.ran() == {"overwritten", "current"}


def test_after_a_long_time_without_sweeps_a_week_is_looked_back(history: History) -> None:
    history.put("long ago", DAY)
    history.put("days ago", 2 * DAY)
    history.put("current", 28 * DAY)
    history.world.clock.advance(30 * DAY)
    swept(history.world)
    found = {event["read_on"]["version_id"] for _, _, _, event, *_ in history.world.events}
    assert len(found) == 2
    assert all(
        names.upload_id(history.world.bucket, history.key, one) != history.ids["long ago"] for one in found
    )


def test_an_overwritten_version_that_has_ended_is_known_by_its_old_summary(history: History) -> None:
    world = history.world
    for name in ("ended", "lost"):
        history.put(name, HOUR)
        if name == "ended":
            world.send("create", {"Records": [world.s3_event(history.key, _version_of(world), "")]})
            world.run()
    history.put("current", 2 * HOUR)
    for row in world.rows():
        if row["sk"] == "upload":
            world.table.delete_item(Key={"pk": row["pk"], "sk": row["sk"]})
    world.clock.advance(DAY)
    assert swept(world) == numbers(found=3, done=1, enqueued=2)
    assert history.ran() == {"lost", "current"}


def _version_of(world: World) -> str:
    found = world.s3.head_object(Bucket=world.bucket, Key="to-process/a.jsonl")
    return str(found["VersionId"])


@pytest.mark.usefixtures("small_pages")
def test_overwritten_versions_are_found_across_pages_and_runs(history: History) -> None:
    world = history.world
    for number in range(8):
        history.put(f"{number}", HOUR + number)
    for number in range(4):
        world.put(f"b{number}.jsonl", lines(records(100)))

    def take_time(call: Call) -> None:
        if call.operation == "ListObjectVersions":
            world.clock.advance(500)

    world.before = take_time
    world.send("create", SWEEP)
    world.run()
    assert len(world.uploads()) == 12
    assert not world.errors


def test_what_is_no_upload_is_left_out() -> None:
    with World.open(ONE_SLOT) as world:
        for key in (
            "to-process/",
            "to-process/a/",
            "to-process/a.csv",
            "elsewhere/a.jsonl",
            "processed/a.jsonl",
        ):
            world.s3.put_object(Bucket=world.bucket, Key=key, Body=b"")
        assert swept(world) == numbers()


def test_any_key_is_found_as_its_event_would_have_it() -> None:
    keys = [
        "a b",
        "a+b",
        "a%20b",
        "a%2Bb",
        "Zürich/Ü=1&2",
        "日本/😀",
        "'\"<>&",
        "a//b",
        "..",
        "tab\tnew\nline",
    ]
    with World.open(ONE_SLOT) as world:
        ids = {world.put(f"{key}.jsonl", lines(records(100)))[0] for key in keys}
        assert swept(world)["enqueued"] == len(keys)
        world.run()
        assert {upload.upload_id for upload in world.uploads()} == ids
        assert statuses(world) == {Status.COMPLETED: len(keys)}


def test_only_what_lies_below_the_prefix_is_swept() -> None:
    with World.open(ONE_SLOT) as world:
        world.put("a/1.jsonl", lines(records(100)))
        wanted, _ = world.put("b/1.jsonl", lines(records(100)))
        assert swept(world, prefix="to-process/b/") == numbers(found=1, enqueued=1)
        world.run()
        assert [upload.upload_id for upload in world.uploads()] == [wanted]


def test_an_object_whose_event_may_be_on_its_way_is_left_to_it_where_the_order_says_so() -> None:
    with World.open(ONE_SLOT) as world:
        for name in ("old", "young"):
            world.put(f"{name}.jsonl", lines(records(100, name)))
        put_at(world, "old.jsonl", seconds=3_600)
        put_at(world, "young.jsonl", seconds=3_599)
        assert swept(world, min_age_minutes=60) == numbers(found=2, young=1, enqueued=1)


def test_an_old_object_waits_for_company_from_the_sweep_on() -> None:
    with World.open(ONE_SLOT) as world:
        for name in "ab":
            world.put(f"{name}.jsonl", lines(records(60, name)))
            put_at(world, f"{name}.jsonl", seconds=365 * 86_400)
        swept(world)
        world.run()
        assert statuses(world) == {Status.COMPLETED: 2}
        assert len(world.bedrock_jobs()) == 1
        assert {names.epoch(upload.created_at) >= world.clock() - 86_400 for upload in world.uploads()} == {
            True
        }


# ---------------------------------------------------------------------------------------------- unversioned


def test_an_unversioned_object_whose_event_came_is_not_swept() -> None:
    with World.open(ONE_SLOT) as world:
        unversioned(world)
        world.send("create", put(world, "a.jsonl", lines(records(100))))
        world.run()
        assert swept(world) == numbers(found=1, known=1)


def test_an_unversioned_object_that_lost_its_event_runs_once_though_the_event_comes_late() -> None:
    with World.open(ONE_SLOT) as world:
        unversioned(world)
        late = put(world, "a.jsonl", lines(records(100)))
        assert swept(world) == numbers(found=1, enqueued=1)
        world.run()
        world.invoke("create", late)
        world.run()
        assert statuses(world) == {Status.COMPLETED: 1}
        assert len(world.bedrock_jobs()) == 1


def test_the_same_bytes_put_again_into_an_unversioned_bucket_are_another_upload() -> None:
    with World.open(ONE_SLOT) as world:
        unversioned(world)
        for seconds in (60, 0):
            event = put(world, "a.jsonl", lines(records(100)))
            put_at(world, "a.jsonl", seconds)
            world.send("create", event)
            world.run()
        assert statuses(world) == {Status.COMPLETED: 2}
        assert swept(world) == numbers(found=1, known=1)


def test_an_unversioned_object_is_never_paid_twice_though_the_listing_has_another_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with World.open(ONE_SLOT) as world:
        unversioned(world)
        world.send("create", put(world, "a.jsonl", lines(records(100))))
        world.run()
        listed = world.queue.listing.versions

        def late(prefix: str, after: str = "") -> Any:
            for page, end in listed(prefix, after):
                yield [replace(one, modified=one.modified + 1) for one in page], end

        monkeypatch.setattr(world.queue.listing, "versions", late)
        assert swept(world) == numbers(found=1, enqueued=1)
        world.run()
        assert statuses(world) == {Status.COMPLETED: 1}
        assert len(world.bedrock_jobs()) == 1


def test_an_unversioned_object_that_is_gone_before_it_is_read_leaves_no_row() -> None:
    with World.open(ONE_SLOT) as world:
        unversioned(world)
        put(world, "a.jsonl", lines(records(100)))
        swept(world)
        world.s3.delete_object(Bucket=world.bucket, Key="to-process/a.jsonl", VersionId="null")
        world.run()
        assert world.uploads() == []
        assert not world.errors


def test_objects_from_before_the_bucket_had_versions_are_backfilled() -> None:
    with World.open(ONE_SLOT) as world:
        unversioned(world)
        put(world, "before.jsonl", lines(records(100)))
        world.s3.put_bucket_versioning(Bucket=world.bucket, VersioningConfiguration={"Status": "Enabled"})
        world.upload("since.jsonl", lines(records(100)))
        world.run()
        assert swept(world) == numbers(found=2, known=1, enqueued=1)
        world.run()
        assert statuses(world) == {Status.COMPLETED: 2}
        assert swept(world) == numbers(found=2, known=2)


# --------------------------------------------------------------------------------------- many, and failures


@pytest.mark.usefixtures("small_pages")
def test_a_sweep_that_runs_out_of_time_goes_on_in_another_run(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="batch_queue")
    with World.open(ONE_SLOT) as world:
        for number in range(20):
            world.put(f"{number:02d}.jsonl", lines(records(100)))
            if number % 5 == 0:
                world.put(f"{number:02d}.jsonl", lines(records(100)))  # an old version within a page
        for number in range(10, 14):
            world.s3.delete_object(Bucket=world.bucket, Key=f"to-process/{number}.jsonl")
        runs: list[Call] = []

        def take_time(call: Call) -> None:
            if call.operation == "ListObjectVersions":
                runs.append(call)
                world.clock.advance(500)

        world.before = take_time
        world.send("create", SWEEP)
        world.run()
        assert statuses(world) == {Status.COMPLETED: 16}
        assert not world.errors
        (ended,) = [record for record in caplog.records if record.message == "sweep ended"]
        told = vars(ended)
        assert (told["found"], told["enqueued"]) == (16, 16)
        assert len([record for record in caplog.records if "continues" in record.message]) > 2


@pytest.mark.usefixtures("small_pages")
def test_an_object_that_cannot_be_read_holds_up_no_other_and_becomes_a_dead_letter() -> None:
    with World.open(ONE_SLOT) as world:
        world.put("0 poison.jsonl", lines(records(100)))
        for number in range(1, 6):
            world.put(f"{number}.jsonl", lines(records(100)))

        def fail(call: Call) -> None:
            if call.operation == "HeadObject" and "poison" in call.params["url_path"]:
                raise ConnectionError("S3 is out of reach")

        world.before = fail
        world.send("create", SWEEP)
        world.run(lambda: statuses(world)[Status.COMPLETED] == 5 and not world.events)
        ((function, event),) = world.dead_letters
        assert function == "create"
        assert event["read_on"]["key"] == "to-process/0 poison.jsonl"


def test_an_upload_that_was_left_half_enqueued_is_mended() -> None:
    with World.open(CUT, config=CONFIG) as world:
        rows = records(120)
        upload_id, event = world.put("a.jsonl", lines(rows))
        placed: list[Call] = []  # fifty places at once

        def die(call: Call) -> None:
            placed.extend([call] if call.enqueues else [])
            if len(placed) == 2:
                world.kill()

        world.before = die
        world.invoke("create", event)
        world.before = None
        assert not world.one_upload(upload_id).ready
        assert swept(world) == numbers(found=1, enqueued=1)
        world.run()
        check(world, {upload_id: rows}, slots=1)
        assert swept(world) == numbers(found=1, known=1)


def test_an_upload_that_was_left_half_enqueued_goes_on_without_a_sweep() -> None:
    with World.open(CUT, config=CONFIG) as world:
        # Given a large upload whose intake died in the middle, and a newer version that hides it from sweeps
        rows = records(120)
        upload_id, event = world.put("a.jsonl", lines(rows))
        placed: list[Call] = []  # fifty places at once

        def die(call: Call) -> None:
            placed.extend([call] if call.enqueues else [])
            if len(placed) == 2:
                world.kill()

        world.before = die
        world.invoke("create", event)
        world.before = None
        assert not world.one_upload(upload_id).ready
        other = records(2, "other")
        newer = world.upload("a.jsonl", lines(other))
        # When nothing but the schedule wakes the processor
        world.run()
        # Then it ends like any other
        check(world, {upload_id: rows, newer: other}, slots=1)


def test_a_reading_that_got_lost_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with World.open(CUT, config=CONFIG) as world:
        rows = records(42)
        upload_id, event = world.put("a.jsonl", lines(rows))
        with monkeypatch.context() as short:
            short.setattr(validation, "READ_SECONDS", 10_000.0)
            world.invoke("create", event)
        assert "read_on" in world.events[0][3]
        world.events.clear()
        assert world.uploads() == []
        assert swept(world) == numbers(found=1, enqueued=1)
        world.run()
        check(world, {upload_id: rows}, slots=1)


# ------------------------------------------------------------------------------------------------ the order


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"sweep": False}, '"sweep" is False'),
        ({"sweep": "true"}, '"sweep" is'),
        ({"sweep": True, "Prefix": "to-process/a/"}, "a sweep has no Prefix"),
        ({"sweep": True, "prefix": "elsewhere/"}, "'elsewhere/' is not"),
        ({"sweep": True, "prefix": "to-process"}, '"to-process/some/folder/"'),
        ({"sweep": True, "prefix": ["to-process/"]}, "is not: write the prefix"),
        ({"sweep": True, "min_age_minutes": -1}, "min_age_minutes"),
        ({"sweep": True, "min_age_minutes": True}, "min_age_minutes"),
        ({"sweeep": True}, "the event has sweeep"),
        ({}, "the event has nothing"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_with_what_to_write(wrong: Any, words: str) -> None:
    with World.open(ONE_SLOT) as world:
        world.put("a.jsonl", lines(records(100)))
        error = world.invoke("create", json.loads(json.dumps(wrong)))
        assert words in str(error)
        assert not world.events
