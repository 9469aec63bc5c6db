"""What a job writes: one line for each record, the manifest, and records that fail."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bedrock_batch_simulator import Simulator, expected_output
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


def test_outputs_too_big_for_one_put_are_uploaded_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a limit for one PutObject that the output exceeds
    monkeypatch.setattr("bedrock_batch_simulator.records._SPOOL", 10_000)
    world.put("in/a.jsonl", records(200))

    # when the job runs, then the output is there in whole
    _, folder = run(world)
    assert len(world.results(f"{folder}a.jsonl.out")) == 200
