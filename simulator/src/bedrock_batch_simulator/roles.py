"""The service role of a job: whether Bedrock may assume it, and what its policies let it do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from . import rules
from .policies import Document, Effects, Principals, Request, document, effects

SERVICE = "bedrock.amazonaws.com"
_BEDROCK = Principals(frozenset({"*", f"Service:{SERVICE}"}))


def check_account(role_arn: str, account: str) -> None:
    """Raise a ValidationException (`ApiError`) unless the role is of the account."""
    if _account(role_arn) not in ("", account):
        raise rules.ROLE_ACCOUNT.error(role=role_arn)


def check_role(iam: Any, role_arn: str, account: str, job_arn: str) -> None:
    """Raise a ValidationException (`ApiError`) unless the role is there and trusts Bedrock for this job.

    `iam` is an IAM client. The trust policy's statements are evaluated with `aws:SourceAccount` = `account`
    and `aws:SourceArn` = `job_arn`; a condition on a key that the call does not have is not met.
    """
    role = _role(iam, role_arn)
    if role is None:
        raise rules.ROLE_MISSING.error(role=role_arn)
    context = {"aws:sourceaccount": account, "aws:sourcearn": job_arn}
    request = Request("sts:AssumeRole", context=context, complete=True)
    found = effects([document(role["AssumeRolePolicyDocument"])], request, _BEDROCK)
    if found.denied or not found.allowed:
        raise rules.ROLE_TRUST.error(role=role_arn, job=job_arn)


def _role(iam: Any, role_arn: str) -> Mapping[str, Any] | None:
    try:
        role: Mapping[str, Any] = iam.get_role(RoleName=role_arn.rpartition("/")[2])["Role"]
    except ClientError as error:
        if not _is_missing(error):
            raise
        return None
    return role if role["Arn"] == role_arn else None


def _is_missing(error: ClientError) -> bool:
    return error.response["Error"]["Code"] in ("NoSuchEntity", "NoSuchEntityException")


def _account(arn: str) -> str:
    return arn.split(":")[4]


@dataclass(frozen=True)
class Verdict:
    """Whether a role may do something. `untold`: what could not be evaluated and might have changed that."""

    allowed: bool
    untold: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Rights:
    """What the policies of a role say.

    `policies`: inline and attached ones. `boundary`: the permissions boundary, where there is one. `unread`:
    the attached policies that IAM does not have; what they would allow counts as allowed.
    """

    role_arn: str
    policies: tuple[Document, ...]
    boundary: Document | None = None
    unread: frozenset[str] = frozenset()

    @classmethod
    def read(cls, iam: Any, role_arn: str) -> Rights:
        """The rights of a role; `iam` is an IAM client.

        Raises InputError where the role is not there, and ClientError where IAM answers with an error.
        """
        role = _role(iam, role_arn)
        if role is None:
            raise rules.ROLE_MISSING.failure(role=role_arn)
        name, unread = role["RoleName"], set[str]()
        policies = [
            document(iam.get_role_policy(RoleName=name, PolicyName=each)["PolicyDocument"])
            for page in iam.get_paginator("list_role_policies").paginate(RoleName=name)
            for each in page["PolicyNames"]
        ]

        def managed(arn: str) -> Document | None:
            try:
                version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
                found = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]
            except ClientError as error:
                if not _is_missing(error):
                    raise
                unread.add(arn)
                return None
            return document(found["Document"])

        for page in iam.get_paginator("list_attached_role_policies").paginate(RoleName=name):
            read = [managed(each["PolicyArn"]) for each in page["AttachedPolicies"]]
            policies += [each for each in read if each is not None]
        limit = (role.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn")
        return cls(role_arn, tuple(policies), managed(limit) if limit else None, frozenset(unread))

    def may(
        self,
        action: str,
        resource: str,
        context: Mapping[str, str],
        *,
        owner: str,
        policy: Document | None,
        policy_decides: bool = False,
    ) -> Verdict:
        """Whether a session of the role may do `action` on `resource`, which is of the account `owner`.

        `context`: condition keys in lower case. `policy`: that of the resource. Without `policy_decides` what
        the role's own policies allow is enough within an account; with it (as for a KMS key) the resource's
        policy has to allow it to the role, or leave it to the account's IAM policies.
        """
        account = _account(self.role_arn)
        request = Request(action, resource, {**self._context(account, owner), **context})
        on_resource = [policy] if policy is not None else []
        own = effects(self.policies, request)
        limit = effects([self.boundary], request) if self.boundary is not None else Effects(True, False)
        direct = effects(on_resource, request, self._as_itself(account))
        delegated = effects(on_resource, request, _as_account(account, self.role_arn.split(":")[1]))
        by_identity = (own.allowed or bool(self.unread)) and limit.allowed
        if owner != account:
            allowed = by_identity and (direct.allowed or delegated.allowed)
        elif policy_decides:
            allowed = (direct.allowed and limit.allowed) or (delegated.allowed and by_identity)
        else:
            allowed = by_identity or (direct.allowed and limit.allowed)
        said = (own, limit, direct, delegated)
        untold = frozenset[str]().union(*(each.untold for each in said))
        if not own.allowed:
            untold |= self.unread
        return Verdict(allowed and not any(each.denied for each in said), untold)

    def _as_itself(self, account: str) -> Principals:
        partition, name = self.role_arn.split(":")[1], self.role_arn.rpartition("/")[2]
        session = f"AWS:arn:{partition}:sts::{account}:assumed-role/{name}/"
        return Principals(frozenset({"*", "AWS:*", f"AWS:{self.role_arn}"}), session)

    def _context(self, account: str, owner: str) -> dict[str, str]:
        return {
            "aws:principalaccount": account,
            "aws:principalarn": self.role_arn,
            "aws:principalisawsservice": "false",
            "aws:principaltype": "AssumedRole",
            "aws:resourceaccount": owner,
            "aws:securetransport": "true",
        }


def _as_account(account: str, partition: str) -> Principals:
    """How a policy leaves the decision to the IAM policies of an account."""
    return Principals(frozenset({f"AWS:{account}", f"AWS:arn:{partition}:iam::{account}:root"}))
