"""DynamoDB expressions, pagination and transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from botocore.exceptions import ClientError

from batch_queue.aws.patience import Patience
from batch_queue.aws.telemetry import SafeError
from batch_queue.core.records import dataclass
from batch_queue.core.rows import Status

from .values import item_of, values_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")
Key = tuple[str, str]  # pk and sk

INDEX = "status-index"
NEW = "attribute_not_exists(pk)"
EXISTS = "attribute_exists(pk)"
EXPIRES = "attribute_exists(expires_at)"
_NOT_MET = {"ConditionalCheckFailed", "ConditionalCheckFailedException"}
# Why a call is not answered now (DynamoDB API reference: common errors, and the reasons for which
# TransactWriteItems is canceled).
_PASSING = {
    "InternalServerError",
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingError",
    "ThrottlingException",
    "TransactionConflict",
    "TransactionConflictException",
    "TransactionInProgressException",
}
LARGEST_PAGE = 1000
BATCH_GET = 100  # BatchGetItem accepts at most 100 keys
TRANSACTION = 100  # TransactWriteItems accepts at most 100 items


@dataclass(slots=True)
class Expression:
    """Builds an update expression. Attributes use a ``#name``, because many names are reserved words."""

    parts: list[str]
    names: dict[str, str]
    values: dict[str, Any]

    def __init__(self) -> None:
        self.parts, self.names, self.values = [], {}, {}

    def set(self, sets: Mapping[str, Any]) -> Expression:
        """Adds a SET clause; returns the expression."""
        if sets:
            self.parts.append("SET " + ", ".join(f"#{name} = :{name}" for name in sets))
        self.names.update({f"#{name}": name for name in sets})
        self.values.update({f":{name}": value for name, value in sets.items()})
        return self

    def remove(self, names: Iterable[str]) -> Expression:
        """Adds a REMOVE clause; returns the expression."""
        removed = list(names)
        if removed:
            self.parts.append("REMOVE " + ", ".join(f"#{name}" for name in removed))
        self.names.update({f"#{name}": name for name in removed})
        return self

    def add(self, adds: Mapping[str, Any]) -> Expression:
        """Adds an ADD clause; returns the expression."""
        if adds:
            self.parts.append("ADD " + ", ".join(f"#{name} :{name}" for name in adds))
        self.names.update({f"#{name}": name for name in adds})
        self.values.update({f":{name}": value for name, value in adds.items()})
        return self

    def among(self, statuses: Sequence[Status]) -> str:
        """Returns the condition that the item has one of these statuses; adds the name and values in it."""
        marks = {f":from{at}": status for at, status in enumerate(statuses)}
        self.values.update(marks)
        self.names["#status"] = "status"
        return f"#status IN ({', '.join(marks)})"

    def among_runs(self, run: int) -> str:
        """Returns the condition that the item is of this run of its upload; adds the name and value in it."""
        self.names["#run"] = "run"
        self.values[":of_run"] = run
        return "#run = :of_run" if run > 1 else "(attribute_not_exists(#run) OR #run = :of_run)"

    def before_run(self, run: int) -> str:
        """Returns the condition that the item is of a run before this one; adds the name and value in it."""
        self.names["#run"] = "run"
        self.values[":run"] = run
        return "(attribute_not_exists(#run) OR #run < :run)"

    def arguments(self, condition: str) -> dict[str, Any]:
        """Returns the arguments of UpdateItem, or of an Update in a transaction."""
        arguments: dict[str, Any] = {
            "UpdateExpression": " ".join(self.parts),
            "ExpressionAttributeNames": self.names,
        }
        if condition:
            arguments["ConditionExpression"] = condition
        if self.values:
            arguments["ExpressionAttributeValues"] = item_of(self.values)
        return arguments


class ThrottledError(SafeError):
    """The table answered only a part of what it was asked for as long as the invocation had time."""


