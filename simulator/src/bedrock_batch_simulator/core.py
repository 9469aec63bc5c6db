"""The simulated service: jobs, their life cycle, quotas, the operations on them and those on demand.

No HTTP, no threads, no wall clock: time comes from a callable, files from an S3 client, and things happen in
`tick()`. The same seed, clock and calls give the same run.
"""

from __future__ import annotations

import base64
import collections
import dataclasses
import datetime as dt
import heapq
import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from . import events
from .access import Access
from .answers import Answer
from .chance import draw, identifier
from .config import Config, JobFault
from .errors import ApiError, ConfigError, conflict, is_passing, not_found, validation
from .faults import Fault, Faults
from .models import arn_region, base_model_id, is_custom, is_known_form, is_profile, model_arn
from .records import SUCCESS, InputError, JobFiles, Location, Spec, Written, inspect, write_results
from .roles import check_role
from .runtime import Invocation, OnDemand
from .validation import OPERATIONS, RUNTIME_OPERATIONS, check_request, only_modelled

ACTIVE = ("Submitted", "Validating", "Scheduled", "InProgress", "Stopping")
TERMINAL = ("Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired")

_TRIES = 10
_DEFAULT_MESSAGES = {
    "Failed": "The batch inference job failed because of an internal error.",
    "Expired": "The batch inference job timed out before it was completed.",
    "PartiallyCompleted": "The batch inference job timed out before all records were processed.",
}


@dataclass
class Job:
    """One batch inference job; times are seconds since the epoch."""

    number: int
    id: str
    arn: str
    name: str
    model_id: str
    base_model: str
    request: dict[str, Any]
    timeout_hours: int
    submitted: float
    expires: float
    foreign_seconds: float | None = None
    status: str = "Submitted"
    message: str = ""
    modified: float = 0.0
    ended: float | None = None
    timeline: list[tuple[str, float]] = field(default_factory=list)
    spec: Spec | None = None
    files: JobFiles | None = None
    started: float | None = None
    rate: float = 1.0
    start_seconds: float = 0.0
    planned: int = 0
    outcome: str = "Completed"
    outcome_message: str = ""
    stopped_at: int | None = None
    written: Written | None = None
    sealed: bool = False
    running: bool = False
    epoch: int = 0

    @property
    def active(self) -> bool:
        """Whether the job holds a slot of its model."""
        return self.status in ACTIVE

    def processed(self, now: float) -> int:
        """How many records are done at `now`."""
        if self.written is not None:
            return self.written.processed
        if self.stopped_at is not None:
            return self.stopped_at
        if self.started is None or self.files is None:
            return 0
        elapsed = now - self.started - self.start_seconds
        return max(0, min(self.planned, int(elapsed * self.rate + 1e-6)))


@dataclass(frozen=True)
class Step:
    """One thing that is due: `run` works on S3 and changes nothing here, `finish` takes in what it gave.

    A server runs `run` without its lock, so that the calls go on meanwhile.
    """

    run: Callable[[], Any]
    finish: Callable[[Any], None]


def _nothing() -> None:
    return None


