"""Which models there are, where they run, and through which inference profiles: the tables in `data/`.

data/README.md says where each row comes from, how sure it is, and how to add or correct one.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Literal

from .models import base_model_id, geography

EVERYWHERE = "*"
"""As a destination: every commercial Region. In batch.csv: every Region in which the model can be called."""

By = Literal["id", "profile"]


@dataclass(frozen=True)
class Model:
    """A foundation model.

    `on_demand`: the Regions in which it runs on demand by its id. `batch`: the Regions in which it runs batch
    inference, by `By`, "*" among them for wherever it can be called so; None where that is not known.
    """

    id: str
    provider: str
    name: str
    status: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    streaming: bool
    customizations: tuple[str, ...]
    on_demand: frozenset[str]
    batch: Mapping[By, frozenset[str]] | None


@dataclass(frozen=True)
class Profile:
    """A system-defined inference profile. `routes`: source Region → destination Regions, in order."""

    id: str
    model: Model
    routes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As AWS names profiles: `US Anthropic Claude 3 Haiku`."""
        where = geography(self.id)
        return f"{'Global' if where == 'global' else where.upper()} {self.model.provider} {self.model.name}"


@dataclass(frozen=True)
class Catalog:
    """Models and system-defined inference profiles by their ids."""

    models: Mapping[str, Model]
    profiles: Mapping[str, Profile]

    def profiles_of(self, model_id: str, region: str) -> Iterator[Profile]:
        """The profiles of a model that can be called from a Region."""
        found = (self.profiles[each] for each in self._by_model.get(model_id, ()))
        return (profile for profile in found if region in profile.routes)

    def runs_batch(self, model: Model, region: str, by: By) -> bool | None:
        """Whether a model runs batch inference in a Region, by its id or by profile; None: not known."""
        if model.batch is None:
            return None
        regions = model.batch[by]
        if by == "id":
            return region in regions or (EVERYWHERE in regions and region in model.on_demand)
        return region in regions or EVERYWHERE in regions

    def serves(self, where: str, region: str) -> bool | None:
        """Whether profiles of a geography, such as "us", can be called from a Region; None: none is known."""
        return region in self._sources[where] if where in self._sources else None

    @functools.cached_property
    def _by_model(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for profile in self.profiles.values():
            found.setdefault(profile.model.id, []).append(profile.id)
        return found

    @functools.cached_property
    def _sources(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for profile in self.profiles.values():
            found.setdefault(geography(profile.id), set()).update(profile.routes)
        return found


@functools.cache
def catalog() -> Catalog:
    """The tables, read at the first call."""
    on_demand: dict[str, set[str]] = {}
    for row in rows("on_demand"):
        on_demand.setdefault(row["model_id"], set()).update(row["regions"].split())
    batch: dict[str, dict[By, frozenset[str]]] = {}
    for row in rows("batch"):
        ways = batch.setdefault(row["model_id"], {"id": frozenset(), "profile": frozenset()})
        for way in ways:
            if row["by"] == way:
                ways[way] |= frozenset(row["regions"].split())
    models = {
        row["model_id"]: Model(
            id=row["model_id"],
            provider=row["provider"],
            name=row["name"],
            status=row["status"],
            inputs=tuple(row["input"].split()),
            outputs=tuple(row["output"].split()),
            streaming=row["streaming"] == "yes",
            customizations=tuple(row["customizations"].split()),
            on_demand=frozenset(on_demand.get(row["model_id"], ())),
            batch=batch.get(row["model_id"]),
        )
        for row in rows("models")
    }
    routes: dict[str, dict[str, tuple[str, ...]]] = {}
    for row in rows("profiles"):
        to = tuple(row["destination_regions"].split())
        routes.setdefault(row["profile_id"], {}).update(dict.fromkeys(row["source_regions"].split(), to))
    profiles = {each: Profile(each, models[base_model_id(each)], ways) for each, ways in routes.items()}
    return Catalog(models, profiles)


def rows(table: str) -> list[dict[str, str]]:
    """The rows of one of the tables, by its name without .csv."""
    text = resources.files(__package__).joinpath("data", f"{table}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
