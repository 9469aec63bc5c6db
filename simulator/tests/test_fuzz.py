"""Bodies with one wrong value: the model refuses the record, or answers it; nothing else happens."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from bedrock_batch_simulator import expected_output
from bedrock_batch_simulator.families import RecordError, family_of
from hypothesis import given
from hypothesis import strategies as st

HELLO = [{"role": "user", "content": "Hello."}]
BLOCKS = [{"role": "user", "content": [{"text": "Hello."}]}]
SCHEMA = {
    "type": "object",
    "properties": {
        "a": {"type": "array", "items": {"enum": [1, "two"]}, "minItems": 1, "uniqueItems": True},
        "b": {"anyOf": [{"type": "integer", "minimum": 2, "maximum": 5}, {"type": "null"}]},
        "c": {"$ref": "#/$defs/c"},
    },
    "required": ["a"],
    "$defs": {"c": {"type": "string", "minLength": 2, "pattern": "c+", "examples": ["ccc"]}},
}
TOOL_CONFIG = {
    "tools": [{"toolSpec": {"name": "f", "description": "F.", "inputSchema": {"json": SCHEMA}}}],
    "toolChoice": {"tool": {"name": "f"}},
}
#: By model and invocation type, a body that is right, with every member that the answer looks at.
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("anthropic.claude-3-haiku-20240307-v1:0", "InvokeModel"): {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 20,
        "system": "Be short.",
        "messages": [*HELLO, {"role": "assistant", "content": [{"type": "text", "text": "Yes?"}]}, *HELLO],
    },
    ("amazon.nova-lite-v1:0", "InvokeModel"): {
        "schemaVersion": "messages-v1",
        "system": [{"text": "Be short."}],
        "messages": BLOCKS,
        "inferenceConfig": {"maxTokens": 20, "temperature": 0.5},
    },
    ("amazon.titan-embed-text-v2:0", "InvokeModel"): {
        "inputText": "Hello.",
        "dimensions": 256,
        "normalize": True,
    },
    ("amazon.titan-text-lite-v1", "InvokeModel"): {
        "inputText": "Hello.",
        "textGenerationConfig": {"maxTokenCount": 20, "temperature": 0},
    },
    ("meta.llama3-8b-instruct-v1:0", "InvokeModel"): {"prompt": "Hello.", "max_gen_len": 20},
    ("mistral.mistral-7b-instruct-v0:2", "InvokeModel"): {"prompt": "Hello.", "max_tokens": 20},
    ("mistral.mistral-large-2407-v1:0", "InvokeModel"): {"messages": HELLO, "max_tokens": 20},
    ("deepseek.r1-v1:0", "InvokeModel"): {"prompt": "Hello.", "max_tokens": 20},
    ("openai.gpt-oss-20b-1:0", "InvokeModel"): {
        "messages": [{"role": "system", "content": "Be short."}, *HELLO],
        "max_completion_tokens": 20,
        "tools": [{"type": "function", "function": {"name": "f", "description": "F.", "parameters": SCHEMA}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
    },
    ("qwen.qwen3-32b-v1:0", "InvokeModel"): {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello."}]}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}},
    },
    ("nobody.new-model-v1:0", "InvokeModel"): {"messages": HELLO, "max_tokens": 20},
    ("mistral.mistral-small-2402-v1:0", "InvokeModel"): {"prompt": "Hello.", "max_tokens": 20},
    ("cohere.command-r-v1:0", "InvokeModel"): {
        "message": "Hello.",
        "preamble": "Be short.",
        "chat_history": [{"role": "USER", "message": "Hi."}, {"role": "CHATBOT", "message": "Yes?"}],
        "max_tokens": 20,
    },
    ("cohere.embed-english-v3", "InvokeModel"): {
        "texts": ["Hello.", "Bye."],
        "input_type": "search_document",
        "truncate": "END",
        "embedding_types": ["float", "int8", "binary"],
    },
    ("cohere.embed-v4:0", "InvokeModel"): {
        "inputs": [
            {"content": [{"type": "text", "text": "Hello."}, {"type": "image_url", "image_url": "data:,x"}]}
        ],
        "input_type": "search_query",
        "output_dimension": 256,
    },
    ("amazon.titan-embed-image-v1", "InvokeModel"): {
        "inputText": "Hello.",
        "inputImage": "eA==",
        "embeddingConfig": {"outputEmbeddingLength": 256},
    },
    ("amazon.nova-2-multimodal-embeddings-v1:0", "InvokeModel"): {
        "schemaVersion": "nova-multimodal-embed-v1",
        "taskType": "SINGLE_EMBEDDING",
        "singleEmbeddingParams": {
            "embeddingPurpose": "GENERIC_INDEX",
            "embeddingDimension": 256,
            "text": {"truncationMode": "END", "value": "Hello."},
        },
    },
    ("anthropic.claude-haiku-4-5-20251001-v1:0", "InvokeModel"): {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 20,
        "messages": HELLO,
        "tools": [{"name": "f", "description": "F.", "input_schema": SCHEMA}],
        "tool_choice": {"type": "tool", "name": "f"},
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    },
    ("anthropic.claude-opus-5", "InvokeModel"): {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 20,
        "messages": [
            *HELLO,
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "t",
                        "content": [{"type": "text", "text": "Yes."}],
                    },
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "eA=="},
                    },
                ],
            },
        ],
        "output_format": {"type": "json_schema", "schema": SCHEMA},
    },
    ("amazon.nova-2-lite-v1:0", "InvokeModel"): {"messages": BLOCKS, "toolConfig": TOOL_CONFIG},
    ("amazon.nova-lite-v1:0", "Converse"): {
        "system": [{"text": "Be short."}],
        "messages": BLOCKS,
        "inferenceConfig": {"maxTokens": 20},
        "toolConfig": TOOL_CONFIG,
    },
    ("amazon.nova-pro-v1:0", "Converse"): {
        "messages": [
            *BLOCKS,
            {
                "role": "assistant",
                "content": [{"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": 1}}}],
            },
            {
                "role": "user",
                "content": [{"toolResult": {"toolUseId": "t", "content": [{"json": {"b": 2}}]}}],
            },
        ],
        "outputConfig": {
            "textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": '{"type": "null"}'}}}
        },
    },
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a document."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return (
        [path, *(each for key, inner in below for each in places(inner, (*path, key)))]
        if path
        else [each for key, inner in below for each in places(inner, (key,))]
    )


def for_a_real_model(model: str, kind: str, body: dict[str, Any]) -> dict[str, Any] | None:
    """What a real model would be asked, None when it would not be."""
    try:
        return family_of(model, kind).openai(body)
    except RecordError:
        return None


@pytest.mark.parametrize(("model", "kind"), BODIES)
@given(data=st.data())
def test_a_body_with_one_other_value_is_answered_or_refused(
    data: st.DataObject, model: str, kind: str
) -> None:
    body = copy.deepcopy(BODIES[model, kind])
    *way, last = data.draw(st.sampled_from(places(body)))
    inner: Any = body
    for key in way:
        inner = inner[key]
    inner[last] = data.draw(JSON)
    found = expected_output(model, kind, body, on_demand=True)
    if "error" in found:
        assert found["error"]["errorCode"] == 400
        assert found["error"]["errorMessage"]
    else:
        assert json.loads(json.dumps(found["modelOutput"])) == found["modelOutput"]
        assert isinstance(family_of(model, kind).prompt(body), str)
        asked = for_a_real_model(model, kind, body)
        assert asked is None or json.loads(json.dumps(asked)) == asked


@pytest.mark.parametrize(("model", "kind"), BODIES)
def test_the_bodies_are_right_as_they_are(model: str, kind: str) -> None:
    assert "modelOutput" in expected_output(model, kind, BODIES[model, kind], on_demand=True)
