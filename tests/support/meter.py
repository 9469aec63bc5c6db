"""What the functions do, counted: their calls, their units of DynamoDB, their invocations and their time.

Each AWS call takes its latency of virtual time (``LATENCIES``), and the CPU time that botocore needs for it.
The calls that an invocation makes at once overlap, but its CPU does one thing at a time.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from tests.support.turns import Turns

#: What botocore needs for a call, in seconds of one whole core.
CPU_SECONDS = 0.001
#: How long each operation takes, in seconds.
LATENCIES = {
    "GetObject": 0.02,
    "HeadObject": 0.02,
    "PutObject": 0.03,
    "CopyObject": 0.06,
    "DeleteObject": 0.02,
    "DeleteObjects": 0.02,
    "ListObjectsV2": 0.05,
    "ListObjectVersions": 0.05,
    "ListMultipartUploads": 0.05,
    "CreateMultipartUpload": 0.03,
    "UploadPart": 0.03,
    "UploadPartCopy": 0.06,
    "CompleteMultipartUpload": 0.03,
    "AbortMultipartUpload": 0.02,
    "GetItem": 0.005,
    "Query": 0.01,
    "BatchGetItem": 0.01,
    "PutItem": 0.01,
    "UpdateItem": 0.01,
    "DeleteItem": 0.01,
    "BatchWriteItem": 0.01,
    "TransactWriteItems": 0.015,
    "CreateModelInvocationJob": 0.5,
    "GetModelInvocationJob": 0.1,
    "ListModelInvocationJobs": 0.3,
    "Invoke": 0.03,
}
#: The operations of DynamoDB that write.
WRITES = ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems")


class TimedOutError(BaseException):
    """Lambda ended the function: no ``except Exception`` of the function sees it."""


@dataclass
class Invocation:
    """One run of a function. Times are in virtual seconds; ``cpu_free``: when its CPU is idle again.

    ``calls``: its AWS calls. ``items``: the items that it has read from the table.
    """

    function: str
    began: float
    deadline: float
    cpu_free: float = 0.0
    calls: int = 0
    items: int = 0
    ended: float = 0.0
    error: str = ""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began

    @property
    def share(self) -> float:
        """How much of its time-out it took, from 0 to 1."""
        return self.seconds / (self.deadline - self.began)


@dataclass
class Meter:
    """Counts what happens. What tests arrange, outside of an invocation, takes no time and is not counted.

    ``calls`` and ``seconds`` (the time that they took) are by function and operation. ``units`` are by
    function and "read" or "write". ``rows``: calls by function, operation and what the key of the row is.
    ``written``: how often a partition key was written to, by key and whole second. ``throttled``: tries that
    DynamoDB refused, by operation.
    """

    turns: Turns
    cpu_seconds: float = CPU_SECONDS
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: dict[tuple[str, str], float] = field(default_factory=partial(defaultdict, float))
    units: dict[tuple[str, str], float] = field(default_factory=partial(defaultdict, float))
    rows: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    written: Counter[tuple[str, int]] = field(default_factory=Counter)
    throttled: Counter[str] = field(default_factory=Counter)
    invocations: list[Invocation] = field(default_factory=list)
    marks: dict[str, float] = field(default_factory=dict)
    _local: threading.local = field(default_factory=threading.local)

    @property
    def invocation(self) -> Invocation | None:
        """The invocation whose code is running."""
        return getattr(self._local, "invocation", None)

    @contextmanager
    def within(self, invocation: Invocation | None) -> Iterator[None]:
        """What the thread does now is done by an invocation."""
        known, self._local.invocation = self.invocation, invocation
        try:
            yield
        finally:
            self._local.invocation = known

    def call(self, operation: str) -> None:
        """Lets an AWS call take its time. Raises TimedOutError if the function has no time for it."""
        invocation = self.invocation
        if invocation is None:
            return
        key = (invocation.function, operation)
        self.calls[key] += 1
        invocation.calls += 1
        began = self.turns.now
        self._pass(invocation, self.cpu_seconds, LATENCIES[operation])
        self.seconds[key] += self.turns.now - began

    def work(self, seconds: float) -> None:
        """Lets the CPU of the invocation work."""
        if (invocation := self.invocation) is not None and seconds:
            self._pass(invocation, seconds, 0.0)

    def sleep(self, seconds: float) -> None:
        """Stands for ``time.sleep``."""
        if (invocation := self.invocation) is not None:
            self.seconds[invocation.function, "(sleep)"] += seconds
            self._pass(invocation, 0.0, seconds)

    def _pass(self, invocation: Invocation, cpu: float, then: float) -> None:
        now = self.turns.now
        free = max(now, invocation.cpu_free) + cpu
        if cpu:
            invocation.cpu_free = free
        else:
            free = now
        until = min(free + then, invocation.deadline)
        self.turns.sleep(until - now)
        if until == invocation.deadline:
            raise TimedOutError

    # ------------------------------------------------------------------------------------------- views

    def calls_of(self, function: str, *operations: str) -> int:
        """How many calls a function made; only these operations, if any are given."""
        return sum(
            count
            for (name, operation), count in self.calls.items()
            if name == function and (not operations or operation in operations)
        )

    def invoked(self, function: str) -> list[Invocation]:
        """The invocations of a function."""
        return [one for one in self.invocations if one.function == function]

    def worst_second(self, pk: str) -> int:
        """How many writes to a partition key there were in the worst second."""
        return max((count for (key, _), count in self.written.items() if key == pk), default=0)

    def longest_share(self) -> float:
        """The longest share of its time-out that an invocation took."""
        return max((one.share for one in self.invocations), default=0.0)
