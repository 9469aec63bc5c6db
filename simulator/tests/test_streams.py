"""ConverseStream and InvokeModelWithResponseStream through boto3's own client, in process and over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from bedrock_batch_simulator import Check, Config, ConfigError, Simulator, expected_output, mock_bedrock_batch
from bedrock_batch_simulator.access import Access
from bedrock_batch_simulator.aws import Principal
from bedrock_batch_simulator.server import SimulatorServer
from bedrock_batch_simulator.streams import converse_events, frame, invoke_chunks
from bedrock_batch_simulator.validation import faults, operation_model
from botocore.config import Config as ClientConfig
from botocore.eventstream import EventStreamBuffer
from botocore.exceptions import ClientError, ConnectionClosedError

from .world import ACCOUNT, CLAUDE, NOVA, REGION, World, converse, message

QUESTION = "What is a stream? Tell me in more than a few words, please."
METRICS = "amazon-bedrock-invocationMetrics"
BODIES: dict[str, dict[str, Any]] = {
    CLAUDE: message(QUESTION),
    NOVA: converse(QUESTION),
    "amazon.titan-text-express-v1": {"inputText": QUESTION},
    "meta.llama3-1-8b-instruct-v1:0": {"prompt": QUESTION},
    "mistral.mistral-large-2407-v1:0": {"prompt": QUESTION},
}


@pytest.fixture
def simulator(world: World) -> Simulator:
    return world.simulator()


@pytest.fixture(params=["in process", "over HTTP"])
def runtime(request: pytest.FixtureRequest, world: World, simulator: Simulator) -> Iterator[Any]:
    if request.param == "in process":
        yield world.runtime(simulator)
        return
    settings = ClientConfig(retries={"total_max_attempts": 1}, read_timeout=20)
    config = Config.from_dict({"check_models": False})
    with SimulatorServer(world.s3, account=ACCOUNT, region=REGION, config=config) as server:
        yield boto3.client("bedrock-runtime", region_name=REGION, endpoint_url=server.url, config=settings)


def chunks(runtime: Any, model: str, body: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    answer = runtime.invoke_model_with_response_stream(modelId=model, body=json.dumps(body), **more)
    return [json.loads(event["chunk"]["bytes"]) for event in answer["body"]]


def text_of(events: list[dict[str, Any]]) -> str:
    deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    return "".join(delta.get("text", "") for delta in deltas)


# --- ConverseStream -----------------------------------------------------------------------------


def test_a_stream_says_in_parts_what_converse_answers(runtime: Any) -> None:
    # given what Converse answers, when the same is asked for as a stream
    whole = runtime.converse(modelId=CLAUDE, **converse(QUESTION))
    events = list(runtime.converse_stream(modelId=CLAUDE, **converse(QUESTION))["stream"])

    # then it comes in the order that the service has, the text in several parts
    kinds = [next(iter(event)) for event in events]
    parts = kinds.count("contentBlockDelta")
    assert parts > 1
    assert kinds == [
        "messageStart",
        *["contentBlockDelta"] * parts,
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    assert events[0] == {"messageStart": {"role": "assistant"}}
    assert text_of(events) == whole["output"]["message"]["content"][0]["text"]
    assert events[-2] == {"messageStop": {"stopReason": whole["stopReason"]}}
    assert events[-1] == {"metadata": {"usage": whole["usage"], "metrics": whole["metrics"]}}


def test_a_stream_that_is_cut_says_so(runtime: Any) -> None:
    body = converse(QUESTION, inferenceConfig={"maxTokens": 2})
    events = list(runtime.converse_stream(modelId=CLAUDE, **body)["stream"])
    assert {"messageStop": {"stopReason": "max_tokens"}} in events


def test_the_service_tier_is_in_the_metadata(runtime: Any) -> None:
    answer = runtime.converse_stream(modelId=CLAUDE, serviceTier={"type": "flex"}, **converse(QUESTION))
    assert list(answer["stream"])[-1]["metadata"]["serviceTier"] == {"type": "flex"}


def test_every_kind_of_block_is_streamed_as_the_model_of_the_service_has_it() -> None:
    # given an answer with a thought, a text and the use of a tool
    content = [
        {"reasoningContent": {"reasoningText": {"text": "So I think this over.", "signature": "abc"}}},
        {"text": "Let me look that up."},
        {"toolUse": {"toolUseId": "t1", "name": "clock", "input": {"zone": "Europe/Berlin"}}},
    ]
    output = {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": "tool_use",
        "usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3},
        "metrics": {"latencyMs": 5},
    }

    # when it is streamed
    events = list(converse_events(output))

    # then each event is one of the service's, and they come to the same
    shape: Any = operation_model("ConverseStream").get_event_stream_output()
    for kind, members in events:
        assert list(faults(shape.members[kind], members, "", closed=True)) == []
    deltas = [(each["contentBlockIndex"], each["delta"]) for kind, each in events if "delta" in each]
    thought = "".join(each["reasoningContent"].get("text", "") for index, each in deltas if index == 0)
    tool = "".join(each["toolUse"]["input"] for index, each in deltas if index == 2)
    assert (thought, json.loads(tool)) == ("So I think this over.", {"zone": "Europe/Berlin"})
    start = {"start": {"toolUse": {"toolUseId": "t1", "name": "clock"}}, "contentBlockIndex": 2}
    assert ("contentBlockStart", start) in events


# --- InvokeModelWithResponseStream --------------------------------------------------------------


@pytest.mark.parametrize("model", list(BODIES))
def test_the_last_chunk_has_the_metrics_of_the_call(runtime: Any, model: str) -> None:
    found = chunks(runtime, model, BODIES[model])
    assert all(METRICS not in chunk for chunk in found[:-1])
    assert set(found[-1][METRICS]) == {
        "inputTokenCount",
        "outputTokenCount",
        "invocationLatency",
        "firstByteLatency",
    }


def test_anthropic_is_streamed_in_its_own_events(runtime: Any) -> None:
    # given what InvokeModel answers, when the same is asked for as a stream
    whole = expected_output(CLAUDE, "InvokeModel", BODIES[CLAUDE])["modelOutput"]
    found = chunks(runtime, CLAUDE, BODIES[CLAUDE])

    # then the events are those of the Messages API
    kinds = [chunk["type"] for chunk in found]
    parts = kinds.count("content_block_delta")
    assert kinds == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * parts,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert (found[0]["message"]["id"], found[0]["message"]["content"]) == (whole["id"], [])
    text = "".join(chunk["delta"]["text"] for chunk in found if chunk["type"] == "content_block_delta")
    assert text == whole["content"][0]["text"]
    assert found[-2]["delta"]["stop_reason"] == whole["stop_reason"]
    assert found[-1][METRICS]["inputTokenCount"] == whole["usage"]["input_tokens"]
    assert found[-1][METRICS]["outputTokenCount"] == found[-2]["usage"]["output_tokens"]


def test_anthropics_tools_and_thoughts_are_streamed() -> None:
    # given an answer with a thought and the use of a tool
    content = [
        {"type": "thinking", "thinking": "So I think this over.", "signature": "abc"},
        {"type": "tool_use", "id": "t1", "name": "clock", "input": {"zone": "Europe/Berlin"}},
    ]
    body = {
        **expected_output(CLAUDE, "InvokeModel", BODIES[CLAUDE])["modelOutput"],
        "content": content,
    }

    # when it is streamed
    found = invoke_chunks(CLAUDE, body, {})

    # then the deltas come to the same
    deltas = [chunk["delta"] for chunk in found if chunk["type"] == "content_block_delta"]
    assert "".join(each.get("thinking", "") for each in deltas) == "So I think this over."
    assert "".join(each.get("signature", "") for each in deltas) == "abc"
    assert json.loads("".join(each.get("partial_json", "") for each in deltas)) == {"zone": "Europe/Berlin"}
    assert [chunk["content_block"] for chunk in found if chunk["type"] == "content_block_start"] == [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "tool_use", "id": "t1", "name": "clock", "input": {}},
    ]


def test_nova_is_streamed_in_the_events_of_converse(runtime: Any) -> None:
    whole = expected_output(NOVA, "InvokeModel", BODIES[NOVA])["modelOutput"]
    found = chunks(runtime, NOVA, BODIES[NOVA])
    assert found[0] == {"messageStart": {"role": "assistant"}}
    assert text_of(found) == whole["output"]["message"]["content"][0]["text"]
    assert found[-1]["metadata"]["usage"] == whole["usage"]


def test_titan_text_is_streamed_in_parts(runtime: Any) -> None:
    model = "amazon.titan-text-express-v1"
    whole = expected_output(model, "InvokeModel", BODIES[model])["modelOutput"]
    found = chunks(runtime, model, BODIES[model])
    assert "".join(chunk["outputText"] for chunk in found) == whole["results"][0]["outputText"]
    assert found[-1]["completionReason"] == "FINISH"
    assert found[-1]["totalOutputTextTokenCount"] == whole["results"][0]["tokenCount"]


@pytest.mark.parametrize("model", ["meta.llama3-1-8b-instruct-v1:0", "mistral.mistral-large-2407-v1:0"])
def test_another_model_gives_its_body_in_one_chunk(runtime: Any, model: str) -> None:
    [chunk] = chunks(runtime, model, BODIES[model])
    del chunk[METRICS]
    assert chunk == expected_output(model, "InvokeModel", BODIES[model])["modelOutput"]


def test_a_model_of_embeddings_is_not_streamed(runtime: Any) -> None:
    with pytest.raises(runtime.exceptions.ValidationException, match="unsupported for streaming"):
        chunks(runtime, "amazon.titan-embed-text-v2:0", {"inputText": QUESTION})


def test_a_model_that_the_table_has_without_streaming_is_not_streamed(world: World) -> None:
    runtime = world.runtime(world.simulator({"check_models": True}))
    with pytest.raises(runtime.exceptions.ValidationException, match="unsupported for streaming"):
        runtime.converse_stream(modelId="cohere.rerank-v3-5:0", **converse(QUESTION))


def test_headers_tell_of_a_streamed_invocation(runtime: Any) -> None:
    answer = runtime.invoke_model_with_response_stream(
        modelId=CLAUDE, body=json.dumps(BODIES[CLAUDE]), serviceTier="flex"
    )
    assert (answer["contentType"], answer["serviceTier"]) == ("application/json", "flex")


# --- the same as without a stream ---------------------------------------------------------------


def test_errors_come_before_the_stream(runtime: Any) -> None:
    with pytest.raises(runtime.exceptions.ValidationException, match="messages"):
        runtime.converse_stream(modelId=CLAUDE, messages=[])
    with pytest.raises(runtime.exceptions.ValidationException, match="max_tokens"):
        chunks(runtime, CLAUDE, {**BODIES[CLAUDE], "max_tokens": None})


def test_streams_count_towards_the_quota_of_their_model(world: World) -> None:
    # given a model that lets in one call a minute
    runtime = world.runtime(world.simulator({"models": {"*": {"invocations_per_minute": 1}}}))
    runtime.converse(modelId=CLAUDE, **converse(QUESTION))

    # when a stream is asked for, then it is throttled
    with pytest.raises(ClientError, match="ThrottlingException"):
        runtime.converse_stream(modelId=CLAUDE, **converse(QUESTION))


def test_streams_are_in_the_calls_and_paid_for_once_with_their_like(
    world: World, simulator: Simulator
) -> None:
    runtime = world.runtime(simulator)
    runtime.converse(modelId=CLAUDE, **converse(QUESTION))
    list(runtime.converse_stream(modelId=CLAUDE, **converse(QUESTION))["stream"])
    chunks(runtime, CLAUDE, BODIES[CLAUDE])
    state = simulator.state()
    assert [state["calls"][each]["ok"] for each in ("ConverseStream", "InvokeModelWithResponseStream")] == [
        1,
        1,
    ]
    assert (state["on_demand"]["answers"], state["on_demand"]["repeated"]) == (3, 1)


def test_faults_strike_streams_by_their_name(world: World) -> None:
    settings = ClientConfig(retries={"total_max_attempts": 1}, read_timeout=20)
    config = Config.from_dict({"check_models": False})
    with SimulatorServer(world.s3, account=ACCOUNT, region=REGION, config=config) as server:
        runtime = boto3.client(
            "bedrock-runtime", region_name=REGION, endpoint_url=server.url, config=settings
        )
        server.simulation.fault("throttling", "ConverseStream")
        server.simulation.fault("connection_lost", "InvokeModelWithResponseStream")
        with pytest.raises(runtime.exceptions.ThrottlingException):
            runtime.converse_stream(modelId=CLAUDE, **converse(QUESTION))
        with pytest.raises(ConnectionClosedError):
            chunks(runtime, CLAUDE, BODIES[CLAUDE])
    with pytest.raises(ConfigError, match="InvokeModelWithResponseStream, ConverseStream"):
        server.simulation.fault("throttling", "Stream")


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        ("Converse", "bedrock:InvokeModel"),
        ("ConverseStream", "bedrock:InvokeModelWithResponseStream"),
        ("InvokeModelWithResponseStream", "bedrock:InvokeModelWithResponseStream"),
    ],
)
def test_a_stream_needs_an_action_of_its_own(operation: str, action: str) -> None:
    asked: list[Check] = []

    def authorize(_: Principal, checks: Any) -> str:
        asked.extend(checks)
        return ""

    Access(authorize, REGION, ACCOUNT, "aws").check(operation, {"modelId": CLAUDE}, Principal())
    assert {each.action for each in asked} == {action}


def test_a_stream_in_a_test_with_the_mock(world: World) -> None:
    with mock_bedrock_batch(s3=world.s3):
        runtime = boto3.client("bedrock-runtime", region_name=REGION)
        events = list(runtime.converse_stream(modelId=CLAUDE, **converse(QUESTION))["stream"])
    assert "metadata" in events[-1]


def test_a_frame_is_what_botocore_reads() -> None:
    # given two frames in a row, of which one has letters beyond ASCII
    buffer = EventStreamBuffer()
    buffer.add_data(frame("first", {"text": "ü"}) + frame("second", {}))

    # when botocore decodes them, which checks both checksums, then it has their headers and payloads
    first, second = list[Any](buffer)
    assert first.headers == {
        ":event-type": "first",
        ":content-type": "application/json",
        ":message-type": "event",
    }
    assert (json.loads(first.payload), second.headers[":event-type"]) == ({"text": "ü"}, "second")


@pytest.mark.parametrize("model", BODIES)
def test_an_answer_of_the_users_own_that_is_none_of_the_family_comes_in_one_chunk(model: str) -> None:
    # given answers that are no body of any family
    with mock_bedrock_batch(s3=object(), check_models=False) as simulation:
        simulation.answers(lambda _: {"mine": 1})
        runtime = boto3.client("bedrock-runtime", REGION)
        # when they are asked for as streams, then the chunk has them, and Converse still has its events
        (chunk,) = chunks(runtime, model, BODIES[model])
        assert chunk["mine"] == 1
        said = runtime.converse_stream(modelId=model, **converse(QUESTION))["stream"]
        assert [next(iter(event)) for event in said] == ["messageStart", "messageStop", "metadata"]
