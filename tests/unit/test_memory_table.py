"""The table in memory answers as moto's DynamoDB does, and refuses what DynamoDB refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from batch_queue.aws.patience import Patience
from batch_queue.aws.table.dynamo import Dynamo, Expression, Key
from batch_queue.aws.table.values import values_of
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from tests.support.memory_table import MemoryTable

pytestmark = pytest.mark.unit

TABLE = "queue"
Values = dict[str, Any]
KEYS = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["1", "2", "3"]))
VALUES = st.sampled_from(
    [0, 7, "red", "blue", True, None, b"\x00\xff", ["x", 1], {"deep": {"n": 1}}, {"s", "t"}]
)
SETS = st.dictionaries(st.sampled_from(["color", "status", "width"]), VALUES, max_size=3)
STATUS_KEYS = st.sampled_from(
    [{}, {"status_key": "open", "order_key": "1"}, {"status_key": "done", "order_key": "2"}]
)
CONDITIONS = st.sampled_from(
    [
        "",
        "attribute_exists(pk)",
        "attribute_not_exists(pk) OR attribute_exists(color)",
        "attribute_exists(pk) AND attribute_not_exists(width)",
    ]
)
STEPS = st.one_of(
    st.tuples(st.just("put"), KEYS, SETS, STATUS_KEYS, CONDITIONS),
    st.tuples(st.just("update"), KEYS, SETS, st.sets(st.sampled_from(["other", "left"])), CONDITIONS),
    st.tuples(st.just("add"), KEYS, st.integers(-3, 3), CONDITIONS),
    st.tuples(st.just("gather"), KEYS, st.sets(st.sampled_from("xyz"), min_size=1)),
    st.tuples(st.just("delete"), KEYS),
    st.tuples(
        st.just("together"), st.lists(st.tuples(KEYS, CONDITIONS, st.booleans()), min_size=1, max_size=4)
    ),
    st.tuples(st.just("get"), KEYS),
    st.tuples(st.just("query"), st.sampled_from(["a", "b"]), st.sampled_from([None, 1, 2])),
    st.tuples(st.just("index"), st.sampled_from(["open", "done"])),
    st.tuples(st.just("some"), st.sets(KEYS, min_size=1)),
)


def client(memory: MemoryTable | None = None) -> Any:
    found = boto3.client(
        "dynamodb", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    if memory is not None:
        MemoryTable.install(found, lambda: memory)
    return found


@contextmanager
def moto_table() -> Iterator[Any]:
    with mock_aws():
        found = client()
        found.create_table(
            TableName=TABLE,
            KeySchema=[
                {"AttributeName": "pk", "KeyType": "HASH"},
                {"AttributeName": "sk", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": "S"}
                for name in ("pk", "sk", "status_key", "order_key")
            ],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "status-index",
                    "KeySchema": [
                        {"AttributeName": "status_key", "KeyType": "HASH"},
                        {"AttributeName": "order_key", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        yield found


def done(dynamo: Dynamo, step: Any) -> Any:
    """What a step gives: an answer, or the code of an error."""
    kind, *what = step
    try:
        return DONE[kind](dynamo, *what)
    except ClientError as error:
        return error.response["Error"]["Code"]


def put(dynamo: Dynamo, key: Key, sets: Values, status: Values, condition: str) -> bool:
    item = {"pk": key[0], "sk": key[1], **sets, **status}
    return dynamo.transact([dynamo.putting(item, condition)])


def update(dynamo: Dynamo, key: Key, sets: Values, removed: set[str], condition: str) -> bool:
    return bool(sets or removed) and dynamo.update(key, sets, remove=sorted(removed), condition=condition)


def together(dynamo: Dynamo, some: list[tuple[Key, str, bool]]) -> bool:
    green = Expression().set({"color": "green"})
    operations = {
        key: dynamo.deleting(key, condition) if deleted else dynamo.updating(key, green, condition)
        for key, condition, deleted in some
    }
    return dynamo.transact([*operations.values()])


def in_order(rows: list[Values]) -> list[Values]:
    return sorted(rows, key=lambda row: (row["pk"], row["sk"]))


DONE: dict[str, Callable[..., Any]] = {
    "put": put,
    "update": update,
    "add": lambda dynamo, key, number, condition: dynamo.update(
        key, {}, add={"count": number}, condition=condition
    ),
    "gather": lambda dynamo, key, texts: dynamo.update(key, {"other": 1}, add={"texts": texts}),
    "delete": Dynamo.delete,
    "together": together,
    "get": Dynamo.get,
    "query": lambda dynamo, pk, limit: dynamo.query("pk = :pk", {":pk": pk}, consistent=True, limit=limit),
    "index": lambda dynamo, status: in_order(
        dynamo.query("status_key = :status", {":status": status}, index=True)
    ),
    "some": lambda dynamo, keys: in_order(dynamo.batch_get(sorted(keys), ConsistentRead=True)),
}


@settings(max_examples=25)
@given(st.lists(STEPS, min_size=5, max_size=15))
def test_it_answers_as_moto_does(steps: list[Any]) -> None:
    memory = MemoryTable()
    ours = Dynamo(client(memory), TABLE, Patience())
    with moto_table() as table:
        theirs = Dynamo(table, TABLE, Patience())
        for step in steps:
            assert done(ours, step) == done(theirs, step), step
        rows = [values_of(item) for item in table.scan(TableName=TABLE)["Items"]]
    assert sorted(map(repr, map(_ordered, rows))) == sorted(
        repr(_ordered(values_of(item))) for item in memory.rows
    )


def _ordered(row: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted((name, sorted(value) if isinstance(value, set) else value) for name, value in row.items())


KEY = {"pk": {"S": "a"}, "sk": {"S": "1"}}


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(
            {"UpdateExpression": "REMOVE #a", "ExpressionAttributeNames": {"#a": "a", "#b": "b"}},
            id="a name is not used",
        ),
        pytest.param(
            {"UpdateExpression": "REMOVE x", "ExpressionAttributeValues": {":v": {"N": "1"}}},
            id="a value is not used",
        ),
        pytest.param({"UpdateExpression": "REMOVE x", "ExpressionAttributeValues": {}}, id="empty values"),
        pytest.param(
            {"UpdateExpression": "SET status = :v", "ExpressionAttributeValues": {":v": {"N": "1"}}},
            id="a reserved word",
        ),
    ],
)
def test_what_dynamodb_refuses_is_refused(call: dict[str, Any]) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        client(MemoryTable()).update_item(TableName=TABLE, Key=KEY, **call)
    with moto_table() as table, pytest.raises(ClientError, match="ValidationException"):
        table.update_item(TableName=TABLE, Key=KEY, **call)


def test_an_item_of_more_than_400_kb_is_refused() -> None:
    with pytest.raises(ClientError, match="too large"):
        client(MemoryTable()).put_item(TableName=TABLE, Item={**KEY, "x": {"S": "x" * 410_000}})
