"""Converse, and Amazon Nova's bodies, which are close to it.

Sources: the service model of `bedrock-runtime`; Amazon Nova User Guide, “Complete request schema”.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Mapping
from typing import Any

from bedrock_batch_simulator import rules
from bedrock_batch_simulator.validation import faults, service_model

from .base import (
    MALFORMED,
    Asked,
    Chat,
    RecordError,
    Said,
    Tool,
    at,
    chat_request,
    check_limit,
    conversation,
    forced,
    function,
    function_call,
    image_url,
    json_format,
    need_kind,
    parts_or_text,
    texts,
    tool_named,
)


@functools.cache
def _shape() -> Any:
    return service_model("bedrock-runtime").shape_for("ConverseRequest")


def _tools(body: Mapping[str, Any]) -> list[Tool]:
    specs = [each["toolSpec"] for each in at(body, "toolConfig", "tools") or [] if "toolSpec" in each]
    return [
        Tool(each["name"], at(each, "inputSchema", "json"), str(each.get("description") or ""))
        for each in specs
    ]


def _forced(body: Mapping[str, Any]) -> Tool | None:
    choice, tools = at(body, "toolConfig", "toolChoice") or {}, _tools(body)
    if "any" in choice:
        return tools[0]
    return tool_named(tools, choice["tool"]["name"]) if "tool" in choice else None


def _check_choice(body: Mapping[str, Any]) -> None:
    if "any" in (at(body, "toolConfig", "toolChoice") or {}) and not _tools(body):
        raise RecordError(400, rules.TOOL_CHOICE.text())
    _forced(body)


def _output(said: Said, used: Mapping[str, Any]) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"text": said.text}] if said.text else []
    for number, call in enumerate(said.calls):
        id_ = f"tooluse_{said.mark}{number:02}"
        content.append({"toolUse": {"toolUseId": id_, "name": call.name, "input": call.input}})
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": "tool_use" if said.calls else "max_tokens" if said.cut else "end_turn",
        "usage": {
            "inputTokens": said.given,
            "outputTokens": said.made,
            "totalTokens": said.given + said.made,
            **used,
        },
    }


def _openai(body: Mapping[str, Any], schema: Any = None) -> dict[str, Any]:
    system = "\n".join(texts(body.get("system")))
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    for message in body["messages"]:
        messages += _messages(message)
    settings = body.get("inferenceConfig") or {}
    choice = at(body, "toolConfig", "toolChoice") or {}
    way = next(iter(choice), "")
    return chat_request(
        messages,
        max_tokens=settings.get("maxTokens", settings.get("max_new_tokens")),
        temperature=settings.get("temperature"),
        top_p=settings.get("topP", settings.get("top_p")),
        stop=settings.get("stopSequences"),
        tools=[function(tool) for tool in _tools(body)] or None,
        tool_choice=forced(way, at(choice, "tool", "name") or "") if way else None,
        response_format=json_format(schema) if schema is not None else None,
    )


def _messages(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for block in message["content"]:
        if isinstance(at(block, "text"), str):
            parts.append({"type": "text", "text": block["text"]})
        elif at(block, "image", "source", "bytes") is not None:
            raw = block["image"]["source"]["bytes"]
            data = raw if isinstance(raw, str) else base64.b64encode(raw).decode()
            parts.append(image_url(f"image/{block['image'].get('format')}", data))
        elif at(block, "toolUse") is not None:
            use = block["toolUse"]
            calls.append(function_call(str(use.get("toolUseId")), str(use.get("name")), use.get("input")))
        elif at(block, "toolResult") is not None:
            result = block["toolResult"]
            said = "\n".join(
                each["text"] if isinstance(at(each, "text"), str) else json.dumps(at(each, "json"))
                for each in result.get("content") or []
            )
            made.append({"role": "tool", "tool_call_id": str(result.get("toolUseId")), "content": said})
        elif at(block, "cachePoint") is None and at(block, "reasoningContent") is None:
            kind = next(iter(block), "") if isinstance(block, Mapping) else block
            raise RecordError(400, rules.NO_MEDIA.text(what=f"a block {kind}"))
    if parts or calls:
        more = {"tool_calls": calls} if calls else {}
        made.append({"role": message["role"], "content": parts_or_text(parts) if parts else None, **more})
    return made


class Converse(Chat):
    """Any model in a job or a call of type Converse."""

    def check(self, body: Mapping[str, Any]) -> None:
        if not body.get("messages"):
            raise RecordError(400, "messages: at least one message is required.")
        found = next(faults(_shape(), body, "", closed=True), None)
        if found is None and "modelId" in body:
            found = "#: extraneous key [modelId] is not permitted"
        if found:
            raise RecordError(400, f"{MALFORMED}: {found}, please reformat your input and try again.")
        if body["messages"][0].get("role") != "user":
            raise RecordError(
                400, "A conversation must start with a user message. Try again with one that does."
            )
        _check_choice(body)
        self._schema(body)

    def _schema(self, body: Mapping[str, Any]) -> Any:
        text = at(body, "outputConfig", "textFormat", "structure", "jsonSchema", "schema")
        if text is None:
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise RecordError(
                400, rules.SCHEMA.text(what="the output format", why="it is not JSON")
            ) from None

    def asked(self, body: Mapping[str, Any]) -> Asked:
        return Asked(
            *conversation(body),
            at(body, "inferenceConfig", "maxTokens"),
            _forced(body),
            self._schema(body),
        )

    def output(self, base_model: str, body: Mapping[str, Any], said: Said) -> dict[str, Any]:
        return {**_output(said, {}), "metrics": {"latencyMs": 200 + said.made}}

    def openai(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return _openai(body, self._schema(body))


class Nova(Chat):
    """Amazon Nova's models that write."""

    _MEMBERS = frozenset(
        {
            "additionalModelRequestFields",
            "inferenceConfig",
            "messages",
            "schemaVersion",
            "system",
            "toolConfig",
        }
    )

    def check(self, body: Mapping[str, Any]) -> None:
        for name in body:
            if name not in self._MEMBERS:
                raise RecordError(400, f"{MALFORMED}: #: extraneous key [{name}] is not permitted")
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise RecordError(400, f"{MALFORMED}: #: required key [messages] not found")
        for index, message in enumerate(messages):
            if not isinstance(message, Mapping) or message.get("role") not in ("user", "assistant"):
                raise RecordError(400, f"{MALFORMED}: #/messages/{index}/role: must be user or assistant")
            if not isinstance(message.get("content"), list) or not message["content"]:
                raise RecordError(400, f"{MALFORMED}: #/messages/{index}/content: expected type: JSONArray")
        for name in ("maxTokens", "max_new_tokens"):
            check_limit(body, "inferenceConfig", name)
        need_kind(body, dict, "toolConfig")
        if body.get("toolConfig") is not None:
            shape = _shape().members["toolConfig"]
            if found := next(faults(shape, body["toolConfig"], "toolConfig"), None):
                raise RecordError(400, f"{MALFORMED}: #/{found}")
            _check_choice(body)

    def asked(self, body: Mapping[str, Any]) -> Asked:
        settings = body.get("inferenceConfig") or {}
        limit = settings.get("maxTokens", settings.get("max_new_tokens"))
        return Asked(*conversation(body), limit, _forced(body))

    def output(self, base_model: str, body: Mapping[str, Any], said: Said) -> dict[str, Any]:
        return _output(said, {"cacheReadInputTokenCount": 0, "cacheWriteInputTokenCount": 0})

    def openai(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return _openai(body)
