"""The server: a real boto3 client over HTTP, the control API, events, and its end."""

from __future__ import annotations

import json
import math
import queue
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from bedrock_batch_simulator import Aws, Config, ControlError, SimulatorControl
from bedrock_batch_simulator import server as server_module
from bedrock_batch_simulator.control import main as health
from bedrock_batch_simulator.events import state_change
from bedrock_batch_simulator.server import Emitter, SimulatorServer
from bedrock_batch_simulator.wire import Request
from botocore.config import Config as ClientConfig
from botocore.exceptions import ClientError, ConnectionClosedError

from .world import ACCOUNT, CLAUDE, REGION, World, records

CONFIG = {"check_input": False, "models": {"*": {"min_records": 1, "records_per_second": 1000}}}


class Bus:
    """EventBridge as far as PutEvents goes; refuses the first calls as often as told."""

    def __init__(self) -> None:
        self.entries: queue.Queue[dict[str, Any]] = queue.Queue()
        self.refusals = 0

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - EventBridge's word
        if self.refusals:
            self.refusals -= 1
            return {"FailedEntryCount": 1}
        for entry in Entries:
            self.entries.put(entry)
        return {"FailedEntryCount": 0}


@pytest.fixture
def bus() -> Bus:
    return Bus()


@pytest.fixture
def server(world: World, bus: Bus) -> Iterator[SimulatorServer]:
    with SimulatorServer(
        Aws(world.s3, world.iam),
        account=ACCOUNT,
        region=REGION,
        config=Config.from_dict(CONFIG),
        emitter=Emitter(bus),
        interval=0.01,
    ) as running:
        yield running
    assert not {"http", "ticker", "emitter"} & {thread.name for thread in threading.enumerate()}


@pytest.fixture
def control(server: SimulatorServer) -> SimulatorControl:
    return SimulatorControl(server.url)


@pytest.fixture
def bedrock(server: SimulatorServer) -> Any:
    settings = ClientConfig(retries={"total_max_attempts": 1}, read_timeout=10)
    return boto3.client("bedrock", region_name=REGION, endpoint_url=server.url, config=settings)


def ended(state: dict[str, Any]) -> bool:
    return bool(state["jobs"]) and all(job["status"] == "Completed" for job in state["jobs"])


def test_a_job_from_create_to_results_over_http(
    world: World, bedrock: Any, control: SimulatorControl, bus: Bus
) -> None:
    # given an input, when a boto3 client creates a job and the clock is moved on
    world.put("in/a.jsonl", records(20))
    arn = bedrock.create_model_invocation_job(**world.request(modelInvocationType="InvokeModel"))["jobArn"]
    control.advance(60)

    # then Get, List, the results and the events tell of its end
    job = bedrock.get_model_invocation_job(jobIdentifier=arn)
    assert (job["status"], job["successRecordCount"]) == ("Completed", 20)
    listed = bedrock.list_model_invocation_jobs(statusEquals="Completed", submitTimeBefore=job["endTime"])
    assert [each["jobArn"] for each in listed["invocationJobSummaries"]] == [arn]
    assert len(world.results(f"out/{arn[-12:]}/a.jsonl.out")) == 20
    statuses = [json.loads(bus.entries.get(timeout=10)["Detail"])["status"] for _ in range(5)]
    assert statuses == ["Submitted", "Validating", "Scheduled", "InProgress", "Completed"]


def test_time_passes_by_itself(world: World, bedrock: Any, control: SimulatorControl) -> None:
    world.put("in/a.jsonl", records(1))
    control.clock(speed=50)
    bedrock.create_model_invocation_job(**world.request())
    control.wait_for(ended, timeout=20)


def test_a_clock_set_to_manual_stands_still(world: World, bedrock: Any, control: SimulatorControl) -> None:
    # given a clock that stands
    control.clock(mode="manual")
    bedrock.create_model_invocation_job(**world.request())

    # when it is moved by less than the queue takes, and then by more
    control.advance(0.9)
    assert control.jobs()[0]["status"] == "Submitted"
    control.advance(0.2)

    # then the job moved with it
    assert control.jobs()[0]["status"] == "Validating"


def test_stop_over_http_with_an_arn(world: World, bedrock: Any, control: SimulatorControl) -> None:
    control.clock(mode="manual")
    arn = bedrock.create_model_invocation_job(**world.request())["jobArn"]
    bedrock.stop_model_invocation_job(jobIdentifier=arn)
    control.advance(5)
    assert bedrock.get_model_invocation_job(jobIdentifier=arn)["status"] == "Stopped"


