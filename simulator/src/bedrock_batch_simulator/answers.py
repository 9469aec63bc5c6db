"""What the models answer: a deterministic, true statement about the prompt in the family's response body.

The answer names the words and characters of the prompt, repeats its first sentence, and ends with a digest of
the whole `modelInput`, so that a test can prove for each record that its own input gave its output:
`expected_output`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import rules
from .models import base_model_id, family
from .validation import faults, service_model

_MALFORMED = "Malformed input request"


class RecordError(Exception):
    """The model refuses one record: `code` (an HTTP status) and `message` stand in the record's `error`."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def as_error(self) -> dict[str, Any]:
        """The `error` object of the output line."""
        return {"errorCode": self.code, "errorMessage": self.message}


@dataclass(frozen=True)
class Answer:
    """A `modelOutput` and the tokens it was billed for."""

    output: dict[str, Any]
    input_tokens: int
    output_tokens: int


def expected_output(
    model_id: str, invocation_type: str, model_input: Mapping[str, Any], *, on_demand: bool = False
) -> dict[str, Any]:
    """What a record ends with when no fault is in play.

    `model_id`: any form that Create accepts but an application inference profile (give its base model).
    `invocation_type`: "InvokeModel" or "Converse". `on_demand`: in a call of that operation rather than in a
    batch job; it takes `toolConfig` too, and all else is the same. Returns `{"modelOutput": {…}}`, or
    `{"error": {"errorCode": 400, "errorMessage": …}}` for a body that the model refuses.
    """
    base_model = base_model_id(model_id)
    try:
        check(base_model, invocation_type, model_input, on_demand=on_demand)
    except RecordError as error:
        return {"error": error.as_error()}
    return {"modelOutput": answer(base_model, invocation_type, model_input).output}


def check(base_model: str, invocation_type: str, body: Mapping[str, Any], *, on_demand: bool = False) -> None:
    """Raise RecordError when the model would refuse `body`, in a batch job or in a call (`on_demand`)."""
    if invocation_type == "Converse":
        _check_converse(body, on_demand)
        return
    checker = _CHECKS.get(family(base_model))
    if checker is None:
        raise RecordError(400, f"The simulator knows no InvokeModel body of {base_model}; use Converse")
    checker(body)


def answer(base_model: str, invocation_type: str, body: Mapping[str, Any]) -> Answer:
    """The answer to a `body` that `check` let pass."""
    if invocation_type == "Converse":
        return _answer_converse(body)
    return _ANSWERS[family(base_model)](base_model, body)


# --- what is said -------------------------------------------------------------------------------


