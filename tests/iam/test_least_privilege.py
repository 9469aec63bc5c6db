"""Each statement of each role is needed, and none is wider than it has to be: proven by enforcement.

First every feature of the queue runs with the policies as they are, without one denial, and the journal keeps
each request. Then, statement by statement, the policies without it are (1) evaluated against these requests:
one of them has to be denied, and likewise for each single action and resource; (2) put into IAM, where the
feature that needs the statement has to be denied and must not come to its end.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.iam.conftest import teller
from tests.iam.statements import Statement
from tests.iam.world import DeniedError, World, ask, lines
from tests.local_aws.environment import REGION

FUNCTIONS = ("create_batch_queue", "process_batch_jobs", "collect_results", "operate_queue", "publish_events")
NO_NETWORK = "no emulator here makes network interfaces; the actions are those that AWS documents"
NO_KEY = "MiniStack encrypts nothing for this service; the conditions are those that AWS documents"
NO_TRACES = (
    "no emulator here has Lambda send traces; the actions are those that Lambda's Developer Guide names"
)
#: Statements that nothing here exercises, with the reason. What is not a statement any more fails the tests.
NOT_EXERCISED = {
    **{
        f"{function}.{sid}": NO_NETWORK
        for function in FUNCTIONS
        for sid in ("ManageNetworkInterfaces", "DenyNetworkInterfacesToCode")
    },
    **{
        f"{function}.{sid}": NO_KEY
        for function in FUNCTIONS
        for sid in ("UseKeyForTable", "UseKeyForOwnEnvironment")
    },
    **{f"{function}.SendTraces": NO_TRACES for function in FUNCTIONS},
    **{
        f"bedrock.{sid}": NO_NETWORK
        for sid in (
            "DescribeNetwork",
            "CreateTaggedNetworkInterfaces",
            "CreateNetworkInterfacesInSubnets",
            "ManageOwnNetworkInterfaces",
            "TagNewNetworkInterfaces",
        )
    },
}
#: Single actions and resources of exercised statements that nothing here exercises, with the reason.
PARTS_NOT_EXERCISED = {
    ("create_batch_queue.KeepReadingState", "s3:AbortMultipartUpload"): (
        "only the state of a file of more than two million records is put in parts; the code is that of the"
        " functions for which the action is exercised"
    ),
}
#: Statements that a module has only with media routes, and the features that need them.
MEDIA = {"process_batch_jobs": "ReadMedia", "collect_results": "ReadMediaOnDemand"}
WITH_MEDIA = {"media", "media_retried", "media_on_demand"}
#: The features that show what a statement is for, where the queue does its work without it.
SHOWN_BY = {
    "create_batch_queue.SeeThatObjectsAreGoneAndListWorkArea": "gone_before",
    "create_batch_queue.ListUploadsAndReports": "sweep",
    "create_batch_queue.WakeProcessBatchJobsAndGoOn": "intake_wakes",
    "collect_results.WakeProcessBatchJobsAndGoOn": "collector_wakes",
    "process_batch_jobs.ListJobs": "foreign",
    "process_batch_jobs.QueryQueueByStatus": "good",
    "operate_queue.ListJobs": "asked_for_status",
    "operate_queue.SeeThatUploadsAreGone": "gone_before_retry",
    "operate_queue.HaveUploadsEndedAndGoOn": "cancelled",
    "process_batch_jobs.SeeThatUploadsAreGone": "foreign",
    **{f"{function}.WriteOwnLogs": "log" for function in FUNCTIONS},
    # It publishes what other features do, too, and a moment after them.
    **{
        f"publish_events.{sid}": "published"
        for sid in (
            "ReadStream",
            "ReadPrices",
            "SendEvents",
            "PublishNotifications",
            "UseKeyForNotifications",
        )
    },
    **{
        f"publish_events.{sid}": "dead_letter_of_publish_events"
        for sid in ("SendDeadLetters", "UseKeyForFilesAndDeadLetters")
    },
}
#: Statements for which AWS knows no resource finer than "*".
ANY_RESOURCE = {
    "process_batch_jobs.ListJobs": "ListModelInvocationJobs has no resource types",
    "operate_queue.ListJobs": "ListModelInvocationJobs has no resource types",
    **{
        f"{function}.{sid}": "Lambda asks for these EC2 actions on every resource (Lambda Developer Guide)"
        for function in FUNCTIONS
        for sid in ("ManageNetworkInterfaces", "DenyNetworkInterfacesToCode")
    },
    **{f"{function}.SendTraces": "X-Ray's Put actions have no resource types" for function in FUNCTIONS},
    "bedrock.DescribeNetwork": "EC2's Describe actions have no resource types",
    "bedrock.ManageOwnNetworkInterfaces": "narrowed by its conditions, as Bedrock's user guide has it",
}
EVENTS, S3 = "events.amazonaws.com", "s3.amazonaws.com"


@dataclass
class Cycle:
    """What roles asked for while all features ran: each request, and the features that it came up in."""

    seen: dict[str, dict[str, list[dict[str, Any]]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, feature: str, role: str, request: dict[str, Any]) -> None:
        self.seen.setdefault(feature, {}).setdefault(role, []).append(request)

    def requests(self, role: str, features: Iterable[str] = ()) -> list[dict[str, Any]]:
        """What a role asked for in some features, or in all."""
        return [each for name in features or self.seen for each in self.seen[name].get(role, [])]


def asked(world: World, entry: Mapping[str, Any]) -> str:
    """The module's key of the role that an entry of the journal is about, or ""."""
    arn = str(entry["request"]["principal_arn"])
    return next((key for key, name in world.roles.names.items() if f":assumed-role/{name}/" in arn), "")


