"""Looks for what keeps a queue from working, and says what to do about it.

Each check is a call or two of AWS that change nothing, and a decision about what came back. The decisions are
functions of their own: they get plain data and return a Finding.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

from batch_queue.core import names
from batch_queue.core.records import dataclass
from batch_queue.core.rows import Route
from botocore.exceptions import BotoCoreError, ClientError

from .connection import About, Connection, told
from .errors import BatchError

# Which function each rule invokes (main.tf).
TARGETS = {"schedule": "process_batch_jobs", "job_state": "process_batch_jobs", "sweep": "create_batch_queue"}
# What the name of the quota of active jobs has before the name of the model.
QUOTA = "Sum of in-progress and submitted batch inference jobs using a base model for "
# The actions of IAM whose names are not those of the operations.
ACTIONS = {
    "GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "DescribeRule": "events:DescribeRule",
    "ListTargetsByRule": "events:ListTargetsByRule",
    "GetQueueAttributes": "sqs:GetQueueAttributes",
    "GetFunctionConfiguration": "lambda:GetFunctionConfiguration",
    "Invoke": "lambda:InvokeFunction",
    "DescribeKey": "kms:DescribeKey",
    "GetServiceQuota": "servicequotas:GetServiceQuota",
    "ListServiceQuotas": "servicequotas:ListServiceQuotas",
    "GetFoundationModel": "bedrock:GetFoundationModel",
}
# What the services say of a bucket, rule, queue, function or key that is not there.
_GONE = {
    "AWS.SimpleQueueService.NonExistentQueue",
    "NoSuchBucket",
    "NotFoundException",
    "QueueDoesNotExist",
    "ResourceNotFoundException",
}
_CREATED = {f"s3:ObjectCreated:{how}" for how in ("Put", "Post", "Copy", "CompleteMultipartUpload")}
_LETTERS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)
APPLY = "Run terraform apply."


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found: ``what`` was looked at, whether it is ``ok``, and in ``words`` what to do.

    ``known``: False if it could not be told, because a permission is missing or AWS did not say. Such a
    finding is not ok either.
    """

    ok: bool
    what: str
    words: str
    known: bool = True


def examine(connection: Connection) -> Iterator[Finding]:
    """Yields what each check finds, as soon as it is found.

    Raises InputError and RefusedError if there is no such queue, or its table cannot be read.
    """
    about = connection.about
    with told(connection.name):
        routes = connection.table.models.routes()
    yield _checked("S3 notification", partial(_notification, connection))
    for rule in about.rules:
        yield _checked(f"rule {rule}", partial(_rule, connection, rule))
    for function in about.functions:
        yield _checked(f"function {function}", partial(_function, connection, function))
    yield _checked("dead letters", partial(_dead_letters, connection))
    if about.kms_key_arn:
        yield _checked("KMS key", partial(_key, connection))
    yield from _quotas(connection, routes.values())
    yield from _jobs(connection, routes.values())


def _checked(what: str, check: Callable[[], Finding]) -> Finding:
    """Runs a check. What AWS refuses is a finding too."""
    try:
        return check()
    except ClientError as error:
        return refused(what, error)
    except BotoCoreError as error:
        return Finding(False, what, f"AWS could not be reached: {error}", known=False)


def refused(what: str, error: ClientError) -> Finding:
    """Returns what an error of AWS means: a part that is missing, or that it could not be told."""
    code, said = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    if code in _GONE:
        return Finding(False, what, f"It does not exist. {APPLY} AWS said: {code}: {said}")
    action = ACTIONS.get(error.operation_name, error.operation_name)
    if "AccessDenied" in code or "NotAuthorized" in code or "Unauthorized" in code:
        words = (
            f"You lack the permission {action}, which the module's policy operate (output policies) has. AWS "
            f"said: {code}: {said}"
        )
    else:
        words = f"{action} failed. Try again. AWS said: {code}: {said}"
    return Finding(False, what, words, known=False)


