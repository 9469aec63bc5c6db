"""Runs records that are too few for a batch job one by one, and writes the same kind of output."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from batch_queue.aws.bucket import ObjectGoneError, ObjectRef
from batch_queue.aws.runtime import Runtime
from batch_queue.aws.telemetry import log
from batch_queue.core import names, outputs, reading
from batch_queue.core.rows import Chunk, Job

from .queue import Queue
from .run import Run

# How many records are asked about at once. Their answers are stored together, so that a run which dies has
# at most so many answered in vain.
AT_ONCE = 8
# A run with less time than this continues in a new one: the client may wait this long for an answer.
BATCH_SECONDS = 660.0


class OnDemand:
    """Writes the output file of each chunk of a job, as Bedrock would."""

    def __init__(self, queue: Queue, runtime: Runtime) -> None:
        self._queue = queue
        self._runtime = runtime

    def run(self, job: Job, run: Run) -> bool:
        """Answers all records of a job. Returns False if time ran out first; stored answers are kept."""
        chunks = self._queue.table.chunks
        for ref in job.chunks:
            chunk = chunks.get(ref)
            if chunk is None or chunk.job_id != job.job_id or chunk.gone:
                continue
            try:
                if not self._run_chunk(job, chunk, run):
                    return False
            except ObjectGoneError as error:
                chunks.mark_gone(ref, job.job_id, error.told)
        return True

    def _run_chunk(self, job: Job, chunk: Chunk, run: Run) -> bool:
        bucket, work = self._queue.bucket, self._queue.settings.work_prefix
        key = names.output_key(work, job.job_id, job.arn, chunk.ref.file_name)
        written = bucket.keys(names.output_folder(work, job.job_id))
        if key in written:
            return True
        parts = sorted(part for part in written if part.startswith(f"{key}."))
        seen = {
            reading.digest(str(record.get("recordId")))
            for part in parts
            for _, record in outputs.output_lines(bucket.stream(ObjectRef(part)))
            if record is not None
        }
        source = ObjectRef(chunk.key, chunk.version_id, chunk.etag)
        stream = bucket.stream(source, None if chunk.whole else (chunk.start, chunk.end))
        rows = outputs.unanswered(reading.tidied(stream), seen)
        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                while batch := [record for _, record in islice(rows, AT_ONCE)]:
                    if run.has_less_than(BATCH_SECONDS):
                        return False
                    answers = pool.map(lambda record: self._line(job, record), batch)
                    part = f"{key}.{len(parts):06d}"
                    bucket.put_stream(part, iter(list(answers)))
                    parts.append(part)
        except ObjectGoneError:
            if not parts:
                raise  # else the stored answers count
        bucket.concatenate(parts, key)
        log.info("records answered on demand", extra={"job_id": job.job_id, "records": chunk.records})
        return True

    def _line(self, job: Job, record: dict[str, Any]) -> bytes:
        body = record["modelInput"]
        kind = str(job.request.get("modelInvocationType", "InvokeModel"))
        answer = self._runtime.answer(job.model_id, kind, body)
        line = {"recordId": record["recordId"], "modelInput": body, **answer}
        # Converse gives bytes where a batch output has base64.
        return outputs.to_line(line, default=lambda raw: base64.b64encode(raw).decode())
