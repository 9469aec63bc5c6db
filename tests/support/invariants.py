"""What must hold whatever happened on the way, checked record by record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from batch_queue.core.names import ids_in
from batch_queue.core.rows import TERMINAL, Status, Upload

from .world import World

#: The partitions of rows that stay whatever has ended.
LASTING = {"route", "queues", "table", "control", "model", "paused"}


class Watch:
    """Follows a world while it runs: a terminal status never goes back to another one within one run."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ended: dict[tuple[str, int], Status] = {}

    def look(self) -> None:
        """Compares with what was seen before; to be called after each step."""
        for upload in self._world.uploads():
            this = upload.upload_id, upload.run
            before = self._ended.get(this)
            assert before in {None, upload.status}, f"{upload.key} went from {before} to {upload.status}"
            if upload.status in TERMINAL:
                self._ended[this] = upload.status


def check_cancelled(world: World, upload: Upload, rows: Sequence[Mapping[str, Any]]) -> None:
    """Raises AssertionError where a cancelled upload has not ended so, or its result is not as its counts."""
    assert upload.status in (Status.STOPPED, Status.CANCELLED)
    if not upload.chunks:  # S3 has not let the queue read it
        assert (upload.status, upload.records, upload.result_key) == (Status.CANCELLED, 0, "")
        return
    assert upload.success_count + upload.error_count == upload.records == len(rows)
    found = world.result(upload) if upload.result_key else []
    times = Counter(row["recordId"] for row in found)
    assert times.keys() <= {str(row["recordId"]) for row in rows}
    assert max(times.values(), default=1) == 1, f"{upload.key}: doubled records"
    assert sum("modelOutput" in row for row in found) == upload.success_count
    assert (upload.status == Status.STOPPED) == bool(upload.success_count)


def check(
    world: World,
    accepted: Mapping[str, Sequence[Mapping[str, Any]]],
    slots: int,
    lost: Collection[str] = (),
) -> None:
    """Raises AssertionError where a record is lost or doubled, a row or an object is left, or a job too many.

    ``accepted``: upload id → its records; ``slots``: the most active jobs that the model may have.
    ``lost``: ids of jobs and uploads whose rows were lost, and of whose files therefore nobody knows.
    """
    assert world.at_rest(), "a row, a place, an active job or a lease is left"
    world.tell()
    left = [key for key in world.left() if not set(ids_in(key)) & set(lost)]
    assert not left, f"these objects of the work area are left: {left}"
    if world.settings.row_retention_days is not None:
        lasting = [row["sk"] for row in world.rows() if row["pk"] not in LASTING and "expires_at" not in row]
        assert not lasting, f"rows of what has ended live for ever: {lasting}"
    uploads = {upload.upload_id: upload for upload in world.uploads()}
    for upload_id, rows in accepted.items():
        upload = uploads[upload_id]
        expected = Counter(str(row["recordId"]) for row in rows)
        assert upload.status in TERMINAL
        assert upload.records == len(rows)
        assert upload.chunks_open == 0
        found = world.result(upload)
        assert Counter(row["recordId"] for row in found) == expected, f"{upload.key}: lost or doubled records"
        assert upload.success_count + upload.error_count == len(rows)
        assert sum("modelOutput" in row for row in found) == upload.success_count
    assert world.simulator.peak(world.model_id) <= slots
    runs = Counter(
        (ref.upload_id, ref.number, ref.attempt)
        for job in world.jobs()
        if job.arn
        for ref in world.runs(job).chunks
    )
    assert all(count == 1 for count in runs.values()), f"a chunk attempt ran in two jobs: {runs}"
    names = Counter(job["jobName"] for job in world.bedrock_jobs())
    assert all(count == 1 for count in names.values())
