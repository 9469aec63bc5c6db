"""On-demand inference: InvokeModel and Converse through boto3's own client, in process and over HTTP."""

from __future__ import annotations

import base64
import json
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import boto3
import pytest
from bedrock_batch_simulator import (
    ApiError,
    Config,
    ControlError,
    Fault,
    Simulator,
    SimulatorControl,
    expected_output,
)
from bedrock_batch_simulator.server import SimulatorServer
from botocore.config import Config as ClientConfig
from botocore.exceptions import ClientError, ConnectionClosedError
from botocore.session import get_session
from botocore.validate import ParamValidator

from .world import ACCOUNT, CLAUDE, NOVA, REGION, World, converse, jsonl, message

PROFILE = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:inference-profile/us.{CLAUDE}"
TITAN = "amazon.titan-embed-text-v2:0"
LLAMA = "meta.llama3-1-8b-instruct-v1:0"
MISTRAL = "mistral.mistral-large-2407-v1:0"
TOOLS = {
    "tools": [{"toolSpec": {"name": "clock", "inputSchema": {"json": {"type": "object"}}}}],
}


@pytest.fixture
def simulator(world: World) -> Simulator:
    return world.simulator()


@pytest.fixture
def runtime(world: World, simulator: Simulator) -> Any:
    return world.runtime(simulator)


@pytest.fixture
def server(world: World) -> Iterator[SimulatorServer]:
    with SimulatorServer(world.s3, account=ACCOUNT, region=REGION, seed=1, interval=0.01) as running:
        yield running


@pytest.fixture
def control(server: SimulatorServer) -> SimulatorControl:
    return SimulatorControl(server.url)


@pytest.fixture
def remote(server: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client that finds the server as a function does: by its environment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.url)
    settings = ClientConfig(retries={"total_max_attempts": 1}, read_timeout=20, max_pool_connections=20)
    return boto3.client("bedrock-runtime", region_name=REGION, config=settings)


def invoke(client: Any, body: dict[str, Any], model_id: str = CLAUDE) -> dict[str, Any]:
    """What the body of InvokeModel's answer says."""
    answer: dict[str, Any] = json.loads(
        client.invoke_model(modelId=model_id, body=json.dumps(body))["body"].read()
    )
    return answer


def said(client: Any, body: dict[str, Any], model_id: str = CLAUDE) -> dict[str, Any]:
    """Converse's answer without what botocore adds."""
    answer: dict[str, Any] = client.converse(modelId=model_id, **body)
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def code_of(call: Callable[[], Any]) -> str:
    """The code of the error that `call` gets, or ok."""
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "ok"


def under_way(state: dict[str, Any]) -> int:
    """How many calls the server has admitted and not answered yet."""
    return sum(model["on_demand"]["concurrent"] for model in state["models"].values())


# --- answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model_id", "body"),
    [
        (CLAUDE, message("How are you? Well.")),
        (f"us.{CLAUDE}", message("Über Grüße – 日本語")),
        (PROFILE, message("By ARN.")),
        (f"arn:aws:bedrock:{REGION}::foundation-model/{CLAUDE}", message("By the model's ARN.")),
        (NOVA, {"messages": [{"role": "user", "content": [{"text": "Hello."}]}]}),
        (TITAN, {"inputText": "Some text.", "dimensions": 256}),
        ("amazon.titan-text-express-v1", {"inputText": "Tell me."}),
        (LLAMA, {"prompt": "Tell me."}),
        (MISTRAL, {"prompt": "Tell me."}),
    ],
)
def test_invoke_model_answers_as_a_batch_job_would(runtime: Any, model_id: str, body: dict[str, Any]) -> None:
    assert invoke(runtime, body, model_id) == expected_output(model_id, "InvokeModel", body)["modelOutput"]


def test_invoke_model_tells_the_type_and_the_tokens_in_headers(runtime: Any) -> None:
    # given a call, when it is answered
    answer = runtime.invoke_model(modelId=CLAUDE, body=json.dumps(message("One two three.")))

    # then its headers say what the body's usage says
    usage = json.loads(answer["body"].read())["usage"]
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert answer["contentType"] == "application/json"
    assert headers["x-amzn-bedrock-input-token-count"] == str(usage["input_tokens"])
    assert headers["x-amzn-bedrock-output-token-count"] == str(usage["output_tokens"])