@pytest.fixture(scope="session")
def cycle(world: World, request: pytest.FixtureRequest) -> Cycle:
    """Every feature, run with the policies as they are. A denial fails it here."""
    found = Cycle()
    began = time.monotonic()
    for name in world.features():
        since, start = world.watch(), time.monotonic()
        world.run(name)
        found.seconds[name] = time.monotonic() - start
        for entry in world.ministack.journal(since):
            if role := asked(world, entry):
                found.add(name, role, entry["request"])
    count = sum(len(found.requests(role)) for role in world.roles.names)
    teller(request)(
        f"iam: {len(found.seconds)} features ran, {count} kinds of requests, none denied"
        f" ({time.monotonic() - began:.0f} s: {', '.join(f'{n} {s:.0f}' for n, s in found.seconds.items())})"
    )
    return found


def exercised(world: World) -> list[Statement]:
    return [each for each in world.roles.statements() if each.name not in NOT_EXERCISED]


def needing(
    world: World,
    cycle: Cycle,
    features: Iterable[str],
    statement: Statement,
    action: str = "",
    resource: str = "",
) -> list[dict[str, Any]]:
    """What some features asked for that is denied without a statement, or without one part of it."""
    documents = world.roles.without(statement, action, resource)
    requests = cycle.requests(statement.role, features)
    wanted = [each for each in requests if each["action"] in statement.actions]
    decisions = world.ministack.decisions(documents, wanted)
    return [each for each, decision in zip(wanted, decisions, strict=True) if decision != "Allow"]


def parts(statement: Statement) -> Iterator[tuple[str, str]]:
    """The actions and the resources of a statement that has several of them."""
    yield from ((each, "") for each in statement.actions if len(statement.actions) > 1)
    yield from (("", each) for each in statement.resources if len(statement.resources) > 1)


def test_every_feature_runs_without_a_denial(cycle: Cycle, world: World) -> None:
    assert set(cycle.seconds) == set(world.features())


def test_every_role_asked_for_something(cycle: Cycle, world: World) -> None:
    assert [role for role in world.roles.names if not cycle.requests(role)] == []


@pytest.mark.parametrize("role", sorted(MEDIA))
def test_without_media_the_other_features_need_no_more(cycle: Cycle, world: World, role: str) -> None:
    requests = cycle.requests(role, set(cycle.seen) - WITH_MEDIA)

    decisions = world.ministack.decisions(world.roles.without_sid(role, MEDIA[role]), requests)

    denied = [each for each, decision in zip(requests, decisions, strict=True) if decision != "Allow"]
    assert [(each["action"], each["resource_arn"]) for each in denied] == []


def test_without_a_statement_a_request_of_the_cycle_is_denied(cycle: Cycle, world: World) -> None:
    idle = [each.name for each in exercised(world) if not needing(world, cycle, cycle.seen, each)]

    assert idle == [], "nothing needs these statements"


