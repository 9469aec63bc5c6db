"""Orders: what an upload waits for, who holds the slots of its model, and when it is expected to end."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import Any

from batch_queue.aws.bedrock import Bedrock, ListedJob
from batch_queue.core import names, reports, scheduling
from batch_queue.core.forecasting import forecast
from batch_queue.core.records import dataclass
from batch_queue.core.rows import ACTIVE, TERMINAL, Estimate, Job, Pause, Pauses, Place, Route, Status, Upload
from batch_queue.core.scheduling import Running

from .queue import Queue

# So many places of a queue are read to find an upload in it.
MOST_PLACES = 5_000
# So many jobs are named: there are rarely more slots.
MOST_JOBS = 100


@dataclass(frozen=True, slots=True)
class _Now:
    """What holds the slots now. ``listed``: the active jobs of the account at Bedrock."""

    jobs: tuple[Job, ...]
    listed: tuple[ListedJob, ...]
    routes: Mapping[str, Route]
    pauses: Pauses
    estimates: Mapping[str, Estimate]

    def processed(self, job: Job) -> int | None:
        """Returns how many records of a job Bedrock has processed, or None if it does not say."""
        return next((one.processed for one in self.listed if one.arn == job.arn), None)

    def of_model(self, base: str) -> list[Job]:
        """Returns our jobs that hold a slot of a base model: not those that wait behind a pause."""
        return [
            job
            for job in self.jobs
            if names.base_model(job.model_id) == base
            and not job.instead
            and (job.status in ACTIVE or (job.status == Status.SUBMITTING and not self.pauses.of(job.route)))
        ]

    def others(self, base: str) -> list[ListedJob]:
        """Returns the active jobs of others for a base model."""
        ours = {job.job_name for job in self.jobs}
        return [one for one in self.listed if names.base_model(one.model_id) == base and one.name not in ours]


class Explaining:
    """Answers what is asked of the queue. Changes nothing."""

    def __init__(self, queue: Queue, bedrock: Bedrock) -> None:
        self._queue = queue
        self._bedrock = bedrock

    def status(self) -> dict[str, Any]:
        """Returns what the queue does: its pauses, and of each model the slots and who holds them.

        Raises BedrockError.
        """
        now = self._now()
        models = sorted({names.base_model(route.model_id) for route in now.routes.values()})
        return {
            "paused": [_paused(pause) for _, pause in sorted(now.pauses.by_route.items())],
            "routes": {
                name: {"model": names.base_model(route.model_id), **_pause(now.pauses.of(name))}
                for name, route in sorted(now.routes.items())
            },
            "slots": [self._slots(now, model) for model in models],
            "uncollected_jobs": sum(job.status in TERMINAL for job in now.jobs),
        }

    def explain(self, upload: Upload) -> dict[str, Any]:
        """Returns how far an upload is, what it waits for, and its expected times. Raises BedrockError."""
        told = {**about(upload), "message": upload.message, "words": _ended(upload)}
        if upload.status in TERMINAL:
            return told
        now = self._now()
        pause = now.pauses.of(upload.route)
        told.update(_pause(pause))
        route = now.routes.get(upload.route)
        if route is None:
            return told | {"words": f"The route {upload.route} is no longer configured. Add it again."}
        if upload.unread or upload.preparing or not upload.chunks:
            return told | {"words": upload.message or "It is being taken in."}
        base = names.base_model(route.model_id)
        slots = self._slots(now, base)
        chunks = list(self._queue.table.chunks.open_of(upload))
        waiting = [chunk for chunk in chunks if chunk.status == Status.PENDING]
        job_ids = {chunk.job_id for chunk in chunks if chunk.job_id}
        jobs = [self._job(job, now) for job in now.jobs if job.job_id in job_ids]
        pending, whole = self._pending(now, base, upload.route)
        ahead = _ahead(upload.upload_id, pending.get(upload.route, []))
        running = self._running(now, base)
        expected = self._expected(upload, now, pending, running, jobs, [c.records for c in waiting])
        told.update(
            records_waiting=sum(chunk.records for chunk in waiting),
            records_in_jobs=sum(chunk.records for chunk in chunks if chunk.status != Status.PENDING),
            jobs=jobs[:MOST_JOBS],
            slots=slots,
        )
        if waiting:
            told["ahead"] = {**ahead, "at_least": not whole}
        if not pause and whole and not upload.cancelled_at:
            told.update(expected)
        return told | {"words": _words(upload, told, route, pause)}

    # ---------------------------------------------------------------------------------------------- pieces

    def _now(self) -> _Now:
        models = self._queue.table.models
        jobs = self._queue.table.jobs.active()
        return _Now(
            tuple(job for job in jobs if not job.collected_at),
            tuple(self._bedrock.active_jobs()),
            models.routes(),
            self._queue.table.orders.pauses(),
            scheduling.informed(models.estimates(), jobs),
        )

    def _slots(self, now: _Now, base: str) -> dict[str, Any]:
        limit = scheduling.model_limits(now.routes.values()).get(base, 0)
        ours, others = now.of_model(base), now.others(base)
        return {
            "model": base,
            "limit": limit,
            "free": max(0, limit - len(ours) - len(others)),
            "ours": [self._job(job, now) for job in ours[:MOST_JOBS]],
            "others": [{"job_name": one.name, "status": str(one.status)} for one in others[:MOST_JOBS]],
        }

    def _job(self, job: Job, now: _Now) -> dict[str, Any]:
        told: dict[str, Any] = {
            "job_name": job.job_name,
            "arn": job.arn,
            "route": job.route,
            "status": str(job.status),
            "records": job.records,
            "submitted_at": job.submitted_at,
        }
        if job.status in ACTIVE and not job.instead:
            if (processed := now.processed(job)) is not None:
                told["records_processed"] = processed
            told["expected_end"] = names.iso(self._queue.clock() + self._ends_in(job, now))
        return told | ({"message": job.message} if job.message else {})

    def _ends_in(self, job: Job, now: _Now) -> float:
        return max(1.0, scheduling.ends_in(job, now.estimates, self._queue.clock()))

    def _running(self, now: _Now, base: str) -> list[Running]:
        ours = [Running(job.model_id, job.route, self._ends_in(job, now)) for job in now.of_model(base)]
        return [*ours, *(Running(one.model_id) for one in now.others(base))]

    def _pending(self, now: _Now, base: str, own: str) -> tuple[dict[str, list[Place]], bool]:
        """Returns the places of the routes of a model, and whether these are all of them.

        Without routes that are paused, but with the route ``own``.
        """
        found: dict[str, list[Place]] = {}
        for name, route in now.routes.items():
            if names.base_model(route.model_id) == base and (name == own or now.pauses.of(name) is None):
                found[name] = self._queue.table.chunks.pending(name, sys.maxsize, MOST_PLACES, 0.0)
        return found, all(len(places) < MOST_PLACES for places in found.values())

    def _expected(
        self,
        upload: Upload,
        now: _Now,
        pending: Mapping[str, list[Place]],
        running: list[Running],
        jobs: Iterable[Mapping[str, Any]],
        waiting: list[int],
    ) -> dict[str, str]:
        ends = [str(job["expected_end"]) for job in jobs if "expected_end" in job]
        clock = self._queue.clock()
        known: dict[str, str] = {}
        if waiting:
            seen = forecast(upload.upload_id, pending, now.routes, running, now.estimates, clock)
            if seen.begins is not None and not ends:
                known["expected_start"] = names.iso(clock + seen.begins)
            if seen.ends is None:
                return known
            ends.append(names.iso(clock + seen.ends))
        return known | ({"expected_end": max(ends)} if ends else {})


def about(upload: Upload) -> dict[str, Any]:
    """Returns what identifies an upload and how far it is."""
    return {
        "upload_id": upload.upload_id,
        "key": upload.key,
        "version_id": upload.version_id,
        "route": upload.route,
        "status": str(upload.status),
        "run": upload.run,
        "records": upload.records,
        "successes": upload.success_count,
        "errors": upload.error_count,
        "result": upload.result_key,
    }


def _ahead(upload_id: str, places: list[Place]) -> dict[str, int]:
    """Returns how much of its route's queue is ahead of an upload."""
    before = list(takewhile(lambda place: place.ref.upload_id != upload_id, places))
    return {
        "uploads": len({place.ref.upload_id for place in before}),
        "records": sum(place.ref.records for place in before),
    }