@pytest.mark.parametrize("model_id", [CLAUDE, f"us.{CLAUDE}", PROFILE, NOVA, "cohere.command-r-v1:0"])
def test_converse_answers_as_a_batch_job_would(runtime: Any, model_id: str) -> None:
    body = converse("How are you?", system=[{"text": "Be brief."}], inferenceConfig={"temperature": 0.5})
    assert said(runtime, body, model_id) == expected_output(model_id, "Converse", body)["modelOutput"]


def test_converse_answers_in_the_service_s_own_shape(simulator: Simulator) -> None:
    # given an answer as the simulator gives it, when botocore's model judges it
    answer = simulator.call("Converse", {"modelId": NOVA, **converse("Hello.")})
    shape = get_session().get_service_model("bedrock-runtime").shape_for("ConverseResponse")

    # then nothing is missing, of a wrong type or unknown
    assert ParamValidator().validate(answer, shape).generate_report() == ""
    assert set(answer) == {"output", "stopReason", "usage", "metrics"}


def test_an_image_travels_as_base64_and_gives_the_record_s_own_answer(runtime: Any) -> None:
    # given a record whose image is base64 in the JSON, which boto3 takes as bytes
    raw = b"\x89PNG not really"

    def body(image: Any) -> dict[str, Any]:
        block = {"image": {"format": "png", "source": {"bytes": image}}}
        return {"messages": [{"role": "user", "content": [{"text": "What is it?"}, block]}]}

    # when it is asked for on demand, then the answer is that of the record
    record = body(base64.b64encode(raw).decode())
    assert said(runtime, body(raw)) == expected_output(CLAUDE, "Converse", record)["modelOutput"]


def test_an_image_that_is_not_base64_is_refused() -> None:
    block = {"image": {"format": "png", "source": {"bytes": "not base64!"}}}
    body = {"messages": [{"role": "user", "content": [block]}]}
    assert "must be base64" in expected_output(CLAUDE, "Converse", body)["error"]["errorMessage"]


