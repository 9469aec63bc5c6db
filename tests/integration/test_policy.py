"""The policy features hold for the plan of an applied stack, whose values are known, and they can fail."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.local_aws.processes import BUILD, ROOT, clean_environment, run
from tools import venv

pytestmark = pytest.mark.policy

FEATURES = ROOT / "tests" / "policy"
#: What holds besides when the input kms_key_arn is given.
KEY_FEATURES = ROOT / "tests" / "policy_customer_key"
#: Longest time that terraform-compliance may take, in seconds.
TIMEOUT = 300.0


@pytest.fixture(scope="session")
def compliance() -> Path:
    """The program, in a virtual environment of its own: its pins hold back what the tests use."""
    python = venv.ensure(BUILD / "policy" / "venv", ROOT / "requirements" / "policy.txt")
    return python.with_name("terraform-compliance")


def check(compliance: Path, plan: Path, features: Path = FEATURES) -> subprocess.CompletedProcess[str]:
    """Run every feature in the folder over the plan; the exit code is 0 only when none failed."""
    # GitPython looks for git when it is imported; nothing here uses it.
    env = clean_environment()
    path = os.pathsep.join([str(compliance.parent), env.get("PATH", os.defpath)])
    env |= {"GIT_PYTHON_REFRESH": "quiet", "HOME": str(BUILD / "policy"), "PATH": path}
    command = [str(compliance), "-f", str(features), "-p", str(plan), "--no-ansi"]
    return run(command, env, ROOT, timeout=TIMEOUT, log=BUILD / "policy" / "terraform-compliance.log")


def values(plan: Any, kind: str) -> list[dict[str, Any]]:
    """Return the values of every resource of a type, wherever terraform-compliance reads them from."""
    found: list[dict[str, Any]] = []

    def walk(module: dict[str, Any]) -> None:
        found.extend(r["values"] for r in module.get("resources", []) if r["type"] == kind)
        for child in module.get("child_modules", []):
            walk(child)

    walk(plan["planned_values"]["root_module"])
    changes = [c for c in plan["resource_changes"] if c["type"] == kind]
    found.extend(c["change"]["after"] for c in changes if c["change"]["after"])
    return found


def policies(plan: Any, kind: str, argument: str = "policy", **where: Any) -> Iterator[Any]:
    """Yield each policy document of the resources that have these values; what is changed in it is kept."""
    for resource in values(plan, kind):
        if all(resource[key] == value for key, value in where.items()):
            document = json.loads(resource[argument])
            yield document["Statement"]
            resource[argument] = json.dumps(document)


def test_there_are_features() -> None:
    for folder in (FEATURES, KEY_FEATURES):
        assert sorted(folder.glob("*.feature")), f"no features in {folder}"


def test_no_scenario_is_skipped_when_there_is_nothing_to_look_at() -> None:
    for file in [*FEATURES.glob("*.feature"), *KEY_FEATURES.glob("*.feature")]:
        lines = [line.strip() for line in file.read_text().splitlines()]
        for before, line in pairwise(lines):
            assert not line.startswith("Scenario") or before == "@noskip", f"{file.name}: {line}"


def test_the_plan_satisfies_every_feature(compliance: Path, plan: Path) -> None:
    done = check(compliance, plan)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_plan_with_a_key_satisfies_every_feature_about_it(compliance: Path, key_plan: Path) -> None:
    done = check(compliance, key_plan, KEY_FEATURES)

    assert done.returncode == 0, done.stdout + done.stderr


def put(kind: str, argument: str, value: Any, **where: Any) -> Callable[[Any], None]:
    """Return what sets an argument of the resources that have these values."""

    def change(plan: Any) -> None:
        for resource in values(plan, kind):
            if all(resource[key] == given for key, given in where.items()):
                resource[argument] = value

    return change


def unencrypted_bucket(plan: Any) -> None:
    for configuration in values(plan, "aws_s3_bucket_server_side_encryption_configuration"):
        configuration["rule"][0]["apply_server_side_encryption_by_default"] = []


def bucket_with_another_key(plan: Any) -> None:
    for configuration in values(plan, "aws_s3_bucket_server_side_encryption_configuration"):
        configuration["rule"][0]["apply_server_side_encryption_by_default"][0]["kms_master_key_id"] = (
            OTHER_KEY
        )


def bucket_without_kms(plan: Any) -> None:
    for configuration in values(plan, "aws_s3_bucket_server_side_encryption_configuration"):
        configuration["rule"][0]["apply_server_side_encryption_by_default"][0]["sse_algorithm"] = "AES256"


def one_function_without_dead_letters(plan: Any) -> None:
    name = min(function["function_name"] for function in values(plan, "aws_lambda_function"))
    put("aws_lambda_function", "dead_letter_config", [], function_name=name)(plan)


def one_rule_without_dead_letters(plan: Any) -> None:
    name = min(target["rule"] for target in values(plan, "aws_cloudwatch_event_target"))
    put("aws_cloudwatch_event_target", "dead_letter_config", [], rule=name)(plan)


def clear_text(kind: str) -> Callable[[Any], None]:
    """Return what lets requests without TLS pass."""

    def change(plan: Any) -> None:
        for statements in policies(plan, kind):
            for statement in statements:
                if statement["Sid"] == "DenyWithoutTls":
                    statement["Condition"] = {"Bool": {"aws:SecureTransport": "true"}}

    return change


def trust_without(operator: str, key: str) -> Callable[[Any], None]:
    """Return what takes a condition out of the trust of Bedrock's role."""

    def change(plan: Any) -> None:
        for statements in policies(plan, "aws_iam_role", "assume_role_policy"):
            for statement in statements:
                statement.get("Condition", {}).get(operator, {}).pop(key, None)

    return change