# --------------------------------------------------------------------------------------- parts of the queue


def _notification(connection: Connection) -> Finding:
    about = connection.about
    owner = {"ExpectedBucketOwner": about.bucket_owner} if about.bucket_owner else {}
    found: Any = connection.s3.get_bucket_notification_configuration(Bucket=about.bucket, **owner)
    return notification(found, about)


def notification(found: Mapping[str, Any], about: About) -> Finding:
    """Decides whether S3 tells create_batch_queue of every upload. ``found``: what the bucket notifies."""
    what, function = "S3 notification", about.functions["create_batch_queue"]
    ours = [
        one
        for one in found.get("LambdaFunctionConfigurations", [])
        if _is_function(one["LambdaFunctionArn"], function, about)
    ]
    if any(_covers(one, about.input_prefix) for one in ours):
        return Finding(True, what, f"The bucket notifies {function} of uploads.")
    has = "notifies it of some uploads only" if ours else "does not notify it"
    words = (
        f"The bucket {about.bucket} {has} ({function}). Set manage_bucket_notification = true and apply, or "
        "add the output bucket_notification to the bucket's configuration. Then start a sweep for what was "
        "uploaded meanwhile: bedrock-batch sweep."
    )
    return Finding(False, what, words)


def _is_function(arn: str, name: str, about: About) -> bool:
    """Returns whether an ARN, with or without a version or alias, is that of a function of the queue."""
    _, _, service, region, account, _, called = (*arn.split(":"), *[""] * 7)[:7]
    return (service, region, account, called) == ("lambda", about.region, about.account_id, name)


def _covers(one: Mapping[str, Any], prefix: str) -> bool:
    rules = one.get("Filter", {}).get("Key", {}).get("FilterRules", [])
    filters = {rule["Name"].lower(): rule["Value"] for rule in rules}
    events = set(one["Events"])
    return (
        prefix.startswith(filters.get("prefix", ""))
        and ".jsonl".endswith(filters.get("suffix", ""))
        and ("s3:ObjectCreated:*" in events or events >= _CREATED)
    )


def _rule(connection: Connection, rule: str) -> Finding:
    events, name = connection.client("events"), connection.about.rules[rule]
    state = events.describe_rule(Name=name)["State"]
    targets = events.list_targets_by_rule(Rule=name)["Targets"]
    return rule_of(rule, state, [target["Arn"] for target in targets], connection.about)


def rule_of(rule: str, state: str, targets: Sequence[str], about: About) -> Finding:
    """Decides whether a rule of EventBridge invokes its function. ``targets``: the ARNs of its targets."""
    what, name = f"rule {rule}", about.rules[rule]
    if not state.startswith("ENABLED"):
        return Finding(False, what, f"It is disabled. Enable it: aws events enable-rule --name {name}")
    if rule not in TARGETS:  # of a newer version of the module
        return Finding(True, what, "It is enabled.")
    function = about.functions[TARGETS[rule]]
    if not any(_is_function(arn, function, about) for arn in targets):
        return Finding(False, what, f"It does not invoke {function}. {APPLY}")
    return Finding(True, what, f"It is enabled and invokes {function}.")


def _function(connection: Connection, function: str) -> Finding:
    name = connection.about.functions[function]
    return function_of(function, connection.client("lambda").get_function_configuration(FunctionName=name))


def function_of(function: str, found: Mapping[str, Any]) -> Finding:
    """Decides whether a function can run. ``found``: its configuration."""
    what = f"function {function}"
    state, update = found.get("State", "Active"), found.get("LastUpdateStatus", "Successful")
    if state == "Active" and update == "Successful":
        return Finding(True, what, "It is active.")
    if state == "Inactive":
        words = (
            "Lambda has put it to sleep, because it was idle for weeks. The next call wakes it, and fails: "
            "repeat that call after a minute."
        )
        return Finding(False, what, words, known=False)
    if "Failed" in (state, update):
        reason = found.get("StateReason") or found.get("LastUpdateStatusReason") or "without a reason"
        return Finding(False, what, f"Lambda could not set it up: {reason}. Correct that, and apply again.")
    return Finding(False, what, "Lambda is setting it up. Try again in a minute.", known=False)


