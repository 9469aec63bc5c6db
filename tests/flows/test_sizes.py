"""Any size in, one result out: cutting, packing, putting together, and running records again."""

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from batch_queue.core import duplicates
from batch_queue.core.digests import Ids, digest
from batch_queue.core.rows import Status
from bedrock_batch_simulator import expected_output

from tests.support.invariants import check
from tests.support.routes import configured
from tests.support.world import HAIKU, TIMEOUTS, Call, World, lines, records, statuses

pytestmark = pytest.mark.flows

SMALL = configured(
    "default",
    HAIKU,
    max_active_jobs=4,
    min_records_per_job=10,
    max_records_per_job=400,
    max_records_per_file=200,
)
CONFIG = {
    "models": {
        "*": {
            "min_records": 10,
            "max_records_per_job": 400,
            "max_records_per_file": 200,
            "max_active_jobs": 4,
        }
    }
}


def answered(world: World, upload_id: str, rows: list[dict[str, Any]]) -> None:
    """Every record stands once in the result, with the model's answer to it."""
    upload = world.one_upload(upload_id)
    found = world.result(upload)
    answers = {row["recordId"]: row.get("modelOutput") for row in found}
    assert len(found) == len(answers) == len(rows)
    for row in rows:
        expected = expected_output(HAIKU, "InvokeModel", row["modelInput"])
        assert answers[row["recordId"]] == expected["modelOutput"]


def test_a_large_upload_runs_in_several_jobs_and_has_one_result() -> None:
    with World.open(SMALL, config=CONFIG) as world:
        rows = records(803)
        upload_id = world.upload("large.jsonl", lines(rows))
        world.run()
        upload = world.one_upload(upload_id)
        assert upload.status == Status.COMPLETED
        assert upload.chunks == 40
        assert len(world.bedrock_jobs()) >= 3
        answered(world, upload_id, rows)
        summary = world.s3.get_object(Bucket=world.bucket, Key="processed/large.jsonl.summary.json")
        document = json.loads(summary["Body"].read())
        assert (document["records"], document["successes"], document["errors"]) == (803, 803, 0)
        assert sorted(document["jobs"]) == sorted(job["jobArn"] for job in world.bedrock_jobs())
        assert document["output_tokens"] > 0


def test_small_uploads_are_packed_and_each_has_its_own_result() -> None:
    with World.open(SMALL, config=CONFIG) as world:
        batches = {f"{n:02d}.jsonl": records(3 + n % 5, f"u{n}-") for n in range(40)}
        accepted = {world.upload(key, lines(rows)): rows for key, rows in batches.items()}
        for event in list(world.events):
            world.invoke("create", event[3])
        world.events.clear()
        world.invoke("process", {})
        world.run()
        check(world, accepted, slots=4)
        assert statuses(world) == {Status.COMPLETED: 40}
        assert len(world.bedrock_jobs()) == 4


def test_untidy_and_large_together_run_rightly() -> None:
    with World.open(SMALL, config=CONFIG) as world:
        rows = records(300)
        body = b"\xef\xbb\xbf" + lines(rows).replace(b"\n", b"\r\n\n", 200)
        upload_id = world.upload("a.jsonl", body)
        world.run()
        answered(world, upload_id, rows)


def test_with_records_and_jobs_failing_what_remains_are_the_errors_for_good() -> None:
    config = {
        **CONFIG,
        "record_faults": {"passing_rate": 0.05, "permanent_rate": 0.01},
        "job_faults": [{"outcome": "Expired", "rate": 0.2, "fraction": 0.5}],
    }
    route = replace(SMALL, max_record_attempts=9, undersized="on_demand")
    with World.open(route, config=config, seed=3) as world:
        accepted = {}
        for number in range(5):
            rows = records(120, f"f{number}-")
            accepted[world.upload(f"{number}.jsonl", lines(rows))] = rows
        world.run(steps=3_000)
        check(world, accepted, slots=4)
        codes = Counter(
            row["error"]["errorCode"]
            for upload in world.uploads()
            for row in world.result(upload)
            if "error" in row
        )
        assert set(codes) == {400}
        assert 0 < codes[400] < 30


def test_an_upload_of_more_chunks_than_one_transaction_takes_survives_a_crash_at_each_write() -> None:
    tiny = configured(
        "default", HAIKU, min_records_per_job=1, max_records_per_file=10, max_records_per_job=50
    )
    config = {"models": {"*": {"min_records": 1}}}
    rows = records(41)
    for at in (30, 70):
        with World.open(tiny, config=config) as world:
            upload_id = world.upload("a.jsonl", lines(rows))
            world.bedrock_events = False
            world.before = lambda call, world=world, at=at: world.kill() if call.number == at else None
            world.run(steps=2_000)
            answered(world, upload_id, rows)


