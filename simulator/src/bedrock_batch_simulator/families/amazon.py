"""Amazon Titan and Amazon Nova Multimodal Embeddings.

Sources: Amazon Bedrock User Guide, “Amazon Titan text models”, “Amazon Titan Embeddings G1 - Text”, “Amazon
Titan Multimodal Embeddings G1”; Amazon Nova User Guide, “Complete embeddings request and response schema”.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .base import MALFORMED, Completion, Embedding, RecordError, Said, at, check_enum, need_kind, need_text


class TitanText(Completion):
    """Amazon Titan's models that write."""

    def __init__(self) -> None:
        super().__init__("inputText", "textGenerationConfig", "maxTokenCount")

    def output(self, base_model: str, body: Mapping[str, Any], said: Said) -> dict[str, Any]:
        why = "LENGTH" if said.cut else "FINISH"
        result = {"tokenCount": said.made, "outputText": said.text, "completionReason": why}
        return {"inputTextTokenCount": said.given, "results": [result]}


class TitanEmbed(Embedding):
    """Amazon Titan Text Embeddings."""

    def check(self, body: Mapping[str, Any]) -> None:
        need_text(body, "inputText")
        if body.get("dimensions", 1024) not in (256, 384, 512, 1024, 1536):
            raise RecordError(400, f"{MALFORMED}: #/dimensions: is not a valid enum value")

    def parts(self, body: Mapping[str, Any]) -> list[str | None]:
        return [body["inputText"]]

    def size(self, base_model: str, body: Mapping[str, Any]) -> int:
        first_version = "embed-text-v1" in base_model or "g1-text" in base_model
        return int(body.get("dimensions") or (1536 if first_version else 1024))

    def normalized(self, body: Mapping[str, Any]) -> bool:
        return bool(body.get("normalize", True))

    def output(
        self, base_model: str, body: Mapping[str, Any], vectors: list[list[float]], given: int
    ) -> dict[str, Any]:
        output: dict[str, Any] = {"embedding": vectors[0], "inputTextTokenCount": given}
        if "embed-text-v2" in base_model:
            output["embeddingsByType"] = {"float": vectors[0]}
        return output


class TitanEmbedImage(Embedding):
    """Amazon Titan Multimodal Embeddings: a text, an image, or both in one vector."""

    def check(self, body: Mapping[str, Any]) -> None:
        given = [name for name in ("inputText", "inputImage") if body.get(name) is not None]
        for name in given:
            need_text(body, name)
        if not given:
            raise RecordError(400, f"{MALFORMED}: #: required key [inputText] not found")
        need_kind(body, int, "embeddingConfig", "outputEmbeddingLength")
        check_enum(body, (256, 384, 1024), "embeddingConfig", "outputEmbeddingLength")

    def parts(self, body: Mapping[str, Any]) -> list[str | None]:
        return [body.get("inputText")]

    def size(self, base_model: str, body: Mapping[str, Any]) -> int:
        return int(at(body, "embeddingConfig", "outputEmbeddingLength") or 1024)

    def output(
        self, base_model: str, body: Mapping[str, Any], vectors: list[list[float]], given: int
    ) -> dict[str, Any]:
        counted = given if body.get("inputText") else 0
        return {"embedding": vectors[0], "inputTextTokenCount": counted, "message": None}


class NovaEmbed(Embedding):
    """Amazon Nova Multimodal Embeddings: one text, image, video or sound."""

    _PURPOSES = (
        "GENERIC_INDEX",
        "GENERIC_RETRIEVAL",
        "TEXT_RETRIEVAL",
        "IMAGE_RETRIEVAL",
        "VIDEO_RETRIEVAL",
        "DOCUMENT_RETRIEVAL",
        "AUDIO_RETRIEVAL",
        "CLASSIFICATION",
        "CLUSTERING",
    )
    _KINDS = ("text", "image", "audio", "video")

    def check(self, body: Mapping[str, Any]) -> None:
        check_enum(body, ("nova-multimodal-embed-v1",), "schemaVersion")
        if body.get("taskType") != "SINGLE_EMBEDDING":
            raise RecordError(400, f"{MALFORMED}: #/taskType: is not a valid enum value")
        name = "singleEmbeddingParams"
        need_kind(body, int, name, "embeddingDimension")
        params = body.get(name)
        if params is None or params.get("embeddingPurpose") is None:
            key = name if params is None else "embeddingPurpose"
            raise RecordError(400, f"{MALFORMED}: #: required key [{key}] not found")
        check_enum(body, self._PURPOSES, name, "embeddingPurpose")
        check_enum(body, (256, 384, 1024, 3072), name, "embeddingDimension")
        kinds = [kind for kind in self._KINDS if params.get(kind) is not None]
        if len(kinds) != 1:
            raise RecordError(400, f"{MALFORMED}: #/{name}: one of {', '.join(self._KINDS)} is required")
        need_kind(body, dict, name, kinds[0])
        if kinds == ["text"]:
            need_kind(body, str, name, "text", "value")
            need_kind(body, dict, name, "text", "source")
        content = params[kinds[0]]
        if not content.get("value" if kinds == ["text"] else "source") and not content.get("source"):
            raise RecordError(400, f"{MALFORMED}: #/{name}/{kinds[0]}: required key [source] not found")
        if kinds == ["video"]:
            check_enum(body, ("AUDIO_VIDEO_COMBINED", "AUDIO_VIDEO_SEPARATE"), name, "video", "embeddingMode")

    def _types(self, body: Mapping[str, Any]) -> list[str]:
        params = body["singleEmbeddingParams"]
        kind = next(each for each in self._KINDS if params.get(each) is not None)
        if kind == "video":
            together = params[kind].get("embeddingMode") != "AUDIO_VIDEO_SEPARATE"
            return ["AUDIO_VIDEO_COMBINED"] if together else ["VIDEO", "AUDIO"]
        return [kind.upper()]

    def parts(self, body: Mapping[str, Any]) -> list[str | None]:
        return [at(body, "singleEmbeddingParams", "text", "value") for _ in self._types(body)]

    def size(self, base_model: str, body: Mapping[str, Any]) -> int:
        return int(at(body, "singleEmbeddingParams", "embeddingDimension") or 3072)

    def output(
        self, base_model: str, body: Mapping[str, Any], vectors: list[list[float]], given: int
    ) -> dict[str, Any]:
        pairs = zip(self._types(body), vectors, strict=True)
        return {"embeddings": [{"embeddingType": kind, "embedding": vector} for kind, vector in pairs]}
