"""Step 7: counts the free slots and packs pending chunks into jobs for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from threading import Lock

from batch_queue.aws.bedrock import Bedrock, ListedJob
from batch_queue.aws.pool import NESTED_AT_ONCE, at_once
from batch_queue.core import gathering, names, retrying, scheduling
from batch_queue.core.records import dataclass
from batch_queue.core.rows import (
    ACTIVE,
    ONE_BY_ONE,
    TERMINAL,
    Estimate,
    Intent,
    Job,
    Pauses,
    Place,
    Route,
    Status,
)
from batch_queue.core.scheduling import Running, Waiting

from .gauges import Gauges
from .handover import tell_uploads
from .queue import Queue
from .refresh import Refresh
from .run import Run
from .submission import Submission
from .waiting import Waits

# A run with less time than this starts neither another round nor another job.
ROUND_SECONDS = 60.0


class Round:
    """What one round knows: the jobs as they are now, and the base models that take no more of them."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self.jobs = {job.job_id: job for job in jobs}
        self._full: set[str] = set()
        self._unanswered: Counter[str] = Counter()
        self._lock = Lock()

    def takes(self, job: Job) -> bool:
        """Returns whether a job need not wait for the next round because of others of its model."""
        return bool(job.instead) or names.base_model(job.model_id) not in self._full

    def learn(self, job: Job) -> None:
        """Stores a job after it was tried, and whether the others of its model need not be tried."""
        base = names.base_model(job.model_id)
        with self._lock:
            self.jobs[job.job_id] = job
            if job.status != Status.SUBMITTING:
                return
            self._unanswered[base] += job.unanswered
            if not job.unanswered or self._unanswered[base] >= retrying.OUTAGE:
                self._full.add(base)


@dataclass(frozen=True, slots=True)
class Filled:
    """A round that had enough time.

    ``full``: the names of the routes that can start no more jobs. ``gathers_until``: when to run another
    round because uploads are still arriving (epoch seconds); 0 if none is needed. ``running``: every active
    job of the account; None if Bedrock was not asked.
    """

    full: Collection[str]
    gathers_until: float
    running: Sequence[Running] | None


