"""Writes to DynamoDB that are throttled or meet another transaction are tried again."""

from __future__ import annotations

from typing import Any, cast

import pytest
from batch_queue.aws.table.dynamo import Dynamo, Expression
from botocore.exceptions import ClientError

pytestmark = pytest.mark.unit


class FakeTable:
    """Stands for boto3's Table: each write raises the next of ``errors``, then succeeds."""

    name = "queue"

    def __init__(self, *errors: ClientError) -> None:
        self.errors = list(errors)
        self.calls = 0
        self.meta = self
        self.client = self

    def transact_write_items(self, **_: Any) -> None:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)

    update_item = transact_write_items


def canceled(*reasons: str) -> ClientError:
    answer: Any = {
        "Error": {"Code": "TransactionCanceledException"},
        "CancellationReasons": [{"Code": reason} for reason in reasons],
    }
    return ClientError(answer, "TransactWriteItems")


def error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}}, "UpdateItem")


def opened(*errors: ClientError) -> tuple[Dynamo, FakeTable, list[float]]:
    pauses: list[float] = []
    table = FakeTable(*errors)
    return Dynamo(cast("Any", table), pause=pauses.append), table, pauses


PASSING = ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"]


@pytest.mark.parametrize("reason", PASSING)
def test_a_transaction_that_is_canceled_for_a_passing_reason_is_tried_again(reason: str) -> None:
    dynamo, table, pauses = opened(*[canceled("None", reason)] * 6)
    assert dynamo.transact([{}])
    assert table.calls == 7
    assert pauses == sorted(pauses), "it waits longer each time"
    assert max(pauses) <= 5


def test_a_condition_that_does_not_hold_ends_a_transaction_at_once() -> None:
    dynamo, table, _ = opened(canceled("ThrottlingError", "ConditionalCheckFailed"))
    assert not dynamo.transact([{}])
    assert table.calls == 1


def test_a_transaction_that_cannot_be_right_is_not_tried_again() -> None:
    dynamo, table, _ = opened(canceled("ValidationError"))
    with pytest.raises(ClientError):
        dynamo.transact([{}])
    assert table.calls == 1


def test_throttling_that_does_not_end_is_an_error() -> None:
    dynamo, _, pauses = opened(*[canceled("ThrottlingError")] * 100)
    with pytest.raises(ClientError):
        dynamo.transact([{}])
    assert 30 < sum(pauses) < 120, "half a minute is more than a hot partition takes to split"


def test_an_update_that_meets_a_transaction_is_tried_again() -> None:
    dynamo, table, pauses = opened(*[error("TransactionConflictException")] * 2)
    assert dynamo.update(("pk", "sk"), {"a": 1})
    assert (table.calls, len(pauses)) == (3, 2)


def test_an_update_whose_condition_does_not_hold_is_not_tried_again() -> None:
    dynamo, table, _ = opened(error("ConditionalCheckFailedException"))
    assert not dynamo.update(("pk", "sk"), {"a": 1})
    assert table.calls == 1


def test_an_expression_names_every_attribute() -> None:
    change = Expression().set({"status": "x"}).remove(["owner"]).add({"count": 1})
    assert change.arguments("")["UpdateExpression"] == "SET #status = :status REMOVE #owner ADD #count :count"
    assert change.names == {"#status": "status", "#owner": "owner", "#count": "count"}
