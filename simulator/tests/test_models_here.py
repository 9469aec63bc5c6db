"""Which models a Region takes, by id and by profile, and what the operations on them answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from bedrock_batch_simulator import (
    ApiError,
    Config,
    ConfigError,
    Fault,
    Simulator,
    attach,
    mock_bedrock_batch,
)
from moto import mock_aws

from .world import ACCOUNT, World

HAIKU = "anthropic.claude-haiku-4-5-20251001-v1:0"
OLD_HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
NOVA = "amazon.nova-lite-v1:0"
SONNET_5 = "anthropic.claude-sonnet-5"
INVALID = "The provided model identifier is invalid."
NO_BATCH = "Batch inference is not supported for the requested model."
APPLICATION = f"arn:aws:bedrock:us-east-1:{ACCOUNT}:application-inference-profile/abcdefghijkl"

Make = Callable[..., Simulator]


@pytest.fixture
def make(world: World) -> Make:
    """A simulator in a Region under settings, with the table of models."""

    def made(region: str = "us-east-1", **settings: Any) -> Simulator:
        return Simulator(
            world.s3,
            clock=world.clock,
            account=ACCOUNT,
            region=region,
            config=Config.from_dict({"check_input": False, **settings}),
        )

    return made


def create(world: World, simulator: Simulator, model_id: str) -> str:
    """What a Create with the model comes to: "ok", or the words of the refusal."""
    number = len(simulator.jobs)
    try:
        simulator.call("CreateModelInvocationJob", world.request(f"job-{number}", modelId=model_id))
    except ApiError as error:
        return refusal(error)
    return "ok"


def refusal(error: ApiError) -> str:
    """The words of a refusal, with the code where it is not the usual one."""
    return error.message if error.code == "ValidationException" else str(error)


def invoke(simulator: Simulator, model_id: str) -> str:
    """What a Converse with the model comes to."""
    body = {"messages": [{"role": "user", "content": [{"text": "Hello."}]}]}
    try:
        simulator.call("Converse", {"modelId": model_id, **body})
    except ApiError as error:
        return refusal(error)
    return "ok"


# --- Create --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("region", "model_id", "says"),
    [
        ("us-east-1", f"us.{HAIKU}", "ok"),
        ("us-east-1", f"global.{HAIKU}", "ok"),
        ("us-east-1", f"arn:aws:bedrock:us-east-1:{ACCOUNT}:inference-profile/us.{HAIKU}", "ok"),
        ("us-east-1", HAIKU, NO_BATCH),
        ("us-east-1", f"arn:aws:bedrock:us-east-1::foundation-model/{HAIKU}", NO_BATCH),
        ("us-east-1", NOVA, "ok"),
        ("us-west-2", NOVA, NO_BATCH),
        ("us-west-2", f"us.{NOVA}", "ok"),
        ("us-east-1", OLD_HAIKU, "ok"),
        ("us-east-1", f"us.{OLD_HAIKU}", NO_BATCH),
        ("us-east-1", f"us.{SONNET_5}", NO_BATCH),
        ("us-east-1", SONNET_5, NO_BATCH),
        ("us-east-1", "us.anthropic.claude-opus-4-8", NO_BATCH),
        ("us-east-1", "global.anthropic.claude-opus-5", "ok"),
        ("us-west-2", "openai.gpt-oss-120b-1:0", "ok"),
        ("us-east-1", "amazon.nova-lite-v1:0:24k", "ok"),
    ],
)
def test_a_job_runs_with_the_models_that_the_table_has_for_the_region(
    world: World, make: Make, region: str, model_id: str, says: str
) -> None:
    assert create(world, make(region), model_id) == says


@pytest.mark.parametrize(
    ("region", "model_id"),
    [
        ("us-east-1", f"eu.{HAIKU}"),
        ("eu-west-1", f"us.{HAIKU}"),
        ("us-east-1", f"jp.{HAIKU}"),
        ("us-east-1", "eu.newest.model-v1:0"),
        ("us-east-1", "us.mistral.mistral-large-2407-v1:0"),
        ("us-east-1", f"arn:aws:bedrock:us-west-2:{ACCOUNT}:inference-profile/us.{HAIKU}"),
        ("us-east-1", f"arn:aws:bedrock:us-east-1:999999999999:inference-profile/us.{HAIKU}"),
        ("us-east-1", f"arn:aws:bedrock:us-west-2::foundation-model/{NOVA}"),
        ("eu-west-1", "mistral.mistral-small-2402-v1:0"),
    ],
    ids=[
        "eu. in the US",
        "us. in Europe",
        "jp. in the US",
        "eu. of an unknown model",
        "a profile that is not",
        "ARN of a profile of another Region",
        "ARN of a profile of another account",
        "ARN of a model of another Region",
        "a model that is not in the Region",
    ],
)
def test_what_is_not_in_the_region_is_no_model(world: World, make: Make, region: str, model_id: str) -> None:
    assert create(world, make(region), model_id) == INVALID


def test_models_alike_by_name_are_told_apart(world: World, make: Make) -> None:
    # given two models, of which the id of one begins with that of the other
    simulator = make("us-west-2")

    # when jobs are created with both, then only the one that runs batch inference is taken
    assert create(world, simulator, "us.anthropic.claude-opus-5") == "ok"
    assert create(world, simulator, "us.anthropic.claude-sonnet-5") == NO_BATCH
    assert create(world, simulator, "moonshotai.kimi-k2.5") == "ok"
    assert create(world, simulator, "global.moonshotai.kimi-k3") == NO_BATCH


@pytest.mark.parametrize("model_id", ["newest.model-v1:0", "us.newest.model-v1:0"])
def test_a_model_that_is_not_in_the_table_is_taken_unless_told(
    world: World, make: Make, model_id: str
) -> None:
    assert create(world, make(), model_id) == "ok"
    assert create(world, make(unknown_models="refuse"), model_id) == INVALID
    named = make(unknown_models="refuse", models={"newest.model-v1:0": {"min_records": 1}})
    assert create(world, named, model_id) == "ok"


def test_where_the_table_does_not_know_of_batch_inference_the_setting_decides(
    world: World, make: Make
) -> None:
    # given a model that is in the table, but not in that of batch inference
    model_id = "us.anthropic.claude-sonnet-5-5"

    # when a job is created with it, then the setting for unknown models decides
    assert create(world, make(), model_id) == "ok"
    assert create(world, make(unknown_models="refuse"), model_id) == NO_BATCH


@pytest.mark.parametrize("model_id", [HAIKU, f"eu.{HAIKU}", f"us.{SONNET_5}", "newest.model-v1:0"])
def test_without_the_table_every_model_is_taken(world: World, make: Make, model_id: str) -> None:
    assert create(world, make(check_models=False, unknown_models="refuse"), model_id) == "ok"


@pytest.mark.parametrize(
    ("settings", "model_id", "says"),
    [
        ({SONNET_5: {"batch": True}}, f"us.{SONNET_5}", "ok"),
        ({SONNET_5: {"batch": True}}, SONNET_5, "ok"),
        ({SONNET_5: {"batch": True, "batch_by_id": False}}, SONNET_5, NO_BATCH),
        ({HAIKU: {"batch_by_id": True}}, HAIKU, "ok"),
        ({NOVA: {"batch_by_id": False}}, NOVA, NO_BATCH),
        ({NOVA: {"batch": False}}, f"us.{NOVA}", NO_BATCH),
        ({"*": {"batch": True}}, HAIKU, "ok"),
        ({"mistral.mistral-large-2407-v1:0": {"batch": True}}, "mistral.mistral-large-2407-v1:0", "ok"),
    ],
)
def test_the_settings_of_a_model_override_the_table(
    world: World, make: Make, settings: dict[str, Any], model_id: str, says: str
) -> None:
    assert create(world, make(models=settings), model_id) == says


def test_profiles_can_be_added(world: World, make: Make) -> None:
    # given a profile that the table does not have
    added = {"us.mistral.mistral-large-2407-v1:0": ["us-east-1", "us-west-2"]}
    settings = {
        "system_inference_profiles": added,
        "models": {"mistral.mistral-large-2407-v1:0": {"batch": True}},
    }

    # when jobs are created through it, then that works from its Regions alone
    assert create(world, make("us-east-1", **settings), next(iter(added))) == "ok"
    assert create(world, make("us-east-2", **settings), next(iter(added))) == INVALID


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"nova": ["us-east-1"]}, "must begin with a geography"),
        ({"us.amazon.nova-lite-v1:0": "us-east-1"}, "must be a list of Regions"),
        ({"us.amazon.nova-lite-v1:0": []}, "must be a list of Regions"),
    ],
)
def test_a_wrong_profile_is_told(value: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=f"system_inference_profiles.*{says}"):
        Config.from_dict({"system_inference_profiles": value})


@pytest.mark.parametrize(
    ("source", "says"),
    [(f"us.{HAIKU}", "ok"), (NOVA, "ok"), (f"us.{SONNET_5}", NO_BATCH), ("newest.model-v1:0", "ok")],
)
def test_an_application_profile_is_what_it_was_made_from(
    world: World, make: Make, source: str, says: str
) -> None:
    assert create(world, make(inference_profiles={APPLICATION: source}), APPLICATION) == says


def test_a_custom_model_is_taken(world: World, make: Make) -> None:
    custom = f"arn:aws:bedrock:us-east-1:{ACCOUNT}:custom-model/{NOVA}/abcdefghijkl"
    assert create(world, make(), custom) == "ok"


# --- on demand -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("region", "model_id", "says"),
    [
        ("us-east-1", NOVA, "ok"),
        ("us-east-1", f"us.{HAIKU}", "ok"),
        ("us-east-1", HAIKU, f"Invocation of model ID {HAIKU} with on-demand throughput isn’t supported."),
        ("us-east-1", SONNET_5, "ok"),
        (
            "us-west-2",
            SONNET_5,
            f"Invocation of model ID {SONNET_5} with on-demand throughput isn’t supported.",
        ),
        ("us-east-1", f"eu.{HAIKU}", INVALID),
        ("eu-west-1", "mistral.mistral-small-2402-v1:0", INVALID),
        ("us-east-1", "newest.model-v1:0", "ok"),
    ],
)
def test_on_demand_the_table_says_what_takes_a_profile(
    make: Make, region: str, model_id: str, says: str
) -> None:
    assert invoke(make(region), model_id).startswith(says)


def test_on_demand_a_setting_overrides_the_table(make: Make) -> None:
    assert invoke(make(models={HAIKU: {"on_demand_by_id": True}}), HAIKU) == "ok"
    assert invoke(make(models={NOVA: {"on_demand_by_id": False}}), NOVA).startswith("Invocation of model ID")
    assert invoke(make(check_models=False), HAIKU) == "ok"


# --- the operations ------------------------------------------------------------------------------


@pytest.fixture
def bedrock(make: Make) -> Any:
    """A client in us-east-1, with two application profiles."""
    elsewhere = APPLICATION.replace("us-east-1", "eu-west-1").replace("abcdef", "region")
    of_another = APPLICATION.replace(ACCOUNT, "999999999999").replace("abcdef", "others")
    profiles = {APPLICATION: f"us.{NOVA}", "plainprofile": NOVA, elsewhere: NOVA, of_another: NOVA}
    return client(make(inference_profiles=profiles))


def client(simulator: Simulator) -> Any:
    return attach(simulator, boto3.client("bedrock", region_name=simulator.region))


def test_a_model_is_told_in_the_service_s_shape(bedrock: Any) -> None:
    # when a model is asked about by its id, and by its ARN
    arn = f"arn:aws:bedrock:us-east-1::foundation-model/{NOVA}"
    by_id, by_arn = (
        bedrock.get_foundation_model(modelIdentifier=each)["modelDetails"] for each in (NOVA, arn)
    )

    # then both tell the same
    assert by_id == by_arn
    assert by_id == {
        "modelArn": arn,
        "modelId": NOVA,
        "modelName": "Nova Lite",
        "providerName": "Amazon",
        "inputModalities": ["IMAGE", "TEXT", "VIDEO"],
        "outputModalities": ["TEXT"],
        "responseStreamingSupported": True,
        "customizationsSupported": [],
        "inferenceTypesSupported": ["ON_DEMAND", "INFERENCE_PROFILE"],
        "modelLifecycle": {"status": "ACTIVE"},
    }


@pytest.mark.parametrize(
    "asked",
    [
        "newest.model-v1:0",
        f"us.{NOVA}",
        "mistral.mistral-large-2407-v1:0",
        f"arn:aws:bedrock:us-west-2::foundation-model/{NOVA}",
    ],
    ids=["unknown", "a profile", "not in the Region", "ARN of another Region"],
)
def test_a_model_that_is_not_here_is_not_found(bedrock: Any, asked: str) -> None:
    with pytest.raises(bedrock.exceptions.ResourceNotFoundException, match="Could not resolve"):
        bedrock.get_foundation_model(modelIdentifier=asked)


def listed(bedrock: Any, **filters: str) -> dict[str, dict[str, Any]]:
    return {each["modelId"]: each for each in bedrock.list_foundation_models(**filters)["modelSummaries"]}


def test_the_list_of_models_is_that_of_the_region(make: Make) -> None:
    # given clients in two Regions
    here, there = listed(client(make("us-east-1"))), listed(client(make("eu-west-1")))

    # when models are listed, then each Region has its own
    assert "mistral.mistral-small-2402-v1:0" in here
    assert "mistral.mistral-small-2402-v1:0" not in there
    assert here[HAIKU]["inferenceTypesSupported"] == ["INFERENCE_PROFILE"]
    assert there[NOVA]["modelArn"] == f"arn:aws:bedrock:eu-west-1::foundation-model/{NOVA}"


@pytest.mark.parametrize(
    ("filters", "member", "value"),
    [
        ({"byProvider": "anthropic"}, "providerName", "Anthropic"),
        ({"byProvider": "Mistral AI"}, "providerName", "Mistral AI"),
        ({"byOutputModality": "EMBEDDING"}, "outputModalities", "EMBEDDING"),
        ({"byInferenceType": "ON_DEMAND"}, "inferenceTypesSupported", "ON_DEMAND"),
    ],
)
def test_the_list_of_models_is_filtered(
    bedrock: Any, filters: dict[str, str], member: str, value: str
) -> None:
    # when models are listed with a filter, then all that fit are there, and no other
    fitting = {id_ for id_, each in listed(bedrock).items() if value in each[member]}
    assert 0 < len(fitting) < len(listed(bedrock))
    assert set(listed(bedrock, **filters)) == fitting


def test_filters_add_up_and_may_leave_nothing(bedrock: Any) -> None:
    assert set(listed(bedrock, byProvider="amazon", byOutputModality="EMBEDDING")) == {
        "amazon.nova-2-multimodal-embeddings-v1:0",
        "amazon.titan-embed-g1-text-02",
        "amazon.titan-embed-image-v1",
        "amazon.titan-embed-text-v1",
        "amazon.titan-embed-text-v2:0",
    }
    assert listed(bedrock, byInferenceType="PROVISIONED") == {}
    assert listed(bedrock, byCustomizationType="DISTILLATION") == {}


def test_a_model_of_the_settings_is_listed(make: Make) -> None:
    found = listed(client(make(models={"newest.model-v1:0": {"min_records": 1}, "*": {"min_records": 1}})))
    assert found["newest.model-v1:0"] == {
        "modelId": "newest.model-v1:0",
        "modelArn": "arn:aws:bedrock:us-east-1::foundation-model/newest.model-v1:0",
    }
    assert "*" not in found


def test_a_system_defined_profile_is_told_by_id_and_by_arn(bedrock: Any) -> None:
    # when a profile is asked about
    arn = f"arn:aws:bedrock:us-east-1:{ACCOUNT}:inference-profile/us.{NOVA}"
    by_id, by_arn = (
        bedrock.get_inference_profile(inferenceProfileIdentifier=each) for each in (f"us.{NOVA}", arn)
    )

    # then it has its model in each Region that it routes to
    told = {name: value for name, value in by_id.items() if name != "ResponseMetadata"}
    assert told == {name: value for name, value in by_arn.items() if name != "ResponseMetadata"}
    assert told == {
        "inferenceProfileName": "US Amazon Nova Lite",
        "description": "Routes requests to Amazon Nova Lite in us-east-1, us-east-2 and us-west-2.",
        "inferenceProfileArn": arn,
        "models": [
            {"modelArn": f"arn:aws:bedrock:{region}::foundation-model/{NOVA}"}
            for region in ("us-east-1", "us-east-2", "us-west-2")
        ],
        "inferenceProfileId": f"us.{NOVA}",
        "status": "ACTIVE",
        "type": "SYSTEM_DEFINED",
    }


def test_where_a_profile_routes_to_depends_on_the_region_of_the_call(make: Make) -> None:
    # given the profile that AWS's documentation has as the example
    def routes(region: str) -> list[str]:
        told = client(make(region)).get_inference_profile(inferenceProfileIdentifier=f"us.{OLD_HAIKU}")
        return [each["modelArn"].split(":")[3] for each in told["models"]]

    # when it is asked about in two Regions, then it routes elsewhere
    assert routes("us-east-2") == ["us-east-1", "us-east-2", "us-west-2"]
    assert routes("us-west-2") == ["us-east-1", "us-west-2"]


def test_a_global_profile_has_its_model_in_the_region_and_without_one(bedrock: Any) -> None:
    told = bedrock.get_inference_profile(inferenceProfileIdentifier=f"global.{HAIKU}")
    assert [each["modelArn"] for each in told["models"]] == [
        f"arn:aws:bedrock:us-east-1::foundation-model/{HAIKU}",
        f"arn:aws:bedrock:::foundation-model/{HAIKU}",
    ]


@pytest.mark.parametrize(
    ("asked", "regions"),
    [
        (APPLICATION, ["us-east-1", "us-east-2", "us-west-2"]),
        ("abcdefghijkl", ["us-east-1", "us-east-2", "us-west-2"]),
        ("plainprofile", ["us-east-1"]),
        (f"arn:aws:bedrock:us-east-1:{ACCOUNT}:application-inference-profile/plainprofile", ["us-east-1"]),
    ],
)
def test_an_application_profile_leads_to_its_model(bedrock: Any, asked: str, regions: list[str]) -> None:
    # when an application profile is asked about, as clients do to find the model behind it
    told = bedrock.get_inference_profile(inferenceProfileIdentifier=asked)

    # then its models are those of what it was made from
    assert told["type"] == "APPLICATION"
    assert [each["modelArn"] for each in told["models"]] == [
        f"arn:aws:bedrock:{region}::foundation-model/{NOVA}" for region in regions
    ]


@pytest.mark.parametrize(
    "asked",
    [
        "us.newest.model-v1:0",
        f"eu.{NOVA}",
        f"arn:aws:bedrock:us-west-2:{ACCOUNT}:inference-profile/us.{NOVA}",
        f"arn:aws:bedrock:us-east-1:999999999999:inference-profile/us.{NOVA}",
        "zzzzzzzzzzzz",
    ],
)
def test_a_profile_that_is_not_here_is_not_found(bedrock: Any, asked: str) -> None:
    with pytest.raises(bedrock.exceptions.ResourceNotFoundException, match="Inference profile not found"):
        bedrock.get_inference_profile(inferenceProfileIdentifier=asked)


def test_the_list_of_profiles_comes_in_pages(bedrock: Any) -> None:
    # when the profiles are listed a few at a time
    paginator = bedrock.get_paginator("list_inference_profiles")
    pages = list(paginator.paginate(PaginationConfig={"PageSize": 7}))
    sizes = [len(page["inferenceProfileSummaries"]) for page in pages]
    found = [each["inferenceProfileId"] for page in pages for each in page["inferenceProfileSummaries"]]

    # then all of them come, each once
    whole = bedrock.list_inference_profiles(maxResults=1000)["inferenceProfileSummaries"]
    assert set(sizes[:-1]) == {7}
    assert found == [each["inferenceProfileId"] for each in whole]
    assert len(found) == len(set(found)) > 7
    assert f"us.{NOVA}" in found
    assert f"eu.{NOVA}" not in found


@pytest.mark.parametrize(
    ("filters", "kinds"),
    [({}, {"SYSTEM_DEFINED"}), ({"typeEquals": "SYSTEM_DEFINED"}, {"SYSTEM_DEFINED"}),
     ({"typeEquals": "APPLICATION"}, {"APPLICATION"})],
)  # fmt: skip
def test_unless_told_the_system_defined_profiles_are_listed(
    bedrock: Any, filters: dict[str, str], kinds: set[str]
) -> None:
    found = bedrock.list_inference_profiles(**filters)["inferenceProfileSummaries"]
    assert {each["type"] for each in found} == kinds


def test_a_token_of_another_type_is_refused(bedrock: Any) -> None:
    token = bedrock.list_inference_profiles(maxResults=1)["nextToken"]
    with pytest.raises(bedrock.exceptions.ValidationException, match="other filters"):
        bedrock.list_inference_profiles(nextToken=token, typeEquals="APPLICATION")


def test_an_added_profile_is_listed(make: Make) -> None:
    added = {"us.newest.model-v1:0": ["us-east-1", "ca-west-1"]}
    bedrock = client(make(system_inference_profiles=added))
    told = bedrock.get_inference_profile(inferenceProfileIdentifier="us.newest.model-v1:0")
    assert told["inferenceProfileName"] == "us.newest.model-v1:0"
    assert [each["modelArn"].split(":")[3] for each in told["models"]] == ["us-east-1", "ca-west-1"]


def test_an_added_profile_brings_its_model_into_the_region(make: Make) -> None:
    # given a model that has no profile, and is not in the Region
    model_id = "mistral.mistral-large-2407-v1:0"
    assert model_id not in listed(client(make()))

    # when a profile of it is added, then the model is there, through a profile alone
    added = {f"us.{model_id}": ["us-east-1", "us-west-2"]}
    found = listed(client(make(system_inference_profiles=added)))
    assert found[model_id]["inferenceTypesSupported"] == ["INFERENCE_PROFILE"]


def test_the_application_profiles_are_those_of_the_account_and_region(bedrock: Any) -> None:
    found = bedrock.list_inference_profiles(typeEquals="APPLICATION")["inferenceProfileSummaries"]
    assert [each["inferenceProfileId"] for each in found] == ["abcdefghijkl", "plainprofile"]


def test_they_meet_faults_and_are_counted(make: Make) -> None:
    # given a fault for one of the operations
    simulator = make()
    simulator.add_fault(Fault.from_dict({"kind": "throttling", "operation": "GetInferenceProfile"}))
    bedrock = client(simulator)

    # when it is called twice, then the first call meets the fault, and both are counted
    with pytest.raises(bedrock.exceptions.ThrottlingException):
        bedrock.get_inference_profile(inferenceProfileIdentifier=f"us.{NOVA}")
    bedrock.get_inference_profile(inferenceProfileIdentifier=f"us.{NOVA}")
    assert simulator.state()["calls"]["GetInferenceProfile"] == {
        "total": 2,
        "ok": 1,
        "errors": {"ThrottlingException": 1},
        "effect_answer_lost": 0,
    }


# --- beside moto ---------------------------------------------------------------------------------


@pytest.fixture
def mocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_BEDROCK", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws(), mock_bedrock_batch(inference_profiles={"abcdefghijkl": f"us.{HAIKU}"}):
        yield boto3.client("bedrock", "us-west-2")


def test_beside_moto_they_are_answered_here(mocked: Any) -> None:
    # given clients of code under test, when they ask as LangChain and LiteLLM do to resolve a profile
    arn = "arn:aws:bedrock:us-west-2:123456789012:application-inference-profile/abcdefghijkl"
    told = mocked.get_inference_profile(inferenceProfileIdentifier=arn)

    # then the model behind it is told, and the others of the four are answered too
    assert told["models"][0]["modelArn"].endswith(f"::foundation-model/{HAIKU}")
    assert mocked.get_foundation_model(modelIdentifier=HAIKU)["modelDetails"]["providerName"] == "Anthropic"
    assert mocked.list_inference_profiles()["inferenceProfileSummaries"]
    assert len(listed(mocked)) > 50
