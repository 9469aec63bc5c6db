"""What each check of the doctor says of AWS as it should be, and of each thing that can be wrong with it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
from batch_queue.core.rows import Route
from bedrock_batch import doctor
from bedrock_batch.connection import About, Connection
from bedrock_batch.doctor import Finding
from boto3.session import Session
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError, EndpointConnectionError

from tests.support.answers import Body
from tests.support.routes import configured

pytestmark = pytest.mark.unit

REGION, ACCOUNT = "us-east-1", "123456789012"
HAIKU, NOVA = "anthropic.claude-haiku-4-5-20251001-v1:0", "amazon.nova-lite-v1:0"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/br-bedrock"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/k"
FUNCTIONS = {key: f"br-{key.replace('_', '-')}" for key in ("create_batch_queue", "process_batch_jobs")}
ABOUT = About(
    version="0.1.0",
    name="br",
    account_id=ACCOUNT,
    region=REGION,
    bucket="bucket",
    input_prefix="to-process/",
    output_prefix="processed/",
    media_prefixes="to-process/",
    role_arn=ROLE,
    dead_letter_queue=f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/br-dead-letters",
    functions={**FUNCTIONS, "operate_queue": "br-operate-queue"},
    rules={"schedule": "br-schedule", "job_state": "br-job-state", "sweep": "br-sweep"},
    kms_key_arn=KEY,
)
CREATED = ["s3:ObjectCreated:*"]
Answers = dict[str, Any]


def arn(function: str) -> str:
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{FUNCTIONS[function]}"


def notified(
    function: str = "create_batch_queue",
    events: Sequence[str] = CREATED,
    **filters: str,
) -> dict[str, Any]:
    """The notification configuration of a bucket."""
    rules = [
        {"Name": name, "Value": value}
        for name, value in ({"Prefix": "to-process/", "Suffix": ".jsonl"} | filters).items()
    ]
    one = {
        "LambdaFunctionArn": arn(function),
        "Events": list(events),
        "Filter": {"Key": {"FilterRules": rules}},
    }
    return {"LambdaFunctionConfigurations": [one]}


def model(model_id: str, about: str = "input", words: str = "w", kind: str = "InvokeModel") -> dict[str, Any]:
    batch = {"input": "yes", "quota": "unknown", "outage": "unknown", "other": "unknown"}.get(about, "no")
    return {
        "model_id": model_id,
        "invocation_type": kind,
        "routes": ["default"],
        "batch": batch,
        "about": about,
        "words": words,
    }


def checked(*models: dict[str, Any], converse: bool = True) -> dict[str, Any]:
    """What the order check answers."""
    versions = {"boto3": "1.42.97", "botocore": "1.42.97", "converse": converse}
    return {"order": "check", **versions, "models": list(models)}


def named(name: str, value: float, code: str = "L-1") -> dict[str, Any]:
    return {"QuotaName": name, "QuotaCode": code, "Value": value}


def good() -> Answers:
    """What AWS says of a queue that works, by operation; a function gets the parameters."""
    targets = {"br-sweep": "create_batch_queue"}
    return {
        "GetBucketNotificationConfiguration": notified(),
        "DescribeRule": {"State": "ENABLED"},
        "ListTargetsByRule": lambda call: {
            "Targets": [{"Id": "1", "Arn": arn(targets.get(call["Rule"], "process_batch_jobs"))}]
        },
        "GetQueueAttributes": {"Attributes": {"ApproximateNumberOfMessages": "0"}},
        "GetFunctionConfiguration": {"State": "Active", "LastUpdateStatus": "Successful"},
        "DescribeKey": {
            "KeyMetadata": {
                "KeyId": "k",
                "Arn": KEY,
                "KeyState": "Enabled",
                "KeyUsage": "ENCRYPT_DECRYPT",
                "KeySpec": "SYMMETRIC_DEFAULT",
            }
        },
        "GetServiceQuota": {"Quota": named("x", 20.0)},
        "ListServiceQuotas": {
            "Quotas": [
                named(f"{doctor.QUOTA}Claude Haiku 4.5", 20.0),
                named(f"{doctor.QUOTA}Claude Haiku 4.5 v2", 5.0),
                named("Records per batch inference job for Claude Haiku 4.5", 1.0),
                named(f"{doctor.QUOTA}Amazon Nova  Lite", 10.0),
            ]
        },
        "GetFoundationModel": lambda call: {
            "modelDetails": {
                "modelArn": "arn:aws:bedrock:us-east-1::foundation-model/x",
                "modelId": call["modelIdentifier"],
                "modelName": "Nova Lite" if "nova" in call["modelIdentifier"] else "Claude Haiku 4.5",
                "providerName": "Amazon" if "nova" in call["modelIdentifier"] else "Anthropic",
            }
        },
        "Invoke": checked(model(HAIKU), model(f"us.{NOVA}", kind="Converse")),
    }


def failing(code: str, message: str = "no") -> Callable[[Any], Any]:
    def fail(_: Any) -> Any:
        raise LookupError(code, message)

    return fail


class Aws:
    """Stands for a boto3 session whose clients answer without a connection."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def client(self, service: str, **_: Any) -> Any:
        _open[:] = [self]
        return _client(service)

    def note(self, operation: str, params: Mapping[str, Any]) -> None:
        """Notes what is called, with the parameters as the caller wrote them."""
        self.calls.append((operation, dict(params)))

    def answer(self, operation: str) -> tuple[int, Any]:
        """The HTTP status and the document of the answer to the last call."""
        found = self._answers[operation]
        if operation == "Invoke" and isinstance(found, Mapping):
            return 200, {"StatusCode": 200, "Payload": io.BytesIO(json.dumps(found).encode())}
        try:
            return 200, found(self.calls[-1][1]) if callable(found) else found
        except LookupError as error:
            code, message = error.args
            return 400, {"Error": {"Code": code, "Message": message}}


