"""Reads what a model answered: how many tokens it used, and why it stopped."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

# A row counts errors by code and answers by stop reason, so these must be short words or numbers, and few.
CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
MAX_REASONS = 20
OTHER_CODE = "other"
# Where models say why they stopped: at the top, or in the first element of one of these lists.
_REASONS = ("stopReason", "stop_reason", "finish_reason", "completionReason")
_ANSWERS = ("choices", "outputs", "results", "generations")
# Where models count their tokens, by the name of the count.
_USED_IN = ("inputTokens", "input_tokens", "prompt_tokens", "prompt_token_count", "inputTextTokenCount")
_TOKEN_COUNT = ("tokenCount",)
_USED_OUT = ("outputTokens", "output_tokens", "completion_tokens", "generation_token_count")
MAX_COUNT = 10**15  # a larger number cannot be a count, and DynamoDB stores at most 38 digits


class _Names(NamedTuple):
    """Which of the names of counts, reasons and lists of answers a model output has at its top."""

    used_in: tuple[str, ...]
    used_out: tuple[str, ...]
    reasons: tuple[str, ...]
    lists: tuple[str, ...]

    def among(self, keys: Collection[str]) -> _Names:
        """Returns those of the names that are among ``keys``."""
        return _Names(*(tuple(name for name in names if name in keys) for names in self))


_NAMES = _Names(_USED_IN, _USED_OUT, _REASONS, _ANSWERS)
# All keys of a text of Titan, and of its one result.
_TITAN = ("inputTextTokenCount", "results")
_TITAN_PART = ("tokenCount", "outputText", "completionReason")
# The outputs of a model have few sets of keys. How many to remember, of how many characters at most.
_MAX_SHAPES = 16
_MAX_SHAPE = 1_000


class Answers:
    """Adds up the tokens of model outputs, and counts their stop reasons, as these report them."""

    def __init__(self) -> None:
        self.input_tokens = 0
        self.output_tokens = 0
        self.stop_reasons: dict[str, int] = {}
        # The names that an output has, by its keys.
        self._shapes: dict[tuple[str, ...], _Names] = {}

    def add(self, answer: Any) -> None:
        """Adds the tokens and the stop reason of a model output."""
        if not isinstance(answer, dict):
            return
        known = _of_titan(answer) if len(answer) == len(_TITAN) and "results" in answer else None
        if known is not None:
            used_in, used_out, word = known
        else:
            shape = tuple(answer)
            names = self._shapes.get(shape)
            if names is None:
                names = _NAMES.among(shape)
                if len(self._shapes) < _MAX_SHAPES and sum(map(len, shape)) < _MAX_SHAPE:
                    self._shapes[shape] = names
            used_in, used_out = _used(answer, names)
            word = _word(answer, names)
        self.input_tokens += used_in
        self.output_tokens += used_out
        if word in self.stop_reasons:
            self.stop_reasons[word] += 1
        elif word:
            counted(self.stop_reasons, word if CODE.fullmatch(word) else OTHER_CODE, MAX_REASONS)


def _of_titan(answer: dict[str, Any]) -> tuple[int, int, str] | None:
    """Returns what ``tokens`` and ``stop_reason`` find in a text of Titan; None for what is not just that.

    Its texts are short, so that looking for all names would take as long as parsing the line.
    """
    try:
        used_in, (part,) = answer["inputTextTokenCount"], answer["results"]
        used_out, word, _ = part["tokenCount"], part["completionReason"], part["outputText"]
    except (KeyError, TypeError, ValueError):
        return None
    counts = (
        type(used_in) is type(used_out) is int and 0 <= used_in <= MAX_COUNT and 0 <= used_out <= MAX_COUNT
    )
    return (
        (used_in, used_out, word) if counts and len(part) == len(_TITAN_PART) and type(word) is str else None
    )


def counted(counter: dict[str, int], word: str, most: int) -> None:
    """Counts a word; beyond ``most`` different ones, as ``OTHER_CODE``."""
    full = len(counter) >= most and word not in counter
    word = OTHER_CODE if full else word
    counter[word] = counter.get(word, 0) + 1


def stop_reason(answer: Any) -> str:
    """Returns why the model stopped, as it says it, or "" if it does not.

    Knows Converse and Nova (``stopReason``), Claude and Llama (``stop_reason``), models with OpenAI's format
    (``choices[].finish_reason``), Mistral (``outputs[]`` or ``choices[]``: ``stop_reason``), Titan
    (``results[].completionReason``) and Cohere (``finish_reason``, also in ``generations[]``).
    """
    word = _word(answer, _NAMES) if isinstance(answer, dict) else ""
    return word if not word or CODE.fullmatch(word) else OTHER_CODE


def _word(answer: dict[str, Any], names: _Names) -> str:
    _, _, reasons, lists = names
    for name in reasons:
        word = answer.get(name)
        if isinstance(word, str):
            return word
    for key in lists:
        found = answer.get(key)
        if found and isinstance(found, list) and isinstance(first := found[0], dict):
            for name in _REASONS:
                if name in first and isinstance(word := first[name], str):
                    return word
    return ""


def tokens(answer: Any) -> tuple[int, int]:
    """Returns the input and output tokens in a model output, or 0.

    Knows Converse and Nova, Claude, models with OpenAI's format, Llama, and Titan, in this order.
    """
    return _used(answer, _NAMES) if isinstance(answer, dict) else (0, 0)


def _used(answer: dict[str, Any], names: _Names) -> tuple[int, int]:
    names_in, names_out, _, lists = names
    usage = answer.get("usage")
    if isinstance(usage, dict):
        return count_of(usage, _USED_IN), count_of(usage, _USED_OUT) or _of_parts(answer)
    used_out = count_of(answer, names_out) if names_out else 0
    if not used_out and lists:
        used_out = _of_parts(answer)
    return count_of(answer, names_in) if names_in else 0, used_out


def _of_parts(answer: Mapping[str, Any]) -> int:
    """Returns the tokens of an output that counts them for each of its parts, or 0."""
    parts = answer.get("results")
    used = 0
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, dict):
            used += count_of(part, _TOKEN_COUNT)
    return used


def count_of(document: Mapping[str, Any], names: Iterable[str]) -> int:
    """Returns the first of the counts that a document has, or 0."""
    for name in names:
        if name in document:
            value = document[name]
            if type(value) is int and 0 <= value <= MAX_COUNT:  # not a bool
                return value
    return 0
