"""A made-up week of a queue, for the report."""

from __future__ import annotations

import random
from collections.abc import Iterator

from batch_queue.core import names
from batch_queue.core.rows import Job, Route, Status, Upload
from bedrock_batch.report import Data

SINCE = 1_763_942_400.0  # Monday 2025-11-24
WEEK = 7 * 86_400.0
HAIKU = "global.anthropic.claude-haiku-4-5-20251001-v1:0"
NOVA = "us.amazon.nova-lite-v1:0"
_FAILED = (
    "Bedrock could not read s3://reviews-data/jobs/{id}/in/: the service is unavailable. Try again later.",
    "The service role arn:aws:iam::123456789012:role/reviews-bedrock cannot read the input of job {id}.",
)
_REJECTED = (
    "modelInput must be an object, not a string (3 more faults)",
    "recordId appears more than once in the line: keep one of them",
    "not valid JSON: Expecting ',' delimiter at character 118 of the line",
)


def route(name: str, model: str, slots: int, *, prices: bool = True) -> Route:
    return Route(
        name=name,
        model_id=model,
        invocation_type="InvokeModel",
        max_active_jobs=slots,
        reserved_slots=0,
        priority=0,
        min_records_per_job=100,
        max_records_per_job=50_000,
        max_records_per_file=50_000,
        max_bytes_per_file=1_000_000_000,
        max_bytes_per_job=5_000_000_000,
        pack_wait_minutes=5,
        undersized="reject",
        max_record_attempts=3,
        media=False,
        tags={},
        input_price="0.5" if prices else "",
        output_price="2.5" if prices else "",
    )


ROUTES = {
    one.name: one
    for one in (
        route("default", HAIKU, 10),
        route("reviews-backfill", HAIKU, 10),
        route("support-tickets", NOVA, 5),
        route("product-descriptions-weekly", NOVA, 5, prices=False),
    )
}


