"""A DynamoDB client over a table of plain values: its items have types, as DynamoDB's API has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batch_queue.aws.table.values import item_of, values_of

from tests.support.limits import LimitedTable

_TYPED = ("Key", "Item", "ExpressionAttributeValues", "ExclusiveStartKey")


class TypedClient:
    """Stands for botocore's client of DynamoDB in which there is one table."""

    def __init__(self, table: LimitedTable) -> None:
        self._table = table

    def get_item(self, **arguments: Any) -> dict[str, Any]:
        return _answer(self._table.get_item(**_plain(arguments)))

    def query(self, **arguments: Any) -> dict[str, Any]:
        return _answer(self._table.query(**_plain(arguments)))

    def batch_get_item(self, **arguments: Any) -> dict[str, Any]:
        plain = {
            name: {**read, "Keys": [values_of(key) for key in read["Keys"]]}
            for name, read in arguments["RequestItems"].items()
        }
        answer = self._table.batch_get_item(RequestItems=plain)
        found = {name: [item_of(item) for item in items] for name, items in answer["Responses"].items()}
        return {**answer, "Responses": found}

    def update_item(self, **arguments: Any) -> dict[str, Any]:
        return self._table.update_item(**_plain(arguments))

    def delete_item(self, **arguments: Any) -> dict[str, Any]:
        return self._table.delete_item(**_plain(arguments))

    def transact_write_items(self, **arguments: Any) -> dict[str, Any]:
        plain = [
            {verb: _plain(one) for verb, one in operation.items()} for operation in arguments["TransactItems"]
        ]
        return self._table.transact_write_items(**{**arguments, "TransactItems": plain})


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: values_of(value) if name in _TYPED else value
        for name, value in arguments.items()
        if name != "TableName"
    }


def _answer(plain: Mapping[str, Any]) -> dict[str, Any]:
    answer = dict(plain)
    if "Items" in answer:
        answer["Items"] = [item_of(item) for item in answer["Items"]]
    for name in ("Item", "LastEvaluatedKey"):
        if name in answer:
            answer[name] = item_of(answer[name])
    return answer
