"""CreateModelInvocationJob: what it refuses, what makes it idempotent, and the quota."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import boto3
import pytest
from bedrock_batch_simulator import ApiError
from botocore.config import Config as ClientConfig
from botocore.exceptions import ClientError

from .world import ACCOUNT, BUCKET, CLAUDE, NOVA, REGION, SMALL, World, create_role, records, trust

PROFILE_ARN = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:inference-profile/us.{CLAUDE}"


def refused(world: World, config: dict[str, Any] | None = None, **change: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        world.simulator(config).call("CreateModelInvocationJob", world.request(**change))
    return caught.value


def source(uri: str) -> dict[str, Any]:
    return {"s3InputDataConfig": {"s3Uri": uri}}


def test_a_good_request_gets_an_arn_of_the_service_s_form(world: World) -> None:
    # given a simulator, when a good request comes
    arn = world.client(world.simulator()).create_model_invocation_job(**world.request())["jobArn"]

    # then the ARN has the Region, the account and twelve lower-case alphanumerics
    assert re.fullmatch(rf"arn:aws:bedrock:{REGION}:{ACCOUNT}:model-invocation-job/[a-z0-9]{{12}}", arn)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"jobName": None}, "jobName"),
        ({"jobName": "under_score"}, "regular expression"),
        ({"jobName": "-first"}, "regular expression"),
        ({"jobName": "a" * 64}, "less than or equal to 63"),
        ({"jobName": ""}, "greater than or equal to 1"),
        ({"jobName": "a" + "-" * 61 + "_"}, "regular expression"),
        ({"jobName": 7}, "must be a string"),
        ({"clientRequestToken": "a_b"}, "clientRequestToken"),
        ({"roleArn": "bedrock"}, "roleArn"),
        ({"modelId": "claude 3"}, "modelId"),
        ({"timeoutDurationInHours": 23}, "greater than or equal to 24"),
        ({"timeoutDurationInHours": 169}, "less than or equal to 168"),
        ({"timeoutDurationInHours": "24"}, "must be an integer"),
        ({"modelInvocationType": "Invoke"}, "[InvokeModel, Converse]"),
        ({"inputDataConfig": {}}, "exactly one of"),
        ({"inputDataConfig": {"s3InputDataConfig": {}}}, "s3Uri"),
        ({"inputDataConfig": source("s3://bucket/a b.jsonl")}, "s3Uri"),
        ({"inputDataConfig": source("s3://bucket/day=1/a.jsonl")}, "s3Uri"),
        ({"inputDataConfig": source("s3://bucket/é.jsonl")}, "s3Uri"),
        ({"inputDataConfig": source("s3://bucket//a.jsonl")}, "s3Uri"),
        ({"vpcConfig": {"subnetIds": [], "securityGroupIds": ["sg-1"]}}, "subnetIds"),
        ({"vpcConfig": {"subnetIds": ["a"], "securityGroupIds": ["g"] * 6}}, "less than or equal to 5"),
        ({"tags": [{"key": "a"}]}, "tags.1.member.value"),
    ],
)
def test_what_the_service_s_model_forbids_is_a_validation_exception(
    world: World, change: dict[str, Any], word: str
) -> None:
    # given a request with one member wrong, when it comes
    error = refused(world, **change)

    # then it is refused, and the message says which member and why
    assert (error.code, error.status) == ("ValidationException", 400)
    assert word in error.message


def test_unknown_members_are_passed_over(world: World) -> None:
    # given a request with a member from a newer model, when it comes
    answer = world.simulator().call("CreateModelInvocationJob", world.request(newMember={"a": 1}))

    # then it is accepted, as the service does
    assert answer["jobArn"]


@pytest.mark.parametrize("model_id", ["foo", "arn:aws:bedrock:eu-west-1::foundation-model/" + CLAUDE])
def test_a_model_that_is_none_of_this_region_is_refused(world: World, model_id: str) -> None:
    assert "model identifier is invalid" in refused(world, modelId=model_id).message


def test_a_role_that_does_not_exist_is_refused(world: World) -> None:
    error = refused(world, roleArn=f"arn:aws:iam::{ACCOUNT}:role/none")
    assert error.code == "ValidationException"
    assert "does not exist" in error.message


@pytest.mark.parametrize(
    "policy",
    [
        trust(service="lambda.amazonaws.com"),
        trust(account="999999999999"),
        trust(source_arn=f"arn:aws:bedrock:eu-west-1:{ACCOUNT}:model-invocation-job/*"),
    ],
    ids=["other service", "other account", "other Region"],
)
def test_a_role_that_does_not_trust_bedrock_for_this_job_is_refused(world: World, policy: str) -> None:
    # given a role whose trust policy does not let Bedrock assume it for a job of this account and Region
    role = create_role(world.iam, "distrustful", policy)

    # when a job is created with it
    error = refused(world, roleArn=role)

    # then it is refused
    assert error.code == "ValidationException"
    assert "cannot be assumed" in error.message


def test_what_a_create_is_refused_for_comes_in_the_order_of_the_service(world: World) -> None:
    # given a request in which everything is wrong
    request = world.request(
        roleArn=f"arn:aws:iam::{ACCOUNT}:role/none",
        inputDataConfig=source(f"s3://{BUCKET}/nothing/"),
    )
    simulator = world.simulator({"check_input": True, "models": {CLAUDE: {"batch": False}}})
    found = []

    # when one thing after the other is put right
    def tries() -> None:
        with pytest.raises(ApiError) as caught:
            simulator.call("CreateModelInvocationJob", request)
        found.append(caught.value.message)

    tries()
    request["roleArn"] = world.role_arn
    tries()
    simulator.configure({"models": {CLAUDE: {"batch": True}}})
    tries()

    # then the role comes first, then the model, then the input
    assert "cannot be assumed" in found[0]
    assert found[1] == "Batch inference is not supported for the requested model."
    assert found[2] == f"The input s3://{BUCKET}/nothing/ does not exist, or has no objects."
    world.put("nothing/a.jsonl", records(1))
    assert simulator.call("CreateModelInvocationJob", request)["jobArn"]


@pytest.mark.parametrize(("model_id", "runs"), [(CLAUDE, False), (f"us.{CLAUDE}", True), (PROFILE_ARN, True)])
def test_some_models_run_batch_only_through_a_profile(world: World, model_id: str, runs: bool) -> None:
    simulator = world.simulator({"models": {CLAUDE: {"batch_by_id": False}}})
    request = world.request(modelId=model_id)
    if runs:
        assert simulator.call("CreateModelInvocationJob", request)["jobArn"]
    else:
        with pytest.raises(ApiError, match="Batch inference is not supported"):
            simulator.call("CreateModelInvocationJob", request)


@pytest.mark.parametrize("side", ["inputDataConfig", "outputDataConfig"])
def test_a_bucket_that_does_not_exist_is_refused(world: World, side: str) -> None:
    inner = "s3InputDataConfig" if side == "inputDataConfig" else "s3OutputDataConfig"
    error = refused(world, **{side: {inner: {"s3Uri": "s3://no-such-bucket/in/"}}})
    assert error.code == "ValidationException"
    assert "no-such-bucket" in error.message


def test_the_name_of_an_ended_job_is_taken(world: World) -> None:
    # given a job that has ended
    world.put("in/a.jsonl", records(1))
    simulator = world.simulator()
    bedrock = world.client(simulator)
    bedrock.create_model_invocation_job(**world.request("same"))
    simulator.advance(3600)

    # when another one of that name is created
    with pytest.raises(bedrock.exceptions.ConflictException) as caught:
        bedrock.create_model_invocation_job(**world.request("same", clientRequestToken="other"))

    # then it conflicts
    assert "currently in use" in str(caught.value)


def test_the_same_token_gives_the_first_job(world: World) -> None:
    # given a job
    simulator = world.simulator()
    bedrock = world.client(simulator)
    first = bedrock.create_model_invocation_job(**world.request())

    # when the same request comes again
    again = bedrock.create_model_invocation_job(**world.request())

    # then it is the same job, and only one
    assert again["jobArn"] == first["jobArn"]
    assert len(simulator.jobs) == 1


def test_the_same_token_at_the_quota_gives_the_first_job(world: World) -> None:
    # given a model whose only slot is held by a job
    simulator = world.simulator({"models": {"*": {"max_active_jobs": 1}}})
    first = simulator.call("CreateModelInvocationJob", world.request())

    # when the same request comes again, then the quota does not matter
    assert simulator.call("CreateModelInvocationJob", world.request()) == first


@pytest.mark.parametrize("code", ["ConflictException", "ValidationException"])
def test_the_same_token_with_other_parameters_is_refused(world: World, code: str) -> None:
    simulator = world.simulator({"token_mismatch": code})
    simulator.call("CreateModelInvocationJob", world.request("one"))
    with pytest.raises(ApiError) as caught:
        simulator.call("CreateModelInvocationJob", world.request("two", clientRequestToken="token-one"))
    assert caught.value.code == code


@pytest.mark.parametrize("code", ["ServiceQuotaExceededException", "ValidationException"])
def test_the_quota_counts_all_forms_of_one_base_model_together(world: World, code: str) -> None:
    # given a quota of four and one job under each form of a model's identifier
    simulator = world.simulator({"quota_error": code, "models": {"*": {"max_active_jobs": 4}}})
    forms = [CLAUDE, f"arn:aws:bedrock:{REGION}::foundation-model/{CLAUDE}", f"eu.{CLAUDE}", PROFILE_ARN]
    for number, form in enumerate(forms):
        simulator.call("CreateModelInvocationJob", world.request(f"job-{number}", modelId=form))

    # when a fifth one comes
    with pytest.raises(ApiError) as caught:
        simulator.call("CreateModelInvocationJob", world.request("job-9"))

    # then it is refused with the configured code, in words that speak of the quota
    assert (caught.value.code, caught.value.status) == (code, 400)
    assert "quota" in caught.value.message
    assert simulator.peak(CLAUDE) == 4


def test_the_quota_of_one_model_leaves_the_others_alone(world: World) -> None:
    simulator = world.simulator({"models": {"*": {"max_active_jobs": 1}}})
    simulator.call("CreateModelInvocationJob", world.request("one"))
    assert simulator.call("CreateModelInvocationJob", world.request("two", modelId=NOVA))["jobArn"]


def test_an_ended_job_gives_its_slot_back(world: World) -> None:
    # given a model with one slot, whose job has ended
    world.put("in/a.jsonl", records(1))
    simulator = world.simulator({"models": {"*": {"max_active_jobs": 1, "min_records": 1}}})
    simulator.call("CreateModelInvocationJob", world.request("one"))
    simulator.advance(60)

    # when the next one comes, then there is room
    assert simulator.call("CreateModelInvocationJob", world.request("two"))["jobArn"]


def test_foreign_jobs_hold_slots_until_their_time_is_over(world: World) -> None:
    # given ten foreign jobs at a quota of ten
    simulator = world.simulator()
    simulator.add_foreign(f"us.{CLAUDE}", count=10, seconds=600)
    with pytest.raises(ApiError, match="ServiceQuotaExceededException"):
        simulator.call("CreateModelInvocationJob", world.request())

    # when their time is over, then the slots are free
    simulator.advance(599)
    assert simulator.active(CLAUDE) == 10
    simulator.advance(1)
    assert simulator.active(CLAUDE) == 0


def test_application_profiles_count_where_the_configuration_says(world: World) -> None:
    profile = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:application-inference-profile/abc123"
    assert "invalid" in refused(world, modelId=profile).message

    simulator = world.simulator({**SMALL, "inference_profiles": {profile: CLAUDE}})
    simulator.call("CreateModelInvocationJob", world.request(modelId=profile))
    assert simulator.active(CLAUDE) == 1


def test_clients_get_the_exception_class_and_the_http_status(world: World) -> None:
    bedrock = world.client(world.simulator())
    with pytest.raises(bedrock.exceptions.ResourceNotFoundException) as caught:
        bedrock.get_model_invocation_job(jobIdentifier="abcdefghijkl")
    assert isinstance(caught.value, ClientError)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_get_shows_what_was_asked_for_and_the_defaults(world: World) -> None:
    # given a job with everything that can be asked for
    bedrock = world.client(world.simulator())
    vpc = {"subnetIds": ["subnet-1"], "securityGroupIds": ["sg-1"]}
    request = world.request(timeoutDurationInHours=48, vpcConfig=vpc, modelInvocationType="Converse")
    arn = bedrock.create_model_invocation_job(**request)["jobArn"]

    # when it is read by ARN and by id
    by_arn = bedrock.get_model_invocation_job(jobIdentifier=arn)
    by_id = bedrock.get_model_invocation_job(jobIdentifier=arn.rpartition("/")[2])

    # then both give the same, and it is what was asked for
    assert {**by_arn, "ResponseMetadata": 0} == {**by_id, "ResponseMetadata": 0}
    assert by_arn["status"] == "Submitted"
    assert by_arn["vpcConfig"] == vpc
    assert by_arn["modelInvocationType"] == "Converse"
    assert by_arn["clientRequestToken"] == "token-job-1"
    assert by_arn["inputDataConfig"]["s3InputDataConfig"] == {
        "s3Uri": f"s3://{BUCKET}/in/",
        "s3BucketOwner": ACCOUNT,
    }
    assert (by_arn["jobExpirationTime"] - by_arn["submitTime"]).total_seconds() == 48 * 3600


@pytest.mark.parametrize("looks", [{}, {"check_buckets": False, "check_input": True}])
def test_an_s3_that_is_not_there_is_a_fault_of_the_service(world: World, looks: dict[str, Any]) -> None:
    simulator = world.simulator({**SMALL, **looks})
    nobody = boto3.client(
        "s3", endpoint_url="http://127.0.0.1:9", config=ClientConfig(retries={"total_max_attempts": 1})
    )
    simulator.aws = dataclasses.replace(simulator.aws, s3=nobody)
    with pytest.raises(ApiError, match="Amazon S3 could not be reached") as caught:
        simulator.call("CreateModelInvocationJob", world.request())
    assert caught.value.code == "InternalServerException"
