"""What policy documents of IAM say of a request."""

from __future__ import annotations

from typing import Any

import pytest
from bedrock_batch_simulator.policies import Principals, Request, effects

from .world import allow, deny

OBJECT = "arn:aws:s3:::bucket/team/in/a.jsonl"
GET = Request("s3:GetObject", OBJECT)
ROLE = "arn:aws:iam::123456789012:role/service"


def allows(request: Request, *statements: dict[str, Any], **element: Any) -> bool:
    return effects([{"Statement": list(statements)}], request, **element).allowed


def meets(condition: dict[str, Any], *, complete: bool = True, **context: str) -> bool:
    """Whether a condition lets an Allow apply."""
    request = Request("s3:GetObject", OBJECT, {k.replace("_", ":"): v for k, v in context.items()}, complete)
    return allows(request, allow("s3:*", Condition=condition))


@pytest.mark.parametrize("action", ["s3:GetObject", "S3:getobject", "s3:Get*", "s3:GetObjec?", "s3:*", "*"])
def test_actions_match_with_wildcards_in_any_case(action: str) -> None:
    assert allows(GET, allow(action))


@pytest.mark.parametrize("action", ["s3:PutObject", "s3:GetObjectTagging", "s3:Get", "s3", "kms:*"])
def test_other_actions_do_not_match(action: str) -> None:
    assert not allows(GET, allow(action))


@pytest.mark.parametrize("arn", [OBJECT, "arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket/te?m/*/a.jsonl", "*"])
def test_resources_match_with_wildcards(arn: str) -> None:
    assert allows(GET, allow("s3:GetObject", on=["arn:aws:s3:::other/*", arn]))


@pytest.mark.parametrize("arn", ["arn:aws:s3:::bucket", "arn:aws:s3:::Bucket/*", "arn:aws:s3:::bucket/in/*"])
def test_other_resources_do_not_match(arn: str) -> None:
    assert not allows(GET, allow("s3:GetObject", on=arn))


def test_brackets_in_a_resource_stand_for_themselves() -> None:
    request = Request("s3:GetObject", "arn:aws:s3:::bucket/[a]")
    assert allows(request, allow("s3:GetObject", on="arn:aws:s3:::bucket/[a]"))
    assert not allows(request, allow("s3:GetObject", on="arn:aws:s3:::bucket/[[]a]"))


def test_not_action_and_not_resource_mean_all_others() -> None:
    others = {"Effect": "Allow", "NotAction": "iam:*", "NotResource": "arn:aws:s3:::secret/*"}
    assert allows(GET, others)
    assert not allows(Request("iam:GetRole", OBJECT), others)
    assert not allows(Request("s3:GetObject", "arn:aws:s3:::secret/a"), others)


def test_a_deny_is_told_beside_an_allow() -> None:
    found = effects([{"Statement": [allow("*")]}, {"Statement": deny("s3:Get*")}], GET)
    assert (found.allowed, found.denied) == (True, True)


@pytest.mark.parametrize(
    ("operator", "met", "unmet"),
    [
        ("StringEquals", "in/", "IN/"),
        ("StringEqualsIgnoreCase", "IN/", "in"),
        ("StringLike", "i*", "I*"),
        ("ArnLike", "i?/", "in"),
        ("ForAnyValue:StringLike", "i*", "o*"),
        ("ForAllValues:StringEquals", "in/", "out/"),
        ("StringEqualsIfExists", "in/", "out/"),
        ("StringNotEquals", "out/", "in/"),
        ("StringNotLike", "o*", "i*"),
        ("Bool", "In/", "false"),
        ("Null", "false", "true"),
    ],
)
def test_operators_compare_the_value_of_a_key(operator: str, met: str, unmet: str) -> None:
    assert meets({operator: {"S3:Prefix": [met]}}, s3_prefix="in/")
    assert not meets({operator: {"S3:Prefix": [unmet]}}, s3_prefix="in/")


