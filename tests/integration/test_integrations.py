"""Workflows of Step Functions that wait for an upload, made from the definitions in docs/integrations.

LocalStack runs all of their integrations, with the real stack behind them, but enforces no IAM: the policies
of the roles in docs/integrations.md are not run here. It also accepts a token that was used before, where AWS
answers TaskTimedOut: the branch that catches this is not run either.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.user import FAST, Queue, converse, eventually, lines
from tests.local_aws.environment import LocalAws
from tests.local_aws.processes import ROOT

pytestmark = pytest.mark.integration

SECONDS = 120.0
#: Of the route "single", which takes 100 records for a job.
PREFIX = "to-process/single/workflows/"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"Service": ["events.amazonaws.com", "states.amazonaws.com"]},
        }
    ],
}


def definition(name: str, values: dict[str, str]) -> str:
    """A definition as Terraform's templatefile renders it."""
    text = (ROOT / "docs" / "integrations" / f"{name}.asl.json").read_text(encoding="utf-8")
    return re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], text)


@dataclass
class Workflows:
    """The state machines of docs/integrations.md on the stack."""

    sfn: Any
    s3: Any
    bucket: str
    machines: dict[str, str]
    tokens: Any

    def start(self, body: bytes) -> str:
        """Prepares a file, and starts a workflow that runs it; returns its execution."""
        key = f"prepared/{uuid4().hex}.jsonl"
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)
        return self.start_with(f"{self.bucket}/{key}")

    def start_with(self, source: str) -> str:
        """Starts a workflow that runs the file ``source``; returns its execution."""
        answer = self.sfn.start_execution(
            stateMachineArn=self.machines["workflow"], input=json.dumps({"source": source})
        )
        return str(answer["executionArn"])

    def end(self, execution: str) -> dict[str, Any]:
        """Waits until an execution has ended; returns what Step Functions says of it."""

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.sfn.describe_execution(executionArn=execution)
            return found if found["status"] != "RUNNING" else None

        return eventually(look, SECONDS, "the end of a workflow")

    def reported(self, event_id: str) -> dict[str, Any]:
        """Waits until the event with this ID was reported; returns the execution that did."""

        def look() -> dict[str, Any] | None:
            pages = self.sfn.get_paginator("list_executions")
            for page in pages.paginate(stateMachineArn=self.machines["report"]):
                for one in page["executions"]:
                    found: dict[str, Any] = self.sfn.describe_execution(executionArn=one["executionArn"])
                    if json.loads(found["input"])["id"] == event_id and found["status"] != "RUNNING":
                        return found
            return None

        return eventually(look, SECONDS, "the report of an event")


@pytest.fixture(scope="module")
def workflows(
    stack: LocalAws, aws: Any, s3: Any, iam: Any, events: Any, bucket: str, outputs: dict[str, Any]
) -> Iterator[Workflows]:
    """The three state machines, the table of tokens and the rule, as docs/integrations.md shows them."""
    name, sfn, about = f"{stack.name}-workflows", aws.client("stepfunctions"), outputs["events"]
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    tokens = aws.resource("dynamodb").create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    values = {"bucket": bucket, "table": name, "prefix": PREFIX}
    machines: dict[str, str] = {}
    for kind in ("submit", "report", "workflow"):
        machines[kind] = sfn.create_state_machine(
            name=f"{name}-{kind}", definition=definition(kind, values), roleArn=role
        )["stateMachineArn"]
        values[f"{kind}_arn"] = machines[kind]
    pattern = {
        "source": [about["source"]],
        "detail-type": ["Upload Ended"],
        "detail": {"queue": [about["queue"]], "key": [{"prefix": PREFIX}]},
    }
    events.put_rule(Name=name, EventBusName=about["bus_name"], EventPattern=json.dumps(pattern))
    target = {"Id": "report", "Arn": machines["report"], "RoleArn": role}
    events.put_targets(Rule=name, EventBusName=about["bus_name"], Targets=[target])
    yield Workflows(sfn, s3, bucket, machines, tokens)
    events.remove_targets(Rule=name, EventBusName=about["bus_name"], Ids=["report"])
    events.delete_rule(Name=name, EventBusName=about["bus_name"])
    for machine in machines.values():
        sfn.delete_state_machine(stateMachineArn=machine)
    tokens.delete()
    iam.delete_role(RoleName=name)


def test_a_workflow_goes_on_when_its_upload_has_run(queue: Queue, workflows: Workflows, s3: Any) -> None:
    # Given a workflow that runs a file
    queue.simulator.configure(models={"*": FAST})
    execution = workflows.start(lines(converse(100, "workflow")))
    # When the upload has ended
    end = workflows.end(execution)
    # Then the workflow has succeeded, with the detail of the event
    assert end["status"] == "SUCCEEDED", end.get("cause")
    detail = json.loads(end["output"])
    assert (detail["status"], detail["successes"]) == ("Completed", 100)
    # And its token is deleted
    gone = {"key": detail["key"]}
    eventually(
        lambda: None if "Item" in workflows.tokens.get_item(Key=gone) else gone, SECONDS, "the end of a token"
    )
    # And the result that the event names is there
    result = detail["result"]
    s3.head_object(Bucket=detail["bucket"], Key=result["key"], VersionId=result["version_id"])


def test_a_workflow_fails_with_the_message_of_a_rejected_upload(queue: Queue, workflows: Workflows) -> None:
    end = workflows.end(workflows.start(lines(converse(1, "workflow")) + b"{"))
    assert (end["status"], end["error"]) == ("FAILED", "Rejected")
    assert "line 2" in end["cause"]


def test_a_workflow_fails_when_its_file_cannot_be_uploaded(workflows: Workflows) -> None:
    end = workflows.end(workflows.start_with(f"{workflows.bucket}/prepared/nowhere.jsonl"))
    assert (end["status"], end["error"]) == ("FAILED", "NotUploaded")
    assert "S3.NoSuchKeyException" in end["cause"]


def test_an_event_for_which_no_task_waits_changes_nothing(
    workflows: Workflows, events: Any, outputs: dict[str, Any]
) -> None:
    # Given an event that comes again after its token was deleted
    about = outputs["events"]
    detail = {
        "queue": about["queue"],
        "key": f"{PREFIX}{uuid4().hex}.jsonl",
        "status": "Completed",
        "message": None,
    }
    entry = {
        "Source": about["source"],
        "DetailType": "Upload Ended",
        "EventBusName": about["bus_name"],
        "Detail": json.dumps(detail),
    }
    (sent,) = events.put_events(Entries=[entry])["Entries"]
    # Then its report ends without an error
    assert workflows.reported(sent["EventId"])["status"] == "SUCCEEDED"
