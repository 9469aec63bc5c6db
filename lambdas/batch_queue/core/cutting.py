"""Decides where an upload is cut into chunks, so that a job can be made of each."""

from __future__ import annotations

import itertools
import json
import zlib
from array import array
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from dataclasses import field
from typing import Any

from . import names
from .digests import digest_sum
from .records import dataclass
from .rows import Chunk, Upload

# InvokeModel accepts a body of at most 25,000,000 bytes (service model of bedrock-runtime, shape Body);
# the rest leaves room for the recordId and the enclosing braces.
MAX_LINE_BYTES = 25_100_000
# The most lines whose ends are remembered, at 16 bytes each.
MAX_RECENT = 100_000
_LEAST_CUTS = 2  # that can be cut anew together


@dataclass(frozen=True, slots=True)
class Cut:
    """The boundaries of a future chunk: consecutive whole lines, bytes ``[start, end)``.

    ``rewrite``: staging must change at least one line. ``ids``: the ``digest_sum`` of the recordIds.
    """

    start: int
    end: int
    records: int
    rewrite: bool = False
    ids: int = 0


def chunk_of(upload: Upload, number: int, cut: Cut) -> Chunk:
    """Returns the chunk of a new upload at its first attempt; ``number`` counts from 1."""
    return Chunk(
        upload_id=upload.upload_id,
        number=number,
        route=upload.route,
        key=upload.key,
        version_id=upload.version_id,
        etag=upload.etag,
        start=cut.start,
        end=cut.end,
        records=cut.records,
        created_at=upload.created_at,
        queued_at=upload.updated_at,
        shard=names.shard(upload.upload_id),
        ids=cut.ids,
        rewrite=cut.rewrite,
        whole=(cut.start, cut.end) == (0, upload.size_bytes),
    )


def to_text(chunks: Iterable[Chunk]) -> str:
    """Returns the cuts of new chunks as text: some 25 characters for each, most of them for its ids."""
    rows = [[each.start, each.end, each.records, int(each.rewrite), each.ids] for each in chunks]
    return b64encode(zlib.compress(json.dumps(rows, separators=(",", ":")).encode())).decode()


def from_text(text: str) -> list[Cut]:
    """Returns the cuts of which ``to_text`` has made a text."""
    rows = json.loads(zlib.decompress(b64decode(text)))
    return [Cut(start, end, records, bool(rewrite), ids) for start, end, records, rewrite, ids in rows]


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a chunk (in records and bytes) and of a line (in bytes).

    The scan cuts at ``chunk_records`` and ``chunk_bytes``. If less than ``least_records`` are left at the
    end, the last chunks are cut anew, within ``most_records`` and ``most_bytes``.
    """

    chunk_records: int
    chunk_bytes: int
    least_records: int = 1
    most_records: int = 50_000
    most_bytes: int = 1_000_000_000
    line_bytes: int = MAX_LINE_BYTES

    @property
    def recent(self) -> int:
        """How many of the last records may have to be cut anew at other lines; 0 if joining is enough."""
        if self.most_records >= self.chunk_records + self.least_records - 1:
            return 0
        # Each chunk can take some more records than it has, or give some away.
        spare = max(1, self.most_records - self.chunk_records, self.chunk_records - self.least_records)
        return min(MAX_RECENT, (self.least_records // spare + 3) * self.chunk_records)


@dataclass(slots=True)
class Recent:
    """The last records that were read: where each ends (bytes), and the digest of its recordId."""

    ends: array[int] = field(default_factory=lambda: array("Q"))
    marks: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, end: int, mark: int, most: int) -> None:
        """Adds a record, and forgets those before the last ``most``."""
        self.ends.append(end)
        self.marks.append(mark)
        if len(self.ends) >= 2 * most:
            self.keep(most)

    def keep(self, most: int) -> None:
        """Forgets all records before the last ``most``."""
        del self.ends[: -most or None]
        del self.marks[: -most or None]

    def to_document(self) -> list[list[int]]:
        """Returns the records as a JSON document."""
        return [list(self.ends), list(self.marks)]

    @classmethod
    def from_document(cls, document: Sequence[Iterable[Any]]) -> Recent:
        """The inverse of ``to_document``."""
        ends, marks = document
        return cls(array("Q", ends), array("Q", marks))


def with_tail(cuts: Sequence[Cut], tail: Cut, limits: Limits, recent: Recent) -> list[Cut]:
    """Adds the last cut. If it is too small for a job, the last cuts are cut anew, as few as possible.

    They become one cut less, or as many as they were, of the same size. Where that is not possible within the
    limits, the tail stays as it is.
    """
    found = [*cuts, tail]
    if tail.records >= limits.least_records:
        return found
    behind = 0  # the records behind the first cut that is to be cut anew
    for count in range(_LEAST_CUTS, len(found) + 1):
        behind += found[1 - count].records
        if count > _LEAST_CUTS and behind > len(recent.ends):  # two can be joined without knowing more
            break
        for parts in (count - 1, count):
            if again := _again(found[-count:], parts, limits, recent):
                return [*found[:-count], *again]
    return found


def _again(cuts: Sequence[Cut], parts: int, limits: Limits, recent: Recent) -> list[Cut]:
    """Returns consecutive cuts as so many of the same size; nothing if that breaks a limit."""
    total = sum(cut.records for cut in cuts)
    if not parts * limits.least_records <= total <= parts * limits.most_records:
        return []
    small, larger = divmod(total, parts)
    sizes = [small + 1] * larger + [small] * (parts - larger)
    # A record before the first boundary, and all behind it.
    if parts > 1 and total - sizes[0] >= len(recent.ends):
        return []
    # There may be blank lines between two.
    gaps = any(cut.end != following.start for cut, following in itertools.pairwise(cuts))
    rewrite = gaps or any(cut.rewrite for cut in cuts)
    made: list[Cut] = []
    end, left, ids = cuts[-1].end, 0, digest_sum(cut.ids for cut in cuts)
    for size in reversed(sizes[1:]):
        behind, left = left, left + size
        start = recent.ends[-left - 1]
        own = digest_sum(recent.marks[len(recent.marks) - left : len(recent.marks) - behind])
        made.append(Cut(start, end, size, rewrite, own))
        end, ids = start, ids - own
    made.append(Cut(cuts[0].start, end, sizes[0], rewrite, digest_sum([ids])))
    return made[::-1] if all(cut.end - cut.start <= limits.most_bytes for cut in made) else []
