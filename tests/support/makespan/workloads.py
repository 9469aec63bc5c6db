"""Workloads: which files arrive when, on which route, and how long Bedrock's jobs take."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from batch_queue.core.names import base_model
from batch_queue.core.rows import Estimate, Route

from tests.support.routes import configured

HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
NOVA = "amazon.nova-lite-v1:0"

MINUTE = 60.0
DAY = 24 * 60 * MINUTE
#: A job takes 15 minutes, and a minute for each 1,000 records.
TRUE = Estimate(overhead_seconds=15 * MINUTE, records_per_second=1_000 / MINUTE, jobs=10)
#: Estimates that are wrong by three: jobs seem to take three times as long, or a third of the time.
TOO_LONG = Estimate(3 * TRUE.overhead_seconds, TRUE.records_per_second / 3, jobs=10)
TOO_SHORT = Estimate(TRUE.overhead_seconds / 3, 3 * TRUE.records_per_second, jobs=10)


@dataclass(frozen=True, slots=True)
class File:
    """An upload: when it is complete (seconds), its route and its records."""

    at: float
    route: str
    records: int


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """Files in the order of their arrival, and the routes that they are for, by name."""

    name: str
    files: tuple[File, ...]
    routes: dict[str, Route]

    @property
    def records(self) -> int:
        """The records of all files."""
        return sum(file.records for file in self.files)

    def model(self, file: File) -> str:
        """Returns the base model that runs a file."""
        return base_model(self.routes[file.route].model_id)


def _workload(name: str, files: Iterable[File], *routes: Route) -> Workload:
    by_name = {route.name: route for route in routes or [configured("default", HAIKU)]}
    return Workload(name, tuple(sorted(files, key=lambda file: file.at)), by_name)


def _sizes(count: int, least: int, most: int) -> list[int]:
    chance = random.Random(count)
    return [chance.randint(least, most) for _ in range(count)]


def _over(seconds: float, sizes: list[int], route: str = "default") -> list[File]:
    """Files that arrive evenly: the first at 0, the last one gap before ``seconds``; 0: all at once."""
    return [File(seconds * number / len(sizes), route, size) for number, size in enumerate(sizes)]


def full() -> Workload:
    """200 files of 20,000 to 50,000 records: each could be a job of its own."""
    return _workload("200 full", _over(0, _sizes(200, 20_000, 50_000)))


def heavy_tailed() -> Workload:
    """2,000 files of 10 to 2,000,000 records, log-uniform up to a bounded Pareto tail of index 0.5."""
    chance, least, most, index = random.Random(2_000), 10, 2_000_000, 0.5
    tail = 1 - (least / most) ** index
    sizes = [round(least * (1 - chance.random() * tail) ** (-1 / index)) for _ in range(2_000)]
    return _workload("2,000 heavy-tailed", _over(0, sizes))


def small() -> Workload:
    """10,000 files of 100 to 1,000 records at once."""
    return _workload("10,000 small", _over(0, _sizes(10_000, 100, 1_000)))


def two_models() -> Workload:
    """Two models, each with an urgent route and one that can wait; 4,000 files of 100 to 5,000 records."""
    routes = [
        configured(f"{model}-{name}", model_id, priority=priority)
        for model, model_id in (("haiku", HAIKU), ("nova", NOVA))
        for name, priority in (("urgent", 80), ("bulk", 20))
    ]
    sizes = _sizes(4_000, 100, 5_000)
    counts = (200, 2_000, 300, 1_500)
    files: list[File] = []
    for route, count in zip(routes, counts, strict=True):
        files += _over(0, [sizes.pop() for _ in range(count)], route.name)
    return _workload("two models with priorities", files, *routes)


def four_routes() -> Workload:
    """Four routes of one model, one of them limited to three jobs; 4,000 files of 100 to 2,000 records."""
    routes = [
        configured("first", HAIKU, priority=80),
        configured("second", HAIKU),
        configured("third", HAIKU),
        configured("fourth", "us." + HAIKU, priority=20),
    ]
    sizes = _sizes(4_000, 100, 2_000)
    files = [File(0.0, routes[number % 4].name, size) for number, size in enumerate(sizes)]
    return _workload("four routes of one model", files, *routes)


def over_five_minutes() -> Workload:
    """3,000 files of 100 to 1,000 records over five minutes."""
    return _workload("3,000 small over 5 minutes", _over(5 * MINUTE, _sizes(3_000, 100, 1_000)))


def over_a_minute() -> Workload:
    """100 files of 100 to 1,000 records over one minute."""
    return _workload("100 small over one minute", _over(MINUTE, _sizes(100, 100, 1_000)))


def tiny() -> Workload:
    """30,000 files of 5 to 50 records at once."""
    return _workload("30,000 tiny", _over(0, _sizes(30_000, 5, 50)))


def steady_day() -> Workload:
    """A file a minute for a day, at random times, of 100 to 5,000 records."""
    chance = random.Random(1_440)
    times = sorted(chance.uniform(0, DAY) for _ in range(1_440))
    sizes = _sizes(1_440, 100, 5_000)
    files = [File(at - times[0], "default", size) for at, size in zip(times, sizes, strict=True)]
    return _workload("a steady day", files)


WORKLOADS: tuple[Callable[[], Workload], ...] = (
    full,
    heavy_tailed,
    small,
    two_models,
    four_routes,
    over_five_minutes,
    over_a_minute,
    tiny,
    steady_day,
)