@pytest.mark.parametrize("records_per_file", [10, 30, 90])
def test_an_upload_that_is_cut_by_other_limits_after_a_crash_has_each_record_in_one_chunk(
    records_per_file: int,
) -> None:
    # Given a run that died while it stored the chunks of an upload
    before = configured("default", HAIKU, min_records_per_job=1, max_records_per_file=20)
    with World.open(before, config={"models": {"*": {"min_records": 1}}}) as world:
        rows = records(120)
        upload_id = world.upload("a.jsonl", lines(rows))
        world.before = lambda call: world.kill() if call.number == 30 else None
        # When the route's limits change before it is tried again
        world.step()
        world.put_route(replace(before, max_records_per_file=records_per_file))
        world.before = None
        world.run(until=lambda: bool(world.uploads()))
        # Then its chunks are of one cut
        upload = world.one_upload(upload_id)
        chunks = sorted(world.unhooked().chunks.of(upload), key=lambda chunk: chunk.start)
        assert sum(chunk.records for chunk in chunks) == len(rows)
        assert all(one.end == other.start for one, other in pairwise(chunks))


def test_a_reading_that_runs_out_of_time_goes_on_in_the_next_invocation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.support.world.TIMEOUTS", {**TIMEOUTS, "create": 59.0})
    with World.open(SMALL, config=CONFIG) as world:
        rows = records(100)
        rows[70] = {**rows[70], "recordId": "r3"}
        bad = world.upload("bad.jsonl", lines(rows))
        good_rows = records(100, "g")
        good = world.upload("good.jsonl", lines(good_rows))
        world.run()
        assert world.one_upload(bad).status == Status.REJECTED
        assert "line 71: recordId already appears on an earlier line" in world.one_upload(bad).message
        answered(world, good, good_rows)


def test_what_was_learned_of_a_model_is_stored_with_it() -> None:
    with World.open(SMALL, config=CONFIG) as world:
        world.upload("a.jsonl", lines(records(200)))
        world.run()
        (row,) = [row for row in world.rows() if row["pk"] == "model"]
        assert row["sk"] == HAIKU
        assert row["jobs"] >= 1
        assert 0 < row["records_per_1000_s"] <= 100_000


ON_DEMAND = configured("default", HAIKU, undersized="on_demand", input_price="0.25", output_price="1.25")


def test_too_few_records_run_on_demand_and_have_the_same_kind_of_result() -> None:
    with World.open(ON_DEMAND, config={"record_faults": {"passing_rate": 0.1}}) as world:
        rows = records(37)
        upload_id = world.upload("few.jsonl", lines(rows))
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED, world.one_upload(upload_id).message
        answered(world, upload_id, rows)
        assert not world.bedrock_jobs()
        assert world.simulator.on_demand.state()["repeated"] == 0
        summary = world.s3.get_object(Bucket=world.bucket, Key="processed/few.jsonl.summary.json")
        upload = world.one_upload(upload_id)
        cost = upload.input_tokens * 0.25e-6 + upload.output_tokens * 1.25e-6
        assert float(json.loads(summary["Body"].read())["cost"]) == pytest.approx(cost, abs=1e-6)


@pytest.mark.parametrize("least", [1, 1_000])
def test_the_summary_counts_the_stop_reasons(least: int) -> None:
    # Given answers that are cut, in chunks that run again, as batch jobs or on demand
    route = replace(ON_DEMAND, min_records_per_job=least, max_records_per_file=15, max_record_attempts=9)
    config = {"record_faults": {"passing_rate": 0.3}, "models": {"*": {"min_records": 1}}}
    with World.open(route, config=config) as world:
        rows = records(40)
        for row in rows[:13]:
            row["modelInput"]["max_tokens"] = 2
        upload_id = world.upload("few.jsonl", lines(rows))
        world.run()
        # Then the summary counts each record once
        assert world.one_upload(upload_id).success_count == 40
        assert bool(world.bedrock_jobs()) == (least == 1)
        summary = world.s3.get_object(Bucket=world.bucket, Key="processed/few.jsonl.summary.json")
        document = json.loads(summary["Body"].read())
        assert document["attempts"] > 1
        assert document["stop_reasons"] == {"end_turn": 27, "max_tokens": 13}


def test_a_run_on_demand_that_dies_answers_no_stored_record_again() -> None:
    for at in (6, 11, 30):
        with World.open(ON_DEMAND) as world:
            rows = records(40)
            upload_id = world.upload("few.jsonl", lines(rows))
            asked: list[int] = []

            def kill(call: Call, world: World = world, asked: list[int] = asked, at: int = at) -> None:
                if call.function == "collect":
                    asked.append(call.number)
                    if len(asked) == at:
                        world.kill()

            world.before = kill
            world.run()
            answered(world, upload_id, rows)
            assert world.simulator.on_demand.state()["repeated"] <= 8


