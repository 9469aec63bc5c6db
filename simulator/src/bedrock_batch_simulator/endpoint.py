"""A real model that answers: any server of OpenAI's API, such as Ollama, vLLM or llama.cpp.

Source: OpenAI's API reference, “Create chat completion” and “Create embeddings”.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from .answering import Record
from .errors import ERROR_STATUSES, ConfigError
from .families import RecordError, Reply, ToolCall, family_of
from .families.base import Embedding

_LONGEST_ERROR = 500
_TIMEOUT, _UNAVAILABLE, _BROKEN = 408, 503, 502


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A POST that is redirected would come as a GET, and take the key to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


class OpenAIEndpoint:
    """Answers records by a server of OpenAI's API; give it to `Simulation.answers`.

    `url`: its base, such as http://127.0.0.1:11434/v1. `model`: the model to ask for, whatever the record
    names. `embedding_model`: the one for embeddings (`model` unless told). `api_key_env`: the environment
    variable with the API key, which need not be set. `timeout`: seconds for each answer. `concurrency`: how
    many records are asked for at once. `proxy` false: the proxies of the environment are not used.

    The answer comes in the body of the record's own family, with the tokens that the server counted. What the
    server refuses ends as the record's error, with the HTTP status of its answer; 408 when it takes too
    long, 503 when it is not there, 502 when its answer is not one of the API. Raises ConfigError for a URL
    that is none.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        embedding_model: str = "",
        api_key_env: str = "OPENAI_API_KEY",
        timeout: float = 120.0,
        concurrency: int = 4,
        proxy: bool = False,
    ) -> None:
        try:
            parts = urlsplit(url)
            well_formed = parts.scheme in ("http", "https") and bool(parts.netloc)
        except ValueError:
            well_formed = False
        if not well_formed:
            raise ConfigError(f"url: {url!r} is no base URL; write one such as http://127.0.0.1:11434/v1")
        if not model:
            raise ConfigError("model: must be the name of a model that the server has")
        if concurrency < 1 or timeout <= 0:
            raise ConfigError("concurrency must be at least 1, timeout above 0")
        self.url, self.model, self.embedding_model = url.rstrip("/"), model, embedding_model or model
        self.timeout, self.concurrency = timeout, concurrency
        self._api_key_env = api_key_env
        self._places = threading.BoundedSemaphore(concurrency)
        handlers = [_NoRedirects(), *([] if proxy else [urllib.request.ProxyHandler({})])]
        self._opener = urllib.request.build_opener(*handlers)

    def __call__(self, record: Record) -> Reply:
        """The server's answer to a record; raises RecordError where there is none."""
        family = family_of(record.base_model, record.invocation_type)
        asked = family.openai(record.model_input)
        try:
            if isinstance(family, Embedding):
                return _embedded(self._post("embeddings", {"model": self.embedding_model, **asked}))
            return _said(self._post("chat/completions", {"model": self.model, **asked}))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            words = f"{self.url} gave an answer that is not one of OpenAI's API: {error!r}"
            raise RecordError(_BROKEN, words) from None

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key := os.environ.get(self._api_key_env):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(
            f"{self.url}/{path}", data=json.dumps(body).encode(), headers=headers, method="POST"
        )
        with self._places:
            try:
                with self._opener.open(request, timeout=self.timeout) as answer:
                    return json.loads(answer.read())
            except urllib.error.HTTPError as error:
                with error:
                    code = error.code if error.code in ERROR_STATUSES else _BROKEN
                    raise RecordError(code, _words(error)) from None
            except TimeoutError:
                raise RecordError(_TIMEOUT, f"{self.url} took more than {self.timeout} s") from None
            except (OSError, http.client.HTTPException) as error:
                late = isinstance(getattr(error, "reason", None), TimeoutError)
                words = f"{self.url} could not be reached: {getattr(error, 'reason', None) or error!r}"
                raise RecordError(_TIMEOUT if late else _UNAVAILABLE, words) from None


def _words(error: urllib.error.HTTPError) -> str:
    """The message in an error answer: OpenAI's form, or the beginning of whatever it is."""
    try:
        text = error.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return str(error.reason)
    try:
        found = json.loads(text)
        said = found.get("error", found) if isinstance(found, dict) else found
        message = said.get("message") if isinstance(said, dict) else said
    except ValueError:
        message = text
    return str(message or error.reason)[:_LONGEST_ERROR]


def _said(answer: Any) -> Reply:
    (choice, *_) = answer["choices"]
    message, usage = choice["message"], answer.get("usage") or {}
    calls = []
    for call in message.get("tool_calls") or []:
        arguments = call["function"].get("arguments") or "{}"
        given = json.loads(arguments) if isinstance(arguments, str) else arguments
        calls.append(ToolCall(str(call["function"]["name"]), dict(given)))
    return Reply(
        str(message.get("content") or ""),
        tuple(calls),
        cut=choice.get("finish_reason") == "length",
        input_tokens=_count(usage.get("prompt_tokens")),
        output_tokens=_count(usage.get("completion_tokens")),
    )


def _embedded(answer: Any) -> Reply:
    found = sorted(answer["data"], key=lambda each: each.get("index", 0))
    vectors = tuple(tuple(float(number) for number in each["embedding"]) for each in found)
    return Reply(vectors=vectors, input_tokens=_count((answer.get("usage") or {}).get("prompt_tokens")))


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
