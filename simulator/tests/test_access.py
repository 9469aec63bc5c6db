"""What the simulated service asks about the caller, and what a refusal comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from bedrock_batch_simulator import ApiError, Check, Config, Principal
from bedrock_batch_simulator.access import Access, signature

from .world import ACCOUNT, World

JOBS = "arn:aws:bedrock:us-east-1:000000000000:model-invocation-job/"
ROLE = "arn:aws:iam::000000000000:role/service"
HAIKU = "anthropic.claude-3-5-haiku-20241022-v1:0"
WHO = Principal("ASIA1", "t1")


class Told:
    """Notes what it is asked to decide, and refuses an action."""

    def __init__(self, refused: str = "") -> None:
        self.refused = refused
        self.who: list[Principal] = []
        self.checks: list[tuple[str, str]] = []

    def __call__(self, who: Principal, checks: Sequence[Check]) -> str:
        self.who.append(who)
        self.checks += [(each.action, each.resource) for each in checks]
        denied = [each.action for each in checks if each.action == self.refused]
        return f"not authorized to perform: {denied[0]}" if denied else ""

    @property
    def access(self) -> Access:
        return Access(self, "us-east-1", "000000000000", "aws")


def test_the_signer_is_in_the_signature() -> None:
    # given headers as a client of AWS sends them, whatever their case
    headers = {
        "authorization": "AWS4-HMAC-SHA256 Credential=ASIA1/20260101/eu-west-1/bedrock/aws4_request, …",
        "X-Amz-Security-Token": "t1",
    }
    assert signature(headers) == (WHO, "eu-west-1", "bedrock")
    assert signature({}) == (Principal(), "", "")


def test_the_signer_may_be_in_the_query() -> None:
    # given a URL that was signed for whoever has it
    target = "/data/in/a.jsonl?X-Amz-Credential=ASIA1%2F20260101%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Date=x"
    assert signature({}, target) == (Principal("ASIA1"), "eu-west-1", "s3")


def test_a_job_needs_the_model_the_tags_and_the_role() -> None:
    told = Told()

    told.access.check(
        "CreateModelInvocationJob",
        {"modelId": HAIKU, "roleArn": ROLE, "tags": [{"key": "a", "value": "b"}]},
        WHO,
    )

    assert told.who == [WHO]
    assert told.checks == [
        ("bedrock:CreateModelInvocationJob", f"{JOBS}new"),
        ("bedrock:CreateModelInvocationJob", f"arn:aws:bedrock:us-east-1::foundation-model/{HAIKU}"),
        ("bedrock:TagResource", f"{JOBS}new"),
        ("iam:PassRole", ROLE),
    ]


def test_on_demand_through_a_profile_needs_its_models_and_the_media() -> None:
    told = Told()
    picture = {"image": {"source": {"s3Location": {"uri": "s3://bucket/a b.png"}}}}

    told.access.check(
        "Converse", {"modelId": "us.amazon.nova-lite-v1:0", "messages": [{"content": [picture]}]}, WHO
    )

    models = "foundation-model/amazon.nova-lite-v1:0"
    profile = "inference-profile/us.amazon.nova-lite-v1:0"
    assert told.checks == [
        ("bedrock:InvokeModel", f"arn:aws:bedrock:us-east-1:000000000000:{profile}"),
        ("bedrock:InvokeModel", f"arn:aws:bedrock:us-east-1::{models}"),
        ("bedrock:InvokeModel", f"arn:aws:bedrock:us-east-2::{models}"),
        ("bedrock:InvokeModel", f"arn:aws:bedrock:us-west-2::{models}"),
        ("s3:GetObject", "arn:aws:s3:::bucket/a b.png"),
    ]


def test_a_refusal_is_an_access_denied_exception() -> None:
    told = Told(refused="bedrock:GetModelInvocationJob")

    with pytest.raises(ApiError, match="not authorized to perform: bedrock:GetModelInvocationJob") as raised:
        told.access.check("GetModelInvocationJob", {"jobIdentifier": f"{JOBS}abc"}, WHO)

    assert (raised.value.code, raised.value.status) == ("AccessDeniedException", 403)


def test_a_role_that_may_not_invoke_the_profile_is_refused_by_the_models() -> None:
    access = Told(refused="bedrock:InvokeModel").access
    assert "permissions to invokeModel" in access.refusal_of_role(ROLE, "us.amazon.nova-lite-v1:0")
    assert Told().access.refusal_of_role(ROLE, "us.amazon.nova-lite-v1:0") == ""


@pytest.mark.parametrize(
    ("model_id", "regions"),
    [
        ("global.anthropic.claude-haiku-4-5-20251001-v1:0", ["us-east-1", ""]),
        ("us.newest.model-v1:0", ["us-east-1", "us-west-2"]),
        ("mine", ["us-east-1", "us-east-2", "us-west-2"]),
        ("plain", ["us-east-1"]),
        ("us.added.model-v1:0", ["us-east-1", "ca-west-1"]),
    ],
    ids=["global", "unknown", "application, of a profile", "application, of a model", "added"],
)
def test_a_profile_needs_its_model_wherever_it_routes_to(model_id: str, regions: list[str]) -> None:
    # given a configuration with profiles of its own
    config = Config.from_dict(
        {
            "inference_profiles": {"mine": "us.amazon.nova-lite-v1:0", "plain": "amazon.nova-lite-v1:0"},
            "system_inference_profiles": {"us.added.model-v1:0": ["us-east-1", "ca-west-1"]},
        }
    )
    told = Told()

    # when a job's role is checked for it
    Access(told, "us-east-1", ACCOUNT, "aws", config).refusal_of_role(ROLE, model_id)

    # then the profile is asked about, and the model in each Region
    (_, profile), *models = told.checks
    assert profile.startswith(f"arn:aws:bedrock:us-east-1:{ACCOUNT}:")
    assert profile.endswith(f"inference-profile/{model_id}")
    assert [arn.split(":")[3] for _, arn in models] == regions
    assert len({arn.rpartition("/")[2] for _, arn in models}) == 1


def test_an_application_profile_by_its_arn_leads_to_the_model() -> None:
    # given an application profile that the settings name by its ARN
    arn = f"arn:aws:bedrock:us-east-1:{ACCOUNT}:application-inference-profile/abcdefghijkl"
    config = Config.from_dict({"inference_profiles": {arn: "amazon.nova-lite-v1:0"}})
    told = Told()

    # when a call through it is checked
    Access(told, "us-east-1", ACCOUNT, "aws", config).check("Converse", {"modelId": arn}, WHO)

    # then the profile is asked about, and the model
    model = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"
    assert [resource for _, resource in told.checks] == [arn, model]


@pytest.mark.parametrize(
    ("operation", "params", "resource"),
    [
        ("ListFoundationModels", {}, "*"),
        ("ListInferenceProfiles", {}, "*"),
        (
            "GetFoundationModel",
            {"modelIdentifier": HAIKU},
            f"arn:aws:bedrock:us-east-1::foundation-model/{HAIKU}",
        ),
        (
            "GetInferenceProfile",
            {"inferenceProfileIdentifier": f"us.{HAIKU}"},
            f"arn:aws:bedrock:us-east-1:000000000000:inference-profile/us.{HAIKU}",
        ),
    ],
)
def test_to_read_about_models_takes_the_action_of_that_name(
    operation: str, params: dict[str, str], resource: str
) -> None:
    told = Told()

    told.access.check(operation, params, WHO)

    assert told.checks == [(f"bedrock:{operation}", resource)]


def test_a_role_needs_nothing_for_a_model_without_a_profile() -> None:
    assert Told(refused="bedrock:InvokeModel").access.refusal_of_role(ROLE, HAIKU) == ""


def test_the_service_role_comes_before_the_caller(world: World) -> None:
    # given a caller who may do nothing, and a request with a role that is not there
    simulator = world.simulator()
    refusing = Told(refused="bedrock:CreateModelInvocationJob")
    simulator.aws = replace(simulator.aws, authorize=refusing)
    bedrock = world.client(simulator)
    request = world.request(roleArn=ROLE.replace("000000000000", ACCOUNT), modelId="no model")

    # when a job is created with it, and then with a role that Bedrock can assume
    with pytest.raises(bedrock.exceptions.ValidationException, match="modelId"):
        bedrock.create_model_invocation_job(**request)
    request["modelId"] = HAIKU
    with pytest.raises(bedrock.exceptions.ValidationException, match="cannot be assumed"):
        bedrock.create_model_invocation_job(**request)
    request["roleArn"] = world.role_arn

    # then the answer is about the request, the role, and only then about the caller
    with pytest.raises(bedrock.exceptions.AccessDeniedException, match="not authorized"):
        bedrock.create_model_invocation_job(**request)


@pytest.mark.parametrize("tags", [5, [5], [{"value": "b"}], "ab"])
def test_tags_of_a_wrong_form_are_no_matter_of_the_policies(tags: Any) -> None:
    told = Told()
    told.access.check("TagResource", {"resourceARN": f"{JOBS}abcdefghijkl", "tags": tags}, WHO)
    assert told.checks == [("bedrock:TagResource", f"{JOBS}abcdefghijkl")]


def test_a_body_nested_too_deeply_is_no_matter_of_the_policies() -> None:
    told = Told()
    told.access.check("InvokeModel", {"modelId": HAIKU, "body": b"[" * 100_000}, WHO)
    assert [action for action, _ in told.checks] == ["bedrock:InvokeModel"]
