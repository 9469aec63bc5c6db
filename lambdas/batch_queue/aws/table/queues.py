"""Which routes may have places in the queue, including routes that were removed."""

from __future__ import annotations

from .dynamo import Dynamo

_KEY = "queues"


class Queues:
    """The names of the routes whose queues may hold places, whether they are still configured or not."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo

    def known(self) -> set[str]:
        """Returns the names of these routes."""
        return {item["sk"] for item in self._dynamo.query("pk = :pk", {":pk": _KEY}, consistent=True)}

    def add(self, route: str) -> None:
        """Records that a route may have places from now on."""
        self._dynamo.transact([self._dynamo.putting({"pk": _KEY, "sk": route})])

    def forget(self, route: str) -> None:
        """Records that a route that was removed has no places, and gets no more of them."""
        self._dynamo.delete((_KEY, route))