def test_without_an_action_or_a_resource_a_request_of_the_cycle_is_denied(cycle: Cycle, world: World) -> None:
    idle = {
        (each.name, action or resource)
        for each in exercised(world)
        for action, resource in parts(each)
        if not needing(world, cycle, cycle.seen, each, action, resource)
    }

    assert idle == set(PARTS_NOT_EXERCISED), "nothing needs these, or they are exercised by now"


def test_without_a_statement_its_feature_fails(
    cycle: Cycle, world: World, request: pytest.FixtureRequest
) -> None:
    tell, failures = teller(request), []
    began = time.monotonic()
    for statement in exercised(world):
        feature = quickest(world, cycle, statement)
        outcome = run_without(world, statement, feature) if feature else "no feature needs it"
        if outcome:
            failures.append(f"{statement.name} ({feature}): {outcome}")
            tell(f"iam: {failures[-1]}")
    tell(f"iam: {len(exercised(world))} statements taken away in turn ({time.monotonic() - began:.0f} s)")

    assert failures == []


def quickest(world: World, cycle: Cycle, statement: Statement) -> str:
    """The feature that shows what a statement is for, else the quickest one that needs it, or ""."""
    if statement.name in SHOWN_BY:
        return SHOWN_BY[statement.name]
    for feature in sorted(cycle.seen, key=cycle.seconds.__getitem__):
        if needing(world, cycle, {feature}, statement):
            return feature
    return ""


def run_without(world: World, statement: Statement, feature: str) -> str:
    """Runs a feature without a statement; gives what is wrong, "" where it was denied as it should be."""
    world.rest()
    with world.roles.removed(statement):
        world.watch()
        how = ""
        try:
            world.run(feature)
        except DeniedError as error:
            denied = error.entries
        except AssertionError as error:
            how = str(error)
            world.idle()
            denied = world.denied()  # it failed before the journal was looked at
        else:
            return "it ran all the same"
        finally:
            world.idle()
    others = [one for one in denied if one["request"]["action"] not in statement.actions]
    if not denied:
        return f"it failed, but nothing was denied: {how}"
    return f"denied was something else: {DeniedError(others)}" if len(others) == len(denied) else ""


# ------------------------------------------------------------------------------------ how wide they are


def test_no_action_has_a_wildcard(world: World) -> None:
    wide = [each.name for each in world.roles.statements() if any("*" in action for action in each.actions)]

    assert wide == []


def test_only_listed_statements_take_any_resource(world: World) -> None:
    wide = {each.name for each in world.roles.statements() if "*" in each.resources}

    assert wide == set(ANY_RESOURCE)


def test_what_is_listed_as_not_exercised_is_a_statement(world: World) -> None:
    assert set(NOT_EXERCISED) <= {each.name for each in world.roles.statements()}


def test_every_statement_has_a_name_of_its_own(world: World) -> None:
    names = [each.name for each in world.roles.statements()]

    assert len(names) == len(set(names))
    assert not [name for name in names if name.endswith(".")]


def test_roles_have_no_other_policies(world: World) -> None:
    for name in world.roles.names.values():
        assert world.iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == []


@pytest.mark.parametrize(
    "change",
    [
        {"service_context": {"iam:passedtoservice": "lambda.amazonaws.com"}},
        {"service_context": {}},
        {"resource_arn": "arn:aws:iam::000000000000:role/another"},
    ],
    ids=["to another service", "to no service", "another role"],
)
def test_the_role_is_passed_to_bedrock_alone(cycle: Cycle, world: World, change: dict[str, Any]) -> None:
    asked_for = cycle.requests("process_batch_jobs")
    passed = next(each for each in asked_for if each["action"] == "iam:PassRole")
    policies = list(world.roles.documents["process_batch_jobs"].values())

    assert world.ministack.decisions(policies, [passed, {**passed, **change}]) == ["Allow", "ImplicitDeny"]


def test_publish_events_reads_no_row_but_those_of_the_routes(cycle: Cycle, world: World) -> None:
    requests = cycle.requests("publish_events")
    read = next(each for each in requests if each["action"] == "dynamodb:GetItem")
    policies = list(world.roles.documents["publish_events"].values())

    def of(*keys: str) -> dict[str, Any]:
        return {**read, "service_context": {"dynamodb:leadingkeys": list(keys)}}

    decisions = world.ministack.decisions(policies, [of("route"), of("0" * 32), of("route", "active")])

    assert decisions == ["Allow", "ImplicitDeny", "ImplicitDeny"]