def _paused(pause: Pause) -> dict[str, str]:
    about_route = {"route": pause.route} if pause.route else {}
    return {**about_route, "since": pause.since, "by": pause.by, "why": pause.why}


def _pause(pause: Pause | None) -> dict[str, Any]:
    return {} if pause is None else {"paused": _paused(pause)}


def _ended(upload: Upload) -> str:
    where = f" Its result is {upload.result_key}." if upload.result_key else ""
    return f"It has ended as {upload.status}. {upload.message}".strip() + where


def _words(upload: Upload, told: Mapping[str, Any], route: Route, pause: Pause | None) -> str:
    """Returns in words what an upload does that has not ended."""
    words = []
    if upload.cancelled_at:
        words.append(f"{reports.cancelling(upload)}.")
    if told["records_in_jobs"]:
        jobs = reports.counted(len(told["jobs"]), "job")
        words.append(f"{told['records_in_jobs']:,} of its records are in {jobs}.")
    if told["records_waiting"]:
        ahead = told["ahead"]
        more = "more than " if ahead["at_least"] else ""
        words.append(
            f"{told['records_waiting']:,} of its records wait in the queue of the route {route.name}, behind "
            f"{more}{ahead['records']:,} records of {reports.counted(ahead['uploads'], 'other upload')}."
        )
        slots = told["slots"]
        held = f"{len(slots['ours'])} of this queue and {len(slots['others'])} of others"
        if pause:
            words.append(f"Nothing of it starts, because {pause.words}.")
        elif not slots["free"]:
            words.append(f"All {slots['limit']} slots of {slots['model']} are taken: {held}.")
        elif upload.message:
            words.append(f"{slots['free']} slots of {slots['model']} are free. {upload.message}.")
    begins, ends = told.get("expected_start"), told.get("expected_end")
    if begins:
        words.append(f"It is expected to begin at {begins}" + (f" and to end at {ends}." if ends else "."))
    elif ends:
        words.append(f"It is expected to end at {ends}.")
    return " ".join(words) or "Its output is being collected."
