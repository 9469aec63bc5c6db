"""What goes into the logs: never a record's content, a model's answer, or Bedrock's words."""

import json
import logging
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from batch_queue import clients
from batch_queue.aws import telemetry
from batch_queue.core.rows import Status
from bedrock_batch_simulator import Fault
from botocore.exceptions import ClientError, EndpointConnectionError, ParamValidationError

from tests.support import errors
from tests.support.routes import configured
from tests.support.world import HAIKU, HANDLERS, Call, Context, World, lines, records, statuses

pytestmark = pytest.mark.flows

RECORD, ANSWER, WORDS, ID = "canaryrecord", "canaryanswer", "canarywords", "canaryid"
CANARIES = (RECORD, ANSWER, WORDS, ID)
NOVA = "amazon.nova-lite-v1:0"


def asking(count: int, *, media: str = "", prefix: str = ID) -> list[dict[str, Any]]:
    """Records whose ids and contents are canaries."""
    rows = records(count, prefix)
    for row in rows:
        row["modelInput"]["messages"][0]["content"] = [
            *([{"image": {"format": "png", "source": {"s3Location": {"uri": media}}}}] if media else []),
            {"text": RECORD},
        ]
        if media:
            del row["modelInput"]["anthropic_version"], row["modelInput"]["max_tokens"]
    return rows


