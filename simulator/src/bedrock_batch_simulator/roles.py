"""Whether Bedrock may assume the service role of a job, from the role's trust policy."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from botocore.exceptions import ClientError

from . import rules

SERVICE = "bedrock.amazonaws.com"


def check_role(iam: Any, role_arn: str, account: str, job_arn: str) -> None:
    """Raise a ValidationException (`ApiError`) unless the role is there and trusts Bedrock for this job.

    `iam` is an IAM client. The trust policy's statements are evaluated with `aws:SourceAccount` = `account`
    and `aws:SourceArn` = `job_arn`; a condition on a key that the call does not have is not met.
    """
    if role_arn.split(":")[4] not in ("", account):
        raise rules.ROLE_ACCOUNT.error(role=role_arn)
    try:
        role = iam.get_role(RoleName=role_arn.rpartition("/")[2])["Role"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchEntity", "NoSuchEntityException"):
            raise
        role = None
    if role is None or role["Arn"] != role_arn:
        raise rules.ROLE_MISSING.error(role=role_arn)
    policy = role["AssumeRolePolicyDocument"]
    document = json.loads(unquote(policy)) if isinstance(policy, str) else policy
    context = {"aws:sourceaccount": account, "aws:sourcearn": job_arn}
    effects = {each.get("Effect") for each in _list(document.get("Statement")) if _applies(each, context)}
    if "Allow" not in effects or "Deny" in effects:
        raise rules.ROLE_TRUST.error(role=role_arn, job=job_arn)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _applies(statement: Mapping[str, Any], context: Mapping[str, str]) -> bool:
    principal = statement.get("Principal")
    services = _list(principal.get("Service")) if isinstance(principal, Mapping) else []
    if SERVICE not in services and principal != "*":
        return False
    if not any(
        fnmatch.fnmatchcase("sts:assumerole", each.lower()) for each in _list(statement.get("Action"))
    ):
        return False
    return all(
        _condition(operator, context.get(key.lower()), [str(each) for each in _list(values)])
        for operator, keys in (statement.get("Condition") or {}).items()
        for key, values in keys.items()
    )


def _condition(operator: str, actual: str | None, wanted: list[str]) -> bool:
    optional = operator.endswith("IfExists")
    operator = operator.removesuffix("IfExists")
    if actual is None:
        return optional or "Not" in operator
    matched = any(
        actual == each
        if operator in ("StringEquals", "StringNotEquals")
        else actual.lower() == each.lower()
        if operator in ("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase")
        else _like(actual, each)
        for each in wanted
    )
    return matched != ("Not" in operator)


def _like(actual: str, pattern: str) -> bool:
    """IAM's wildcards are * and ?; brackets stand for themselves."""
    return fnmatch.fnmatchcase(actual, pattern.replace("[", "[[]"))