def _dead_letters(connection: Connection) -> Finding:
    found = connection.client("sqs").get_queue_attributes(
        QueueUrl=connection.about.dead_letter_queue, AttributeNames=list(_LETTERS)
    )
    return dead_letters(found.get("Attributes", {}))


def dead_letters(attributes: Mapping[str, str]) -> Finding:
    """Decides whether the dead-letter queue is empty, by its attributes."""
    count = sum(int(attributes.get(name, 0)) for name in _LETTERS)
    if not count:
        return Finding(True, "dead letters", "There is none.")
    words = (
        f"{count:,} events have failed for good. docs/operations.md (Something failed for good) says how to "
        "look at them and repeat them."
    )
    return Finding(False, "dead letters", words)


def _key(connection: Connection) -> Finding:
    return key_of(
        connection.client("kms").describe_key(KeyId=connection.about.kms_key_arn)["KeyMetadata"],
    )


def key_of(found: Mapping[str, Any]) -> Finding:
    """Decides whether a KMS key can be used. ``found``: its metadata."""
    what, state, key = "KMS key", found["KeyState"], found["Arn"]
    advice = {
        "Disabled": f"Enable it: aws kms enable-key --key-id {key}",
        "PendingDeletion": (
            "It is about to be deleted, and what it has encrypted with it. Cancel that: aws kms "
            f"cancel-key-deletion --key-id {key}, and enable it again"
        ),
    }
    if state != "Enabled":
        return Finding(False, what, f"Its state is {state}. {advice.get(state, 'See the KMS console')}.")
    if (found.get("KeyUsage"), found.get("KeySpec")) != ("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT"):
        return Finding(False, what, "S3 and DynamoDB need a symmetric key that encrypts. Use another key.")
    return Finding(True, what, "It is enabled.")


# ---------------------------------------------------------------------------------------------------- quotas


def _quotas(connection: Connection, routes: Collection[Route]) -> Iterator[Finding]:
    client = connection.client("service-quotas")

    @cache
    def listed() -> list[Mapping[str, Any]]:
        pages = client.get_paginator("list_service_quotas").paginate(ServiceCode="bedrock")
        return [quota for page in pages for quota in page["Quotas"]]

    def by_code(model: str, code: str) -> Finding:
        try:
            found = client.get_service_quota(ServiceCode="bedrock", QuotaCode=code)["Quota"]["Value"]
        except client.exceptions.NoSuchResourceException:
            found = None
        return quota(model, limit(routes, model), found)

    def by_name(model: str) -> Finding:
        named = model_names(connection, model)
        return quota(model, limit(routes, model), value_of(listed(), named))

    for model in sorted({names.base_model(route.model_id) for route in routes}):
        codes = {route.quota_code for route in routes if names.base_model(route.model_id) == model} - {None}
        check = partial(by_code, model, min(map(str, codes))) if codes else partial(by_name, model)
        yield _checked(f"quota of {model}", check)


def limit(routes: Collection[Route], model: str) -> int:
    """Returns how many active jobs of a base model the routes ask for, with those reserved for others."""
    return max(route.max_active_jobs for route in routes if names.base_model(route.model_id) == model)


def model_names(connection: Connection, model: str) -> list[str]:
    """Returns by which names Service Quotas may call a base model; none if Bedrock does not know it."""
    if "/" in model:  # an application inference profile, or a custom model
        return []
    client = connection.client("bedrock")
    try:
        found = client.get_foundation_model(modelIdentifier=model)["modelDetails"]
    except (client.exceptions.ResourceNotFoundException, client.exceptions.ValidationException):
        return []
    name = found.get("modelName", "")
    return [name, f"{found.get('providerName', '')} {name}"] if name else []


