"""The harness of the load tests: time, threads, throttling and Lambda are as they are meant to be."""

from __future__ import annotations

from collections import Counter
from functools import partial
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from botocore.exceptions import ClientError

from tests.support import fake_lambda
from tests.support.capacity import Capacity, size_of
from tests.support.fake_dynamo import FakeDynamo
from tests.support.fake_expressions import condition, updated
from tests.support.fake_lambda import FakeLambda
from tests.support.fake_pool import Pool
from tests.support.memory_s3 import MemoryS3
from tests.support.meter import LATENCIES, Invocation, Meter
from tests.support.turns import Turns

CPU = 0.001
GET = LATENCIES["GetObject"]


def run(meter: Meter, code: Any, timeout: float = 100.0) -> Invocation:
    """Runs code as an invocation."""
    invocation = Invocation("process", 0.0, timeout)

    def actor() -> None:
        with meter.within(invocation):
            code()
        invocation.ended = meter.turns.now

    meter.turns.start(actor)
    meter.turns.run()
    return invocation


def dynamo(meter: Meter, *, limits: bool = True, writes: float = 1000.0) -> FakeDynamo:
    return FakeDynamo(meter, Capacity(meter.turns, limits=limits, writes=writes), Random(0))


def put(pk: str, sk: str = "s", **attributes: str) -> dict[str, Any]:
    item = {"pk": pk, "sk": sk, **attributes}
    return {"TableName": "queue", "Item": {name: {"S": value} for name, value in item.items()}}


def test_calls_one_after_the_other_take_their_sum() -> None:
    meter = Meter(Turns())

    def code() -> None:
        for _ in range(10):
            meter.call("GetObject")

    found = run(meter, code)
    assert found.seconds == pytest.approx(10 * (GET + CPU))
    assert (found.calls, meter.calls["process", "GetObject"]) == (10, 10)


def test_calls_at_once_overlap_but_share_one_cpu() -> None:
    meter = Meter(Turns())

    def step(at: int) -> int:
        meter.call("GetObject")
        return at

    def code() -> None:
        with Pool(meter, 32) as pool:
            assert list(pool.map(step, range(64))) == list(range(64))

    # Two waves of 32; in each, the CPU makes one request after the other, in more time than S3 takes
    assert run(meter, code).seconds == pytest.approx(64 * CPU + GET, abs=GET / 2)


def test_an_error_in_a_pool_is_raised_where_its_result_is_taken() -> None:
    meter = Meter(Turns())
    made = []

    def step(at: int) -> None:
        meter.call("GetObject")
        made.append(at)
        if at == 0:
            raise KeyError(at)

    def code() -> None:
        with pytest.raises(KeyError), Pool(meter, 1) as pool:
            list(pool.map(step, range(5)))

    run(meter, code)
    assert made[0] == 0
    assert len(made) < 5


def test_a_partition_takes_a_thousand_units_a_second_and_saves_one_second() -> None:
    meter = Meter(Turns())
    table = dynamo(meter, writes=10.0)
    found = run(meter, lambda: [table.put_item(**put("a", str(number))) for number in range(20)])
    # Ten are saved, and the other ten come at ten a second or are tried again by botocore
    assert found.seconds > 0.9
    assert meter.throttled["PutItem"] > 0
    assert meter.units["process", "write"] == 20


def test_a_transaction_costs_twice_as_much_in_the_table_but_not_in_the_index() -> None:
    meter = Meter(Turns())
    table = dynamo(meter)
    put_one = {"Put": put("a", status_key="upload#Pending", order_key="1")}
    run(meter, lambda: table.transact_write_items(TransactItems=[put_one]))
    assert meter.units["process", "write"] == 3
    assert meter.worst_second("a") == 1


def test_a_transaction_that_is_throttled_is_canceled_at_once() -> None:
    meter = Meter(Turns())
    table = dynamo(meter, writes=1.0)
    told = []

    def code() -> None:
        for number in range(2):
            try:
                table.transact_write_items(TransactItems=[{"Put": put("a", str(number))}])
            except ClientError as error:
                answer: Any = error.response
                told.append(answer["CancellationReasons"])

    run(meter, code)
    assert told == [[{"Code": "ThrottlingError"}]]


