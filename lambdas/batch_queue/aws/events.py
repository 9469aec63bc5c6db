"""Adapter for EventBridge: sends events to a bus."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from batch_queue.core.events import SOURCE, Event

from .patience import Patience

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

# PutEvents accepts ten entries, and 256 KB for all of them (EventBridge User Guide, calculating the size).
MOST_ENTRIES = 10
MOST_BYTES = 256_000
# Why EventBridge does not accept an event now (EventBridge API reference: PutEvents, common errors).
_PASSING = {"InternalException", "InternalFailure", "ThrottlingException"}
_TIME_BYTES = 14


class Events:
    """Sends events to the bus ``bus`` (an ARN)."""

    def __init__(self, client: EventBridgeClient, bus: str, patience: Patience) -> None:
        self._events = client
        self._bus = bus
        self._patience = patience

    def within(self, patience: Patience) -> Events:
        """Returns the same bus for an invocation that has this much patience."""
        return Events(self._events, self._bus, patience)

    def send(self, events: Sequence[Event]) -> list[str]:
        """Sends events, in order. Returns for each one why the bus refuses it: a code, or "" if it does not.

        An event that the bus does not take now is sent again as long as the invocation has time. Raises
        ClientError if the bus refuses the call itself.
        """
        codes: list[str] = []
        for batch in _batches([self._entry(event) for event in events]):
            codes += self._put(batch)
        return codes

    def _put(self, entries: Sequence[dict[str, Any]]) -> list[str]:
        codes = [""] * len(entries)
        left = list(range(len(entries)))
        tries = 0
        while left:
            some: Any = [entries[at] for at in left]
            put = partial(self._events.put_events, Entries=some)
            answers = self._patience.call(put, _passing)["Entries"]
            for at, answer in zip(left, answers, strict=True):
                codes[at] = answer.get("ErrorCode", "")
            left = [at for at in left if codes[at] in _PASSING]
            if left and not self._patience.wait(tries):
                break
            tries += 1
        return codes

    def _entry(self, event: Event) -> dict[str, Any]:
        return {
            "EventBusName": self._bus,
            "Source": SOURCE,
            "DetailType": str(event.kind),
            "Time": datetime.fromisoformat(event.time),
            "Resources": list(event.resources),
            "Detail": json.dumps(event.detail, ensure_ascii=False, separators=(",", ":")),
        }


def entry_size(entry: dict[str, Any]) -> int:
    """Returns the size of an entry in bytes, as EventBridge calculates it."""
    texts = [entry["Source"], entry["DetailType"], entry["Detail"], *entry["Resources"]]
    return _TIME_BYTES + sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)


def _batches(entries: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yields the entries of one call after the other."""
    batch: list[dict[str, Any]] = []
    size = 0
    for entry in entries:
        own = entry_size(entry)
        if batch and (len(batch) == MOST_ENTRIES or size + own > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += own
    if batch:
        yield batch


def _passing(error: ClientError) -> bool:
    return error.response["Error"]["Code"] in _PASSING
