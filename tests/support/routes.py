"""Routes as Terraform configures them: with the module's own defaults, which routes.tf alone has."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from batch_queue.core.rows import Route

from tools import docs

MAX_ACTIVE_JOBS = 10  # the input max_active_jobs


@cache
def defaults() -> dict[str, Any]:
    """What a route's row has for each attribute that is left out."""
    found = {name: json.loads(value) for name, value in docs.route_map(docs.ROOT, "route_defaults").items()}
    in_the_row = {name for name in Route.__dataclass_fields__ if name not in ("name", "model_id")}
    return {name: value for name, value in found.items() if name in in_the_row} | {
        "max_active_jobs": MAX_ACTIVE_JOBS
    }


def configured(name: str, model_id: str, **attributes: Any) -> Route:
    """The route ``name`` with these attributes, and the defaults for the others."""
    return Route(name=name, model_id=model_id, **{**defaults(), **attributes})
