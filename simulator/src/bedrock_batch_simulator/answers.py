"""What the models answer: a deterministic, true statement about the prompt in the family's response body.

The answer names the words and characters of the prompt, repeats its first sentence, and ends with a digest of
the whole `modelInput`, so that a test can prove for each record that its own input gave its output:
`expected_output`. Where a tool must be used, or JSON be written, it is an instance of the schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import rules
from .families import Answer, RecordError, digest, family_of
from .models import base_model_id

__all__ = ["Answer", "RecordError", "answer", "check", "digest", "expected_output"]


def expected_output(
    model_id: str, invocation_type: str, model_input: Mapping[str, Any], *, on_demand: bool = False
) -> dict[str, Any]:
    """What a record ends with when no fault is in play and the user brings no answers.

    `model_id`: any form that Create accepts but an application inference profile (give its base model).
    `invocation_type`: "InvokeModel" or "Converse". `on_demand`: in a call of that operation rather than in a
    batch job; it takes `toolConfig` too, and all else is the same. Returns `{"modelOutput": {…}}`, or
    `{"error": {"errorCode": 400, "errorMessage": …}}` for a body that the model refuses.
    """
    base_model = base_model_id(model_id)
    try:
        check(base_model, invocation_type, model_input, on_demand=on_demand)
        return {"modelOutput": answer(base_model, invocation_type, model_input).output}
    except RecordError as error:
        return {"error": error.as_error()}


def check(base_model: str, invocation_type: str, body: Mapping[str, Any], *, on_demand: bool = False) -> None:
    """Raise RecordError when the model would refuse `body`, in a batch job or in a call (`on_demand`)."""
    if invocation_type == "Converse" and "toolConfig" in body and not on_demand:
        raise RecordError(400, rules.CONVERSE_TOOLS.text())
    family_of(base_model, invocation_type).check(body)
    if base_model.startswith(rules.ONE_OF_TWO.value):
        settings = (body.get("inferenceConfig") or {}) if invocation_type == "Converse" else body
        if (
            settings.get("temperature") is not None
            and settings.get("topP", settings.get("top_p")) is not None
        ):
            raise RecordError(400, rules.ONE_OF_TWO.text())


def answer(base_model: str, invocation_type: str, body: Mapping[str, Any]) -> Answer:
    """The built-in answer to a `body` that `check` let pass; raises RecordError where it has none."""
    return family_of(base_model, invocation_type).answer(base_model, body)
