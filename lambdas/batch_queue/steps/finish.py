"""Step 10, uploads: joins the parts of an upload into one result and ends the upload."""

from __future__ import annotations

from dataclasses import replace

from batch_queue.aws.bucket import ObjectGoneError
from batch_queue.aws.telemetry import count_end, log
from batch_queue.core import names, reports
from batch_queue.core.rows import TERMINAL, Chunk, Status, Upload

from .assembly import Assembly
from .mending import Mending
from .queue import Queue
from .run import Run


class Finish:
    """Ends uploads: the result first, then the summary, then the row; then the upload's folder is deleted."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._assembly = Assembly(queue)
        self._mending = Mending(queue)

    def upload(self, upload_id: str, run: Run) -> bool:
        """Ends an upload that has no open chunk left. Returns whether the upload has ended.

        If time runs out first, ``run.unfinished`` says so.
        """
        table = self._queue.table
        upload = table.uploads.get(upload_id)
        if upload is None:
            return True
        if upload.chunks_open:
            return False
        chunks = table.chunks.of(upload)
        if upload.status not in TERMINAL:
            try:
                self._end(upload, chunks, run)
            except ObjectGoneError:
                chunks = self._end_without_parts(upload_id, chunks, run)
        if run.unfinished:
            return False
        self._clear(upload_id, chunks)
        return True

    def _end_without_parts(self, upload_id: str, chunks: list[Chunk], run: Run) -> list[Chunk]:
        """Ends an upload with missing parts, unless another run has ended it and deleted them.

        Returns its chunks as they then are.
        """
        table = self._queue.table
        upload = table.uploads.get(upload_id)
        if upload is None or upload.status in TERMINAL:
            return chunks
        self._mending.mend(upload, chunks, run)
        if run.unfinished:
            return chunks
        upload = table.uploads.get(upload_id) or upload
        chunks = table.chunks.of(upload)
        self._end(upload, chunks, run)
        return chunks

    def _end(self, upload: Upload, chunks: list[Chunk], run: Run) -> None:
        table = self._queue.table
        if any(chunk.status not in TERMINAL for chunk in chunks):
            raise RuntimeError(
                f"upload {upload.upload_id} counts no open chunk, but one of its chunks has not ended"
            )
        ended = self._with_result(upload, chunks, run)
        if run.unfinished:
            return
        if ended.status == Status.REJECTED:
            ended = self._rejected(ended, chunks[0].message)
        route = table.models.routes().get(upload.route)
        settings = self._queue.settings
        key = names.summary_key(upload.key, settings.input_prefix, settings.output_prefix)
        self._queue.bucket.put_json(key, reports.summary(ended, chunks, route))
        if table.uploads.finish(ended):
            count_end(settings.name, ended.status)
        log.info(
            "upload ended", extra={"upload_id": upload.upload_id, "key": upload.key, "status": ended.status}
        )

    def _clear(self, upload_id: str, chunks: list[Chunk]) -> None:
        """Deletes the folder of an upload that has ended, unless its chunks say that it has none."""
        folder = names.work_folder(self._queue.settings.work_prefix, upload_id)
        if len(chunks) == 1:
            (chunk,) = chunks
            if chunk.attempt == 1 and len(chunk.parts) == 1 and not chunk.parts[0].startswith(folder):
                return
        self._queue.bucket.delete_folder(folder)

    def _with_result(self, upload: Upload, chunks: list[Chunk], run: Run) -> Upload:
        """Writes the result, if there is one, and returns the upload as it ends."""
        settings = self._queue.settings
        key = names.result_key(upload.key, settings.input_prefix, settings.output_prefix)
        parts = [part for chunk in chunks for part in chunk.parts]
        version = self._assembly.join(upload.upload_id, parts, key, run)
        now = self._queue.now()
        return replace(
            upload,
            status=reports.upload_status(
                upload.records, upload.success_count, (chunk.status for chunk in chunks)
            ),
            message=reports.upload_message(
                upload.records,
                upload.success_count,
                reports.errors_by_code(chunks),
                (chunk.message for chunk in chunks),
            ),
            result_key=key if version is not None else "",
            result_version_id=version or "",
            updated_at=now,
            ended_at=now,
        )

    def _rejected(self, upload: Upload, reason: str) -> Upload:
        """Writes the rejection report and returns the upload with its key."""
        settings = self._queue.settings
        key = names.report_key(upload.key, settings.input_prefix, settings.output_prefix)
        faults = [{"line": 0, "reason": reason}]
        self._queue.bucket.put_json(key, reports.rejection(upload, reason, 1, faults))
        return replace(upload, message=reason, result_key=key)
