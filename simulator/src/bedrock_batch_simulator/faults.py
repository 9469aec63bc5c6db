"""Faults on demand: what the next calls of an operation meet instead of, or after, their effect."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from .chance import draw
from .errors import ApiError, ConfigError, ConnectionLostError
from .validation import OPERATIONS

Kind = Literal[
    "throttling", "quota", "server_error", "access_denied", "validation", "answer_lost", "connection_lost"
]
"""`answer_lost` and `connection_lost` strike after the effect: an InternalServerException, or no answer."""

_ERRORS = {
    "throttling": ("ThrottlingException", "Too many requests, please wait before trying again."),
    "quota": (
        "ServiceQuotaExceededException",
        "You have exceeded the service quota for batch inference jobs.",
    ),
    "server_error": ("InternalServerException", "An internal server error occurred. Retry your request."),
    "access_denied": ("AccessDeniedException", "You don't have sufficient access to perform this action."),
    "validation": ("ValidationException", "Input validation failed."),
    "answer_lost": ("InternalServerException", "An internal server error occurred. Retry your request."),
}


@dataclass
class Fault:
    """One rule. `operation`: one of `OPERATIONS` or "*". `times`: how many more calls it hits, None for all.

    `probability`: the chance that a call is hit, drawn from the seed. `message`: instead of the usual one.
    """

    kind: Kind
    operation: str = "*"
    times: int | None = None
    probability: float = 1.0
    message: str | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Fault:
        """A rule from JSON; without `times` and `probability` it hits one call. Raises ConfigError."""
        known = [each.name for each in dataclasses.fields(cls)]
        unknown = sorted(set(data) - set(known))
        if unknown:
            raise ConfigError(f"fault: unknown key {unknown[0]!r}; known: {', '.join(known)}")
        if data.get("kind") not in get_args(Kind):
            raise ConfigError(f"fault: kind must be one of {', '.join(get_args(Kind))}")
        if data.get("operation", "*") not in (*OPERATIONS, "*"):
            raise ConfigError(f"fault: operation must be one of {', '.join(OPERATIONS)} or *")
        probability = data.get("probability", 1.0)
        if (
            isinstance(probability, bool)
            or not isinstance(probability, (int, float))
            or not 0 <= probability <= 1
        ):
            raise ConfigError("fault: probability must be a number between 0 and 1")
        times = data.get("times", None if "probability" in data else 1)
        if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
            raise ConfigError("fault: times must be a positive integer")
        message = data.get("message")
        if message is not None and not isinstance(message, str):
            raise ConfigError("fault: message must be a string")
        return cls(**{**data, "times": times})

    @property
    def after_effect(self) -> bool:
        """Whether the call has its effect before the fault strikes."""
        return self.kind in ("answer_lost", "connection_lost")

    def error(self) -> Exception:
        """What the caller gets."""
        if self.kind == "connection_lost":
            return ConnectionLostError(self.message or "connection closed without an answer")
        code, message = _ERRORS[self.kind]
        return ApiError(code, self.message or message)


class Faults:
    """The rules in force, in the order given; the first that matches and whose draw hits is taken."""

    def __init__(self, seed: int) -> None:
        self.rules: list[Fault] = []
        self._seed = seed
        self._calls = 0

    def add(self, rule: Fault) -> None:
        """Put `rule` behind those in force."""
        self.rules.append(rule)

    def clear(self) -> None:
        """Forget all rules."""
        self.rules.clear()

    def take(self, operation: str) -> Fault | None:
        """The fault that a call of `operation` meets now, if any; used up rules go."""
        self._calls += 1
        for index, rule in enumerate(self.rules):
            if rule.operation not in ("*", operation):
                continue
            if rule.probability < 1 and draw(self._seed, "fault", self._calls, index) >= rule.probability:
                continue
            if rule.times is not None:
                rule.times -= 1
                if rule.times == 0:
                    self.rules.pop(index)
            return rule
        return None

    def to_list(self) -> list[dict[str, Any]]:
        """The rules as JSON."""
        return [dataclasses.asdict(rule) for rule in self.rules]
