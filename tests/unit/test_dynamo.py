"""Calls to DynamoDB and Lambda that are throttled are tried again as long as the invocation has time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from batch_queue.aws.functions import Functions
from batch_queue.aws.patience import MARGIN_SECONDS, Patience
from batch_queue.aws.table.dynamo import Dynamo, Expression, ThrottledError
from botocore.exceptions import ClientError

pytestmark = pytest.mark.unit

SECONDS = 900.0  # what the invocation has
KEY = ("pk", "sk")


class FakeTable:
    """Stands for botocore's clients: each call raises the next of ``errors``, then succeeds.

    The first ``unprocessed`` batches that it reads are left as they are.
    """

    def __init__(self, *errors: ClientError, unprocessed: int = 0) -> None:
        self.errors = list(errors)
        self.unprocessed = unprocessed
        self.calls: list[dict[str, Any]] = []

    def call(self, **arguments: Any) -> dict[str, Any]:
        self.calls.append(arguments)
        if self.errors:
            raise self.errors.pop(0)
        return {"Items": []}

    def batch_get_item(self, RequestItems: Any) -> dict[str, Any]:  # noqa: N803 - boto3's name
        self.call()
        self.unprocessed -= 1
        left = RequestItems if self.unprocessed >= 0 else {}
        return {"Responses": {}, "UnprocessedKeys": left}

    get_item = query = update_item = delete_item = transact_write_items = invoke = call


class Clock:
    """A clock that only the pauses move, each by all that it may take."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, longest: float) -> None:
        self.pauses.append(longest)
        self.now += longest


def canceled(*reasons: str) -> ClientError:
    answer: Any = {
        "Error": {"Code": "TransactionCanceledException"},
        "CancellationReasons": [{"Code": reason} for reason in reasons],
    }
    return ClientError(answer, "TransactWriteItems")


def error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}}, "UpdateItem")


def opened(*errors: ClientError, unprocessed: int = 0) -> tuple[Dynamo, FakeTable, Clock]:
    clock = Clock()
    table = FakeTable(*errors, unprocessed=unprocessed)
    return Dynamo(cast("Any", table), "queue", Patience(clock, SECONDS, clock.pause)), table, clock


Operation = Callable[[Dynamo], object]
CALLS: dict[str, Operation] = {
    "GetItem": lambda dynamo: dynamo.get(KEY),
    "Query": lambda dynamo: dynamo.query("pk = :pk", {":pk": "a"}),
    "BatchGetItem": lambda dynamo: dynamo.batch_get([KEY]),
    "UpdateItem": lambda dynamo: dynamo.update(KEY, {"a": 1}),
    "DeleteItem": lambda dynamo: dynamo.delete(KEY),
    "TransactWriteItems": lambda dynamo: dynamo.transact([{}]),
}
PASSING = [
    "InternalServerError",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
]


@pytest.mark.parametrize("code", PASSING)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_every_call_rides_out_minutes_of_throttling(call: Operation, code: str) -> None:
    # Given a table that answers only after more than ten minutes
    dynamo, table, clock = opened(*[error(code)] * 140)
    # When it is called in an invocation that has fifteen
    call(dynamo)
    # Then the call is made in the end, and the waits grow to a few seconds
    assert len(table.calls) == 141
    assert clock.now > 600
    assert clock.pauses == sorted(clock.pauses)
    assert max(clock.pauses) == 5


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_throttling_that_does_not_end_is_an_error_before_the_function_ends(call: Operation) -> None:
    dynamo, _, clock = opened(*[error("ThrottlingException")] * 1000)
    with pytest.raises(ClientError):
        call(dynamo)
    assert SECONDS - MARGIN_SECONDS - 5 < clock.now <= SECONDS - MARGIN_SECONDS


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_that_cannot_be_right_is_not_tried_again(call: Operation) -> None:
    dynamo, table, _ = opened(error("ValidationException"))
    with pytest.raises(ClientError):
        call(dynamo)
    assert len(table.calls) == 1


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_outside_of_an_invocation_nothing_is_tried_again(call: Operation) -> None:
    table = FakeTable(error("ThrottlingException"))
    with pytest.raises(ClientError):
        call(Dynamo(cast("Any", table), "queue", Patience()))


def test_keys_that_a_batch_leaves_are_read_again_as_long_as_there_is_time() -> None:
    dynamo, table, clock = opened(unprocessed=140)
    assert dynamo.batch_get([KEY]) == []
    assert (len(table.calls), clock.now > 600) == (141, True)
    dynamo, _, _ = opened(unprocessed=1000)
    with pytest.raises(ThrottledError):
        dynamo.batch_get([KEY])


@pytest.mark.parametrize(
    "reason", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"]
)
def test_a_transaction_that_is_canceled_for_a_passing_reason_is_tried_again(reason: str) -> None:
    dynamo, table, _ = opened(*[canceled("None", reason)] * 140)
    assert dynamo.transact([{}])
    assert len(table.calls) == 141
    # A try whose answer was lost is not made a second time: they share their token.
    assert len({call["ClientRequestToken"] for call in table.calls}) == 1
    assert dynamo.transact([{}])
    assert len({call["ClientRequestToken"] for call in table.calls}) == 2


def test_a_condition_that_does_not_hold_ends_a_transaction_at_once() -> None:
    dynamo, table, _ = opened(canceled("ThrottlingError", "ConditionalCheckFailed"))
    assert not dynamo.transact([{}])
    assert len(table.calls) == 1


def test_a_transaction_that_cannot_be_right_is_not_tried_again() -> None:
    dynamo, table, _ = opened(canceled("ValidationError"))
    with pytest.raises(ClientError):
        dynamo.transact([{}])
    assert len(table.calls) == 1


@pytest.mark.parametrize("code", ["TooManyRequestsException", "ServiceException"])
def test_an_event_that_lambda_does_not_accept_is_sent_again(code: str) -> None:
    clock = Clock()
    client = FakeTable(*[error(code)] * 140)
    Functions(cast("Any", client), Patience(clock, SECONDS, clock.pause)).wake("process", {"reason": "x"})
    assert len(client.calls) == 141
    assert client.calls[-1] == client.calls[0]


def test_an_event_that_lambda_refuses_is_not_sent_again() -> None:
    client = FakeTable(error("AccessDeniedException"))
    clock = Clock()
    functions = Functions(cast("Any", client), Patience(clock, SECONDS, clock.pause))
    with pytest.raises(ClientError):
        functions.wake("process", {})
    assert len(client.calls) == 1


def test_an_update_that_meets_a_transaction_is_tried_again() -> None:
    dynamo, table, clock = opened(*[error("TransactionConflictException")] * 2)
    assert dynamo.update(KEY, {"a": 1})
    assert (len(table.calls), len(clock.pauses)) == (3, 2)


def test_an_update_whose_condition_does_not_hold_is_not_tried_again() -> None:
    dynamo, table, _ = opened(error("ConditionalCheckFailedException"))
    assert not dynamo.update(KEY, {"a": 1})
    assert len(table.calls) == 1


def test_an_expression_names_every_attribute() -> None:
    change = Expression().set({"status": "x"}).remove(["owner"]).add({"count": 1})
    assert change.arguments("")["UpdateExpression"] == "SET #status = :status REMOVE #owner ADD #count :count"
    assert change.names == {"#status": "status", "#owner": "owner", "#count": "count"}