_open: list[Aws] = []
"""The one whose clients are used: making a client takes longer than a test."""


@cache
def _client(service: str) -> Any:
    session: Any = Session("testing", "testing", region_name=REGION)
    client = session.client(service)
    client.meta.events.register("before-parameter-build.*", _note)
    client.meta.events.register("before-call.*", _answer)
    return client


def _note(params: Any, model: Any, **_: Any) -> None:
    _open[0].note(model.name, params)


def _answer(model: Any, params: Any, **_: Any) -> Any:
    status, found = _open[0].answer(model.name)
    headers: Any = {}
    response = AWSResponse(params["url"], status, headers, Body(io.BytesIO(b"")))
    return response, {**found, "ResponseMetadata": {"HTTPStatusCode": status}}


def examined(
    answers: Answers, *routes: Route, about: About = ABOUT, aws: Aws | None = None
) -> dict[str, Finding]:
    """What the doctor finds, by what it looked at."""
    found = routes or (
        configured("default", HAIKU, max_active_jobs=20),
        configured("chat", f"us.{NOVA}", invocation_type="Converse"),
    )
    connection = Connection("br", aws or Aws(answers))  # type: ignore[arg-type]
    models = SimpleNamespace(routes=lambda: {route.name: route for route in found})
    vars(connection).update(about=about, table=SimpleNamespace(models=models))
    return {finding.what: finding for finding in doctor.examine(connection)}


def wrong(found: Mapping[str, Finding]) -> dict[str, Finding]:
    return {what: finding for what, finding in found.items() if not finding.ok}


def test_nothing_is_wrong_with_a_queue_that_works() -> None:
    found = examined(good())
    assert wrong(found) == {}
    assert list(found) == [
        "S3 notification",
        "rule schedule",
        "rule job_state",
        "rule sweep",
        "function create_batch_queue",
        "function process_batch_jobs",
        "function operate_queue",
        "dead letters",
        "KMS key",
        f"quota of {NOVA}",
        f"quota of {HAIKU}",
        "AWS SDK",
        "service role",
        f"batch jobs of {HAIKU}",
        f"batch jobs of us.{NOVA} (Converse)",
    ]
    assert all(finding.words and finding.known for finding in found.values())


def test_a_queue_without_a_key_and_in_a_bucket_of_another_account_is_asked_for_that() -> None:
    about = replace(ABOUT, kms_key_arn="", bucket_owner="999999999999")
    aws = Aws(good())
    assert "KMS key" not in examined(good(), about=about, aws=aws)
    assert aws.calls[0][1] == {"Bucket": "bucket", "ExpectedBucketOwner": "999999999999"}


# ------------------------------------------------------------------------------------------- what AWS denies


