"""Step 7, what waits: tells the rows of its uploads why, and finds how long."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from batch_queue.aws.pool import at_once
from batch_queue.aws.table.chunks import Sample
from batch_queue.core import names, scheduling
from batch_queue.core.rows import TERMINAL, Job, Pauses, Place, Route, Status
from batch_queue.core.scheduling import Running, Waiting

from .gauges import Seen
from .handover import note_uploads
from .queue import Queue

# How many of the oldest uploads get a message that says why they wait.
TOLD_UPLOADS = 100
# Bedrock ends a job after 7 days at most (timeoutDurationInHours in its API reference).
LATE_DAYS = 8
# A collector and its two retries have ended by then.
COLLECTED_SECONDS = 3600.0


class Waits:
    """What waits, and for what. Nothing here decides what runs."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def few(self, waiting: Waiting) -> None:
        """Tells uploads whose records are too few for a job how many there are, and how long they wait."""
        least = waiting.route.min_records_per_job
        until = datetime.fromtimestamp(waiting.until, UTC).strftime("%H:%M UTC")
        self._note(waiting.places, f"waiting: {waiting.records:,} of {least:,} records, until {until}")

    def tell(
        self,
        jobs: Collection[Job],
        routes: Mapping[str, Route],
        full: Collection[str],
        running: Sequence[Running] | None,
        pauses: Pauses,
    ) -> Seen:
        """Tells the other uploads that wait, and returns what the round has seen.

        ``jobs``: all jobs whose results are not collected yet, as they are after the round. ``full``: the
        names of the routes that can start no job now. ``running`` and ``pauses``: as in ``Seen``.
        """
        pending = self._queue.table.uploads.pending(TOLD_UPLOADS)
        # Why their job is not accepted says more.
        held_up = [job for job in jobs if job.status == Status.SUBMITTING and job.message]
        told = {one for job in held_up for one in self._queue.table.jobs.intent(job.job_id).upload_ids}
        for upload in pending:
            if (
                upload.unread or upload.cancelled_at or upload.preparing
            ):  # what S3 denies, or an order, says more
                continue
            reason = _removed(upload.route)
            if route := routes.get(upload.route):
                reason = f"waiting: no slot of {names.base_model(route.model_id)} is free"
                if pause := pauses.of(route.name):
                    reason = f"waiting: {pause.words}"
                elif route.name not in full or upload.upload_id in told:
                    continue
            if reason != upload.message:
                self._queue.table.uploads.note(upload.upload_id, reason, Status.PENDING)
        # Also the rest of uploads that have begun to run. The head of a queue may be a chunk that runs again
        # and has waited for less time than those behind it.
        samples = {name: self._queue.table.chunks.sample(name) for name in routes}
        samples |= self._left_behind(jobs, routes)
        since: defaultdict[str, list[float]] = defaultdict(list)
        for upload in pending:
            # One that runs again waits since that was ordered.
            since[upload.route].append(
                names.epoch(upload.created_at if upload.run == 1 else upload.updated_at)
            )
        for name, sample in samples.items():
            since[name] += [scheduling.waits_since(place) for place in sample.places]
        for job in jobs:
            if stamp := self._job(job):
                since[job.route].append(names.epoch(stamp))
        return Seen(jobs, routes, samples, since, running, pauses)

    def _job(self, job: Job) -> str:
        """Returns since when a job waits for this queue, or for a Bedrock that does not end it; "" if not.

        Tells its uploads if that takes too long. Why it is not submitted, they know.
        """
        message, since = "", ""
        if job.status in TERMINAL:
            since = job.updated_at
            if self._queue.age(since) > COLLECTED_SECONDS:
                message = (
                    f"waiting: a job has ended as {job.status}, but its output could not be collected yet. "
                    "See the log of collect_results."
                )
        elif job.status == Status.SUBMITTING:
            since = job.created_at
        elif job.instead:
            since = job.submitted_at
            if self._queue.age(since) > COLLECTED_SECONDS:
                message = (
                    "waiting: records run on demand for more than an hour, and not all of them have an "
                    "answer yet. See the log of collect_results."
                )
        elif self._queue.age(job.submitted_at) > LATE_DAYS * 86_400:
            since = job.submitted_at
            message = (
                f"waiting: the job {job.job_name} has been {job.status} at Bedrock for more than {LATE_DAYS} "
                "days. Stop it in the Bedrock console, or ask AWS Support why it does not end."
            )
        if message:
            note_uploads(self._queue, job, message)
        return since

    def _left_behind(self, jobs: Iterable[Job], routes: Mapping[str, Route]) -> dict[str, Sample]:
        """Returns the heads of the queues of routes that were removed, after it has told their uploads."""
        queues = self._queue.table.queues
        known = queues.known()
        for name in sorted(routes.keys() - known):
            queues.add(name)
        busy = {job.route for job in jobs}
        found: dict[str, Sample] = {}
        for name in sorted(known - routes.keys()):
            found[name] = self._queue.table.chunks.sample(name)
            places = found[name].places
            if not places and name not in busy:  # a job that is collected can return records to the queue
                queues.forget(name)
            self._note(places, _removed(name))
        return found

    def _note(self, places: Iterable[Place], message: str) -> None:
        upload_ids = [*dict.fromkeys(place.ref.upload_id for place in places)][:TOLD_UPLOADS]
        at_once(lambda upload_id: self._queue.table.uploads.note(upload_id, message), upload_ids)


def _removed(route: str) -> str:
    return f"waiting: the route {route} is no longer configured. Add it again."
