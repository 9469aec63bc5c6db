"""The stream of the table in memory, and the event source mapping in ``events.tf`` that hands it over."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import hcl2

from tests.support.fake_expressions import Item
from tests.support.fake_rows import Key, Rows, Stored
from tools import checks

ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/queue-queue/stream/2026-01-01T00:00:00.000"
BATCH = 100  # of the mapping


class Stream:
    """What the mapping has not handed over yet, in order; no change that its filters leave out."""

    def __init__(self) -> None:
        self.pending: list[dict[str, Any]] = []
        self._number = 0
        self._size = BATCH

    def note(self, key: Key, old: Item | None, new: Item | None) -> None:
        """Stores the change of a row, if it is one that the mapping hands over."""
        if key[1] not in ("upload", "job") or old == new:
            return
        self._number += 1
        record = record_of(key, old, new, self._number)
        if any(matches(pattern, record) for pattern in filters().values()):
            self.pending.append(record)

    def batch(self) -> list[dict[str, Any]]:
        """Returns what is handed over next."""
        return self.pending[: self._size]

    def settle(self, batch: list[dict[str, Any]], answer: Any, error: Exception | None) -> None:
        """Takes over how the function fared: after an error, half of the batch comes again (bisected)."""
        if error is not None:
            self._size = max(1, len(batch) // 2)
            return
        failed = {one["itemIdentifier"] for one in answer["batchItemFailures"]}
        numbers = [one["dynamodb"]["SequenceNumber"] for one in batch]
        assert failed <= set(numbers), "the function names changes that it did not get"
        del self.pending[: next((at for at, number in enumerate(numbers) if number in failed), len(batch))]
        self._size = BATCH


class StreamedRows(Rows):
    """Rows whose changes go to a stream."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self._stream = stream

    def store(self, key: Key, new: Stored | None) -> None:
        """Stores a row, or deletes it."""
        old = self.get(key)
        super().store(key, new)
        self._stream.note(key, old.item if old else None, new.item if new else None)


def record_of(key: Key, old: Item | None, new: Item | None, number: int = 1) -> dict[str, Any]:
    """Returns the change of a row as Lambda hands it over (Lambda Developer Guide, DynamoDB event)."""
    kind = "INSERT" if old is None else "REMOVE" if new is None else "MODIFY"
    images = {"OldImage": old, "NewImage": new}
    return {
        "eventID": f"{number:032x}",
        "eventName": kind,
        "eventSource": "aws:dynamodb",
        "eventSourceARN": ARN,
        "dynamodb": {
            "Keys": {"pk": {"S": key[0]}, "sk": {"S": key[1]}},
            **{name: image for name, image in images.items() if image is not None},
            "SequenceNumber": f"{number:021d}",
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
    }


def matches(pattern: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Returns whether Lambda's event filtering lets a record through, for patterns of plain values."""
    for name, wanted in pattern.items():
        value = record.get(name)
        if isinstance(wanted, Mapping):
            if not isinstance(value, Mapping) or not matches(wanted, value):
                return False
        elif value not in wanted:
            return False
    return True


@cache
def filters() -> dict[str, Any]:
    """The patterns of the mapping, by their names in ``events.tf``, which alone has them."""
    with (checks.ROOT / "events.tf").open() as file:
        (found,) = hcl2.load(file)["locals"]
    known = {f"${{local.{name}}}": found[name] for name in ("active_statuses", "terminal_statuses")}
    return {name: {"dynamodb": _resolved(one, known)} for name, one in found["event_filters"].items()}


def _resolved(value: Any, known: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {name: _resolved(one, known) for name, one in value.items()}
    if isinstance(value, list):
        return [_resolved(one, known) for one in value]
    if isinstance(value, str):
        return _resolved(known[value], known) if value in known else value.strip('"')
    return value
