"""The local AWS's DynamoDB: a transaction that is canceled leaves every item as it was."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

import pytest
from moto.dynamodb import models

from tests.local_aws.plugins.local_aws_plugins.moto_tables import copy_less
from tests.unit.test_memory_table import TABLE, moto_table

pytestmark = pytest.mark.unit


def key(pk: str, sk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def operations(condition: str) -> list[dict[str, Any]]:
    update = {
        "UpdateExpression": "SET color = :blue ADD tags :tags",
        "ExpressionAttributeValues": {":blue": {"S": "blue"}, ":tags": {"SS": ["new"]}},
    }
    return [
        {"Put": {"TableName": TABLE, "Item": {**key("new", "1"), "color": {"S": "green"}}}},
        {"Put": {"TableName": TABLE, "Item": {**key("a", "3"), "color": {"S": "green"}}}},
        {"Update": {"TableName": TABLE, "Key": key("a", "1"), **update}},
        {"Delete": {"TableName": TABLE, "Key": key("b", "1")}},
        {"ConditionCheck": {"TableName": TABLE, "Key": key("c", "1"), "ConditionExpression": condition}},
    ]


def contents(table: Any) -> list[Any]:
    return sorted(table.scan(TableName=TABLE)["Items"], key=repr)


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = models.DynamoDBBackend
    monkeypatch.setattr(backend, "transact_write_items", backend.transact_write_items)


def run(condition: str) -> tuple[list[Any], list[Any]]:
    """The items before and after a transaction with such a condition on an item that does not exist."""
    with moto_table() as table:
        for pk, sk in (("a", "1"), ("a", "2"), ("b", "1")):
            item = {**key(pk, sk), "color": {"S": "red"}, "tags": {"SS": ["old"]}}
            table.put_item(TableName=TABLE, Item=item)
        before = contents(table)
        with suppress(table.exceptions.TransactionCanceledException):
            table.transact_write_items(TransactItems=operations(condition))
        return before, contents(table)


@pytest.mark.parametrize("condition", ["attribute_exists(pk)", "attribute_not_exists(pk)"])
def test_a_transaction_does_what_it_does_with_moto_alone(condition: str) -> None:
    alone = run(condition)
    copy_less()
    assert run(condition) == alone
    assert (alone[0] == alone[1]) == (condition == "attribute_exists(pk)")


def test_it_copies_no_item_that_the_transaction_does_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[object] = []
    whole = copy.deepcopy

    def deepcopy(thing: Any, *more: Any) -> Any:
        copied.append(thing)
        return whole(thing, *more)

    copy_less()
    monkeypatch.setattr(copy, "deepcopy", deepcopy)
    run("attribute_not_exists(pk)")
    tables = [thing for thing in copied if isinstance(thing, dict | models.Table)]
    assert tables == []


@pytest.mark.parametrize(
    ("condition", "told"), [("attribute_exists(pk)", 0), ("attribute_not_exists(pk)", 4)]
)
def test_the_stream_tells_of_a_transaction_only_if_it_is_complete(condition: str, told: int) -> None:
    copy_less()
    with moto_table() as table:
        stream = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
        table.update_table(TableName=TABLE, StreamSpecification=stream)
        for pk, sk in (("a", "1"), ("b", "1")):
            table.put_item(TableName=TABLE, Item={**key(pk, sk), "color": {"S": "red"}})
        (backend,) = [
            backend for backend in models.dynamodb_backends["123456789012"].values() if backend.tables
        ]
        shard: Any = backend.tables[TABLE].stream_shard
        before = len(shard.items)
        with suppress(table.exceptions.TransactionCanceledException):
            table.transact_write_items(TransactItems=operations(condition))
        # Then the stream that readers have open has as much, and goes on
        assert len(shard.items) == before + told
        table.put_item(TableName=TABLE, Item=key("d", "1"))
        assert len(shard.items) == before + told + 1
