"""Which models can be called in one Region, and how: the table of models under the settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from . import rules
from .catalog import EVERYWHERE, By, Model, catalog
from .config import Config
from .models import (
    arn_account,
    arn_region,
    base_model_id,
    geography,
    is_custom,
    is_known_form,
    is_profile,
    system_profile_id,
)

DESTINATIONS = ("us-east-1", "us-west-2")
"""Where a profile that is not known routes to, beside the Region of the call."""


@dataclass(frozen=True)
class ProfileHere:
    """An inference profile that can be called from a Region.

    `base_model`: the id of its model. `destinations`: the Regions that it routes to; "" stands for every
    commercial Region. `name`: "" where it is not known.
    """

    id: str
    kind: Literal["SYSTEM_DEFINED", "APPLICATION"]
    base_model: str
    name: str
    destinations: tuple[str, ...]


class Availability:
    """The models and inference profiles of one account and Region, under `config`."""

    def __init__(self, config: Config, region: str, account: str) -> None:
        self._config, self._region, self._account = config, region, account

    # --- what a call may name --------------------------------------------------------------------

    def check(self, model_id: str) -> str:
        """The base model of an identifier; raises `ApiError` where it names none that is here."""
        base_model = self._base(model_id)
        if not is_known_form(base_model) or arn_region(model_id) not in (None, self._region):
            raise rules.MODEL_ID.error()
        if is_profile(model_id) and arn_account(model_id) not in (None, self._account):
            raise rules.OTHER_ACCOUNT.error()
        if self._config.check_models:
            self._check_here(model_id, base_model)
        return base_model

    def check_batch(self, model_id: str) -> str:
        """The base model of an identifier that runs batch jobs; raises `ApiError` for any other."""
        base_model = self.check(model_id)
        limits = self._config.model(base_model)
        by: By = "profile" if is_profile(model_id, self._config.inference_profiles) else "id"
        if limits.batch is False or (limits.batch is None and not self._runs_batch(model_id, base_model)):
            raise rules.NO_BATCH.error()
        if by == "id" and limits.batch_by_id is not True:
            by_profile_alone = limits.batch is None and self._by_profile_alone(model_id, base_model)
            if limits.batch_by_id is False or by_profile_alone:
                raise rules.BATCH_NEEDS_PROFILE.error()
        return base_model

    def check_on_demand(self, model_id: str) -> str:
        """The base model of an identifier that can be called on demand; raises `ApiError` for any other."""
        base_model = self.check(model_id)
        by_id = not is_profile(model_id, self._config.inference_profiles)
        if is_custom(model_id) or (by_id and not self._on_demand_by_id(base_model)):
            raise rules.PROFILE_NEEDED.error(model=model_id)
        return base_model

    def is_streamed(self, base_model: str) -> bool:
        """Whether a base model answers in a stream too, as far as the table of models knows."""
        model = catalog().models.get(base_model)
        return model is None or model.streaming or not self._config.check_models

    def _base(self, model_id: str) -> str:
        return base_model_id(model_id, self._config.inference_profiles)

    def _check_here(self, model_id: str, base_model: str) -> None:
        profile, model = system_profile_id(model_id), catalog().models.get(base_model)
        if profile in self._config.system_inference_profiles or profile in catalog().profiles:
            if self._routes(profile) is None:
                raise rules.ELSEWHERE.error()
        elif profile and catalog().serves(geography(profile), self._region) is False:
            raise rules.ELSEWHERE.error()
        elif model is None:
            named = base_model in self._config.models
            if not named and self._config.unknown_models == "refuse":
                raise rules.UNKNOWN_MODEL.error()
        elif profile or (not self._of_the_account(model_id) and not self.is_here(model)):
            raise rules.ELSEWHERE.error()

    def _of_the_account(self, model_id: str) -> bool:
        """Whether it is a custom model or an application inference profile."""
        return is_custom(model_id) or (
            is_profile(model_id, self._config.inference_profiles) and not system_profile_id(model_id)
        )

    def _runs_batch(self, model_id: str, base_model: str) -> bool:
        """Whether a model runs batch jobs as it is named, or through a profile where it is named by id."""
        model = catalog().models.get(base_model)
        if not self._config.check_models or is_custom(model_id) or model is None:
            return True
        ways: tuple[By, ...] = ("profile",) if system_profile_id(model_id) else ("id", "profile")
        found = [catalog().runs_batch(model, self._region, each) for each in ways]
        if None in found:
            return self._config.unknown_models == "allow"
        return any(found)

    def _by_profile_alone(self, model_id: str, base_model: str) -> bool:
        model = catalog().models.get(base_model)
        if not self._config.check_models or is_custom(model_id) or model is None:
            return False
        return catalog().runs_batch(model, self._region, "id") is False

    def _on_demand_by_id(self, base_model: str) -> bool:
        told = self._config.model(base_model).on_demand_by_id
        model = catalog().models.get(base_model)
        if told is not None or not self._config.check_models or model is None:
            return told is not False
        return self._region in model.on_demand

    # --- what there is ---------------------------------------------------------------------------

    def is_here(self, model: Model) -> bool:
        """Whether a model of the table can be called here, by its id or through a profile."""
        limits = self._config.model(model.id)
        if limits.batch is True or limits.on_demand_by_id is True:
            return True
        return self._region in model.on_demand or self.has_profile(model.id)

    def has_profile(self, base_model: str) -> bool:
        """Whether a system-defined profile of a model can be called from here."""
        added = self._config.system_inference_profiles.items()
        return any(base_model_id(each) == base_model and self._region in to for each, to in added) or any(
            True for _ in catalog().profiles_of(base_model, self._region)
        )

    def models(self) -> Iterator[Model]:
        """The models of the table that can be called here, in the order of their ids."""
        return (model for _, model in sorted(catalog().models.items()) if self.is_here(model))

    def added_models(self) -> list[str]:
        """The ids of models that the settings have and the table does not."""
        return sorted(set(self._config.models) - {"*"} - set(catalog().models))

    def system_profiles(self) -> list[ProfileHere]:
        """The system-defined profiles that can be called from here, in the order of their ids."""
        ids = {*catalog().profiles, *self._config.system_inference_profiles}
        found = []
        for each in sorted(ids):
            if (routes := self._routes(each)) is not None:
                known = catalog().profiles.get(each)
                name = known.name if known else ""
                found.append(ProfileHere(each, "SYSTEM_DEFINED", base_model_id(each), name, routes))
        return found

    def application_profiles(self) -> list[ProfileHere]:
        """The application inference profiles of the settings that are of here, in the order of their ids."""
        found = {}
        for key, source in self._config.inference_profiles.items():
            if arn_region(key) in (None, self._region) and arn_account(key) in (None, self._account):
                id_ = key.rpartition("/")[2]
                routes = self.destinations(source) if is_profile(source) else (self._region,)
                found[id_] = ProfileHere(id_, "APPLICATION", base_model_id(source), "", routes)
        return [found[each] for each in sorted(found)]

    def destinations(self, model_id: str) -> tuple[str, ...]:
        """The Regions that the profile `model_id` routes to; "" stands for every commercial Region."""
        source = self._config.inference_profiles.get(
            model_id, self._config.inference_profiles.get(model_id.rpartition("/")[2], "")
        )
        if source and not is_profile(source):
            return (self._region,)
        routes = self._routes(system_profile_id(source or model_id))
        return (self._region, *DESTINATIONS) if routes is None else routes

    def _routes(self, profile: str) -> tuple[str, ...] | None:
        """The destinations of a system-defined profile; None where it cannot be called from here."""
        added = self._config.system_inference_profiles.get(profile)
        if added is not None:
            return tuple(added) if self._region in added else None
        known = catalog().profiles.get(profile)
        if known is None or self._region not in known.routes:
            return None
        to = known.routes[self._region]
        return (self._region, "") if EVERYWHERE in to else to