def test_a_run_on_demand_that_is_short_of_time_goes_on_in_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batch_queue.steps.on_demand.BATCH_SECONDS", 890.0)
    with World.open(ON_DEMAND) as world:
        rows = records(40)
        upload_id = world.upload("few.jsonl", lines(rows))

        def slow(call: Call) -> None:
            if call.operation == "InvokeModel":
                world.clock.advance(3)

        world.before = slow
        world.run()
        answered(world, upload_id, rows)
        assert world.simulator.on_demand.state()["repeated"] == 0


def test_uploads_whose_events_come_late_wait_for_each_other() -> None:
    with World.open(configured("default", HAIKU)) as world:
        # Given uploads that are too small alone, and whose events come after they would have waited
        put = [world.put(f"{number}.jsonl", lines(records(60, f"u{number}-"))) for number in range(10)]
        world.clock.advance(20 * 60)
        # When the events come, a second after each other, also while the processor waits for them
        for delay, (_, event) in enumerate(put):
            world.send("create", event, delay=delay)

        def sleep(seconds: float) -> None:
            world.clock.advance(seconds)
            due = [each for each in world.events if each[2] == "create" and each[0] <= world.clock()]
            world.events[:] = sorted(each for each in world.events if each not in due)
            for each in due:
                world.invoke("create", each[3])

        world.pause = sleep
        world.run()
        # Then all of them run
        assert statuses(world) == {Status.COMPLETED: 10}


def test_the_age_of_what_waits_is_told_also_of_an_upload_that_has_begun(
    capsys: pytest.CaptureFixture[str],
) -> None:
    route = configured(
        "default",
        HAIKU,
        min_records_per_job=1,
        max_records_per_file=100,
        max_records_per_job=10,
        max_active_jobs=1,
    )
    with World.open(route, config=CONFIG) as world:
        # Given an upload of two jobs, of which foreign jobs let only the first one run
        upload_id = world.upload("a.jsonl", lines(records(20)))
        world.run(until=lambda: bool(world.bedrock_jobs()))
        world.simulator.add_foreign(HAIKU, count=1, seconds=1_000_000)
        world.run(until=lambda: bool([job for job in world.jobs() if job.collected_at]) and not world.events)
        assert world.one_upload(upload_id).status == Status.SUBMITTED
        # When three hours later the processor looks
        world.clock.advance(3 * 3600)
        capsys.readouterr()
        world.invoke("process", {})
        # Then it tells how long the rest has waited
        told = [
            json.loads(line) for line in capsys.readouterr().out.splitlines() if "OldestPendingAge" in line
        ]
        assert 3 * 3600 <= told[-1]["OldestPendingAge"] < 4 * 3600


@pytest.mark.parametrize(("least", "answers"), [(50, 105), (100, 100)])
def test_an_upload_a_little_larger_than_a_job_is_run_as_far_as_jobs_can_be_made_of_it(
    least: int, answers: int
) -> None:
    limits = {"min_records": least, "max_records_per_job": 100}
    route = configured("default", HAIKU, min_records_per_job=least, max_records_per_job=100)
    with World.open(route, config={"models": {"*": limits}}) as world:
        upload_id = world.upload("a.jsonl", lines(records(105)))
        world.run()
        upload = world.one_upload(upload_id)
        assert (upload.success_count, upload.error_count) == (answers, 105 - answers)
        assert ("5 records are fewer than the 100 that Bedrock requires" in upload.message) is (least == 100)


@pytest.mark.parametrize("twice", [(0, 299), ()], ids=["doubled", "only seeming to be"])
def test_a_second_reading_that_runs_out_of_time_goes_on_in_other_runs(
    twice: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given digests that a few recordIds seem to share, or do, and a reading that takes all of a run's time
    monkeypatch.setattr(duplicates, "BYTES_A_LOOK", 5_000)
    seeming = Ids.twice
    monkeypatch.setattr(Ids, "twice", lambda ids, most: seeming(ids, most) | {digest("r7")})
    with World.open(SMALL, config=CONFIG) as world:
        rows = records(300)
        rows[-1]["recordId"] = rows[twice[0]]["recordId"] if twice else "r299"
        upload_id = world.upload("a.jsonl", lines(rows))
        runs: list[Call] = []

        def take_time(call: Call) -> None:
            if call.operation == "GetObject" and "to-process" in call.params["url_path"]:
                runs.append(call)
                if len(runs) > 1:  # the second reading
                    world.clock.advance(850)

        world.before = take_time
        world.run(lambda: bool(world.uploads()))
        world.before = None
        world.run()
        assert len(runs) > 5
        assert len({call.invocation.request_id for call in runs}) == len(runs) - 1
        if twice:
            upload = world.one_upload(upload_id)
            assert upload.status == Status.REJECTED
            assert "line 300: recordId already appears on an earlier line" in upload.message
        else:
            check(world, {upload_id: rows}, slots=4)
        assert not world.errors
