"""Waiting for uploads: through errors that pass, and for uploads that the queue does not know."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from batch_queue.aws.bucket import Bucket
from batch_queue.aws.table.dynamo import Dynamo, ThrottledError
from batch_queue.aws.table.jobs import Jobs
from batch_queue.core.rows import Status
from bedrock_batch import InputError, RefusedError
from bedrock_batch.errors import PassingError
from botocore.exceptions import ClientError, EndpointConnectionError, IncompleteReadError, ReadTimeoutError

from tests.client.conftest import Lambda, Person
from tests.support.world import lines, records

pytestmark = pytest.mark.client


def client_error(code: str, status: int = 400) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "said"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "BatchGetItem")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterable[Exception | None]], None]:
    """Has the reads of rows fail, one after the other; None is a read that succeeds."""
    read = Dynamo.batch_get

    def fail(errors: Iterable[Exception | None]) -> None:
        left = iter(errors)

        def batch_get(self: Dynamo, *given: Any, **more: Any) -> Any:
            if (error := next(left, None)) is not None:
                raise error
            return read(self, *given, **more)

        monkeypatch.setattr(Dynamo, "batch_get", batch_get)

    return fail


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="https://x"),
        IncompleteReadError(actual_bytes=1, expected_bytes=2),
        ThrottledError("BatchGetItem left keys unprocessed"),
        client_error("InternalServerError", 500),
        client_error("ThrottlingException"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_passes_does_not_end_a_wait(
    person: Person, failing: Callable[..., None], error: Exception
) -> None:
    path = person.file("a.jsonl", lines(records(20)))
    failing([None, error, error])
    assert "Completed" in person.types("submit", path, "--wait")
    # And it is said once that AWS does not answer, and that it does again
    assert person.err.count("Trying again") == 1
    assert person.err.count("AWS answers again") == 1


def test_an_error_that_does_not_pass_ends_it_and_says_how_to_come_back(
    person: Person, failing: Callable[..., None]
) -> None:
    path = person.file("a.jsonl", lines(records(20)))
    failing([None, client_error("ExpiredTokenException")])
    person.types("submit", path, "--wait", code=3)
    assert "ExpiredTokenException" in person.err
    assert "Come back with bedrock-batch status a.jsonl" in person.err


def test_an_outage_of_an_hour_ends_it(person: Person, failing: Callable[..., None]) -> None:
    def always() -> Iterator[Exception]:
        while True:
            person.world.clock.advance(60)
            yield EndpointConnectionError(endpoint_url="https://x")

    submission = person.queue.submit(records(3))
    failing(always())
    with pytest.raises(PassingError, match="could not be reached"):
        submission.wait()


def test_rows_that_were_left_unprocessed_are_told(person: Person, failing: Callable[..., None]) -> None:
    submission = person.queue.submit(records(3))
    failing([ThrottledError("BatchGetItem left keys unprocessed")])
    with pytest.raises(RefusedError, match="left keys unprocessed"):
        submission.states()


def test_only_uploads_that_have_not_ended_are_read_again(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, asked = Dynamo.batch_get, []

    def batch_get(self: Dynamo, keys: Any, **more: Any) -> Any:
        asked.append(len(keys))
        return read(self, keys, **more)

    for number in range(4):
        person.file(f"all/{number}.jsonl", lines(records(1 if number else 60, str(number))))
    submission = person.queue.submit(person.folder / "all")
    monkeypatch.setattr(Dynamo, "batch_get", batch_get)
    *_, found = submission.watch()
    assert {row.status for row in found.values()} == {Status.COMPLETED}
    assert len(found) == 4
    assert 0 < asked[-1] < 4


def lose_events(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(person.world, "send", lambda *_: None)


def test_an_upload_whose_event_was_lost_is_told_and_a_sweep_finds_it(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = person.file("a.jsonl", lines(records(3)))
    with monkeypatch.context() as patched:
        lose_events(person, patched)
        person.types("submit", path)
    swept: list[Any] = []

    def sleep(seconds: float) -> None:
        person.world.clock.advance(seconds)
        if person.world.clock() > begin + 300 and not swept:
            swept.append(person.queue.sweep())
            person.world.run()

    begin = person.world.clock()
    monkeypatch.setattr("bedrock_batch.client.time.sleep", sleep)
    assert "Completed" in person.types("submit", path, "--wait")
    assert person.err.count("The queue does not know 1 upload yet. bedrock-batch sweep finds") == 1


def expire(person: Person) -> None:
    (upload,) = person.world.uploads()
    person.world.table.delete_item(Key={"pk": upload.upload_id, "sk": "upload"})


def test_an_upload_whose_row_has_expired_is_not_waited_for(person: Person) -> None:
    # Given an upload that has ended, and whose row is gone
    path = person.file("a.jsonl", lines(records(3)))
    person.types("submit", path, "--wait")
    expire(person)
    # When it is submitted again, then it says what became of it, as does every command that needs the row
    for given in (("submit", path, "--wait"), ("status", "a.jsonl"), ("results", "a.jsonl")):
        person.types(*given, code=2)
        assert "its row has expired" in person.err
        assert "processed/a.jsonl.summary.json" in person.err


def test_so_is_one_that_was_rejected(person: Person) -> None:
    person.world.upload("a.jsonl", b"no\n")
    person.world.run()
    expire(person)
    person.types("errors", "a.jsonl", code=2)
    assert "processed/a.jsonl.rejected.json" in person.err


# --------------------------------------------------------------------------------------------------- orders


def test_an_order_without_an_answer_can_be_repeated(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    def invoke(*_: Any, **__: Any) -> Any:
        raise ReadTimeoutError(endpoint_url="https://lambda")

    monkeypatch.setattr(Lambda, "invoke", invoke)
    person.types("pause", "--why", "x", code=3)
    assert "has not answered within 90 s" in person.err
    assert "the order can be repeated" in person.err


@pytest.mark.parametrize("payload", [b'"text"', b"[1]", b"null", b"", b"\xff"])
@pytest.mark.parametrize("failed", [True, False])
def test_an_answer_that_is_no_object_is_told(
    person: Person, monkeypatch: pytest.MonkeyPatch, payload: bytes, failed: bool
) -> None:
    def invoke(*_: Any, **__: Any) -> Any:
        return {"Payload": io.BytesIO(payload), **({"FunctionError": "Unhandled"} if failed else {})}

    monkeypatch.setattr(Lambda, "invoke", invoke)
    person.types("pause", "--why", "x", code=3)
    assert ("operate failed" if failed else "does not understand") in person.err


def test_a_row_for_clients_that_lacks_something_is_told(person: Person) -> None:
    item = person.world.table.get_item(Key={"pk": "about", "sk": "queue"})["Item"]
    person.world.table.put_item(Item={name: value for name, value in item.items() if name != "role_arn"})
    with pytest.raises(InputError, match="Run terraform apply"):
        person.queue.check(person.file("a.jsonl", lines(records(1))))


def test_a_drain_goes_on_when_aws_does_not_answer(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    person.world.upload("a.jsonl", lines(records(20)))
    person.world.run(lambda: bool(person.world.bedrock_jobs()))
    read, errors = Jobs.active, [None, EndpointConnectionError(endpoint_url="https://x")]

    def active(self: Jobs) -> Any:
        if errors and (error := errors.pop(0)) is not None:
            raise error
        return read(self)

    monkeypatch.setattr(Jobs, "active", active)
    assert "No job runs" in person.types("drain", "--wait")
    assert person.err.count("Trying again") == 1


@pytest.mark.parametrize("fails", [3, 100])
def test_a_result_that_breaks_off_goes_on_where_it_was(
    person: Person, monkeypatch: pytest.MonkeyPatch, fails: int
) -> None:
    submission = person.queue.submit(records(20)).wait()
    whole = b"".join(submission[0].blocks())
    failed: list[Any] = []
    read = Bucket.stream

    def stream(self: Bucket, ref: Any, span: Any = None) -> Iterator[bytes]:
        for block in read(self, ref, span):
            if len(failed) < fails:
                failed.append(span)
                if len(failed) < 3:
                    yield block[:100]
                raise IncompleteReadError(actual_bytes=1, expected_bytes=2)
            yield block

    monkeypatch.setattr(Bucket, "stream", stream)
    if fails == 3:
        assert b"".join(submission[0].blocks()) == whole
        assert failed == [None, (100, len(whole)), (200, len(whole))]
    else:
        with pytest.raises(PassingError, match="could not be reached"):
            list(submission[0].blocks())
        assert len(failed) < 20
