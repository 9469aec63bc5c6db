"""Cohere Command R and Cohere Embed.

Sources: Amazon Bedrock User Guide, “Cohere Command R and Command R+ models”, “Cohere Embed v3”, “Cohere Embed
v4”.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .base import (
    MALFORMED,
    Asked,
    Chat,
    Embedding,
    RecordError,
    Said,
    at,
    chat_request,
    check_enum,
    check_limit,
    digest,
    need_kind,
    need_text,
)


class CommandR(Chat):
    """Cohere Command R."""

    def check(self, body: Mapping[str, Any]) -> None:
        need_text(body, "message")
        check_limit(body, "max_tokens")
        need_kind(body, str, "preamble")
        need_kind(body, list, "chat_history")
        for index, turn in enumerate(body.get("chat_history") or []):
            if not isinstance(turn, dict) or turn.get("role") not in ("USER", "CHATBOT", "SYSTEM", "TOOL"):
                raise RecordError(400, f"{MALFORMED}: #/chat_history/{index}/role: is not a valid enum value")
            need_kind(turn, str, "message")

    def asked(self, body: Mapping[str, Any]) -> Asked:
        before = [turn.get("message") or "" for turn in body.get("chat_history") or []]
        everything = "\n".join([body.get("preamble") or "", *before, body["message"]])
        return Asked(body["message"], everything.lstrip("\n"), body.get("max_tokens"))

    def output(self, base_model: str, body: Mapping[str, Any], said: Said) -> dict[str, Any]:
        turns = [{"role": "USER", "message": body["message"]}, {"role": "CHATBOT", "message": said.text}]
        return {
            "response_id": f"response-{said.mark}",
            "text": said.text,
            "generation_id": f"generation-{said.mark}",
            "chat_history": [*(body.get("chat_history") or []), *turns],
            "finish_reason": "MAX_TOKENS" if said.cut else "COMPLETE",
        }

    def openai(self, body: Mapping[str, Any]) -> dict[str, Any]:
        roles = {"CHATBOT": "assistant", "SYSTEM": "system"}
        messages = [{"role": "system", "content": body["preamble"]}] if body.get("preamble") else []
        messages += [
            {"role": roles.get(turn["role"], "user"), "content": turn.get("message") or ""}
            for turn in body.get("chat_history") or []
        ]
        return chat_request(
            [*messages, {"role": "user", "content": body["message"]}],
            max_tokens=body.get("max_tokens"),
            temperature=body.get("temperature"),
            top_p=body.get("p"),
            stop=body.get("stop_sequences"),
        )


class CohereEmbed(Embedding):
    """Cohere Embed v3 and v4: texts, images, or (v4) `inputs` of both, each with one vector."""

    _TYPES = ("float", "int8", "uint8", "binary", "ubinary")
    _INPUTS = ("texts", "images", "inputs")
    _MOST = 96

    def __init__(self, *, fourth: bool) -> None:
        self._fourth = fourth

    def check(self, body: Mapping[str, Any]) -> None:
        if body.get("input_type") is None:
            raise RecordError(400, f"{MALFORMED}: #: required key [input_type] not found")
        kinds = ("search_document", "search_query", "classification", "clustering", "image")
        check_enum(body, kinds, "input_type")
        check_enum(body, ("NONE", "LEFT", "RIGHT", "START", "END"), "truncate")
        known = self._INPUTS if self._fourth else self._INPUTS[:2]
        given = [name for name in known if body.get(name) is not None]
        if len(given) != 1:
            raise RecordError(400, f"{MALFORMED}: #: exactly one of {', '.join(known)} is required")
        need_kind(body, list, given[0])
        items = body[given[0]]
        if not 1 <= len(items) <= self._MOST:
            raise RecordError(400, f"{MALFORMED}: #/{given[0]}: expected 1 to {self._MOST} items")
        wanted = dict if given == ["inputs"] else str
        for index, item in enumerate(items):
            if not isinstance(item, wanted) or (wanted is dict and not _is_content(item)):
                raise RecordError(400, f"{MALFORMED}: #/{given[0]}/{index}: is of the wrong type")
        need_kind(body, list, "embedding_types")
        for each in body.get("embedding_types") or []:
            if each not in self._TYPES:
                raise RecordError(400, f"{MALFORMED}: #/embedding_types: {each!r} is not a valid enum value")
        check_enum(body, (256, 512, 1024, 1536), "output_dimension")

    def parts(self, body: Mapping[str, Any]) -> list[str | None]:
        if body.get("texts") is not None:
            return list(body["texts"])
        if body.get("images") is not None:
            return [None] * len(body["images"])
        return [
            "\n".join(part.get("text") or "" for part in item["content"])
            if all(part.get("type") == "text" for part in item["content"])
            else None
            for item in body["inputs"]
        ]

    def size(self, base_model: str, body: Mapping[str, Any]) -> int:
        return int(body.get("output_dimension") or 1536) if self._fourth else 1024

    def output(
        self, base_model: str, body: Mapping[str, Any], vectors: list[list[float]], given: int
    ) -> dict[str, Any]:
        kinds = body.get("embedding_types")
        output: dict[str, Any] = {"id": f"embed-{digest(body)}"}
        if kinds:
            made = {kind: [_as(kind, vector) for vector in vectors] for kind in kinds}
            output |= {"response_type": "embeddings_by_type", "embeddings": made}
        else:
            output |= {"response_type": "embeddings_floats", "embeddings": vectors}
        return {**output, "texts": body["texts"]} if body.get("texts") is not None else output


def _is_content(item: Any) -> bool:
    content = at(item, "content")
    return (
        isinstance(content, list)
        and bool(content)
        and all(
            isinstance(part, dict) and isinstance(part.get("text"), (str, type(None))) for part in content
        )
    )


def _as(kind: str, vector: list[float]) -> list[Any]:
    """A vector of floats within ±1 in another of Cohere's types; the binary ones have a bit for a number."""
    if kind == "float":
        return vector
    if kind in ("int8", "uint8"):
        top = max(1e-9, *(abs(each) for each in vector))
        shift = 0 if kind == "int8" else 128
        return [max(-128, min(127, round(each / top * 127))) + shift for each in vector]
    packed = []
    for start in range(0, len(vector), 8):
        bits = sum((each > 0) << (7 - place) for place, each in enumerate(vector[start : start + 8]))
        packed.append(bits if kind == "ubinary" else bits - 128)
    return packed
