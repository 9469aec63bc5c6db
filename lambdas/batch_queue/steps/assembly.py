"""Step 10, uploads: joins the parts of an upload into its result, in several runs if need be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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

    def join(
        self, folder: str, parts: Sequence[str], key: str, run: Run, sizes: Mapping[str, int]
    ) -> str | None:
        """Joins the parts of an upload, in order, into an object at ``key``.

        ``folder``: the name of the upload's folder in the work area. ``sizes``: key → size in bytes of parts
        whose size is known. Returns the object's version id ("" on an unversioned bucket), or None if there
        are no parts. Also returns None if time runs out first: ``run.unfinished`` then says so. Raises
        ObjectGoneError if a part is missing.
        """
        known = {part: sizes[part] for part in parts if part in sizes}
        if len(known) < len(parts) > 1:
            own = names.work_folder(self._queue.settings.work_prefix, folder)
            known |= self._queue.bucket.sizes_below(own)
        sources = parts if len(parts) <= GROUP else self._groups(folder, parts, run, known)
        if not sources or run.is_out_of_time(STEP_SECONDS):
            return None
        return self._queue.bucket.concatenate(sources, key, known)

    def _groups(self, folder: str, parts: Sequence[str], run: Run, known: dict[str, int]) -> list[str]:
        """Joins the groups that no earlier run has joined, while there is time. Returns the keys of all.

        Adds the sizes of those that it joins to ``known``.
        """
        groups: list[str] = []
        for first in range(0, len(parts), GROUP):
            group = parts[first : first + GROUP]
            key = names.joined_key(self._queue.settings.work_prefix, folder, first + 1, group)
            groups.append(key)
            if key not in known and not run.is_out_of_time(STEP_SECONDS):
                self._queue.bucket.concatenate(group, key, known)
                if known.keys() >= set(group):
                    known[key] = sum(known[part] for part in group)
        return groups
