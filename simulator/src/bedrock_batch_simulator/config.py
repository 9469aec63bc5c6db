"""What can be set: quotas and durations by model, events, faults. Plain JSON in, frozen dataclasses out."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from . import rules
from .errors import ERROR_STATUSES, ConfigError
from .models import base_model_id, geography

_SHARES = ("_rate", ".rate", ".fraction")
_LARGEST = 10**12
_LONGEST_HOURS = 100_000


def _need(met: bool, path: str, what: str) -> None:
    if not met:
        raise ConfigError(f"{path}: {what}")


def _need_status(code: int) -> None:
    if code not in ERROR_STATUSES:
        raise ConfigError(f"code must be the HTTP status of an error, 400 to 599, not {code}")


@dataclass(frozen=True)
class ModelConfig:
    """Quotas (default: those of the service) and durations (simulated seconds) of one base model.

    - `max_active_jobs`: active jobs of the account for the model (Submitted to Stopping), foreign ones too.
    - `max_in_progress`: how many of them run at once; more wait as Scheduled. None: all of them run.
    - `min_records`, `max_records_per_job`, `max_records_per_file`, `max_file_bytes`, `max_job_bytes`.
    - `queue_seconds` in Submitted, `validation_seconds` in Validating, `schedule_seconds` at least in
      Scheduled, `start_seconds` in InProgress before the first record, then `records_per_second`;
      `stopping_seconds` in Stopping.
    - `batch`: whether the model runs batch jobs. `batch_by_id`: whether by its id too, and not through an
      inference profile alone. None: as the table of models says (see `check_models`).
    - On demand (InvokeModel and Converse): `max_concurrent_invocations` at once, `invocations_per_minute`
      admitted in any minute of simulated time (None: no limit, 0: none is let in); each takes
      `invoke_seconds` when a server is asked. `on_demand_by_id` false: the model runs by inference profile
      alone, and its bare id is refused; None: as the table of models says. `service_tiers`: those that it
      has; any other is refused.
    """

    max_active_jobs: int = rules.JOB_QUOTA.value
    max_in_progress: int | None = None
    min_records: int = rules.MIN_RECORDS.value
    max_records_per_job: int = rules.JOB_RECORDS.value
    max_records_per_file: int = rules.FILE_RECORDS.value
    max_file_bytes: int = rules.FILE_BYTES.value
    max_job_bytes: int = rules.JOB_BYTES.value
    queue_seconds: float = 1.0
    validation_seconds: float = 1.0
    schedule_seconds: float = 1.0
    start_seconds: float = 0.0
    records_per_second: float = 100.0
    stopping_seconds: float = 1.0
    batch: bool | None = None
    batch_by_id: bool | None = None
    max_concurrent_invocations: int | None = None
    invocations_per_minute: int | None = None
    invoke_seconds: float = 0.0
    on_demand_by_id: bool | None = None
    service_tiers: tuple[str, ...] = ("default", "flex", "priority")

    def __post_init__(self) -> None:
        if self.records_per_second <= 0:
            raise ConfigError("records_per_second must be above 0")
        if self.max_in_progress is not None and self.max_in_progress < 1:
            raise ConfigError("max_in_progress must be at least 1, or null")


@dataclass(frozen=True)
class EventConfig:
    """How state-change events are delivered. Rates are probabilities for each event, seconds are simulated.

    An event leaves after `delay_seconds` plus up to `jitter_seconds`; with `reorder_rate` it is held back by
    another `reorder_seconds`, so that later ones overtake it; with `duplicate_rate` it comes twice, the
    second time `duplicate_delay_seconds` later; with `loss_rate` it never comes.
    """

    enabled: bool = True
    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    loss_rate: float = 0.0
    duplicate_rate: float = 0.0
    duplicate_delay_seconds: float = 1.0
    reorder_rate: float = 0.0
    reorder_seconds: float = 5.0


@dataclass(frozen=True)
class RecordFaultConfig:
    """Records that fail though their body is good.

    `passing_rate`: drawn for each job and record anew, so the same record succeeds another time; one of
    `passing_codes`. `permanent_rate`: drawn from the `modelInput` alone, so it fails each time, with
    `permanent_code`. Both hold on demand too, where a passing failure is drawn for each call and the codes
    become exceptions: 400 ValidationException, 403 AccessDenied, 404 ResourceNotFound, 408 ModelTimeout,
    424 ModelError, 429 Throttling, 500 InternalServer, 503 ServiceUnavailable.
    """

    passing_rate: float = 0.0
    passing_codes: tuple[int, ...] = (429, 500)
    permanent_rate: float = 0.0
    permanent_code: int = 400

    def __post_init__(self) -> None:
        _need(bool(self.passing_codes), "passing_codes", "must have at least one code")
        for code in (*self.passing_codes, self.permanent_code):
            _need_status(code)


@dataclass(frozen=True)
class RecordErrorConfig:
    """The error with which a record ends: an HTTP status, and words."""

    code: int = 400
    message: str = rules.TOLD_ERROR.text()

    def __post_init__(self) -> None:
        _need_status(self.code)


@dataclass(frozen=True)
class JobFault:
    """Jobs that end otherwise than Completed.

    `outcome`: the status they end with. `fraction`: the share of the records processed by then. A job is hit
    if its name holds one of `names` (any name when empty), its base model is `model_id` (any when None), the
    draw falls below `rate`, and fewer than `times` (None: no limit) were hit before. Failed jobs write no
    results.
    """

    outcome: Literal["Failed", "Expired", "Stopped", "PartiallyCompleted"] = "Failed"
    rate: float = 1.0
    names: tuple[str, ...] = ()
    model_id: str | None = None
    fraction: float = 0.5
    times: int | None = None
    message: str | None = None


@dataclass(frozen=True)
class Config:
    """All settings of the simulator.

    - `models`: base model id → the settings that differ from "*", which holds for all.
    - `quota_error`: the code of the answer at the quota of active jobs.
    - `token_mismatch`: the answer when a client token comes again with other parameters; "ignore" gives the
      first job.
    - `stop_ended_error`: the code of the answer when an ended job is stopped.
    - `timeout_status`: the end of a job whose time runs out in InProgress; before that it is always Expired.
      The service's model says: Expired did not begin in time, PartiallyCompleted did not finish in time.
    - `default_timeout_hours`, `default_max_results`: when the request has none.
    - `check_role`, `check_buckets`, `check_input`: look in Create at the service role in IAM, at the buckets,
      and whether the input has an object. Without the last, a job without an object fails in Validating.
    - `check_surroundings`: look in Validating at the owners and Regions of the buckets, at the KMS key and
      the VPC; and with `check_role` at what the policies of the service role let it do.
    - `bucket_owners`: bucket → the account that owns it, where that is not the simulator's own.
    - `record_errors`: recordId → the error with which the record ends in every batch job, an object with
      `code` and `message`; null takes one away.
    - `result_update_seconds`: how often the results in S3 are brought up to date while a job is InProgress
      (simulated seconds; at most ten times a job, and when records were processed since); 0: only at its end.
    - `inference_profiles`: id or ARN of an application inference profile → base model id, or the id of the
      system-defined profile that it was made from.
    - `check_models`: hold a model's id against the package's table of models, Regions and profiles (see
      data/README.md). `unknown_models`: whether a model is taken that is not in the table and has no entry in
      `models`, or of which the table does not know whether it runs batch jobs.
    - `system_inference_profiles`: id of a system-defined profile → the Regions in which it can be called, to
      each of which it routes; in addition to those of the table.
    """

    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    events: EventConfig = EventConfig()
    record_faults: RecordFaultConfig = RecordFaultConfig()
    job_faults: tuple[JobFault, ...] = ()
    quota_error: Literal["ServiceQuotaExceededException", "ValidationException"] = (
        "ServiceQuotaExceededException"
    )
    token_mismatch: Literal["ConflictException", "ValidationException", "ignore"] = rules.SAME_TOKEN.value
    stop_ended_error: Literal["ConflictException", "ValidationException"] = rules.STOP_ENDED.value
    timeout_status: Literal["PartiallyCompleted", "Expired"] = rules.CUT_SHORT.value
    default_timeout_hours: int = rules.TIMEOUT.value
    default_max_results: int = rules.PAGE.value
    check_role: bool = True
    check_buckets: bool = True
    check_input: bool = True
    record_errors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    result_update_seconds: float = 60.0
    check_surroundings: bool = True
    bucket_owners: Mapping[str, str] = field(default_factory=dict)
    inference_profiles: Mapping[str, str] = field(default_factory=dict)
    check_models: bool = True
    unknown_models: Literal["allow", "refuse"] = rules.UNKNOWN_MODEL.value
    system_inference_profiles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _need(self.default_max_results >= 1, "default_max_results", "must be at least 1")
        _need(
            1 <= self.default_timeout_hours <= _LONGEST_HOURS,
            "default_timeout_hours",
            f"must be between 1 and {_LONGEST_HOURS}",
        )
        for model in self.models:
            self.model(model)
        self.errors_of_records()
        for profile, regions in self.system_inference_profiles.items():
            path = f"system_inference_profiles.{profile}"
            _need(
                bool(geography(profile)), path, "must begin with a geography, as in us.amazon.nova-lite-v1:0"
            )
            listed = isinstance(regions, (list, tuple)) and all(isinstance(each, str) for each in regions)
            _need(
                listed and bool(regions),
                path,
                'must be a list of Regions, such as ["us-east-1", "us-west-2"]',
            )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Config:
        """The defaults changed by `data` (JSON); raises ConfigError for an unknown key or a wrong value."""
        return cls().updated(data)

    def updated(self, patch: Mapping[str, Any]) -> Config:
        """A copy with `patch` merged in: objects by key, everything else (lists too) replaced."""
        current = self.to_dict()
        for key, value in patch.items():
            if key == "models":
                if not isinstance(value, Mapping) or not all(
                    isinstance(each, Mapping) for each in value.values()
                ):
                    raise ConfigError(
                        'models: must be an object of objects, such as {"*": {"min_records": 1}}'
                    )
                for model, settings in value.items():
                    name = model if model == "*" else base_model_id(model)
                    current["models"][name] = {**current["models"].get(name, {}), **settings}
            elif isinstance(current.get(key), dict) and isinstance(value, Mapping):
                current[key] = {**current[key], **value}
            else:
                current[key] = value
        if isinstance(current["record_errors"], Mapping):
            known = current["record_errors"].items()
            current["record_errors"] = {name: each for name, each in known if each is not None}
        built: Config = _build(Config, current, "")
        return built

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON."""
        return {
            **{each.name: _plain(getattr(self, each.name)) for each in dataclasses.fields(self)},
            "models": {name: dict(settings) for name, settings in self.models.items()},
        }

    def errors_of_records(self) -> dict[str, RecordErrorConfig]:
        """`record_errors`, by recordId."""
        found = self.record_errors.items()
        return {name: _build(RecordErrorConfig, each, f"record_errors.{name}") for name, each in found}

    def model(self, base_model: str) -> ModelConfig:
        """The settings of one base model: the defaults, changed by "*", changed by its own."""
        merged = {**self.models.get("*", {}), **self.models.get(base_model, {})}
        built: ModelConfig = _build(ModelConfig, merged, f"models.{base_model}")
        return built


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return value


