"""The lifecycle rules that the module gives to its bucket, read from ``bucket.tf``, which alone has them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import hcl2

from tools import checks

#: The values that the rules name: the defaults of the module's inputs and of its local values.
KNOWN = {"var.work_prefix": "jobs/", "var.output_prefix": "processed/", "var.work_retention_days": "14"}


@dataclass(frozen=True)
class Rule:
    """One rule. ``days``: the age in days at which a current object below ``prefix`` is deleted, or None."""

    name: str
    prefix: str
    days: int | None


@cache
def rules() -> tuple[Rule, ...]:
    """The rules of the bucket that the module creates."""
    with (checks.ROOT / "bucket.tf").open() as file:
        resources = hcl2.load(file)["resource"]
    (found,) = [
        one
        for each in resources
        for kind, named in each.items()
        for one in named.values()
        if _plain(kind) == "aws_s3_bucket_lifecycle_configuration"
    ]
    return tuple(_rule(each) for each in found["rule"])


def _rule(found: dict[str, Any]) -> Rule:
    filters = found.get("filter", [{}])
    prefix = _plain(filters[0].get("prefix", ""))
    days = [_plain(each["days"]) for each in found.get("expiration", []) if "days" in each]
    return Rule(_plain(found["id"]), prefix, int(days[0]) if days else None)


def _plain(value: Any) -> str:
    """The text of a value, with what it names in its place."""
    text = str(value).strip('"')
    for name, known in KNOWN.items():
        text = text.replace(f"${{{name}}}", known)
    return text
