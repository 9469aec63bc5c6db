"""On-demand inference: what one call of InvokeModel or Converse comes to, and what is counted of it.

Pure, as the core is. A call is admitted (`OnDemand.begin`) and answered (`OnDemand.finish`) in two steps, so
that a server can let its latency pass in between without holding the others up.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from . import rules, strict_json
from .answering import Answering, CallbackError, Record
from .answers import Answer, RecordError, check, digest
from .chance import draw
from .config import ModelConfig, RecordFaultConfig
from .errors import ApiError
from .faults import Fault
from .records import PERMANENT_MESSAGE, fails_for_good, passing_error

WINDOW_SECONDS = 60.0
"""How long an admitted call counts towards `invocations_per_minute`, in simulated time."""

_CODES = {
    400: "ValidationException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}


@dataclass
class Tally:
    """The calls for one base model: those under way are in `under_way`, by number."""

    calls: int = 0
    ok: int = 0
    throttled: int = 0
    peak_concurrent: int = 0
    under_way: set[int] = field(default_factory=set)
    admitted: collections.deque[float] = field(default_factory=collections.deque)

    def to_dict(self) -> dict[str, int]:
        """The counts as JSON."""
        return {
            "calls": self.calls,
            "ok": self.ok,
            "throttled": self.throttled,
            "concurrent": len(self.under_way),
            "peak_concurrent": self.peak_concurrent,
        }


@dataclass(eq=False)
class Invocation:
    """A call that was admitted and is not answered yet.

    `seconds`: its latency in simulated time. `fault`: what strikes once it has had its effect. `error`: the
    passing failure that it ends with. `tier`: the service tier that was asked for, or "". `operation`:
    InvokeModel or Converse, also where the answer goes into a `stream`. Its end is counted
    in `counts` by operation, and in `home` by model.
    """

    number: int
    operation: str
    base_model: str
    body: dict[str, Any]
    key: tuple[str, str, str]
    seconds: float
    home: OnDemand
    error: ApiError | None = None
    fault: Fault | None = None
    counts: dict[str, Any] = field(default_factory=dict)
    tier: str = ""
    said: Answer | RecordError | None = None
    stream: bool = False


def api_error(error: RecordError) -> ApiError:
    """The error answer of an on-demand call for what a batch job would write into the record's `error`."""
    fallback = (
        "ValidationException" if error.code < HTTPStatus.INTERNAL_SERVER_ERROR else "InternalServerException"
    )
    return ApiError(_CODES.get(error.code, fallback), error.message)


