"""Runs the records that are too few for a batch job one by one, with the same kind of output."""

from __future__ import annotations

import base64
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from batch_queue.aws.bucket import ObjectGoneError, ObjectRef, Storage
from batch_queue.aws.runtime import Runtime
from batch_queue.aws.table.uploads import Table
from batch_queue.aws.telemetry import log
from batch_queue.core import outputs as results
from batch_queue.core import reading as jsonl
from batch_queue.core import rows as model
from batch_queue.core.rows import Chunk, Job
from batch_queue.core.settings import Settings

# How many records are asked about at once. Their answers are stored together, so that a run which dies has
# at most so many answered in vain.
AT_ONCE = 8
# A run that has less time than this left goes on in a new one: longer than the client waits for an answer.
BATCH_SECONDS = 660.0


class OnDemand:
    """Writes for each chunk of a job the output file that Bedrock would have written."""

    def __init__(
        self, settings: Settings, table: Table, storage: Storage, runtime: Runtime, clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._table = table
        self._storage = storage
        self._runtime = runtime
        self._clock = clock

    def run(self, job: Job, deadline: float) -> bool:
        """Answers all records of a job; False where time was up first. What was answered stays answered."""
        for ref in job.chunks:
            chunk = self._table.chunk(ref)
            if chunk is None or chunk.job_id != job.job_id or chunk.gone:
                continue
            try:
                if not self._run_chunk(job, chunk, deadline):
                    return False
            except ObjectGoneError as error:
                self._table.mark_gone(ref, job.job_id, error.told)
        return True

    def _run_chunk(self, job: Job, chunk: Chunk, deadline: float) -> bool:
        work = self._settings.work_prefix
        key = model.output_key(work, job.job_id, job.arn, chunk.ref.file_name)
        written = self._storage.keys(model.output_folder(work, job.job_id))
        if key in written:
            return True
        parts = sorted(part for part in written if part.startswith(f"{key}."))
        seen = {
            jsonl.digest(str(record.get("recordId")))
            for part in parts
            for _, record in results.output_lines(self._storage.stream(ObjectRef(part)))
            if record is not None
        }
        source = ObjectRef(chunk.key, chunk.version_id, chunk.etag)
        stream = self._storage.stream(source, None if chunk.whole else (chunk.start, chunk.end))
        rows = results.unanswered(jsonl.tidied(stream), seen)
        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                while batch := [record for _, record in islice(rows, AT_ONCE)]:
                    if self._clock() + BATCH_SECONDS > deadline:
                        return False
                    answers = pool.map(lambda record: self._line(job, record), batch)
                    part = f"{key}.{len(parts):06d}"
                    self._storage.put_stream(part, iter(list(answers)))
                    parts.append(part)
        except ObjectGoneError:
            if not parts:
                raise  # else what is answered stands
        self._storage.concatenate(parts, key)
        log.info("records answered on demand", extra={"job_id": job.job_id, "records": chunk.records})
        return True

    def _line(self, job: Job, record: dict[str, Any]) -> bytes:
        body = record["modelInput"]
        kind = str(job.request.get("modelInvocationType", "InvokeModel"))
        answer = self._runtime.answer(job.model_id, kind, body)
        line = {"recordId": record["recordId"], "modelInput": body, **answer}
        # Converse gives bytes where a batch output has base64.
        return results.to_line(line, default=lambda raw: base64.b64encode(raw).decode())
