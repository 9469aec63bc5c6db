"""What one round of the processor costs when much waits, and as much has ended.

The rows are copies of those that the functions have written for one upload, with other ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from batch_queue.aws.table.items import queue_key
from batch_queue.core import names

from tests.support.capacity import size_of
from tests.support.fake_bedrock import Timeline
from tests.support.load import Load
from tests.support.workloads import BURST_WEIGHT, SLOTS, padded, scaled

Item = dict[str, Any]
_KEYS = ("pk", "sk", "status_key", "order_key")


@dataclass(frozen=True)
class Round:
    """What one round has cost, and how many jobs there are after it."""

    calls: int
    items: int
    seconds: float
    jobs: int


@dataclass(frozen=True)
class Template:
    """The rows of one upload: while it waits, and when it has ended."""

    upload_id: str
    job_id: str
    waiting: tuple[Item, ...]
    ended: tuple[Item, ...]


def template() -> Template:
    """The rows as the functions write them."""
    load = Load(scaled(BURST_WEIGHT), timeline=Timeline(weight=BURST_WEIGHT), foreign=SLOTS)
    load.upload("one.jsonl", padded(100 // BURST_WEIGHT, "r"))
    load.run(schedule=False)
    waiting = tuple(item for item in load.table.rows if _of_upload(item))
    load.bedrock.end_foreign()
    load.invoke("process", {})
    ended = tuple(item for item in load.table.rows if _of_upload(item))
    (job_id,) = {item["pk"]["S"] for item in ended if item["sk"]["S"] == "job"}
    (upload_id,) = {item["pk"]["S"] for item in ended if item["sk"]["S"] == "upload"}
    return Template(upload_id, job_id, waiting, ended)


def rounds(rows: Template, pending: int) -> tuple[Round, Round]:
    """A round without a free slot and one with one, while ``pending`` uploads wait and as many have ended."""
    load = Load(scaled(BURST_WEIGHT), timeline=Timeline(moves=False), foreign=SLOTS)
    for name, some in (("waits", rows.waiting), ("ended", rows.ended)):
        load.table.rows.fill(_copies(rows, some, name, pending))
    load.s3.store("to-process/one.jsonl", padded(100 // BURST_WEIGHT, "r"))
    full = _round(load)
    load.bedrock.end_foreign(1)
    return full, _round(load)


def _round(load: Load) -> Round:
    had = len(load.meter.invocations)
    load.invoke("process", {"source": "aws.events", "detail-type": "Scheduled Event"})
    run = load.meter.invocations[had]
    return Round(run.calls, run.items, run.seconds, len(load.bedrock.jobs))


def _of_upload(item: Item) -> bool:
    pk, sk = item["pk"]["S"], item["sk"]["S"]
    return pk.startswith("queue#") or (sk.startswith(("upload", "chunk", "job")) and len(pk) >= 32)


class _Copy:
    """A row like another one, with other ids. It is made when it is looked at: there are very many."""

    __slots__ = ("_new", "_of")

    def __init__(self, of: _Pattern, new: tuple[str, str]) -> None:
        self._of = of
        self._new = new

    @property
    def item(self) -> dict[str, Any]:
        return self._of.copy(self._new, self._of.item)

    @property
    def size(self) -> int:
        return self._of.size  # ids are all as long


class _Pattern:
    """What the copies of a row have in common. ``old``: the ids of the upload and of the job."""

    def __init__(self, item: Item, old: tuple[str, str]) -> None:
        self.item = item
        self.size = size_of(item)
        self._old = old
        self._named = {key for key, value in item.items() if any(one in value.get("S", "") for one in old)}
        self._place = item["pk"]["S"].startswith("queue#")

    def copy(self, new: tuple[str, str], attributes: Iterable[str]) -> dict[str, Any]:
        """Returns these attributes of the copy with these ids."""
        found = {}
        for name in attributes:
            value = self.item[name]
            if name in self._named:
                text = value["S"].replace(self._old[0], new[0]).replace(self._old[1], new[1])
                value = {"S": text}
            found[name] = value
        if self._place and "pk" in found:
            found["pk"] = {"S": queue_key("default", names.shard(new[0]))}
        elif "shard" in found:
            found["shard"] = {"N": str(names.shard(new[0]))}
        return found


def _copies(rows: Template, items: Iterable[Item], name: str, count: int) -> Iterator[tuple[Item, _Copy]]:
    """Yields copies of rows, and their keys."""
    patterns = [_Pattern(item, (rows.upload_id, rows.job_id)) for item in items]
    keys = [[key for key in _KEYS if key in pattern.item] for pattern in patterns]
    for number in range(count):
        new = names.upload_id("bucket", name, str(number)), names.upload_id("job", name, str(number))
        for pattern, attributes in zip(patterns, keys, strict=True):
            yield pattern.copy(new, attributes), _Copy(pattern, new)
