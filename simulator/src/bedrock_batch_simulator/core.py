"""The simulated service in one account and Region: its jobs, its models on demand, its faults."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from . import rules
from .access import Access
from .agenda import Agenda
from .answering import Answering
from .answers import Answer
from .aws import Aws, Principal
from .chance import identifier
from .config import Config
from .errors import ApiError, ConfigError
from .faults import Fault, Faults
from .jobs import Job
from .lifecycle import LifeCycle
from .models import is_known_form
from .operations import Operations
from .runtime import Invocation, OnDemand
from .streams import is_streamed
from .surroundings import Found
from .validation import OPERATIONS, RUNTIME_OPERATIONS, STREAMS, check_request, only_modelled


class Simulator(LifeCycle):
    """Bedrock's batch inference control plane for one account and Region, and its models on demand.

    `aws`: the services beside it, or an S3 client alone. `clock`: seconds since the epoch, never going
    back. `emit`: takes each event (the whole EventBridge event) when it is delivered; called from `tick`,
    never from a call. `seed`: all chance. `config`: see `Config`. `faults`, `agenda`, `answering`: shared
    with other Regions. `call` takes the `lock`, but not while Create looks at IAM and S3; whoever uses
    anything else from several threads holds it (`wire.respond` does).
    """

    def __init__(
        self,
        aws: Any,
        *,
        clock: Callable[[], float],
        account: str = "000000000000",
        region: str = "us-east-1",
        partition: str = "aws",
        emit: Callable[[dict[str, Any]], None] | None = None,
        seed: int = 0,
        config: Config | None = None,
        faults: Faults | None = None,
        agenda: Agenda | None = None,
        answering: Answering | None = None,
        lock: threading.RLock | None = None,
    ) -> None:
        lock = lock or threading.RLock()
        super().__init__(
            aws if isinstance(aws, Aws) else Aws(aws),
            agenda=agenda or Agenda(clock, lock),
            account=account,
            region=region,
            partition=partition,
            emit=emit,
            seed=seed,
            config=config or Config(),
            lock=lock,
            answering=answering,
        )
        self.faults = faults or Faults(seed)
        self.operations = Operations(self)

    # --- control ---------------------------------------------------------------------------------

    def forget(self) -> None:
        """Forget all jobs and what was counted; ids go on."""
        super().forget()
        self.calls: dict[str, dict[str, Any]] = {
            operation: {"total": 0, "ok": 0, "errors": {}, "effect_answer_lost": 0}
            for operation in OPERATIONS
        }
        self.on_demand = OnDemand(self.seed, self.answering)

    def reset(self) -> None:
        """Forget jobs, counts, faults and pending events; the configuration and the clock stay, ids go on."""
        self.faults.clear()
        self.agenda.clear()
        self.forget()

    def configure(self, patch: Mapping[str, Any] | Config) -> None:
        """Merge `patch` into the configuration, or raise ConfigError. Jobs keep the durations they began."""
        super().configure(patch if isinstance(patch, Config) else self.config.updated(patch))

    def add_fault(self, fault: Fault) -> None:
        """Put a fault in force."""
        self.faults.add(fault)

    def add_foreign(self, model_id: str, count: int = 1, seconds: float = 60.0) -> list[str]:
        """Start `count` jobs of somebody else that hold slots of the model for `seconds`, whatever the quota.

        They have no files, come up in List and in events, and end Completed. Returns their ARNs. Raises
        ConfigError for what names no model.
        """
        if not is_known_form(self.base_model(model_id)):
            raise ConfigError(
                f"model_id: {model_id!r} names no model; write an id such as amazon.nova-lite-v1:0"
            )
        arns = []
        for _ in range(count):
            number = self.next_number()
            uri = f"s3://another-team/{identifier(8, self.seed, 'foreign', number)}"
            request = {
                "jobName": f"foreign-{number}-{identifier(8, self.seed, 'name', number)}",
                "modelId": model_id,
                "roleArn": f"arn:{self.partition}:iam::{self.account}:role/another-team",
                "inputDataConfig": {"s3InputDataConfig": {"s3Uri": f"{uri}/in/"}},
                "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": f"{uri}/out/"}},
            }
            arns.append(self.new_job(number, request, foreign_seconds=seconds).arn)
        return arns

    def state(self) -> dict[str, Any]:
        """What is going on, as JSON: jobs with their timelines, models, calls, events, faults."""
        now = self.clock()
        names = {*self._peak, *self.on_demand.tallies, *(set(self.config.models) - {"*"})}
        return {
            "now": now,
            "account": self.account,
            "region": self.region,
            "seed": self.seed,
            "jobs": [self.operations.state(job, now) for job in self.jobs.values()],
            "models": {
                name: {**self.model_state(name), "on_demand": self.on_demand.tally_state(name)}
                for name in sorted(names)
            },
            "calls": self.calls,
            "on_demand": self.on_demand.state(),
            "events": {
                **self.event_counts,
                "pending": self.event_counts["planned"] - self.event_counts["emitted"],
            },
            "faults": self.faults.to_list(),
            "config": self.config.to_dict(),
        }

    # --- calls -----------------------------------------------------------------------------------

    def authorize(self, operation: str, params: Mapping[str, Any], who: Principal) -> None:
        """Raise `ApiError` unless `who` may make a call. Create looks at the request and the role before."""
        if self.aws.authorize is None:
            return
        if operation == "CreateModelInvocationJob":
            check_request(operation, params)
            self.operations.check_role(params)
        self._access(self.aws.authorize).check(operation, params, who)

    def _access(self, authorize: Any) -> Access:
        return Access(authorize, self.region, self.account, self.partition, self.config)

    def look_around(self, job: Job) -> Found:
        """As of `LifeCycle`; an authorizer decides of the role's models too."""
        found = super().look_around(job)
        if self.aws.authorize is None or found.refusal:
            return found
        access = self._access(self.aws.authorize)
        return dataclasses.replace(
            found, refusal=access.refusal_of_role(job.request["roleArn"], job.model_id)
        )

    def call(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """One call of the API.

        `params` as JSON (timestamps as datetime; InvokeModel's `body` as bytes). Returns the answer as JSON,
        timestamps in ISO 8601, for InvokeModel what its body says, and for a stream what it comes to. Raises
        `ApiError` for an error answer and `ConnectionLostError` when a fault takes the answer away after the
        effect.
        """
        if operation in RUNTIME_OPERATIONS:
            return self.invoke(operation, params)[1].output
        with self.lock:
            counts = self.calls[operation]
            counts["total"] += 1
            fault = self.faults.take(operation)
        with _errors_counted(counts, self.lock):
            answer = self._call(operation, params, fault, counts)
        with self.lock:
            counts["ok"] += 1
        return answer

    def invoke(
        self, operation: str, params: Mapping[str, Any], pause: Callable[[float], None] | None = None
    ) -> tuple[Invocation, Answer]:
        """One call of `RUNTIME_OPERATIONS`, and what it comes to; `params` and errors as for `call`.

        `pause` lets its latency pass (simulated seconds, also 0); without it there is none. Neither it nor
        the answers of the user's own are called under the lock.
        """
        with self.lock:
            invocation = self.begin(operation, params)
        try:
            if pause is not None:
                pause(invocation.seconds)
            self.think(invocation)
        except BaseException:
            with self.lock:
                self.abandon(invocation)
            raise
        with self.lock:
            return invocation, self.finish(invocation)

    def begin(self, operation: str, params: Mapping[str, Any]) -> Invocation:
        """Admit a call of `RUNTIME_OPERATIONS`; it holds its place until `finish` or `abandon`.

        `params` and errors as for `call`.
        """
        counts, on_demand = self.calls[operation], self.on_demand
        counts["total"] += 1
        meant = self.base_model(str(params.get("modelId") or ""))
        known = meant if is_known_form(meant) else None
        if known is not None:
            on_demand.tally(known).calls += 1
        with _errors_counted(counts, self.lock), on_demand.counted(known):
            fault = self.faults.take(operation)
            if fault is not None and not fault.after_effect:
                raise fault.error()
            try:
                check_request(operation, params)
                base_model = self.operations.models.check_on_demand(params["modelId"])
                streamed = is_streamed(base_model) and self.operations.models.is_streamed(base_model)
                if operation in STREAMS and not streamed:
                    raise rules.NO_STREAM.error()
                invocation = on_demand.begin(
                    STREAMS.get(operation, operation),
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
        invocation.fault, invocation.counts, invocation.stream = fault, counts, operation in STREAMS
        return invocation

    def think(self, invocation: Invocation) -> None:
        """Let an admitted call be answered before `finish`, which gives it; this needs no lock.

        Raises what the answers of the user's own raise.
        """
        with _errors_counted(invocation.counts, self.lock):
            invocation.home.think(invocation)

    def finish(self, invocation: Invocation) -> Answer:
        """What an admitted call comes to; errors as for `call`. After a reset nothing is counted any more."""
        counts, fault = invocation.counts, invocation.fault
        with _errors_counted(counts, self.lock):
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

    def _call(
        self, operation: str, params: Mapping[str, Any], fault: Fault | None, counts: dict[str, Any]
    ) -> dict[str, Any]:
        if fault is not None and not fault.after_effect:
            raise fault.error()
        check_request(operation, params)
        # Create takes the lock itself, where it needs it.
        held = nullcontext() if operation == "CreateModelInvocationJob" else self.lock
        try:
            with held:
                answer = self.operations.handlers[operation](dict(params))
        except ApiError:
            if fault is not None:
                raise fault.error() from None
            raise
        if fault is not None:
            with self.lock:
                counts["effect_answer_lost"] += 1
            raise fault.error()
        return only_modelled(operation, answer)


@contextmanager
def _errors_counted(counts: dict[str, Any], lock: threading.RLock) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        code = error.code if isinstance(error, ApiError) else type(error).__name__
        with lock:
            counts["errors"][code] = counts["errors"].get(code, 0) + 1
        raise
