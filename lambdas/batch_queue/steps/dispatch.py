"""Step 7: counts the free slots and packs pending chunks into jobs for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from batch_queue.aws.bedrock import Bedrock, BedrockError, ListedJob
from batch_queue.aws.telemetry import emit_metrics, log
from batch_queue.core import names, scheduling
from batch_queue.core.rows import ACTIVE, ON_DEMAND, TERMINAL, Estimate, Job, Place, Route, Status
from batch_queue.core.scheduling import Running, Waiting

from .handover import end
from .queue import Queue
from .run import Run
from .submission import Submission

# A run with less time than this starts neither another round nor another job.
ROUND_SECONDS = 60.0
# A job that keeps failing to submit for an unexpected reason ends as Failed at this age.
GIVE_UP_SECONDS = 24 * 3600.0
# How many of the oldest pending uploads get a message that says why they wait.
TOLD_UPLOADS = 100


class Dispatch:
    """Fills the free slots, first with jobs that earlier runs did not submit, then with pending chunks."""

    def __init__(self, queue: Queue, bedrock: Bedrock) -> None:
        self._queue = queue
        self._bedrock = bedrock
        self._submission = Submission(queue, bedrock)

    def run(self, jobs: list[Job], run: Run) -> bool:
        """Submits the jobs that fit. Returns False if time ran out first.

        ``jobs``: all jobs whose results are not collected yet.
        """
        full: set[str] = set()  # base models that take no more jobs in this round
        known = {job.job_id: job for job in jobs}
        routes = self._queue.table.models.routes()
        unsubmitted = [job for job in jobs if job.status == Status.SUBMITTING]
        pending = self._pending(routes, self._ours(jobs, {}))
        # Other users of the slots matter only if there is something to start.
        others = self._others(jobs) if unsubmitted or any(pending.values()) else []

        def submit(job: Job) -> None:
            result = run.attempt(self._submission.submit, job, job_id=job.job_id)
            known[job.job_id] = result or self._gave_up(job)
            if result is not None and result.status == Status.SUBMITTING:
                full.add(names.base_model(job.model_id))

        for job in unsubmitted:
            if job.instead or _has_slot(job, known.values(), others, routes):
                submit(job)
        estimates = self._queue.table.models.estimates()
        running = [*self._ours(known.values(), estimates), *others]
        pending = {
            name: places
            for name, places in pending.items()
            if scheduling.room(routes[name], routes.values(), running)
        }
        plan = scheduling.plan(pending, routes, running, estimates, self._queue.clock())
        for new in plan.jobs:
            if names.base_model(new.route.model_id) in full:
                continue
            if run.has_less_than(ROUND_SECONDS):
                return False
            job = self._submission.new_job(new.chunks, new.route)
            if self._queue.table.jobs.add(job):
                submit(job)
        for waiting in plan.waiting:
            self._note(waiting)
        for few in plan.undersized:
            job = self._undersized(few)
            if self._queue.table.jobs.add(job):
                submit(job)
        self._measure(known.values(), routes)
        return True

    def _pending(self, routes: Mapping[str, Route], running: list[Running]) -> dict[str, list[Place]]:
        """Returns the head of each route's queue, as much as the slots could take that ``running`` leaves."""
        return {
            # One minimum more than fits, so that the last job's remainder is not mistaken for the end.
            name: self._queue.table.chunks.pending(
                name,
                room * route.max_records_per_job + route.min_records_per_job,
                (room + 1) * scheduling.most_chunks(route),
                self._queue.clock(),
            )
            for name, route in routes.items()
            if (room := scheduling.room(route, routes.values(), running))
        }

    # ------------------------------------------------------------------------------------- who holds slots

    def _ours(self, jobs: Iterable[Job], estimates: Mapping[str, Estimate]) -> list[Running]:
        return [
            Running(job.model_id, job.route, self._ends_in(job, estimates))
            for job in jobs
            if not job.instead and (job.status == Status.SUBMITTING or job.status in ACTIVE)
        ]

    def _others(self, jobs: Iterable[Job]) -> list[Running]:
        """Returns every active job of the account that is not one of ours, from Bedrock's list."""
        ours = {job.job_name for job in jobs}
        try:
            listed = [job for job in self._bedrock.active_jobs() if job.name not in ours]
        except BedrockError as error:
            # Count only our own jobs then. Bedrock's quota error stops what is too many.
            log.warning("cannot list the active jobs of the account: %s", error.code)
            listed = []
        return [Running(job.model_id) for job in listed if self._counts(job)]

    def _counts(self, listed: ListedJob) -> bool:
        """Returns whether a listed job is still active. The list is eventually consistent."""
        job_id = names.job_id_of(self._queue.settings.name, listed.name)
        job = self._queue.table.jobs.get(job_id) if job_id else None
        return job is None or job.status not in TERMINAL

    def _ends_in(self, job: Job, estimates: Mapping[str, Estimate]) -> float:
        """Returns in how many seconds a job of ours is expected to end."""
        estimate = estimates.get(names.base_model(job.model_id), Estimate())
        takes = estimate.overhead_seconds + job.records / estimate.records_per_second
        return max(0.0, names.epoch(job.submitted_at or job.created_at) + takes - self._queue.clock())

    # -------------------------------------------------------------------------------- chunks without a slot

    def _note(self, waiting: Waiting) -> None:
        """Writes into the rows of the uploads what they wait for."""
        least = waiting.route.min_records_per_job
        until = datetime.fromtimestamp(waiting.until, UTC).strftime("%H:%M UTC")
        message = f"waiting: {waiting.records:,} of {least:,} records, until {until}"
        for upload_id in dict.fromkeys(place.ref.upload_id for place in waiting.places):
            self._queue.table.uploads.note(upload_id, message)

    def _undersized(self, few: Waiting) -> Job:
        """Returns the job for chunks that are too few for Bedrock and have waited long enough."""
        minutes, least = few.route.pack_wait_minutes, few.route.min_records_per_job
        message = (
            f"{few.records:,} records are fewer than the {least:,} that Bedrock requires for a batch job, "
            f"and not enough others arrived within {minutes} minutes. Upload them together with more."
        )
        rejected = few.route.undersized != ON_DEMAND
        job = self._submission.new_job(tuple(place.ref for place in few.places), few.route)
        return replace(job, instead=few.route.undersized, message=message if rejected else "")

    def _gave_up(self, job: Job) -> Job:
        """Ends a job that failed to submit for an unexpected reason for too long; returns the job."""
        if self._queue.age(job.created_at) < GIVE_UP_SECONDS:
            return job
        message = "The job could not be submitted for a day. See the log of process_batch_jobs for the error."
        return end(self._queue, replace(job, message=message), Status.FAILED)

    def _measure(self, jobs: Iterable[Job], routes: Mapping[str, Route]) -> None:
        pending = self._queue.table.uploads.pending(TOLD_UPLOADS)
        for upload in pending:
            if upload.route not in routes:
                message = f"waiting: the route {upload.route} is no longer configured. Add it again."
                self._queue.table.uploads.note(upload.upload_id, message)
        now = self._queue.clock()
        since = [names.epoch(upload.created_at) for upload in pending]
        # Also the rest of uploads that have begun to run. The head of a queue may be a chunk that runs again
        # and has waited for less time than those behind it.
        chunks = self._queue.table.chunks
        since += [scheduling.waits_since(place) for name in routes for place in chunks.sample(name)]
        oldest = min(since, default=now)
        emit_metrics(
            self._queue.settings.name,
            {
                "OldestPendingAge": max(0.0, now - oldest),
                "ActiveJobs": sum(1 for job in jobs if job.status in ACTIVE),
            },
            {"OldestPendingAge": "Seconds"},
        )


def _has_slot(job: Job, known: Iterable[Job], others: Iterable[Running], routes: Mapping[str, Route]) -> bool:
    """Returns whether a slot is free for a job that an earlier run did not submit."""
    base = names.base_model(job.model_id)
    active = [Running(one.model_id) for one in known if one.status in ACTIVE and not one.instead]
    taken = sum(names.base_model(one.model_id) == base for one in (*active, *others))
    return taken < scheduling.model_limits(routes.values()).get(base, taken + 1)
