"""The processor's lease, with a mark that another run asked for one more round."""

from __future__ import annotations

from .dynamo import Dynamo, milliseconds

_LEASE = ("control", "lease")


class Lease:
    """Lets one run at a time dispatch. It avoids wasted work; conditional writes ensure correctness."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo

    def acquire(self, owner: str, now: float, until: float) -> bool:
        """Acquires the lease until ``until`` (epoch seconds). Returns False if another run holds it.

        In that case, the other run is marked as woken, so that it starts another round before it stops.
        """
        # No wake-up is lost where this run stops without a write of its own. A mark is cleared only before a
        # round that reads everything (by `acquire` and by `release`) or by a run that fails or ran out of
        # time (`drop`), which Lambda repeats or which invokes the next. The mark is read with strong
        # consistency, after the row that this run was woken for: whoever clears it reads that row afterwards.
        seen = self._dynamo.get(_LEASE) or {}
        held = "owner" in seen and seen["owner"] != owner and seen["until"] >= milliseconds(now)
        if held and ("woken" in seen or self._mark(now)):
            return False
        # If another run is quicker, it has acquired the lease since, and begins its first round after that.
        return self._dynamo.update(
            _LEASE,
            {"owner": owner, "until": milliseconds(until)},
            remove=("woken",),
            condition="attribute_not_exists(#owner) OR #until < :now OR #owner = :owner",
            values={":now": milliseconds(now)},
        )

    def _mark(self, now: float) -> bool:
        """Marks the run that holds the lease as woken. Returns False if it has released the lease."""
        return self._dynamo.update(
            _LEASE,
            {"woken": True},
            condition="attribute_exists(#owner) AND #until >= :now",
            names={"#owner": "owner", "#until": "until"},
            values={":now": milliseconds(now)},
        )

    def release(self, owner: str) -> bool:
        """Releases the lease. Returns False if this run was woken: it keeps the lease and must continue."""
        mine = {"#owner": "owner"}
        released = self._dynamo.update(
            _LEASE,
            {},
            remove=("owner", "until"),
            condition="#owner = :me AND attribute_not_exists(woken)",
            names=mine,
            values={":me": owner},
        )
        if released:
            return True
        woken = self._dynamo.update(
            _LEASE, {}, remove=("woken",), condition="#owner = :me", names=mine, values={":me": owner}
        )
        return not woken

    def drop(self, owner: str) -> None:
        """Releases the lease even if this run was woken."""
        self._dynamo.update(
            _LEASE,
            {},
            remove=("owner", "until", "woken"),
            condition="#owner = :me",
            names={"#owner": "owner"},
            values={":me": owner},
        )
