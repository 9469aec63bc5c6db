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

        In that case, marks the other run as woken, so that it starts another round before it stops.
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