def test_a_condition_that_does_not_hold_changes_nothing() -> None:
    meter = Meter(Turns())
    table = dynamo(meter)
    table.put_item(**put("a", color="red"))
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        table.put_item(**put("a", color="blue"), ConditionExpression="attribute_not_exists(pk)")
    assert table.rows.of("a")[0]["color"] == {"S": "red"}


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("attribute_exists(n)", True),
        ("attribute_not_exists(#x) AND n >= :two", True),
        ("n < :two OR (n = :two AND NOT n <> :two)", True),
        ("#x <> :two", True),
        ("#x = :two", False),
        ("n IN (:three, :two)", True),
        ("n IN (:three)", False),
        ("n BETWEEN :two AND :three", True),
        ("begins_with(t, :te)", True),
        ("begins_with(#x, :te)", False),
    ],
)
def test_conditions(expression: str, holds: bool) -> None:
    item = {"n": {"N": "2"}, "t": {"S": "text"}}
    values = {":two": {"N": "2"}, ":three": {"N": "3"}, ":te": {"S": "te"}}
    assert condition(expression)(item, {"#x": "missing"}, values) is holds


def test_an_expression_that_is_not_understood_is_an_error() -> None:
    with pytest.raises(ValueError, match="not understood"):
        condition("size(n) > :two")


def test_an_update_sets_removes_and_adds() -> None:
    item = {"n": {"N": "2"}, "gone": {"S": "x"}, "tags": {"SS": ["b"]}}
    values = {":one": {"N": "1"}, ":new": {"S": "y"}, ":tags": {"SS": ["a"]}}
    found = updated(item, "SET #s = :new REMOVE gone ADD n :one, tags :tags", {"#s": "set"}, values)
    assert found == {"n": {"N": "3"}, "set": {"S": "y"}, "tags": {"SS": ["a", "b"]}}


def test_the_size_of_an_item_counts_names_and_values() -> None:
    item = {"pk": {"S": "é"}, "n": {"N": "1234"}, "l": {"L": [{"M": {"a": {"BOOL": True}}}]}}
    assert size_of(item) == (2 + 2) + (1 + 3) + (1 + 3 + 1 + 3 + 1 + 1 + 1)


def test_a_query_gives_pages_in_order() -> None:
    meter = Meter(Turns())
    table = dynamo(meter)
    for number in (3, 1, 2):
        table.put_item(**put("a", str(number)))
    query = {
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": "a"}},
        "Limit": 2,
    }
    first = table.query(**query)
    rest = table.query(**query, ExclusiveStartKey=first["LastEvaluatedKey"])
    assert [item["sk"]["S"] for item in first["Items"] + rest["Items"]] == ["1", "2", "3"]


def test_s3_lists_pages_and_keeps_versions() -> None:
    s3 = MemoryS3(Meter(Turns()))
    old = s3.put_object(Bucket="b", Key="k/000", Body=b"old")["VersionId"]
    for number in range(1500):
        s3.put_object(Bucket="b", Key=f"k/{number:04d}", Body=b"new")
    pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket="b", Prefix="k/"))
    assert [len(page["Contents"]) for page in pages] == [1000, 501]
    assert s3.get_object(Bucket="b", Key="k/000", VersionId=old)["Body"].read() == b"old"
    s3.delete_object(Bucket="b", Key="k/000")
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.head_object(Bucket="b", Key="k/000")


def _lambda(meter: Meter, handler: Any, **limits: Any) -> FakeLambda:
    functions = FakeLambda(meter, **limits)
    with patch.dict(fake_lambda.HANDLERS, {"process": handler}):
        for _ in range(3):
            functions.arrives("process", {})
        meter.turns.run()
    return functions


def test_lambda_runs_as_many_as_its_concurrency() -> None:
    meter = Meter(Turns())
    _lambda(meter, lambda *_: meter.call("GetObject"), concurrency=2)
    assert meter.turns.now == pytest.approx(2 * (GET + CPU))


def test_lambda_tries_a_failed_event_twice_more_and_then_counts_a_dead_letter() -> None:
    meter = Meter(Turns())
    functions = _lambda(meter, partial(int, "not a number"))
    assert functions.dead == Counter(process=3)
    assert len(meter.invocations) == 9
    assert meter.turns.now == 60 + 120


def test_lambda_ends_a_function_at_its_time_out() -> None:
    meter = Meter(Turns())

    def endless(*_: Any) -> None:
        while True:
            meter.call("GetObject")

    _lambda(meter, endless, timeouts={"process": 30.0})
    assert {run.error for run in meter.invocations} == {"TimedOutError: "}
    assert meter.longest_share() == 1.0