def test_errors_reach_the_client_as_its_own_classes(
    world: World, bedrock: Any, control: SimulatorControl
) -> None:
    control.faults({"kind": "throttling", "operation": "GetModelInvocationJob"})
    with pytest.raises(bedrock.exceptions.ThrottlingException):
        bedrock.get_model_invocation_job(jobIdentifier="abcdefghijkl")
    with pytest.raises(bedrock.exceptions.ResourceNotFoundException):
        bedrock.get_model_invocation_job(jobIdentifier="abcdefghijkl")
    with pytest.raises(bedrock.exceptions.ValidationException):
        bedrock.create_model_invocation_job(**world.request(jobName="under_score"))


def test_a_lost_connection_is_closed_without_an_answer(
    world: World, bedrock: Any, control: SimulatorControl
) -> None:
    control.faults({"kind": "connection_lost", "operation": "CreateModelInvocationJob"})
    with pytest.raises(ConnectionClosedError):
        bedrock.create_model_invocation_job(**world.request())
    arn = bedrock.create_model_invocation_job(**world.request())["jobArn"]
    assert [job["jobArn"] for job in control.jobs()] == [arn]


def test_an_unknown_path_is_no_operation(bedrock: Any) -> None:
    with pytest.raises(ClientError, match="UnknownOperationException"):
        bedrock.list_guardrails()


def test_parallel_creates_never_pass_the_quota(world: World, server: SimulatorServer, bedrock: Any) -> None:
    # given a quota of ten, when thirty jobs are created at once
    outcomes: queue.Queue[str] = queue.Queue()

    def create(number: int) -> None:
        try:
            bedrock.create_model_invocation_job(**world.request(f"job-{number}"))
            outcomes.put("ok")
        except ClientError as error:
            outcomes.put(error.response["Error"]["Code"])

    server.clock.set_mode("manual")
    threads = [threading.Thread(target=create, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    # then ten are accepted
    found = [outcomes.get_nowait() for _ in range(30)]
    assert found.count("ok") == 10
    assert found.count("ServiceQuotaExceededException") == 20


def test_the_state_shows_what_a_test_needs(world: World, bedrock: Any, control: SimulatorControl) -> None:
    control.clock(mode="manual")
    control.foreign(f"us.{CLAUDE}", count=2, seconds=30)
    bedrock.create_model_invocation_job(**world.request())
    state = control.state()
    assert [job["foreign"] for job in state["jobs"]] == [True, True, False]
    assert state["models"][CLAUDE] == {
        "active": 3,
        "peak_active": 3,
        "running": 0,
        "waiting": 0,
        "max_active_jobs": 10,
        "on_demand": {"calls": 0, "ok": 0, "throttled": 0, "concurrent": 0, "peak_concurrent": 0},
    }
    assert state["calls"]["CreateModelInvocationJob"]["ok"] == 1
    assert state["jobs"][2]["timeline"][0]["status"] == "Submitted"
    assert state["clock"]["mode"] == "manual"


def test_reset_forgets_jobs_and_faults_and_on_request_the_configuration(control: SimulatorControl) -> None:
    control.foreign(CLAUDE)
    control.faults({"kind": "throttling", "times": 5})
    control.configure(quota_error="ValidationException")
    control.reset()
    state = control.state()
    assert (state["jobs"], state["faults"], state["models"]) == ([], [], {})
    assert state["config"]["quota_error"] == "ValidationException"
    control.reset(config=True)
    assert control.state()["config"]["quota_error"] == "ServiceQuotaExceededException"


def test_the_events_can_be_read_until_a_reset(
    world: World, bedrock: Any, control: SimulatorControl, bus: Bus
) -> None:
    # given a job that has begun
    control.clock(mode="manual")
    arn = bedrock.create_model_invocation_job(**world.request())["jobArn"]
    control.advance(0)

    # then its event can be read, and is sent as well
    [event] = control.events()
    assert (event["detail"]["batchJobArn"], event["detail"]["status"]) == (arn, "Submitted")
    assert json.loads(bus.entries.get(timeout=10)["Detail"]) == event["detail"]

    # and a reset forgets it
    control.reset()
    assert control.events() == []


def test_the_control_reaches_every_account_and_region(control: SimulatorControl) -> None:
    there: dict[str, Any] = {"account": "999999999999", "region": "eu-west-1"}
    [arn] = control.foreign(CLAUDE, **there)
    assert arn.split(":")[3:5] == ["eu-west-1", "999999999999"]
    assert [job["jobArn"] for job in control.jobs(**there)] == [arn]
    assert control.jobs() == []
    assert there in control.health()["places"]


def test_the_control_says_from_a_shell_whether_a_server_is_there(
    server: SimulatorServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert health([server.url]) == 0
    assert capsys.readouterr().out == "ok, 0 jobs\n"
    assert health(["http://127.0.0.1:9"]) == 1
    assert capsys.readouterr().err.startswith("no simulator at http://127.0.0.1:9: ")
    assert health([]) == 2


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda control: control.configure(modles={}), "unknown key 'modles'"),
        (lambda control: control.faults({"kind": "fire"}), "kind must be one of"),
        (lambda control: control.foreign("foo"), "names no model"),
        (lambda control: control.advance(-1), "not negative"),
        (lambda control: control.advance(math.nan), "at most"),
        (lambda control: control.advance(math.inf), "at most"),
        (lambda control: control.clock(speed=math.inf), "at most"),
        (lambda control: control.foreign(CLAUDE, math.inf), "at most"),
        (lambda control: control.configure(models={"*": {"min_records": math.inf}}), "a number up to"),
        (lambda control: control.faults({"kind": "throttling", "message": 1}), "must be a string"),
        (lambda control: control._send("POST", "config", {"self": 1}), "unknown key 'self'"),
        (lambda control: control._send("POST", "clock", {"modes": 1}), "unknown key"),
        (lambda control: control._send("POST", "nothing"), "no control call"),
    ],
)
def test_a_wrong_control_call_is_refused_with_a_reason(
    control: SimulatorControl, call: Any, words: str
) -> None:
    with pytest.raises(ControlError, match=words):
        call(control)


