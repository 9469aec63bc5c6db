"""Events and messages of the real stack: from the table's stream to a rule, and to a topic."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.user import FAST, Queue, converse, eventually, lines, requests
from tests.local_aws.environment import LocalAws
from tests.support.told import check_schema

pytestmark = pytest.mark.integration

SECONDS = 90.0
Wanted = Callable[[Any], bool]


class Inbox:
    """A queue of the test's own, which keeps what arrives."""

    def __init__(self, sqs: Any, name: str) -> None:
        self._sqs = sqs
        self.url = sqs.create_queue(QueueName=name)["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        self.arn = attributes["Attributes"]["QueueArn"]
        self.bodies: list[str] = []

    def find(self, wanted: Wanted, what: str) -> Any:
        """Waits for a message that ``wanted`` takes; gives what is in it."""

        def look() -> Any:
            answer = self._sqs.receive_message(
                QueueUrl=self.url, MaxNumberOfMessages=10, WaitTimeSeconds=1, MessageAttributeNames=["All"]
            )
            for message in answer.get("Messages", []):
                self.bodies.append(message["Body"])
                self._sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
            return next((one for one in map(json.loads, self.bodies) if wanted(one)), None)

        return eventually(look, SECONDS, what)


@pytest.fixture(scope="module")
def bus(stack: LocalAws, events: Any, sqs: Any, outputs: dict[str, Any]) -> Iterator[Inbox]:
    """What a rule for the events of the queue receives, made from the module's output."""
    name = f"{stack.name}-heard"
    inbox, about = Inbox(sqs, name), outputs["events"]
    pattern = {"source": [about["source"]], "detail": {"queue": [about["queue"]]}}
    events.put_rule(Name=name, EventBusName=about["bus_name"], EventPattern=json.dumps(pattern))
    target = {"Id": "queue", "Arn": inbox.arn}
    events.put_targets(Rule=name, EventBusName=about["bus_name"], Targets=[target])
    yield inbox
    events.remove_targets(Rule=name, EventBusName=about["bus_name"], Ids=["queue"])
    events.delete_rule(Name=name, EventBusName=about["bus_name"])
    sqs.delete_queue(QueueUrl=inbox.url)


@pytest.fixture(scope="module")
def people(stack: LocalAws, aws: Any, sqs: Any, outputs: dict[str, Any]) -> Iterator[Inbox]:
    """What a subscriber of the topic receives."""
    inbox, sns = Inbox(sqs, f"{stack.name}-mail"), aws.client("sns")
    subscription = sns.subscribe(
        TopicArn=outputs["topic_arn"], Protocol="sqs", Endpoint=inbox.arn, ReturnSubscriptionArn=True
    )
    yield inbox
    sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
    sqs.delete_queue(QueueUrl=inbox.url)


def about(kind: str, **attributes: Any) -> Wanted:
    """Takes an event of a kind whose detail has these attributes."""
    return lambda event: (
        event["detail-type"] == kind
        and all(event["detail"].get(name) == value for name, value in attributes.items())
    )


def test_a_rule_receives_each_kind_of_event_of_an_upload_that_runs(
    queue: Queue, bus: Inbox, bucket: str, s3: Any
) -> None:
    # Given an upload that is large enough for a job of its own
    queue.simulator.configure(models={"*": FAST})
    upload_id = queue.upload(f"single/events-{uuid4().hex}.jsonl", lines(converse(100, "event")))
    (row,) = queue.ended(upload_id)
    # Then a rule of the user's receives how it began and ended, and so of its job
    accepted = bus.find(about("Upload Accepted", upload_id=upload_id), "Upload Accepted")
    ended = bus.find(about("Upload Ended", upload_id=upload_id), "Upload Ended")
    (arn,) = row["job_arns"]
    submitted = bus.find(about("Job Submitted", job_arn=arn), "Job Submitted")
    finished = bus.find(about("Job Ended", job_arn=arn), "Job Ended")
    # And each fits its schema, and names what is there
    for event in (accepted, ended, submitted, finished):
        check_schema(event)
    assert accepted["detail"]["records"] == 100
    assert ended["resources"] == [f"arn:aws:s3:::{bucket}/{row['key']}"]
    assert ended["detail"]["job_arns"] == [arn]
    assert finished["detail"]["status"] == "Completed"
    result, summary = ended["detail"]["result"], ended["detail"]["summary_key"]
    s3.head_object(Bucket=bucket, Key=result["key"], VersionId=result["version_id"])
    assert json.loads(s3.get_object(Bucket=bucket, Key=summary)["Body"].read())["successes"] == 100


def test_a_rejected_upload_is_told_of_to_the_bus_and_to_people(
    queue: Queue, bus: Inbox, people: Inbox, bucket: str, s3: Any
) -> None:
    key = f"events-{uuid4().hex}.jsonl"
    upload_id = queue.upload(key, lines(requests(1, "event")) + b"{")
    queue.ended(upload_id)
    event = bus.find(about("Upload Ended", upload_id=upload_id), "Upload Ended")
    check_schema(event)
    assert event["detail"]["status"] == "Rejected"
    s3.head_object(Bucket=bucket, Key=event["detail"]["rejection_report_key"])
    message = people.find(lambda one: key in one["Message"], "a message for people")
    assert message["Subject"].endswith(f": Rejected: to-process/{key}")
    assert f"s3://{bucket}/{event['detail']['rejection_report_key']}" in message["Message"]
    assert message["MessageAttributes"]["status"]["Value"] == "Rejected"