def trust_in_anybody(plan: Any) -> None:
    for statements in policies(plan, "aws_iam_role", "assume_role_policy"):
        statements[0]["Principal"]["Service"] = "ec2.amazonaws.com"


def foreign_bucket_invokes(plan: Any) -> None:
    foreign = "arn:aws:s3:::somebody-elses-files"
    put("aws_lambda_permission", "source_arn", foreign, principal="s3.amazonaws.com")(plan)


def foreign_rule_invokes(plan: Any) -> None:
    foreign = "arn:aws:events:us-east-1:000000000000:rule/anything"
    put("aws_lambda_permission", "source_arn", foreign, principal="events.amazonaws.com")(plan)


def any_rule_sends_dead_letters(plan: Any) -> None:
    for statements in policies(plan, "aws_sqs_queue_policy"):
        for statement in statements:
            if statement["Effect"] == "Allow":
                statement.pop("Condition")


def anything_with_dead_letters(plan: Any) -> None:
    for statements in policies(plan, "aws_sqs_queue_policy"):
        for statement in statements:
            if statement["Effect"] == "Allow":
                statement["Action"] = "sqs:ReceiveMessage"


def anybody_sends_dead_letters(plan: Any) -> None:
    for statements in policies(plan, "aws_sqs_queue_policy"):
        for statement in statements:
            if statement["Effect"] == "Allow":
                statement["Principal"] = {"Service": "sns.amazonaws.com"}


def role_for_any_service(plan: Any) -> None:
    for statements in policies(plan, "aws_iam_role_policy", name="process-batch-jobs"):
        for statement in statements:
            if statement["Action"] == "iam:PassRole":
                statement.pop("Condition")


def any_role(plan: Any) -> None:
    for statements in policies(plan, "aws_iam_role_policy", name="process-batch-jobs"):
        for statement in statements:
            if statement["Action"] == "iam:PassRole":
                statement["Resource"] = "*"


def every_action(plan: Any) -> None:
    for statements in policies(plan, "aws_iam_role_policy", name="collect-results"):
        statements[0]["Action"] = "dynamodb:*"


def suspended_rule(plan: Any) -> None:
    for configuration in values(plan, "aws_s3_bucket_lifecycle_configuration"):
        configuration["rule"][0]["status"] = "Disabled"


def versions_for_ever(plan: Any) -> None:
    for configuration in values(plan, "aws_s3_bucket_lifecycle_configuration"):
        for rule in configuration["rule"]:
            rule["noncurrent_version_expiration"] = [{"noncurrent_days": 0}]


def key_of_any_service(sid: str) -> Callable[[Any], None]:
    """Return what takes the condition out of the statements that let roles use the key."""

    def change(plan: Any) -> None:
        for statements in policies(plan, "aws_iam_role_policy"):
            for statement in statements:
                if statement["Sid"] == sid:
                    statement.pop("Condition")

    return change


#: An alias is nobody's key for certain.
OTHER_KEY = "alias/aws/other"
NO_RECOVERY = put("aws_dynamodb_table", "point_in_time_recovery", [{"enabled": False}])
UNENCRYPTED_TABLE = put("aws_dynamodb_table", "server_side_encryption", [{"enabled": False}])
SUSPENDED = put("aws_s3_bucket_versioning", "versioning_configuration", [{"status": "Suspended"}])
WITH_LISTS = put("aws_s3_bucket_ownership_controls", "rule", [{"object_ownership": "ObjectWriter"}])