class Simulator:
    """Bedrock's batch inference control plane for one account and Region, and its models on demand.

    `s3`: an S3 client (list_objects_v2, get_object, put_object, head_bucket, and upload_fileobj for outputs
    above 64 MiB). `clock`: seconds since the epoch, never going back. `iam`: an IAM client, or None to trust
    every role. `access`: says who may do what, or None to let everybody. `emit`: takes each event (the whole
    EventBridge event) when it is delivered; called from `tick`, never from a call. `seed`: all chance.
    `config`: see `Config`. `lock` is not taken here: whoever
    calls from several threads holds it meanwhile (`wire.respond` does).
    """

    def __init__(
        self,
        s3: Any,
        *,
        clock: Callable[[], float],
        account: str = "000000000000",
        region: str = "us-east-1",
        partition: str = "aws",
        iam: Any = None,
        access: Access | None = None,
        emit: Callable[[dict[str, Any]], None] | None = None,
        seed: int = 0,
        config: Config | None = None,
    ) -> None:
        self.s3, self.iam, self.emit, self.clock = s3, iam, emit, clock
        self.access = access
        self.account, self.region, self.partition, self.seed = account, region, partition, seed
        self.config = config or Config()
        self.faults = Faults(seed)
        self.lock = threading.RLock()
        self._sequence = itertools.count()
        self._numbers = itertools.count(1)
        self._ticking = False
        self._forget()

    def _forget(self) -> None:
        self.jobs: dict[str, Job] = {}
        self._by_name: dict[str, Job] = {}
        self._by_token: dict[str, Job] = {}
        self._active: dict[str, set[str]] = collections.defaultdict(set)
        self._peak: dict[str, int] = collections.defaultdict(int)
        self._running: dict[str, int] = collections.defaultdict(int)
        self._waiting: dict[str, collections.deque[Job]] = collections.defaultdict(collections.deque)
        self._due: list[tuple[float, int, Job | None, int, Callable[[float], Step]]] = []
        self._hits: dict[int, int] = collections.defaultdict(int)
        self.calls: dict[str, dict[str, Any]] = {
            operation: {"total": 0, "ok": 0, "errors": {}, "effect_answer_lost": 0}
            for operation in OPERATIONS
        }
        self.on_demand = OnDemand(self.seed)
        self.event_counts = {"planned": 0, "lost": 0, "doubled": 0, "emitted": 0}

    # --- control ---------------------------------------------------------------------------------

    def reset(self) -> None:
        """Forget jobs, counts, faults and pending events; the configuration and the clock stay, ids go on."""
        self.faults.clear()
        self._forget()

    def configure(self, patch: Mapping[str, Any]) -> None:
        """Merge `patch` into the configuration, or raise ConfigError. Jobs keep the durations they began."""
        self.config = self.config.updated(patch)
        self._hits.clear()
        for base_model in list(self._waiting):
            self._start_waiting(base_model, self.clock())

    def add_fault(self, fault: Fault) -> None:
        """Put a fault in force."""
        self.faults.add(fault)

    def add_foreign(self, model_id: str, count: int = 1, seconds: float = 60.0) -> list[str]:
        """Start `count` jobs of somebody else that hold slots of the model for `seconds`, whatever the quota.

        They have no files, come up in List and in events, and end Completed. Returns their ARNs. Raises
        ConfigError for what names no model.
        """
        if not is_known_form(base_model_id(model_id, self.config.inference_profiles)):
            raise ConfigError(
                f"model_id: {model_id!r} names no model; write an id such as amazon.nova-lite-v1:0"
            )
        arns = []
        for _ in range(count):
            number = next(self._numbers)
            uri = f"s3://another-team/{identifier(8, self.seed, 'foreign', number)}"
            request = {
                "jobName": f"foreign-{number}-{identifier(8, self.seed, 'name', number)}",
                "modelId": model_id,
                "roleArn": f"arn:{self.partition}:iam::{self.account}:role/another-team",
                "inputDataConfig": {"s3InputDataConfig": {"s3Uri": f"{uri}/in/"}},
                "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": f"{uri}/out/"}},
            }
            job = self._new_job(number, request, foreign_seconds=seconds)
            arns.append(job.arn)
        return arns

    def active(self, model_id: str) -> int:
        """How many active jobs hold slots of `model_id`'s base model."""
        return len(self._active[base_model_id(model_id, self.config.inference_profiles)])

    def peak(self, model_id: str) -> int:
        """The most active jobs that `model_id`'s base model ever had."""
        return self._peak[base_model_id(model_id, self.config.inference_profiles)]

    def state(self) -> dict[str, Any]:
        """What is going on, as JSON: jobs with their timelines, models, calls, events, faults."""
        now = self.clock()
        models = {
            name: {
                "active": len(self._active[name]),
                "peak_active": self._peak[name],
                "running": self._running[name],
                "waiting": sum(job.status == "Scheduled" for job in self._waiting[name]),
                "max_active_jobs": self.config.model(name).max_active_jobs,
                "on_demand": self.on_demand.tally_state(name),
            }
            for name in sorted(
                set(self._peak) | set(self.on_demand.tallies) | (set(self.config.models) - {"*"})
            )
        }
        return {
            "now": now,
            "account": self.account,
            "region": self.region,
            "seed": self.seed,
            "jobs": [self._job_state(job, now) for job in self.jobs.values()],
            "models": models,
            "calls": self.calls,
            "on_demand": self.on_demand.state(),
            "events": {
                **self.event_counts,
                "pending": self.event_counts["planned"] - self.event_counts["emitted"],
            },
            "faults": self.faults.to_list(),
            "config": self.config.to_dict(),
        }

    def _job_state(self, job: Job, now: float) -> dict[str, Any]:
        counts = self._counts(job, now)
        return {
            "jobId": job.id,
            "jobArn": job.arn,
            "jobName": job.name,
            "modelId": job.model_id,
            "baseModelId": job.base_model,
            "status": job.status,
            "message": job.message,
            "foreign": job.foreign_seconds is not None,
            "inputUri": job.request["inputDataConfig"]["s3InputDataConfig"]["s3Uri"],
            "outputUri": job.request["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"],
            "files": [dataclasses.asdict(each) for each in job.files.files] if job.files else [],
            "timeline": [{"status": status, "at": at, "time": _iso(at)} for status, at in job.timeline],
            **counts,
        }

    # --- time ------------------------------------------------------------------------------------

    def next_due(self) -> float | None:
        """When the next thing happens (seconds since the epoch), None when nothing is to come."""
        while self._due and not self._valid(self._due[0]):
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    @staticmethod
    def _valid(entry: tuple[float, int, Job | None, int, Callable[[float], Step]]) -> bool:
        job = entry[2]
        return job is None or entry[3] == job.epoch

    def next_step(self) -> Step | None:
        """Take the next thing that is due by now, if any; the caller runs and finishes it."""
        due = self.next_due()
        if due is None or due > self.clock():
            return None
        entry = heapq.heappop(self._due)
        return entry[4](entry[0])

    def tick(self) -> int:
        """Let everything happen that is due by now, in order of time; returns how many things did.

        Each status carries the time it was due, so rare ticks give the same history as frequent ones. A call
        from within (an `emit` that drives more work) does nothing.
        """
        if self._ticking:
            return 0
        self._ticking, done = True, 0
        try:
            while (step := self.next_step()) is not None:
                step.finish(step.run())
                done += 1
        finally:
            self._ticking = False
        return done

    def advance(self, seconds: float) -> int:
        """Move a settable clock (`VirtualClock`) from one due thing to the next; returns how many came."""
        move = getattr(self.clock, "set", None)
        if move is None:
            raise ConfigError("advance needs a clock that can be set, such as VirtualClock")
        if self._ticking:
            raise RuntimeError("advance was called from within emit: time cannot move while things happen")
        target, done = self.clock() + seconds, self.tick()
        while (due := self.next_due()) is not None and due <= target:
            move(due)
            done += self.tick()
        move(target)
        return done

    def _at(self, due: float, job: Job | None, step: Callable[[float], Step]) -> None:
        heapq.heappush(self._due, (due, next(self._sequence), job, job.epoch if job else 0, step))

    def _then(self, due: float, job: Job, change: Callable[[Job, float], None]) -> None:
        """At `due`, unless the job went another way meanwhile, let `change` happen."""
        self._at(due, job, lambda at: Step(_nothing, lambda _: change(job, at)))

    # --- life cycle ------------------------------------------------------------------------------

    def _new_job(self, number: int, request: dict[str, Any], foreign_seconds: float | None = None) -> Job:
        now = self.clock()
        job_id = self._job_id(number)
        hours = request.get("timeoutDurationInHours") or self.config.default_timeout_hours
        job = Job(
            number=number,
            id=job_id,
            arn=self._job_arn(job_id),
            name=request["jobName"],
            model_id=request["modelId"],
            base_model=base_model_id(request["modelId"], self.config.inference_profiles),
            request=request,
            timeout_hours=hours,
            submitted=now,
            expires=now + hours * 3600,
            foreign_seconds=foreign_seconds,
        )
        self.jobs[job_id] = job
        self._by_name[job.name] = job
        if token := request.get("clientRequestToken"):
            self._by_token[token] = job
        holders = self._active[job.base_model]
        holders.add(job_id)
        self._peak[job.base_model] = max(self._peak[job.base_model], len(holders))
        self._set_status(job, "Submitted", now)
        self._at(job.expires, None, lambda at: self._expire(job, at))
        self._then(now + self.config.model(job.base_model).queue_seconds, job, self._validate)
        return job

    def _job_id(self, number: int) -> str:
        return identifier(12, self.seed, self.account, self.region, "job", number)

    def _job_arn(self, job_id: str) -> str:
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
            self._at(due, None, lambda _: Step(_nothing, lambda _: self._deliver(event)))

    def _deliver(self, event: dict[str, Any]) -> None:
        self.event_counts["emitted"] += 1
        if self.emit is not None:
            self.emit(json.loads(json.dumps(event)))

    def _end(self, job: Job, status: str, message: str, at: float) -> None:
        job.message, job.ended = message, at
        job.epoch += 1
        self._active[job.base_model].discard(job.id)
        self._set_status(job, status, at)
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
            base_model=job.base_model,
            invocation_type=job.request.get("modelInvocationType", "InvokeModel"),
            source=Location.parse(job.request["inputDataConfig"]["s3InputDataConfig"]["s3Uri"]),
            target=Location.parse(job.request["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"]),
            encryption_key=job.request["outputDataConfig"]["s3OutputDataConfig"].get("s3EncryptionKeyId", ""),
            limits=limits,
            record_faults=self.config.record_faults,
            seed=self.seed,
        )
        self._with_files(job, at + limits.validation_seconds, self._inspect, self._inspected)

    def _with_files(
        self,
        job: Job,
        due: float,
        work: Callable[[Job], Any],
        after: Callable[[Job, Any, float], None],
        tries: int = _TRIES,
    ) -> None:
        """At `due` do `work` on S3, then `after`. Passing faults are tried again, others fail the job."""

        def run() -> Any:
            try:
                return work(job)
            except InputError as error:
                return error
            except ClientError as error:
                if is_passing(error):
                    return error
                return InputError(f"Amazon S3 refused access to the job's data: {error}")
            except (Boto3Error, BotoCoreError, OSError) as error:
                return error

        def finish(result: Any, at: float, epoch: int) -> None:
            if job.epoch != epoch:
                return
            if isinstance(result, InputError):
                self._end(job, "Failed", str(result), at)
            elif isinstance(result, Exception):
                if tries > 1:
                    self._with_files(job, at + 1.0, work, after, tries - 1)
                else:
                    self._end(job, "Failed", f"Amazon S3 could not be reached: {result}", at)
            else:
                after(job, result, at)

        def step(at: float) -> Step:
            epoch = job.epoch
            return Step(run, lambda result: finish(result, at, epoch))

        self._at(due, job, step)

    def _inspect(self, job: Job) -> JobFiles:
        assert job.spec is not None
        if self.access is not None:
            self.access.check_role(job.request["roleArn"], job.model_id)
        return inspect(self._s3_of(job.request), job.spec)

    def _s3_of(self, request: Mapping[str, Any]) -> Any:
        """S3 as a job's service role reaches it."""
        return self.s3 if self.access is None else self.access.s3(request["roleArn"])

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
        message = fault.message if fault else None
        job.outcome_message = message if message is not None else _DEFAULT_MESSAGES.get(job.outcome, "")
        self._then(at + job.start_seconds + job.planned / job.rate, job, self._seal)

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
        if status == "Failed" or job.spec is None or job.files is None or count == 0:
            self._end(job, status, message, at)
            return
        spec, files = job.spec, job.files

        def ended(ending: Job, written: Written, when: float) -> None:
            ending.written = written
            self._end(ending, status, message, when)

        self._with_files(
            job, at, lambda _: write_results(self._s3_of(job.request), spec, files, count), ended
        )

    def _expire(self, job: Job, at: float) -> Step:
        def finish(_: None) -> None:
            if not job.active or job.sealed:
                return
            job.stopped_at = job.processed(at)
            in_time = job.status == "InProgress" or job.stopped_at > 0
            status = self.config.timeout_status if in_time else "Expired"
            self._close(job, at, status, _DEFAULT_MESSAGES[status])

        return Step(_nothing, finish)

    # --- operations ------------------------------------------------------------------------------

    def call(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """One call of the API.

        `params` as JSON (timestamps as datetime; InvokeModel's `body` as bytes). Returns the answer as JSON,
        timestamps in ISO 8601, and for InvokeModel what its body says. Raises `ApiError` for an error answer
        and `ConnectionLostError` when a fault takes the answer away after the effect.
        """
        if operation in RUNTIME_OPERATIONS:
            return self.finish(self.begin(operation, params)).output
        counts = self.calls[operation]
        counts["total"] += 1
        with _errors_counted(counts):
            answer = self._call(operation, params, counts)
        counts["ok"] += 1
        return answer

    def begin(self, operation: str, params: Mapping[str, Any]) -> Invocation:
        """Admit a call of InvokeModel or Converse; it holds its place until `finish` or `abandon`.

        `params` and errors as for `call`.
        """
        counts, on_demand = self.calls[operation], self.on_demand
        counts["total"] += 1
        meant = base_model_id(str(params.get("modelId") or ""), self.config.inference_profiles)
        known = meant if is_known_form(meant) else None
        if known is not None:
            on_demand.tally(known).calls += 1
        with _errors_counted(counts), on_demand.counted(known):
            fault = self.faults.take(operation)
            if fault is not None and not fault.after_effect:
                raise fault.error()
            try:
                check_request(operation, params)
                base_model = self._check_on_demand(params["modelId"])
                invocation = on_demand.begin(
                    operation,
                    params,
                    base_model,
                    limits=self.config.model(base_model),
                    record_faults=self.config.record_faults,
                    now=self.clock(),
                )
            except ApiError:
                if fault is not None:
                    raise fault.error() from None
                raise
        invocation.fault, invocation.counts = fault, counts
        return invocation

    def finish(self, invocation: Invocation) -> Answer:
        """What an admitted call comes to; errors as for `call`. After a reset nothing is counted any more."""
        counts, fault = invocation.counts, invocation.fault
        with _errors_counted(counts):
            try:
                said = invocation.home.finish(invocation)
            except ApiError:
                if fault is not None:
                    raise fault.error() from None
                raise
            if fault is not None:
                counts["effect_answer_lost"] += 1
                raise fault.error()
        counts["ok"] += 1
        if invocation.operation == "Converse":
            served = {"serviceTier": {"type": invocation.tier}} if invocation.tier else {}
            return dataclasses.replace(said, output=only_modelled("Converse", {**said.output, **served}))
        return said

    def abandon(self, invocation: Invocation) -> None:
        """Free the place of an admitted call that will not be finished."""
        invocation.home.abandon(invocation)

    def _call(self, operation: str, params: Mapping[str, Any], counts: dict[str, Any]) -> dict[str, Any]:
        fault = self.faults.take(operation)
        if fault is not None and not fault.after_effect:
            raise fault.error()
        check_request(operation, params)
        handler = {
            "CreateModelInvocationJob": self._create,
            "GetModelInvocationJob": self._get,
            "ListModelInvocationJobs": self._list,
            "StopModelInvocationJob": self._stop,
        }[operation]
        try:
            answer = handler(dict(params))
        except ApiError:
            if fault is not None:
                raise fault.error() from None
            raise
        if fault is not None:
            counts["effect_answer_lost"] += 1
            raise fault.error()
        return only_modelled(operation, answer)

    def _create(self, params: dict[str, Any]) -> dict[str, Any]:
        request = {name: value for name, value in params.items() if value is not None}
        token = request.get("clientRequestToken")
        if token is not None and (job := self._by_token.get(token)) is not None:
            if job.request != request and self.config.token_mismatch != "ignore":
                raise ApiError(
                    self.config.token_mismatch,
                    f"The client request token was used with other parameters for job {job.arn}.",
                )
            return {"jobArn": job.arn}
        number = next(self._numbers)
        self.check_role(request)
        base_model = self._check_batch(request["modelId"])
        source = request["inputDataConfig"]["s3InputDataConfig"]
        if self.config.check_buckets:
            s3 = self._s3_of(request)
            self._check_bucket(s3, "Input", source)
            self._check_bucket(s3, "Output", request["outputDataConfig"]["s3OutputDataConfig"])
        if self.config.check_input:
            self._check_input(self._s3_of(request), source["s3Uri"])
        if (same := self._by_name.get(request["jobName"])) is not None:
            raise conflict(f"A batch inference job with the name {same.name} already exists: {same.arn}")
        quota = self.config.model(base_model).max_active_jobs
        if len(self._active[base_model]) >= quota:
            raise ApiError(
                self.config.quota_error,
                "You have exceeded the service quota of in-progress and submitted batch inference jobs for"
                f" the model {base_model}: {quota}. Wait until a job has ended, or request a quota increase.",
            )
        return {"jobArn": self._new_job(number, request).arn}

    def check_role(self, params: Mapping[str, Any]) -> None:
        """Raise `ApiError` unless Bedrock may assume the service role that a Create names."""
        if self.iam is not None and self.config.check_role:
            arn = self._job_arn(self._job_id(0))
            check_role(self.iam, str(params.get("roleArn")), self.account, arn)

    def _check_batch(self, model_id: str) -> str:
        base_model = self._check_model(model_id)
        limits = self.config.model(base_model)
        by_id = not is_profile(model_id, self.config.inference_profiles)
        if not limits.batch or (by_id and not limits.batch_by_id):
            raise validation("Batch inference is not supported for the requested model.")
        return base_model

    def _check_model(self, model_id: str) -> str:
        base_model = base_model_id(model_id, self.config.inference_profiles)
        region = arn_region(model_id)
        if not is_known_form(base_model) or region not in (None, self.region):
            raise validation("The provided model identifier is invalid.")
        return base_model

    def _check_on_demand(self, model_id: str) -> str:
        base_model = self._check_model(model_id)
        by_id = not is_profile(model_id, self.config.inference_profiles)
        if is_custom(model_id) or (by_id and not self.config.model(base_model).on_demand_by_id):
            raise validation(
                f"Invocation of model ID {model_id} with on-demand throughput isn’t supported. Retry your"
                " request with the ID or ARN of an inference profile that contains this model."
            )
        return base_model

    def _check_bucket(self, s3: Any, side: str, place: Mapping[str, Any]) -> None:
        bucket = Location.parse(place["s3Uri"]).bucket
        # Without the owner, Bedrock takes the job's own account, whatever the policy of the bucket says.
        if place.get("s3BucketOwner", self.account) != self.config.bucket_owners.get(bucket, self.account):
            raise validation(f"{side} bucket {bucket} is not owned by the expected account.")
        try:
            s3.head_bucket(Bucket=bucket)
        except ClientError as error:
            if is_passing(error):
                raise ApiError("InternalServerException", "Amazon S3 could not be reached.") from error
            raise validation(
                f"{side} bucket {bucket} does not exist or the service role has no access to it."
            ) from None

    def _check_input(self, s3: Any, uri: str) -> None:
        place = Location.parse(uri)
        prefix = place.key if place.is_file else place.prefix
        try:
            found = s3.list_objects_v2(Bucket=place.bucket, Prefix=prefix, MaxKeys=1)
        except ClientError as error:
            if is_passing(error):
                raise ApiError("InternalServerException", "Amazon S3 could not be reached.") from error
            raise validation(f"The service role has no access to the input {uri}.") from None
        if not found.get("Contents"):
            raise validation(f"The input {uri} does not exist, or has no objects.")

    def _find(self, identifier_: str) -> Job:
        job = self.jobs.get(identifier_.rpartition("/")[2])
        if job is None or (identifier_.startswith("arn:") and identifier_ != job.arn):
            raise not_found(f"Could not find a batch inference job {identifier_}.")
        return job

    def _get(self, params: dict[str, Any]) -> dict[str, Any]:
        return self._describe(self._find(params["jobIdentifier"]))

    def _stop(self, params: dict[str, Any]) -> dict[str, Any]:
        job = self._find(params["jobIdentifier"])
        if not job.active:
            raise ApiError(
                self.config.stop_ended_error,
                f"The batch inference job {job.arn} cannot be stopped. State was: {job.status}",
            )
        if job.sealed:
            raise ApiError("ConflictException", f"The results of {job.arn} are being written.")
        if job.status != "Stopping":
            now = self.clock()
            job.stopped_at = job.processed(now)
            job.epoch += 1
            self._set_status(job, "Stopping", now)
            self._then(now + self.config.model(job.base_model).stopping_seconds, job, self._stopped)
        return {}

    def _stopped(self, job: Job, at: float) -> None:
        self._close(job, at, "Stopped", "")

    def _list(self, params: dict[str, Any]) -> dict[str, Any]:
        after, before = _aware(params.get("submitTimeAfter")), _aware(params.get("submitTimeBefore"))
        status, part = params.get("statusEquals"), params.get("nameContains")
        descending = params.get("sortOrder", "Descending") == "Descending"
        filters = [str(params.get(name)) for name in ("submitTimeAfter", "submitTimeBefore", "statusEquals",
                                                      "nameContains", "sortOrder")]  # fmt: skip
        start = _read_token(params["nextToken"], filters) if params.get("nextToken") else None
        limit = params.get("maxResults") or self.config.default_max_results
        jobs = list(self.jobs.values())
        found: list[Job] = []
        more = False
        for job in reversed(jobs) if descending else jobs:
            if start is not None and (job.number >= start if descending else job.number <= start):
                continue
            # As answers tell it: the time that Get gave of a job bounds a list without that job.
            submitted = dt.datetime.fromisoformat(_iso(job.submitted))
            if (
                (status is not None and job.status != status)
                or (part is not None and part not in job.name)
                or (after is not None and submitted <= after)
                or (before is not None and submitted >= before)
            ):
                continue
            if len(found) == limit:
                more = True
                break
            found.append(job)
        answer: dict[str, Any] = {"invocationJobSummaries": [self._describe(job) for job in found]}
        if more:
            answer["nextToken"] = _write_token(found[-1].number, filters)
        return answer

    def _counts(self, job: Job, now: float) -> dict[str, int]:
        if job.files is None:
            return {}
        processed = job.processed(now)
        success = job.files.outcomes.count(SUCCESS, 0, processed)
        return {
            "totalRecordCount": job.files.total,
            "processedRecordCount": processed,
            "successRecordCount": success,
            "errorRecordCount": processed - success,
        }

    def _describe(self, job: Job) -> dict[str, Any]:
        source = job.request["inputDataConfig"]["s3InputDataConfig"]
        return {
            "jobArn": job.arn,
            "jobName": job.name,
            "modelId": job.model_id,
            "clientRequestToken": job.request.get("clientRequestToken"),
            "roleArn": job.request["roleArn"],
            "status": job.status,
            "message": job.message or None,
            "submitTime": _iso(job.submitted),
            "lastModifiedTime": _iso(job.modified),
            "endTime": _iso(job.ended) if job.ended is not None else None,
            "inputDataConfig": {"s3InputDataConfig": {"s3InputFormat": "JSONL", **source}},
            "outputDataConfig": job.request["outputDataConfig"],
            "vpcConfig": job.request.get("vpcConfig"),
            "timeoutDurationInHours": job.timeout_hours,
            "jobExpirationTime": _iso(job.expires),
            "modelInvocationType": job.request.get("modelInvocationType", "InvokeModel"),
            **self._counts(job, self.clock()),
        }


@contextmanager
def _errors_counted(counts: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        code = error.code if isinstance(error, ApiError) else type(error).__name__
        counts["errors"][code] = counts["errors"].get(code, 0) + 1
        raise


def _aware(time: dt.datetime | None) -> dt.datetime | None:
    """A time in UTC unless it says otherwise."""
    return time.replace(tzinfo=dt.UTC) if time is not None and time.tzinfo is None else time


def _iso(at: float) -> str:
    time = dt.datetime.fromtimestamp(at, dt.UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _write_token(number: int, filters: list[str]) -> str:
    return base64.urlsafe_b64encode(json.dumps([number, filters]).encode()).decode()


def _read_token(token: str, filters: list[str]) -> int:
    try:
        number, given = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError):
        raise validation("The nextToken is not valid.") from None
    if given != filters or not isinstance(number, int):
        raise validation("The nextToken belongs to a request with other filters.")
    return number
