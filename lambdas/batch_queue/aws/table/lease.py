"""The lease of the processor, and whether it was woken meanwhile."""

from __future__ import annotations

from .dynamo import Dynamo, milliseconds

_LEASE = ("control", "lease")


class Lease:
    """The right of one run at a time to dispatch. It saves waste; the conditional writes keep it correct."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo

    def acquire(self, owner: str, now: float, until: float) -> bool:
        """Takes the lease until ``until`` (epoch seconds); False where another run has it.

        In that case the other run is marked as woken, so that it goes round again before it stops.
        """
        for _ in range(5):
            taken = self._dynamo.update(
                _LEASE,
                {"owner": owner, "until": milliseconds(until)},
                remove=("woken",),
                condition="attribute_not_exists(#owner) OR #until < :now OR #owner = :owner",
                values={":now": milliseconds(now)},
            )
            if taken:
                return True
            marked = self._dynamo.update(
                _LEASE,
                {"woken": True},
                condition="attribute_exists(#owner) AND #until >= :now",
                names={"#owner": "owner", "#until": "until"},
                values={":now": milliseconds(now)},
            )
            if marked:
                return False
        return False

    def release(self, owner: str) -> bool:
        """Gives the lease back; False where this run was woken meanwhile, still has it, and must go on."""
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
        """Gives the lease back whether or not this run was woken meanwhile."""
        self._dynamo.update(
            _LEASE,
            {},
            remove=("owner", "until", "woken"),
            condition="#owner = :me",
            names={"#owner": "owner"},
            values={":me": owner},
        )