def value_of(quotas: Collection[Mapping[str, Any]], model: Collection[str]) -> float | None:
    """Returns the quota of active jobs of a model, by its whole name; None if that is not clear."""
    wanted = {f"{QUOTA}{name}".casefold() for name in model}
    found = [one["Value"] for one in quotas if " ".join(one["QuotaName"].split()).casefold() in wanted]
    return found[0] if len(found) == 1 else None


def quota(model: str, wanted: int, value: float | None) -> Finding:
    """Decides whether the account's quota suffices for the active jobs that the routes ask for."""
    what = f"quota of {model}"
    if value is None:
        words = (
            f"It could not be told. Compare max_active_jobs ({wanted:,}) with the quota {QUOTA}the model in "
            "Service Quotas (Amazon Bedrock), or write its quota_code in the routes."
        )
        return Finding(False, what, words, known=False)
    if wanted <= value:
        return Finding(
            True, what, f"The account may have {value:,.0f} active jobs, and max_active_jobs is {wanted:,}."
        )
    words = (
        f"max_active_jobs is {wanted:,}, but the account may have {value:,.0f} active jobs. Lower it, or "
        "have the quota increased in Service Quotas. Until then, Bedrock refuses jobs, which it tries again."
    )
    return Finding(False, what, words)


# ------------------------------------------------------------------------------------------ jobs at Bedrock


def _jobs(connection: Connection, routes: Collection[Route]) -> Iterator[Finding]:
    """Asks process_batch_jobs, by the order check, whether Bedrock would take jobs of the models."""
    what = "service role"
    try:
        answer = connection.invoke("operate_queue", {"order": "check"})
    except BatchError as error:
        cause = error.__cause__
        denied = refused(what, cause) if isinstance(cause, ClientError) else None
        yield denied or Finding(False, what, f"Bedrock could not be asked: {error}.", known=False)
        return
    yield sdk(answer, any(route.invocation_type == "Converse" for route in routes))
    yield role(answer["models"], connection.about.role_arn)
    yield from map(model_of, answer["models"])


def sdk(answer: Mapping[str, Any], converse: bool) -> Finding:
    """Decides whether the functions' AWS SDK is new enough. ``converse``: a route needs Converse jobs."""
    words = (
        f"The functions run with boto3 {answer['boto3'] or '(unknown)'} and botocore {answer['botocore']}."
    )
    if converse and not answer["converse"]:
        words += " It does not know Converse jobs. The functions send modelInvocationType all the same."
    return Finding(True, "AWS SDK", words)


def role(models: Collection[Mapping[str, Any]], arn: str) -> Finding:
    """Decides whether the service role can be passed and assumed, by what Bedrock says of each model."""
    what = "service role"
    for one in models:
        passing = one["about"] == "caller" and "iam:passrole" in one["words"].lower()
        if passing or one["about"] == "role":
            return Finding(False, what, one["words"])
    # Bedrock looks at the role first: whatever else it objects to, the role is right.
    if any(one["about"] in ("input", "bucket", "model", "caller") for one in models):
        return Finding(True, what, f"Bedrock can use {arn}.")
    return Finding(
        False, what, "Bedrock did not say whether it can use the role. Try again later.", known=False
    )


def model_of(one: Mapping[str, Any]) -> Finding:
    """Decides whether Bedrock takes jobs of a model, by what it says of one."""
    kind = "" if one["invocation_type"] == "InvokeModel" else f" ({one['invocation_type']})"
    what = f"batch jobs of {one['model_id']}{kind}"
    if one["about"] == "role":
        return Finding(False, what, "Bedrock looks at the service role first. Correct that.", known=False)
    return Finding(one["batch"] == "yes", what, one["words"], known=one["about"] not in ("quota", "outage"))