def week(jobs: int = 760, seed: int = 7) -> Data:
    """Returns a week with about so many jobs: quiet nights, a backfill, failures and work that goes on."""
    chance = random.Random(seed)
    made = list(_jobs(chance, jobs))
    uploads = [upload for job in made for upload in _uploads(chance, job)]
    uploads += list(_rejected(chance, max(3, jobs // 30)))
    return Data(
        queue="reviews",
        version="0.1.0",
        since=SINCE,
        until=SINCE + WEEK,
        uploads=uploads,
        jobs=made,
        routes=ROUTES,
        errors={
            "default": {"400": 412, "424": 57, "JobExpired": 120},
            "support-tickets": {"400": 9, "MediaUnavailable": 31, "429": 4},
        },
        examples={
            "400": "to-process/2025/11/24/part-0003.jsonl",
            "424": "to-process/2025/11/26/part-0101.jsonl",
            "MediaUnavailable": "to-process/support-tickets/scans/2025-11-27.jsonl",
        },
    )


def _jobs(chance: random.Random, count: int) -> Iterator[Job]:
    free = {name: [SINCE - 7200.0] * one.max_active_jobs for name, one in ROUTES.items()}
    shared = {one.model_id: free[name] for name, one in ROUTES.items()}
    weights = {"default": 5, "reviews-backfill": 6, "support-tickets": 4, "product-descriptions-weekly": 2}
    arrivals = sorted(_arrival(chance, number / count) for number in range(count))
    for number, arrival in enumerate(arrivals):
        name = chance.choices(list(weights), list(weights.values()))[0]
        slots = shared[ROUTES[name].model_id]
        slot = slots.index(min(slots))
        submitted = max(arrival, slots[slot]) + 20
        records = chance.choice((1_000, 4_000, 12_500, 25_000, 50_000))
        started = submitted + chance.uniform(120, 1800)
        ended = started + records / chance.uniform(2.5, 9) + chance.uniform(60, 900)
        slots[slot] = ended
        if submitted > SINCE + WEEK:
            return
        yield _job(chance, number, name, records, submitted, started, ended)


def _arrival(chance: random.Random, at: float) -> float:
    day, hour = divmod(at * 7, 1)
    return SINCE + (int(day) + 0.3 + 0.7 * hour) * 86_400 + chance.uniform(-3600, 3600)


def _job(
    chance: random.Random,
    number: int,
    name: str,
    records: int,
    submitted: float,
    started: float,
    ended: float,
) -> Job:
    job_id = f"{number:032x}"
    over = ended <= SINCE + WEEK
    status = chance.choices((Status.COMPLETED, Status.FAILED, Status.EXPIRED, Status.STOPPED), (96, 2, 1, 1))[
        0
    ]
    errors = records // 400 if chance.random() < 0.2 else 0
    good = records - errors if status == Status.COMPLETED else 0
    failed = chance.choice(_FAILED).format(id=job_id) if status == Status.FAILED else ""
    return Job(
        job_id=job_id,
        job_name=names.job_name("reviews", job_id),
        route=name,
        model_id=ROUTES[name].model_id,
        status=status if over else Status.IN_PROGRESS,
        created_at=names.iso(submitted - 5),
        sealed=True,
        arn=f"arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/{number:012x}",
        message=failed if over else "",
        records=records,
        success_count=good if over else 0,
        error_count=errors if over and status == Status.COMPLETED else 0,
        submitted_at=names.iso(submitted),
        started_at=names.iso(started),
        ended_at=names.iso(ended) if over else "",
    )


def _uploads(chance: random.Random, job: Job) -> Iterator[Upload]:
    begun = names.epoch(job.submitted_at)
    day = job.submitted_at[:10].replace("-", "/")
    folder = "" if job.route == "default" else f"{job.route}/"
    failed = job.status in (Status.FAILED, Status.EXPIRED)
    whole = Status.PARTIALLY_COMPLETED if job.error_count else Status.COMPLETED
    status = Status.FAILED if failed else whole
    if job.status == Status.STOPPED:
        status = Status.CANCELLED
    if not job.ended_at:
        status = Status.SUBMITTED
    yield Upload(
        upload_id=f"{int(job.job_id, 16) + 10**9:032x}",
        bucket="reviews-data",
        key=f"to-process/{folder}{day}/part-{int(job.job_id, 16):04d}.jsonl",
        route=job.route,
        status=status,
        created_at=names.iso(begun - chance.lognormvariate(6, 1.4)),
        records=job.records,
        success_count=job.success_count,
        error_count=job.records if failed and job.ended_at else job.error_count,
        input_tokens=job.success_count * chance.randint(380, 900),
        output_tokens=job.success_count * chance.randint(60, 240),
        job_arns=frozenset({job.arn}),
        message="Cancelled at 2025-11-27T09:12:44.031Z by ana (wrong prompt)."
        if status == Status.CANCELLED
        else "",
        ended_at=names.iso(names.epoch(job.ended_at) + 40) if job.ended_at else "",
    )


def _rejected(chance: random.Random, count: int) -> Iterator[Upload]:
    for number in range(count):
        path = f"inbox/team-{number % 5}/export-{number}.jsonl"
        at = names.iso(SINCE + chance.uniform(0, WEEK))
        reason = chance.choices(_REJECTED, (5, 3, 1))[0]
        words = f"Rejected, nothing was run: line {chance.randint(1, 90_000):,}: {reason}."
        yield Upload(
            upload_id=f"{number + 10**12:032x}",
            bucket="reviews-data",
            key=f"to-process/{path}",
            route="default",
            status=Status.REJECTED,
            created_at=at,
            records=chance.randint(10, 3_000),
            message=f"{words} All in processed/{path}.rejected.json",
            ended_at=at,
        )
    for number in range(6):
        yield Upload(
            upload_id=f"{number + 10**13:032x}",
            bucket="reviews-data",
            key=f"to-process/later-{number}.jsonl",
            route="default",
            status=Status.PENDING,
            created_at=names.iso(SINCE + WEEK - 600),
            records=20_000,
        )
