"""DynamoDB's client in memory: one table with its index, whose partitions are throttled (``capacity.py``).

botocore tries a call that is throttled five times, but not a transaction that is canceled. Both happens here
as well, because the functions see only what is left of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from tests.support.capacity import Capacity, Place, read_units, write_units
from tests.support.fake_expressions import Item, condition, updated
from tests.support.fake_rows import Key, Rows, Span, Stored, key_of, row_of
from tests.support.meter import Meter

BOTOCORE_TRIES = 5
LONGEST_WAIT = 20.0
PAGE_BYTES = 1 << 20
TABLE = "queue"
_KINDS = ("upload", "chunk", "job")
Answer = dict[str, Any]
Call = Mapping[str, Any]


class Change(NamedTuple):
    """What a write does to a row. ``before`` and ``after``: None where there is none."""

    key: Key
    before: Stored | None
    after: Stored | None
    holds: bool
    show: bool

    @property
    def index_places(self) -> set[Place]:
        """The partitions of the index in which the row is, or was."""
        rows = (row.item for row in (self.before, self.after) if row is not None)
        return {("index", item["status_key"]["S"]) for item in rows if "status_key" in item}

    @property
    def shown(self) -> Answer:
        """What an error tells of the row."""
        return {"Item": self.before.item} if self.show and self.before else {}


def kind_of(pk: str, sk: str) -> str:
    """What a row is, by its key: its partition key where that is a name, and not an id."""
    kind = sk.split("#", maxsplit=1)[0]
    return kind or "rows" if kind in _KINDS or len(pk) >= 32 else pk.split("#", maxsplit=1)[0]


class FakeDynamo:
    """Stands for botocore's client, with AttributeValues as it has them. ``rows``: past the API."""

    def __init__(self, meter: Meter, capacity: Capacity, chance: Random) -> None:
        self._meter = meter
        self._capacity = capacity
        self._chance = chance
        self.rows = Rows()

    # -------------------------------------------------------------------------------------------- capacity

    def _tried(self, operation: str, keys: Sequence[Key], call: Callable[[], Answer | None]) -> Answer:
        """Makes a call as botocore does; ``call`` returns None if it is throttled."""
        for attempt in range(BOTOCORE_TRIES):
            self._note(operation, keys)
            answer = call()
            if answer is not None:
                return answer
            self._meter.throttled[operation] += 1
            if attempt < BOTOCORE_TRIES - 1:
                self._meter.sleep(min(LONGEST_WAIT, self._chance.random() * 2**attempt))
        raise _refused("ProvisionedThroughputExceededException", operation)

    def _note(self, operation: str, keys: Sequence[Key]) -> None:
        """Counts a call, and lets it take its time."""
        meter = self._meter
        meter.call(operation)
        if (invocation := meter.invocation) is not None:
            for kind, count in Counter(kind_of(*key) for key in keys).items():
                meter.rows[invocation.function, operation, kind] += count

    def _read(self, place: Place, size: int, *, consistent: bool, items: int) -> bool:
        units = read_units(size, consistent=consistent)
        if not self._capacity.read(place, units):
            return False
        if (invocation := self._meter.invocation) is not None:
            self._meter.units[invocation.function, "read"] += units
            invocation.items += items
        return True

    def _written(self, changes: Sequence[Change], times: int) -> set[Place]:
        """Takes what these writes cost. Returns the places that have too little left.

        In the table, they cost ``times`` as much. The index gets them when a transaction is complete, each as
        any other write ("Amazon DynamoDB Transactions: How it works" in the Developer Guide).
        """
        costs: Counter[Place] = Counter()
        for change in changes:
            sizes = [row.size for row in (change.before, change.after) if row is not None]
            units = write_units(max(sizes, default=1))
            costs["table", change.key[0]] += times * units
            if change.holds and change.before != change.after:
                costs.update(dict.fromkeys(change.index_places, units))
        full = self._capacity.write(costs)
        if (invocation := self._meter.invocation) is not None:
            for pk in {change.key[0] for change in changes}:
                self._meter.written[pk, int(self._meter.turns.now)] += 1
            if not full:
                self._meter.units[invocation.function, "write"] += sum(costs.values())
        return full

    # ----------------------------------------------------------------------------------------------- reads

    def get_item(self, **call: Any) -> Answer:
        key, consistent = key_of(call["Key"]), bool(call.get("ConsistentRead"))

        def get() -> Answer | None:
            row = self.rows.get(key)
            if not self._read(("table", key[0]), row.size if row else 0, consistent=consistent, items=1):
                return None
            return {"Item": _projected(row.item, call)} if row else {}

        return self._tried("GetItem", [key], get)

    def query(self, **call: Any) -> Answer:
        pk, span = _span(call)

        def query() -> Answer | None:
            rows, last = self._page(pk, span, call)
            size = sum(row.size for row in rows)
            place = ("index" if span.by_status else "table", pk)
            if not self._read(place, size, consistent=bool(call.get("ConsistentRead")), items=len(rows)):
                return None
            items = [_projected(row.item, call) for row in rows]
            return {"Items": items, "Count": len(items), **({"LastEvaluatedKey": last} if last else {})}

        return self._tried("Query", [(pk, "")], query)

    def _page(self, pk: str, span: Span, call: Call) -> tuple[list[Stored], Item | None]:
        """The rows of a page, and the key of the last one if there may be more."""
        meets = condition(call["KeyConditionExpression"])
        names, values = call.get("ExpressionAttributeNames", {}), call["ExpressionAttributeValues"]
        rows: list[Stored] = []
        size = 0
        for key in self.rows.keys(pk, span):
            row = self.rows.get(key)
            if row is None or not meets(row.item, names, values):
                continue
            rows.append(row)
            size += row.size
            if len(rows) == call.get("Limit") or size > PAGE_BYTES:
                keys = ("pk", "sk", *(("status_key", "order_key") if span.by_status else ()))
                return rows, {name: row.item[name] for name in keys}
        return rows, None

    def batch_get_item(self, **call: Any) -> Answer:
        ((table, read),) = call["RequestItems"].items()
        keys = [key_of(key) for key in read["Keys"]]
        assert 0 < len(keys) == len(set(keys)) <= 100
        consistent = bool(read.get("ConsistentRead"))

        def get() -> Answer | None:
            found: list[Item] = []
            left: list[Item] = []
            for key in keys:
                row = self.rows.get(key)
                place = ("table", key[0])
                if not self._read(place, row.size if row else 0, consistent=consistent, items=1):
                    left.append({"pk": {"S": key[0]}, "sk": {"S": key[1]}})
                elif row:
                    found.append(_projected(row.item, read))
            if len(left) == len(keys):
                return None
            again = {table: {**read, "Keys": left}} if left else {}
            return {"Responses": {table: found}, "UnprocessedKeys": again}

        return self._tried("BatchGetItem", keys, get)

    # ---------------------------------------------------------------------------------------------- writes

    def put_item(self, **call: Any) -> Answer:
        return self._write("PutItem", "Put", call)

    def update_item(self, **call: Any) -> Answer:
        return self._write("UpdateItem", "Update", call)

    def delete_item(self, **call: Any) -> Answer:
        return self._write("DeleteItem", "Delete", call)

    def _write(self, operation: str, verb: str, call: Call) -> Answer:
        def write() -> Answer | None:
            change = self._change(verb, call)
            if self._written([change], times=1):
                return None
            if change.holds:
                self.rows.store(change.key, change.after)
            return {"change": change}

        change: Change = self._tried(operation, [key_of(call.get("Key") or call["Item"])], write)["change"]
        if not change.holds:
            raise _refused("ConditionalCheckFailedException", operation, change.shown)
        row = {"ALL_OLD": change.before, "ALL_NEW": change.after}.get(call.get("ReturnValues", ""))
        return {"Attributes": row.item} if row else {}

    def batch_write_item(self, **call: Any) -> Answer:
        ((table, requests),) = call["RequestItems"].items()
        assert 0 < len(requests) <= 25
        changes = [self._change(name.removesuffix("Request"), one[name]) for one in requests for name in one]

        def write() -> Answer | None:
            left = []
            for request, change in zip(requests, changes, strict=True):
                if self._written([change], times=1):
                    left.append(request)
                else:
                    self.rows.store(change.key, change.after)
            if len(left) == len(requests):
                return None
            return {"UnprocessedItems": {table: left} if left else {}}

        return self._tried("BatchWriteItem", [change.key for change in changes], write)

    def transact_write_items(self, **call: Any) -> Answer:
        operations = [next(iter(one.items())) for one in call["TransactItems"]]
        keys = [key_of(operation.get("Key") or operation["Item"]) for _, operation in operations]
        assert 0 < len(keys) == len(set(keys)) <= 100  # no item twice
        self._note("TransactWriteItems", keys)
        changes = [self._change(*operation) for operation in operations]
        full = self._written(changes, times=2)
        if full:
            self._meter.throttled["TransactWriteItems"] += 1
        reasons = [_reason(change, full) for change in changes]
        if any(reason["Code"] != "None" for reason in reasons):
            told = {"CancellationReasons": reasons}
            raise _refused("TransactionCanceledException", "TransactWriteItems", told)
        for change in changes:
            self.rows.store(change.key, change.after)
        return {}

    def _change(self, verb: str, call: Call) -> Change:
        """What a write does: Put, Update, Delete or ConditionCheck."""
        key = key_of(call.get("Key") or call["Item"])
        before = self.rows.get(key)
        names, values = call.get("ExpressionAttributeNames", {}), call.get("ExpressionAttributeValues", {})
        had: Item = before.item if before else {}
        expression = call.get("ConditionExpression")
        holds = not expression or condition(expression)(had, names, values)
        after = before
        if holds and verb == "Put":
            after = row_of(call["Item"])
        elif holds and verb == "Update":
            whole = {**call["Key"], **had}
            after = row_of(updated(whole, call.get("UpdateExpression", ""), names, values))
        elif holds and verb == "Delete":
            after = None
        return Change(key, before, after, holds, "ReturnValuesOnConditionCheckFailure" in call)