@pytest.mark.parametrize(
    ("operation", "action", "what"),
    [
        ("GetBucketNotificationConfiguration", "s3:GetBucketNotification", "S3 notification"),
        ("DescribeRule", "events:DescribeRule", "rule sweep"),
        ("ListTargetsByRule", "events:ListTargetsByRule", "rule sweep"),
        ("GetFunctionConfiguration", "lambda:GetFunctionConfiguration", "function process_batch_jobs"),
        ("GetQueueAttributes", "sqs:GetQueueAttributes", "dead letters"),
        ("DescribeKey", "kms:DescribeKey", "KMS key"),
        ("ListServiceQuotas", "servicequotas:ListServiceQuotas", f"quota of {HAIKU}"),
        ("GetFoundationModel", "bedrock:GetFoundationModel", f"quota of {HAIKU}"),
        ("Invoke", "lambda:InvokeFunction", "service role"),
    ],
)
def test_what_is_denied_cannot_be_told_and_names_the_permission(
    operation: str, action: str, what: str
) -> None:
    found = examined(good() | {operation: failing("AccessDeniedException", "not authorized")})
    assert not found[what].ok
    assert not found[what].known
    assert f"You lack the permission {action}," in found[what].words
    assert "not authorized" in found[what].words


def test_a_quota_by_code_that_is_denied_names_the_permission() -> None:
    route = configured("default", HAIKU, quota_code="L-1")
    found = examined(good() | {"GetServiceQuota": failing("AccessDeniedException")}, route)
    assert "servicequotas:GetServiceQuota" in found[f"quota of {HAIKU}"].words


def test_a_check_that_fails_does_not_stop_the_others() -> None:
    found = examined(good() | {"DescribeRule": failing("InternalException", "oh")})
    assert {what for what, finding in found.items() if not finding.known} == {
        "rule schedule",
        "rule job_state",
        "rule sweep",
    }
    assert "Try again. AWS said: InternalException: oh" in found["rule sweep"].words


def test_aws_that_cannot_be_reached_cannot_be_told() -> None:
    def unreachable(_: Any) -> Any:
        raise EndpointConnectionError(endpoint_url="http://x")

    found = examined(good() | {"DescribeKey": unreachable})["KMS key"]
    assert (found.ok, found.known) == (False, False)
    assert "could not be reached" in found.words


@pytest.mark.parametrize(
    ("operation", "code", "what"),
    [
        ("GetBucketNotificationConfiguration", "NoSuchBucket", "S3 notification"),
        ("DescribeRule", "ResourceNotFoundException", "rule sweep"),
        ("GetQueueAttributes", "AWS.SimpleQueueService.NonExistentQueue", "dead letters"),
        ("GetFunctionConfiguration", "ResourceNotFoundException", "function operate_queue"),
        ("DescribeKey", "NotFoundException", "KMS key"),
    ],
)
def test_a_part_that_is_missing_is_wrong(operation: str, code: str, what: str) -> None:
    found = examined(good() | {operation: failing(code)})[what]
    assert (found.ok, found.known) == (False, True)
    assert found.words.startswith("It does not exist. Run terraform apply.")


# ---------------------------------------------------------------------------------------- parts of the queue


@pytest.mark.parametrize(
    "found",
    [
        notified(),
        notified(Prefix=""),
        notified(Suffix=""),
        notified(Suffix="l"),
        notified(
            events=[f"s3:ObjectCreated:{how}" for how in ("Put", "Post", "Copy", "CompleteMultipartUpload")]
        ),
        {
            "LambdaFunctionConfigurations": [
                {"LambdaFunctionArn": f"{arn('create_batch_queue')}:live", "Events": CREATED}
            ]
        },
    ],
)
def test_a_notification_that_covers_every_upload_is_good(found: dict[str, Any]) -> None:
    assert doctor.notification(found, ABOUT).ok


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({}, "does not notify it"),
        (notified("process_batch_jobs"), "does not notify it"),
        (notified(Prefix="to-process/a/"), "some uploads only"),
        (notified(Suffix=".json"), "some uploads only"),
        (notified(events=["s3:ObjectCreated:Put"]), "some uploads only"),
        (notified(events=["s3:ObjectRemoved:*"]), "some uploads only"),
        (
            {
                "LambdaFunctionConfigurations": [
                    {"LambdaFunctionArn": arn("create_batch_queue").replace(ACCOUNT, "1"), "Events": CREATED}
                ]
            },
            "does not notify it",
        ),
    ],
)
def test_a_notification_that_misses_uploads_is_wrong(found: dict[str, Any], words: str) -> None:
    finding = doctor.notification(found, ABOUT)
    assert not finding.ok
    assert words in finding.words
    assert "bedrock-batch sweep" in finding.words


@pytest.mark.parametrize("state", ["ENABLED", "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"])
def test_a_rule_that_is_enabled_and_invokes_its_function_is_good(state: str) -> None:
    assert doctor.rule_of("schedule", state, ["arn:aws:sqs:x", arn("process_batch_jobs")], ABOUT).ok


