"""The tables of models, Regions and profiles: that they fit together, and that ids lead to their models."""

from __future__ import annotations

import re
from collections import Counter
from importlib import resources

import pytest
from bedrock_batch_simulator.catalog import catalog, rows
from bedrock_batch_simulator.models import base_model_id, geography, is_known_form, system_profile_id
from botocore.session import get_session

from .world import ACCOUNT

README = resources.files("bedrock_batch_simulator").joinpath("data", "README.md").read_text(encoding="utf-8")
TABLES = ("models", "on_demand", "profiles", "batch")
REGIONS = {
    region
    for partition in ("aws", "aws-us-gov")
    for region in get_session().get_available_regions("bedrock", partition)
}


@pytest.mark.parametrize("table", TABLES)
def test_each_row_says_how_sure_it_is_and_where_it_comes_from(table: str) -> None:
    for row in rows(table):
        assert row["certainty"] in ("documented", "seen", "guessed"), row
        assert f"| `{row['source']}` |" in README, row


@pytest.mark.parametrize("table", TABLES)
def test_no_row_is_there_twice(table: str) -> None:
    counted = Counter(tuple(row.values()) for row in rows(table))
    assert [row for row, count in counted.items() if count > 1] == []


@pytest.mark.parametrize("table", ["on_demand", "batch"])
def test_each_row_is_of_a_known_model_and_of_regions_that_have_bedrock(table: str) -> None:
    for row in rows(table):
        assert row["model_id"] in catalog().models, row
        assert set(row["regions"].split()) <= REGIONS | ({"*"} if table == "batch" else set()), row


def test_each_profile_has_regions_that_have_bedrock_and_each_source_once() -> None:
    seen: Counter[tuple[str, str]] = Counter()
    for row in rows("profiles"):
        sources, to = row["source_regions"].split(), row["destination_regions"].split()
        seen.update((row["profile_id"], source) for source in sources)
        assert set(sources) <= REGIONS, row
        assert to == ["*"] if row["profile_id"].startswith("global.") else set(to) <= REGIONS, row
    assert [each for each, count in seen.items() if count > 1] == []


def test_a_row_of_batch_has_one_of_the_ways() -> None:
    found: dict[str, set[str]] = {}
    for row in rows("batch"):
        found.setdefault(row["model_id"], set()).add(row["by"])
    assert set().union(*found.values()) == {"id", "profile", "none"}
    assert [model for model, ways in found.items() if "none" in ways and len(ways) > 1] == []


def test_what_runs_batch_somewhere_can_be_called_there() -> None:
    for row in rows("batch"):
        for region in row["regions"].split():
            if row["by"] == "id" and region != "*":
                assert region in catalog().models[row["model_id"]].on_demand, row


def test_no_two_models_share_a_base() -> None:
    bases = Counter(base_model_id(each) for each in catalog().models)
    assert [base for base, count in bases.items() if count > 1] == []
    assert [each for each in catalog().models if base_model_id(each) != each or not is_known_form(each)] == []


@pytest.mark.parametrize("profile_id", sorted(catalog().profiles))
def test_each_profile_leads_to_its_model_by_id_and_by_arn(profile_id: str) -> None:
    # given a profile, whose id is a geography and the id of its model
    where, _, model_id = profile_id.partition(".")
    partition = "aws-us-gov" if where == "us-gov" else "aws"
    region = min(catalog().profiles[profile_id].routes)
    arn = f"arn:{partition}:bedrock:{region}:{ACCOUNT}:inference-profile/{profile_id}"

    # when its model is looked for, then id and ARN lead to it
    assert model_id in catalog().models
    assert {base_model_id(profile_id), base_model_id(arn)} == {model_id}
    assert {system_profile_id(profile_id), system_profile_id(arn)} == {profile_id}
    assert geography(profile_id) == where


@pytest.mark.parametrize("model_id", sorted(catalog().models))
def test_each_model_is_found_by_its_arn_and_its_context_length(model_id: str) -> None:
    assert base_model_id(f"arn:aws:bedrock:us-east-1::foundation-model/{model_id}") == model_id
    if re.search(r":\d$", model_id):
        assert base_model_id(f"{model_id}:48k") == model_id
    assert system_profile_id(model_id) == ""


@pytest.mark.parametrize(
    ("model_id", "region", "by", "runs"),
    [
        ("anthropic.claude-opus-5", "us-west-2", "profile", True),
        ("anthropic.claude-opus-5", "us-west-2", "id", False),
        ("anthropic.claude-sonnet-5", "us-west-2", "profile", False),
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", "eu-west-1", "profile", True),
        ("anthropic.claude-opus-4-6-v1", "us-east-1", "profile", True),
        ("anthropic.claude-opus-4-7", "us-east-1", "profile", False),
        ("anthropic.claude-opus-4-8", "us-east-1", "id", False),
        ("openai.gpt-5.6-sol", "us-east-1", "id", False),
        ("openai.gpt-oss-20b-1:0", "us-west-2", "id", True),
        ("openai.gpt-oss-20b-1:0", "eu-west-1", "id", True),
        ("openai.gpt-oss-20b-1:0", "ca-west-1", "id", False),
        ("amazon.nova-micro-v1:0", "us-west-2", "profile", True),
        ("amazon.nova-micro-v1:0", "us-west-2", "id", False),
        ("amazon.nova-lite-v1:0", "us-east-1", "id", True),
        ("minimax.minimax-m2.1", "us-west-2", "id", True),
        ("amazon.titan-embed-text-v2:0", "us-east-1", "id", True),
        ("moonshotai.kimi-k2.5", "us-west-2", "id", True),
        ("moonshotai.kimi-k3", "us-west-2", "profile", False),
        ("stability.sd3-5-large-v1:0", "us-west-2", "id", None),
    ],
)
def test_which_models_run_batch_inference(model_id: str, region: str, by: str, runs: bool | None) -> None:
    assert catalog().runs_batch(catalog().models[model_id], region, "id" if by == "id" else "profile") is runs