def digest(model_input: Mapping[str, Any]) -> str:
    """Twelve hex digits of the SHA-256 of `model_input`, whatever the order of its keys."""
    text = json.dumps(model_input, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _tokens(text: str) -> int:
    return max(1, (len(text) + 3) // 4)


def _say(prompt: str, body: Mapping[str, Any], limit: int | None) -> tuple[str, bool]:
    sentence = re.split(r"(?<=[.!?])\s|\n", prompt.strip(), maxsplit=1)[0][:160]
    text = f"{len(prompt.split())} words, {len(prompt)} characters. Begins: {sentence} [{digest(body)}]"
    if limit is not None and _tokens(text) > limit:
        return text[: limit * 4], True
    return text, False


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for block in content:
            if isinstance(block, Mapping) and isinstance(block.get("text"), str):
                yield block["text"]


def _prompt(body: Mapping[str, Any]) -> tuple[str, str]:
    """The last user's text, and all text that counts as input."""
    messages = body.get("messages") or []
    said = [text for message in messages for text in _texts(message.get("content"))]
    last = [" ".join(_texts(each.get("content"))) for each in messages if each.get("role") == "user"]
    return (last[-1] if last else ""), "\n".join([*_texts(body.get("system")), *said])


# --- Converse -----------------------------------------------------------------------------------


@functools.cache
def _converse_shape() -> Any:
    return service_model("bedrock-runtime").shape_for("ConverseRequest")


def _check_converse(body: Mapping[str, Any], on_demand: bool) -> None:
    if "toolConfig" in body and not on_demand:
        raise RecordError(400, rules.CONVERSE_TOOLS.text())
    if not body.get("messages"):
        raise RecordError(400, "messages: at least one message is required.")
    found = next(faults(_converse_shape(), body, "", closed=True), None)
    if found is None and "modelId" in body:
        found = "#: extraneous key [modelId] is not permitted"
    if found:
        raise RecordError(400, f"{_MALFORMED}: {found}, please reformat your input and try again.")
    if body["messages"][0].get("role") != "user":
        raise RecordError(400, "A conversation must start with a user message. Try again with one that does.")


def _answer_converse(body: Mapping[str, Any]) -> Answer:
    last, everything = _prompt(body)
    text, cut = _say(last, body, (body.get("inferenceConfig") or {}).get("maxTokens"))
    given, made = _tokens(everything), _tokens(text)
    output = {
        "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
        "stopReason": "max_tokens" if cut else "end_turn",
        "usage": {"inputTokens": given, "outputTokens": made, "totalTokens": given + made},
        "metrics": {"latencyMs": 200 + made},
    }
    return Answer(output, given, made)


# --- InvokeModel, by family ---------------------------------------------------------------------

_ANTHROPIC_MEMBERS = frozenset(
    {
        "anthropic_beta",
        "anthropic_version",
        "cache_control",
        "context_management",
        "max_tokens",
        "messages",
        "metadata",
        "output_config",
        "output_format",
        "stop_sequences",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    }
)


def _need_integer(body: Mapping[str, Any], name: str) -> None:
    value = body[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise RecordError(400, f"{name}: Input should be a valid integer")
    if value < 1:
        raise RecordError(400, f"{name}: Input should be greater than or equal to 1")


def _check_anthropic(body: Mapping[str, Any]) -> None:
    for name in ("anthropic_version", "max_tokens", "messages"):
        if body.get(name) is None:
            raise RecordError(400, f"{name}: Field required")
    for name in body:
        if name not in _ANTHROPIC_MEMBERS:
            raise RecordError(400, f"{name}: Extra inputs are not permitted")
    _need_integer(body, "max_tokens")
    messages = body["messages"]
    if not isinstance(messages, list):
        raise RecordError(400, "messages: Input should be a valid list")
    if not messages:
        raise RecordError(400, "messages: at least one message is required")
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping) or message.get("role") not in ("user", "assistant"):
            raise RecordError(400, f"messages.{index}.role: Input should be 'user' or 'assistant'")
        content = message.get("content")
        if not isinstance(content, (str, list)) or not content:
            raise RecordError(400, f"messages.{index}.content: must be a non-empty string or list of blocks")
    if messages[0]["role"] != "user":
        raise RecordError(400, 'messages: first message must use the "user" role')


def _answer_anthropic(base_model: str, body: Mapping[str, Any]) -> Answer:
    last, everything = _prompt(body)
    text, cut = _say(last, body, body["max_tokens"])
    given, made = _tokens(everything), _tokens(text)
    output = {
        "model": re.sub(r"-v\d+(:\d+)?$", "", base_model.removeprefix("anthropic.")),
        "id": f"msg_bdrk_{digest(body)}",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "max_tokens" if cut else "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": given,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": made,
        },
    }
    return Answer(output, given, made)


_NOVA_MEMBERS = frozenset(
    {
        "additionalModelRequestFields",
        "inferenceConfig",
        "messages",
        "schemaVersion",
        "system",
        "toolConfig",
    }
)


def _check_nova(body: Mapping[str, Any]) -> None:
    for name in body:
        if name not in _NOVA_MEMBERS:
            raise RecordError(400, f"{_MALFORMED}: #: extraneous key [{name}] is not permitted")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RecordError(400, f"{_MALFORMED}: #: required key [messages] not found")
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping) or message.get("role") not in ("user", "assistant"):
            raise RecordError(400, f"{_MALFORMED}: #/messages/{index}/role: must be user or assistant")
        if not isinstance(message.get("content"), list) or not message["content"]:
            raise RecordError(400, f"{_MALFORMED}: #/messages/{index}/content: expected type: JSONArray")
    for name in ("maxTokens", "max_new_tokens"):
        _check_limit(body, "inferenceConfig", name)


def _answer_nova(_: str, body: Mapping[str, Any]) -> Answer:
    last, everything = _prompt(body)
    settings = body.get("inferenceConfig") or {}
    text, cut = _say(last, body, settings.get("maxTokens", settings.get("max_new_tokens")))
    given, made = _tokens(everything), _tokens(text)
    output = {
        "output": {"message": {"content": [{"text": text}], "role": "assistant"}},
        "stopReason": "max_tokens" if cut else "end_turn",
        "usage": {
            "inputTokens": given,
            "outputTokens": made,
            "totalTokens": given + made,
            "cacheReadInputTokenCount": 0,
            "cacheWriteInputTokenCount": 0,
        },
    }
    return Answer(output, given, made)


_KINDS = {
    bool: "Boolean",
    int: "Integer",
    float: "Double",
    str: "String",
    list: "JSONArray",
    dict: "JSONObject",
}


