"""An upload that S3 denies at intake has a row that says so, until a later try can read it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from batch_queue.core.rows import Status

from tests.flows.test_metrics import told
from tests.flows.test_sweep import CONFIG, CUT, ONE_SLOT, put, small_pages, swept, unversioned
from tests.support.errors import denying
from tests.support.invariants import check
from tests.support.world import HAIKU, Call, Hook, World, lines, records, statuses

pytestmark = pytest.mark.flows
__all__ = ["small_pages"]


def deny(operation: str = "HeadObject") -> Hook:
    """A bucket or key policy denies the intake to read uploads."""
    return denying(operation, "/to-process/")


def pointers(world: World) -> list[str]:
    return [row["sk"] for row in world.rows() if row["pk"] == "denied"]


def failed(world: World, times: int) -> bool:
    return len(world.errors) == times


@pytest.fixture
def world() -> Iterator[World]:
    with World.open(ONE_SLOT) as world:
        yield world


@pytest.mark.parametrize("operation", ["HeadObject", "GetObject"])
def test_each_try_says_what_s3_denied_and_the_event_ends_as_a_dead_letter(
    world: World, operation: str
) -> None:
    world.before = deny(operation)
    upload_id = world.upload("a/b.jsonl", lines(records(100)))
    for tries in range(1, 4):
        world.run(partial(failed, world, tries))
        upload = world.one_upload(upload_id)
        assert upload.status == Status.PENDING
        assert upload.message == (
            "waiting: S3 denied access to to-process/a/b.jsonl (AccessDenied: the policy says no). Allow the "
            "role of create_batch_queue to read it, and to use its KMS key. The next sweep tries again. "
            "To try at once, start a sweep."
        )
    assert [function for function, _ in world.dead_letters] == ["create"]
    assert pointers(world) == [upload_id]


def test_the_try_that_can_read_it_replaces_the_row(world: World) -> None:
    world.before = deny()
    rows = records(100)
    upload_id = world.upload("a.jsonl", lines(rows))
    world.run(lambda: len(world.errors) == 1)
    world.before = None
    world.run()
    check(world, {upload_id: rows}, slots=1)
    assert world.one_upload(upload_id).status == Status.COMPLETED
    assert pointers(world) == []


@pytest.mark.parametrize("body", [lines(records(100)), b"{"])
def test_the_sweep_tries_again_also_what_was_overwritten(world: World, body: bytes) -> None:
    world.before = deny()
    ids = {world.upload("a.jsonl", body) for _ in range(2)}
    world.run(lambda: len(world.dead_letters) == 2)
    assert swept(world)["enqueued"] == 1
    assert len([event for event in world.events if event[2] == "create"]) == 2  # and both once
    world.before = None
    world.run()
    assert {upload.upload_id for upload in world.uploads()} == ids
    assert set(statuses(world)) == {Status.COMPLETED if len(body) > 1 else Status.REJECTED}
    assert pointers(world) == []


@pytest.mark.usefixtures("small_pages")
def test_a_sweep_looks_at_the_time_while_it_retries_and_hands_each_over_once(world: World) -> None:
    # Given more uploads that S3 denied than one run of a sweep can hand over, and one that lost its event
    world.before = deny()
    ids = {world.upload(f"{n}.jsonl", lines(records(100, f"r{n}-"))) for n in range(7)}
    world.run(lambda: len(world.dead_letters) == 7)
    ids.add(world.put("lost.jsonl", lines(records(100, "lost")))[0])
    handed_over: list[str] = []
    runs: list[Call] = []

    def take_time(call: Call) -> None:
        payload = json.loads(call.params["body"]) if call.operation == "Invoke" else {}
        runs.extend([call] if payload.get("sweep") else [])
        if found := payload.get("read_on"):
            handed_over.append(found["key"])
            world.clock.advance(430)

    world.before = take_time
    # When somebody sweeps
    world.send("create", {"sweep": True})
    world.run()
    # Then it goes on in other runs, comes to its end, and no object is handed over twice
    assert len(runs) > 3
    assert len(handed_over) == len(set(handed_over)) == 8
    assert [row["sk"] for row in world.rows() if row["pk"] == "table"].count("swept") == 1
    assert {upload.upload_id for upload in world.uploads()} == ids
    assert statuses(world) == {Status.COMPLETED: 8}


def full(world: World) -> None:
    """Somebody else holds the only slot of the route, for which another upload waits."""
    world.before = None
    world.upload("b.jsonl", lines(records(100)))
    world.simulator.add_foreign(HAIKU, count=1, seconds=30 * 86_400.0)


def removed(world: World) -> None:
    """The route is no longer configured."""
    world.table.delete_item(Key={"pk": "route", "sk": "default"})


@pytest.mark.parametrize("held", [full, removed])
def test_what_s3_denied_says_more_than_that_its_route_starts_no_job(
    world: World, held: Callable[[World], None], capsys: pytest.CaptureFixture[str]
) -> None:
    world.before = deny()
    upload_id = world.upload("a.jsonl", lines(records(100)))
    world.run(lambda: bool(world.dead_letters))
    held(world)
    began = world.clock()
    capsys.readouterr()
    world.run(lambda: world.clock() > began + 3_600)
    upload = world.one_upload(upload_id)
    assert (upload.status, upload.message[:25]) == (Status.PENDING, "waiting: S3 denied access")
    assert told(capsys, "OldestPendingAge")["OldestPendingAge"][-1] > 3_600


def test_a_sweep_of_a_folder_tries_only_what_lies_there(world: World) -> None:
    world.before = deny()
    for key in ("a/1.jsonl", "b/1.jsonl"):
        world.upload(key, lines(records(100)))
    world.run(lambda: len(world.dead_letters) == 2)
    swept(world, prefix="to-process/b/")
    (event,) = [event for _, _, function, event, *_ in world.events if function == "create"]
    assert event["read_on"]["key"] == "to-process/b/1.jsonl"


def test_what_is_deleted_while_it_is_denied_is_cancelled(world: World) -> None:
    world.before = deny()
    upload_id = world.upload("a.jsonl", lines(records(100)))
    world.run(lambda: bool(world.dead_letters))
    (row,) = [row for row in world.rows() if row["pk"] == "denied"]
    world.s3.delete_object(Bucket=world.bucket, Key=row["key"], VersionId=row["version_id"])
    world.before = None
    assert swept(world)["found"] == 0
    world.run()
    assert world.one_upload(upload_id).status == Status.CANCELLED
    assert pointers(world) == []


def test_a_large_upload_replaces_the_row_too() -> None:
    with World.open(CUT, config=CONFIG) as world:
        world.before = deny()
        rows = records(42)
        upload_id = world.upload("a.jsonl", lines(rows))
        world.run(lambda: len(world.errors) == 1)
        world.before = None
        world.run(steps=3000)
        check(world, {upload_id: rows}, slots=1)
        assert pointers(world) == []


def test_a_denial_that_comes_late_changes_nothing(world: World) -> None:
    # Given that another delivery of the same event is taken in between the denial and its row
    rows = records(100)
    upload_id, event = world.put("a.jsonl", lines(rows))
    inner: list[Call] = []

    def meanwhile(call: Call) -> None:
        if call.operation == "TransactWriteItems" and not inner:
            inner.append(call)
            world.before = None
            assert world.invoke("create", event) is None
        elif not inner:
            deny()(call)

    world.before = meanwhile
    assert world.invoke("create", event) is not None
    assert inner
    assert pointers(world) == []
    world.run()
    check(world, {upload_id: rows}, slots=1)


def test_a_reader_that_was_quicker_than_a_denial_replaces_its_row(world: World) -> None:
    # Given a delivery that is denied while another one has read the object
    rows = records(100)
    upload_id, event = world.put("a.jsonl", lines(rows))
    inner: list[Call] = []

    def meanwhile(call: Call) -> None:
        if call.operation == "TransactWriteItems" and not inner:
            inner.append(call)
            world.before = deny()
            assert world.invoke("create", event) is not None
            assert world.one_upload(upload_id).unread
            world.before = None

    world.before = meanwhile
    assert world.invoke("create", event) is None
    assert not world.one_upload(upload_id).unread
    assert pointers(world) == []
    world.run()
    check(world, {upload_id: rows}, slots=1)


def test_without_a_version_a_denied_look_at_the_object_has_no_row(world: World) -> None:
    unversioned(world)
    world.before = deny()
    event = put(world, "a.jsonl", lines(records(100)))
    assert world.invoke("create", event) is not None
    assert world.uploads() == []
    world.before = deny("GetObject")
    assert world.invoke("create", event) is not None
    (upload,) = world.uploads()
    world.before = None
    world.send("create", event)
    world.run()
    assert world.one_upload(upload.upload_id).status == Status.COMPLETED
