"""Two mended services: PROVIDER_OVERRIDE_DYNAMODB=moto and PROVIDER_OVERRIDE_CLOUDWATCH=tagged."""

from __future__ import annotations

import threading
from typing import Any

from localstack.services.plugins import Service, aws_provider

from .moto_tables import copy_less


@aws_provider(api="dynamodb", name="moto")
def dynamodb_moto() -> Service:
    """Return the service. LocalStack's own provider would download a Java program."""
    from localstack.aws.api.dynamodb import DynamodbApi
    from localstack.aws.forwarder import ForwardingFallbackDispatcher
    from localstack.services import moto

    class MotoDynamoDBProvider(DynamodbApi):
        """Every operation falls through to moto."""

    _keep_booleans()
    copy_less()
    # moto's tables are plain dictionaries: one call at a time keeps conditional writes atomic.
    lock = threading.RLock()

    def call(context: Any, request: Any) -> Any:
        with lock:
            return moto.call_moto(context)

    return Service.for_provider(
        MotoDynamoDBProvider(),
        dispatch_table_factory=lambda provider: ForwardingFallbackDispatcher(provider, call),
    )


def _keep_booleans() -> None:
    """Have moto store a boolean of AttributeUpdates, as Terraform changes a table item with, as a boolean.

    By itself it stores a string that is no string, which Terraform's provider then cannot read.
    """
    from moto.dynamodb.models import dynamo_type

    item_class: Any = dynamo_type.Item
    others = item_class.update_with_attribute_updates

    def update(item: Any, changes: dict[str, dict[str, Any]]) -> None:
        puts = {
            name: change["Value"]
            for name, change in changes.items()
            if change.get("Action", "PUT") == "PUT" and "BOOL" in change.get("Value", {})
        }
        others(item, {name: change for name, change in changes.items() if name not in puts})
        item.attrs.update({name: dynamo_type.DynamoType(value) for name, value in puts.items()})

    item_class.update_with_attribute_updates = update


@aws_provider(api="cloudwatch", name="tagged")
def cloudwatch_tagged() -> Service:
    """Return LocalStack's CloudWatch, which in 4.9.2 forgets the tags that an alarm is made with."""
    from localstack.aws.api import handler
    from localstack.services.cloudwatch.provider_v2 import CloudwatchProvider
    from localstack.utils.aws import arns

    class TaggedCloudwatchProvider(CloudwatchProvider):
        """Keeps them, so that a second plan finds them."""

        @handler("PutMetricAlarm", expand=False)
        def put_metric_alarm(self, context: Any, request: Any) -> None:
            """Make the alarm, then tag it."""
            super().put_metric_alarm(context, request)
            if tags := request.get("Tags"):
                arn = arns.cloudwatch_alarm_arn(request["AlarmName"], context.account_id, context.region)
                self.tag_resource(context, arn, tags)

    return Service.for_provider(TaggedCloudwatchProvider())
