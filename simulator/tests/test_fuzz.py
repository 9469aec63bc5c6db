"""Bodies with one wrong value: the model refuses the record, or answers it; nothing else happens."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from bedrock_batch_simulator import expected_output
from hypothesis import given
from hypothesis import strategies as st

HELLO = [{"role": "user", "content": "Hello."}]
BLOCKS = [{"role": "user", "content": [{"text": "Hello."}]}]
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
    ("amazon.nova-lite-v1:0", "Converse"): {
        "system": [{"text": "Be short."}],
        "messages": BLOCKS,
        "inferenceConfig": {"maxTokens": 20},
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
    found = expected_output(model, kind, body)
    if "error" in found:
        assert found["error"]["errorCode"] == 400
        assert found["error"]["errorMessage"]
    else:
        assert json.loads(json.dumps(found["modelOutput"])) == found["modelOutput"]


@pytest.mark.parametrize(("model", "kind"), BODIES)
def test_the_bodies_are_right_as_they_are(model: str, kind: str) -> None:
    assert "modelOutput" in expected_output(model, kind, BODIES[model, kind])
