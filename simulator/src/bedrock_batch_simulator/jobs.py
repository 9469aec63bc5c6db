"""One batch inference job."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import rules
from .records import Answers, JobFiles, Spec

ACTIVE: tuple[str, ...] = rules.STATUSES.value
TERMINAL: tuple[str, ...] = rules.ENDS.value


@dataclass
class Job:
    """One batch inference job; times are seconds since the epoch.

    `unchecked`: what of its surroundings could not be checked. `refusal`: why the models refuse its role.
    """

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
    tags: dict[str, str] = field(default_factory=dict)
    unchecked: tuple[str, ...] = ()
    refusal: str = ""
    files: JobFiles | None = None
    started: float | None = None
    rate: float = 1.0
    start_seconds: float = 0.0
    planned: int = 0
    outcome: str = "Completed"
    outcome_message: str = ""
    stopped_at: int | None = None
    answers: Answers | None = None
    updated: int = 0
    sealed: bool = False
    running: bool = False
    epoch: int = 0

    @property
    def active(self) -> bool:
        """Whether the job holds a slot of its model."""
        return self.status in ACTIVE

    def processed(self, now: float) -> int:
        """How many records are done at `now`: what time allows for, of those that have their answer."""
        if self.stopped_at is not None:
            return self.stopped_at
        if self.started is None or self.answers is None:
            return 0
        elapsed = now - self.started - self.start_seconds
        return int(max(0.0, min(self.answers.made, elapsed * self.rate + 1e-6)))

    def counts(self, now: float) -> dict[str, int]:
        """The counts that Get and List tell; none before validation."""
        if self.files is None:
            return {}
        processed = self.processed(now)
        success = self.answers.successes(processed) if self.answers is not None else 0
        return {
            "totalRecordCount": self.files.total,
            "processedRecordCount": processed,
            "successRecordCount": success,
            "errorRecordCount": processed - success,
        }
