"""What a job writes: one line for each record, the manifest, and records that fail."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from bedrock_batch_simulator import Record, Simulator, expected_output
from bedrock_batch_simulator.records import fails_for_good

from .world import ACCOUNT, BUCKET, CLAUDE, NOVA, SMALL, World, converse, jsonl, message, records


def run(
    world: World, config: dict[str, Any] | None = None, seed: int = 1, **change: Any
) -> tuple[Simulator, str]:
    """The simulator after the job ended, and the folder of its results."""
    simulator = world.simulator(config, seed=seed)
    arn = simulator.call("CreateModelInvocationJob", world.request(f"job-{seed}", **change))["jobArn"]
    simulator.advance(24 * 3600)
    return simulator, f"out/{arn[-12:]}/"


def manifest(world: World, folder: str) -> dict[str, int]:
    counts: dict[str, int] = json.loads(world.read(f"s3://{BUCKET}/{folder}manifest.json.out"))
    return counts


def test_each_input_file_gets_its_output_file_at_its_place_in_the_folder(world: World) -> None:
    # given a folder with files at two levels and one that is no input
    for key in ("in/a.jsonl", "in/deep/er/b.jsonl", "in/image.png"):
        world.put(key, records(2))

    # when a job runs over the folder
    _, folder = run(world)

    # then the outputs are where the service puts them, and the manifest beside them
    names = ["a.jsonl.out", "deep/er/b.jsonl.out", "manifest.json.out"]
    assert world.stored(folder) == [folder + name for name in names]


def test_one_file_as_input_and_an_output_location_without_slash(world: World) -> None:
    source = world.put("in/deep/a.jsonl", records(2))
    world.put("in/deep/a.jsonl.bak.jsonl", records(3))
    _, folder = run(
        world,
        inputDataConfig={"s3InputDataConfig": {"s3Uri": source}},
        outputDataConfig={"s3OutputDataConfig": {"s3Uri": f"s3://{BUCKET}/out"}},
    )
    assert world.stored(folder) == [f"{folder}a.jsonl.out", f"{folder}manifest.json.out"]


def test_the_outputs_are_encrypted_with_the_key_that_the_job_names(world: World) -> None:
    key = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
    world.put("in/a.jsonl", records(2))
    _, folder = run(
        world,
        outputDataConfig={"s3OutputDataConfig": {"s3Uri": f"s3://{BUCKET}/out/", "s3EncryptionKeyId": key}},
    )
    for name in world.stored(folder):
        head = world.s3.head_object(Bucket=BUCKET, Key=name)
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key)


def test_each_record_stands_once_with_the_answer_to_its_own_input(world: World) -> None:
    # given many records
    world.put("in/a.jsonl", records(300))

    # when they have run
    _, folder = run(world)
    lines = world.results(f"{folder}a.jsonl.out")

    # then each stands once, in another order, with its input and the output that this input gives
    ids = [line["recordId"] for line in lines]
    assert sorted(ids) == sorted(f"r{n}" for n in range(300))
    assert ids != [f"r{n}" for n in range(300)]
    for line in lines:
        assert line["modelInput"] == message(f"Question {line['recordId'][1:]}. What now?")
        assert (
            line["modelOutput"] == expected_output(CLAUDE, "InvokeModel", line["modelInput"])["modelOutput"]
        )


def test_the_manifest_has_the_counts_and_the_tokens_of_the_outputs(world: World) -> None:
    # given two good records and one that the model refuses
    world.put("in/a.jsonl", jsonl(message("one"), {"messages": []}, message("two words")))

    # when they have run
    simulator, folder = run(world)

    # then manifest, Get and the lines agree
    usage = [
        line["modelOutput"]["usage"]
        for line in world.results(f"{folder}a.jsonl.out")
        if "modelOutput" in line
    ]
    counts = {
        "totalRecordCount": 3,
        "processedRecordCount": 3,
        "successRecordCount": 2,
        "errorRecordCount": 1,
    }
    assert manifest(world, folder) == {
        **counts,
        "inputTokenCount": sum(each["input_tokens"] for each in usage),
        "outputTokenCount": sum(each["output_tokens"] for each in usage),
    }
    job = simulator.call("GetModelInvocationJob", {"jobIdentifier": folder.split("/")[1]})
    assert counts.items() <= job.items()


def test_a_job_whose_records_all_fail_is_completed(world: World) -> None:
    world.put("in/a.jsonl", jsonl({"no": "messages"}, {"nor": "here"}))
    simulator, folder = run(world)
    job = simulator.call("GetModelInvocationJob", {"jobIdentifier": folder.split("/")[1]})
    assert (job["status"], job["errorRecordCount"]) == ("Completed", 2)


def test_a_refused_record_has_an_error_in_place_of_the_output(world: World) -> None:
    world.put("in/a.jsonl", jsonl({"max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}))
    _, folder = run(world)
    (line,) = world.results(f"{folder}a.jsonl.out")
    assert line["error"] == {"errorCode": 400, "errorMessage": "anthropic_version: Field required"}
    assert "modelOutput" not in line


def test_a_missing_record_id_is_assigned(world: World) -> None:
    lines = [json.dumps({"modelInput": message(f"n {n}")}) for n in range(50)]
    world.put("in/a.jsonl", "\n".join(lines).encode())
    _, folder = run(world)
    ids = {line["recordId"] for line in world.results(f"{folder}a.jsonl.out")}
    assert len(ids) == 50
    assert all(len(each) == 11 and each.isalnum() for each in ids)


def test_unusual_text_comes_back_as_it_was(world: World) -> None:
    # given text with line separators, a lone surrogate and other scripts
    texts = ["a\u2028b\u0085c\u2029", "\ud83d alone", "日本語 é 😀", 'tab\tquote" back\\']
    world.put("in/a.jsonl", jsonl(*(message(text) for text in texts)))

    # when it has run
    _, folder = run(world)

    # then each input is unchanged, on a line of its own when split at LF
    lines = world.results(f"{folder}a.jsonl.out")
    assert {line["modelInput"]["messages"][0]["content"] for line in lines} == set(texts)


def test_converse_jobs_answer_in_the_shape_of_converse(world: World) -> None:
    world.put("in/a.jsonl", jsonl(converse("Hello there."), converse("x", toolConfig={"tools": []})))
    _, folder = run(world, modelId=NOVA, modelInvocationType="Converse")
    lines = {line["recordId"]: line for line in world.results(f"{folder}a.jsonl.out")}
    answer = lines["r0"]["modelOutput"]
    assert answer["output"]["message"]["content"][0]["text"].startswith("2 words, 12 characters.")
    assert answer["usage"]["totalTokens"] == answer["usage"]["inputTokens"] + answer["usage"]["outputTokens"]
    assert lines["r1"]["error"]["errorCode"] == 400
    assert "toolConfig" in lines["r1"]["error"]["errorMessage"]


@pytest.mark.parametrize(
    ("uri", "good"), [(f"s3://{BUCKET}/in/media/1.png", True), (f"s3://{BUCKET}/other/1.png", False)]
)
def test_linked_media_must_lie_under_the_input_folder(world: World, uri: str, good: bool) -> None:
    image = {"image": {"format": "png", "source": {"s3Location": {"uri": uri}}}}
    body = {"messages": [{"role": "user", "content": [image, {"text": "What is it?"}]}]}
    world.put("in/a.jsonl", jsonl(body))
    _, folder = run(world, modelId=NOVA, modelInvocationType="Converse")
    (line,) = world.results(f"{folder}a.jsonl.out")
    assert ("modelOutput" in line) is good


def test_passing_faults_strike_other_records_in_the_next_job(world: World) -> None:
    # given records that fail at a rate for passing reasons
    world.put("in/a.jsonl", records(400))
    config = {**SMALL, "record_faults": {"passing_rate": 0.25, "passing_codes": [429, 503]}}
    failed = []

    # when two jobs run over the same file
    for seed in (1, 2):
        _, folder = run(world, config, seed=seed)
        errors = [line for line in world.results(f"{folder}a.jsonl.out") if "error" in line]
        assert {line["error"]["errorCode"] for line in errors} == {429, 503}
        failed.append({line["recordId"] for line in errors})

    # then about a quarter fails each time, and not the same quarter
    assert all(60 <= len(each) <= 140 for each in failed)
    assert failed[0] != failed[1]


def test_permanent_faults_strike_the_same_inputs_in_every_job(world: World) -> None:
    # given records that fail for good at a rate
    config = {**SMALL, "record_faults": {"permanent_rate": 0.1, "permanent_code": 400}}
    simulator = world.simulator(config)
    failed = []

    # when the same inputs run in two jobs, under other record ids
    for name, first in (("one", 0), ("two", 1000)):
        inputs = [message(f"number {n}") for n in range(300)]
        world.put("in/a.jsonl", jsonl(*inputs, first=first))
        arn = simulator.call("CreateModelInvocationJob", world.request(name))["jobArn"]
        simulator.advance(3600)
        errors = [line for line in world.results(f"out/{arn[-12:]}/a.jsonl.out") if "error" in line]
        failed.append({line["modelInput"]["messages"][0]["content"] for line in errors})

    # then the same ones fail, and which ones can be known beforehand
    assert failed[0] == failed[1]
    foreseen = (f"number {n}" for n in range(300))
    faults = simulator.config.record_faults
    assert failed[0] == {text for text in foreseen if fails_for_good(simulator.seed, faults, message(text))}


SLOWLY: dict[str, Any] = {
    "models": {"*": {"min_records": 1, "records_per_second": 1, "start_seconds": 7}},
}
"""InProgress begins after 3 s, its first record after 10, and each takes one."""


def versions(world: World, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bytes]]:
    """The objects that are put from now on, in order."""
    put: list[tuple[str, bytes]] = []
    real = world.s3.put_object

    def note(**request: Any) -> Any:
        put.append((request["Key"].rpartition("/")[2], request["Body"]))
        return real(**request)

    monkeypatch.setattr(world.s3, "put_object", note)
    return put


def test_the_results_grow_while_the_job_is_in_progress(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a job of 200 seconds over two files
    world.put("in/a.jsonl", records(120))
    world.put("in/b.jsonl", records(80, first=120))
    put = versions(world, monkeypatch)

    # when it runs
    run(world, SLOWLY)

    # then the manifest was brought up to date each minute, and at the end
    counts = [json.loads(body)["processedRecordCount"] for name, body in put if name == "manifest.json.out"]
    assert counts == [60, 120, 180, 200]

    # and each version of an output begins with the one before, in whole lines
    for name in ("a.jsonl.out", "b.jsonl.out"):
        bodies = [body for each, body in put if each == name]
        assert len(bodies) == 4
        for before, after in itertools.pairwise(bodies):
            assert before.endswith(b"\n")
            assert after.startswith(before)


def test_the_manifest_counts_the_outputs_beside_it(world: World) -> None:
    # given a job in the middle of its work, with records that fail
    world.put("in/a.jsonl", jsonl(*(message("x") if n % 3 else {} for n in range(200))))
    simulator = world.simulator(SLOWLY)
    arn = simulator.call("CreateModelInvocationJob", world.request())["jobArn"]
    simulator.advance(10 + 61)

    # when the results are read
    folder = f"out/{arn[-12:]}/"
    lines, counted = world.results(f"{folder}a.jsonl.out"), manifest(world, folder)

    # then manifest and outputs agree
    assert (counted["totalRecordCount"], counted["processedRecordCount"], len(lines)) == (200, 60, 60)
    assert counted["successRecordCount"] == sum("modelOutput" in line for line in lines)
    usage = [line["modelOutput"]["usage"] for line in lines if "modelOutput" in line]
    assert counted["outputTokenCount"] == sum(each["output_tokens"] for each in usage)


@pytest.mark.parametrize(("setting", "seconds", "writes"), [(60, 50, 1), (0, 900, 1), (60, 6000, 10)])
def test_how_often_the_results_are_written(
    world: World, monkeypatch: pytest.MonkeyPatch, setting: int, seconds: int, writes: int
) -> None:
    world.put("in/a.jsonl", records(100))
    put = versions(world, monkeypatch)
    models = {"*": {"min_records": 1, "records_per_second": 100 / seconds}}
    run(world, {"models": models, "result_update_seconds": setting})
    assert [name for name, _ in put].count("manifest.json.out") == writes


def test_nothing_new_is_not_written_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a job of two records of 300 seconds each
    world.put("in/a.jsonl", records(2))
    put = versions(world, monkeypatch)
    run(world, {"models": {"*": {"min_records": 1, "records_per_second": 1 / 300}}})
    counts = [json.loads(body)["processedRecordCount"] for name, body in put if name == "manifest.json.out"]
    assert counts == [1, 2]


def test_a_job_that_fails_for_no_reason_of_its_own_leaves_no_results(world: World) -> None:
    world.put("in/a.jsonl", records(200))
    _, folder = run(world, {**SLOWLY, "job_faults": [{"outcome": "Failed", "fraction": 0.9}]})
    assert world.stored(folder) == []


def test_a_stopped_job_keeps_what_it_had(world: World) -> None:
    # given a job that had written some of its results
    world.put("in/a.jsonl", records(200))
    simulator = world.simulator(SLOWLY)
    arn = simulator.call("CreateModelInvocationJob", world.request())["jobArn"]
    simulator.advance(10 + 100)

    # when it is stopped
    simulator.call("StopModelInvocationJob", {"jobIdentifier": arn})
    simulator.advance(600)

    # then all it had processed is there
    job = simulator.call("GetModelInvocationJob", {"jobIdentifier": arn})
    assert (job["status"], job["processedRecordCount"]) == ("Stopped", 100)
    assert len(world.results(f"out/{arn[-12:]}/a.jsonl.out")) == 100


@pytest.mark.parametrize("end", ["Completed", "Failed", "reset"])
def test_the_answers_are_given_up_when_the_job_ends(world: World, end: str) -> None:
    # given a job that has its answers
    world.put("in/a.jsonl", records(100))
    simulator = world.simulator({**SLOWLY, "job_faults": [{"times": 1}] if end == "Failed" else []})
    arn = simulator.call("CreateModelInvocationJob", world.request())["jobArn"]
    simulator.advance(20)
    job = simulator.jobs[arn[-12:]]
    assert job.answers is not None

    # when it ends
    if end == "reset":
        simulator.reset()
    else:
        simulator.advance(600)
        assert job.status == end

    # then its lines are gone, and its counts are not
    size, pieces = job.answers.of_file(0, 10)
    assert (size, list(pieces)) == (0, [])
    assert job.answers._lines.closed
    assert job.answers.successes(10) == 10


def test_a_job_that_is_stopped_while_it_is_answered_asks_no_more(world: World) -> None:
    # given answers during which somebody stops the job
    world.put("in/a.jsonl", records(100))
    simulator = world.simulator()
    asked: list[str] = []

    def answer(record: Record) -> None:
        asked.append(record.record_id)
        if len(asked) == 3:
            simulator.call("StopModelInvocationJob", {"jobIdentifier": record.job_arn})

    simulator.answering.callback = answer
    arn = simulator.call("CreateModelInvocationJob", world.request())["jobArn"]
    simulator.advance(600)

    # then the others are not asked for
    assert len(asked) == 3
    assert simulator.call("GetModelInvocationJob", {"jobIdentifier": arn})["status"] == "Stopped"


def test_outputs_too_big_for_one_put_are_uploaded_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a limit for one PutObject that the output exceeds
    monkeypatch.setattr("bedrock_batch_simulator.records._SPOOL", 10_000)
    world.put("in/a.jsonl", records(200))

    # when the job runs, then the output is there in whole
    _, folder = run(world)
    assert len(world.results(f"{folder}a.jsonl.out")) == 200
