"""Lambda under a virtual clock: asynchronous events, concurrency, time-outs, retries and dead letters."""

from __future__ import annotations

import itertools
import json
from collections import Counter, deque
from collections.abc import Mapping
from functools import partial
from typing import Any

from tests.support.fake_pool import Caught
from tests.support.meter import Invocation, Meter
from tests.support.world import HANDLERS, RETRY_SECONDS, TIMEOUTS, Context

CONCURRENCY = 1000


class FakeLambda:
    """Stands for boto3's client, and runs the handlers. The functions have the time-outs of ``main.tf``.

    Each function has a queue of its own. What waits in them runs in turn, ``concurrency`` at once.
    """

    def __init__(
        self, meter: Meter, concurrency: int = CONCURRENCY, timeouts: Mapping[str, float] = TIMEOUTS
    ) -> None:
        self._meter = meter
        self._free = concurrency
        self._timeouts = timeouts
        self._waiting: dict[str, deque[tuple[Any, int, str]]] = {name: deque() for name in HANDLERS}
        self._turn = itertools.cycle(HANDLERS)
        self._ids = itertools.count(1)
        self.on_its_way = 0  # events that wait, run, or are tried again later
        self.dead: Counter[str] = Counter()

    def invoke(self, **call: Any) -> dict[str, Any]:
        """Accepts an event."""
        assert call["InvocationType"] == "Event"
        self._meter.call("Invoke")
        self.arrives(call["FunctionName"], json.loads(call["Payload"]))
        return {"StatusCode": 202}

    def arrives(self, function: str, event: Any, delay: float = 0.0) -> None:
        """Has an event come for a function."""
        self.on_its_way += 1
        arrival = partial(self._arrive, function, event, 0, f"request-{next(self._ids)}")
        if delay:
            self._meter.turns.start(arrival, delay)
        else:
            arrival()

    def _arrive(self, function: str, event: Any, attempt: int, request_id: str) -> None:
        self._waiting[function].append((event, attempt, request_id))
        self._next()

    def _next(self) -> None:
        if not self._free or not any(self._waiting.values()):
            return
        self._free -= 1
        function = next(name for name in self._turn if self._waiting[name])
        self._meter.turns.start(partial(self._run, function, *self._waiting[function].popleft()))

    def _run(self, function: str, event: Any, attempt: int, request_id: str) -> None:
        invocation = self.run(function, event, request_id)
        if invocation.error and attempt < len(RETRY_SECONDS):
            again = partial(self._arrive, function, event, attempt + 1, request_id)
            self._meter.turns.start(again, RETRY_SECONDS[attempt])
        else:
            self.on_its_way -= 1
            self.dead[function] += bool(invocation.error)
        self._free += 1
        self._next()

    def run(self, function: str, event: Any, request_id: str = "request") -> Invocation:
        """Runs a function now."""
        now, timeout = self._meter.turns.now, self._timeouts[function]
        invocation = Invocation(function, began=now, deadline=now + timeout)
        self._meter.invocations.append(invocation)
        with self._meter.within(invocation), Caught() as errors:
            HANDLERS[function](event, Context(request_id, function, timeout))
        if errors:
            invocation.error = f"{type(errors[0]).__name__}: {errors[0]}"
        invocation.ended = self._meter.turns.now
        return invocation
