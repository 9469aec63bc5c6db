"""The life of jobs: what falls due when, from Submitted to an end, and the events of each change.

No HTTP, no threads, no wall clock: time comes from a callable, files from an S3 client, and things happen in
`tick()`. The same seed, clock and calls give the same run.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import itertools
import json
import logging
import threading
from collections.abc import Callable
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from . import events, rules
from .agenda import Agenda, Step
from .answering import Answering
from .aws import Aws
from .chance import draw, identifier
from .config import Config, JobFault
from .errors import InputError, is_passing
from .jobs import Job
from .models import base_model_id, model_arn
from .records import Answers, JobFiles, Location, Spec, inspect, process, write_results
from .surroundings import Found, Surroundings

log = logging.getLogger(__name__)

_TRIES: int = rules.S3_LOST.value
_UPDATES: int = rules.RESULT_UPDATES.value
_MESSAGES = {
    "Failed": rules.FAILED.text(),
    "Expired": rules.TIMED_OUT.text(),
    "PartiallyCompleted": rules.CUT_SHORT.text(),
}


def _nothing() -> None:
    return None


def iso(at: float) -> str:
    """`at` (seconds since the epoch) as answers tell it: ISO 8601 in milliseconds."""
    time = dt.datetime.fromtimestamp(at, dt.UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _tried(job: Job, work: Callable[[Job], Any]) -> Any:
    """What `work` gives, InputError when the job fails by it, or another exception for a passing fault."""
    try:
        return work(job)
    except InputError as error:
        return error
    except ClientError as error:
        return error if is_passing(error) else rules.S3_REFUSED.failure(error=error)
    except (Boto3Error, BotoCoreError, OSError) as error:
        return error
    except Exception as error:
        log.exception("simulator: job %s", job.arn)
        return rules.BROKEN.failure(error=f"{type(error).__name__}: {error}")


class LifeCycle:
    """The jobs of one account and Region; parameters as of `Simulator`."""

    def __init__(
        self,
        aws: Aws,
        *,
        agenda: Agenda,
        account: str,
        region: str,
        partition: str,
        emit: Callable[[dict[str, Any]], None] | None,
        seed: int,
        config: Config,
        lock: threading.RLock,
        answering: Answering | None = None,
    ) -> None:
        self.lock = lock
        self.answering = answering or Answering()
        self.aws, self.emit, self.agenda, self.clock = aws, emit, agenda, agenda.clock
        self.account, self.region, self.partition, self.seed = account, region, partition, seed
        self.config = config
        self._numbers = itertools.count(1)
        self.forget()

    def forget(self) -> None:
        """Forget all jobs; ids go on."""
        for job in getattr(self, "jobs", {}).values():
            job.epoch += 1  # so that what is at work on it gives up
            if job.answers is not None:
                job.answers.close()
        self.jobs: dict[str, Job] = {}
        self.by_name: dict[str, Job] = {}
        self.by_token: dict[str, Job] = {}
        self._active: dict[str, set[str]] = collections.defaultdict(set)
        self._peak: dict[str, int] = collections.defaultdict(int)
        self._running: dict[str, int] = collections.defaultdict(int)
        self._waiting: dict[str, collections.deque[Job]] = collections.defaultdict(collections.deque)
        self._hits: dict[int, int] = collections.defaultdict(int)
        self.event_counts = {"planned": 0, "lost": 0, "doubled": 0, "emitted": 0}

    def configure(self, config: Config) -> None:
        """Go on with other settings. Jobs keep the durations they began."""
        if config.job_faults != self.config.job_faults:
            self._hits.clear()
        self.config = config
        for base_model in list(self._waiting):
            self._start_waiting(base_model, self.clock())

    def base_model(self, model_id: str) -> str:
        """The base model that `model_id` stands for."""
        return base_model_id(model_id, self.config.inference_profiles)

    def active(self, model_id: str) -> int:
        """How many active jobs hold slots of `model_id`'s base model."""
        return len(self._active[self.base_model(model_id)])

    def peak(self, model_id: str) -> int:
        """The most active jobs that `model_id`'s base model ever had."""
        return self._peak[self.base_model(model_id)]

    def model_state(self, base_model: str) -> dict[str, Any]:
        """The jobs of one base model in figures; nothing is made."""
        waiting = self._waiting.get(base_model, ())
        return {
            "active": len(self._active.get(base_model, ())),
            "peak_active": self._peak.get(base_model, 0),
            "running": self._running.get(base_model, 0),
            "waiting": sum(job.status == "Scheduled" for job in waiting),
            "max_active_jobs": self.config.model(base_model).max_active_jobs,
        }

    # --- time ------------------------------------------------------------------------------------

    def next_due(self) -> float | None:
        """When the next thing happens (seconds since the epoch), None when nothing is to come."""
        return self.agenda.next_due()

    def tick(self) -> int:
        """Let everything happen that is due by now: see `Agenda.tick`."""
        done = self.agenda.tick()
        self.answering.raise_raised()
        return done

    def advance(self, seconds: float) -> int:
        """Move a settable clock (`VirtualClock`) from one due thing to the next; returns how many came."""
        done = self.agenda.advance(seconds)
        self.answering.raise_raised()
        return done

    def _at(self, due: float, step: Callable[[float], Step]) -> None:
        """At `due` take `step`, whatever happened meanwhile."""
        self.agenda.at(due, lambda: True, step)

    def _at_of(self, job: Job, due: float, step: Callable[[float], Step]) -> None:
        """At `due` take `step`, unless the job went another way meanwhile."""
        epoch = job.epoch
        self.agenda.at(due, lambda: job.epoch == epoch, step)

    def _then(self, due: float, job: Job, change: Callable[[Job, float], None]) -> None:
        """At `due`, unless the job went another way meanwhile, let `change` happen."""
        self._at_of(job, due, lambda at: Step(_nothing, lambda _: change(job, at)))

    # --- life cycle ------------------------------------------------------------------------------

    def next_number(self) -> int:
        """The number of the next job."""
        return next(self._numbers)

    def new_job(self, number: int, request: dict[str, Any], foreign_seconds: float | None = None) -> Job:
        """Start a job, from whose number its id comes; `foreign_seconds`: see `Simulator.add_foreign`."""
        now = self.clock()
        id_ = self.job_id(number)
        hours = request.get("timeoutDurationInHours") or self.config.default_timeout_hours
        job = Job(
            number=number,
            id=id_,
            arn=self.job_arn(id_),
            name=request["jobName"],
            model_id=request["modelId"],
            base_model=self.base_model(request["modelId"]),
            request=request,
            timeout_hours=hours,
            submitted=now,
            expires=now + hours * 3600,
            foreign_seconds=foreign_seconds,
        )
        self.jobs[id_] = job
        self.by_name[job.name] = job
        if token := request.get("clientRequestToken"):
            self.by_token[token] = job
        holders = self._active[job.base_model]
        holders.add(id_)
        self._peak[job.base_model] = max(self._peak[job.base_model], len(holders))
        self._set_status(job, "Submitted", now)
        self._at(job.expires, lambda at: self._expire(job, at))
        self._then(now + self.config.model(job.base_model).queue_seconds, job, self._validate)
        return job

    def job_id(self, number: int) -> str:
        """The id of the job with a number."""
        return identifier(12, self.seed, self.account, self.region, "job", number)

    def job_arn(self, job_id: str) -> str:
        """The ARN of the job with an id."""
        return f"arn:{self.partition}:bedrock:{self.region}:{self.account}:model-invocation-job/{job_id}"

    def _set_status(self, job: Job, status: str, at: float) -> None:
        job.status, job.modified = status, at
        job.timeline.append((status, at))
        event = events.state_change(
            account=self.account,
            region=self.region,
            name=job.name,
            arn=job.arn,
            model_arn=model_arn(job.model_id, self.region, self.account, self.partition),
            status=status,
            message=job.message,
            created=job.submitted,
            at=at,
        )
        times = events.deliveries(self.config.events, self.seed, job.id, status, at)
        self.event_counts["planned"] += len(times)
        self.event_counts["lost"] += not times
        self.event_counts["doubled"] += len(times) > 1
        for due in times:
            self._at(due, lambda _: Step(_nothing, lambda _: self._deliver(event)))

    def _deliver(self, event: dict[str, Any]) -> None:
        self.event_counts["emitted"] += 1
        if self.emit is not None:
            self.emit(json.loads(json.dumps(event)))

    def _end(self, job: Job, status: str, message: str, at: float) -> None:
        job.message, job.ended = message, at
        job.epoch += 1
        if job.answers is not None:
            job.stopped_at = job.processed(at)
            job.answers.close()
        self._active[job.base_model].discard(job.id)
        self._set_status(job, status, at)
        job.modified = at + rules.MODIFIED.value
        if job.running:
            job.running = False
            self._running[job.base_model] -= 1
        self._start_waiting(job.base_model, at)

    def _validate(self, job: Job, at: float) -> None:
        limits = self.config.model(job.base_model)
        self._set_status(job, "Validating", at)
        if job.foreign_seconds is not None:
            self._then(at + limits.validation_seconds, job, self._schedule)
            return
        job.spec = Spec(
            job_id=job.id,
            job_arn=job.arn,
            job_name=job.name,
            model_id=job.model_id,
            base_model=job.base_model,
            invocation_type=job.request.get("modelInvocationType", "InvokeModel"),
            source=Location.parse(job.request["inputDataConfig"]["s3InputDataConfig"]["s3Uri"]),
            target=Location.parse(job.request["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"]),
            encryption_key=job.request["outputDataConfig"]["s3OutputDataConfig"].get("s3EncryptionKeyId", ""),
            limits=limits,
            record_faults=self.config.record_faults,
            seed=self.seed,
        )
        self._with_files(job, at + limits.validation_seconds, self.look_around, self._looked_around)

    def _with_files(
        self,
        job: Job,
        due: float,
        work: Callable[[Job], Any],
        after: Callable[[Job, Any, float], None],
        tries: int = _TRIES,
    ) -> None:
        """At `due` do `work` on S3, then `after`. Passing faults are tried again, others fail the job."""

        def finish(result: Any, at: float, epoch: int) -> None:
            if job.epoch != epoch:
                return
            if isinstance(result, InputError):
                self._end(job, "Failed", str(result), at)
            elif isinstance(result, Exception):
                if tries > 1:
                    self._with_files(job, at + 1.0, work, after, tries - 1)
                else:
                    self._end(job, "Failed", rules.S3_LOST.text(error=result), at)
            else:
                after(job, result, at)

        def step(at: float) -> Step:
            epoch = job.epoch
            return Step(lambda: _tried(job, work), lambda result: finish(result, at, epoch))

        self._at_of(job, due, step)

    def look_around(self, job: Job) -> Found:
        """What Validating finds beside the input; raises InputError at a fault of a job's surroundings."""
        where = {"account": self.account, "region": self.region, "partition": self.partition}
        return Surroundings(self.aws, self.config, **where).check(job)

    def _looked_around(self, job: Job, found: Found, at: float) -> None:
        job.unchecked, job.refusal = found.unchecked, found.refusal
        self._with_files(job, at, self._inspect, self._inspected)

    def _inspect(self, job: Job) -> JobFiles:
        assert job.spec is not None
        return inspect(self._s3_of(job), job.spec)

    def _s3_of(self, job: Job) -> Any:
        return self.aws.s3_of(job.request["roleArn"])

    def _inspected(self, job: Job, files: JobFiles, at: float) -> None:
        job.files = files
        self._schedule(job, at)

    def _schedule(self, job: Job, at: float) -> None:
        self._set_status(job, "Scheduled", at)
        self._then(at + self.config.model(job.base_model).schedule_seconds, job, self._ready)

    def _ready(self, job: Job, at: float) -> None:
        self._waiting[job.base_model].append(job)
        self._start_waiting(job.base_model, at)

    def _start_waiting(self, base_model: str, at: float) -> None:
        limits, waiting = self.config.model(base_model), self._waiting[base_model]
        while waiting and (
            limits.max_in_progress is None or self._running[base_model] < limits.max_in_progress
        ):
            job = waiting.popleft()
            if job.status == "Scheduled":
                self._start(job, at)

    def _start(self, job: Job, at: float) -> None:
        limits = self.config.model(job.base_model)
        job.started, job.running = at, True
        self._running[job.base_model] += 1
        self._set_status(job, "InProgress", at)
        if job.foreign_seconds is not None:
            remaining = job.submitted + job.foreign_seconds - at
            self._then(at + max(0.0, remaining), job, self._complete_foreign)
            return
        assert job.files is not None
        job.rate, job.start_seconds = limits.records_per_second, limits.start_seconds
        job.planned = job.files.total
        fault = self._job_fault(job)
        if fault is not None:
            job.planned = int(job.files.total * fault.fraction)
            job.outcome = fault.outcome
        if job.refusal:
            job.planned, job.outcome = 0, "Failed"
        message = job.refusal or (fault.message if fault else None)
        job.outcome_message = message if message is not None else _MESSAGES.get(job.outcome, "")
        job.answers = Answers()
        self._with_files(job, at, self._process_of(job), self._processed)

    def _process_of(self, job: Job) -> Callable[[Job], None]:
        epoch, files, answers = job.epoch, job.files, job.answers
        assert job.spec is not None
        spec = dataclasses.replace(job.spec, record_errors=self.config.errors_of_records())
        assert files is not None
        assert answers is not None

        def work(_: Job) -> None:
            s3, going = self._s3_of(job), lambda: job.epoch == epoch
            process(s3, spec, files, job.planned, answers, self.answering, going)

        return work

    def _processed(self, job: Job, _: None, at: float) -> None:
        assert job.started is not None
        begun, seconds = job.started + job.start_seconds, job.planned / job.rate
        self._then(max(at, begun + seconds), job, self._seal)
        every = self.config.result_update_seconds
        if every and job.outcome != "Failed":  # which leaves no results
            self._update_results(job, begun, begun + seconds, max(every, seconds / _UPDATES))

    def _update_results(self, job: Job, before: float, end: float, every: float) -> None:
        """Let what is done by then be seen in S3, and so on until the job's `end`."""
        due = before + every
        if due >= end:
            return

        def work(_: Job) -> int:
            count = job.processed(due)
            if count > job.updated:
                self._write(job, count)
            return count

        def after(_: Job, count: int, __: float) -> None:
            job.updated = count
            self._update_results(job, due, end, every)

        self._with_files(job, due, work, after)

    def _write(self, job: Job, count: int) -> None:
        assert job.spec is not None
        assert job.files is not None
        assert job.answers is not None
        write_results(self._s3_of(job), job.spec, job.files, job.answers, count)

    def _complete_foreign(self, job: Job, at: float) -> None:
        self._end(job, "Completed", "", at)

    def _job_fault(self, job: Job) -> JobFault | None:
        for index, fault in enumerate(self.config.job_faults):
            if fault.names and not any(part in job.name for part in fault.names):
                continue
            if fault.model_id is not None and base_model_id(fault.model_id) != job.base_model:
                continue
            if fault.times is not None and self._hits[index] >= fault.times:
                continue
            if draw(self.seed, "job-fault", index, job.id) < fault.rate:
                self._hits[index] += 1
                return fault
        return None

    def _seal(self, job: Job, at: float) -> None:
        """The job's records are done: write what there is, then end it."""
        job.stopped_at = job.planned
        if job.outcome == "Stopped":
            self._set_status(job, "Stopping", at)
            self._then(at + self.config.model(job.base_model).stopping_seconds, job, self._stopped)
            return
        self._close(job, at, job.outcome, job.outcome_message)

    def _close(self, job: Job, at: float, status: str, message: str) -> None:
        """Write the results of what was processed, then end as `status`; nothing can come between."""
        job.sealed = True
        job.epoch += 1
        count = job.stopped_at or 0
        if status == "Failed" or count == 0:
            self._end(job, status, message, at)
            return

        def ended(ending: Job, _: None, when: float) -> None:
            self._end(ending, status, message, when)

        self._with_files(job, at, lambda _: self._write(job, count), ended)

    def _expire(self, job: Job, at: float) -> Step:
        def finish(_: None) -> None:
            if not job.active or job.sealed:
                return
            job.stopped_at = job.processed(at)
            in_time = job.status == "InProgress" or job.stopped_at > 0
            status = self.config.timeout_status if in_time else "Expired"
            self._close(job, at, status, _MESSAGES[status])

        return Step(_nothing, finish)

    def stop(self, job: Job) -> None:
        """Let an active job go to Stopping, and from there to Stopped with what it has."""
        now = self.clock()
        job.stopped_at = job.processed(now)
        job.epoch += 1
        self._set_status(job, "Stopping", now)
        self._then(now + self.config.model(job.base_model).stopping_seconds, job, self._stopped)

    def _stopped(self, job: Job, at: float) -> None:
        self._close(job, at, "Stopped", "")
