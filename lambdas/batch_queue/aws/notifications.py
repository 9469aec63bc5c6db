"""Adapter for SNS: publishes messages for people."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from batch_queue.core.notices import Notice

from .patience import Patience

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

# Why SNS does not accept a message now (SNS API reference, Publish).
_PASSING = {"InternalError", "KMSThrottling", "Throttled", "Throttling", "ThrottlingException"}


class Notifications:
    """Publishes messages to the topic ``topic`` (an ARN)."""

    def __init__(self, client: SNSClient, topic: str, patience: Patience) -> None:
        self._sns = client
        self._topic = topic
        self._patience = patience

    def within(self, patience: Patience) -> Notifications:
        """Returns the same topic for an invocation that has this much patience."""
        return Notifications(self._sns, self._topic, patience)

    def publish(self, notice: Notice) -> None:
        """Publishes one message. Raises ClientError if SNS does not accept it in the invocation's time."""
        publish = partial(
            self._sns.publish,
            TopicArn=self._topic,
            Subject=notice.subject,
            Message=notice.body,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value}
                for name, value in notice.attributes.items()
            },
        )
        self._patience.call(publish, _passing)


def _passing(error: ClientError) -> bool:
    return error.response["Error"]["Code"] in _PASSING
