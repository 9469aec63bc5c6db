"""The processor's lease, and the wake-ups on their way to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .dynamo import Dynamo, milliseconds

_LEASE = ("control", "lease")
# A wake-up that was sent this long ago may be lost. Lambda repeats the event of the function that was to send
# it after a minute: it then sends another one.
ON_ITS_WAY_SECONDS = 30.0


class Lease:
    """Lets one run at a time dispatch, and has it woken once for any number of uploads.

    The lease avoids wasted work; conditional writes ensure correctness.

    No wake-up is lost. Whoever has stored work for the processor calls ``wake``, which reads the lease with
    strong consistency. It does nothing if another wake-up is on its way (``sent_at``), or if the run that
    holds the lease is marked (``woken``). Both marks are cleared only before a round that reads everything
    (``acquire``, ``release``, ``take_mark``), or by a run that failed or ran out of time (``drop``), which
    Lambda repeats or which invokes the next one. In every other case, ``wake`` leaves one of these marks.
    """

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo

    # ---------------------------------------------------------------------------------------- who wakes it

    def needs_wake_up(self, now: float) -> bool:
        """Returns whether ``wake`` would leave a mark at ``now`` (epoch seconds). Writes nothing."""
        seen = self._dynamo.get(_LEASE) or {}
        if _is_held(seen, now):
            return "woken" not in seen
        return not _is_on_its_way(seen, now)

    def wake(self, now: float) -> bool:
        """Marks the run that holds the lease as woken, or records that a wake-up is being sent.

        Returns whether the caller has to send it, by invoking the processor.
        """
        seen = self._dynamo.get(_LEASE) or {}
        if _is_held(seen, now) and ("woken" in seen or self._mark(now)):
            return False
        if _is_on_its_way(seen, now):
            return False
        # If this fails, another one has sent a wake-up or acquired the lease since, and so begins a round.
        return self._dynamo.update(
            _LEASE,
            {"sent_at": milliseconds(now)},
            condition="(attribute_not_exists(#owner) OR #until < :now) AND "
            "(attribute_not_exists(#sent_at) OR #sent_at < :lost OR #sent_at > :ahead)",
            names={"#owner": "owner", "#until": "until"},
            values={
                ":now": milliseconds(now),
                ":lost": milliseconds(now - ON_ITS_WAY_SECONDS),
                ":ahead": milliseconds(now + ON_ITS_WAY_SECONDS),
            },
        )

    def withdraw(self, now: float) -> None:
        """Undoes ``wake``, as of ``now``, if the processor could not be invoked."""
        self._dynamo.update(
            _LEASE,
            {},
            remove=("sent_at",),
            condition="#sent_at = :mine",
            values={":mine": milliseconds(now)},
        )

    # ------------------------------------------------------------------------------------------ who runs

    def acquire(self, owner: str, now: float, until: float, retry_of: str = "") -> bool:
        """Acquires the lease until ``until`` (epoch seconds). Returns False if another run holds it.

        In that case, the other run is marked as woken, so that it starts another round before it stops.
        ``retry_of``: how the owner begins that was this run before Lambda repeated its event. If that run was
        killed, it cannot release the lease.
        """
        seen = self._dynamo.get(_LEASE) or {}
        mine = seen.get("owner", "").startswith(retry_of) if retry_of else seen.get("owner") == owner
        if _is_held(seen, now) and not mine and ("woken" in seen or self._mark(now)):
            return False
        ours = "#owner = :owner"
        values: dict[str, Any] = {":now": milliseconds(now)}
        if retry_of:
            ours += " OR begins_with(#owner, :before)"
            values[":before"] = retry_of
        # If another run is quicker, it has acquired the lease since, and begins its first round after that.
        return self._dynamo.update(
            _LEASE,
            {"owner": owner, "until": milliseconds(until)},
            remove=("woken", "sent_at"),
            condition=f"attribute_not_exists(#owner) OR #until < :now OR {ours}",
            values=values,
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

    def take_mark(self, owner: str) -> bool:
        """Clears the mark that this run was woken. Returns whether it was: it must then read everything."""
        return "woken" in (self._dynamo.get(_LEASE) or {}) and self._clear(owner)

    def _clear(self, owner: str) -> bool:
        return self._dynamo.update(
            _LEASE,
            {},
            remove=("woken",),
            condition="#owner = :me",
            names={"#owner": "owner"},
            values={":me": owner},
        )

    def release(self, owner: str) -> bool:
        """Releases the lease. Returns False if this run was woken: it keeps the lease and must continue."""
        released = self._dynamo.update(
            _LEASE,
            {},
            remove=("owner", "until"),
            condition="#owner = :me AND attribute_not_exists(woken)",
            names={"#owner": "owner"},
            values={":me": owner},
        )
        return released or not self._clear(owner)

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


def _is_held(seen: Mapping[str, Any], now: float) -> bool:
    return "owner" in seen and bool(seen["until"] >= milliseconds(now))


def _is_on_its_way(seen: Mapping[str, Any], now: float) -> bool:
    """Returns whether a wake-up was sent a short while ago, by clocks that may differ."""
    return "sent_at" in seen and abs(seen["sent_at"] - milliseconds(now)) <= milliseconds(ON_ITS_WAY_SECONDS)
