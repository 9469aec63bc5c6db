"""A server of OpenAI's API that answers: what it is asked, and what becomes of its answers."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import pytest
from bedrock_batch_simulator import ConfigError, OpenAIEndpoint, Record, RecordError, Reply
from bedrock_batch_simulator.answering import Answering
from bedrock_batch_simulator.models import base_model_id

from .program import Program, run
from .world import BUCKET, CLAUDE, NOVA, SMALL, World, converse, jsonl, message

COMMAND_R = "cohere.command-r-v1:0"
QWEN = "qwen.qwen3-32b-v1:0"
TITAN = "amazon.titan-embed-text-v2:0"
PNG = "iVBORw0KGgo="


class Fake:
    """A server on 127.0.0.1 that notes what it is asked, and answers as told."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any], str]] = []
        self.status = 200
        self.answer: Callable[[str, dict[str, Any]], Any] = self.usual
        self.threads = 0
        self.most = 0
        lock = threading.Lock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                with lock:
                    fake.threads += 1
                    fake.most = max(fake.most, fake.threads)
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                fake.asked.append((self.path, body, self.headers.get("Authorization", "")))
                answer = fake.answer(self.path, body)
                raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                with lock:
                    fake.threads -= 1
                self.send_response(fake.status)
                if 300 <= fake.status < 400:
                    self.send_header("Location", f"{fake.url}/elsewhere")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(raw)

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    def usual(self, path: str, body: dict[str, Any]) -> Any:
        if path.endswith("/embeddings"):
            data = [{"index": n, "embedding": [float(n), 0.5]} for n, _ in enumerate(body["input"])]
            return {"data": data[::-1], "usage": {"prompt_tokens": 11}}
        text = f"You said {body['messages'][-1]['content']}"
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return {"choices": [choice], "usage": {"prompt_tokens": 21, "completion_tokens": 7}}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(10)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with Fake() as fake:
        yield fake


def ask(
    endpoint: OpenAIEndpoint, body: dict[str, Any], model_id: str = CLAUDE, kind: str = "InvokeModel"
) -> Reply:
    return endpoint(Record("r0", model_id, base_model_id(model_id), kind, body))


def asked(
    server: Fake, body: dict[str, Any], model_id: str = CLAUDE, kind: str = "InvokeModel"
) -> dict[str, Any]:
    ask(OpenAIEndpoint(server.url, "my-model"), body, model_id, kind)
    return server.asked[-1][1]


SYSTEM = {"role": "system", "content": "Be short."}
HELLO = {"role": "user", "content": "Hello."}
LIMITS = {"max_tokens": 9, "temperature": 0.5}


@pytest.mark.parametrize(
    ("model_id", "kind", "body", "messages", "more"),
    [
        (
            CLAUDE,
            "InvokeModel",
            message("Hello.", system="Be short.", max_tokens=9, temperature=0.5, stop_sequences=["."]),
            [SYSTEM, HELLO],
            {**LIMITS, "stop": ["."]},
        ),
        (
            NOVA,
            "InvokeModel",
            converse("Hello.", system=[{"text": "Be short."}], inferenceConfig={"maxTokens": 9, "topP": 1}),
            [SYSTEM, HELLO],
            {"max_tokens": 9, "top_p": 1},
        ),
        (
            CLAUDE,
            "Converse",
            converse("Hello.", inferenceConfig={"maxTokens": 9, "temperature": 0.5}),
            [HELLO],
            LIMITS,
        ),
        (QWEN, "InvokeModel", {"messages": [SYSTEM, HELLO], "model": "x", **LIMITS}, [SYSTEM, HELLO], LIMITS),
        (
            "meta.llama3-8b-instruct-v1:0",
            "InvokeModel",
            {"prompt": "Hello.", "max_gen_len": 9, "temperature": 0.5},
            [HELLO],
            LIMITS,
        ),
        (
            COMMAND_R,
            "InvokeModel",
            {
                "message": "Hello.",
                "preamble": "Be short.",
                "chat_history": [{"role": "CHATBOT", "message": "Yes?"}],
                "p": 0.3,
            },
            [SYSTEM, {"role": "assistant", "content": "Yes?"}, HELLO],
            {"top_p": 0.3},
        ),
    ],
)
def test_each_family_s_body_is_asked_as_a_chat_completion(
    server: Fake,
    model_id: str,
    kind: str,
    body: dict[str, Any],
    messages: list[dict[str, Any]],
    more: dict[str, Any],
) -> None:
    assert asked(server, body, model_id, kind) == {"model": "my-model", "messages": messages, **more}
    assert server.asked[-1][0] == "/v1/chat/completions"