def _span(call: Call) -> tuple[str, Span]:
    """The partition key that a key condition names, and which of its rows."""
    expression, index = call["KeyConditionExpression"], "IndexName" in call
    names, values = call.get("ExpressionAttributeNames", {}), call["ExpressionAttributeValues"]
    match = re.match(r"([#\w]+)\s*=\s*(:\w+)", expression)
    if match is None or names.get(match[1], match[1]) != ("status_key" if index else "pk"):
        raise ValueError(f"not understood: {expression}")
    first = last = ""
    if found := re.search(r"BETWEEN (:\w+) AND (:\w+)", expression):
        first, last = values[found[1]]["S"], values[found[2]]["S"]
    elif found := re.search(r"AND [#\w]+ >=? (:\w+)", expression):
        first = values[found[1]]["S"]
    elif found := re.search(r"begins_with\s*\([^,]+,\s*(:\w+)\s*\)", expression):
        first = values[found[1]]["S"]
        last = f"{first}\U0010ffff"
    if "FilterExpression" in call:
        raise ValueError("not understood: a filter")
    backward = call.get("ScanIndexForward") is False
    return values[match[2]]["S"], Span(index, backward, call.get("ExclusiveStartKey"), first, last)


def _projected(item: Item, call: Call) -> Item:
    if (projection := call.get("ProjectionExpression")) is None:
        return item
    names = call.get("ExpressionAttributeNames", {})
    wanted = {names.get(name.strip(), name.strip()) for name in projection.split(",")}
    return {name: value for name, value in item.items() if name in wanted}


def _reason(change: Change, full: set[Place]) -> Answer:
    if not change.holds:
        return {"Code": "ConditionalCheckFailed", **change.shown}
    if full & {("table", change.key[0]), *change.index_places}:
        return {"Code": "ThrottlingError"}
    return {"Code": "None"}


def _refused(code: str, operation: str, more: Call | None = None) -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": code},
        "ResponseMetadata": {"HTTPStatusCode": 400},
        **(more or {}),
    }
    return ClientError(answer, operation)
