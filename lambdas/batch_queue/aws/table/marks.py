"""Since when the table is in use, and up to when everything was swept."""

from __future__ import annotations

from batch_queue.core.records import dataclass

from .dynamo import NEW, Dynamo

_BEGAN = ("table", "began")
_SWEPT = ("table", "swept")


@dataclass(frozen=True, slots=True)
class Began:
    """Since when the table is in use (ISO 8601). ``empty``: the bucket then had no trace of any upload."""

    at: str
    empty: bool


class Marks:
    """Times (ISO 8601) that the queue remembers.

    ``began``: what is older may have been in another table, which is gone. ``swept``: what was overwritten
    before was found by a sweep, if nothing else has found it.
    """

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo

    def began(self) -> Began | None:
        """Returns since when the table is in use; None if nobody has stored it yet."""
        for consistent in (False, True):
            if seen := self._dynamo.get(_BEGAN, consistent=consistent):
                return Began(str(seen["at"]), bool(seen.get("empty")))
        return None

    def begin(self, now: str, *, empty: bool) -> Began:
        """Stores that the table is in use since ``now``, unless another run has. Returns what is stored."""
        begun = Began(now, empty)
        self._dynamo.update(_BEGAN, {"at": begun.at, "empty": begun.empty}, condition=NEW)
        return self.began() or begun

    def swept(self) -> str:
        """Returns up to when everything was swept; "" if no sweep has come to its end."""
        return str((self._dynamo.get(_SWEPT) or {}).get("at", ""))

    def sweep_ended(self, began: str) -> None:
        """Stores that a sweep of everything has come to its end. ``began``: up to when it has swept."""
        self._dynamo.update(_SWEPT, {"at": began}, condition=f"{NEW} OR #at < :at")
