"""Since when the table is in use, and up to when everything was swept."""

from __future__ import annotations

from .dynamo import NEW, Dynamo

_BEGAN = ("table", "began")
_SWEPT = ("table", "swept")


class Marks:
    """Times (ISO 8601) that the queue remembers.

    ``began``: what is older may have been in another table, which is gone. ``swept``: what was overwritten
    before was found by a sweep, if nothing else has found it.
    """

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo

    def began(self, now: str) -> str:
        """Returns since when the table is in use: since ``now`` if nobody has asked before."""
        for consistent in (False, True):
            seen = self._dynamo.get(_BEGAN, consistent=consistent)
            if seen is not None:
                return str(seen["at"])
            if self._dynamo.update(_BEGAN, {"at": now}, condition=NEW):
                return now
        return now

    def swept(self) -> str:
        """Returns up to when everything was swept; "" if no sweep has come to its end."""
        return str((self._dynamo.get(_SWEPT) or {}).get("at", ""))

    def sweep_ended(self, began: str) -> None:
        """Stores that a sweep of everything has come to its end. ``began``: up to when it has swept."""
        self._dynamo.update(_SWEPT, {"at": began}, condition=f"{NEW} OR #at < :at")
