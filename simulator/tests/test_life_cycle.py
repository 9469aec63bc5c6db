"""From Submitted to the end: durations, validation, stopping, expiring, jobs that fail."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from bedrock_batch_simulator import ApiError, Simulator

from .world import BUCKET, CLAUDE, SMALL, World, message, records

ALL = ["Submitted", "Validating", "Scheduled", "InProgress", "Completed"]
SLOW: dict[str, Any] = {
    "models": {
        "*": {
            "min_records": 1,
            "queue_seconds": 10,
            "validation_seconds": 20,
            "schedule_seconds": 30,
            "records_per_second": 2,
            "stopping_seconds": 5,
        }
    }
}
"""InProgress begins after 60 s; each record takes half a second."""


def create(simulator: Simulator, world: World, name: str = "job-1", **change: Any) -> str:
    return str(simulator.call("CreateModelInvocationJob", world.request(name, **change))["jobArn"])


def get(simulator: Simulator, arn: str) -> dict[str, Any]:
    return simulator.call("GetModelInvocationJob", {"jobIdentifier": arn})


def run(world: World, body: bytes, config: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a job over one file ends as."""
    world.put("in/a.jsonl", body)
    simulator = world.simulator(config)
    arn = create(simulator, world)
    simulator.advance(7 * 24 * 3600)
    return get(simulator, arn)


def test_a_job_goes_through_all_statuses_in_the_configured_time(world: World) -> None:
    # given a job of 100 records
    world.put("in/a.jsonl", records(100))
    simulator = world.simulator(SLOW)
    arn, start = create(simulator, world), world.clock()

    # when time passes to rest
    simulator.advance(3600)

    # then each status came when it was due
    job = simulator.jobs[arn.rpartition("/")[2]]
    assert [(status, at - start) for status, at in job.timeline] == list(
        zip(ALL, [0, 10, 30, 60, 110], strict=True)
    )


def test_rare_and_frequent_ticks_give_the_same_history(world: World) -> None:
    # given two simulators of one seed, when one ticks once and the other each second
    world.put("in/a.jsonl", records(30))
    histories = []
    for steps in (1, 200):
        simulator = world.simulator(SLOW)
        start = world.clock()
        arn = create(simulator, world)
        for _ in range(steps):
            world.clock.advance(200 / steps)
            simulator.tick()
        job = simulator.jobs[arn.rpartition("/")[2]]
        histories.append([(status, round(at - start, 6)) for status, at in job.timeline])

    # then both tell the same
    assert histories[0] == histories[1]


def test_the_counts_grow_while_the_job_is_in_progress(world: World) -> None:
    world.put("in/a.jsonl", records(100))
    simulator = world.simulator(SLOW)
    arn = create(simulator, world)
    assert "totalRecordCount" not in get(simulator, arn)
    simulator.advance(60 + 12.5)
    job = get(simulator, arn)
    assert (job["status"], job["totalRecordCount"], job["processedRecordCount"]) == ("InProgress", 100, 25)
    assert job["successRecordCount"] + job["errorRecordCount"] == 25


def test_jobs_above_the_number_that_may_run_wait_as_scheduled(world: World) -> None:
    # given a model that runs one job at a time, and three jobs
    world.put("in/a.jsonl", records(10))
    config = {"models": {"*": {"min_records": 1, "max_in_progress": 1, "records_per_second": 1}}}
    simulator = world.simulator(config)
    arns = [create(simulator, world, f"job-{n}") for n in range(3)]

    # when the first is in progress, then the others wait in line
    simulator.advance(5)
    assert [get(simulator, arn)["status"] for arn in arns] == ["InProgress", "Scheduled", "Scheduled"]

    # and follow one after the other
    simulator.advance(10)
    assert [get(simulator, arn)["status"] for arn in arns] == ["Completed", "InProgress", "Scheduled"]
    simulator.advance(60)
    assert [get(simulator, arn)["status"] for arn in arns] == ["Completed"] * 3


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", "line 2 of file a.jsonl is blank"),
        (b"  \t", "is blank"),
        (b"\r", "is blank"),
        (b'{"recordId": "x", "modelInput": {}', "not a valid JSON object"),
        (b"[]", "not a JSON object"),
        (b'{"recordId": "x"}', "no modelInput object"),
        (b'{"recordId": "x", "modelInput": "text"}', "no modelInput object"),
        (b'{"recordId": 7, "modelInput": {}}', "recordId that is not a string"),
        (b'{"recordId": "\xff", "modelInput": {}}', "not UTF-8"),
        (b'{"recordId": "x", "modelInput": {"a": NaN}}', "not a valid JSON object"),
        (b'{"modelInput": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}", "not a valid JSON object"),
    ],
)
def test_a_malformed_line_fails_the_job_in_validation(world: World, line: bytes, words: str) -> None:
    # given a good file but for its second line, when a job runs over it
    job = run(world, records(1) + line + b"\n" + records(1, first=1))

    # then it fails in validation, says where, and writes nothing
    assert job["status"] == "Failed"
    assert words in job["message"]
    assert world.stored("out/") == []


