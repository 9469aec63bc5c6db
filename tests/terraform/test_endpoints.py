"""What roles may do, the endpoints and the permissions boundary of examples/complete let through.

The lists are read from the module's and the example's local values, with every option that adds a statement,
whether or not the example uses it. `terraform console` reads them without a plan and without AWS.
"""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tools import checks

pytestmark = pytest.mark.terraform

COMPLETE = checks.ROOT / "examples" / "complete"
#: The example's endpoints by the service that an action names. Bedrock has one for jobs and one for models.
ENDPOINTS = {
    "bedrock": ("bedrock", "bedrock-runtime"),
    "dynamodb": ("dynamodb",),
    "events": ("events",),
    "lambda": ("lambda",),
    "s3": ("s3",),
    "sns": ("sns",),
}
#: What Lambda itself does in the name of a role, from outside the VPC: it reads the stream of the table.
BY_LAMBDA = {
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "dynamodb:ListStreams",
}
#: By role and policy, the actions of the statements that allow something.
ROLES = """{ for key, statements in local.statements : key => flatten([
  for statement in statements : statement.actions if lookup(statement, "effect", "Allow") == "Allow"
]) }"""


def value(folder: Path, expression: str, **variables: str) -> dict[str, list[str]]:
    """Return the value of an expression in the module of a folder."""
    given = [f"-var={name}={text}" for name, text in variables.items()]
    started = checks.terraform_in(folder, "init", "-backend=false", "-input=false", "-no-color")
    assert started.returncode == 0, started.stdout + started.stderr
    done = checks.terraform_in(
        folder, "console", *given, text=f"jsonencode({' '.join(expression.split())})\n"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # The console shows a string as a literal of the language, which JSON can read too.
    found: dict[str, list[str]] = json.loads(json.loads(done.stdout.strip().splitlines()[-1]))
    return found


@pytest.fixture(scope="module")
def roles() -> dict[str, list[str]]:
    """The actions that each role may use, whatever the inputs are."""
    return value(checks.ROOT, ROLES, model_id="amazon.nova-lite-v1:0")


@pytest.fixture(scope="module")
def used(roles: dict[str, list[str]]) -> set[str]:
    """What the module's own roles may do. Those of other stacks are where they are."""
    own = (actions for name, actions in roles.items() if not name.startswith("policy_"))
    return {action for actions in own for action in actions}


@pytest.fixture(scope="module")
def endpoints() -> dict[str, list[str]]:
    """The actions that each endpoint lets through."""
    return value(COMPLETE, "{ for name, endpoint in local.endpoints : name => endpoint.actions }")


@pytest.fixture(scope="module")
def boundary() -> list[str]:
    """The actions, as patterns, that the boundary lets through."""
    return value(COMPLETE, "{ actions = local.boundary_actions }")["actions"]


def test_every_role_is_looked_at(roles: dict[str, list[str]]) -> None:
    functions = {
        "create_batch_queue",
        "process_batch_jobs",
        "collect_results",
        "operate_queue",
        "publish_events",
    }
    policies = {"policy_submit", "policy_read", "policy_operate"}

    assert roles.keys() == functions | {f"{name}_runtime" for name in functions} | policies | {"bedrock"}
    # what only options add
    assert {"ec2:CreateTags", "kms:GenerateDataKey", "bedrock:InvokeModel"} <= set(roles["bedrock"])
    assert {"ec2:CreateNetworkInterface", "kms:Decrypt"} <= set(roles["collect_results_runtime"])
    assert "bedrock:InvokeModel" in roles["collect_results"]
    assert {"sns:Publish", "kms:GenerateDataKey"} <= set(roles["publish_events"])
    assert {action for actions in roles.values() for action in actions} >= BY_LAMBDA


def test_every_endpoint_is_looked_at(endpoints: dict[str, list[str]]) -> None:
    assert endpoints.keys() == {name for names in ENDPOINTS.values() for name in names}


@pytest.mark.parametrize("service", ENDPOINTS)
def test_an_endpoint_lets_through_what_roles_may_do_and_no_more(
    used: set[str], endpoints: dict[str, list[str]], service: str
) -> None:
    of_service = {action for action in used if action.startswith(f"{service}:")}

    assert of_service - BY_LAMBDA == {action for name in ENDPOINTS[service] for action in endpoints[name]}


def test_the_boundary_lets_through_what_roles_may_do_and_no_more(used: set[str], boundary: list[str]) -> None:
    # passing roles has a statement of its own in the boundary
    used = used - {"iam:PassRole"}

    assert {action for action in used if not any(fnmatchcase(action, each) for each in boundary)} == set()
    assert {each for each in boundary if not any(fnmatchcase(action, each) for action in used)} == set()
