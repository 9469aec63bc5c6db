"""The workloads that are measured, and what is measured of each: calls, units, invocations and virtual time.

Records are few so that the measurement is fast: each stands for ``Timeline.weight`` of them, and the limits
of the routes are smaller by as much. Chunks, jobs, rows, objects and calls are as many as at full size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

from batch_queue.core.rows import Route, Status
from batch_queue.steps import validation

from tests.support.fake_bedrock import Timeline
from tests.support.load import EPOCH, Load
from tests.support.routes import configured
from tests.support.world import HAIKU, lines, records

SLOTS = 10


def scaled(weight: int, **attributes: int) -> Route:
    """The default route, with limits that are smaller by ``weight``."""
    limits = {
        name: max(1, getattr(configured("default", HAIKU), name) // weight)
        for name in ("min_records_per_job", "max_records_per_job", "max_records_per_file")
    }
    return configured("default", HAIKU, **{**limits, **attributes})


def padded(count: int, prefix: str, size: int = 0) -> bytes:
    """The lines of records of about ``size`` bytes each."""
    body = records(count, prefix)
    for record in body:
        record["modelInput"]["messages"][0]["content"] += "x" * max(0, size - 180)
    return lines(body)


@dataclass(frozen=True)
class Health:
    """Whether all went well: what no workload may show."""

    uploads: int
    completed: int
    dead_letters: int
    failed_invocations: int
    longest_share: float

    @classmethod
    def of(cls, load: Load) -> Health:
        """How it went."""
        uploads = load.rows("upload")
        return cls(
            uploads=len(uploads),
            completed=sum(row["status"] == Status.COMPLETED for row in uploads),
            dead_letters=load.functions.dead.total(),
            failed_invocations=sum(bool(one.error) for one in load.meter.invocations),
            longest_share=load.meter.longest_share(),
        )


@dataclass(frozen=True)
class Burst:
    """What many small uploads at once gave. Times are in seconds since the last upload."""

    load: Load = field(repr=False)
    health: Health
    stored: float
    first_job: float
    tenth_job: float
    jobs: int
    process_invocations: int
    lease_writes: int
    process_calls: float
    collect_calls: float
    create_calls: float
    throttled: int


BURST_WEIGHT = 20


def burst(uploads: int = 5000, *, limits: bool = True) -> Burst:
    """``uploads`` of 100 records at once, which fit 500 to a job, until they have ended."""
    load = Load(scaled(BURST_WEIGHT), timeline=Timeline(weight=BURST_WEIGHT), limits=limits)
    for number in range(uploads):
        load.upload(f"{number:05d}.jsonl", padded(100 // BURST_WEIGHT, f"{number}-"))
    load.run()
    meter, times = load.meter, load.submitted()
    return Burst(
        load=load,
        health=Health.of(load),
        stored=max(one.ended for one in meter.invoked("create")) - EPOCH,
        first_job=times[0],
        tenth_job=times[min(len(times), SLOTS) - 1],
        jobs=len(times),
        process_invocations=len(meter.invoked("process")),
        lease_writes=meter.worst_second("control"),
        process_calls=meter.calls_of("process") / uploads,
        collect_calls=meter.calls_of("collect") / uploads,
        create_calls=meter.calls_of("create") / uploads,
        throttled=meter.throttled.total(),
    )


@dataclass(frozen=True)
class Refill:
    """How long each slot stood idle before its next job, in seconds, when all jobs end at once; in order."""

    load: Load = field(repr=False)
    health: Health
    idle: list[float]


REFILL_WEIGHT = 500
REFILL_ROUNDS = 3


def refill() -> Refill:
    """Uploads that are a full job each, and take all slots a few times over."""
    route = scaled(REFILL_WEIGHT, max_records_per_job=100, max_records_per_file=100)
    load = Load(route, timeline=Timeline(weight=REFILL_WEIGHT))
    for number in range(REFILL_ROUNDS * SLOTS):
        load.upload(f"{number:02d}.jsonl", padded(100, f"{number}-"))
    load.run()
    jobs = load.bedrock.jobs.values()
    ended = sorted(max(job.history.values()) for job in jobs)[:-SLOTS]
    begun = load.submitted()[SLOTS:]
    idle = [at + EPOCH - end for end, at in zip(ended, begun, strict=True)]
    return Refill(load=load, health=Health.of(load), idle=sorted(idle))


@dataclass(frozen=True)
class Packed:
    """What collecting one job of many uploads gave: its time in seconds, and its calls for an upload."""

    load: Load = field(repr=False)
    health: Health
    seconds: float
    calls: float
    chunks: int


def packed(uploads: int = 500) -> Packed:
    """One job with all of ``uploads``: its slot falls free when all of them are there."""
    route = scaled(BURST_WEIGHT, max_active_jobs=1)
    load = Load(route, timeline=Timeline(weight=BURST_WEIGHT), foreign=1)
    for number in range(uploads):
        load.upload(f"{number:05d}.jsonl", padded(100 // BURST_WEIGHT, f"{number}-"))
    load.turns.start(load.bedrock.end_foreign, 600.0)
    load.run()
    runs = load.meter.invoked("collect")
    return Packed(
        load=load,
        health=Health.of(load),
        seconds=max(run.ended for run in runs) - min(run.began for run in runs),
        calls=load.meter.calls_of("collect") / uploads,
        chunks=max(len(job.files) for job in load.bedrock.jobs.values()),
    )


@dataclass(frozen=True)
class Large:
    """What one large upload gave. Times are in seconds since its last byte was read."""

    load: Load = field(repr=False)
    health: Health
    chunks: int
    jobs: int
    stored: float
    first_job: float
    tenth_job: float
    gets: float


LARGE_WEIGHT = 500


def large(chunks: int = 2500, *, limits: bool = True) -> Large:
    """One upload of ``chunks`` chunks of 5,000 records, ten to a job, until it has ended."""
    route, timeline = scaled(LARGE_WEIGHT, min_records_per_job=1), Timeline(weight=LARGE_WEIGHT)
    load = Load(route, timeline=timeline, limits=limits)
    body = padded(chunks * 5000 // LARGE_WEIGHT, "r", 300)
    load.upload("big.jsonl", body)
    load.run()
    read = load.meter.marks["create read to-process/big.jsonl"] - EPOCH
    times = load.submitted()
    return Large(
        load=load,
        health=Health.of(load),
        chunks=len(load.rows("chunk#")),
        jobs=len(times),
        stored=max(one.ended for one in load.meter.invoked("create")) - EPOCH - read,
        first_job=times[0] - read,
        tenth_job=times[SLOTS - 1] - read,
        gets=load.bedrock.gets.total() / len(times),
    )


@dataclass(frozen=True)
class Tiny:
    """What an upload of very many short records gave: whether it was stored, and in how many invocations."""

    load: Load = field(repr=False)
    health: Health
    chunks: int
    places: int
    invocations: int
    seconds: float


TINY_WEIGHT = 500
#: What the reader takes for 5 GB of records of 111 bytes.
TINY_READING_SECONDS = 771.0


@contextmanager
def _heavier(weight: int) -> Iterator[None]:
    """Each record takes the time of ``weight`` records to compare its recordId."""
    with patch.object(validation, "TWICE_SECONDS", validation.TWICE_SECONDS * weight):
        yield


def tiny(chunks: int = 9000) -> Tiny:
    """One upload of 5 GB: ``chunks`` chunks of 5,000 records of 111 bytes, while all slots are taken."""
    body = lines(
        [{"recordId": f"{number:08d}", "modelInput": {"x": "y" * 67}} for number in range(chunks * 10)]
    )
    load = Load(
        scaled(TINY_WEIGHT, min_records_per_job=1),
        pace=TINY_READING_SECONDS / len(body),
        block=2048,
        foreign=SLOTS,
    )
    load.upload("tiny.jsonl", body)
    with _heavier(TINY_WEIGHT):
        load.run(schedule=False)
    runs = load.meter.invoked("create")
    return Tiny(
        load=load,
        health=Health.of(load),
        chunks=len(load.rows("chunk#")),
        places=sum(item["pk"]["S"].startswith("queue#") for item in load.table.rows),
        invocations=len(runs),
        seconds=max(run.ended for run in runs) - EPOCH,
    )
