"""Step 10, uploads: joins the parts of an upload into one result and ends the upload."""

from __future__ import annotations

from dataclasses import replace

from batch_queue.aws.telemetry import count_end, log
from batch_queue.core import names, reports
from batch_queue.core.rows import TERMINAL, Chunk, Status, Upload

from .queue import Queue


class Finish:
    """Ends uploads: the result first, then the summary, then the row."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def upload(self, upload_id: str) -> None:
        """Ends an upload that has no open chunk left. Does nothing for any other upload."""
        table = self._queue.table
        upload = table.uploads.get(upload_id)
        if upload is None or upload.chunks_open or upload.status in TERMINAL:
            return
        chunks = table.chunks.of(upload)
        if any(chunk.status not in TERMINAL for chunk in chunks):
            raise RuntimeError(
                f"upload {upload_id} counts no open chunk, but one of its chunks has not ended"
            )
        ended = self._with_result(upload, chunks)
        if ended.status == Status.REJECTED:
            ended = self._rejected(ended, chunks[0].message)
        route = table.models.routes().get(upload.route)
        settings = self._queue.settings
        key = names.summary_key(upload.key, settings.input_prefix, settings.output_prefix)
        self._queue.bucket.put_json(key, reports.summary(ended, chunks, route))
        if table.uploads.finish(ended):
            count_end(settings.name, ended.status)
        log.info("upload ended", extra={"upload_id": upload_id, "key": upload.key, "status": ended.status})

    def _with_result(self, upload: Upload, chunks: list[Chunk]) -> Upload:
        """Writes the result, if there is one, and returns the upload as it ends."""
        settings, bucket = self._queue.settings, self._queue.bucket
        key = names.result_key(upload.key, settings.input_prefix, settings.output_prefix)
        parts = [part for chunk in chunks for part in chunk.parts]
        version = bucket.concatenate(parts, key) if parts else None
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
