"""Which models a Region takes, by id and by profile, and how it refuses the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from bedrock_batch_simulator import (
    ApiError,
    Config,
    ConfigError,
    Simulator,
)

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
