"""Three mended services.

PROVIDER_OVERRIDE_DYNAMODB=moto, PROVIDER_OVERRIDE_DYNAMODBSTREAMS=moto, PROVIDER_OVERRIDE_CLOUDWATCH=tagged.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from localstack.services.plugins import Service, aws_provider

from .moto_tables import copy_less

#: From a datapoint to the look at its alarms, which leave out what came in the same second.
ALARM_SECONDS = 2.0
# moto's tables are plain dictionaries: one call at a time keeps conditional writes atomic, and a stream tells
# nothing of a transaction before it is complete.
_LOCK = threading.RLock()


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

    def call(context: Any, request: Any) -> Any:
        with _LOCK:
            return moto.call_moto(context)

    return Service.for_provider(
        MotoDynamoDBProvider(),
        dispatch_table_factory=lambda provider: ForwardingFallbackDispatcher(provider, call),
    )


@aws_provider(api="dynamodbstreams", name="moto")
def dynamodbstreams_moto() -> Service:
    """Return the service: the streams of moto's tables, which event source mappings poll."""
    from localstack.aws.api.dynamodbstreams import DynamodbstreamsApi
    from localstack.aws.forwarder import ForwardingFallbackDispatcher
    from localstack.services import moto

    class MotoDynamoDBStreamsProvider(DynamodbstreamsApi):
        """Every operation falls through to moto."""

    def call(context: Any, request: Any) -> Any:
        with _LOCK:
            return moto.call_moto(context)

    return Service.for_provider(
        MotoDynamoDBStreamsProvider(),
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
    """Return LocalStack's CloudWatch with tags of alarms, which 4.9.2 forgets, and alarms that are quick.

    By itself, it looks at an alarm only once in all its periods.
    """
    from localstack.aws.api import handler
    from localstack.services.cloudwatch.alarm_scheduler import calculate_alarm_state
    from localstack.services.cloudwatch.provider_v2 import CloudwatchProvider
    from localstack.utils.aws import arns

    class TaggedCloudwatchProvider(CloudwatchProvider):
        """Keeps tags, so that a second plan finds them, and evaluates alarms when data come."""

        @handler("PutMetricAlarm", expand=False)
        def put_metric_alarm(self, context: Any, request: Any) -> None:
            """Make the alarm, then tag it."""
            super().put_metric_alarm(context, request)
            if tags := request.get("Tags"):
                arn = arns.cloudwatch_alarm_arn(request["AlarmName"], context.account_id, context.region)
                self.tag_resource(context, arn, tags)

        def put_metric_data(self, context: Any, namespace: str, metric_data: Any = None, **rest: Any) -> None:
            """Store the data, then evaluate the alarms that watch one of the metrics."""
            super().put_metric_data(context, namespace, metric_data, **rest)
            told = {_metric({"Namespace": namespace, **one}) for one in metric_data or ()}
            for arn, alarm in [*self.get_store(context.account_id, context.region).alarms.items()]:
                if _metric(alarm.alarm) in told:
                    look = threading.Timer(ALARM_SECONDS, calculate_alarm_state, (arn,))
                    look.daemon = True
                    look.start()

    return Service.for_provider(TaggedCloudwatchProvider())


def _metric(of: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what identifies the metric of an alarm or of a datapoint."""
    dimensions = sorted((one["Name"], one["Value"]) for one in of.get("Dimensions") or ())
    return of.get("Namespace"), of.get("MetricName"), *dimensions
