"""The operations on foundation models and inference profiles, answered from the table of models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import rules
from .availability import Availability, ProfileHere
from .catalog import Model, catalog
from .lifecycle import LifeCycle
from .paging import read_token, write_token

_LONGEST_DESCRIPTION = 200
"""In characters, by the service model."""


class CatalogOperations:
    """ListFoundationModels, GetFoundationModel, ListInferenceProfiles and GetInferenceProfile."""

    def __init__(self, life: LifeCycle) -> None:
        self._life = life
        self.handlers = {
            "ListFoundationModels": self._list_models,
            "GetFoundationModel": self._get_model,
            "ListInferenceProfiles": self._list_profiles,
            "GetInferenceProfile": self._get_profile,
        }

    @property
    def _here(self) -> Availability:
        return Availability(self._life.config, self._life.region, self._life.account)

    # --- models ----------------------------------------------------------------------------------

    def _list_models(self, params: dict[str, Any]) -> dict[str, Any]:
        wanted = {
            "outputModalities": params.get("byOutputModality"),
            "inferenceTypesSupported": params.get("byInferenceType"),
            "customizationsSupported": params.get("byCustomizationType"),
        }
        provider = params.get("byProvider")
        return {
            "modelSummaries": [
                each
                for each in self._summaries()
                if (provider is None or each.get("providerName", "").lower() == provider.lower())
                and all(value is None or value in each.get(member, ()) for member, value in wanted.items())
            ]
        }

    def _get_model(self, params: dict[str, Any]) -> dict[str, Any]:
        asked = params["modelIdentifier"]
        for each in self._summaries():
            if asked in (each["modelId"], each["modelArn"]):
                return {"modelDetails": each}
        raise rules.NO_MODEL.error()

    def _summaries(self) -> Iterator[dict[str, Any]]:
        here = self._here
        yield from (self._summary(model, here) for model in here.models())
        yield from ({"modelArn": self._model_arn(each), "modelId": each} for each in here.added_models())

    def _summary(self, model: Model, here: Availability) -> dict[str, Any]:
        on_demand, through_a_profile = rules.INFERENCE_TYPES.value
        types = [on_demand] if self._life.region in model.on_demand else []
        return {
            "modelArn": self._model_arn(model.id),
            "modelId": model.id,
            "modelName": model.name,
            "providerName": model.provider,
            "inputModalities": list(model.inputs),
            "outputModalities": list(model.outputs),
            "responseStreamingSupported": model.streaming,
            "customizationsSupported": list(model.customizations),
            "inferenceTypesSupported": types + ([through_a_profile] if here.has_profile(model.id) else []),
            "modelLifecycle": {"status": model.status},
        }

    def _model_arn(self, model_id: str, region: str | None = None) -> str:
        where = self._life.region if region is None else region
        return f"arn:{self._life.partition}:bedrock:{where}::foundation-model/{model_id}"

    # --- inference profiles ----------------------------------------------------------------------

    def _list_profiles(self, params: dict[str, Any]) -> dict[str, Any]:
        kind = params.get("typeEquals") or rules.PROFILE_TYPE.value
        found = self._profiles(kind)
        start = read_token(params["nextToken"], [kind]) if params.get("nextToken") else 0
        end = start + (params.get("maxResults") or self._life.config.default_max_results)
        answer: dict[str, Any] = {
            "inferenceProfileSummaries": [self._profile(each) for each in found[start:end]]
        }
        if end < len(found):
            answer["nextToken"] = write_token(end, [kind])
        return answer

    def _get_profile(self, params: dict[str, Any]) -> dict[str, Any]:
        asked = params["inferenceProfileIdentifier"]
        for each in (*self._profiles("SYSTEM_DEFINED"), *self._profiles("APPLICATION")):
            if asked in (each.id, self._profile_arn(each)):
                return self._profile(each)
        raise rules.NO_PROFILE.error()

    def _profiles(self, kind: str) -> list[ProfileHere]:
        here = self._here
        return here.application_profiles() if kind == "APPLICATION" else here.system_profiles()

    def _profile(self, profile: ProfileHere) -> dict[str, Any]:
        return {
            "inferenceProfileName": profile.name or profile.id,
            "description": _description(profile),
            "inferenceProfileArn": self._profile_arn(profile),
            "models": [
                {"modelArn": self._model_arn(profile.base_model, each)} for each in profile.destinations
            ],
            "inferenceProfileId": profile.id,
            "status": "ACTIVE",
            "type": profile.kind,
        }

    def _profile_arn(self, profile: ProfileHere) -> str:
        life = self._life
        kind = "inference-profile" if profile.kind == "SYSTEM_DEFINED" else "application-inference-profile"
        return f"arn:{life.partition}:bedrock:{life.region}:{life.account}:{kind}/{profile.id}"


def _description(profile: ProfileHere) -> str | None:
    """How AWS describes a system-defined profile of a geography; None for any other."""
    model = catalog().models.get(profile.base_model)
    if profile.kind != "SYSTEM_DEFINED" or model is None or "" in profile.destinations:
        return None
    *first, last = profile.destinations
    regions = f"{', '.join(first)} and {last}" if first else last
    text = rules.PROFILE_WORDS.text(model=f"{model.provider} {model.name}", regions=regions)
    return text if len(text) <= _LONGEST_DESCRIPTION else None
