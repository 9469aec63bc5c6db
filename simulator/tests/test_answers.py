"""The answers of the model families, which bodies they refuse, and which base model an identifier names."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest
from bedrock_batch_simulator import expected_output
from bedrock_batch_simulator.models import base_model_id
from bedrock_batch_simulator.validation import faults, operation_model
from botocore.session import get_session
from botocore.validate import validate_parameters
from hypothesis import given
from hypothesis import strategies as st

from .world import ACCOUNT, CLAUDE, NOVA, REGION, converse, message

TITAN_EMBED = "amazon.titan-embed-text-v2:0"
TITAN_TEXT = "amazon.titan-text-express-v1"
LLAMA = "meta.llama3-1-8b-instruct-v1:0"
MISTRAL = "mistral.mistral-large-2407-v1:0"
NOVA_BODY = {"schemaVersion": "messages-v1", "messages": [{"role": "user", "content": [{"text": "Hi you"}]}]}

NOVA_EMBED = "amazon.nova-2-multimodal-embeddings-v1:0"
CHAT = {"messages": [{"role": "user", "content": "Hi you. Go on."}]}
SCHEMA = {
    "type": "object",
    "properties": {
        "unit": {"enum": ["celsius", "kelvin"]},
        "days": {"type": "array", "items": {"type": "integer", "minimum": 3, "maximum": 9}, "minItems": 2},
        "place": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    },
    "required": ["unit", "days", "place"],
}
TOOL = {"name": "weather", "input_schema": SCHEMA}
OPENAI_TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
TOOL_SPEC = {"toolSpec": {"name": "weather", "inputSchema": {"json": SCHEMA}}}


def nova_embed(**content: Any) -> dict[str, Any]:
    params = {"embeddingPurpose": "GENERIC_INDEX", "embeddingDimension": 256, **content}
    return {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": params}


def output(model_id: str, body: dict[str, Any], kind: str = "InvokeModel") -> dict[str, Any]:
    answer: dict[str, Any] = expected_output(model_id, kind, body)["modelOutput"]
    return answer


def refusal(model_id: str, body: dict[str, Any], kind: str = "InvokeModel") -> str:
    error = expected_output(model_id, kind, body)["error"]
    assert error["errorCode"] == 400
    return str(error["errorMessage"])


def test_anthropic_answers_with_content_and_usage() -> None:
    answer = output(f"us.{CLAUDE}", message("Two words. And more."))
    assert answer["content"][0]["text"].startswith("4 words, 20 characters. Begins: Two words.")
    assert (answer["role"], answer["stop_reason"]) == ("assistant", "end_turn")
    assert answer["usage"]["input_tokens"] > 0
    assert answer["model"] == "claude-3-haiku-20240307"


def test_an_answer_is_cut_at_the_maximum_of_tokens() -> None:
    answer = output(CLAUDE, message("Hello", max_tokens=3))
    assert answer["stop_reason"] == "max_tokens"
    assert answer["usage"]["output_tokens"] == 3


def test_the_other_families_answer_in_their_own_shapes() -> None:
    assert output(NOVA, NOVA_BODY)["output"]["message"]["content"][0]["text"].startswith("2 words")
    assert len(output(TITAN_EMBED, {"inputText": "x", "dimensions": 256})["embedding"]) == 256
    assert output(TITAN_TEXT, {"inputText": "a b"})["results"][0]["outputText"].startswith("2 words")
    assert output(LLAMA, {"prompt": "a b c"})["generation"].startswith("3 words")
    assert output(MISTRAL, {"prompt": "a"})["outputs"][0]["text"].startswith("1 words")


@pytest.mark.parametrize(
    "model_id",
    [
        "openai.gpt-oss-20b-1:0",
        "qwen.qwen3-32b-v1:0",
        "deepseek.v3-v1:0",
        "google.gemma-3-12b-it",
        "minimax.minimax-m2",
        "moonshot.kimi-k2-thinking",
        "zai.glm-4.7",
        "nvidia.nemotron-nano-9b-v2",
        "mistral.magistral-small-2509",
        "ai21.jamba-1-5-mini-v1:0",
        "writer.palmyra-x5-v1:0",
        "nobody.new-model-v1:0",
    ],
)
def test_models_of_other_providers_answer_as_openai_s_chat_completions(model_id: str) -> None:
    answer = output(model_id, CHAT)
    (choice,) = answer["choices"]
    assert "4 words, 14 characters. Begins: Hi you." in choice["message"]["content"]
    assert (choice["message"]["role"], choice["finish_reason"]) == ("assistant", "stop")
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    assert output(model_id, {**CHAT, "max_tokens": 2})["choices"][0]["finish_reason"] == "length"


def test_gpt_oss_thinks_in_front_of_its_text() -> None:
    text = output("openai.gpt-oss-20b-1:0", CHAT)["choices"][0]["message"]["content"]
    assert text.startswith("<reasoning>")


def test_models_with_two_bodies_answer_in_the_shape_of_the_one_given() -> None:
    assert output(MISTRAL, CHAT)["choices"][0]["stop_reason"] == "stop"
    assert output("deepseek.r1-v1:0", {"prompt": "a b"})["choices"][0]["text"].startswith("2 words")


def test_command_r_goes_on_with_the_history() -> None:
    answer = output(
        "cohere.command-r-v1:0",
        {"message": "a b c", "chat_history": [{"role": "USER", "message": "x"}], "max_tokens": 3},
    )
    assert [turn["role"] for turn in answer["chat_history"]] == ["USER", "USER", "CHATBOT"]
    assert (answer["finish_reason"], answer["chat_history"][-1]["message"]) == ("MAX_TOKENS", answer["text"])


@pytest.mark.parametrize(
    ("model_id", "more", "size"),
    [
        ("cohere.embed-english-v3", {}, 1024),
        ("cohere.embed-v4:0", {}, 1536),
        ("cohere.embed-v4:0", {"output_dimension": 256}, 256),
    ],
)
def test_cohere_embeds_each_text(model_id: str, more: dict[str, Any], size: int) -> None:
    body = {"texts": ["one", "two"], "input_type": "search_document", **more}
    answer = output(model_id, body)
    assert answer["response_type"] == "embeddings_floats"
    assert [len(each) for each in answer["embeddings"]] == [size, size]
    assert answer["embeddings"][0] != answer["embeddings"][1]
    by_type = output(model_id, {**body, "embedding_types": ["int8", "ubinary"]})
    assert by_type["response_type"] == "embeddings_by_type"
    assert [len(by_type["embeddings"][kind][0]) for kind in ("int8", "ubinary")] == [size, size // 8]
    assert all(-128 <= each <= 127 for each in by_type["embeddings"]["int8"][0])
    assert all(0 <= each <= 255 for each in by_type["embeddings"]["ubinary"][0])


def test_cohere_s_fourth_embeds_texts_with_images() -> None:
    content = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": "data:image/png;base64,eA=="},
    ]
    answer = output("cohere.embed-v4:0", {"inputs": [{"content": content}], "input_type": "search_document"})
    assert len(answer["embeddings"]) == 1
    assert "texts" not in answer


@pytest.mark.parametrize(
    ("content", "kinds"),
    [
        ({"text": {"truncationMode": "END", "value": "x"}}, ["TEXT"]),
        ({"image": {"format": "png", "source": {"bytes": "eA=="}}}, ["IMAGE"]),
        ({"video": {"format": "mp4", "source": {"bytes": "eA=="}}}, ["AUDIO_VIDEO_COMBINED"]),
        (
            {
                "video": {
                    "format": "mp4",
                    "source": {"bytes": "eA=="},
                    "embeddingMode": "AUDIO_VIDEO_SEPARATE",
                }
            },
            ["VIDEO", "AUDIO"],
        ),
    ],
)
def test_nova_embeds_what_it_is_given(content: dict[str, Any], kinds: list[str]) -> None:
    found = output(NOVA_EMBED, nova_embed(**content))["embeddings"]
    assert [each["embeddingType"] for each in found] == kinds
    assert all(len(each["embedding"]) == 256 for each in found)


def test_titan_embeds_images() -> None:
    answer = output(
        "amazon.titan-embed-image-v1",
        {"inputImage": "eA==", "embeddingConfig": {"outputEmbeddingLength": 384}},
    )
    assert (len(answer["embedding"]), answer["inputTextTokenCount"]) == (384, 0)


# --- tools and structured answers ----------------------------------------------------------------


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "weather"}])
def test_anthropic_uses_a_tool_that_it_must_use(choice: dict[str, str]) -> None:
    answer = output(CLAUDE, message("Rain?", tools=[TOOL], tool_choice=choice))
    (block,) = answer["content"]
    assert (block["type"], block["name"], answer["stop_reason"]) == ("tool_use", "weather", "tool_use")
    jsonschema.validate(block["input"], SCHEMA)


def test_a_tool_that_may_be_used_is_not() -> None:
    for choice in ({}, {"tool_choice": {"type": "auto"}}):
        assert output(CLAUDE, message("Rain?", tools=[TOOL], **choice))["stop_reason"] == "end_turn"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_openai_s_chat_uses_a_tool_that_it_must_use(choice: Any) -> None:
    answer = output("qwen.qwen3-32b-v1:0", {**CHAT, "tools": [OPENAI_TOOL], "tool_choice": choice})
    (found,) = answer["choices"]
    (call,) = found["message"]["tool_calls"]
    assert (call["function"]["name"], found["finish_reason"]) == ("weather", "tool_calls")
    assert found["message"]["content"] is None
    jsonschema.validate(json.loads(call["function"]["arguments"]), SCHEMA)


@pytest.mark.parametrize("choice", [{"any": {}}, {"tool": {"name": "weather"}}])
@pytest.mark.parametrize("kind", ["InvokeModel", "Converse"])
def test_nova_and_converse_use_a_tool_that_they_must_use(choice: dict[str, Any], kind: str) -> None:
    body = {**converse("Rain?"), "toolConfig": {"tools": [TOOL_SPEC], "toolChoice": choice}}
    answer = expected_output(NOVA, kind, body, on_demand=True)["modelOutput"]
    (block,) = answer["output"]["message"]["content"]
    assert (block["toolUse"]["name"], answer["stopReason"]) == ("weather", "tool_use")
    jsonschema.validate(block["toolUse"]["input"], SCHEMA)
    if kind == "Converse":
        shape = get_session().get_service_model("bedrock-runtime").shape_for("ConverseResponse")
        validate_parameters(answer, shape)


def test_other_prompts_give_tools_other_inputs() -> None:
    choice = {"tools": [TOOL], "tool_choice": {"type": "any"}}
    inputs = [str(output(CLAUDE, message(f"{n}", **choice))["content"][0]["input"]) for n in range(9)]
    assert len(set(inputs)) > 1


def test_a_schema_that_cannot_be_met_is_refused_in_words() -> None:
    tool = {
        "name": "f",
        "input_schema": {"properties": {"zip": {"pattern": "^[0-9]{5}$"}}, "required": ["zip"]},
    }
    words = refusal(CLAUDE, message("x", tools=[tool], tool_choice={"type": "any"}))
    assert "tool f" in words
    assert "#/properties/zip has a pattern" in words


def test_answers_that_must_be_json_are() -> None:
    form = {"type": "json_schema", "schema": SCHEMA}
    json_form = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
    text_format = {"type": "json_schema", "structure": {"jsonSchema": {"schema": json.dumps(SCHEMA)}}}
    structured = {**converse("x"), "outputConfig": {"textFormat": text_format}}
    texts = [
        output(CLAUDE, message("x", output_format=form))["content"][0]["text"],
        output(CLAUDE, message("x", output_config={"format": form}))["content"][0]["text"],
        output("zai.glm-4.7", {**CHAT, "response_format": json_form})["choices"][0]["message"]["content"],
        output(NOVA, structured, "Converse")["output"]["message"]["content"][0]["text"],
    ]
    for text in texts:
        jsonschema.validate(json.loads(text), SCHEMA)


def test_titan_embeddings_have_the_length_one() -> None:
    vector = output(TITAN_EMBED, {"inputText": "x"})["embedding"]
    assert sum(each * each for each in vector) == pytest.approx(1, abs=1e-3)


def test_converse_answers_are_of_the_shape_in_botocore_s_model() -> None:
    shape = get_session().get_service_model("bedrock-runtime").shape_for("ConverseResponse")
    validate_parameters(output(CLAUDE, converse("Hello"), "Converse"), shape)


@given(st.text(min_size=1), st.text(min_size=1))
def test_other_inputs_have_other_outputs(one: str, other: str) -> None:
    same = output(CLAUDE, message(one)) == output(CLAUDE, message(other))
    assert same == (one == other)


@pytest.mark.parametrize(
    ("model_id", "body", "words"),
    [
        (CLAUDE, {"max_tokens": 1, "messages": []}, "anthropic_version: Field required"),
        (CLAUDE, {"anthropic_version": "x", "messages": []}, "max_tokens: Field required"),
        (CLAUDE, message("x", max_tokens="9"), "valid integer"),
        (CLAUDE, message("x", max_tokens=0), "greater than or equal to 1"),
        (CLAUDE, message("x", messages=[]), "at least one message"),
        (CLAUDE, message("x", modelId="m"), "modelId: Extra inputs are not permitted"),
        (CLAUDE, message(""), "messages.0.content"),
        (CLAUDE, message("x", messages=[{"role": "assistant", "content": "x"}]), "first message"),
        (CLAUDE, message("x", messages=[{"role": "system", "content": "x"}]), "messages.0.role"),
        (NOVA, {}, "required key [messages]"),
        (NOVA, {**NOVA_BODY, "max_tokens": 1}, "extraneous key [max_tokens]"),
        (NOVA, {"messages": [{"role": "user", "content": "text"}]}, "JSONArray"),
        (TITAN_EMBED, {}, "required key [inputText]"),
        (TITAN_EMBED, {"inputText": "x", "dimensions": 7}, "dimensions"),
        (LLAMA, {"prompt": ""}, "minLength"),
        (LLAMA, {"prompt": ["x"]}, "expected type: String"),
        ("ai21.jamba-1-5-mini-v1:0", {"messages": []}, "at least one message"),
        ("nobody.new-model-v1:0", {"prompt": "x"}, "use Converse"),
        ("qwen.qwen3-32b-v1:0", {"prompt": "x"}, "required key [messages]"),
        ("qwen.qwen3-32b-v1:0", {**CHAT, "max_completion_tokens": 0}, "greater or equal to 1"),
        ("qwen.qwen3-32b-v1:0", {"messages": [{"role": "robot", "content": "x"}]}, "messages/0/role"),
        ("cohere.command-r-v1:0", {"messages": []}, "required key [message]"),
        ("cohere.embed-english-v3", {"texts": ["x"]}, "required key [input_type]"),
        ("cohere.embed-english-v3", {"input_type": "search_query", "inputs": []}, "exactly one of"),
        ("cohere.embed-v4:0", {"input_type": "search_query", "texts": [], "truncate": "LEFT"}, "1 to 96"),
        ("amazon.titan-embed-image-v1", {}, "required key [inputText]"),
        (NOVA_EMBED, {"taskType": "SEGMENTED_EMBEDDING"}, "taskType"),
        (NOVA_EMBED, nova_embed(), "one of text, image, audio, video"),
        (CLAUDE, message("x", tool_choice={"type": "any"}), "only be specified while providing tools"),
        (CLAUDE, message("x", tools=[{"name": "f"}]), "tools.0.input_schema"),
        (CLAUDE, message("x", tools=[TOOL], tool_choice={"type": "tool", "name": "g"}), "Tool 'g' not found"),
    ],
)
def test_invoke_bodies_that_the_family_refuses(model_id: str, body: dict[str, Any], words: str) -> None:
    assert words in refusal(model_id, body)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "at least one message"),
        (converse("x", toolConfig={"tools": []}), "toolConfig"),
        (converse("x", modelId=CLAUDE), "extraneous key [modelId]"),
        (converse("x", max_tokens=4), "extraneous key [max_tokens]"),
        ({"messages": [{"role": "user", "content": "text"}]}, "must be a list"),
        ({"messages": [{"role": "user", "content": [{"txt": "x"}]}]}, "exactly one of"),
        ({"messages": [{"role": "assistant", "content": [{"text": "x"}]}]}, "start with a user"),
        (message("x"), "Malformed input request"),
    ],
)
def test_converse_bodies_that_are_refused(body: dict[str, Any], words: str) -> None:
    assert words in refusal(CLAUDE, body, "Converse")


@pytest.mark.parametrize(
    ("model_id", "base"),
    [
        (CLAUDE, CLAUDE),
        (f"us.{CLAUDE}", CLAUDE),
        (f"apac.{CLAUDE}", CLAUDE),
        (f"us-gov.{CLAUDE}", CLAUDE),
        (f"arn:aws:bedrock:{REGION}::foundation-model/{CLAUDE}", CLAUDE),
        (f"arn:aws-us-gov:bedrock:us-gov-west-1:{ACCOUNT}:inference-profile/us-gov.{CLAUDE}", CLAUDE),
        (f"arn:aws:bedrock:{REGION}:{ACCOUNT}:custom-model/{NOVA}/abcdefghijkl", NOVA),
        ("amazon.nova-lite-v1:0:300k", NOVA),
        ("anthropic.claude-3-haiku-20240307-v2:0", "anthropic.claude-3-haiku-20240307-v2:0"),
    ],
)
def test_the_base_model_of_an_identifier(model_id: str, base: str) -> None:
    assert base_model_id(model_id) == base


@given(st.text("aZ9-+._ ", max_size=14))
def test_the_quick_pattern_of_names_is_the_one_of_the_model(name: str) -> None:
    # given the pattern for job names in botocore's model, short enough not to backtrack for ever
    structure = operation_model("CreateModelInvocationJob").input_shape
    assert structure is not None
    shape = structure.members["jobName"]
    wanted = re.fullmatch(shape.metadata["pattern"], name) is not None

    # then ours lets the same names pass
    assert (not list(faults(shape, name, "jobName"))) is wanted


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("InvokeModel", {"temperature": 0.5, "top_p": 0.9}),
        ("Converse", {"inferenceConfig": {"temperature": 0.5, "topP": 0.9}}),
    ],
)
def test_haiku_4_5_takes_temperature_or_top_p(kind: str, more: dict[str, Any]) -> None:
    # given a body with both
    body = {**(converse("Hello.") if kind == "Converse" else message("Hello.")), **more}
    # when the model is asked, then it refuses, where others answer
    refused = expected_output("us.anthropic.claude-haiku-4-5-20251001-v1:0", kind, body)
    assert "cannot both be specified" in refused["error"]["errorMessage"]
    assert "modelOutput" in expected_output("us.anthropic.claude-3-haiku-20240307-v1:0", kind, body)