@pytest.mark.parametrize("variable", ["aws:SourceAccount", "aws:SourceArn"])
def test_bedrock_assumes_its_role_for_our_jobs_alone(world: World, variable: str) -> None:
    (trust,) = world.iam.get_role(RoleName=world.roles.names["bedrock"])["Role"]["AssumeRolePolicyDocument"][
        "Statement"
    ]

    assert trust["Principal"] == {"Service": "bedrock.amazonaws.com"}
    assert variable in {key for keys in trust["Condition"].values() for key in keys}


# ----------------------------------------------------------------------------------- resource policies


def in_the_clear(request: Any, **_: Any) -> None:
    request.headers["X-Forwarded-Proto"] = "http"


def test_nobody_reads_the_bucket_without_tls(world: World) -> None:
    made = world.ministack.session(world.outputs["roles"]["bedrock"]["arn"])
    client = boto3.client(
        "s3",
        endpoint_url=world.ministack.endpoint,
        region_name=REGION,
        aws_access_key_id=made["access_key"],
        aws_secret_access_key=made["secret_key"],
        aws_session_token=made["session_token"],
    )
    assert client.list_objects_v2(Bucket=world.bucket, MaxKeys=1)["KeyCount"] <= 1

    client.meta.events.register("before-send.s3", in_the_clear)

    with pytest.raises(ClientError, match="AccessDenied"):
        client.list_objects_v2(Bucket=world.bucket)


def test_nobody_sends_a_dead_letter_without_tls(world: World) -> None:
    client, queue = world.aws.client("sqs"), world.outputs["dead_letter_queue"]["url"]

    client.meta.events.register("before-send.sqs", in_the_clear)

    with pytest.raises(ClientError, match="AccessDenied"):
        client.send_message(QueueUrl=queue, MessageBody="x")


def function_policy(world: World, function: str) -> Any:
    return world.lambda_.get_policy(FunctionName=world.functions[function])["Policy"]


@pytest.mark.parametrize(
    ("function", "service", "source", "may"),
    [
        ("create_batch_queue", S3, "{bucket}", True),
        ("create_batch_queue", S3, "arn:aws:s3:::somebody-elses-bucket", False),
        ("create_batch_queue", EVENTS, "{sweep}", True),
        ("create_batch_queue", EVENTS, "{schedule}", False),
        ("process_batch_jobs", EVENTS, "{sweep}", False),
        ("process_batch_jobs", EVENTS, "{schedule}", True),
        ("process_batch_jobs", EVENTS, "{job_state}", True),
        ("process_batch_jobs", EVENTS, "arn:aws:events:us-east-1:000000000000:rule/another", False),
        ("process_batch_jobs", EVENTS, "arn:aws:events:us-east-1:111111111111:rule/{schedule_name}", False),
        ("process_batch_jobs", S3, "{bucket}", False),
    ],
)
def test_a_service_may_invoke_a_function_only_for_what_is_ours(
    world: World, function: str, service: str, source: str, may: bool
) -> None:
    given = source.format(**sources(world))
    arn = world.function_arn(function)

    found = world.ministack.service_may(
        service, "lambda:InvokeFunction", arn, function_policy(world, function), given
    )

    assert found is may


def sources(world: World) -> dict[str, str]:
    rules = world.outputs["rules"]
    return {
        "bucket": f"arn:aws:s3:::{world.bucket}",
        "schedule": rules["schedule"]["arn"],
        "schedule_name": rules["schedule"]["name"],
        "job_state": rules["job_state"]["arn"],
        "sweep": rules["sweep"]["arn"],
    }


@pytest.mark.parametrize("function", ["collect_results", "publish_events"])
def test_some_functions_may_be_invoked_by_no_service(world: World, function: str) -> None:
    # AWS has no policy then, and MiniStack an empty one.
    with suppress(world.lambda_.exceptions.ResourceNotFoundException):
        assert json.loads(function_policy(world, function))["Statement"] == []