def test_converse_takes_tools_on_demand_though_not_in_a_batch(runtime: Any) -> None:
    body = converse("What time is it?", toolConfig=TOOLS)
    assert "error" in expected_output(CLAUDE, "Converse", body)
    expected = expected_output(CLAUDE, "Converse", body, on_demand=True)
    assert said(runtime, body) == expected["modelOutput"]


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model_id", "body"),
    [
        (CLAUDE, {"messages": []}),
        (CLAUDE, message("x", max_tokens="many")),
        (CLAUDE, message("x", colour="red")),
        (NOVA, {"prompt": "x"}),
        (TITAN, {"inputText": "x", "dimensions": 3}),
        (LLAMA, {}),
        ("cohere.command-r-v1:0", {"messages": []}),
        ("nobody.new-model-v1:0", {"prompt": "x"}),
    ],
)
def test_a_body_that_the_model_refuses_is_invalid_with_the_record_s_words(
    runtime: Any, simulator: Simulator, model_id: str, body: dict[str, Any]
) -> None:
    with pytest.raises(runtime.exceptions.ValidationException) as caught:
        invoke(runtime, body, model_id)
    error = expected_output(model_id, "InvokeModel", body)["error"]
    assert caught.value.response["Error"]["Message"] == error["errorMessage"]
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == error["errorCode"] == 400
    assert simulator.state()["on_demand"]["answers"] == 0


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "assistant", "content": [{"text": "I begin."}]}]},
        {"messages": []},
        converse("x", inferenceConfig={"temperature": 7}),
    ],
)
def test_converse_refuses_with_the_record_s_words(simulator: Simulator, body: dict[str, Any]) -> None:
    # boto3 itself would stop some of these, so the call is made below it
    with pytest.raises(ApiError) as caught:
        simulator.call("Converse", {"modelId": CLAUDE, **body})
    expected = expected_output(CLAUDE, "Converse", body)["error"]["errorMessage"]
    assert (caught.value.code, caught.value.message) == ("ValidationException", expected)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "Malformed input request, please"),
        (b"{", "Malformed input request, please"),
        (b'{"a": NaN}', "Malformed input request, please"),
        (b'{"a": "\xff"}', "Malformed input request, please"),
        (b"[" * 100_000, "Malformed input request, please"),
        (b"[1]", "found: JSONArray"),
        (b"3", "found: Number"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(runtime: Any, raw: bytes, words: str) -> None:
    with pytest.raises(runtime.exceptions.ValidationException, match=words):
        runtime.invoke_model(modelId=CLAUDE, body=raw)


@pytest.mark.parametrize(
    ("model_id", "words"),
    [
        ("foo", "model identifier is invalid"),
        (f"arn:aws:bedrock:eu-west-1::foundation-model/{CLAUDE}", "model identifier is invalid"),
        ("no spaces.allowed", "regular expression pattern"),
        (
            f"arn:aws:bedrock:{REGION}:{ACCOUNT}:custom-model/amazon.titan-text-lite-v1/abcdefghijkl",
            "isn’t supported",
        ),
    ],
)
def test_what_names_no_model_that_runs_on_demand_is_refused(
    runtime: Any, simulator: Simulator, model_id: str, words: str
) -> None:
    for call in (
        lambda: invoke(runtime, message("x"), model_id),
        lambda: runtime.converse(modelId=model_id, **converse("x")),
    ):
        with pytest.raises(runtime.exceptions.ValidationException, match=words):
            call()
    assert "foo" not in simulator.state()["models"]


def test_a_header_that_the_service_does_not_know_is_refused(runtime: Any) -> None:
    with pytest.raises(runtime.exceptions.ValidationException, match="enum value set"):
        runtime.invoke_model(modelId=CLAUDE, body=json.dumps(message("x")), trace="LOUD")


def test_a_model_that_runs_by_profile_alone_refuses_its_bare_id(world: World) -> None:
    simulator = world.simulator({"models": {CLAUDE: {"on_demand_by_id": False}}})
    runtime = world.runtime(simulator)
    with pytest.raises(runtime.exceptions.ValidationException, match="inference profile"):
        invoke(runtime, message("x"))
    assert invoke(runtime, message("x"), f"us.{CLAUDE}")["role"] == "assistant"
    assert invoke(runtime, message("x"), PROFILE)["role"] == "assistant"


def test_an_application_profile_stands_for_its_model(world: World) -> None:
    arn = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:application-inference-profile/abcdefghijkl"
    simulator = world.simulator({"inference_profiles": {arn: CLAUDE}})
    assert invoke(world.runtime(simulator), message("x"), arn)["role"] == "assistant"
    assert simulator.state()["models"][CLAUDE]["on_demand"]["ok"] == 1


# --- failing records ----------------------------------------------------------------------------


def test_a_record_that_fails_for_good_in_a_batch_fails_on_demand_each_time(world: World) -> None:
    # given a rate, and a job with the same records whose results tell which of them fail for good
    simulator = world.simulator(
        {"models": {"*": {"min_records": 1}}, "record_faults": {"permanent_rate": 0.3}}
    )
    inputs = [message(f"Question {number}.") for number in range(40)]
    world.put("in/a.jsonl", jsonl(*inputs))
    arn = simulator.call("CreateModelInvocationJob", world.request())["jobArn"]
    simulator.advance(60)
    results = {line["recordId"]: line for line in world.results(f"out/{arn[-12:]}/a.jsonl.out")}
    refused = [number for number in range(40) if "error" in results[f"r{number}"]]

    # when each is asked for on demand, twice
    runtime = world.runtime(simulator)
    for _ in range(2):
        codes = [code_of(partial(invoke, runtime, body)) for body in inputs]

        # then the same ones are refused, each time
        assert [number for number, code in enumerate(codes) if code == "ValidationException"] == refused
        assert codes.count("ok") == 40 - len(refused)
    assert 4 <= len(refused) <= 20


@pytest.mark.parametrize(
    ("code", "name", "status"),
    [
        (408, "ModelTimeoutException", 408),
        (424, "ModelErrorException", 424),
        (429, "ThrottlingException", 429),
        (500, "InternalServerException", 500),
        (503, "ServiceUnavailableException", 503),
        (418, "ValidationException", 400),
        (599, "InternalServerException", 500),
    ],
)
def test_a_passing_failure_is_the_exception_of_its_code(
    world: World, code: int, name: str, status: int
) -> None:
    simulator = world.simulator({"record_faults": {"passing_rate": 1, "passing_codes": [code]}})
    runtime = world.runtime(simulator)
    with pytest.raises(getattr(runtime.exceptions, name)) as caught:
        runtime.converse(modelId=CLAUDE, **converse("x"))
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert simulator.state()["models"][CLAUDE]["on_demand"]["concurrent"] == 0
    assert simulator.state()["on_demand"]["answers"] == 0


def test_a_passing_failure_is_drawn_for_each_call_so_a_retry_succeeds(world: World) -> None:
    # given half of the calls failing
    simulator = world.simulator({"record_faults": {"passing_rate": 0.5, "passing_codes": [429, 500, 424]}})
    runtime = world.runtime(simulator)

    # when one body is asked for until it is answered, for many bodies
    tries = []
    for number in range(50):
        codes: list[str] = []
        while "ok" not in codes and len(codes) < 50:
            codes.append(code_of(partial(invoke, runtime, message(f"Question {number}"))))
        tries.append(codes)

    # then some were answered at once and others later, with every kind of failure, and each was paid for once
    assert len({len(codes) for codes in tries}) > 2
    assert {code for codes in tries for code in codes} == {
        "ok",
        "ThrottlingException",
        "InternalServerException",
        "ModelErrorException",
    }
    state = simulator.state()
    assert (state["on_demand"]["answers"], state["on_demand"]["repeated"]) == (50, 0)


def test_the_same_seed_draws_the_same_failures_in_whatever_order_the_calls_come(world: World) -> None:
    def outcomes(numbers: list[int], seed: int) -> dict[int, str]:
        config = {"record_faults": {"passing_rate": 0.5}}
        runtime = world.runtime(world.simulator(config, seed))
        return {n: code_of(partial(invoke, runtime, message(f"Question {n}"))) for n in numbers}

    forth, back = list(range(30)), list(range(29, -1, -1))
    assert outcomes(forth, 1) == outcomes(back, 1)
    assert outcomes(forth, 1) != outcomes(forth, 2)


# --- faults on demand ---------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["InvokeModel", "Converse"])
@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("throttling", "ThrottlingException"),
        ("server_error", "InternalServerException"),
        ("access_denied", "AccessDeniedException"),
        ("validation", "ValidationException"),
    ],
)
def test_a_fault_strikes_the_calls_of_its_operation_before_their_effect(
    world: World, simulator: Simulator, kind: Any, code: str, operation: str
) -> None:
    # given a fault for one operation
    runtime = world.runtime(simulator)
    simulator.add_fault(Fault(kind, operation, times=1))
    calls = {
        "InvokeModel": lambda: invoke(runtime, message("x")),
        "Converse": lambda: runtime.converse(modelId=CLAUDE, **converse("x")),
    }

    # when both operations are called, and the one that is hit once more
    codes = {name: code_of(call) for name, call in calls.items()}
    assert code_of(calls[operation]) == "ok"

    # then only that operation was hit, and nothing was paid for meanwhile
    assert codes.pop(operation) == code
    assert set(codes.values()) == {"ok"}
    assert simulator.calls[operation]["errors"] == {code: 1}
    assert simulator.state()["on_demand"] | {"input_tokens": 0, "output_tokens": 0} == {
        "answers": 2,
        "repeated": 0,
        "answers_lost": 0,
        "input_tokens": 0,
        "output_tokens": 0,
    }


