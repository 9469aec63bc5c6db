"""Step 10, uploads: joins the parts of an upload into its result, in several runs if need be."""

from __future__ import annotations

from collections.abc import Sequence

from batch_queue.core import names

from .queue import Queue
from .run import Run

# This many parts are joined in one step: few enough for the limits of S3 (see ``joining.plan_parts``).
GROUP = 500
# A run with less time than this continues in a new one: to join a group, or to settle a chunk, takes less.
STEP_SECONDS = 300.0


class Assembly:
    """Joins the parts of an upload: in one step if they are few, otherwise in groups that are then joined.

    A joined group is an object of its own, whose existence is the stored progress. Any number of runs may
    repeat each step.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def join(self, upload_id: str, parts: Sequence[str], key: str, run: Run) -> str | None:
        """Joins the parts of an upload, in order, into an object at ``key``.

        Returns its version id ("" on an unversioned bucket), or None if there are no parts. Also returns None
        if time runs out first: ``run.unfinished`` then says so. Raises ObjectGoneError if a part is missing.
        """
        sources = parts if len(parts) <= GROUP else self._groups(upload_id, parts, run)
        if not sources or run.is_out_of_time(STEP_SECONDS):
            return None
        return self._queue.bucket.concatenate(sources, key)

    def _groups(self, upload_id: str, parts: Sequence[str], run: Run) -> list[str]:
        """Joins the groups that no earlier run has joined, while there is time. Returns the keys of all."""
        bucket, work = self._queue.bucket, self._queue.settings.work_prefix
        there = bucket.keys(names.joined_folder(work, upload_id))
        groups: list[str] = []
        for first in range(0, len(parts), GROUP):
            group = parts[first : first + GROUP]
            key = names.joined_key(work, upload_id, first + 1, group)
            groups.append(key)
            if key not in there and not run.is_out_of_time(STEP_SECONDS):
                bucket.concatenate(group, key)
        return groups