class Dynamo:
    """One DynamoDB table with the keys ``pk`` and ``sk``: reads by key, conditional writes, transactions.

    Items and values are plain Python values, as ``values.py`` converts them; operations are as DynamoDB's
    API has them. A call that is throttled or meets another write is tried again as long as the invocation
    has time.
    """

    def __init__(self, client: DynamoDBClient, table: str, patience: Patience) -> None:
        self._dynamodb = client
        self._table = table
        self._patience = patience

    # --------------------------------------------------------------------------------------------- reads

    def get(self, key: Key, *, consistent: bool = True) -> dict[str, Any] | None:
        """Returns one item, or None."""
        answer = self._call(
            self._dynamodb.get_item, TableName=self._table, Key=_key(key), ConsistentRead=consistent
        )
        item = answer.get("Item")
        return None if item is None else values_of(item)

    def query(self, condition: str, values: Mapping[str, Any], **options: Any) -> list[dict[str, Any]]:
        """Returns all items of ``pages``."""
        return list(self.pages(condition, values, **options))

    def pages(
        self,
        condition: str,
        values: Mapping[str, Any],
        *,
        index: bool = False,
        consistent: bool = False,
        limit: int | None = None,
        first_page: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yields the items that match a key condition, in sort key order; reads pages only as needed.

        ``limit``: the most items to yield. ``first_page``: how many items to read at first; each further page
        has twice as many, up to ``LARGEST_PAGE``, so that about as much is read as is taken.
        """
        arguments: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": item_of(values),
            **({"IndexName": INDEX} if index else {}),
            **({"ConsistentRead": True} if consistent else {}),
        }
        size = limit or first_page
        given = 0
        while True:
            page = self._call(self._dynamodb.query, **arguments, **({"Limit": size} if size else {}))
            for item in page["Items"]:
                yield values_of(item)
                given += 1
                if given == limit:
                    return
            if "LastEvaluatedKey" not in page:
                return
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]
            size = min(2 * size, LARGEST_PAGE) if size else None

    def batch_get(self, keys: Sequence[Key], **read: Any) -> list[dict[str, Any]]:
        """Returns the existing items of these keys, in no order. ``read``: members of KeysAndAttributes."""
        found: list[dict[str, Any]] = []
        for at in range(0, len(keys), BATCH_GET):
            found += self._batch_get({**read, "Keys": [_key(key) for key in keys[at : at + BATCH_GET]]})
        return found

    def _batch_get(self, read: Any) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        request: Any = {self._table: read}
        tries = 0
        while request:
            answer = self._call(self._dynamodb.batch_get_item, RequestItems=request)
            items += [values_of(item) for item in answer["Responses"].get(self._table, [])]
            request = answer.get("UnprocessedKeys")
            if request and not self._patience.wait(tries):
                raise ThrottledError("BatchGetItem left keys unprocessed: the table is throttled")
            tries += 1
        return items

    def _call(self, operation: Callable[..., T], **arguments: Any) -> T:
        return self._patience.call(partial(operation, **arguments), _passing)

    # -------------------------------------------------------------------------------------------- writes

    def update(
        self,
        key: Key,
        sets: Mapping[str, Any],
        *,
        remove: Iterable[str] = (),
        add: Mapping[str, Any] | None = None,
        condition: str = "",
        if_status: Sequence[Status] = (),
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> bool:
        """Updates one item. Returns False, and changes nothing, if the condition is not met.

        ``if_status``: instead of a condition, the statuses that the item may have. ``names`` and ``values``:
        those that the condition uses in addition to the updated attributes.
        """
        change = Expression().set(sets).remove(remove).add(add or {})
        if if_status:
            condition = change.among(if_status)
        change.names.update(names or {})
        change.values.update(values or {})
        return self.change(key, change, condition)

    def change(self, key: Key, change: Expression, condition: str) -> bool:
        """Updates one item. Returns False, and changes nothing, if the condition is not met."""
        return self._write(
            self._dynamodb.update_item,
            TableName=self._table,
            Key=_key(key),
            **change.arguments(condition),
        )

    def delete(self, key: Key) -> None:
        """Deletes one item, if it exists."""
        self._call(self._dynamodb.delete_item, TableName=self._table, Key=_key(key))

    def transact(self, operations: list[Any]) -> bool:
        """Writes all of these operations or none. Returns False if a condition is not met."""
        # The same token for each try: one whose answer was lost may have been made.
        return self._write(
            self._dynamodb.transact_write_items,
            TransactItems=operations,
            ClientRequestToken=uuid4().hex,
        )

    def _write(self, operation: Callable[..., object], **arguments: Any) -> bool:
        """Makes a conditional write. Returns False if its condition is not met."""
        try:
            self._call(operation, **arguments)
        except ClientError as error:
            if _codes(error) & _NOT_MET:
                return False
            raise
        return True

    # ------------------------------------------------------------------------ operations of a transaction

    def putting(self, item: Mapping[str, Any], condition: str = "", **values: Any) -> dict[str, Any]:
        """Returns a Put. ``values``: the values in the condition, each as ``:name``."""
        return {"Put": {"TableName": self._table, "Item": item_of(item), **_conditional(condition, values)}}

    def updating(self, key: Key, change: Expression, condition: str) -> dict[str, Any]:
        """Returns an Update."""
        return {"Update": {"TableName": self._table, "Key": _key(key), **change.arguments(condition)}}

    def deleting(self, key: Key, condition: str = "", **values: Any) -> dict[str, Any]:
        """Returns a Delete. ``values``: the values in the condition, each as ``:name``."""
        return {"Delete": {"TableName": self._table, "Key": _key(key), **_conditional(condition, values)}}

    def checking(self, key: Key, condition: str, **values: Any) -> dict[str, Any]:
        """Returns a ConditionCheck. ``values``: the values in the condition, each as ``:name``."""
        return {
            "ConditionCheck": {
                "TableName": self._table,
                "Key": _key(key),
                **_conditional(condition, values),
            }
        }


def _codes(error: ClientError) -> set[str]:
    """Returns the code of an error, and for a canceled transaction those of its reasons."""
    reasons: Any = error.response.get("CancellationReasons", [])
    return {error.response["Error"]["Code"], *(reason.get("Code", "None") for reason in reasons)}


def _passing(error: ClientError) -> bool:
    codes = _codes(error)
    return bool(codes & _PASSING) and not codes & _NOT_MET


def _key(key: Key) -> dict[str, Any]:
    return {"pk": {"S": key[0]}, "sk": {"S": key[1]}}


def _conditional(condition: str, values: Mapping[str, Any]) -> dict[str, Any]:
    if not condition:
        return {}
    used = item_of({f":{name}": value for name, value in values.items()})
    return {"ConditionExpression": condition, **({"ExpressionAttributeValues": used} if used else {})}


def milliseconds(seconds: float) -> int:
    """Converts seconds to whole milliseconds, the unit of the table."""
    return int(seconds * 1000)