@pytest.mark.parametrize("kind", ["answer_lost", "connection_lost"])
def test_a_lost_answer_is_paid_for_and_asking_again_is_seen(
    world: World, simulator: Simulator, kind: Any
) -> None:
    # given a fault that takes the answer away
    runtime = world.runtime(simulator)
    simulator.add_fault(Fault(kind, "InvokeModel", times=1))

    # when the same body is asked for twice
    lost = runtime.exceptions.InternalServerException if kind == "answer_lost" else ConnectionClosedError
    with pytest.raises(lost):
        invoke(runtime, message("x"))
    invoke(runtime, message("x"))

    # then both were paid for, one of them again
    state = simulator.state()
    assert (state["on_demand"]["answers"], state["on_demand"]["answers_lost"]) == (2, 1)
    assert state["on_demand"]["repeated"] == 1
    assert simulator.on_demand.answered("InvokeModel", CLAUDE, message("x")) == 2
    assert state["calls"]["InvokeModel"]["effect_answer_lost"] == 1
    assert state["models"][CLAUDE]["on_demand"]["ok"] == 1


def test_a_fault_for_an_unknown_operation_is_refused(control: SimulatorControl) -> None:
    with pytest.raises(ControlError, match="InvokeModel, Converse, "):
        control.faults({"kind": "throttling", "operation": "ApplyGuardrail"})


