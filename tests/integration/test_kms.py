"""With a customer managed key, everything stored is encrypted with it: examples/kms on the local AWS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.integration.conftest import KEY_PLAN, write_plan
from tests.integration.user import FAST, Queue, lines, requests
from tests.local_aws.environment import LocalAws
from tests.local_aws.terraform import Terraform

RECORDS = 300
BROKEN = b'{"recordId": "1"}\n'


@dataclass
class Encrypted:
    """The applied example and what its queue did."""

    terraform: Terraform
    outputs: dict[str, Any]
    rows: dict[str, dict[str, Any]]
    results: list[dict[str, Any]]


@pytest.fixture(scope="module")
def encrypted(stack: LocalAws, keyed: Terraform, aws: Any) -> Encrypted:
    """The example after an upload that ran in parts and one that was rejected."""
    outputs = keyed.outputs()
    table = aws.resource("dynamodb").Table(outputs["table_name"])
    queue = Queue(stack, aws.client("s3"), table, outputs["bucket_name"])
    queue.simulator.configure(models={"*": FAST}, record_faults={"passing_rate": 0.2})
    try:
        ids = {
            "good": queue.upload("a/good.jsonl", lines(requests(RECORDS, "k"))),
            "broken": queue.upload("a/broken.jsonl", BROKEN),
        }
        rows = {row["pk"]: row for row in queue.ended(*ids.values(), timeout=240)}
    finally:
        queue.simulator.configure(record_faults={"passing_rate": 0.0})
    by_name = {name: rows[upload] for name, upload in ids.items()}
    return Encrypted(keyed, outputs, by_name, queue.result(by_name["good"]))


def test_the_cycle_ends_right(encrypted: Encrypted) -> None:
    assert encrypted.rows["broken"]["status"] == "Rejected"
    assert encrypted.rows["good"]["status"] in ("Completed", "PartiallyCompleted")
    assert sorted(line["recordId"] for line in encrypted.results) == sorted(f"k-{n}" for n in range(RECORDS))


def test_every_object_is_encrypted_with_the_key(encrypted: Encrypted, s3: Any) -> None:
    bucket, key = encrypted.outputs["bucket_name"], encrypted.outputs["kms_key_arn"]
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket)
    versions = [(each["Key"], each["VersionId"]) for page in pages for each in page.get("Versions", [])]

    # what there is to see: staged and written by Bedrock, kept between steps, and what the user gets
    kinds = {name.split("/")[2] for name, _ in versions if name.startswith("jobs/") and name.count("/") > 2}
    assert {"in", "out", "settled"} <= kinds
    assert {name for name, _ in versions if not name.startswith("jobs/")} == {
        "to-process/a/good.jsonl",
        "to-process/a/broken.jsonl",
        "processed/a/good.jsonl.out",
        "processed/a/good.jsonl.summary.json",
        "processed/a/broken.jsonl.rejected.json",
    }
    for name, version in versions:
        head = s3.head_object(Bucket=bucket, Key=name, VersionId=version)
        assert (head.get("ServerSideEncryption"), head.get("SSEKMSKeyId")) == ("aws:kms", key), name


def test_the_table_is_encrypted_with_the_key(encrypted: Encrypted, dynamodb: Any) -> None:
    found = dynamodb.describe_table(TableName=encrypted.outputs["table_name"])["Table"]["SSEDescription"]

    assert (found["SSEType"], found["KMSMasterKeyArn"]) == ("KMS", encrypted.outputs["kms_key_arn"])


def test_dead_letters_are_encrypted_with_the_key(encrypted: Encrypted, sqs: Any) -> None:
    url = encrypted.outputs["dead_letter_queue"]["url"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]

    assert found["KmsMasterKeyId"] == encrypted.outputs["kms_key_arn"]


def test_logs_are_encrypted_with_the_key(encrypted: Encrypted, logs: Any) -> None:
    pages = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix="/aws/lambda/br-kms-")
    found = {group["logGroupName"]: group.get("kmsKeyId") for page in pages for group in page["logGroups"]}

    names = {group["name"] for group in encrypted.outputs["log_groups"].values()}
    assert found == dict.fromkeys(names, encrypted.outputs["kms_key_arn"])


def test_a_second_plan_changes_nothing(encrypted: Encrypted) -> None:
    changes = write_plan(encrypted.terraform, KEY_PLAN)["resource_changes"]

    # LocalStack forgets the key of a function's environment; the policy features look at that in the plan.
    changed = {each["type"] for each in changes if each["change"]["actions"] != ["no-op"]}
    assert changed <= {"aws_lambda_function"}