def _check_limit(body: Mapping[str, Any], *path: str) -> None:
    """Raise RecordError if a limit of tokens, or an object on the way to it, is of the wrong type."""
    found: Any = body
    for depth, name in enumerate(path, start=1):
        found = found.get(name)
        if found is None:
            return
        wanted = "Integer" if depth == len(path) else "JSONObject"
        kind = _KINDS[type(found)]
        where = f"{_MALFORMED}: #/{'/'.join(path[:depth])}"
        if kind != wanted:
            raise RecordError(400, f"{where}: expected type: {wanted}, found: {kind}")
        if wanted == "Integer" and found < 1:
            raise RecordError(400, f"{where}: {found} is not greater or equal to 1")


def _check_completion(text: str, *limit: str) -> Callable[[Mapping[str, Any]], None]:
    """A check for a body with a text and, at this path, a limit of tokens."""

    def checker(body: Mapping[str, Any]) -> None:
        _need_text(text)(body)
        _check_limit(body, *limit)

    return checker


def _need_text(name: str) -> Callable[[Mapping[str, Any]], None]:
    def checker(body: Mapping[str, Any]) -> None:
        value = body.get(name)
        if value is None:
            raise RecordError(400, f"{_MALFORMED}: #: required key [{name}] not found")
        if not isinstance(value, str):
            raise RecordError(400, f"{_MALFORMED}: #/{name}: expected type: String")
        if not value:
            raise RecordError(400, f"{_MALFORMED}: #/{name}: expected minLength: 1, actual: 0")

    return checker


def _check_titan_embed(body: Mapping[str, Any]) -> None:
    _need_text("inputText")(body)
    if body.get("dimensions", 1024) not in (256, 384, 512, 1024, 1536):
        raise RecordError(400, f"{_MALFORMED}: #/dimensions: is not a valid enum value")


def _answer_titan_embed(base_model: str, body: Mapping[str, Any]) -> Answer:
    first_version = "embed-text-v1" in base_model or "g1-text" in base_model
    size = body.get("dimensions") or (1536 if first_version else 1024)
    seed = bytes.fromhex(digest(body))
    raw = hashlib.shake_256(seed).digest(size)
    vector = [(each - 127.5) / 127.5 for each in raw]
    if body.get("normalize", True):
        length = sum(each * each for each in vector) ** 0.5
        vector = [each / length for each in vector]
    vector = [round(each, 8) for each in vector]
    given = _tokens(body["inputText"])
    output: dict[str, Any] = {"embedding": vector, "inputTextTokenCount": given}
    if "embed-text-v2" in base_model:
        output["embeddingsByType"] = {"float": vector}
    return Answer(output, given, 0)


def _answer_titan_text(_: str, body: Mapping[str, Any]) -> Answer:
    text, cut = _say(body["inputText"], body, (body.get("textGenerationConfig") or {}).get("maxTokenCount"))
    given, made = _tokens(body["inputText"]), _tokens(text)
    result = {"tokenCount": made, "outputText": text, "completionReason": "LENGTH" if cut else "FINISH"}
    return Answer({"inputTextTokenCount": given, "results": [result]}, given, made)


def _answer_llama(_: str, body: Mapping[str, Any]) -> Answer:
    text, cut = _say(body["prompt"], body, body.get("max_gen_len"))
    given, made = _tokens(body["prompt"]), _tokens(text)
    output = {
        "generation": text,
        "prompt_token_count": given,
        "generation_token_count": made,
        "stop_reason": "length" if cut else "stop",
    }
    return Answer(output, given, made)


def _answer_mistral(_: str, body: Mapping[str, Any]) -> Answer:
    text, cut = _say(body["prompt"], body, body.get("max_tokens"))
    output = {"outputs": [{"text": text, "stop_reason": "length" if cut else "stop"}]}
    return Answer(output, _tokens(body["prompt"]), _tokens(text))


_CHECKS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    "anthropic": _check_anthropic,
    "nova": _check_nova,
    "titan-embed": _check_titan_embed,
    "titan-text": _check_completion("inputText", "textGenerationConfig", "maxTokenCount"),
    "llama": _check_completion("prompt", "max_gen_len"),
    "mistral": _check_completion("prompt", "max_tokens"),
}
_ANSWERS: dict[str, Callable[[str, Mapping[str, Any]], Answer]] = {
    "anthropic": _answer_anthropic,
    "nova": _answer_nova,
    "titan-embed": _answer_titan_embed,
    "titan-text": _answer_titan_text,
    "llama": _answer_llama,
    "mistral": _answer_mistral,
}
