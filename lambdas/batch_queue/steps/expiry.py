"""Step 10, rows: says when the rows of what has ended may be deleted."""

from __future__ import annotations

from batch_queue.core.rows import TERMINAL

from .queue import Queue


def expire(queue: Queue, upload_id: str) -> None:
    """Has the rows of an upload that has ended deleted after ``row_retention_days``. Safe to repeat.

    Does nothing for any other upload, and if rows are kept for ever.
    """
    expires_at = queue.expires_at()
    if expires_at is None:
        return
    upload = queue.table.uploads.get(upload_id)
    if upload is not None and upload.status in TERMINAL and upload.expires_at is None:
        queue.table.uploads.expire(upload_id, expires_at)
