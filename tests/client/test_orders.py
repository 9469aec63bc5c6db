"""`cancel`, `retry`, `pause`, `resume`, `sweep` and `drain`."""

from __future__ import annotations

from batch_queue.core.rows import Status
from batch_queue.steps.operate import AGAIN_SECONDS

from tests.client.conftest import Person
from tests.client.test_looking import running
from tests.support.world import lines, records


def test_an_upload_is_cancelled_in_mid_flight_and_retried(person: Person) -> None:
    # Given an upload that runs
    running(person)
    person.world.clock.advance(100.0)
    # When it is cancelled
    out = person.types("cancel", "a.jsonl", "--why", "wrong prompt", "--by", "ana")
    person.world.run()
    # Then it ends with what was answered by then
    assert "to-process/a.jsonl is cancelled." in out
    (upload,) = person.world.uploads()
    assert upload.status == Status.STOPPED
    assert "by ana (wrong prompt)" in upload.message
    # And a retry runs the others
    person.world.skip(AGAIN_SECONDS)
    assert "Run 2 has begun" in person.types("retry", "a.jsonl")
    person.world.run()
    (upload,) = person.world.uploads()
    assert (upload.status, upload.success_count) == (Status.COMPLETED, 20)


def test_the_result_can_be_read_until_a_retry_has_ended(person: Person) -> None:
    # Given an upload with a part of its answers, whose retry is ordered
    running(person)
    person.world.clock.advance(100.0)
    person.types("cancel", "a.jsonl")
    person.world.run()
    (upload,) = person.world.uploads()
    assert "Run 2 is ordered" in person.types("retry", "a.jsonl")
    # When its result is asked for, then it is that of the first run, which is said
    assert len(person.types("results", "a.jsonl").splitlines()) == upload.success_count
    assert "Run 2 has not ended: this is the result of the run before" in person.err
    assert len(person.types("results", "a.jsonl", "--join").splitlines()) == 20
    # And when the retry has ended, it has all answers
    person.world.run()
    assert len(person.types("results", "a.jsonl").splitlines()) == 20
    assert not person.err


def test_a_folder_is_cancelled(person: Person) -> None:
    person.types("pause", "--why", "a test")
    for name in ("x/a", "x/b", "c"):
        person.world.upload(f"{name}.jsonl", lines(records(2, name)))
    person.world.run(lambda: len(person.world.uploads()) == 3 and not person.world.events)
    assert "Cancelled 2 uploads." in person.types("cancel", "x/")
    person.types("resume")
    person.world.run()
    found = sorted(upload.status for upload in person.world.uploads())
    assert found == [Status.CANCELLED, Status.CANCELLED, Status.COMPLETED]


def test_a_pause_says_why_and_a_resume_ends_it(person: Person) -> None:
    assert "The route priced submits nothing new" in person.types(
        "pause", "--route", "priced", "--why", "the model is being changed", "--by", "ana"
    )
    assert "by ana: the model is being changed" in person.types("status")
    person.types("pause", code=2)
    assert "Missing option '--why'" in person.err
    person.types("pause", "--route", "chta", "--why", "x", code=2)
    assert 'there is no route "chta"' in person.err
    assert "The route priced submits jobs again" in person.types("resume", "--route", "priced")
    person.types("resume", code=2)
    assert "The queue is not paused" in person.err


def test_a_sweep_finds_an_upload_whose_event_was_lost(person: Person) -> None:
    person.world.upload("a.jsonl", lines(records(2)), deliveries=0)
    assert "A sweep of to-process/ has begun" in person.types("sweep")
    person.world.run()
    assert [upload.status for upload in person.world.uploads()] == [Status.COMPLETED]


def test_a_drain_waits_until_no_job_runs_and_the_queue_stays_paused(person: Person) -> None:
    running(person)
    person.world.upload("later.jsonl", lines(records(2)))
    out = person.types("drain", "--wait")
    assert "No job runs." in out
    assert not [job for job in person.world.jobs() if not job.collected_at]
    later = next(one for one in person.world.uploads() if "later" in one.key)
    assert later.status == Status.PENDING
    person.types("resume")
    person.world.run()


def test_a_drain_that_takes_too_long_ends_with_exit_code_1(person: Person) -> None:
    running(person, count=100)
    person.types("drain", "--wait", "--timeout", "0.1", code=1)
    assert "1 jobs have not ended within 0 min. The queue stays paused" in person.err