def test_images_and_tools_of_anthropic_are_translated(server: Fake) -> None:
    # given a conversation with an image, a tool that was used, and its result
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    body = message(
        "x",
        messages=[
            {"role": "user", "content": [image, {"type": "text", "text": "Where is it?"}]},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t1", "name": "find", "input": {"a": 1}}],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "There."}]},
        ],
        tools=[{"name": "find", "description": "Finds it.", "input_schema": {"type": "object"}}],
        tool_choice={"type": "tool", "name": "find"},
    )

    # when it is asked
    found = asked(server, body)

    # then it is in OpenAI's words
    function = {"name": "find", "arguments": '{"a": 1}'}
    assert found["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                {"type": "text", "text": "Where is it?"},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "t1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "There."},
    ]
    declared = {"name": "find", "description": "Finds it.", "parameters": {"type": "object"}}
    assert found["tools"] == [{"type": "function", "function": declared}]
    assert found["tool_choice"] == {"type": "function", "function": {"name": "find"}}


def test_images_and_tools_of_converse_are_translated(server: Fake) -> None:
    image = {"image": {"format": "png", "source": {"bytes": PNG}}}
    use = {"toolUse": {"toolUseId": "t1", "name": "find", "input": {"a": 1}}}
    result = {"toolResult": {"toolUseId": "t1", "content": [{"json": {"b": 2}}]}}
    body = {
        "messages": [
            {"role": "user", "content": [image, {"text": "Where?"}]},
            {"role": "assistant", "content": [use]},
            {"role": "user", "content": [result]},
        ],
        "toolConfig": {
            "tools": [{"toolSpec": {"name": "find", "inputSchema": {"json": {"type": "object"}}}}],
            "toolChoice": {"any": {}},
        },
    }
    found = asked(server, body, NOVA)
    assert [each["role"] for each in found["messages"]] == ["user", "assistant", "tool"]
    assert found["messages"][0]["content"][0]["image_url"]["url"].endswith(PNG)
    assert found["messages"][2]["content"] == '{"b": 2}'
    assert found["tool_choice"] == "required"


def test_the_answer_brings_its_tokens(server: Fake) -> None:
    endpoint = OpenAIEndpoint(server.url, "my-model")
    record = Record("r0", CLAUDE, CLAUDE, "InvokeModel", message("Hello."))
    answer = Answering(endpoint).answer(record)
    assert answer.output["content"] == [{"type": "text", "text": "You said Hello."}]
    assert (answer.input_tokens, answer.output_tokens) == (21, 7)
    assert answer.output["usage"]["output_tokens"] == 7


def test_the_answer_may_be_cut_or_use_tools(server: Fake) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "find", "arguments": '{"a": 1}'}}
    server.answer = lambda *_: {
        "choices": [{"message": {"content": None, "tool_calls": [call]}, "finish_reason": "length"}]
    }
    reply = ask(OpenAIEndpoint(server.url, "my-model"), message("x"))
    assert (reply.text, reply.cut, reply.input_tokens) == ("", True, None)
    assert [(each.name, each.input) for each in reply.tool_calls] == [("find", {"a": 1})]


def test_texts_are_embedded_in_their_order(server: Fake) -> None:
    endpoint = OpenAIEndpoint(server.url, "my-model", embedding_model="my-embedder")
    body = {"texts": ["one", "two"], "input_type": "search_query"}
    reply = ask(endpoint, body, "cohere.embed-english-v3")
    assert (reply.vectors, reply.input_tokens) == (((0.0, 0.5), (1.0, 0.5)), 11)
    assert server.asked[-1][:2] == ("/v1/embeddings", {"model": "my-embedder", "input": ["one", "two"]})


@pytest.mark.parametrize(
    ("model_id", "body"),
    [
        ("amazon.titan-embed-image-v1", {"inputImage": PNG}),
        (NOVA, {"messages": [{"role": "user", "content": [{"video": {"format": "mp4"}}]}]}),
        (CLAUDE, message("x", messages=[{"role": "user", "content": [{"type": "document"}]}])),
    ],
)
def test_what_cannot_be_asked_is_refused(server: Fake, model_id: str, body: dict[str, Any]) -> None:
    with pytest.raises(RecordError, match="does not take") as caught:
        ask(OpenAIEndpoint(server.url, "my-model"), body, model_id)
    assert caught.value.code == 400
    assert not server.asked