@pytest.mark.parametrize(
    ("source", "may"),
    [
        ("{schedule}", True),
        ("{job_state}", True),
        ("{sweep}", True),
        ("arn:aws:events:us-east-1:000000000000:rule/another", False),
    ],
)
def test_only_our_rules_send_dead_letters(world: World, source: str, may: bool) -> None:
    queue = world.outputs["dead_letter_queue"]
    found = world.sqs.get_queue_attributes(QueueUrl=queue["url"], AttributeNames=["Policy"])["Attributes"][
        "Policy"
    ]

    sent = world.ministack.service_may(
        EVENTS, "sqs:SendMessage", queue["arn"], found, source.format(**sources(world))
    )

    assert sent is may


# ------------------------------------------------------------------------------- policies of other stacks


@pytest.fixture(scope="session")
def ended(world: World, cycle: Cycle) -> dict[str, Any]:
    """The row of an upload that has ended."""
    world.rest()
    world.watch()
    upload = world.upload(lines([ask(number) for number in range(4)]))
    world.ended(upload)
    return world.row(upload)


@pytest.mark.parametrize("policy", ["submit", "read", "operate"])
def test_a_policy_for_other_stacks_suffices_for_what_it_is_named_after_and_no_more(
    world: World, ended: dict[str, Any], policy: str
) -> None:
    # Given a role of another stack with this policy alone
    name = f"other-stack-{policy}"
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = world.iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    world.iam.put_role_policy(
        RoleName=name, PolicyName=policy, PolicyDocument=world.outputs["policies"][policy]
    )
    made = world.ministack.session(role)
    aws = boto3.Session(
        aws_access_key_id=made["access_key"],
        aws_secret_access_key=made["secret_key"],
        aws_session_token=made["session_token"],
        region_name=REGION,
    )
    s3: Any = aws.client("s3", endpoint_url=world.ministack.endpoint)
    table: Any = aws.client("dynamodb", endpoint_url=world.ministack.endpoint)
    lambda_: Any = aws.client("lambda", endpoint_url=world.ministack.endpoint)
    sqs: Any = aws.client("sqs", endpoint_url=world.ministack.endpoint)
    kms: Any = aws.client("kms", endpoint_url=world.ministack.endpoint)
    events: Any = aws.client("events", endpoint_url=world.ministack.endpoint)
    rule, letters = world.outputs["rules"]["schedule"]["name"], world.outputs["dead_letter_queue"]["url"]
    bucket, name = world.bucket, world.outputs["table_name"]
    key = {"pk": {"S": "x"}, "sk": {"S": "upload"}}
    index = {"IndexName": "status-index", "KeyConditionExpression": "status_key = :s"}
    values = {":s": {"S": "upload#Completed"}, ":pk": {"S": "x"}}
    status = json.dumps({"order": "status"}).encode()
    calls: dict[str, dict[str, Callable[[], Any]]] = {
        "submit": {
            "upload": lambda: s3.put_object(Bucket=bucket, Key="to-process/by-other.jsonl", Body=b"{}\n"),
            "upload in parts": lambda: s3.abort_multipart_upload(
                Bucket=bucket,
                UploadId=s3.create_multipart_upload(Bucket=bucket, Key="to-process/o.jsonl")["UploadId"],
                Key="to-process/o.jsonl",
            ),
        },
        "read": {
            "result": lambda: s3.get_object(Bucket=bucket, Key=ended["result_key"]),
            "version": lambda: s3.get_object(
                Bucket=bucket, Key=ended["result_key"], VersionId=ended["result_version_id"]
            ),
            "list": lambda: s3.list_objects_v2(Bucket=bucket, Prefix="processed/"),
            "versions": lambda: s3.list_object_versions(Bucket=bucket, Prefix="processed/"),
            "upload": lambda: s3.get_object(Bucket=bucket, Key=ended["key"]),
            "uploads": lambda: s3.list_object_versions(Bucket=bucket, Prefix="to-process/"),
            "row": lambda: table.get_item(TableName=name, Key=key),
            "rows": lambda: table.batch_get_item(RequestItems={name: {"Keys": [key]}}),
            "query": lambda: table.query(
                TableName=name,
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": {"S": "x"}},
            ),
            "status": lambda: table.query(
                TableName=name, **index, ExpressionAttributeValues={":s": values[":s"]}
            ),
        },
        "operate": {
            "order": lambda: lambda_.invoke(FunctionName=world.functions["operate_queue"], Payload=status),
            "notification": lambda: s3.get_bucket_notification_configuration(Bucket=bucket),
            "rule": lambda: events.describe_rule(Name=rule),
            "targets": lambda: events.list_targets_by_rule(Rule=rule),
            "function": lambda: lambda_.get_function_configuration(
                FunctionName=world.functions["collect_results"]
            ),
            "dead letters": lambda: sqs.get_queue_attributes(QueueUrl=letters, AttributeNames=["All"]),
            "key": lambda: kms.describe_key(KeyId=world.key_arn),
        },
        "nobody": {
            "write a result": lambda: s3.put_object(Bucket=bucket, Key="processed/x", Body=b"x"),
            "list the work area": lambda: s3.list_objects_v2(Bucket=bucket, Prefix="jobs/"),
            "read the work area": lambda: s3.get_object(Bucket=bucket, Key="jobs/x/in/y"),
            "delete a result": lambda: s3.delete_object(Bucket=bucket, Key=ended["result_key"]),
            "write a row": lambda: table.put_item(TableName=name, Item=key),
            "delete a row": lambda: table.delete_item(TableName=name, Key=key),
            "read the whole table": lambda: table.scan(TableName=name),
            "disable a rule": lambda: events.disable_rule(Name=rule),
            "read dead letters": lambda: sqs.receive_message(QueueUrl=letters),
            "code of a function": lambda: lambda_.get_function(FunctionName=world.functions["operate_queue"]),
            "another function": lambda: lambda_.invoke(
                FunctionName=world.functions["collect_results"], Payload=b"{}"
            ),
        },
    }
    # When it tries everything, then it may do what the policy is named after, and nothing else
    for kind, some in calls.items():
        for what, call in some.items():
            assert denied(call) is (kind != policy), f"{policy}: {kind}: {what}"