def test_a_rule_of_a_newer_module_must_be_enabled() -> None:
    about = replace(ABOUT, rules={"new": "br-new"})
    assert doctor.rule_of("new", "ENABLED", [], about).ok
    assert not doctor.rule_of("new", "DISABLED", [], about).ok


def test_a_rule_that_is_disabled_is_wrong() -> None:
    finding = doctor.rule_of("sweep", "DISABLED", [arn("create_batch_queue")], ABOUT)
    assert not finding.ok
    assert "aws events enable-rule --name br-sweep" in finding.words


@pytest.mark.parametrize("targets", [[], [arn("create_batch_queue")]])
def test_a_rule_without_its_target_is_wrong(targets: list[str]) -> None:
    finding = doctor.rule_of("job_state", "ENABLED", targets, ABOUT)
    assert not finding.ok
    assert "does not invoke br-process-batch-jobs" in finding.words


@pytest.mark.parametrize(
    ("found", "ok", "known", "words"),
    [
        ({"State": "Active", "LastUpdateStatus": "Successful"}, True, True, "active"),
        ({}, True, True, "active"),
        ({"State": "Inactive"}, False, False, "The next call wakes it"),
        ({"State": "Pending"}, False, False, "Try again"),
        ({"State": "Active", "LastUpdateStatus": "InProgress"}, False, False, "Try again"),
        ({"State": "Failed", "StateReason": "no subnet"}, False, True, "no subnet"),
        ({"State": "Active", "LastUpdateStatus": "Failed"}, False, True, "without a reason"),
    ],
)
def test_a_function_must_be_active(found: dict[str, str], ok: bool, known: bool, words: str) -> None:
    finding = doctor.function_of("operate_queue", found)
    assert (finding.ok, finding.known) == (ok, known)
    assert words in finding.words


def test_dead_letters_are_counted_also_those_that_somebody_looks_at() -> None:
    assert doctor.dead_letters({}).ok
    finding = doctor.dead_letters(
        {"ApproximateNumberOfMessages": "1200", "ApproximateNumberOfMessagesNotVisible": "3"}
    )
    assert not finding.ok
    assert finding.words.startswith("1,203 events have failed for good")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"KeyState": "Disabled"}, f"aws kms enable-key --key-id {KEY}"),
        ({"KeyState": "PendingDeletion"}, "cancel-key-deletion"),
        ({"KeyState": "Unavailable"}, "See the KMS console"),
        ({"KeySpec": "RSA_2048"}, "symmetric"),
        ({"KeyUsage": "GENERATE_VERIFY_MAC"}, "symmetric"),
    ],
)
def test_a_key_that_cannot_be_used_is_wrong(change: dict[str, str], words: str) -> None:
    usual = good()["DescribeKey"]["KeyMetadata"]
    assert doctor.key_of(usual).ok
    finding = doctor.key_of(usual | change)
    assert not finding.ok
    assert words in finding.words


# ---------------------------------------------------------------------------------------------------- quotas


def quota(answers: Answers, *routes: Route, name: str = HAIKU) -> Finding:
    return examined(good() | answers, *routes)[f"quota of {name}"]


def test_a_limit_above_the_quota_is_wrong_also_if_some_of_it_is_reserved() -> None:
    routes = (
        configured("default", HAIKU, max_active_jobs=21, reserved_slots=5),
        configured("more", f"global.{HAIKU}", max_active_jobs=3),
    )
    finding = quota({}, *routes)
    assert (finding.ok, finding.known) == (False, True)
    assert "max_active_jobs is 21, but the account may have 20 active jobs" in finding.words


def test_the_quota_of_a_route_with_a_code_is_that_one() -> None:
    aws = Aws(good())
    found = examined(good(), configured("default", HAIKU, max_active_jobs=20, quota_code="L-9"), aws=aws)
    assert found[f"quota of {HAIKU}"].ok
    assert ("GetServiceQuota", {"ServiceCode": "bedrock", "QuotaCode": "L-9"}) in aws.calls
    assert "ListServiceQuotas" not in [operation for operation, _ in aws.calls]