def test_the_key_comes_from_the_environment(server: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = OpenAIEndpoint(server.url, "my-model", api_key_env="MY_KEY")
    ask(endpoint, message("x"))
    monkeypatch.setenv("MY_KEY", "secret")
    ask(endpoint, message("x"))
    assert [each[2] for each in server.asked] == ["", "Bearer secret"]


def test_proxies_of_the_environment_are_not_used(server: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert ask(OpenAIEndpoint(server.url, "my-model"), message("x")).text == "You said x"


@pytest.mark.parametrize(
    ("status", "answer", "code", "words"),
    [
        (429, {"error": {"message": "too many"}}, 429, "too many"),
        (404, {"error": "no such model"}, 404, "no such model"),
        (500, b"<html>broken</html>", 500, "broken"),
        (302, {}, 502, "Found"),
        (200, {"choices": []}, 502, "not one of OpenAI's API"),
        (200, b"not JSON", 502, "not one of OpenAI's API"),
        (200, [1], 502, "not one of OpenAI's API"),
    ],
)
def test_what_goes_wrong_is_the_record_s_error(
    server: Fake, status: int, answer: Any, code: int, words: str
) -> None:
    server.status, server.answer = status, lambda *_: answer
    with pytest.raises(RecordError) as caught:
        ask(OpenAIEndpoint(server.url, "my-model"), message("x"))
    assert caught.value.code == code
    assert words in caught.value.message
    assert len(server.asked) == 1


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as taken:  # bound, and does not listen
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(RecordError, match="could not be reached") as caught:
            ask(OpenAIEndpoint(url, "my-model"), message("x"))
    assert caught.value.code == 503


def test_a_server_that_takes_too_long_is_a_time_out(server: Fake) -> None:
    waiting = threading.Event()
    server.answer = lambda *_: waiting.wait(30) or {}
    with pytest.raises(RecordError, match="took more than") as caught:
        ask(OpenAIEndpoint(server.url, "my-model", timeout=0.2), message("x"))
    waiting.set()
    assert caught.value.code == 408


@pytest.mark.parametrize(
    ("url", "model", "more"),
    [
        ("127.0.0.1:11434", "m", {}),
        ("file:///etc/passwd", "m", {}),
        ("http://127.0.0.1", "", {}),
        ("http://127.0.0.1", "m", {"concurrency": 0}),
    ],
)
def test_a_wrong_endpoint_is_refused(url: str, model: str, more: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        OpenAIEndpoint(url, model, **more)


def test_a_job_is_answered_by_the_server_some_records_at_once(server: Fake, world: World) -> None:
    # given a server that answers three at once, and refuses one record
    together = threading.Barrier(3, timeout=30)

    def answer(path: str, body: dict[str, Any]) -> Any:
        together.wait()
        return server.usual(path, body)

    server.answer = answer
    simulator = world.simulator(SMALL)
    simulator.answering.callback = OpenAIEndpoint(server.url, "my-model", concurrency=3)
    world.put("in/a.jsonl", jsonl(*(message(f"number {n}") for n in range(12))))

    # when a job runs
    arn = simulator.call("CreateModelInvocationJob", world.request())["jobArn"]
    simulator.advance(600)

    # then each record has the answer to its own prompt, and the manifest the server's tokens
    folder = f"out/{arn[-12:]}/"
    lines = world.results(f"{folder}a.jsonl.out")
    assert len(lines) == 12
    for line in lines:
        said = line["modelOutput"]["content"][0]["text"]
        assert said == f"You said {line['modelInput']['messages'][0]['content']}"
    manifest = json.loads(world.read(f"s3://{BUCKET}/{folder}manifest.json.out"))
    assert (manifest["inputTokenCount"], manifest["outputTokenCount"]) == (12 * 21, 12 * 7)
    assert server.most == 3


def test_errors_of_the_server_do_not_fail_the_job(server: Fake, world: World) -> None:
    server.status, server.answer = 503, lambda *_: {"error": {"message": "loading"}}
    simulator = world.simulator(SMALL)
    simulator.answering.callback = OpenAIEndpoint(server.url, "my-model")
    world.put("in/a.jsonl", jsonl(message("x")))
    arn = simulator.call("CreateModelInvocationJob", world.request())["jobArn"]
    simulator.advance(600)
    (line,) = world.results(f"out/{arn[-12:]}/a.jsonl.out")
    assert line["error"] == {"errorCode": 503, "errorMessage": "loading"}
    job = simulator.call("GetModelInvocationJob", {"jobIdentifier": arn})
    assert (job["status"], job["errorRecordCount"]) == ("Completed", 1)


def test_the_program_answers_by_the_server_that_it_is_told(server: Fake) -> None:
    # given the program with a real model behind it
    with Program.started("--answers-from", server.url, "--answers-model", "my-model") as program:
        # when a model is called
        runtime = program.client("bedrock-runtime")
        answer = runtime.converse(modelId=NOVA, messages=converse("Hello.")["messages"])

        # then the server's answer comes back
        assert answer["output"]["message"]["content"] == [{"text": "You said Hello."}]
        assert answer["usage"]["outputTokens"] == 7
        assert server.asked[0][1]["model"] == "my-model"


def test_the_program_needs_the_model_of_the_server() -> None:
    code, told = run("--answers-from", "http://127.0.0.1:1")
    assert code == 2
    assert "the name of a model" in told