def test_a_byte_order_mark_fails_the_job(world: World) -> None:
    assert "line 1" in run(world, b"\xef\xbb\xbf" + records(1))["message"]


def test_crlf_no_final_newline_and_u2028_are_fine(world: World) -> None:
    text = json.dumps({"modelInput": message("a\u2028b\u0085c")}, ensure_ascii=False).encode()
    job = run(world, text + b"\r\n" + text)
    assert (job["status"], job["successRecordCount"]) == ("Completed", 2)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"min_records": 11}, "less records (10) than the required minimum of: 11"),
        ({"max_records_per_file": 9}, "more records (10) than the maximum of: 9"),
        ({"max_records_per_job": 9}, "contains more records (10)"),
        ({"max_file_bytes": 100}, "more than the maximum of 100"),
        ({"max_job_bytes": 100}, "more than the maximum of 100"),
    ],
)
def test_a_quota_of_records_or_bytes_fails_the_job(world: World, limits: dict[str, Any], words: str) -> None:
    job = run(world, records(10), {"models": {"*": {"min_records": 1}, f"us.{CLAUDE}": limits}})
    assert job["status"] == "Failed"
    assert words in job["message"]


def test_the_defaults_are_those_of_the_service(world: World) -> None:
    # given the default configuration, when jobs of 99 and of 100 records run
    assert run(world, records(99), {})["status"] == "Failed"

    # then the minimum is a hundred
    assert run(world, records(100), {})["status"] == "Completed"


def test_the_records_of_a_folder_count_together(world: World) -> None:
    for number in range(4):
        world.put(f"in/sub/{number}.jsonl", records(25))
    world.put("in/notes.txt", b"no records")
    simulator = world.simulator({})
    arn = create(simulator, world)
    simulator.advance(600)
    assert get(simulator, arn)["totalRecordCount"] == 100


@pytest.mark.parametrize("uri", [f"s3://{BUCKET}/nothing/", f"s3://{BUCKET}/in/none.jsonl"])
def test_an_input_location_without_files_fails_the_job(world: World, uri: str) -> None:
    world.put("in/a.jsonl", records(1))
    simulator = world.simulator()
    arn = create(simulator, world, inputDataConfig={"s3InputDataConfig": {"s3Uri": uri}})
    simulator.advance(60)
    job = get(simulator, arn)
    assert job["status"] == "Failed"
    assert uri in job["message"]


def test_stop_keeps_what_was_finished(world: World) -> None:
    # given a job half-way
    world.put("in/a.jsonl", records(100))
    simulator = world.simulator(SLOW)
    arn = create(simulator, world)
    simulator.advance(60 + 25)

    # when it is stopped
    assert simulator.call("StopModelInvocationJob", {"jobIdentifier": arn}) == {}
    assert get(simulator, arn)["status"] == "Stopping"
    simulator.advance(60)

    # then it ends Stopped, with the results of what was finished
    job = get(simulator, arn)
    assert (job["status"], job["processedRecordCount"]) == ("Stopped", 50)
    assert len(world.results(f"out/{arn[-12:]}/a.jsonl.out")) == 50


def test_stop_before_the_start_writes_nothing(world: World) -> None:
    world.put("in/a.jsonl", records(10))
    simulator = world.simulator(SLOW)
    arn = create(simulator, world)
    simulator.advance(15)
    simulator.call("StopModelInvocationJob", {"jobIdentifier": arn})
    simulator.advance(600)
    assert get(simulator, arn)["status"] == "Stopped"
    assert world.stored("out/") == []


