"""Who answers a record: the user's own answers where there are some, else the built-in ones."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import rules
from .answers import answer
from .errors import InputError
from .families import Answer, RecordError, Reply, family_of
from .families.base import tokens

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """What the user's answers are asked: a record of a batch job, or a call on demand.

    `record_id`, `job_name` and `job_arn` are "" on demand. `model_id`: as the job or the call names it;
    `base_model`: what it stands for. `invocation_type`: "InvokeModel" or "Converse". `model_input`: the body,
    a copy of its own.
    """

    record_id: str
    model_id: str
    base_model: str
    invocation_type: str
    model_input: dict[str, Any]
    job_name: str = ""
    job_arn: str = ""

    @property
    def prompt(self) -> str:
        """The last user's text, or what is to be embedded; "" where there is none."""
        return family_of(self.base_model, self.invocation_type).prompt(self.model_input)

    @property
    def where(self) -> str:
        """The record in words."""
        if self.job_arn:
            return f"record {self.record_id} of job {self.job_name}"
        return f"the call of {self.invocation_type} for {self.model_id}"


Callback = Callable[[Record], "str | Mapping[str, Any] | Reply | None"]
"""Answers a record: with a text, the whole `modelOutput`, a `Reply`, or None for the built-in answer.

It may raise `RecordError`. One with an attribute `concurrency` is asked by as many threads at once.
"""


class CallbackError(InputError):
    """The user's answers raised: `__cause__` is what. Fails the job."""


class Answering:
    """The answers of one simulation; `raised`: the first exception of the user's that nobody saw yet."""

    def __init__(self, callback: Callback | None = None) -> None:
        self.callback = callback
        self.raised: Exception | None = None

    @property
    def concurrency(self) -> int:
        """How many records may be asked for at once."""
        return int(getattr(self.callback, "concurrency", 1))

    def answer(self, record: Record) -> Answer:
        """The answer to a record whose body `check` let pass.

        Raises RecordError where the record is refused, and CallbackError where the user's answers fail.
        """
        callback = self.callback
        if callback is None:
            return answer(record.base_model, record.invocation_type, record.model_input)
        try:
            said = callback(dataclasses.replace(record, model_input=copy.deepcopy(record.model_input)))
            if said is not None:
                return _answer(record, said)
        except RecordError:
            raise
        except Exception as error:
            error.add_note(f"raised for {record.where} by the answers given to the simulation")
            log.exception("the answers given to the simulator failed for %s", record.where)
            self.raised = self.raised or error
            raise CallbackError(rules.OWN_ANSWER.text(record=record.where, error=_named(error))) from error
        return answer(record.base_model, record.invocation_type, record.model_input)

    def seen(self, error: CallbackError) -> Exception:
        """What the user's answers raised, for a caller who raises it at once."""
        cause = error.__cause__
        if self.raised is cause:
            self.raised = None
        return cause if isinstance(cause, Exception) else error

    def raise_raised(self) -> None:
        """Raise what the user's answers raised since the last time, if anything."""
        error, self.raised = self.raised, None
        if error is not None:
            raise error


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _answer(record: Record, said: object) -> Answer:
    family, body = family_of(record.base_model, record.invocation_type), record.model_input
    if isinstance(said, str):
        return family.give(record.base_model, body, Reply(said))
    if isinstance(said, Reply):
        return family.give(record.base_model, body, said)
    if isinstance(said, Mapping):
        output: dict[str, Any] = _json(said, "modelOutput")
        given, made = _counted(output)
        return Answer(
            output,
            tokens(record.prompt) if given is None else given,
            tokens(json.dumps(output)) if made is None else made,
        )
    raise TypeError(f"an answer is a str, a dict, a Reply or None, not {type(said).__name__}")


def _json(value: Any, where: str) -> Any:
    """A copy that is JSON; raises TypeError for what is not."""
    if isinstance(value, Mapping):
        return {str(name): _json(each, f"{where}.{name}") for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(each, f"{where}[{number}]") for number, each in enumerate(value)]
    if value is None or isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise TypeError(f"{where} is not JSON: {value!r}")


def _counted(output: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """The tokens that an output of any family says it took, in and out; None where it does not say."""
    usage = output.get("usage")
    counts = {**output, **(usage if isinstance(usage, Mapping) else {})}

    def first(*names: str) -> int | None:
        found = (counts.get(name) for name in names)
        return next((each for each in found if isinstance(each, int) and not isinstance(each, bool)), None)

    return (
        first("inputTokens", "input_tokens", "prompt_tokens", "prompt_token_count", "inputTextTokenCount"),
        first("outputTokens", "output_tokens", "completion_tokens", "generation_token_count"),
    )
