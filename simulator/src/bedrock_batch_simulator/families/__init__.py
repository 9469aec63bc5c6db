"""The families of models: who takes which body of InvokeModel, refuses which, and answers in which.

One module for the bodies that are akin. The families are found by the beginning of a base model's id.
"""

from __future__ import annotations

import functools

from .amazon import NovaEmbed, TitanEmbed, TitanEmbedImage, TitanText
from .anthropic import Anthropic
from .base import Answer, Family, RecordError, Reply, ToolCall, digest
from .cohere import CohereEmbed, CommandR
from .converse import Converse, Nova
from .meta import Llama
from .openai import DeepSeekText, Either, MistralChat, MistralText, OpenAIChat, Unknown

_CHAT = OpenAIChat()
_MISTRAL = Either(MistralChat(), MistralText())
_FAMILIES: tuple[tuple[str, Family], ...] = (
    ("anthropic.", Anthropic()),
    ("amazon.nova-2-multimodal-embeddings", NovaEmbed()),
    ("amazon.nova", Nova()),
    ("amazon.titan-embed-image", TitanEmbedImage()),
    ("amazon.titan-embed", TitanEmbed()),
    ("amazon.titan-text", TitanText()),
    ("amazon.titan-tg1", TitanText()),
    ("ai21.jamba", _CHAT),
    ("cohere.command-r", CommandR()),
    ("cohere.embed-v4", CohereEmbed(fourth=True)),
    ("cohere.embed", CohereEmbed(fourth=False)),
    ("deepseek.r1", Either(_CHAT, DeepSeekText())),
    ("deepseek.", _CHAT),
    ("google.gemma", _CHAT),
    ("meta.llama", Llama()),
    ("minimax.", _CHAT),
    ("mistral.mistral-7b", MistralText()),
    ("mistral.mixtral", MistralText()),
    ("mistral.mistral-large-24", _MISTRAL),
    ("mistral.mistral-small-24", _MISTRAL),
    ("mistral.", _CHAT),
    ("moonshot", _CHAT),
    ("nvidia.nemotron", _CHAT),
    ("openai.gpt-oss", OpenAIChat(thinks=True)),
    ("openai.", _CHAT),
    ("qwen.", _CHAT),
    ("writer.palmyra", _CHAT),
    ("zai.", _CHAT),
)
_UNKNOWN = Unknown()
_CONVERSE = Converse()


@functools.lru_cache(maxsize=256)
def family_of(base_model: str, invocation_type: str = "InvokeModel") -> Family:
    """The family whose bodies a base model takes; a Converse body is one for all models."""
    if invocation_type == "Converse":
        return _CONVERSE
    for prefix, family in _FAMILIES:
        if base_model.startswith(prefix):
            return family
    return _UNKNOWN


__all__ = ["Answer", "Family", "RecordError", "Reply", "ToolCall", "digest", "family_of"]
