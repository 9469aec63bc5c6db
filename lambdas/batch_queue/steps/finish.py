"""Step 10, uploads: joins the parts of an upload into one result and ends the upload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from batch_queue.aws.bucket import ObjectGoneError
from batch_queue.aws.pool import by_size
from batch_queue.aws.telemetry import count_end, log
from batch_queue.core import names, reports
from batch_queue.core.records import dataclass
from batch_queue.core.rows import TERMINAL, Chunk, Route, Status, Upload

from .assembly import STEP_SECONDS, Assembly
from .mending import Mending
from .queue import Queue
from .run import Run
from .settlement import CANCELLED_CODE

# Rows are read this many at a time.
READ_AT_ONCE = 100
# A result has up to so many times the bytes of its upload (``admission.MAX_BYTES``).
RESULT_TIMES = 4


@dataclass(frozen=True, slots=True)
class _Due:
    """An upload without an open chunk, and its chunks; none if they are not read yet.

    ``alone``: but for the rows of the upload and its one chunk, the table has none that are to expire.
    """

    upload: Upload
    chunks: Sequence[Chunk] = ()
    alone: bool = False

    @property
    def size(self) -> int:
        """How many bytes may be read to join its parts; S3 copies a single part."""
        is_copied = len(self.chunks) == 1 and len(self.chunks[0].parts) <= 1
        return 0 if is_copied else RESULT_TIMES * self.upload.size_bytes


class Finish:
    """Ends uploads: the result first, then the summary, then the row; then the upload's folder is deleted.

    ``routes``: by name, for the prices. ``sizes``: key → size in bytes of parts whose size is known.
    """

    def __init__(self, queue: Queue, routes: Mapping[str, Route], sizes: Mapping[str, int]) -> None:
        self._queue = queue
        self._routes = routes
        self._sizes = sizes
        self._assembly = Assembly(queue)
        self._mending = Mending(queue)

    def uploads(self, upload_ids: Sequence[str], run: Run) -> set[str]:
        """Ends those of many uploads that have no open chunk left. Returns the ids of those that have ended.

        ``run`` keeps the errors. If time runs out first, ``run.unfinished`` says so.
        """
        ended: set[str] = set()
        for at in range(0, len(upload_ids), READ_AT_ONCE):
            if run.is_out_of_time(STEP_SECONDS):
                break
            some = upload_ids[at : at + READ_AT_ONCE]
            read = run.attempt(self._read, some, uploads=str(len(some)))
            if read is None:
                continue
            due, gone = read

            def end(one: _Due) -> bool | None:
                if run.is_out_of_time(STEP_SECONDS):
                    return None
                return run.attempt(self._upload, one, run, upload_id=one.upload.upload_id)

            done = zip(due, by_size(end, due, lambda one: one.size), strict=True)
            ended |= gone | {one.upload.upload_id for one, has_ended in done if has_ended}
        return ended

    def _read(self, upload_ids: Sequence[str]) -> tuple[list[_Due], set[str]]:
        """Returns those uploads that have no open chunk, and the ids of those that have no row any more."""
        table = self._queue.table
        found = table.uploads.all(upload_ids)
        due = [found[one] for one in upload_ids if one in found and not found[one].chunks_open]
        single = [upload for upload in due if upload.chunks == 1]
        chunks = table.chunks.only(single)
        # Only to see which rows expire.
        more = set() if self._expires_at is None else table.uploads.cut_in_steps(chunks)
        rows = {
            upload_id: _Due(found[upload_id], [chunk], alone=upload_id not in more)
            for upload_id, chunk in chunks.items()
        }
        return [rows.get(each.upload_id, _Due(each)) for each in due], set(upload_ids) - set(found)

    @property
    def _expires_at(self) -> int | None:
        return self._queue.expires_at()

    def _upload(self, due: _Due, run: Run) -> bool:
        """Ends an upload, unless it has ended, and deletes its folder. Returns False if time runs out."""
        if not due.chunks:
            due = replace(due, chunks=self._queue.table.chunks.of(due.upload))
        if due.upload.status not in TERMINAL:
            try:
                due = self._end(due, run)
            except ObjectGoneError:
                due = self._end_without_parts(due, run)
        if run.unfinished:
            return False
        self._clear(due)
        self._expire(due.upload)
        return True

    def _end_without_parts(self, due: _Due, run: Run) -> _Due:
        """Ends an upload with missing parts, unless another run has ended it and deleted them."""
        table = self._queue.table
        upload = table.uploads.get(due.upload.upload_id)
        if upload is None or upload.run != due.upload.run:
            return due
        if upload.status in TERMINAL:
            return replace(due, upload=upload)
        self._mending.mend(upload, due.chunks, run)
        if run.unfinished:
            return due
        upload = table.uploads.get(upload.upload_id) or upload
        return self._end(_Due(upload, table.chunks.of(upload)), run)

    def _end(self, due: _Due, run: Run) -> _Due:
        """Writes the result and the summary of an upload, and then its row. Returns it as it then is."""
        table, chunks = self._queue.table, due.chunks
        if any(chunk.status not in TERMINAL for chunk in chunks):
            raise RuntimeError(
                f"upload {due.upload.upload_id} counts no open chunk, but one of its chunks has not ended"
            )
        ended = self._with_result(due, run)
        if run.unfinished:
            return due
        if ended.status == Status.REJECTED:
            ended = self._rejected(ended, chunks[0].message)
        settings = self._queue.settings
        key = names.summary_key(ended.key, settings.input_prefix, settings.output_prefix)
        self._queue.bucket.put_json(key, reports.summary(ended, chunks, self._routes.get(ended.route)))
        if due.alone and self._expires_at is not None:
            (only,) = chunks
            ended = replace(ended, expires_at=self._expires_at)
            written = table.uploads.finish(ended, only)
        else:
            written = table.uploads.finish(ended)
        if written:
            count_end(settings.name, ended.route, ended.status)
        else:  # what another run has written need not have marked them
            ended = replace(ended, expires_at=None)
        log.info(
            "upload ended", extra={"upload_id": ended.upload_id, "key": ended.key, "status": ended.status}
        )
        return replace(due, upload=ended)

    def _clear(self, due: _Due) -> None:
        """Deletes the folder of an upload that has ended, unless its chunks say that it has none."""
        folder = names.work_folder(self._queue.settings.work_prefix, due.upload.folder)
        if len(due.chunks) == 1:
            (chunk,) = due.chunks
            if chunk.attempt == 1 and len(chunk.parts) == 1 and not chunk.parts[0].startswith(folder):
                return
        self._queue.bucket.delete_folder(folder)
        if due.upload.run > 1:  # the collector of the run before may have died before it did this
            before = replace(due.upload, run=due.upload.run - 1).folder
            self._queue.bucket.delete_folder(names.work_folder(self._queue.settings.work_prefix, before))

    def _expire(self, upload: Upload) -> None:
        """Has the rows of an upload that has ended deleted after ``row_retention_days``. Safe to repeat.

        Does nothing if they are marked, or if rows are kept for ever.
        """
        expires_at = self._expires_at
        if expires_at is not None and upload.expires_at is None:
            self._queue.table.uploads.expire(upload, expires_at)

    def _with_result(self, due: _Due, run: Run) -> Upload:
        """Writes the result, if there is one, and returns the upload as it ends."""
        settings, upload, chunks = self._queue.settings, due.upload, due.chunks
        key = names.result_key(upload.key, settings.input_prefix, settings.output_prefix)
        parts = [part for chunk in chunks for part in chunk.parts]
        version = self._assembly.join(upload.folder, parts, key, run, self._sizes)
        now = self._queue.now()
        return replace(
            upload,
            status=reports.upload_status(
                upload.records,
                upload.success_count,
                (chunk.status for chunk in chunks),
                cancelled=bool(upload.cancelled_at),
            ),
            message=self._message(upload, chunks),
            result_key=key if version is not None else "",
            result_version_id=version or "",
            updated_at=now,
            ended_at=now,
        )

    def _message(self, upload: Upload, chunks: Sequence[Chunk]) -> str:
        """Returns what the row of an upload says at its end."""
        errors = reports.errors_by_code(chunks)
        words = [chunk.message for chunk in chunks]
        not_run = errors.pop(CANCELLED_CODE, 0)
        if upload.cancelled_at and (not_run or not upload.records):
            words.insert(0, reports.cancelled(upload, not_run))
        return reports.upload_message(upload.records - not_run, upload.success_count, errors, words)

    def _rejected(self, upload: Upload, reason: str) -> Upload:
        """Writes the rejection report and returns the upload with its key."""
        settings = self._queue.settings
        key = names.report_key(upload.key, settings.input_prefix, settings.output_prefix)
        faults = [{"line": 0, "reason": reason}]
        self._queue.bucket.put_json(key, reports.rejection(upload, reason, 1, faults))
        return replace(upload, message=reason, result_key=key)