# --- counts -------------------------------------------------------------------------------------


def test_each_answer_is_counted_with_its_tokens_and_so_is_a_repetition(
    simulator: Simulator, runtime: Any
) -> None:
    # given three bodies, when one of them is asked for again, with its keys in another order
    bodies = [message("a"), message("b"), dict(reversed(message("a").items()))]
    answers = [invoke(runtime, body) for body in bodies]
    runtime.converse(modelId=CLAUDE, **converse("a"))

    # then the answers are counted, one as repeated, with all tokens
    usage = [answer["usage"] for answer in answers]
    usage_of_converse = expected_output(CLAUDE, "Converse", converse("a"))["modelOutput"]["usage"]
    assert simulator.state()["on_demand"] == {
        "answers": 4,
        "repeated": 1,
        "answers_lost": 0,
        "input_tokens": sum(each["input_tokens"] for each in usage) + usage_of_converse["inputTokens"],
        "output_tokens": sum(each["output_tokens"] for each in usage) + usage_of_converse["outputTokens"],
    }
    assert simulator.on_demand.answered("InvokeModel", CLAUDE, message("a")) == 2


def test_calls_are_counted_by_operation_and_by_base_model(simulator: Simulator, runtime: Any) -> None:
    # given calls for one model by two names, a refused one, and one for another model
    invoke(runtime, message("a"))
    invoke(runtime, message("b"), f"us.{CLAUDE}")
    assert code_of(lambda: invoke(runtime, {})) == "ValidationException"
    runtime.converse(modelId=NOVA, **converse("c"))

    # then the state has them
    state = simulator.state()
    assert state["calls"]["InvokeModel"] == {
        "total": 3,
        "ok": 2,
        "errors": {"ValidationException": 1},
        "effect_answer_lost": 0,
    }
    assert state["calls"]["Converse"]["ok"] == 1
    assert state["models"][CLAUDE]["on_demand"] == {
        "calls": 3,
        "ok": 2,
        "throttled": 0,
        "concurrent": 0,
        "peak_concurrent": 1,
    }
    assert state["models"][NOVA]["on_demand"]["calls"] == 1
    assert json.loads(json.dumps(state)) == state


def test_calls_take_no_slot_of_the_batch_jobs(simulator: Simulator, runtime: Any) -> None:
    invoke(runtime, message("a"))
    assert (simulator.active(CLAUDE), simulator.peak(CLAUDE)) == (0, 0)


def test_a_reset_forgets_the_calls(simulator: Simulator, runtime: Any) -> None:
    invoke(runtime, message("a"))
    simulator.reset()
    state = simulator.state()
    assert state["models"] == {}
    assert set(state["on_demand"].values()) == {0}
    assert state["calls"]["InvokeModel"]["total"] == 0


def test_a_call_under_way_across_a_reset_is_answered_and_not_counted(simulator: Simulator) -> None:
    invocation = simulator.begin("Converse", {"modelId": CLAUDE, **converse("x")})
    simulator.reset()
    assert simulator.finish(invocation).output["stopReason"] == "end_turn"
    state = simulator.state()
    assert (state["models"], state["on_demand"]["answers"], state["calls"]["Converse"]["ok"]) == ({}, 0, 0)


# --- quotas -------------------------------------------------------------------------------------


def test_above_the_quota_of_a_minute_calls_are_throttled_until_time_has_passed(world: World) -> None:
    # given three calls a minute for the model, two made now and one half a minute later
    simulator = world.simulator({"models": {CLAUDE: {"invocations_per_minute": 3}}})
    runtime = world.runtime(simulator)

    def call(model_id: str = CLAUDE) -> str:
        return code_of(lambda: invoke(runtime, message("x"), model_id))

    assert [call(), call(f"us.{CLAUDE}")] == ["ok", "ok"]
    world.clock.advance(30)
    assert call() == "ok"

    # when more come, then they are throttled until the first ones are a minute old; another model is free
    assert [call(), call(PROFILE)] == ["ThrottlingException"] * 2
    assert code_of(lambda: runtime.converse(modelId=NOVA, **converse("x"))) == "ok"
    world.clock.advance(29.9)
    assert call() == "ThrottlingException"
    world.clock.advance(0.1)
    assert [call(), call(), call()] == ["ok", "ok", "ThrottlingException"]
    tally = simulator.state()["models"][CLAUDE]["on_demand"]
    assert (tally["calls"], tally["ok"], tally["throttled"]) == (9, 5, 4)