def test_a_control_call_nested_too_deeply_is_refused(server: SimulatorServer) -> None:
    assert server.answer(Request("POST", "/_simulator/clock", (), b"[" * 100_000)).status == 400


def test_a_signature_for_what_is_no_region_is_refused(world: World) -> None:
    def beside(_: str, region: str) -> Aws:
        return Aws(boto3.client("s3", region_name=region))

    scope = "AWS4-HMAC-SHA256 Credential=test/20260101/b@d/bedrock/aws4_request, Signature=0"
    request = Request("GET", "/model-invocation-jobs", (("Authorization", scope),), b"")
    with SimulatorServer(beside, account=ACCOUNT, region=REGION) as server:
        answer = server.answer(request)
    assert answer.status == 403
    assert b"valid region" in answer.body


def test_events_that_the_bus_refuses_are_sent_again(bus: Bus, control: SimulatorControl) -> None:
    # given a bus that refuses twice
    bus.refusals = 2

    # when a job begins
    control.clock(mode="manual")
    control.foreign(CLAUDE)
    control.advance(0)

    # then its event comes all the same
    assert json.loads(bus.entries.get(timeout=10)["Detail"])["status"] == "Submitted"
    control.wait_for(
        lambda state: state["events"]["retried"] == 2 and state["events"]["sent"] == 1, timeout=10
    )


def test_an_event_that_cannot_be_sent_holds_no_other_up(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_EMIT_TRIES", 1)

    # given a client that cannot be made for one Region, and so fails in a way of its own
    def client(_: str, region: str) -> Bus:
        if region == "nowhere":
            raise KeyError(region)
        return bus

    emitter = Emitter(client)
    emitter.start()
    # when its event comes before another, then the other is sent
    event = state_change(
        account=ACCOUNT,
        region="nowhere",
        name="job",
        arn="arn",
        model_arn="model",
        status="Submitted",
        message="",
        created=0.0,
        at=0.0,
    )
    emitter(event)
    emitter({**event, "region": REGION})
    assert bus.entries.get(timeout=10)["Source"] == "aws.bedrock"
    emitter.close()


def test_a_server_that_was_not_started_can_be_closed(world: World) -> None:
    SimulatorServer(Aws(world.s3), emitter=Emitter(Bus())).close()


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b'{"messages": [], "inferenceConfig": {"temperature": NaN}}', "valid JSON"),
        (b'{"messages": [], "inferenceConfig": {"temperature": 1e999}}', "valid JSON"),
        (b"{", "valid JSON"),
        (b"[]", "a JSON object"),
    ],
)
def test_a_body_of_converse_that_is_no_json_object_is_refused(
    server: SimulatorServer, body: bytes, what: str
) -> None:
    answer = server.answer(Request("POST", f"/model/{CLAUDE}/converse", (), body))

    assert answer.status == 400
    assert json.loads(answer.body)["message"] == f"The request body is not {what}."


@pytest.mark.parametrize("host", ["::1", "::"])
def test_it_listens_on_an_address_of_ipv6(world: World, host: str) -> None:
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    with SimulatorServer(Aws(world.s3, world.iam), host=host) as running:
        assert running.url == f"http://[{host}]:{urlsplit(running.url).port}"
        assert SimulatorControl(running.local_url).state()["jobs"] == []