class Kept(logging.Handler):
    """Everything that would be written, formatted, with tracebacks and whatever is beside the text."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.text: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.text.append(self.format(record) + repr(sorted(vars(record).items(), key=str)))


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler = Kept()
    telemetry.log.addHandler(handler)
    yield handler
    telemetry.log.removeHandler(handler)


def aws_error(code: str, status: int, operation: str) -> ClientError:
    """An error whose message must not be logged."""
    return errors.aws_error(code, status, WORDS, operation)


def what_lambda_logs(world: World) -> list[str]:
    """Lambda writes the type, the text and the traceback of what a handler ended with."""
    return ["".join(traceback.format_exception(error)) + repr(error) for _, error in world.errors]


def check(world: World, kept: Kept, printed: str) -> None:
    text = "\n".join([*kept.text, *what_lambda_logs(world), printed])
    assert kept.text, "the logs were seen"
    found = {canary: text[max(0, text.find(canary) - 300) :][:400] for canary in CANARIES if canary in text}
    assert not found


def spoil_answers(world: World) -> None:
    """Puts a canary into what Bedrock wrote."""
    for each in world.s3.list_objects_v2(Bucket=world.bucket, Prefix="jobs/").get("Contents", []):
        if "/out/" in each["Key"] and each["Key"].endswith(".jsonl.out"):
            body = world.s3.get_object(Bucket=world.bucket, Key=each["Key"])["Body"].read()
            first, *rest = body.split(b"\n")
            read = json.loads(first)
            failed = {"recordId": read["recordId"], "error": {"errorCode": 400, "errorMessage": WORDS}}
            wrong = [json.dumps({**read, "modelOutput": ANSWER}).encode(), f"{{{ANSWER}".encode()]
            new = [json.dumps(failed).encode(), *wrong, *rest]
            world.s3.put_object(Bucket=world.bucket, Key=each["Key"], Body=b"\n".join(new))


def test_uploads_that_run_fail_and_are_rejected(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    faults = [
        {"outcome": "Failed", "message": f"Internal {WORDS}", "times": 1},
        {"outcome": "Expired", "fraction": 0.5, "times": 1},
    ]
    chat = configured("chat", NOVA, invocation_type="Converse", media=True, min_records_per_job=1)
    some = configured("some", HAIKU, undersized="on_demand", pack_wait_minutes=0)
    with World.open(chat, some, config={"models": {"*": {"min_records": 1}}, "job_faults": faults}) as world:
        world.simulator.add_fault(Fault("throttling", "CreateModelInvocationJob", times=1, message=WORDS))
        for name in ("default/a", "default/b", "some/a"):
            world.upload(f"{name}.jsonl", lines(asking(100 if "default" in name else 3)))
        line = lines(asking(1)).strip()
        for number, bad in enumerate(
            [line[:-5], line[:-1] + b"\xff", line + line, line.replace(b"50,", b"NaN,"), b'"' + line]
        ):
            world.upload(f"bad{number}.jsonl", line + b"\n" + bad)
        world.upload("chat/a.jsonl", lines(asking(2, media=f"s3://{world.bucket}/to-process/{RECORD}.png")))
        world.upload("media.jsonl", lines(asking(2, media=f"s3://{world.bucket}/to-process/{RECORD}.png")))
        seen: list[Call] = []

        def spoil(call: Call) -> None:
            if call.function == "collect" and not seen:
                seen.append(call)
                spoil_answers(world)

        world.before = spoil
        world.run()
        assert seen
        assert statuses(world)[Status.REJECTED] == 6
        assert statuses(world)[Status.FAILED] == 1
        check(world, kept, capsys.readouterr().out)


def test_errors_of_bedrock_in_every_operation(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    hit: set[tuple[str, str]] = set()
    codes = ("AccessDeniedException", "ExpiredTokenException", "InternalServerException")

    def fail(call: Call) -> None:
        if call.operation.endswith(("InvocationJob", "InvocationJobs")):
            for code in codes:
                if (call.operation, code) not in hit:
                    hit.add((call.operation, code))
                    raise aws_error(code, 500 if code.startswith("Internal") else 400, call.operation)

    with World.open(configured("default", HAIKU, min_records_per_job=1)) as world:
        world.before = fail
        world.upload("a.jsonl", lines(asking(100)))
        world.run()
        assert statuses(world) == {Status.COMPLETED: 1}
        assert {operation for operation, _ in hit} == {
            "CreateModelInvocationJob",
            "GetModelInvocationJob",
            "ListModelInvocationJobs",
        }
        assert world.errors
        check(world, kept, capsys.readouterr().out)


def test_errors_of_bedrocks_runtime(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    errors = iter(
        [
            aws_error("ValidationException", 400, "InvokeModel"),
            aws_error("ThrottlingException", 429, "InvokeModel"),
            ParamValidationError(report=RECORD),
            EndpointConnectionError(endpoint_url=f"https://{WORDS}"),
            ValueError(RECORD),
            RuntimeError(f"{RECORD} {ANSWER}"),  # one that nobody expects ends the handler
        ]
    )

    def fail(call: Call) -> None:
        if call.operation == "InvokeModel" and (error := next(errors, None)):
            raise error

    route = configured("default", HAIKU, undersized="on_demand", pack_wait_minutes=0)
    with World.open(route) as world:
        world.before = fail
        upload_id = world.upload("a.jsonl", lines(asking(12)))
        world.run()
        assert world.errors
        assert world.one_upload(upload_id).success_count + world.one_upload(upload_id).error_count == 12
        check(world, kept, capsys.readouterr().out)


@pytest.mark.parametrize(
    ("function", "operation"),
    [
        ("create", "GetObject"),
        ("create", "TransactWriteItems"),
        ("process", "CopyObject"),
        ("process", "UpdateItem"),
        ("collect", "HeadObject"),
        ("collect", "PutObject"),
    ],
)
def test_errors_whose_text_quotes_what_was_sent(
    function: str, operation: str, kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    errors: list[Exception] = [
        ParamValidationError(report=f"Invalid type for parameter, value: {RECORD}"),
        EndpointConnectionError(endpoint_url=f"https://bucket/{RECORD}"),
        UnicodeEncodeError("utf-8", RECORD, 0, 1, ANSWER),
    ]
    for error in errors:
        error.__cause__ = KeyError(WORDS)

    def fail(call: Call) -> None:
        if (call.function, call.operation) == (function, operation) and errors:
            raise errors.pop()

    with World.open(configured("default", HAIKU, min_records_per_job=1)) as world:
        world.before = fail
        world.upload("a.jsonl", lines(asking(2)))
        world.run(lambda: not errors)
        assert len(world.errors) >= 2
        check(world, kept, capsys.readouterr().out)


def test_an_error_that_may_be_logged_says_what_an_operator_needs() -> None:
    denied: Any = {"Error": {"Code": "AccessDeniedException", "Message": "not allowed to dynamodb:Query"}}
    wrong: Any = {"Error": {"Code": "ValidationException", "Message": RECORD}}
    told = [
        telemetry.discreet(error)
        for error in (
            ClientError(denied, "Query"),
            ClientError(wrong, "PutItem"),
            telemetry.SafeError("three of four"),
            KeyError(RECORD),
        )
    ]
    assert [str(error) for error in told] == [
        "ClientError: AccessDeniedException from Query: not allowed to dynamodb:Query",
        "ClientError: ValidationException from PutItem",
        "SafeError: three of four",
        "KeyError",
    ]


@pytest.fixture
def usual_level() -> Iterator[None]:
    yield
    telemetry.log.setLevel(logging.INFO)


@pytest.mark.usefixtures("usual_level")
@pytest.mark.parametrize(
    ("given", "least"),
    [
        ({}, logging.INFO),
        ({"LOG_LEVEL": "INFO"}, logging.INFO),
        ({"LOG_LEVEL": "WARNING"}, logging.WARNING),
        ({"LOG_LEVEL": "ERROR"}, logging.ERROR),
    ],
)
def test_the_level_limits_the_logs_and_spares_the_metrics(
    given: dict[str, str],
    least: int,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    names = ("NAME", "TABLE", "BUCKET", "INPUT_PREFIX", "OUTPUT_PREFIX", "WORK_PREFIX", "MEDIA_PREFIXES")
    clients.queue({**dict.fromkeys(names, "x"), **given})
    # Given a life with something to log at each level, and an upload of each end that is counted
    codes = {
        "ListModelInvocationJobs": "AccessDeniedException",  # a warning
        "CreateModelInvocationJob": "ValidationException",  # an error
    }

    def deny(call: Call) -> None:
        if code := codes.pop(call.operation, ""):
            raise aws_error(code, 400, call.operation)

    with World.open(configured("default", HAIKU, min_records_per_job=1)) as world:
        world.before = deny
        world.upload("a.jsonl", lines(records(2)))
        world.upload("bad.jsonl", b"{")
        world.run()
        assert statuses(world) == {Status.FAILED: 1, Status.REJECTED: 1}
    # Then the logs begin at the level, and the metrics are all there
    ours = {record.levelno for record in caplog.records if record.name == "batch_queue"}
    assert ours == {level for level in (logging.INFO, logging.WARNING, logging.ERROR) if level >= least}
    printed = capsys.readouterr().out
    for metric in ("ActiveJobs", "OldestPendingAge", "UploadsFailed", "UploadsRejected"):
        assert f'"{metric}":' in printed


@pytest.mark.parametrize("function", sorted(HANDLERS))
def test_every_handler_ends_with_an_error_that_lambda_may_log(function: str) -> None:
    class Unexpected(Context):
        def get_remaining_time_in_millis(self) -> int:
            raise ValueError(RECORD)

    with World.open() as world:
        world.invoke(function, {"Records": [], "job_id": "x"})
        with pytest.raises(telemetry.FailedError) as told:
            HANDLERS[function]({"Records": []}, Unexpected("request", function, 1.0))
        assert str(told.value) == "ValueError"
        assert "get_remaining_time_in_millis" in "".join(traceback.format_tb(told.value.__traceback__))
        assert RECORD not in "".join(traceback.format_exception(told.value))