@pytest.mark.parametrize("quota", ["invocations_per_minute", "max_concurrent_invocations"])
def test_a_quota_of_none_at_all_lets_nothing_in(world: World, quota: str) -> None:
    runtime = world.runtime(world.simulator({"models": {"*": {quota: 0}}}))
    with pytest.raises(runtime.exceptions.ThrottlingException):
        invoke(runtime, message("x"))


def test_threads_in_process_are_at_work_together_and_each_is_answered(world: World) -> None:
    # given calls that wait for each other while they are under way
    simulator, barrier = world.simulator(), threading.Barrier(4)

    def meet(_: float) -> None:
        barrier.wait(20)

    runtime = world.runtime(simulator, meet)
    bodies = [message(f"Question {number}") for number in range(4)]

    # when four come at once
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda body: invoke(runtime, body), bodies))

    # then each has its own answer, and the peak is four
    assert answers == [expected_output(CLAUDE, "InvokeModel", body)["modelOutput"] for body in bodies]
    assert simulator.state()["models"][CLAUDE]["on_demand"]["peak_concurrent"] == 4


def test_calls_shut_each_other_out_but_not_while_a_model_is_at_work(world: World) -> None:
    # given a clock and a pause that tell whether another thread could call the simulator just then
    simulator, looks = world.simulator(), queue.Queue[tuple[str, bool]]()

    def look(where: str) -> None:
        def attempt() -> bool:
            free = simulator.lock.acquire(blocking=False)
            if free:
                simulator.lock.release()
            return free

        with ThreadPoolExecutor(1) as pool:
            looks.put((where, pool.submit(attempt).result(20)))

    def clock() -> float:
        look("clock")
        return world.clock()

    simulator.clock = clock

    # when a model is called and a job is created
    invoke(world.runtime(simulator, lambda _: look("pause")), message("x"))
    world.client(simulator).create_model_invocation_job(**world.request())

    # then the simulator was free only while the model was at work
    seen = {looks.get_nowait() for _ in range(looks.qsize())}
    assert seen == {("clock", False), ("pause", True)}


def test_above_the_quota_of_concurrent_calls_more_are_throttled(world: World) -> None:
    # given two calls at once at most, and a third made while two are under way
    simulator = world.simulator({"models": {"*": {"max_concurrent_invocations": 2}}})
    params = {"modelId": CLAUDE, **converse("x")}
    first, second = simulator.begin("Converse", params), simulator.begin("Converse", params)
    with pytest.raises(ApiError, match="ThrottlingException"):
        simulator.begin("Converse", params)

    # when one ends and another is given up, then two more are let in
    simulator.finish(first)
    simulator.abandon(second)
    simulator.finish(simulator.begin("Converse", params))
    tally = simulator.state()["models"][CLAUDE]["on_demand"]
    assert (tally["peak_concurrent"], tally["concurrent"], tally["throttled"]) == (2, 0, 1)


def test_a_pause_that_fails_frees_the_place(world: World) -> None:
    def broken(_: float) -> None:
        raise OSError("the machine is on fire")

    simulator = world.simulator()
    with pytest.raises(OSError, match="on fire"):
        invoke(world.runtime(simulator, broken), message("x"))
    assert simulator.state()["models"][CLAUDE]["on_demand"]["concurrent"] == 0


# --- over HTTP ----------------------------------------------------------------------------------