#: What is broken, and a word of the failure that has to be told.
BROKEN: dict[str, tuple[Callable[[Any], None], str]] = {
    "the bucket's encryption": (unencrypted_bucket, "sse_algorithm"),
    "the table's encryption": (UNENCRYPTED_TABLE, "enabled"),
    "the dead letters' encryption": (put("aws_sqs_queue", "sqs_managed_sse_enabled", False), "sse_enabled"),
    "TLS to the bucket": (clear_text("aws_s3_bucket_policy"), "aws:SecureTransport"),
    "TLS to the dead letters": (clear_text("aws_sqs_queue_policy"), "aws:SecureTransport"),
    "public policies": (
        put("aws_s3_bucket_public_access_block", "block_public_policy", False),
        "public_policy",
    ),
    "public lists": (put("aws_s3_bucket_public_access_block", "ignore_public_acls", False), "public_acls"),
    "access control lists": (WITH_LISTS, "object_ownership"),
    "endless logs": (put("aws_cloudwatch_log_group", "retention_in_days", 0), "not more than 0"),
    "versions that stay": (versions_for_ever, "not more than 0"),
    "a lifecycle rule that is off": (suspended_rule, "status"),
    "no versions": (SUSPENDED, "status"),
    "no recovery of the table": (NO_RECOVERY, "enabled"),
    "no tags": (put("aws_dynamodb_table", "tags", {"Team": "a"}), "Queue"),
    "a name of another kind": (put("aws_sqs_queue", "name", "letters"), "name"),
    "a function without dead letters": (one_function_without_dead_letters, "target_arn"),
    "a rule without dead letters": (one_rule_without_dead_letters, "arn property"),
    "dead letters that expire": (put("aws_sqs_queue", "message_retention_seconds", 60), "retention_seconds"),
    "Bedrock for other accounts": (trust_without("StringEquals", "aws:SourceAccount"), "aws:SourceAccount"),
    "Bedrock for anything": (trust_without("ArnEquals", "aws:SourceArn"), "aws:SourceArn"),
    "roles for other services": (trust_in_anybody, "Service"),
    "S3 for other accounts": (put("aws_lambda_permission", "source_account", "0"), "source_account"),
    "S3 for other buckets": (foreign_bucket_invokes, "source_arn"),
    "EventBridge for other rules": (foreign_rule_invokes, "source_arn"),
    "other services invoke": (put("aws_lambda_permission", "principal", "sns.amazonaws.com"), "principal"),
    "more than invoking": (put("aws_lambda_permission", "action", "lambda:*"), "action"),
    "dead letters of other rules": (any_rule_sends_dead_letters, "Condition"),
    "more than sending": (anything_with_dead_letters, "Action"),
    "dead letters of other services": (anybody_sends_dead_letters, "Service"),
    "the role for other services": (role_for_any_service, "Condition"),
    "any role for Bedrock": (any_role, "Resource"),
    "an action with a wildcard": (every_action, "Action"),
}
BROKEN_KEY: dict[str, tuple[Callable[[Any], None], str]] = {
    "a bucket without KMS": (bucket_without_kms, "sse_algorithm"),
    "a bucket with another key": (bucket_with_another_key, "kms_master_key_id"),
    "a table without the key": (UNENCRYPTED_TABLE, "kms_key_arn"),
    "dead letters with another key": (
        put("aws_sqs_queue", "kms_master_key_id", OTHER_KEY),
        "kms_master_key_id",
    ),
    "logs with another key": (put("aws_cloudwatch_log_group", "kms_key_id", OTHER_KEY), "kms_key_id"),
    "functions with another key": (put("aws_lambda_function", "kms_key_arn", OTHER_KEY), "kms_key_arn"),
    "the key for files by itself": (key_of_any_service("UseKeyForFilesAndDeadLetters"), "Condition"),
    "the key for the table by itself": (key_of_any_service("UseKeyForTable"), "Condition"),
    "the key for any environment": (key_of_any_service("UseKeyForOwnEnvironment"), "Condition"),
    "the key for Bedrock by itself": (key_of_any_service("UseKeyForFiles"), "Condition"),
}


def check_broken(
    compliance: Path, plan: Path, folder: Path, broken: tuple[Callable[[Any], None], str], features: Path
) -> None:
    """Assert that a feature minds the broken plan, and says what is wrong with it."""
    break_it, word = broken
    changed = json.loads(plan.read_text())
    break_it(changed)
    file = folder / "plan.json"
    file.write_text(json.dumps(changed))

    done = check(compliance, file, features)

    said = [line for line in done.stdout.splitlines() if "Failure:" in line and word in line]
    assert said, f"no feature minds it:\n{done.stdout}"


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_plan_fails(
    compliance: Path, plan: Path, tmp_path: Path, broken: tuple[Callable[[Any], None], str]
) -> None:
    check_broken(compliance, plan, tmp_path, broken, FEATURES)


@pytest.mark.parametrize("broken", BROKEN_KEY.values(), ids=BROKEN_KEY)
def test_a_broken_plan_with_a_key_fails(
    compliance: Path, key_plan: Path, tmp_path: Path, broken: tuple[Callable[[Any], None], str]
) -> None:
    check_broken(compliance, key_plan, tmp_path, broken, KEY_FEATURES)