@pytest.mark.parametrize("code", ["ConflictException", "ValidationException"])
def test_an_ended_job_cannot_be_stopped(world: World, code: str) -> None:
    world.put("in/a.jsonl", records(1))
    simulator = world.simulator({**SMALL, "stop_ended_error": code})
    arn = create(simulator, world)
    simulator.advance(60)
    with pytest.raises(ApiError) as caught:
        simulator.call("StopModelInvocationJob", {"jobIdentifier": arn})
    assert caught.value.code == code
    assert "State was: Completed" in str(caught.value)


def test_a_job_that_does_not_begin_in_time_expires(world: World) -> None:
    world.put("in/a.jsonl", records(1))
    simulator = world.simulator({"models": {"*": {"min_records": 1, "schedule_seconds": 48 * 3600}}})
    arn = create(simulator, world, timeoutDurationInHours=24)
    simulator.advance(24 * 3600)
    job = get(simulator, arn)
    assert job["status"] == "Expired"
    assert job["endTime"] == job["jobExpirationTime"]
    assert world.stored("out/") == []


@pytest.mark.parametrize("status", ["PartiallyCompleted", "Expired"])
def test_a_job_that_does_not_finish_in_time_keeps_what_was_finished(world: World, status: str) -> None:
    # given a job that needs 100 hours and has 24
    world.put("in/a.jsonl", records(100))
    slow = {"min_records": 1, "records_per_second": 1 / 3600}
    simulator = world.simulator({"models": {"*": slow}, "timeout_status": status})
    arn = create(simulator, world)

    # when its time is over
    simulator.advance(25 * 3600)

    # then what was finished is there
    job = get(simulator, arn)
    assert (job["status"], job["processedRecordCount"]) == (status, 23)
    assert len(world.results(f"out/{arn[-12:]}/a.jsonl.out")) == 23


@pytest.mark.parametrize("outcome", ["Failed", "Expired", "Stopped", "PartiallyCompleted"])
def test_a_job_fault_ends_the_named_jobs_half_way(world: World, outcome: str) -> None:
    # given a fault for the jobs named bad
    world.put("in/a.jsonl", records(10))
    fault = {"outcome": outcome, "names": ["bad"], "fraction": 0.4, "message": "because"}
    simulator = world.simulator({**SMALL, "job_faults": [fault]})
    good, bad = create(simulator, world, "good-1"), create(simulator, world, "bad-1")

    # when both run
    simulator.advance(600)

    # then only the named one is hit, and only a Failed job leaves nothing
    assert get(simulator, good)["status"] == "Completed"
    job = get(simulator, bad)
    assert (job["status"], job["processedRecordCount"]) == (outcome, 4)
    written = world.stored(f"out/{bad[-12:]}/")
    assert len(written) == (0 if outcome == "Failed" else 2)


def test_a_job_fault_hits_at_its_rate_and_no_more_often_than_told(world: World) -> None:
    world.put("in/a.jsonl", records(1))
    unchecked = {"check_buckets": False, "check_role": False, "check_surroundings": False}
    quota = {"models": {"*": {"min_records": 1, "max_active_jobs": 1000}}, **unchecked}
    for change, low, high in (({"rate": 0.1}, 2, 25), ({"times": 3}, 3, 3)):
        simulator = world.simulator({**quota, "job_faults": [{"outcome": "Failed", **change}]})
        arns = [create(simulator, world, f"n-{number}") for number in range(100)]
        simulator.advance(600)
        failed = sum(get(simulator, arn)["status"] == "Failed" for arn in arns)
        assert low <= failed <= high


def test_an_input_that_goes_away_fails_the_job_in_words(world: World) -> None:
    world.put("in/a.jsonl", records(100))
    simulator = world.simulator(SLOW)
    arn = create(simulator, world)
    simulator.advance(50)
    world.s3.delete_object(Bucket=BUCKET, Key="in/a.jsonl")
    simulator.advance(600)
    job = get(simulator, arn)
    assert job["status"] == "Failed"
    assert "NoSuchKey" in job["message"]


