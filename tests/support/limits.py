"""A DynamoDB table in memory with the limits of a real one, under a virtual clock.

It charges each call to the partitions that it touches, and throttles what is too much:

- A new table with on-demand capacity takes 4,000 write units and 12,000 read units a second, which are four
  partitions of 1,000 and 3,000. Here these four never split, and a partition has no burst of saved units, so
  the table is as slow as a new one can be for the half hour in which it may not grow.
- The items of one partition key are in one partition. The index has partitions of its own, and a write that
  they throttle is throttled.
- A transaction costs twice as much, also in the index. One that is canceled because a partition is throttled
  has cost the others its first half.
- botocore tries a call that is throttled five times, but not a transaction that is canceled.
"""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Any, TypeVar
from zlib import crc32

from batch_queue.aws.table.values import item_of, values_of
from botocore.exceptions import ClientError

from tests.support import fake_expressions
from tests.support.capacity import UnitsLeft

Item = dict[str, Any]
T = TypeVar("T")

LATENCY = 0.01
BOTOCORE_TRIES = 5
PAGE_BYTES = 1_000_000


@dataclass
class Limits:
    """What one partition takes in a second, in units, and how many partitions there are."""

    writes: float = 1000.0
    reads: float = 3000.0
    partitions: int = 4


def _terms(operation: Mapping[str, Any]) -> tuple[fake_expressions.Names, fake_expressions.Values]:
    """Returns the names and the values of an operation's expressions."""
    values = operation.get("ExpressionAttributeValues", {})
    return operation.get("ExpressionAttributeNames", {}), item_of(values)


def _updated(item: Item, operation: Mapping[str, Any]) -> Item:
    expression = operation["UpdateExpression"]
    return values_of(fake_expressions.updated(item_of(item), expression, *_terms(operation)))


def _bytes(item: Item) -> int:
    return sum(len(name) + len(str(value)) for name, value in item.items())


