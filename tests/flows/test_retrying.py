"""Jobs that cannot be submitted: they are tried again, hold nobody up, lose nothing, and end at last."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from batch_queue.core import retrying
from batch_queue.core.rows import Job, Status
from bedrock_batch_simulator import Fault

from tests.support.errors import aws_error
from tests.support.media import asking
from tests.support.routes import configured
from tests.support.world import HAIKU, Call, World, lines, records

from .test_media import CONVERSE, NOVA, media_copies, put

pytestmark = pytest.mark.flows

ANY_SIZE = {"models": {"*": {"min_records": 1}}}
HOUR = 3600.0


def completed(world: World, *upload_ids: str) -> bool:
    found = {upload.upload_id: upload.status for upload in world.uploads()}
    return {found.get(one) for one in upload_ids} == {Status.COMPLETED}


def taken_in(world: World) -> None:
    """Stores the uploads without waking the processor."""
    for event in list(world.events):
        world.invoke("create", event[3])
    world.events.clear()


def killing(world: World, what: str) -> list[float]:
    """Ends each run of the processor that copies ``what``; gives when."""
    kills: list[float] = []

    def kill(call: Call) -> None:
        if call.function == "process" and what in str(call.params.get("headers")):
            kills.append(world.clock())
            world.kill()

    world.before = kill
    return kills


def unanswered(world: World, is_hit: Callable[[str], bool]) -> list[float]:
    """Bedrock answers the submission of these jobs (by name) with 500; gives when."""
    hits: list[float] = []

    def fail(call: Call) -> None:
        if call.operation == "CreateModelInvocationJob" and is_hit(
            json.loads(call.params["body"])["jobName"]
        ):
            hits.append(world.clock())
            raise aws_error("InternalServerException", 500, "it broke")

    world.before = fail
    return hits


def test_a_job_that_ends_every_run_holds_no_other_up_and_ends_itself() -> None:
    routes = [
        configured("default", HAIKU, min_records_per_job=1, priority=100, max_active_jobs=1),
        configured("other", NOVA, invocation_type="Converse", min_records_per_job=1, max_active_jobs=1),
    ]
    with World.open(*routes, config=ANY_SIZE) as world:
        # Given a job whose staging ends each run
        bad = world.upload("bad.jsonl", lines(records(5)))
        kills = killing(world, "to-process/bad.jsonl")
        began = world.clock()
        world.run(lambda: len(kills) > 0)
        good = [world.upload(f"{n}.jsonl", lines(records(5, f"u{n}-"))) for n in range(2)]
        good += [world.upload(f"other/{n}.jsonl", lines([asking(n)])) for n in range(2)]
        # Then the others run within the hour, those of its own route and slot too
        world.run(lambda: completed(world, *good))
        assert world.clock() - began < 2 * HOUR
        # And in the end it ends, and says what to do
        world.run(steps=4_000)
        upload = world.one_upload(bad)
        assert (upload.status, upload.error_count) == (Status.FAILED, 5)
        assert "could not be submitted for a day, in 32 tries" in upload.message
        assert "split the file or reference smaller objects" in upload.message
        assert all("split the file" in row["error"]["errorMessage"] for row in world.result(upload))
        assert len(kills) == retrying.MAX_TRIES
        assert 24 * HOUR < kills[-1] - kills[0] < 40 * HOUR


@pytest.mark.parametrize("gone", [False, True], ids=["", "behind a deleted upload"])
def test_what_a_given_up_job_had_staged_runs_in_another(gone: bool) -> None:
    route = configured("default", HAIKU, min_records_per_job=1, max_active_jobs=1)
    with World.open(route, config=ANY_SIZE) as world:
        # Given a job of uploads of which the third ends each run, and perhaps the first is deleted
        ids: dict[str, str] = {}
        for name in ("a", "b", "bad", "c"):
            ids[name] = world.upload(f"{name}.jsonl", lines(records(5, name)))
            world.clock.advance(1.0)
        taken_in(world)
        if gone:
            version = world.one_upload(ids["a"]).version_id
            world.s3.delete_object(Bucket=world.bucket, Key="to-process/a.jsonl", VersionId=version)
        killing(world, "to-process/bad.jsonl")
        world.run(steps=4_000)
        # Then only that one fails
        assert 4 in [len(world.runs(job).chunks) for job in world.jobs()]
        found = {name: world.one_upload(one) for name, one in ids.items()}
        assert {name: upload.status for name, upload in found.items()} == {
            "a": Status.CANCELLED if gone else Status.COMPLETED,
            "b": Status.COMPLETED,
            "bad": Status.FAILED,
            "c": Status.COMPLETED,
        }
        assert all(len(world.result(found[name])) == 5 for name in ("b", "bad", "c"))


def test_a_job_that_bedrock_does_not_answer_holds_no_other_up_and_keeps_its_records() -> None:
    limits = {"min_records_per_job": 1, "max_active_jobs": 1, "max_record_attempts": 1}
    routes = [configured("default", HAIKU, **limits, priority=100), configured("low", HAIKU, **limits)]
    with World.open(*routes, config={"models": {"*": {"min_records": 1, "max_active_jobs": 1}}}) as world:
        # Given a job of the first priority that Bedrock always answers with 500
        bad = world.upload("bad.jsonl", lines(records(5)))
        name: list[str] = []

        def is_first(job: str) -> bool:
            name.extend([] if name else [job])
            return job in name

        hits = unanswered(world, is_first)
        began = world.clock()
        world.run(lambda: bool(hits))
        good = [
            world.upload(f"{folder}{n}.jsonl", lines(records(5))) for folder in ("", "low/") for n in (0, 1)
        ]
        # Then the others of its route and its model run
        world.run(lambda: completed(world, *good))
        assert world.clock() - began < 3 * HOUR
        assert world.simulator.peak(HAIKU) == 1
        # And after a day its records run in another job, at their only attempt
        world.run(steps=4_000)
        upload = world.one_upload(bad)
        assert (upload.status, upload.success_count) == (Status.COMPLETED, 5)
        assert len(hits) == retrying.MAX_TRIES
        (job,) = [job for job in world.jobs() if job.job_name in name]
        assert job.status == Status.FAILED
        assert job.message.endswith("The last answer: InternalServerException: it broke")


def test_an_outage_of_bedrock_loses_nothing_and_does_not_turn_the_queue_into_jobs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retrying, "MAX_ASIDE", 3)
    limits = {"max_records_per_job": 5, "max_active_jobs": 2, "max_record_attempts": 1}
    with World.open(configured("default", HAIKU, min_records_per_job=1, **limits), config=ANY_SIZE) as world:
        ids = [world.upload(f"{n:02d}.jsonl", lines(records(5, f"u{n}-"))) for n in range(12)]
        taken_in(world)
        began = world.clock()
        hits = unanswered(world, lambda _: world.clock() < began + 8 * HOUR)
        world.run(lambda: world.clock() > began + 7 * HOUR)
        # Then a round asks for few jobs
        assert max(Counter(hits).values()) == retrying.OUTAGE
        assert len(world.jobs()) == retrying.MAX_ASIDE + 2
        world.run(steps=2_000)
        assert completed(world, *ids)
        assert world.simulator.peak(HAIKU) <= 2
        assert not world.dead_letters


@pytest.mark.parametrize("quota", [True, False])
def test_only_what_the_quota_stops_waits_without_counting(quota: bool) -> None:
    with World.open(configured("default", HAIKU, max_active_jobs=1)) as world:
        kind: Any = "quota" if quota else "server_error"
        world.simulator.add_fault(Fault(kind, "CreateModelInvocationJob", times=4))
        upload_id = world.upload("a.jsonl", lines(records(100)))
        taken_in(world)
        for _ in range(4):
            world.invoke("process", {})
        (job,) = world.jobs()
        assert job.unanswered is not quota
        assert job.tries == (1 if quota else 3)
        world.run()
        assert completed(world, upload_id)


def test_a_given_up_job_that_bedrock_has_after_all_is_not_run_again() -> None:
    with World.open(configured("default", HAIKU, min_records_per_job=1), config=ANY_SIZE) as world:
        # Given a Bedrock that creates the job, and answers each call with 500
        def lose(call: Call) -> None:
            if call.operation == "CreateModelInvocationJob":
                raise aws_error("InternalServerException", 500, "it broke")

        world.after = lose
        upload_id = world.upload("a.jsonl", lines(records(5)))
        world.run(steps=4_000)
        # Then the job is found before its records run in another
        assert world.one_upload(upload_id).status == Status.COMPLETED
        assert len(world.bedrock_jobs()) == len(world.jobs()) == 1


def test_staging_that_takes_longer_than_a_run_goes_on_in_the_next() -> None:
    with World.open(configured("default", HAIKU)) as world:
        ids = [world.upload(f"{n}.jsonl", lines(records(20, f"u{n}-"))) for n in range(20)]
        copied: list[str] = []

        def slow(call: Call) -> None:
            if call.operation == "CopyObject" and call.function == "process":
                copied.append(call.params["url_path"])
                world.clock.advance(50)
                if world.clock() > call.invocation.deadline:
                    world.kill()

        taken_in(world)
        world.before = slow
        world.run()
        assert {world.one_upload(one).status for one in ids} == {Status.COMPLETED}
        assert len(copied) == len(set(copied)) == 20
        assert not world.errors, "no run was killed"
        assert {job.tries for job in world.jobs()} == {1}


def test_media_that_takes_longer_than_a_run_goes_on_in_the_next() -> None:
    with World.open(CONVERSE) as world:
        found = put(world, *(f"to-process/{n}.png" for n in range(20)))
        upload_id = world.upload("a.jsonl", lines([asking(n, found[n % 20]) for n in range(100)]))
        copied = media_copies(world)
        watch: Any = world.before

        def slow(call: Call) -> None:
            watch(call)
            if call.operation == "CopyObject" and "/in/media/" in call.params["url_path"]:
                world.clock.advance(50)
                if world.clock() > call.invocation.deadline:
                    world.kill()

        world.before = slow
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED
        assert len(copied) == len(set(copied)) == 20
        assert not world.errors, "no run was killed"


def test_staging_that_never_gets_anywhere_ends() -> None:
    with World.open() as world:
        # Given runs that have less than a minute left when they begin to stage
        runs: set[str] = set()

        def slow(call: Call) -> None:
            if call.operation == "BatchGetItem" and b"chunk#" in call.params["body"]:
                runs.add(call.invocation.request_id)
                world.clock.advance(245.0)

        world.before = slow
        upload_id = world.upload("a.jsonl", lines(records(100)))
        world.run()
        # Then they are counted as tries, and the upload ends
        upload = world.one_upload(upload_id)
        assert upload.status == Status.FAILED
        assert "could not be submitted for a day, in 32 tries" in upload.message
        assert len(runs) < 40


def job(tries: int, tried_at: str = "2026-01-01T00:00:00.000Z", **changes: Any) -> Job:
    name = f"{tries}-{tried_at}-{sorted(changes)}"
    defaults: dict[str, Any] = {
        "job_name": name,
        "route": "default",
        "model_id": HAIKU,
        "status": Status.SUBMITTING,
        "created_at": tried_at,
    }
    return Job(job_id=name, tries=tries, tried_at=tried_at, **{**defaults, **changes})


def test_the_tries_of_a_job_take_at_least_a_day() -> None:
    waits = [retrying.wait_seconds(tries) for tries in range(1, retrying.MAX_TRIES + 1)]
    assert waits[:6] == [0, 0, 60, 120, 240, 480]
    assert max(waits) == HOUR
    assert sum(waits[:-1]) >= 24 * HOUR > sum(waits[:-3])


def test_of_the_jobs_that_may_end_a_run_one_is_tried_in_a_round() -> None:
    now = 1767225600.0 + 59  # 59 s after the last try
    waiting = job(3)
    earlier, later = (job(3, f"2025-12-31T2{hour}:00:00.000Z") for hour in (2, 3))
    staged = [job(9, f"2025-12-31T1{hour}:00:00.000Z", sealed=True) for hour in (0, 1)]
    found = retrying.sort_out([later, job(2), waiting, earlier, *staged], now)
    assert found.first == (job(2),)
    assert found.last == (*staged, earlier)
    assert found.aside == {waiting.job_id, later.job_id}
    assert retrying.sort_out([waiting], now + 1).last == (waiting,)


def test_jobs_that_wait_beside_the_slots_are_bounded_for_each_model() -> None:
    many = [job(3, f"2026-01-01T00:00:{second:02d}.000Z") for second in range(50)]
    other = job(3, model_id=NOVA)
    found = retrying.sort_out([*many, other], 1767225600.0)
    assert found.aside == {one.job_id for one in [*many[: retrying.MAX_ASIDE], other]}
    assert not found.last
