"""The Python client."""

from __future__ import annotations

import pytest
from batch_queue.core.rows import Status
from bedrock_batch import InputError, Queue, RejectedError, TimedOutError

from tests.client.conftest import Person
from tests.support.world import lines, records


def test_a_file_is_submitted_waited_for_and_read_in_one_line(person: Person) -> None:
    path = person.file("a.jsonl", lines(records(3)))
    found = list(person.queue.submit(path).wait().results())
    assert {one["recordId"] for one in found} == {one["recordId"] for one in records(3)}


def test_records_are_submitted_and_the_same_ones_are_the_same_upload(person: Person) -> None:
    first = person.queue.submit(records(3), route="priced").wait()
    second = person.queue.submit(iter(records(3)), route="priced").wait()
    assert [one.upload_id for one in first] == [one.upload_id for one in second]
    assert first[0].key.startswith("to-process/priced/records-")
    assert [one["recordId"] for one in first[0].joined()] == [one["recordId"] for one in records(3)]
    assert first[0].summary()["successes"] == 3


def test_wrong_records_are_refused_before_they_are_uploaded(person: Person) -> None:
    with pytest.raises(RejectedError, match="recordId is missing") as caught:
        person.queue.submit([{"modelInput": {}}], name="a.jsonl")
    assert caught.value.checked[0].fault_count == 1
    with pytest.raises(InputError, match="cannot be written as JSON"):
        person.queue.submit([{"recordId": "a", "modelInput": {"x": {1}}}])
    with pytest.raises(InputError, match="without folders"):
        person.queue.submit(records(1), name="a/b.jsonl")
    assert not person.world.current("to-process/")


def test_a_wait_ends_in_time_and_the_upload_goes_on(person: Person) -> None:
    submission = person.queue.submit(records(100))
    with pytest.raises(TimedOutError, match="1 of 1 uploads have not ended within 30 s"):
        submission.wait(timeout=30)
    assert submission.wait()[0].ended().status == Status.COMPLETED


def test_results_of_an_upload_that_has_not_ended_are_refused(person: Person) -> None:
    submission = person.queue.submit(records(5))
    with pytest.raises(InputError, match="the queue does not know"):
        list(submission.results())
    person.world.run(lambda: bool(person.world.bedrock_jobs()))
    with pytest.raises(InputError, match="has not ended: it is Submitted"):
        list(submission.results())


def test_the_input_that_was_deleted_is_told(person: Person) -> None:
    submission = person.queue.submit(records(5)).wait()
    version = person.world.s3.head_object(Bucket=person.world.bucket, Key=submission[0].key)["VersionId"]
    person.world.s3.delete_object(Bucket=person.world.bucket, Key=submission[0].key, VersionId=version)
    with pytest.raises(InputError, match="was deleted from the bucket"):
        list(submission[0].joined())
    assert len(list(submission[0].results())) == 5


def test_the_client_is_lazy() -> None:
    # No call is made, and so no credentials are needed, before a method asks for something
    assert repr(Queue("some-queue").connection.name) == "'some-queue'"
