"""Since when the table is in use."""

from __future__ import annotations

from .dynamo import NEW, Dynamo

_BEGAN = ("table", "began")


class Marks:
    """When the table came into use. What is older may have been in another table, which is gone."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo

    def began(self, now: str) -> str:
        """Returns since when the table is in use (ISO 8601): since ``now`` if nobody has asked before."""
        for consistent in (False, True):
            seen = self._dynamo.get(_BEGAN, consistent=consistent)
            if seen is not None:
                return str(seen["at"])
            if self._dynamo.update(_BEGAN, {"at": now}, condition=NEW):
                return now
        return now