@pytest.mark.parametrize(
    ("operator", "met"),
    [
        ("StringEquals", False),
        ("StringNotEquals", True),
        ("StringEqualsIfExists", True),
        ("ForAllValues:StringEquals", True),
        ("ForAnyValue:StringNotEquals", False),
    ],
)
def test_a_key_that_the_request_does_not_have(operator: str, met: bool) -> None:
    assert meets({operator: {"sts:ExternalId": "x"}}) is met
    assert meets({"Null": {"sts:ExternalId": "true"}})


def test_the_parts_of_an_arn_are_compared_each_for_itself() -> None:
    pattern = "arn:aws:bedrock:*:123456789012:model-invocation-job/*"
    good = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/a"
    bad = "arn:aws:bedrock:us-east-1:999999999999:other:123456789012:model-invocation-job/a"
    assert meets({"ArnLike": {"aws:SourceArn": pattern}}, aws_sourcearn=good)
    assert not meets({"ArnLike": {"aws:SourceArn": pattern}}, aws_sourcearn=bad)


def test_all_conditions_have_to_be_met() -> None:
    condition = {"StringEquals": {"a:b": "1"}, "StringLike": {"c:d": "2"}}
    assert meets(condition, a_b="1", c_d="2")
    assert not meets(condition, a_b="1", c_d="3")


def test_a_condition_that_cannot_be_evaluated_lets_an_allow_apply_but_no_deny() -> None:
    # given an Allow and a Deny, each on a key that nobody told
    condition = {"StringEquals": {"aws:SourceVpce": "vpce-1"}}
    statements = [allow("s3:*", Condition=condition), deny("s3:*", Condition=condition)]

    # when a request is held against them
    found = effects([{"Statement": statements}], GET)

    # then it is allowed, and told what was not evaluated
    assert (found.allowed, found.denied) == (True, False)
    assert found.untold == {"StringEquals aws:SourceVpce"}


def test_what_changes_nothing_is_not_told() -> None:
    condition = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}
    statements = [allow("s3:*"), allow("s3:*", Condition=condition), deny("kms:*", Condition=condition)]
    assert effects([{"Statement": statements}], GET).untold == frozenset()


def test_policy_variables_are_filled_in() -> None:
    request = Request("s3:GetObject", OBJECT, {"aws:principaltag/team": "team"})
    assert allows(request, allow("s3:*", on="arn:aws:s3:::bucket/${aws:PrincipalTag/Team}/*"))
    assert not allows(request, allow("s3:*", on="arn:aws:s3:::bucket/${aws:PrincipalTag/Team}"))
    assert not allows(request, allow("s3:*", on="arn:aws:s3:::bucket/${*}"))


def test_a_policy_variable_without_a_value_is_not_evaluated() -> None:
    found = effects([{"Statement": allow("s3:*", on="arn:aws:s3:::bucket/${aws:username}/*")}], GET)
    assert found.allowed
    assert found.untold == {"Resource arn:aws:s3:::bucket/${aws:username}/*"}


@pytest.mark.parametrize("principal", ["*", {"AWS": "*"}, {"AWS": ["arn:aws:iam::1:role/x", ROLE]}])
def test_a_principal_is_meant_by_its_names(principal: Any) -> None:
    me = Principals(frozenset({"*", "AWS:*", f"AWS:{ROLE}"}))
    assert allows(GET, allow("s3:*", Principal=principal), principals=me)


@pytest.mark.parametrize(
    "principal", [{"AWS": "arn:aws:iam::1:role/x"}, {"Service": "*"}, {"Federated": ROLE}]
)
def test_another_principal_is_not_meant(principal: Any) -> None:
    me = Principals(frozenset({"*", "AWS:*", f"AWS:{ROLE}"}))
    assert not allows(GET, allow("s3:*", Principal=principal), principals=me)
    others = {"Effect": "Allow", "Action": "s3:*", "Resource": "*", "NotPrincipal": principal}
    assert allows(GET, others, principals=me)


def test_which_session_of_a_role_asks_cannot_be_told() -> None:
    session = "arn:aws:sts::123456789012:assumed-role/service/"
    me = Principals(frozenset({f"AWS:{ROLE}"}), f"AWS:{session}")
    found = effects([{"Statement": allow("s3:*", Principal={"AWS": f"{session}x"})}], GET, me)
    assert found.allowed
    assert found.untold