@pytest.mark.parametrize("model_id", [CLAUDE, PROFILE])
def test_a_client_over_http_gets_the_same_answers(
    remote: Any, control: SimulatorControl, model_id: str
) -> None:
    body, talk = message("Grüße?"), converse("Grüße?")
    answer = remote.invoke_model(modelId=model_id, body=json.dumps(body), accept="application/json")
    assert json.loads(answer["body"].read()) == expected_output(model_id, "InvokeModel", body)["modelOutput"]
    assert int(answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-bedrock-input-token-count"]) > 0
    assert said(remote, talk, model_id) == expected_output(model_id, "Converse", talk)["modelOutput"]
    assert control.state()["models"][CLAUDE]["on_demand"]["ok"] == 2


def test_errors_over_http_are_the_client_s_own_classes(remote: Any, control: SimulatorControl) -> None:
    control.faults({"kind": "throttling", "operation": "InvokeModel"})
    with pytest.raises(remote.exceptions.ThrottlingException):
        invoke(remote, message("x"))
    with pytest.raises(remote.exceptions.ValidationException, match="max_tokens: Field required"):
        invoke(remote, {"anthropic_version": "bedrock-2023-05-31"})
    control.configure(record_faults={"passing_rate": 1, "passing_codes": [424]})
    with pytest.raises(remote.exceptions.ModelErrorException):
        remote.converse(modelId=CLAUDE, **converse("x"))


def test_a_connection_lost_after_the_effect_is_paid_for(remote: Any, control: SimulatorControl) -> None:
    control.faults({"kind": "connection_lost", "operation": "Converse"})
    with pytest.raises(ConnectionClosedError):
        remote.converse(modelId=CLAUDE, **converse("x"))
    assert control.state()["on_demand"]["answers"] == 1


def test_an_operation_that_is_not_simulated_is_none_here(remote: Any) -> None:
    with pytest.raises(ClientError, match="UnknownOperationException"):
        remote.count_tokens(modelId=CLAUDE, input={"converse": converse("x")})


def test_latency_passes_in_simulated_time_and_holds_nobody_up(remote: Any, control: SimulatorControl) -> None:
    # given a clock that stands, models that take ten seconds, and two calls at once at most
    control.configure(models={"*": {"invoke_seconds": 10, "max_concurrent_invocations": 2}})
    control.clock(mode="manual")
    ended: queue.Queue[str] = queue.Queue()

    def call(number: int) -> None:
        ended.put(code_of(lambda: invoke(remote, message(f"Question {number}"))))

    threads = [threading.Thread(target=call, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()

    # when both are under way, then a third is throttled at once and another model's call is admitted
    control.wait_for(lambda state: under_way(state) == 2)
    assert code_of(lambda: invoke(remote, message("third"))) == "ThrottlingException"
    control.configure(models={NOVA: {"invoke_seconds": 0}})
    assert code_of(lambda: remote.converse(modelId=NOVA, **converse("x"))) == "ok"

    # and they are answered when the ten seconds have passed, not before
    control.advance(9)
    assert control.state()["models"][CLAUDE]["on_demand"]["concurrent"] == 2
    assert ended.empty()
    control.advance(1)
    for thread in threads:
        thread.join(20)
    assert [ended.get_nowait(), ended.get_nowait()] == ["ok", "ok"]
    assert control.state()["models"][CLAUDE]["on_demand"] == {
        "calls": 3,
        "ok": 2,
        "throttled": 1,
        "concurrent": 0,
        "peak_concurrent": 2,
    }


def test_latency_shortens_with_the_clock_s_speed(remote: Any, control: SimulatorControl) -> None:
    # a minute of simulated time ends long before the client's patience of 20 s
    control.configure(models={"*": {"invoke_seconds": 60}})
    control.clock(speed=1000)
    answer = remote.invoke_model(modelId=CLAUDE, body=json.dumps(message("x")))
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-bedrock-invocation-latency"] == "60000"


def test_the_server_s_end_closes_the_calls_under_way(world: World) -> None:
    # given a call that would take for ever
    config = Config.from_dict({"models": {"*": {"invoke_seconds": 10}}})
    settings = ClientConfig(retries={"total_max_attempts": 1}, read_timeout=20)
    outcome: queue.Queue[str] = queue.Queue()
    with SimulatorServer(world.s3, config=config, interval=0.01) as server:
        server.clock.set_mode("manual")
        client = boto3.client("bedrock-runtime", region_name=REGION, endpoint_url=server.url, config=settings)

        def call() -> None:
            try:
                client.converse(modelId=CLAUDE, **converse("x"))
            except ConnectionClosedError:
                outcome.put("closed")

        thread = threading.Thread(target=call)
        thread.start()
        SimulatorControl(server.url).wait_for(lambda state: under_way(state) == 1)

    # when the server ends, then the call ends with it
    thread.join(20)
    assert outcome.get_nowait() == "closed"
