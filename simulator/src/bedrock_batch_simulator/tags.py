"""The tags of jobs: what Create gives them, and the operations that list, add and take them away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import rules
from .jobs import Job
from .lifecycle import LifeCycle

_RESERVED = "aws:"


def tags_of(given: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Tags as requests have them (`key`, `value`) → values by key.

    Raises a ValidationException (`ApiError`) for a key that comes twice or is AWS's own.
    """
    tags: dict[str, str] = {}
    for each in given:
        if each["key"] in tags:
            raise rules.TAG_TWICE.error(key=each["key"])
        if each["key"].lower().startswith(_RESERVED):
            raise rules.TAG_RESERVED.error(key=each["key"])
        tags[each["key"]] = each["value"]
    return tags


def check_count(tags: Mapping[str, str], arn: str, code: str = "") -> None:
    """Raise `ApiError`, with a `code` of its own where one is given, when a resource has too many tags."""
    limit = rules.TAG_LIMIT.value
    if len(tags) > limit:
        raise rules.TAG_LIMIT.error(code, arn=arn, limit=limit)


class Tags:
    """The operations of `bedrock` on the tags of jobs; requests are held against the model before."""

    def __init__(self, life: LifeCycle) -> None:
        self._life = life
        self.handlers = {
            "ListTagsForResource": self._list,
            "TagResource": self._tag,
            "UntagResource": self._untag,
        }

    def _find(self, arn: str) -> Job:
        job = self._life.jobs.get(arn.rpartition("/")[2])
        if job is None or job.arn != arn or not job.active:
            raise rules.TAGS_GONE.error(arn=arn)
        return job

    def _list(self, params: Mapping[str, Any]) -> dict[str, Any]:
        tags = self._find(params["resourceARN"]).tags
        return {"tags": [{"key": key, "value": value} for key, value in tags.items()]}

    def _tag(self, params: Mapping[str, Any]) -> dict[str, Any]:
        job = self._find(params["resourceARN"])
        tags = {**job.tags, **tags_of(params["tags"])}
        check_count(tags, job.arn)
        job.tags = tags
        return {}

    def _untag(self, params: Mapping[str, Any]) -> dict[str, Any]:
        job = self._find(params["resourceARN"])
        job.tags = {key: value for key, value in job.tags.items() if key not in params["tagKeys"]}
        return {}