def _units(size: float, each: int) -> int:
    return max(1, -(-int(size) // each))


def _refused(code: str, *reasons: str) -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": code},
        "CancellationReasons": [{"Code": reason} for reason in reasons],
    }
    return ClientError(answer, "DynamoDB")


class LimitedTable:
    """A table that takes and gives plain values; ``typed.py`` makes a client of it.

    ``sleep`` lets time pass; ``clock`` is in seconds.
    """

    name = "queue"

    def __init__(
        self, clock: Callable[[], float], sleep: Callable[[float], None], limits: Limits, chance: Random
    ) -> None:
        self.calls: Counter[str] = Counter()
        self.throttled: Counter[str] = Counter()
        self._clock = clock
        self._sleep = sleep
        self._limits = limits
        self._chance = chance
        self.items: dict[str, dict[str, Item]] = defaultdict(dict)
        self._order: dict[str, list[str]] = defaultdict(list)
        self._index: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
        self._writes = defaultdict[tuple[str, int], UnitsLeft](lambda: UnitsLeft(limits.writes))
        self._reads = defaultdict[tuple[str, int], UnitsLeft](lambda: UnitsLeft(limits.reads))

    # ------------------------------------------------------------------------------------------- capacity

    def _partition(self, space: str, key: str) -> tuple[str, int]:
        return space, crc32(key.encode()) % self._limits.partitions

    def _tried(self, kind: str, call: Callable[[], T | None]) -> T:
        """Makes a call as botocore does; ``call`` returns None if it is throttled."""
        for attempt in range(BOTOCORE_TRIES):
            self.calls[kind] += 1
            self._sleep(LATENCY)
            answer = call()
            if answer is not None:
                return answer
            self.throttled[kind] += 1
            if attempt < BOTOCORE_TRIES - 1:
                self._sleep(self._chance.random() * 2**attempt)
        raise _refused("ProvisionedThroughputExceededException")

    def _may_read(self, place: tuple[str, int], units: float) -> bool:
        bucket = self._reads[place]
        if not bucket.has(units, self._clock()):
            return False
        bucket.left -= units
        return True

    def _costs(self, old: Item, new: Item, pk: str, times: int) -> Counter[tuple[str, int]]:
        """The write units of a change of one item, by partition."""
        size = max(_bytes(old), _bytes(new))
        costs = Counter({self._partition("table", pk): times * _units(size, 1024)})
        keys = {item["status_key"] for item in (old, new) if "status_key" in item}
        for key in keys if old != new else ():
            costs[self._partition("index", key)] += times * _units(size, 1024)
        return costs

    def _may_write(self, costs: Counter[tuple[str, int]]) -> bool:
        now = self._clock()
        full = {place for place, units in costs.items() if not self._writes[place].has(units, now)}
        for place, units in costs.items():
            if place not in full:
                self._writes[place].left -= units / 2 if full else units
        return not full

    # ---------------------------------------------------------------------------------------------- reads

    def get_item(self, **arguments: Any) -> dict[str, Any]:
        key = arguments["Key"]

        def get() -> dict[str, Any] | None:
            item = self.items[key["pk"]].get(key["sk"])
            may = self._may_read(self._partition("table", key["pk"]), _units(_bytes(item or {}), 4096))
            return ({"Item": dict(item)} if item else {}) if may else None

        return self._tried("GetItem", get)

    def query(self, **arguments: Any) -> dict[str, Any]:
        def query() -> dict[str, Any] | None:
            items, more = self._page(arguments)
            key = next(iter(arguments["ExpressionAttributeValues"].values()))
            space = "index" if "IndexName" in arguments else "table"
            size = sum(_bytes(item) for item in items) / (1 if arguments.get("ConsistentRead") else 2)
            if not self._may_read(self._partition(space, key), _units(size, 4096)):
                return None
            last = {"LastEvaluatedKey": {"pk": items[-1]["pk"], "sk": items[-1]["sk"]}} if more else {}
            return {"Items": [dict(item) for item in items], **last}

        return self._tried("Query", query)

    def _page(self, arguments: Mapping[str, Any]) -> tuple[list[Item], bool]:
        values = arguments["ExpressionAttributeValues"]
        found = self._matching(values, arguments.get("ExclusiveStartKey"), index="IndexName" in arguments)
        most = arguments.get("Limit") or PAGE_BYTES
        items: list[Item] = []
        size = 0
        for item in islice(found, most):
            items.append(item)
            size += _bytes(item)
            if size > PAGE_BYTES:
                break
        return items, len(items) == most or size > PAGE_BYTES

    def _matching(self, values: Mapping[str, str], start: Item | None, *, index: bool) -> Iterator[Item]:
        if index:
            for _, pk, sk in self._index[values[":s"]]:
                yield self.items[pk][sk]
            return
        pk = values[":pk"]
        keys = self._order[pk]
        at = bisect.bisect_left(keys, values.get(":first", ""))
        if start:
            at = bisect.bisect_right(keys, start["sk"])
        for sk in islice(keys, at, None):
            if sk > values.get(":last", sk):
                return
            yield self.items[pk][sk]

    def batch_get_item(self, **arguments: Any) -> dict[str, Any]:
        keys = arguments["RequestItems"][self.name]["Keys"]
        found = [self.get_item(Key=key).get("Item") for key in keys]
        return {"Responses": {self.name: [item for item in found if item]}}

    # --------------------------------------------------------------------------------------------- writes

    def update_item(self, **change: Any) -> dict[str, Any]:
        key = change["Key"]

        def update() -> dict[str, Any] | None:
            old = self.items[key["pk"]].get(key["sk"], {})
            meets = self._meets(old, change)
            new = _updated({**key, **old}, change) if meets else old
            if not self._may_write(self._costs(old, new, key["pk"], times=1)):
                return None
            if meets:
                self._store(key, new)
            return {"met": meets}

        if not self._tried("UpdateItem", update)["met"]:
            raise _refused("ConditionalCheckFailedException")
        return {}

    def delete_item(self, **arguments: Any) -> dict[str, Any]:
        key = arguments["Key"]

        def delete() -> dict[str, Any] | None:
            old = self.items[key["pk"]].get(key["sk"], {})
            if not self._may_write(self._costs(old, {}, key["pk"], times=1)):
                return None
            self._store(key, {})
            return {}

        return self._tried("DeleteItem", delete)

    def transact_write_items(self, **arguments: Any) -> dict[str, Any]:
        self.calls["TransactWriteItems"] += 1
        self._sleep(LATENCY)
        changes = [self._change(*next(iter(operation.items()))) for operation in arguments["TransactItems"]]
        costs: Counter[tuple[str, int]] = Counter()
        for key, old, new, _met in changes:
            costs += self._costs(old, new, key["pk"], times=2)
        if not self._may_write(costs):
            self.throttled["TransactWriteItems"] += 1
            raise _refused("TransactionCanceledException", "None", "ThrottlingError")
        if not all(met for *_rest, met in changes):
            raise _refused("TransactionCanceledException", "ConditionalCheckFailed")
        for key, _old, new, _met in changes:
            self._store(key, new)
        return {}

    def _change(self, verb: str, operation: Mapping[str, Any]) -> tuple[Item, Item, Item, bool]:
        """What an operation of a transaction does: the key, the item before and after, whether it may."""
        key = operation.get("Key") or {name: operation["Item"][name] for name in ("pk", "sk")}
        old = self.items[key["pk"]].get(key["sk"], {})
        new = {
            "Put": lambda: operation["Item"],
            "Update": lambda: _updated({**key, **old}, operation),
            "Delete": dict,
            "ConditionCheck": lambda: old,
        }[verb]()
        return key, old, new, self._meets(old, operation)

    def _meets(self, item: Item, operation: Mapping[str, Any]) -> bool:
        expression = operation.get("ConditionExpression")
        return not expression or fake_expressions.condition(expression)(item_of(item), *_terms(operation))

    def _store(self, key: Item, new: Item) -> None:
        """Stores an item, or deletes it if ``new`` is empty, in the table and in the index."""
        pk, sk = key["pk"], key["sk"]
        old = self.items[pk].pop(sk, {})
        if "status_key" in old:
            rows = self._index[old["status_key"]]
            del rows[bisect.bisect_left(rows, (old["order_key"], pk, sk))]
        if old and not new:
            del self._order[pk][bisect.bisect_left(self._order[pk], sk)]
        if new:
            self.items[pk][sk] = new
            if not old:
                bisect.insort(self._order[pk], sk)
            if "status_key" in new:
                bisect.insort(self._index[new["status_key"]], (new["order_key"], pk, sk))

    def put(self, item: Item) -> None:
        """Stores an item past the API."""
        self._store(item, item)
