"""Anthropic's messages. Source: Anthropic's Messages API reference; AWS's model parameters name it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bedrock_batch_simulator import rules

from .base import (
    Asked,
    Chat,
    RecordError,
    Said,
    Tool,
    at,
    chat_request,
    conversation,
    forced,
    function,
    function_call,
    image_url,
    json_format,
    parts_or_text,
    texts,
    tool_named,
)

_MEMBERS = frozenset(
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
_VERSION = re.compile(r"-v\d+(:\d+)?$")


class Anthropic(Chat):
    """Claude."""

    def check(self, body: Mapping[str, Any]) -> None:
        for name in ("anthropic_version", "max_tokens", "messages"):
            if body.get(name) is None:
                raise RecordError(400, f"{name}: Field required")
        for name in body:
            if name not in _MEMBERS:
                raise RecordError(400, f"{name}: Extra inputs are not permitted")
        limit = body["max_tokens"]
        if isinstance(limit, bool) or not isinstance(limit, int):
            raise RecordError(400, "max_tokens: Input should be a valid integer")
        if limit < 1:
            raise RecordError(400, "max_tokens: Input should be greater than or equal to 1")
        _check_messages(body["messages"])
        _check_tools(body.get("tools"))
        _check_choice(body)
        for name in ("output_format", "output_config"):
            if body.get(name) is not None and not isinstance(body[name], dict):
                raise RecordError(400, f"{name}: Input should be a valid dictionary")

    def asked(self, body: Mapping[str, Any]) -> Asked:
        choice, tool = body.get("tool_choice"), None
        if choice and choice["type"] == "any":
            tool = _tools(body)[0]
        elif choice and choice["type"] == "tool":
            tool = tool_named(_tools(body), choice["name"])
        return Asked(*conversation(body), body["max_tokens"], tool, _schema(body))

    def output(self, base_model: str, body: Mapping[str, Any], said: Said) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "text", "text": said.text}] if said.text else []
        for number, call in enumerate(said.calls):
            id_ = f"toolu_bdrk_{said.mark}{number:02}"
            content.append({"type": "tool_use", "id": id_, "name": call.name, "input": call.input})
        return {
            "model": _VERSION.sub("", base_model.removeprefix("anthropic.")),
            "id": f"msg_bdrk_{said.mark}",
            "type": "message",
            "role": "assistant",
            "content": content,
            "stop_reason": "tool_use" if said.calls else "max_tokens" if said.cut else "end_turn",
            "stop_sequence": None,
            "usage": {
                "input_tokens": said.given,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": said.made,
            },
        }

    def openai(self, body: Mapping[str, Any]) -> dict[str, Any]:
        system = "\n".join(texts(body.get("system")))
        messages = [{"role": "system", "content": system}] if system else []
        for message in body["messages"]:
            messages += _messages(message)
        choice, schema, tools = body.get("tool_choice") or {}, _schema(body), _tools(body)
        return chat_request(
            messages,
            max_tokens=body["max_tokens"],
            temperature=body.get("temperature"),
            top_p=body.get("top_p"),
            stop=body.get("stop_sequences"),
            tools=[function(tool) for tool in tools] or None,
            tool_choice=forced(choice["type"], choice.get("name", "")) if choice else None,
            response_format=json_format(schema) if schema is not None else None,
        )


def _check_messages(messages: Any) -> None:
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


def _check_tools(tools: Any) -> None:
    if tools is None:
        return
    if not isinstance(tools, list):
        raise RecordError(400, "tools: Input should be a valid list")
    for index, tool in enumerate(tools):
        if not isinstance(tool, dict) or not isinstance(tool.get("name"), str) or not tool["name"]:
            raise RecordError(400, f"tools.{index}.name: Field required")
        if tool.get("type", "custom") in (None, "custom") and not isinstance(tool.get("input_schema"), dict):
            raise RecordError(400, f"tools.{index}.input_schema: Field required")


def _check_choice(body: Mapping[str, Any]) -> None:
    choice = body.get("tool_choice")
    if choice is None:
        return
    if not isinstance(choice, dict) or choice.get("type") not in ("auto", "any", "tool", "none"):
        raise RecordError(400, "tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'")
    if not body.get("tools"):
        raise RecordError(400, rules.TOOL_CHOICE.text())
    if choice["type"] == "tool":
        if not isinstance(choice.get("name"), str):
            raise RecordError(400, "tool_choice.tool.name: Field required")
        tool_named(_tools(body), choice["name"])


def _tools(body: Mapping[str, Any]) -> list[Tool]:
    return [
        Tool(tool["name"], tool.get("input_schema"), str(tool.get("description") or ""))
        for tool in body.get("tools") or []
    ]


def _schema(body: Mapping[str, Any]) -> Any:
    config = body.get("output_config")
    for form in (body.get("output_format"), config.get("format") if config else None):
        if isinstance(form, dict) and form.get("type") == "json_schema":
            return form.get("schema")
    return None


def _messages(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    if isinstance(content, str):
        return [{"role": message["role"], "content": content}]
    made: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for block in content:
        kind = block.get("type") if isinstance(block, Mapping) else None
        if kind == "text" or (kind is None and isinstance(at(block, "text"), str)):
            parts.append({"type": "text", "text": str(block.get("text"))})
        elif kind == "image" and at(block, "source", "type") == "base64":
            source = block["source"]
            parts.append(image_url(str(source.get("media_type")), str(source.get("data"))))
        elif kind == "tool_use":
            calls.append(function_call(str(block.get("id")), str(block.get("name")), block.get("input")))
        elif kind == "tool_result":
            said = "\n".join(texts(block.get("content")))
            made.append({"role": "tool", "tool_call_id": str(block.get("tool_use_id")), "content": said})
        elif kind not in ("thinking", "redacted_thinking"):
            raise RecordError(400, rules.NO_MEDIA.text(what=f"a block of type {kind}"))
    if parts or calls:
        more = {"tool_calls": calls} if calls else {}
        made.append({"role": message["role"], "content": parts_or_text(parts) if parts else None, **more})
    return made
