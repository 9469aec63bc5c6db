"""The module on the local AWS: a second plan is empty, and a destroy leaves nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.conftest import PLAN, write_plan
from tests.local_aws.environment import LocalAws

PRICES = {"input_per_million_tokens": 0.06, "output_per_million_tokens": 0.24}


def test_a_second_plan_changes_nothing(stack: LocalAws) -> None:
    changed, text = stack.terraform.plan()

    assert not changed, text
    assert "No changes." in text
    write_plan(stack.terraform, PLAN)


def test_a_change_pending_where_the_queue_depends_on_it_replaces_nothing(stack: LocalAws) -> None:
    plan = stack.terraform.plan_json("-var=earlier=changed")

    actions = {change["address"]: change["change"]["actions"] for change in plan["resource_changes"]}
    assert actions["terraform_data.earlier"] == ["update"]
    # The policies, which Terraform reads during the apply.
    assert actions["module.queue.aws_iam_role_policy.bedrock[0]"] == ["update"]
    assert {each: done for each, done in actions.items() if {"create", "delete"} & set(done)} == {}


def test_a_changed_route_is_a_changed_row(stack: LocalAws, dynamodb: Any, outputs: dict[str, Any]) -> None:
    before = stack.variables["routes"]
    changes = {"media": True, "pack_wait_minutes": 0, "prices": PRICES}
    key = {"pk": {"S": "route"}, "sk": {"S": "converse"}}
    try:
        stack.apply(routes={**before, "converse": {**before["converse"], **changes}})

        row = dynamodb.get_item(TableName=outputs["table_name"], Key=key)["Item"]
        assert {name: row.get(name) for name in ("media", "pack_wait_minutes", "input_price")} == {
            "media": {"BOOL": True},
            "pack_wait_minutes": {"N": "0"},
            "input_price": {"S": "0.06"},
        }
    finally:
        stack.apply(routes=before)

    row = dynamodb.get_item(TableName=outputs["table_name"], Key=key)["Item"]
    assert (row["media"], row["pack_wait_minutes"]) == ({"BOOL": False}, {"N": "1"})
    assert "input_price" not in row
    changed, text = stack.terraform.plan()
    assert not changed, text


def test_every_output_names_something_that_exists(stack: LocalAws, outputs: dict[str, Any]) -> None:
    found = remains(stack)

    assert outputs["bucket_name"] in found["buckets"]
    assert outputs["table_name"] in found["tables"]
    assert sorted(f["name"] for f in outputs["functions"].values()) == found["functions"]
    assert sorted(r["name"] for r in outputs["roles"].values()) == found["roles"]
    assert sorted(r["name"] for r in outputs["rules"].values()) == found["rules"]
    assert sorted(a["name"] for a in outputs["alarms"].values()) == found["alarms"]
    assert sorted(g["name"] for g in outputs["log_groups"].values()) == found["log groups"]
    assert any(url.endswith("/" + outputs["dead_letter_queue"]["name"]) for url in found["queues"])


def test_each_function_finds_boto3_and_nothing_of_the_checkout(lambda_: Any, names: dict[str, str]) -> None:
    for name in names.values():
        variables = lambda_.get_function_configuration(FunctionName=name)["Environment"]["Variables"]

        assert "PYTHONPATH" not in variables
        assert variables["AWS_ENDPOINT_URL_BEDROCK"].startswith("http://127.0.0.1:")


@pytest.mark.last
def test_a_destroy_leaves_nothing(stack: LocalAws, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="processed/left over.txt", Body=b"force_destroy takes this along")

    stack.destroy()

    assert stack.terraform.resources() == []
    assert {kind: found for kind, found in remains(stack).items() if found} == {}


def remains(stack: LocalAws) -> dict[str, list[str]]:
    """Return what there is of the stack's name, by kind, as AWS's own APIs tell it."""
    aws, name = stack.session(), stack.name

    def paged(service: str, operation: str, key: str, field: str | None, **arguments: Any) -> list[str]:
        pages = aws.client(service).get_paginator(operation).paginate(**arguments)
        items = [item for page in pages for item in page.get(key, [])]
        return sorted(i for i in (item[field] if field else item for item in items) if name in i)

    return {
        "buckets": sorted(b["Name"] for b in aws.client("s3").list_buckets()["Buckets"] if name in b["Name"]),
        "tables": paged("dynamodb", "list_tables", "TableNames", None),
        "functions": paged("lambda", "list_functions", "Functions", "FunctionName"),
        "mappings": paged("lambda", "list_event_source_mappings", "EventSourceMappings", "FunctionArn"),
        "topics": paged("sns", "list_topics", "Topics", "TopicArn"),
        "roles": paged("iam", "list_roles", "Roles", "RoleName"),
        "policies": paged("iam", "list_policies", "Policies", "PolicyName", Scope="Local"),
        "rules": paged("events", "list_rules", "Rules", "Name"),
        "queues": paged("sqs", "list_queues", "QueueUrls", None),
        "log groups": paged("logs", "describe_log_groups", "logGroups", "logGroupName"),
        "alarms": paged("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    }
