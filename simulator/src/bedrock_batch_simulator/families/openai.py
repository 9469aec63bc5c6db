"""OpenAI's chat completions, which most models of other providers take, and Mistral's own forms of it.

Sources: Amazon Bedrock User Guide, “OpenAI models”, “Mistral AI chat completion”, “DeepSeek models”, “AI21
Labs Jamba models”; OpenAI's API reference, “Create chat completion”.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bedrock_batch_simulator import rules

from .base import (
    MALFORMED,
    Answer,
    Asked,
    Chat,
    Completion,
    RecordError,
    Reply,
    Said,
    Tool,
    at,
    check_limit,
    conversation,
    function_call,
    need_kind,
    tool_named,
)

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_CREATED = 1_735_689_600
"""The `created` of all answers (2025-01-01): they depend on the body alone, not on the time."""


class OpenAIChat(Chat):
    """Models with a body of `messages`. `thinks`: they put what they think in front of the text."""

    def __init__(self, *, thinks: bool = False) -> None:
        self._thinks = thinks

    def thought(self, base_model: str) -> str:
        return "<reasoning>The prompt is to be described.</reasoning>" if self._thinks else ""

    def check(self, body: Mapping[str, Any]) -> None:
        messages = body.get("messages")
        if messages is None:
            raise RecordError(400, f"{MALFORMED}: #: required key [messages] not found")
        if not isinstance(messages, list) or not messages:
            raise RecordError(400, f"{MALFORMED}: #/messages: must be a list of at least one message")
        for index, message in enumerate(messages):
            if not isinstance(message, dict) or message.get("role") not in _ROLES:
                raise RecordError(400, f"{MALFORMED}: #/messages/{index}/role: is not a valid enum value")
            if not isinstance(message.get("content"), (str, list, type(None))):
                raise RecordError(400, f"{MALFORMED}: #/messages/{index}/content: must be text or a list")
        for name in ("max_tokens", "max_completion_tokens"):
            check_limit(body, name)
        self._check_tools(body)
        need_kind(body, dict, "response_format", "json_schema")

    def _check_tools(self, body: Mapping[str, Any]) -> None:
        need_kind(body, list, "tools")
        for index, tool in enumerate(body.get("tools") or []):
            name = at(tool, "function", "name") if isinstance(tool, dict) else None
            if not isinstance(name, str) or not name:
                where = f"#/tools/{index}/function"
                raise RecordError(400, f"{MALFORMED}: {where}: required key [name] not found")
        choice = body.get("tool_choice")
        named = at(choice, "function", "name") if isinstance(choice, dict) else None
        if (
            choice is not None
            and choice not in ("auto", "none", "any", "required")
            and not isinstance(named, str)
        ):
            raise RecordError(400, f"{MALFORMED}: #/tool_choice: is not a valid enum value")
        if choice is not None and choice != "none" and not body.get("tools"):
            raise RecordError(400, rules.TOOL_CHOICE.text())
        if isinstance(named, str):
            tool_named(_tools(body), named)

    def asked(self, body: Mapping[str, Any]) -> Asked:
        choice, tools = body.get("tool_choice"), _tools(body)
        tool = None
        if isinstance(choice, dict):
            tool = tool_named(tools, choice["function"]["name"])
        elif choice in ("any", "required"):
            tool = tools[0]
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        form = body.get("response_format") or {}
        schema = at(form, "json_schema", "schema") if form.get("type") == "json_schema" else None
        if form.get("type") == "json_object":
            schema = {"type": "object", "properties": {"answer": {"type": "string"}}}
        return Asked(*conversation(body), limit, tool, schema)

    def output(self, base_model: str, body: Mapping[str, Any], said: Said) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{said.mark}",
            "object": "chat.completion",
            "created": _CREATED,
            "model": base_model,
            "choices": [self._choice(said, "finish_reason")],
            "usage": {
                "prompt_tokens": said.given,
                "completion_tokens": said.made,
                "total_tokens": said.given + said.made,
            },
        }

    def _choice(self, said: Said, reason: str) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": said.text or None}
        if said.calls:
            message["tool_calls"] = [
                function_call(f"call_{said.mark}{number:02}", call.name, call.input)
                for number, call in enumerate(said.calls)
            ]
        why = "tool_calls" if said.calls else "length" if said.cut else "stop"
        return {"index": 0, "message": message, reason: why}

    def openai(self, body: Mapping[str, Any]) -> dict[str, Any]:
        choice = {"tool_choice": "required"} if body.get("tool_choice") == "any" else {}
        return {name: each for name, each in {**body, **choice}.items() if name not in ("model", "stream")}


def _tools(body: Mapping[str, Any]) -> list[Tool]:
    found = [tool["function"] for tool in body.get("tools") or []]
    return [Tool(each["name"], each.get("parameters"), str(each.get("description") or "")) for each in found]


class MistralText(Completion):
    """Mistral's models with a `prompt`."""

    def __init__(self) -> None:
        super().__init__("prompt", "max_tokens")

    def output(self, base_model: str, body: Mapping[str, Any], said: Said) -> dict[str, Any]:
        return {"outputs": [{"text": said.text, "stop_reason": "length" if said.cut else "stop"}]}


class MistralChat(OpenAIChat):
    """Mistral Large of 2024: its answer has `stop_reason` and no usage."""

    def output(self, base_model: str, body: Mapping[str, Any], said: Said) -> dict[str, Any]:
        return {"choices": [self._choice(said, "stop_reason")]}


class Either(Chat):
    """Models that take `messages` or a text. `chat` and `text`: the families of the two."""

    def __init__(self, chat: Chat, text: Chat) -> None:
        self._chat, self._text = chat, text

    def _of(self, body: Mapping[str, Any]) -> Chat:
        return self._chat if "messages" in body else self._text

    def check(self, body: Mapping[str, Any]) -> None:
        self._of(body).check(body)

    def asked(self, body: Mapping[str, Any]) -> Asked:
        return self._of(body).asked(body)

    def output(self, base_model: str, body: Mapping[str, Any], said: Said) -> dict[str, Any]:
        return self._of(body).output(base_model, body, said)

    def openai(self, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._of(body).openai(body)


class DeepSeekText(Completion):
    """DeepSeek R1."""

    def __init__(self) -> None:
        super().__init__("prompt", "max_tokens")

    def output(self, base_model: str, body: Mapping[str, Any], said: Said) -> dict[str, Any]:
        return {"choices": [{"text": said.text, "stop_reason": "length" if said.cut else "stop"}]}


class Unknown(OpenAIChat):
    """Models that are not known here: with `messages` they are taken to be of OpenAI's form."""

    def check(self, body: Mapping[str, Any]) -> None:
        """Let a body without `messages` pass: the user's answers may know it."""
        if "messages" in body:
            super().check(body)

    def prompt(self, body: Mapping[str, Any]) -> str:
        return super().prompt(body) if "messages" in body else ""

    def answer(self, base_model: str, body: Mapping[str, Any]) -> Answer:
        self._need_messages(base_model, body)
        return super().answer(base_model, body)

    def give(self, base_model: str, body: Mapping[str, Any], reply: Reply) -> Answer:
        self._need_messages(base_model, body)
        return super().give(base_model, body, reply)

    def openai(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self._need_messages("this model", body)
        return super().openai(body)

    def _need_messages(self, base_model: str, body: Mapping[str, Any]) -> None:
        if "messages" not in body:
            raise RecordError(400, rules.NO_BODY.text(model=base_model))
