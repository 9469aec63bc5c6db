"""Routes, and the estimates of their models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batch_queue.core.rows import Estimate, Route

from .dynamo import Dynamo, milliseconds
from .items import fields_of


class Models:
    """The routes, and how long the jobs of each model take."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo

    def routes(self) -> dict[str, Route]:
        """Returns the routes that Terraform configured, by name."""
        items = self._dynamo.query("pk = :pk", {":pk": "route"})
        return {item["sk"]: _route_of(item) for item in items}

    def route(self, name: str) -> Route | None:
        """Returns one route, or None if it is not configured. Eventually consistent."""
        item = self._dynamo.get(("route", name), consistent=False)
        return None if item is None else _route_of(item)

    def estimates(self) -> dict[str, Estimate]:
        """Returns the estimate of each base model."""
        items = self._dynamo.query("pk = :pk", {":pk": "model"})
        return {
            item["sk"]: Estimate(
                overhead_seconds=item["overhead_ms"] / 1000,
                records_per_second=item["records_per_1000_s"] / 1000,
                jobs=item["jobs"],
            )
            for item in items
        }

    def learn(self, model: str, estimate: Estimate) -> bool:
        """Stores the estimate of a base model. Returns False if another run has stored a newer one."""
        return self._dynamo.update(
            ("model", model),
            {
                "overhead_ms": milliseconds(estimate.overhead_seconds),
                "records_per_1000_s": max(1, milliseconds(estimate.records_per_second)),
                "jobs": estimate.jobs,
            },
            condition="attribute_not_exists(pk) OR #jobs < :jobs",
        )


def _route_of(item: Mapping[str, Any]) -> Route:
    return Route(**{**fields_of(Route, item), "name": item["sk"]})