@pytest.mark.parametrize(
    "answers",
    [
        {"GetFoundationModel": failing("ResourceNotFoundException")},
        {"GetFoundationModel": failing("ValidationException")},
        {"GetFoundationModel": {"modelDetails": {"modelArn": "x", "modelId": "x"}}},
        {"ListServiceQuotas": {"Quotas": []}},
        {"ListServiceQuotas": {"Quotas": [named(f"{doctor.QUOTA}Claude Haiku 4", 1.0)]}},
        {
            "ListServiceQuotas": {
                "Quotas": [
                    named(f"{doctor.QUOTA}{name}", 1.0)
                    for name in ("Claude Haiku 4.5", "Anthropic Claude Haiku 4.5")
                ]
            }
        },
    ],
)
def test_a_quota_that_is_not_clear_cannot_be_told(answers: Answers) -> None:
    finding = quota(answers)
    assert (finding.ok, finding.known) == (False, False)
    assert "It could not be told" in finding.words


def test_a_code_that_is_no_quota_cannot_be_told() -> None:
    route = configured("default", HAIKU, quota_code="L-9")
    assert not quota({"GetServiceQuota": failing("NoSuchResourceException")}, route).known


def test_the_model_behind_an_application_profile_is_not_asked_for() -> None:
    profile = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:application-inference-profile/abc"
    aws = Aws(good())
    found = examined(good(), configured("default", profile), aws=aws)
    assert not found["quota of application-inference-profile/abc"].known
    assert "GetFoundationModel" not in [operation for operation, _ in aws.calls]


def test_the_quotas_are_listed_once_for_all_models() -> None:
    aws = Aws(good())
    examined(good(), aws=aws)
    assert [operation for operation, _ in aws.calls].count("ListServiceQuotas") == 1


# ------------------------------------------------------------------------------------------ jobs at Bedrock


def test_a_service_role_that_bedrock_cannot_use_is_wrong_and_the_models_cannot_be_told() -> None:
    models = [model(HAIKU, "role", "the role cannot be assumed"), model(NOVA, "role")]
    found = examined(good() | {"Invoke": checked(*models)})
    assert found["service role"] == Finding(False, "service role", "the role cannot be assumed")
    assert not found[f"batch jobs of {HAIKU}"].known
    assert "the service role first" in found[f"batch jobs of {HAIKU}"].words


def test_a_service_role_that_cannot_be_passed_is_wrong() -> None:
    denied = model(HAIKU, "caller", "not authorized to perform: iam:PassRole")
    assert not doctor.role([denied], ROLE).ok


@pytest.mark.parametrize("about", ["input", "bucket", "model", "caller"])
def test_what_bedrock_objects_to_later_shows_that_the_role_is_right(about: str) -> None:
    assert doctor.role([model(HAIKU, "quota"), model(NOVA, about)], ROLE).ok


@pytest.mark.parametrize("about", ["quota", "outage", "other"])
def test_a_role_that_bedrock_says_nothing_of_cannot_be_told(about: str) -> None:
    finding = doctor.role([model(HAIKU, about)], ROLE)
    assert (finding.ok, finding.known) == (False, False)


@pytest.mark.parametrize(
    ("about", "ok", "known"),
    [
        ("input", True, True),
        ("model", False, True),
        ("caller", False, True),
        ("bucket", False, True),
        ("other", False, True),
        ("quota", False, False),
        ("outage", False, False),
    ],
)
def test_a_model_is_what_bedrock_says_of_it(about: str, ok: bool, known: bool) -> None:
    finding = doctor.model_of(model(HAIKU, about, "words of Bedrock"))
    assert (finding.ok, finding.known, finding.words) == (ok, known, "words of Bedrock")


def test_an_sdk_that_does_not_know_converse_jobs_is_helped() -> None:
    assert "does not know Converse" in doctor.sdk(checked(converse=False), converse=True).words
    assert "does not know Converse" not in doctor.sdk(checked(converse=False), converse=False).words
    assert "(unknown)" in doctor.sdk(checked() | {"boto3": ""}, converse=True).words


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"error": "br-process-batch-jobs has not answered in time"}, "has not answered in time"),
        (
            lambda _: {"FunctionError": "Unhandled", "Payload": io.BytesIO(b'{"errorMessage": "KeyError"}')},
            "KeyError",
        ),
    ],
)
def test_an_order_that_is_not_carried_out_cannot_be_told(answer: Any, words: str) -> None:
    found = examined(good() | {"Invoke": answer})
    assert not found["service role"].known
    assert words in found["service role"].words
    assert "AWS SDK" not in found


def test_every_operation_that_is_called_has_its_permission_in_the_words() -> None:
    aws = Aws(good())
    examined(good(), configured("default", HAIKU, quota_code="L-1"), configured("b", NOVA), aws=aws)
    assert {operation for operation, _ in aws.calls} == set(doctor.ACTIONS)
    error = ClientError({"Error": {"Code": "AccessDenied"}}, "Something")
    assert "permission Something" in doctor.refused("x", error).words