_hints = functools.cache(typing.get_type_hints)


def _build(cls: type, data: Any, path: str) -> Any:
    if not isinstance(data, Mapping):
        raise ConfigError(f"{path or 'config'}: must be an object")
    hints = _hints(cls)
    unknown = sorted(set(data) - set(hints))
    if unknown:
        name, hint = unknown[0], ""
        if cls is Config and name in _hints(ModelConfig):
            hint = f' ({name} is a setting of a model: {{"models": {{"*": {{"{name}": …}}}}}})'
        raise ConfigError(
            f"{path or 'config'}: unknown key {name!r}{hint}; known: {', '.join(sorted(hints))}"
        )
    values = {key: _convert(hints[key], value, f"{path}.{key}".lstrip(".")) for key, value in data.items()}
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}" if path else str(error)) from None


def _convert(hint: Any, value: Any, path: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return (
            value
            if isinstance(value, typing.cast("type", hint))
            else _build(typing.cast("type", hint), value, path)
        )
    if origin is types.UnionType:
        return None if value is None else _convert(arguments[0], value, path)
    if origin is Literal:
        _need(value in arguments, path, f"must be one of {', '.join(map(str, arguments))}, not {value!r}")
        return value
    if origin is tuple:
        _need(isinstance(value, (list, tuple)), path, "must be a list")
        return tuple(_convert(arguments[0], each, f"{path}[{index}]") for index, each in enumerate(value))
    if origin is not None or hint in (bool, str):
        kind, what = {bool: (bool, "a boolean"), str: (str, "a string")}.get(hint, (Mapping, "an object"))
        _need(isinstance(value, kind), path, f"must be {what}")
        if origin is not None and arguments[1] is str:
            for name, each in value.items():
                _need(isinstance(each, str), f"{path}.{name}", "must be a string")
        return value
    return _number(hint, value, path)


def _number(hint: Any, value: Any, path: str) -> Any:
    _need(isinstance(value, (int, float)) and not isinstance(value, bool), path, "must be a number")
    _need(not value < 0, path, "must not be negative")
    _need(value <= _LARGEST, path, f"must be a number up to {_LARGEST}")  # which NaN is not
    _need(hint is not int or value == int(value), path, f"must be an integer, not {value!r}")
    _need(value <= 1 or not path.endswith(_SHARES), path, "is a share, so between 0 and 1")
    return hint(value)