class OnDemand:
    """Calls of InvokeModel and Converse since the last reset, for a `seed` of all chance."""

    def __init__(self, seed: int, answering: Answering | None = None) -> None:
        self._answering = answering or Answering()
        self.tallies: dict[str, Tally] = {}
        self._seed = seed
        self._numbers = 0
        self._asked: collections.Counter[tuple[str, str, str]] = collections.Counter()
        self._answered: collections.Counter[tuple[str, str, str]] = collections.Counter()
        self._tokens = [0, 0]
        self._lost = 0
        self.tiers: collections.Counter[str] = collections.Counter()
        """How many answers were given at each service tier ("" where none was asked for)."""

    def tally(self, base_model: str) -> Tally:
        """The counts of one base model, made when there are none."""
        return self.tallies.setdefault(base_model, Tally())

    def tally_state(self, base_model: str) -> dict[str, int]:
        """The counts of one base model as JSON; nothing is made."""
        return self.tallies.get(base_model, Tally()).to_dict()

    def state(self) -> dict[str, int]:
        """What was paid for, as JSON.

        `answers`: calls that the model answered, also when the answer was lost on its way (`answers_lost`).
        `repeated`: how many of them were for a model id and body that had been answered before, so 0 means
        that nothing was paid for twice.
        """
        answers = self._answered.total()
        return {
            "answers": answers,
            "repeated": answers - len(self._answered),
            "answers_lost": self._lost,
            "input_tokens": self._tokens[0],
            "output_tokens": self._tokens[1],
        }

    def answered(self, operation: str, model_id: str, body: Mapping[str, Any]) -> int:
        """How often the model answered this `body` (what a record has as `modelInput`) to this `model_id`."""
        return self._answered[operation, model_id, digest(body)]

    @contextmanager
    def counted(self, base_model: str | None) -> Iterator[None]:
        """Count a throttled answer for `base_model` (None: no model is meant)."""
        try:
            yield
        except ApiError as error:
            if base_model is not None and error.code == "ThrottlingException":
                self.tally(base_model).throttled += 1
            raise

    def begin(
        self,
        operation: str,
        params: Mapping[str, Any],
        base_model: str,
        *,
        limits: ModelConfig,
        record_faults: RecordFaultConfig,
        now: float,
    ) -> Invocation:
        """Admit a call at `now` (seconds), or raise the `ApiError` that it gets at once.

        `params`: `modelId`, and for InvokeModel the raw `body`, for Converse the members of the body. Above
        the model's quotas nothing is looked at; a refused body counts towards the quota of calls a minute.
        """
        tally = self.tally(base_model)
        while tally.admitted and tally.admitted[0] <= now - WINDOW_SECONDS:
            tally.admitted.popleft()
        concurrent, per_minute = limits.max_concurrent_invocations, limits.invocations_per_minute
        if (concurrent is not None and len(tally.under_way) >= concurrent) or (
            per_minute is not None and len(tally.admitted) >= per_minute
        ):
            raise rules.THROTTLED.error()
        tally.admitted.append(now)
        body = _body(operation, params)
        asked: Any = params.get("serviceTier") or ""
        tier = str(asked.get("type")) if isinstance(asked, Mapping) else str(asked)
        if tier and tier not in limits.service_tiers:
            raise rules.NO_TIER.error()
        try:
            check(base_model, operation, body, on_demand=True)
        except RecordError as error:
            raise api_error(error) from None
        if fails_for_good(self._seed, record_faults, body):
            raise api_error(RecordError(record_faults.permanent_code, PERMANENT_MESSAGE))
        key = (operation, str(params["modelId"]), digest(body))
        passing = self._passing(key, record_faults)
        if passing is not None and passing.code == "ThrottlingException":
            raise passing
        self._numbers += 1
        tally.under_way.add(self._numbers)
        tally.peak_concurrent = max(tally.peak_concurrent, len(tally.under_way))
        seconds = limits.invoke_seconds
        return Invocation(self._numbers, operation, base_model, body, key, seconds, self, passing, tier=tier)

    def _passing(self, key: tuple[str, str, str], chances: RecordFaultConfig) -> ApiError | None:
        """A passing failure, drawn anew for each call of the same body, whatever runs beside it."""
        self._asked[key] += 1
        drawn = (self._seed, *key, self._asked[key])
        if not chances.passing_rate or draw("on-demand", *drawn) >= chances.passing_rate:
            return None
        codes = chances.passing_codes
        return api_error(passing_error(codes[int(draw("on-demand-code", *drawn) * len(codes))]))

    def think(self, invocation: Invocation) -> None:
        """Let the model answer an admitted call, if it has not; raises what the user's own answers raise."""
        if invocation.said is not None or invocation.error is not None:
            return
        operation, model_id, _ = invocation.key
        record = Record("", model_id, invocation.base_model, operation, invocation.body)
        try:
            invocation.said = self._answering.answer(record)
        except RecordError as error:
            invocation.said = error
        except CallbackError as error:
            raise self._answering.seen(error) from None

    def finish(self, invocation: Invocation) -> Answer:
        """The model's answer to an admitted call, or the `ApiError` that it ends with."""
        self.abandon(invocation)
        if invocation.error is not None:
            raise invocation.error
        self.think(invocation)
        said = invocation.said
        if isinstance(said, RecordError):
            raise api_error(said)
        assert said is not None
        self._answered[invocation.key] += 1
        self.tiers[invocation.tier] += 1
        self._tokens[0] += said.input_tokens
        self._tokens[1] += said.output_tokens
        if invocation.fault is not None:
            self._lost += 1
        else:
            self.tally(invocation.base_model).ok += 1
        return said

    def abandon(self, invocation: Invocation) -> None:
        """Free the place of a call that will not be finished; does nothing for one that is."""
        self.tally(invocation.base_model).under_way.discard(invocation.number)


def _body(operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
    if operation == "Converse":
        return {name: value for name, value in params.items() if name not in ("modelId", "serviceTier")}
    try:
        body = strict_json.decode(params.get("body") or b"")
    except (ValueError, RecursionError):
        raise rules.MALFORMED.error(what="") from None
    if not isinstance(body, dict):
        raise rules.MALFORMED.error(what=f": #: expected type: JSONObject, found: {_kind(body)}")
    return body


def _kind(value: Any) -> str:
    kinds: dict[type, str] = {list: "JSONArray", str: "String", bool: "Boolean", type(None): "Null"}
    return kinds.get(type(value), "Number")
