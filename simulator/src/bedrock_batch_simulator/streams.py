"""Answers as streams: the events of ConverseStream and InvokeModelWithResponseStream, and their encoding.

A stream says what the call without it answers, in parts. Sources: the service model of `bedrock-runtime` for
the events of ConverseStream, the vendors' documentation for the chunks of their models; the encoding is that
of `application/vnd.amazon.eventstream` (Smithy specification, "Amazon Event Stream").
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from .families import family_of
from .families.amazon import NovaEmbed, TitanEmbed, TitanEmbedImage, TitanText
from .families.anthropic import Anthropic
from .families.cohere import CohereEmbed
from .families.converse import Nova

CONTENT_TYPE = "application/vnd.amazon.eventstream"
METRICS = "amazon-bedrock-invocationMetrics"
_EMBEDDINGS = (CohereEmbed, NovaEmbed, TitanEmbed, TitanEmbedImage)
_WORDS_AT_ONCE = 4
_STRING = 7

Event = tuple[str, dict[str, Any]]
"""The type of an event, and its members as JSON."""


def is_streamed(base_model: str) -> bool:
    """Whether a model answers in a stream, as all do but those of embeddings."""
    return not isinstance(family_of(base_model), _EMBEDDINGS)


def converse_events(output: Mapping[str, Any]) -> Iterator[Event]:
    """The events that say what Converse answers with `output`, which may be an answer of the user's own."""
    message = (output.get("output") or {}).get("message") or {}
    yield "messageStart", {"role": message.get("role", "assistant")}
    for index, block in enumerate(message.get("content") or ()):
        for kind, members in _block_events(block):
            yield kind, {**members, "contentBlockIndex": index}
    more = {name: output[name] for name in ("additionalModelResponseFields",) if output.get(name) is not None}
    yield "messageStop", {"stopReason": output.get("stopReason", "end_turn"), **more}
    told = ("usage", "metrics", "trace", "performanceConfig", "serviceTier")
    yield "metadata", {name: output[name] for name in told if output.get(name) is not None}


def _block_events(block: Mapping[str, Any]) -> Iterator[Event]:
    if "toolUse" in block:
        use = block["toolUse"]
        start = {name: value for name, value in use.items() if name != "input"}
        yield "contentBlockStart", {"start": {"toolUse": start}}
        for part in _parts(json.dumps(use.get("input", {}))):
            yield "contentBlockDelta", {"delta": {"toolUse": {"input": part}}}
    elif "reasoningContent" in block:
        thought = block["reasoningContent"].get("reasoningText", {})
        for part in _parts(thought.get("text", "")):
            yield "contentBlockDelta", {"delta": {"reasoningContent": {"text": part}}}
        if "signature" in thought:
            yield "contentBlockDelta", {"delta": {"reasoningContent": {"signature": thought["signature"]}}}
    else:
        for part in _parts(block.get("text", "")):
            yield "contentBlockDelta", {"delta": {"text": part}}
    yield "contentBlockStop", {}


def invoke_chunks(
    base_model: str, body: Mapping[str, Any], metrics: Mapping[str, int]
) -> list[dict[str, Any]]:
    """The chunks, as JSON, that say what InvokeModel answers with `body`; the last one has the `metrics`.

    Those of Anthropic, Amazon Nova and Amazon Titan Text are in parts; any other model's is one chunk, and so
    is an answer of the user's own that is none of its family.
    """
    family = family_of(base_model)
    try:
        if isinstance(family, Anthropic):
            chunks = list(_anthropic_chunks(body))
        elif isinstance(family, Nova) and "output" in body:
            chunks = [{name: members} for name, members in converse_events(body)]
        elif isinstance(family, TitanText):
            chunks = list(_titan_chunks(body))
        else:
            chunks = [dict(body)]
    except (AttributeError, LookupError, TypeError):
        chunks = [dict(body)]
    chunks[-1][METRICS] = dict(metrics)
    return chunks


def _anthropic_chunks(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    usage = body["usage"]
    begun: dict[str, Any] = {
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**usage, "output_tokens": 1},
    }
    yield {"type": "message_start", "message": {**body, **begun}}
    for index, block in enumerate(body["content"]):
        empty, deltas = _anthropic_block(block)
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    stopped = {"stop_reason": body["stop_reason"], "stop_sequence": body["stop_sequence"]}
    ended = {"output_tokens": usage["output_tokens"]}
    yield {"type": "message_delta", "delta": stopped, "usage": ended}
    yield {"type": "message_stop"}


def _anthropic_block(block: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if block["type"] == "tool_use":
        parts = _parts(json.dumps(block["input"]))
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": part} for part in parts]
    if block["type"] == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": part} for part in _parts(block["thinking"])]
        if "signature" in block:
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        return {"type": "thinking", "thinking": "", "signature": ""}, deltas
    return {**block, "text": ""}, [{"type": "text_delta", "text": part} for part in _parts(block["text"])]


def _titan_chunks(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    result = body["results"][0]
    parts = _parts(result["outputText"])
    for number, part in enumerate(parts, 1):
        last = number == len(parts)
        yield {
            "outputText": part,
            "index": 0,
            "totalOutputTextTokenCount": result["tokenCount"] if last else None,
            "completionReason": result["completionReason"] if last else None,
            "inputTextTokenCount": body["inputTextTokenCount"] if number == 1 else None,
        }


def _parts(text: str) -> list[str]:
    """`text` in pieces of some words; at least one, which may be empty."""
    words = re.findall(r"\s*\S+|\s+$", text)
    starts = range(0, len(words), _WORDS_AT_ONCE)
    return ["".join(words[start : start + _WORDS_AT_ONCE]) for start in starts] or [""]


def frame(kind: str, payload: Mapping[str, Any]) -> bytes:
    """An event of type `kind` as it goes over the wire."""
    headers = b"".join(
        struct.pack(">B", len(name))
        + name.encode()
        + struct.pack(">BH", _STRING, len(value))
        + value.encode()
        for name, value in (
            (":event-type", kind),
            (":content-type", "application/json"),
            (":message-type", "event"),
        )
    )
    body = json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    checked = prelude + struct.pack(">I", binascii.crc32(prelude)) + headers + body
    return checked + struct.pack(">I", binascii.crc32(checked))


def chunk_frame(chunk: Mapping[str, Any]) -> bytes:
    """A chunk of InvokeModelWithResponseStream as it goes over the wire."""
    return frame("chunk", {"bytes": base64.b64encode(json.dumps(chunk).encode()).decode()})
