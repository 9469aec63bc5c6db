"""Meta Llama. Source: Amazon Bedrock User Guide, “Meta Llama models”."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .base import Completion, Said


class Llama(Completion):
    """Meta Llama's models with a `prompt`."""

    def __init__(self) -> None:
        super().__init__("prompt", "max_gen_len")

    def output(self, base_model: str, body: Mapping[str, Any], said: Said) -> dict[str, Any]:
        return {
            "generation": said.text,
            "prompt_token_count": said.given,
            "generation_token_count": said.made,
            "stop_reason": "length" if said.cut else "stop",
        }