def test_an_input_that_changes_before_its_records_are_processed_fails_the_job(world: World) -> None:
    world.put("in/a.jsonl", records(100))
    simulator = world.simulator(SLOW)
    arn = create(simulator, world)
    simulator.advance(50)
    world.put("in/a.jsonl", records(99))
    simulator.advance(600)
    job = get(simulator, arn)
    assert (job["status"], "a.jsonl changed" in job["message"]) == ("Failed", True)


def test_passing_faults_of_s3_are_tried_again(world: World) -> None:
    # given an S3 that cannot be reached twice
    world.put("in/a.jsonl", records(1))
    simulator = world.simulator()
    real, failures = world.s3, [OSError("gone"), OSError("gone")]

    class Flaky:
        def __getattr__(self, name: str) -> Any:
            if name == "get_object" and failures:
                raise failures.pop()
            return getattr(real, name)

    simulator.aws = replace(simulator.aws, s3=Flaky())
    arn = create(simulator, world)

    # when the job runs, then it comes through
    simulator.advance(60)
    assert get(simulator, arn)["status"] == "Completed"
    assert not failures


def test_a_plug_that_breaks_fails_the_job_in_words(world: World) -> None:
    # given an S3 of the user's own that is broken
    world.put("in/a.jsonl", records(1))
    simulator = world.simulator()

    class Broken:
        def __getattr__(self, name: str) -> Any:
            if name == "get_object":
                raise KeyError("mine")
            return getattr(world.s3, name)

    simulator.aws = replace(simulator.aws, s3=Broken())
    arn = create(simulator, world)

    # when the job runs, then it fails, and says by what
    simulator.advance(60)
    job = get(simulator, arn)
    assert (job["status"], job["message"]) == ("Failed", "The simulator failed: KeyError: 'mine'")


def test_a_run_is_the_same_for_a_seed(world: World) -> None:
    # given all chances in play
    world.put("in/a.jsonl", records(3))
    config = {
        "models": {"*": {"min_records": 1, "max_active_jobs": 2000, "max_in_progress": 7}},
        "record_faults": {"passing_rate": 0.2, "permanent_rate": 0.1},
        "job_faults": [{"outcome": "Expired", "rate": 0.1}],
        "events": {"jitter_seconds": 3, "loss_rate": 0.1, "duplicate_rate": 0.1, "reorder_rate": 0.1},
        "check_buckets": False,
        "check_role": False,
        "check_surroundings": False,
    }
    start, runs = world.clock(), []
    for seed in (5, 5, 6):
        world.clock.now = start
        world.events.clear()
        simulator = world.simulator(config, seed=seed)
        for number in range(60):
            create(simulator, world, f"n-{number}")
        simulator.advance(3600)
        timelines = [job.timeline for job in simulator.jobs.values()]
        runs.append(json.dumps([timelines, [each["id"] for each in world.events]]))

    # then the same seed gives the same run, another one another
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_a_job_whose_results_are_being_written_cannot_be_stopped(world: World) -> None:
    # given a job whose last record is done, and the step that writes its results taken but not finished
    world.put("in/a.jsonl", records(10))
    simulator = world.simulator()
    arn = create(simulator, world)
    simulator.advance(3)
    world.clock.advance(60)
    while True:
        step = simulator.agenda.next_step()
        assert step is not None
        result = step.run()
        if world.stored("out/"):
            break
        step.finish(result)

    # when a stop comes in between
    with pytest.raises(ApiError, match="ConflictException"):
        simulator.call("StopModelInvocationJob", {"jobIdentifier": arn})
    step.finish(result)
    simulator.advance(600)

    # then the job ends once, Completed
    job = simulator.jobs[arn.rpartition("/")[2]]
    assert [status for status, _ in job.timeline][-2:] == ["InProgress", "Completed"]


def test_a_fault_that_was_used_up_stays_so_when_other_settings_change(world: World) -> None:
    # Given a fault of one job, which has struck
    simulator = world.simulator({**SMALL, "job_faults": [{"outcome": "Failed", "times": 1}]})
    world.put("in/a.jsonl", records(1))
    simulator.call("CreateModelInvocationJob", world.request("first"))
    simulator.advance(60)
    # When another setting changes, then the next job completes
    simulator.configure({"events": {"loss_rate": 0.5}})
    simulator.call("CreateModelInvocationJob", world.request("second"))
    simulator.advance(60)
    assert [job.status for job in simulator.jobs.values()] == ["Failed", "Completed"]
