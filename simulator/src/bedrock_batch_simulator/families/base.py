"""What the families of models have in common: what a body asks, what is said to it, and what it counts."""

from __future__ import annotations

import abc
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bedrock_batch_simulator import rules
from bedrock_batch_simulator.errors import ERROR_STATUSES

from .schema import SchemaError, instance

MALFORMED = "Malformed input request"

_SORTED = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_SENTENCE_END = re.compile(r"(?<=[.!?])\s|\n")
_SENTENCE = 160
_KINDS = {
    bool: "Boolean",
    int: "Integer",
    float: "Double",
    str: "String",
    list: "JSONArray",
    dict: "JSONObject",
}


class RecordError(Exception):
    """The model refuses one record: `code` (an HTTP status) and `message` stand in the record's `error`.

    In a call on demand it is the exception of that status.
    """

    def __init__(self, code: int, message: str) -> None:
        if code not in ERROR_STATUSES:
            raise ValueError(
                f"RecordError: code must be the HTTP status of an error, 400 to 599, not {code!r}"
            )
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


@dataclass(frozen=True)
class ToolCall:
    """A tool that the model uses, and the input it gives to it."""

    name: str
    input: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """An answer that is not in a family's body yet.

    `text` and `tool_calls`: what a chat model says; `cut`: it reached its limit of tokens. `vectors`: one for
    each text, of an embedding model. Tokens that are None are estimated: four characters each.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    cut: bool = False
    vectors: tuple[Sequence[float], ...] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True)
class Tool:
    """A tool that the model may use, and the JSON schema of its input."""

    name: str
    schema: Any = field(default_factory=dict)
    description: str = ""


@dataclass(frozen=True)
class Asked:
    """What a chat body asks.

    `last`: the last user's text; `everything`: all text that counts as input; `limit`: of tokens; `tool`: the
    one that must be used; `schema`: what the text must be an instance of, as JSON.
    """

    last: str
    everything: str
    limit: int | None = None
    tool: Tool | None = None
    schema: Any = None


@dataclass(frozen=True)
class Said:
    """A reply with its tokens counted; `mark`: twelve hex digits that stand for the body."""

    text: str
    calls: tuple[ToolCall, ...]
    cut: bool
    given: int
    made: int
    mark: str


class Family(abc.ABC):
    """Models that share the bodies of InvokeModel. A body that `check` lets pass breaks nothing else."""

    @abc.abstractmethod
    def check(self, body: Mapping[str, Any]) -> None:
        """Raise RecordError when the model would refuse `body`."""

    @abc.abstractmethod
    def prompt(self, body: Mapping[str, Any]) -> str:
        """The last user's text, or the text to embed; "" where there is none."""

    @abc.abstractmethod
    def answer(self, base_model: str, body: Mapping[str, Any]) -> Answer:
        """The built-in answer; raises RecordError when `body` asks for what it cannot give."""

    @abc.abstractmethod
    def give(self, base_model: str, body: Mapping[str, Any], reply: Reply) -> Answer:
        """`reply` in the body of the family; raises TypeError or ValueError when it cannot be said there."""

    @abc.abstractmethod
    def openai(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """`body` as a request of OpenAI's chat completions, or embeddings (`input`), without the model.

        Raises RecordError for what cannot be said there.
        """


class Chat(Family):
    """A family that answers with text."""

    @abc.abstractmethod
    def asked(self, body: Mapping[str, Any]) -> Asked:
        """What `body` asks."""

    @abc.abstractmethod
    def output(self, base_model: str, body: Mapping[str, Any], said: Said) -> dict[str, Any]:
        """What was said, in the body of the family."""

    def prompt(self, body: Mapping[str, Any]) -> str:
        return self.asked(body).last

    def thought(self, base_model: str) -> str:
        """What the model thinks aloud before it answers."""
        return ""

    def answer(self, base_model: str, body: Mapping[str, Any]) -> Answer:
        asked, mark = self.asked(body), digest(body)
        if asked.tool is not None:
            call = ToolCall(asked.tool.name, _object(asked.tool.schema, mark, f"tool {asked.tool.name}"))
            return self._give(base_model, body, asked, Reply(tool_calls=(call,)), mark)
        if asked.schema is not None:
            text = json.dumps(_instance(asked.schema, mark, "the output format"), ensure_ascii=False)
        else:
            prompt = asked.last
            sentence = _SENTENCE_END.split(prompt.strip(), maxsplit=1)[0][:_SENTENCE]
            text = (
                f"{self.thought(base_model)}{len(prompt.split())} words, {len(prompt)} characters."
                f" Begins: {sentence} [{mark}]"
            )
        cut = asked.limit is not None and tokens(text) > asked.limit
        if asked.limit is not None and cut:
            text = text[: asked.limit * 4]
        return self._give(base_model, body, asked, Reply(text, cut=cut), mark)

    def give(self, base_model: str, body: Mapping[str, Any], reply: Reply) -> Answer:
        if reply.vectors:
            raise TypeError(f"{base_model} answers with text, not with embeddings")
        return self._give(base_model, body, self.asked(body), reply, digest(body))

    def _give(
        self, base_model: str, body: Mapping[str, Any], asked: Asked, reply: Reply, mark: str
    ) -> Answer:
        spoken = reply.text + "".join(json.dumps(call.input) for call in reply.tool_calls)
        given = tokens(asked.everything) if reply.input_tokens is None else reply.input_tokens
        made = tokens(spoken) if reply.output_tokens is None else reply.output_tokens
        said = Said(reply.text, reply.tool_calls, reply.cut, given, made, mark)
        return Answer(self.output(base_model, body, said), given, made)


class Completion(Chat):
    """A family whose body is one text. `text`: its member; `limit`: the path of the limit of tokens."""

    def __init__(self, text: str, *limit: str) -> None:
        self._text, self._limit = text, limit

    def check(self, body: Mapping[str, Any]) -> None:
        need_text(body, self._text)
        check_limit(body, *self._limit)

    def asked(self, body: Mapping[str, Any]) -> Asked:
        return Asked(body[self._text], body[self._text], at(body, *self._limit))

    def openai(self, body: Mapping[str, Any]) -> dict[str, Any]:
        settings = at(body, *self._limit[:-1]) or {}
        return chat_request(
            [{"role": "user", "content": body[self._text]}],
            max_tokens=at(body, *self._limit),
            temperature=settings.get("temperature"),
            top_p=settings.get("top_p", settings.get("topP")),
        )


class Embedding(Family):
    """A family that answers with vectors."""

    @abc.abstractmethod
    def parts(self, body: Mapping[str, Any]) -> list[str | None]:
        """What is to be embedded, each with one vector: texts, and None for what is none."""

    @abc.abstractmethod
    def size(self, base_model: str, body: Mapping[str, Any]) -> int:
        """How many numbers a vector has."""

    @abc.abstractmethod
    def output(
        self, base_model: str, body: Mapping[str, Any], vectors: list[list[float]], given: int
    ) -> dict[str, Any]:
        """The vectors, in the body of the family."""

    def normalized(self, body: Mapping[str, Any]) -> bool:
        """Whether the vectors have the length 1."""
        return True

    def prompt(self, body: Mapping[str, Any]) -> str:
        return "\n".join(part for part in self.parts(body) if part)

    def answer(self, base_model: str, body: Mapping[str, Any]) -> Answer:
        seed, size = bytes.fromhex(digest(body)), self.size(base_model, body)
        vectors = []
        for number in range(len(self.parts(body))):
            raw = hashlib.shake_256(seed + (b"%d" % number if number else b"")).digest(size)
            vector = [(each - 127.5) / 127.5 for each in raw]
            length = sum(each * each for each in vector) ** 0.5 if self.normalized(body) else 1.0
            vectors.append([round(each / length, 8) for each in vector])
        given = tokens(self.prompt(body))
        return Answer(self.output(base_model, body, vectors, given), given, 0)

    def give(self, base_model: str, body: Mapping[str, Any], reply: Reply) -> Answer:
        wanted = len(self.parts(body))
        if len(reply.vectors) != wanted:
            raise TypeError(f"{base_model} answers with embeddings: {wanted}, not {len(reply.vectors)}")
        vectors = [[float(each) for each in vector] for vector in reply.vectors]
        given = tokens(self.prompt(body)) if reply.input_tokens is None else reply.input_tokens
        return Answer(self.output(base_model, body, vectors, given), given, 0)

    def openai(self, body: Mapping[str, Any]) -> dict[str, Any]:
        texts = [part for part in self.parts(body) if part is not None]
        if len(texts) != len(self.parts(body)):
            raise RecordError(400, rules.NO_MEDIA.text(what="embeddings of media"))
        return {"input": texts}


# --- bodies -------------------------------------------------------------------------------------


def digest(model_input: Mapping[str, Any]) -> str:
    """Twelve hex digits of the SHA-256 of `model_input`, whatever the order of its keys."""
    return hashlib.sha256(_SORTED.encode(model_input).encode()).hexdigest()[:12]


def tokens(text: str) -> int:
    """How many tokens a text is taken to have."""
    return max(1, (len(text) + 3) // 4)


def texts(content: Any) -> Iterator[str]:
    """The texts of a message's content, which is one or a list of blocks."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for block in content:
            if isinstance(block, Mapping) and isinstance(block.get("text"), str):
                yield block["text"]


def conversation(body: Mapping[str, Any]) -> tuple[str, str]:
    """The last user's text, and all text that counts as input, of a body with `messages`."""
    messages = body.get("messages") or []
    said = [text for message in messages for text in texts(message.get("content"))]
    last = next((each for each in reversed(messages) if each.get("role") == "user"), None)
    return (
        " ".join(texts(last.get("content"))) if last is not None else "",
        "\n".join([*texts(body.get("system")), *said]),
    )


def at(body: Mapping[str, Any], *path: str) -> Any:
    """The value at a path, None where there is none."""
    found: Any = body
    for name in path:
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return found


def need_text(body: Mapping[str, Any], name: str) -> None:
    """Raise RecordError unless the member is a text."""
    value = body.get(name)
    if value is None:
        raise RecordError(400, f"{MALFORMED}: #: required key [{name}] not found")
    if not isinstance(value, str):
        raise RecordError(400, f"{MALFORMED}: #/{name}: expected type: String")
    if not value:
        raise RecordError(400, f"{MALFORMED}: #/{name}: expected minLength: 1, actual: 0")


def need_kind(body: Mapping[str, Any], kind: type, *path: str) -> None:
    """Raise RecordError if what is at the path, or on the way to it, is of the wrong type; None is fine."""
    found: Any = body
    for depth, name in enumerate(path, start=1):
        found = found.get(name)
        if found is None:
            return
        wanted = kind if depth == len(path) else dict
        if type(found) is not wanted:
            where = f"{MALFORMED}: #/{'/'.join(path[:depth])}"
            raise RecordError(400, f"{where}: expected type: {_KINDS[wanted]}, found: {_KINDS[type(found)]}")


def check_limit(body: Mapping[str, Any], *path: str) -> None:
    """Raise RecordError if a limit of tokens, or an object on the way to it, is wrong."""
    need_kind(body, int, *path)
    found = at(body, *path)
    if found is not None and found < 1:
        raise RecordError(400, f"{MALFORMED}: #/{'/'.join(path)}: {found} is not greater or equal to 1")


def check_enum(body: Mapping[str, Any], known: Sequence[Any], *path: str) -> None:
    """Raise RecordError if what is at the path is none of the known values; None is fine."""
    found = at(body, *path)
    if found is not None and not any(type(found) is type(each) and found == each for each in known):
        raise RecordError(400, f"{MALFORMED}: #/{'/'.join(path)}: is not a valid enum value")


def tool_named(tools: Sequence[Tool], name: str) -> Tool:
    """The tool of that name; raises RecordError where there is none."""
    for tool in tools:
        if tool.name == name:
            return tool
    raise RecordError(400, rules.NO_TOOL.text(name=name))


def _instance(schema: Any, seed: str, what: str) -> Any:
    try:
        return instance(schema, seed)
    except SchemaError as error:
        raise RecordError(400, rules.SCHEMA.text(what=what, why=error)) from None


def _object(schema: Any, seed: str, what: str) -> dict[str, Any]:
    found = _instance(schema or {"type": "object"}, seed, what)
    if not isinstance(found, dict):
        raise RecordError(400, rules.SCHEMA.text(what=what, why="it is not the schema of an object"))
    return found


# --- OpenAI's requests --------------------------------------------------------------------------


def chat_request(messages: list[dict[str, Any]], **settings: Any) -> dict[str, Any]:
    """A request of OpenAI's chat completions; settings that are None are left out."""
    given = {name: value for name, value in settings.items() if value is not None}
    return {"messages": messages, **given}


def function(tool: Tool) -> dict[str, Any]:
    """A tool as OpenAI declares it."""
    described = {"description": tool.description} if tool.description else {}
    return {
        "type": "function",
        "function": {"name": tool.name, **described, "parameters": tool.schema or {"type": "object"}},
    }


def function_call(id_: str, name: str, arguments: Any) -> dict[str, Any]:
    """A tool call as it stands in an assistant's message of OpenAI."""
    return {
        "id": id_,
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)},
    }


def forced(choice: str, name: str = "") -> Any:
    """OpenAI's `tool_choice` for any tool (`any`), one by its `name` (`tool`), `none` or `auto`."""
    if choice == "tool":
        return {"type": "function", "function": {"name": name}}
    return {"any": "required"}.get(choice, choice)


def json_format(schema: Any) -> dict[str, Any]:
    """OpenAI's `response_format` for a schema."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def image_url(kind: str, data: str) -> dict[str, Any]:
    """An image in base64 as a part of a message of OpenAI."""
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}


def parts_or_text(parts: list[dict[str, Any]]) -> Any:
    """The content of a message: one text where there is nothing else, which every server takes."""
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts
