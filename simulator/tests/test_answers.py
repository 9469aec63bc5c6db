"""The answers of the model families, which bodies they refuse, and which base model an identifier names."""

from __future__ import annotations

import re
from typing import Any

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
        ("ai21.jamba-1-5-mini-v1:0", {"messages": []}, "use Converse"),
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