@pytest.mark.parametrize(
    ("action", "resource", "may"),
    [
        ("events:DescribeRule", "{schedule}", True),
        ("events:DescribeRule", "{job_state}", True),
        ("events:ListTargetsByRule", "{sweep}", True),
        ("events:DisableRule", "{sweep}", False),
        ("events:DescribeRule", f"arn:aws:events:{REGION}:000000000000:rule/another", False),
        ("servicequotas:ListServiceQuotas", "*", True),
        ("servicequotas:GetServiceQuota", "*", True),
        ("servicequotas:RequestServiceQuotaIncrease", "*", False),
        ("bedrock:GetFoundationModel", f"arn:aws:bedrock:{REGION}::foundation-model/x", True),
        ("bedrock:InvokeModel", f"arn:aws:bedrock:{REGION}::foundation-model/x", False),
    ],
)
def test_the_policy_to_operate_allows_to_see_rules_quotas_and_models(
    cycle: Cycle, world: World, action: str, resource: str, may: bool
) -> None:
    """MiniStack has no Service Quotas, and Bedrock only as the simulator has it: its evaluator is asked."""
    asked_for = cycle.requests("operate_queue")[0]
    request = {**asked_for, "action": action, "resource_arn": resource.format(**sources(world))}
    policy = json.loads(world.outputs["policies"]["operate"])

    assert world.ministack.decisions([policy], [request]) == ["Allow" if may else "ImplicitDeny"]


def denied(call: Callable[[], Any]) -> bool:
    """Makes a call. Returns whether it was denied."""
    try:
        call()
    except ClientError as error:
        if error.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException"):
            return True
        raise
    return False


def test_another_bucket_that_notifies_our_function_is_not_heard(world: World) -> None:
    other = "somebody-elses-bucket"
    world.s3.create_bucket(Bucket=other)
    world.s3.put_bucket_notification_configuration(
        Bucket=other,
        NotificationConfiguration={
            "LambdaFunctionConfigurations": [
                {
                    "LambdaFunctionArn": world.function_arn("create_batch_queue"),
                    "Events": ["s3:ObjectCreated:*"],
                }
            ]
        },
        SkipDestinationValidation=True,
    )
    since = world.watch()

    world.s3.put_object(Bucket=other, Key="to-process/x.jsonl", Body=b"{}\n")

    def refused() -> bool:
        return any(
            one["request"]["principal_arn"] == S3 and one["decision"] != "Allow"
            for one in world.ministack.journal(since)
        )

    world.until(refused, "S3's refusal", push=False)
