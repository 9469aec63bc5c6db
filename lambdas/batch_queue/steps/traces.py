"""Step 1: finds out from the bucket whether an upload without a row has already run."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from enum import StrEnum
from functools import partial

from batch_queue.aws.bucket import ObjectArchivedError, ObjectDeniedError, ObjectGoneError
from batch_queue.aws.pool import at_once
from batch_queue.aws.telemetry import count_end, log
from batch_queue.core import names, reports
from batch_queue.core.objects import NewObject, ObjectRef
from batch_queue.core.rows import Status, Upload

from .queue import Queue

# How many old versions of a summary or report are read to find that of one upload.
MOST_VERSIONS = 100
IN_FLIGHT = (
    "Not run again: the table has no row of this upload, but the work area has files of its jobs. Some of "
    "its records may have run, and you may have paid for them. To find the files, list the objects below "
    "s3://{bucket}/{work} whose keys contain {upload_id}. To run all records again, and pay for them again, "
    "upload the file again."
)


class UnclearError(Exception):
    """S3 denied access to the summary or the rejection report of an upload."""


class Trace(StrEnum):
    """What the bucket tells of an upload: it has ended, it was in a job, or S3 does not let us see."""

    DONE = "done"
    IN_FLIGHT = "in_flight"
    UNCLEAR = "unclear"


class Traces:
    """Tells whether uploads without a row have run, by what they left in the bucket.

    An upload that has ended has a summary or a rejection report, which names it. One that was in a job has
    files in the work area, whose keys name it.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._work_area: set[int] | None = None

    def of(self, objects: Mapping[NewObject, float], *, in_flight: bool = True) -> dict[str, Trace]:
        """Returns what is known, by upload id; of an upload that has never run, nothing.

        ``objects``: each with the time since which it exists (epoch seconds). ``in_flight``: also looks for
        uploads that were in a job. These then have a row, with the status Failed.
        """
        answers = at_once(self._ended, list(objects.items()))
        known = {found.upload_id: trace for found, trace in zip(objects, answers, strict=True) if trace}
        left = [found for found in objects if in_flight and found.upload_id not in known]
        for found in left:
            if self._in_flight(found.upload_id):
                known[found.upload_id] = Trace.IN_FLIGHT
                self._fail(found)
        return known

    def none(self) -> bool:
        """Returns whether the bucket has no trace of any upload; takes two requests."""
        listing, settings = self._queue.listing, self._queue.settings
        # A summary may exist as an old version only.
        return not (listing.has_any(settings.work_prefix) or listing.has_any_version(settings.output_prefix))

    # -------------------------------------------------------------------------------------------- ended

    def _ended(self, one: tuple[NewObject, float]) -> Trace | None:
        try:
            return Trace.DONE if self._has_ended(*one) else None
        except ObjectDeniedError:
            log.exception("cannot tell whether an upload has ended", extra={"key": one[0].key})
            return Trace.UNCLEAR

    def _has_ended(self, found: NewObject, since: float) -> bool:
        settings = self._queue.settings
        prefixes = (settings.input_prefix, settings.output_prefix)
        keys = [make(found.key, *prefixes) for make in (names.summary_key, names.report_key)]
        if any(names.key_too_long(key) for key in keys):
            return False  # it is rejected again, at no cost
        names_it = partial(self._names, found.upload_id, since)
        if any(names_it(ObjectRef(key)) for key in keys):
            return True
        # That of another version may have been written since, or somebody may have deleted it.
        versions = [one for key in keys for one in self._queue.listing.versions_of(key)[:MOST_VERSIONS]]
        old = [one for one in versions if one.version_id and not one.current]
        return any(names_it(ObjectRef(one.key, one.version_id)) for one in old)

    def _names(self, upload_id: str, since: float, ref: ObjectRef) -> bool:
        """Returns whether a summary or report is that of an upload. One that is archived is, by its time."""
        bucket = self._queue.bucket
        try:
            try:
                document = json.loads(next(bucket.stream(ref), b""))
            except ObjectArchivedError:
                return bucket.identity(ref)[1] >= since
        except (ObjectGoneError, ValueError):
            return False
        return isinstance(document, dict) and document.get("upload_id") == upload_id

    # ---------------------------------------------------------------------------------------- in flight

    def _in_flight(self, upload_id: str) -> bool:
        """Returns whether the work area has files of an upload. Lists it once, when this is first asked."""
        if self._work_area is None:
            # The ids of jobs and uploads are hashes, which share the listing out evenly.
            self._work_area = set().union(*at_once(self._marks_below, string.hexdigits[:16]))
        return _mark(upload_id) in self._work_area

    def _marks_below(self, digit: str) -> set[int]:
        pages = self._queue.listing.pages_of_keys(self._queue.settings.work_prefix + digit)
        return {_mark(one) for page in pages for key in page for one in names.ids_in(key)}

    def _fail(self, found: NewObject) -> None:
        """Ends an upload that was in a job as Failed: its summary first, then its row.

        Does nothing if it has a row, unless S3 has denied so far what tells this. The summary outlives the
        row and the files of the work area.
        """
        table, settings = self._queue.table, self._queue.settings
        known = table.uploads.get(found.upload_id)
        if known is not None and not known.unread:
            return
        routes, now = table.models.routes(), self._queue.now()
        upload = Upload(
            upload_id=found.upload_id,
            bucket=found.bucket,
            key=found.key,
            version_id=found.version_id,
            etag=found.etag,
            route=names.route_name(found.key, settings.input_prefix, routes),
            status=Status.FAILED,
            message=IN_FLIGHT.format(
                bucket=found.bucket, work=settings.work_prefix, upload_id=found.upload_id
            ),
            created_at=found.created_at,
            updated_at=now,
            ended_at=now,
            expires_at=self._queue.expires_at(),
        )
        key = names.summary_key(upload.key, settings.input_prefix, settings.output_prefix)
        self._queue.bucket.put_json(key, reports.summary(upload, [], routes.get(upload.route)))
        if table.uploads.add(upload, []):
            count_end(settings.name, upload.route, upload.status)
            log.warning("upload was in a job", extra={"upload_id": upload.upload_id, "key": upload.key})


def _mark(identifier: str) -> int:
    """Returns 64 bits of an id, which take less memory than its text."""
    return int(identifier[:16], 16)