class Dispatch:
    """Fills the free slots: with jobs that earlier runs did not submit, and with pending chunks."""

    def __init__(self, queue: Queue, bedrock: Bedrock) -> None:
        self._queue = queue
        self._bedrock = bedrock
        self._refresh = Refresh(queue, bedrock)
        self._submission = Submission(queue, bedrock)
        self._waits = Waits(queue)
        self.gauges = Gauges(queue)

    def run(self, jobs: list[Job], run: Run, listed: Sequence[ListedJob] | None = None) -> Filled | None:
        """Submits the jobs that fit. Returns None if time ran out first.

        ``jobs``: all jobs whose results are not collected yet. ``listed``: the active jobs of the account, if
        this run has just listed them; where there is nothing to start, they are not listed again.
        """
        now = Round(jobs)
        routes = self._queue.table.models.routes()
        pauses = self._queue.table.orders.pauses()
        filled = self._fill(now, routes, pauses, run)
        # News comes last: no slot stands idle for it.
        for job in now.jobs.values():
            run.attempt(tell_uploads, self._queue, job, job_id=job.job_id)
        if filled is not None:
            running = filled.running
            if running is None and listed is not None:
                running = [*self._ours(now, frozenset(), {}), *self._foreign(listed)]
            self.gauges.tell(self._waits.tell(now.jobs.values(), routes, filled.full, running, pauses))
        return filled

    def _fill(self, now: Round, routes: Mapping[str, Route], pauses: Pauses, run: Run) -> Filled | None:
        """Fills the slots, but for what is paused. Returns None if time ran out first."""
        jobs = [*now.jobs.values()]
        unsubmitted = [job for job in jobs if job.status == Status.SUBMITTING]
        paused = {job.job_id for job in unsubmitted if pauses.of(job.route)}
        retries = retrying.sort_out(
            [job for job in unsubmitted if job.job_id not in paused], self._queue.clock()
        )
        for job in unsubmitted:
            if job.job_id in paused and (
                changed := run.attempt(self._submission.end_cancelled, job, job_id=job.job_id)
            ):
                now.learn(changed)
        aside = retries.aside | paused
        open_routes = [name for name in routes if not pauses.of(name)]
        estimates = scheduling.informed(self._queue.table.models.estimates(), jobs)
        pending = self._pending(routes, open_routes, self._ours(now, aside, estimates), estimates)
        # Other users of the slots matter only if there is something to start.
        # Without the list, only ours count: Bedrock's quota error stops what is too many.
        listed = self._refresh.listed() if unsubmitted or any(pending.values()) else None
        others = self._others([job for job in jobs if job.job_id not in aside], listed or ())
        if listed is not None and (ended := self._find_ended(now, listed, run)):
            estimates = scheduling.informed(estimates, ended)
            pending = self._pending(routes, open_routes, self._ours(now, aside, estimates), estimates)

        def try_again(some: Iterable[Job]) -> bool:
            def one(job: Job) -> bool:
                if not (job.instead or _has_slot(job, now, others, routes)):
                    return True
                return self._try(job, now, run, self._submission.retry, job, run)

            return all(map(one, some))

        if not try_again(retries.first):
            return None
        running = [*self._ours(now, aside, estimates), *others]
        waits = gathering.gathers_until(pending, routes, running, estimates, self._queue.clock())
        pending = {
            name: places
            for name, places in pending.items()
            if scheduling.room(routes[name], routes.values(), running)
            and names.base_model(routes[name].model_id) not in waits
        }
        plan = scheduling.plan(pending, routes, running, estimates, self._queue.clock())
        new = [self._submission.new_job(one.chunks, one.route) for one in plan.jobs]
        new += [self._undersized(few) for few in plan.undersized]
        if not all(at_once(partial(self._begin, now, run), new, NESTED_AT_ONCE)):
            return None
        for waiting in plan.waiting:
            self._waits.few(waiting)
        if not try_again(retries.last):
            return None
        running = [*self._ours(now, aside, estimates), *others]
        full = {
            name for name, route in routes.items() if not scheduling.room(route, routes.values(), running)
        }
        return Filled(full, min(waits.values(), default=0.0), None if listed is None else running)

    def _begin(self, now: Round, run: Run, new: tuple[Job, Intent]) -> bool:
        """Stores the intent to create a job and submits the job. Returns False if time ran out."""
        job, intent = new
        if not now.takes(job):
            return True
        if run.has_less_than(ROUND_SECONDS):
            return False
        if not self._queue.table.jobs.add(job, intent):
            return True
        return self._try(job, now, run, self._submission.submit, job, intent, run)

    def _try(
        self, job: Job, now: Round, run: Run, submit: Callable[..., Job | None], *arguments: object
    ) -> bool:
        """Tries to submit one job. Returns False if time ran out."""
        if not now.takes(job):
            return True
        if run.has_less_than(ROUND_SECONDS):
            return False
        tried = run.attempt(submit, *arguments, job_id=job.job_id)
        if tried is None:
            return True
        if tried.status == Status.SUBMITTING and not tried.sealed:
            return False
        now.learn(tried)
        return True

    def _pending(
        self,
        routes: Mapping[str, Route],
        open_routes: Collection[str],
        running: list[Running],
        estimates: Mapping[str, Estimate],
    ) -> dict[str, list[Place]]:
        """Returns the head of each open route's queue, as much of it as the plan depends on."""
        found: dict[str, list[Place]] = {}
        for name in open_routes:
            route = routes[name]
            estimate = estimates.get(names.base_model(route.model_id), Estimate())
            records, places = scheduling.head(route, routes.values(), running, estimate)
            if places:
                found[name] = self._queue.table.chunks.pending(name, records, places, self._queue.clock())
        return found

    # ------------------------------------------------------------------------------------- who holds slots

    def _ours(self, now: Round, aside: frozenset[str], estimates: Mapping[str, Estimate]) -> list[Running]:
        """Returns our jobs that hold a slot: those at Bedrock, and those on the way there."""
        clock = self._queue.clock()
        return [
            Running(
                job.model_id,
                job.route,
                max(0.0, scheduling.ends_in(job, estimates, clock)),
                self._queue.age(job.created_at),
            )
            for job in now.jobs.values()
            if not job.instead
            and ((job.status == Status.SUBMITTING and job.job_id not in aside) or job.status in ACTIVE)
        ]

    def _others(self, jobs: Iterable[Job], listed: Iterable[ListedJob]) -> list[Running]:
        """Returns every active job of the account that is not one of these.

        One of ours that is set aside is at Bedrock if an answer was lost: it then holds a slot.
        """
        ours = {job.job_name for job in jobs}
        return [Running(job.model_id) for job in listed if job.name not in ours and self._counts(job)]

    def _foreign(self, listed: Iterable[ListedJob]) -> list[Running]:
        """Returns the listed jobs that others have started."""
        name = self._queue.settings.name
        return [Running(job.model_id) for job in listed if not names.job_id_of(name, job.name)]

    def _find_ended(self, now: Round, listed: Iterable[ListedJob], run: Run) -> list[Job]:
        """Returns our jobs that have ended by now, so that their slots need not wait for their events."""
        found = self._refresh.by_list(now.jobs.values(), listed, run)
        now.jobs.update({job.job_id: job for job in found})
        return [job for job in found if job.status in TERMINAL]

    def _counts(self, listed: ListedJob) -> bool:
        """Returns whether a listed job is still active. The list is eventually consistent."""
        job_id = names.job_id_of(self._queue.settings.name, listed.name)
        job = self._queue.table.jobs.get(job_id) if job_id else None
        return job is None or job.status not in TERMINAL

    def _undersized(self, few: Waiting) -> tuple[Job, Intent]:
        """Returns the job for chunks that are too few for Bedrock and have waited long enough."""
        minutes, least = few.route.pack_wait_minutes, few.route.min_records_per_job
        message = (
            f"{few.records:,} records are fewer than the {least:,} that Bedrock requires for a batch job, "
            f"and not enough others arrived within {minutes} minutes. Upload them together with more."
        )
        rejected = few.route.undersized not in ONE_BY_ONE
        job, intent = self._submission.new_job(tuple(place.ref for place in few.places), few.route)
        return replace(job, instead=few.route.undersized, message=message if rejected else ""), intent


def _has_slot(job: Job, now: Round, others: Iterable[Running], routes: Mapping[str, Route]) -> bool:
    """Returns whether a slot is free for a job that an earlier run did not submit."""
    base = names.base_model(job.model_id)
    active = [Running(one.model_id) for one in now.jobs.values() if one.status in ACTIVE and not one.instead]
    taken = sum(names.base_model(one.model_id) == base for one in (*active, *others))
    return taken < scheduling.model_limits(routes.values()).get(base, taken + 1)
