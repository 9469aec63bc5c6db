"""An alarm on the real stack: from a line that a function prints to a message that a person gets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.conftest import ALARM_TOPIC
from tests.integration.user import eventually

SECONDS = 60.0


@pytest.fixture
def inbox(aws: Any, sqs: Any) -> Iterator[str]:
    """Who is on call: the URL of a queue that gets what is published to the alarms' topic."""
    sns = aws.client("sns")
    topic = sns.create_topic(Name=ALARM_TOPIC.rsplit(":", 1)[1])["TopicArn"]
    assert topic == ALARM_TOPIC
    url = sqs.create_queue(QueueName="on-call")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    yield str(url)
    sqs.delete_queue(QueueUrl=url)
    sns.delete_topic(TopicArn=topic)


def test_a_rejected_upload_raises_its_alarm_and_somebody_hears_of_it(
    s3: Any, sqs: Any, cloudwatch: Any, bucket: str, outputs: dict[str, Any], inbox: str
) -> None:
    # Given an alarm that is not raised, and somebody who is on call
    alarm = outputs["alarms"]["rejected_uploads"]["name"]
    cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="OK", StateReason="the test begins")

    def heard() -> dict[str, Any] | None:
        found = sqs.receive_message(QueueUrl=inbox, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        messages = [json.loads(json.loads(one["Body"])["Message"]) for one in found.get("Messages", [])]
        raised = [one for one in messages if (one["AlarmName"], one["NewStateValue"]) == (alarm, "ALARM")]
        return raised[0] if raised else None

    # When a file with an error is uploaded
    s3.put_object(Bucket=bucket, Key="to-process/alarm/bad.jsonl", Body=b"{")
    # Then a message comes, and says where the runbook has it
    message = eventually(heard, SECONDS, "a message about the alarm")
    assert message["AlarmDescription"].endswith("See docs/operations.md#uploads-are-rejected.")
    (state,) = cloudwatch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"]
    assert state["StateValue"] == "ALARM"


def test_the_dashboard_is_there_as_it_was_planned(cloudwatch: Any, outputs: dict[str, Any]) -> None:
    found = cloudwatch.get_dashboard(DashboardName=outputs["dashboard"]["name"])
    titles = [
        widget["properties"].get("title", "") for widget in json.loads(found["DashboardBody"])["widgets"]
    ]
    assert [title.split("?")[0] for title in titles if "?" in title] == [
        "Does it work",
        "Does it keep up",
        "What failed",
        "What does it cost",
    ]
