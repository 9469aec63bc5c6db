"""Answers of the user's own: a callback, a table of errors by recordId."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from bedrock_batch_simulator import (
    ConfigError,
    Record,
    RecordError,
    Reply,
    Simulation,
    ToolCall,
    expected_output,
    mock_bedrock_batch,
)
from moto import mock_aws

from .world import CLAUDE, NOVA, converse, jsonl, message

TITAN = "amazon.titan-embed-text-v2:0"


@pytest.fixture
def sim(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulation]:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws(), mock_bedrock_batch(models={"*": {"min_records": 1}}) as found:
        boto3.client("s3").create_bucket(Bucket="data")
        yield found


def submit(body: bytes, model_id: str = CLAUDE, name: str = "job", **change: Any) -> str:
    boto3.client("s3").put_object(Bucket="data", Key="in/a.jsonl", Body=body)
    return str(
        boto3.client("bedrock").create_model_invocation_job(
            jobName=name,
            roleArn="arn:aws:iam::123456789012:role/bedrock",
            modelId=model_id,
            inputDataConfig={"s3InputDataConfig": {"s3Uri": "s3://data/in/a.jsonl"}},
            outputDataConfig={"s3OutputDataConfig": {"s3Uri": "s3://data/out/"}},
            **change,
        )["jobArn"]
    )


def stored(arn: str, name: str) -> bytes:
    key = f"out/{arn[-12:]}/{name}"
    return bytes(boto3.client("s3").get_object(Bucket="data", Key=key)["Body"].read())


def results(arn: str) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in stored(arn, "a.jsonl.out").splitlines()]
    return {line["recordId"]: line for line in lines}


def job(arn: str) -> dict[str, Any]:
    return dict(boto3.client("bedrock").get_model_invocation_job(jobIdentifier=arn))


def run(sim: Simulation, body: bytes, model_id: str = CLAUDE, **change: Any) -> dict[str, dict[str, Any]]:
    arn = submit(body, model_id, **change)
    sim.clock.advance(hours=1)
    return results(arn)


def test_the_callback_is_told_all_of_the_record(sim: Simulation) -> None:
    # given answers that note what they are asked
    seen: list[Record] = []
    sim.answers(seen.append)
    base = "anthropic.claude-haiku-4-5-20251001-v1:0"
    profile = f"us.{base}"

    # when a job runs
    arn = submit(jsonl(message("What now?")), profile, name="my-job")
    sim.clock.advance(hours=1)

    # then the record is told as it was given
    (record,) = seen
    assert record == Record("r0", profile, base, "InvokeModel", message("What now?"), "my-job", arn)
    assert record.prompt == "What now?"


@pytest.mark.parametrize(
    ("model_id", "kind", "body", "where"),
    [
        (CLAUDE, "InvokeModel", message("x"), ("content", 0, "text")),
        (NOVA, "InvokeModel", converse("x"), ("output", "message", "content", 0, "text")),
        (NOVA, "Converse", converse("x"), ("output", "message", "content", 0, "text")),
        ("qwen.qwen3-32b-v1:0", "InvokeModel", converse("x"), ("choices", 0, "message", "content")),
        ("meta.llama3-8b-instruct-v1:0", "InvokeModel", {"prompt": "x"}, ("generation",)),
        ("cohere.command-r-v1:0", "InvokeModel", {"message": "x"}, ("text",)),
        ("amazon.titan-text-lite-v1", "InvokeModel", {"inputText": "x"}, ("results", 0, "outputText")),
    ],
)
def test_a_text_is_said_in_the_body_of_the_family(
    sim: Simulation, model_id: str, kind: str, body: dict[str, Any], where: tuple[Any, ...]
) -> None:
    sim.answers(lambda record: f"You said {record.prompt}.")
    lines = run(sim, jsonl(body), model_id, modelInvocationType=kind)
    found: Any = lines["r0"]["modelOutput"]
    for part in where:
        found = found[part]
    assert found == "You said x."


def test_a_dictionary_is_the_whole_output_and_its_usage_is_counted(sim: Simulation) -> None:
    output = {"anything": [1, "two"], "usage": {"input_tokens": 70, "output_tokens": 7}}
    sim.answers(lambda _: output)
    arn = submit(jsonl(message("x"), message("y")))
    sim.clock.advance(hours=1)
    assert [line["modelOutput"] for line in results(arn).values()] == [output, output]
    manifest = json.loads(stored(arn, "manifest.json.out"))
    assert (manifest["inputTokenCount"], manifest["outputTokenCount"]) == (140, 14)


def test_none_is_the_built_in_answer(sim: Simulation) -> None:
    sim.answers(lambda record: "mine" if record.record_id == "r1" else None)
    lines = run(sim, jsonl(message("a"), message("b")))
    built_in = expected_output(CLAUDE, "InvokeModel", message("a"))["modelOutput"]
    assert lines["r0"]["modelOutput"] == built_in
    assert lines["r1"]["modelOutput"]["content"][0]["text"] == "mine"


def test_a_reply_may_use_tools(sim: Simulation) -> None:
    sim.answers(lambda _: Reply(tool_calls=(ToolCall("weather", {"days": 2}),), output_tokens=9))
    output = run(sim, jsonl(message("x")))["r0"]["modelOutput"]
    assert (output["stop_reason"], output["usage"]["output_tokens"]) == ("tool_use", 9)
    assert output["content"][0]["input"] == {"days": 2}


def test_each_record_is_asked_for_once_though_results_are_written_often(sim: Simulation) -> None:
    asked: list[str] = []

    def answer(record: Record) -> str:
        asked.append(record.record_id)
        return "x"

    sim.answers(answer)
    sim.configure(models={"*": {"records_per_second": 0.1}})
    lines = run(sim, jsonl(*(message(f"{n}") for n in range(50))))
    assert sorted(asked) == sorted(lines)
    # and in the order in which they stand in the results
    assert asked == list(lines)


def test_a_record_that_will_not_be_processed_is_not_asked_for(sim: Simulation) -> None:
    asked: list[str] = []
    sim.answers(lambda record: asked.append(record.record_id))
    sim.configure(job_faults=[{"outcome": "Expired", "fraction": 0.3}])
    lines = run(sim, jsonl(*(message(f"{n}") for n in range(10))))
    assert len(asked) == len(lines) == 3


def test_a_body_that_the_model_refuses_is_not_asked_for(sim: Simulation) -> None:
    sim.answers(lambda _: "x")
    assert run(sim, jsonl({"no": "messages"}))["r0"]["error"]["errorCode"] == 400


def test_a_changed_record_leaves_its_input_as_it_was(sim: Simulation) -> None:
    def vandal(record: Record) -> str:
        record.model_input["messages"].clear()
        return "done"

    sim.answers(vandal)
    assert run(sim, jsonl(message("x")))["r0"]["modelInput"] == message("x")


def test_a_record_error_refuses_the_record(sim: Simulation) -> None:
    def refuse(record: Record) -> str:
        raise RecordError(424, f"no answer to {record.prompt}")

    sim.answers(refuse)
    arn = submit(jsonl(message("x")))
    sim.clock.advance(hours=1)
    assert results(arn)["r0"]["error"] == {"errorCode": 424, "errorMessage": "no answer to x"}
    assert (job(arn)["status"], job(arn)["errorRecordCount"]) == ("Completed", 1)


def test_any_other_exception_fails_the_job_and_is_raised_where_time_passes(sim: Simulation) -> None:
    # given answers with a mistake
    def wrong(record: Record) -> str:
        raise ZeroDivisionError("a mistake")

    sim.answers(wrong)
    arn = submit(jsonl(message("x")), name="my-job")

    # when time passes, then the test's author sees it
    with pytest.raises(ZeroDivisionError, match="a mistake") as caught:
        sim.clock.advance(hours=1)
    assert "record r0 of job my-job" in caught.value.__notes__[0]

    # and the job has failed, and says why
    assert job(arn)["status"] == "Failed"
    assert "record r0 of job my-job: ZeroDivisionError: a mistake" in job(arn)["message"]

    # and time goes on
    sim.clock.advance(hours=1)


@pytest.mark.parametrize("answer", [7, {"a": float("nan")}, {"a": object()}, Reply(vectors=((1.0,),))])
def test_an_answer_that_cannot_be_said_is_such_an_exception(sim: Simulation, answer: Any) -> None:
    sim.answers(lambda _: answer)
    arn = submit(jsonl(message("x")))
    with pytest.raises(TypeError):
        sim.clock.advance(hours=1)
    assert job(arn)["status"] == "Failed"


def test_a_text_is_no_embedding(sim: Simulation) -> None:
    sim.answers(lambda _: "text")
    submit(jsonl({"inputText": "x"}), TITAN)
    with pytest.raises(TypeError, match="answers with embeddings"):
        sim.clock.advance(hours=1)


def test_vectors_are_embeddings(sim: Simulation) -> None:
    sim.answers(lambda _: Reply(vectors=((0.5, 1),), input_tokens=3))
    output = run(sim, jsonl({"inputText": "x"}), TITAN)["r0"]["modelOutput"]
    assert (output["embedding"], output["inputTextTokenCount"]) == ([0.5, 1.0], 3)


def test_a_model_that_is_not_known_may_have_any_body(sim: Simulation) -> None:
    sim.answers(lambda record: {"echo": record.model_input})
    assert run(sim, jsonl({"my": "body"}), "nobody.new-v1:0")["r0"]["modelOutput"] == {"echo": {"my": "body"}}


def test_the_built_in_answers_come_back(sim: Simulation) -> None:
    sim.answers(lambda _: "mine")
    sim.answers(None)
    output = run(sim, jsonl(message("x")))["r0"]["modelOutput"]
    assert output == expected_output(CLAUDE, "InvokeModel", message("x"))["modelOutput"]


def test_several_threads_may_be_asked_at_once(sim: Simulation) -> None:
    # given answers that wait for each other, four at once
    class Together:
        concurrency = 4

        def __init__(self) -> None:
            self.barrier = threading.Barrier(4, timeout=30)

        def __call__(self, record: Record) -> str:
            self.barrier.wait()
            return record.prompt

    sim.answers(Together())

    # when a job runs, then each record has its own answer
    lines = run(sim, jsonl(*(message(f"{n}") for n in range(8))))
    assert len(lines) == 8
    for line in lines.values():
        assert line["modelOutput"]["content"][0]["text"] == line["modelInput"]["messages"][0]["content"]


# --- on demand ----------------------------------------------------------------------------------


def test_a_call_on_demand_is_answered_too(sim: Simulation) -> None:
    seen: list[Record] = []

    def answer(record: Record) -> str:
        seen.append(record)
        return "Hello."

    sim.answers(answer)
    runtime = boto3.client("bedrock-runtime")
    said = runtime.converse(modelId=NOVA, messages=converse("Hi")["messages"])
    assert said["output"]["message"]["content"] == [{"text": "Hello."}]
    body = json.loads(runtime.invoke_model(modelId=CLAUDE, body=json.dumps(message("x")))["body"].read())
    assert body["content"][0]["text"] == "Hello."
    assert [(each.record_id, each.job_arn, each.invocation_type) for each in seen] == [
        ("", "", "Converse"),
        ("", "", "InvokeModel"),
    ]


def test_a_record_error_on_demand_is_the_exception_of_its_status(sim: Simulation) -> None:
    def busy(record: Record) -> str:
        raise RecordError(429, "later")

    sim.answers(busy)
    runtime = boto3.client("bedrock-runtime")
    with pytest.raises(runtime.exceptions.ThrottlingException, match="later"):
        runtime.converse(modelId=NOVA, messages=converse("Hi")["messages"])


def test_any_other_exception_on_demand_is_raised_by_the_call(sim: Simulation) -> None:
    def wrong(record: Record) -> str:
        raise ZeroDivisionError("a mistake")

    sim.answers(wrong)
    runtime = boto3.client("bedrock-runtime")
    with pytest.raises(ZeroDivisionError, match="a mistake"):
        runtime.converse(modelId=NOVA, messages=converse("Hi")["messages"])

    # and it is neither raised again, nor does it hold its place
    sim.clock.advance(1)
    assert sim.state()["models"][NOVA]["on_demand"]["concurrent"] == 0


# --- errors by recordId -------------------------------------------------------------------------


def test_a_record_fails_that_is_told_to(sim: Simulation) -> None:
    sim.fail("r1")
    sim.fail("r2", code=500, message="broken")
    lines = run(sim, jsonl(*(message(f"{n}") for n in range(3))))
    assert "modelOutput" in lines["r0"]
    assert lines["r1"]["error"] == {"errorCode": 400, "errorMessage": "bad request"}
    assert lines["r2"]["error"] == {"errorCode": 500, "errorMessage": "broken"}


def test_a_record_that_is_told_to_fail_no_more(sim: Simulation) -> None:
    sim.fail("r0")
    sim.fail("r0", None)
    assert "modelOutput" in run(sim, jsonl(message("x")))["r0"]


def test_errors_are_configuration(sim: Simulation) -> None:
    sim.configure(record_errors={"r0": {"code": 429}})
    sim.configure(record_errors={"r1": {"message": "no"}})
    assert sim.config.to_dict()["record_errors"] == {"r0": {"code": 429}, "r1": {"message": "no"}}
    lines = run(sim, jsonl(message("x"), message("y")))
    assert [lines[name]["error"]["errorCode"] for name in ("r0", "r1")] == [429, 400]


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ([], "record_errors: must be an object"),
        ({"r0": 400}, "record_errors.r0: must be an object"),
        ({"r0": {"status": 400}}, "record_errors.r0: unknown key 'status'"),
        ({"r0": {"code": 200}}, "record_errors.r0: code must be the HTTP status of an error"),
        ({"r0": {"message": 1}}, "record_errors.r0.message: must be a string"),
    ],
)
def test_wrong_errors_are_refused(sim: Simulation, errors: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        sim.configure(record_errors=errors)
    assert words in str(caught.value)


def test_answers_may_call_a_model_themselves(sim: Simulation) -> None:
    # given answers to the records of jobs that ask another model on demand, which answers by itself
    def asked(record: Record) -> str | None:
        if not record.job_name:
            return None
        said = boto3.client("bedrock-runtime").converse(modelId=NOVA, **converse("Is water wet?"))
        return f"It says: {said['output']['message']['content'][0]['text']}"

    sim.answers(asked)
    # when a job runs, then its records have what that model said
    (line,) = run(sim, jsonl(converse("Hello?")), NOVA).values()
    text = line["modelOutput"]["output"]["message"]["content"][0]["text"]
    assert text.startswith("It says: 3 words")


def test_a_reset_by_the_answers_ends_the_job(sim: Simulation) -> None:
    sim.answers(lambda _: sim.reset())
    submit(jsonl(message("One?"), message("Two?")))
    sim.clock.advance(hours=1)
    assert sim.jobs == []
