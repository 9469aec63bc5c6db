"""Step 10: what Bedrock wrote for a finished job becomes one result beside each upload. Safe to run twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from . import model, results
from .model import TERMINAL, Chunk, ChunkRef, Job, Status
from .results import Manifest, Outcome, Tally
from .settings import Settings
from .storage import ObjectRef, Storage
from .table import Table
from .telemetry import log


class Collector:
    """Settles the chunks of a job that has ended, and ends the uploads that have no open chunk left."""

    def __init__(
        self, settings: Settings, table: Table, storage: Storage, clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._table = table
        self._storage = storage
        self._clock = clock

    def collect(self, job_id: str) -> bool:
        """Collects one job; False where there is nothing to do (unknown, not ended, or collected already)."""
        job = self._table.job(job_id)
        if job is None or job.status not in TERMINAL or job.collected_at:
            log.info("nothing to collect", extra={"job_id": job_id})
            return False
        written = self._written(job)
        counts = self._manifest(job, written)
        for ref in job.chunks:
            self._settle(job, ref, written, counts)
        for upload_id in dict.fromkeys(ref.upload_id for ref in job.chunks):
            self._finish_upload(upload_id)
        now = model.iso(self._clock())
        self._table.finish_job(
            replace(
                job,
                collected_at=now,
                updated_at=now,
                success_count=counts.success if counts else job.success_count,
                error_count=counts.error if counts else job.error_count,
                input_tokens=counts.input_tokens if counts else 0,
                output_tokens=counts.output_tokens if counts else 0,
            )
        )
        log.info("job collected", extra={"job_id": job_id, "status": job.status, "chunks": len(job.chunks)})
        return True

    def _written(self, job: Job) -> set[str]:
        """The keys of what Bedrock wrote for a job; none for one that it never had."""
        if not job.arn:
            return set()
        return self._storage.keys(model.output_folder(self._settings.work_prefix, job.job_id))

    def _manifest(self, job: Job, written: set[str]) -> Manifest | None:
        key = model.manifest_key(self._settings.work_prefix, job.job_id, job.arn)
        return results.manifest(self._storage.read_json(key)) if key in written else None

    def _settle(self, job: Job, ref: ChunkRef, written: set[str], counts: Manifest | None) -> None:
        chunk = self._table.chunk(ref)
        if chunk is None or chunk.job_id != job.job_id or chunk.status in TERMINAL:
            return
        if chunk.gone:
            ended = Outcome(Status.CANCELLED, 0, 0, "The object was deleted before it ran. Upload it again.")
        else:
            ended = results.outcome(chunk.records, job.status, job.message, self._tally(job, ref, written))
        # The manifest counts the tokens of the whole job: they belong to an upload that had it to itself.
        alone = counts if len(job.chunks) == 1 else None
        self._table.settle_chunk(
            replace(
                chunk,
                status=ended.status,
                message=ended.message,
                success_count=ended.success,
                error_count=ended.error,
            ),
            input_tokens=alone.input_tokens if alone else 0,
            output_tokens=alone.output_tokens if alone else 0,
        )

    def _tally(self, job: Job, ref: ChunkRef, written: set[str]) -> Tally | None:
        key = self._output_key(job, ref)
        return results.tally(self._storage.stream(ObjectRef(key))) if key in written else None

    def _output_key(self, job: Job, ref: ChunkRef) -> str:
        return model.output_key(self._settings.work_prefix, job.job_id, job.arn, ref.file_name)

    def _finish_upload(self, upload_id: str) -> None:
        """Puts the result in its place and ends the upload, where no chunk of it is open any more."""
        upload = self._table.upload(upload_id)
        if upload is None or upload.chunks_open or upload.status in TERMINAL:
            return
        chunks = self._table.chunks(upload_id)
        if any(chunk.status not in TERMINAL for chunk in chunks):
            raise RuntimeError(f"upload {upload_id} has no open chunk, but one that has not ended")
        ended = results.combine(
            Outcome(chunk.status, chunk.success_count, chunk.error_count, chunk.message) for chunk in chunks
        )
        settings = self._settings
        key = model.result_key(upload.key, settings.input_prefix, settings.output_prefix)
        version = self._publish(chunks, key)
        now = model.iso(self._clock())
        self._table.finish_upload(
            replace(
                upload,
                status=ended.status,
                message=ended.message,
                result_key=key if version is not None else "",
                result_version_id=version or "",
                updated_at=now,
                ended_at=now,
            )
        )
        log.info("upload ended", extra={"upload_id": upload_id, "key": upload.key, "status": ended.status})

    def _publish(self, chunks: list[Chunk], key: str) -> str | None:
        """Copies the one output of an upload to its result; gives its version id, or None without output."""
        (chunk,) = chunks
        job = self._table.job(chunk.job_id)
        if job is None or not (written := self._written(job)):
            return None
        source = self._output_key(job, chunk.ref)
        return self._storage.copy(ObjectRef(source), key) if source in written else None
