"""Stands for ThreadPoolExecutor under a virtual clock: its workers are actors that take turns."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from functools import partial
from typing import Any, Self

from tests.support.meter import Meter


class Caught:
    """A context that keeps the error that ends it, whatever it is."""

    def __init__(self) -> None:
        self._errors: list[BaseException] = []

    def __enter__(self) -> list[BaseException]:
        return self._errors

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if error is None or isinstance(error, SystemExit):  # the end of the whole run
            return False
        self._errors.append(error)
        return True


class Future:
    """The outcome of one call."""

    def __init__(self, meter: Meter, call: Callable[[], Any]) -> None:
        self._meter = meter
        self._call: Callable[[], Any] | None = call
        self._done = False
        self._result: Any = None
        self._error: BaseException | None = None
        self._waiting: list[threading.Lock] = []

    def run(self) -> None:
        """Makes the call, unless it was cancelled."""
        if (call := self._call) is None:
            return
        self._call = None
        with Caught() as errors:
            self._result = call()
        self._error = errors[0] if errors else None
        self._end()

    def cancel(self) -> bool:
        """Has the call never made. Returns False if it was begun."""
        if self._call is None:
            return False
        self._call, self._error = None, CancelledError()
        self._end()
        return True

    def _end(self) -> None:
        self._done = True
        for baton in self._waiting:
            self._meter.turns.unpark(baton)

    def done(self) -> bool:
        return self._done

    def exception(self) -> BaseException | None:
        """The error of the call, or None. Waits until it has ended."""
        if not self._done:
            self._meter.turns.park(self._waiting.append)
        return self._error

    def result(self) -> Any:
        """What the call gave, or its error. Waits until it has ended."""
        if (error := self.exception()) is not None:
            raise error
        return self._result


class Pool:
    """Runs calls side by side, ``max_workers`` at most, as parts of the invocation that makes them."""

    def __init__(self, meter: Meter, max_workers: int = 32) -> None:
        self._meter = meter
        self._most = max_workers
        self._queue: deque[Future] = deque()
        self._running = 0
        self._futures: list[Future] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def submit(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Future:
        """Has a call made by the next worker that is free."""
        future = Future(self._meter, partial(call, *arguments, **named))
        self._futures.append(future)
        self._queue.append(future)
        if self._running < self._most:
            self._running += 1
            self._meter.turns.start(partial(self._work, self._meter.invocation))
        return future

    def map(self, call: Callable[..., Any], *items: Iterable[Any]) -> Iterator[Any]:
        """Gives what the call gives for each item, in order."""
        return _results([self.submit(call, *each) for each in zip(*items, strict=False)])

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Waits until what was begun has ended."""
        for future in self._futures:
            if cancel_futures:
                future.cancel()
            if wait:
                future.exception()
        self._futures = []

    def _work(self, invocation: Any) -> None:
        with self._meter.within(invocation):
            while self._queue:
                self._queue.popleft().run()
        self._running -= 1


def _results(futures: list[Future]) -> Iterator[Any]:
    try:
        for future in futures:
            yield future.result()
    finally:  # as ``Executor.map`` does: after an error, what has not begun never begins
        for future in futures:
            future.cancel()
