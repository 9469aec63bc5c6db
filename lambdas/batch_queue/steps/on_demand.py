"""Runs records that are too few for a batch job one by one, and writes the same kind of output."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import uuid4

from batch_queue.aws.bucket import ObjectGoneError
from batch_queue.aws.runtime import Runtime
from batch_queue.aws.table.chunks import Chunks
from batch_queue.aws.telemetry import log
from batch_queue.core import digests, names, outputs, reading
from batch_queue.core.objects import ObjectRef
from batch_queue.core.rows import FLEX, Chunk, Job

from .queue import Queue
from .run import Run

# How many records are in flight at once, and how large they are together: each is in memory several times.
RECORDS_IN_FLIGHT = 8
BATCH_BYTES = 16_000_000
# A run with less time than this continues in a new one: the client may wait this long for an answer.
BATCH_SECONDS = 660.0
# How often the model is invoked for a record whose answer no run could store.
MAX_ASKED = 3
MARK_DIGITS = 16  # of a digest, in hex
UNANSWERED_CODE = "NotAnswered"
UNANSWERED = (
    f"The model was invoked {MAX_ASKED} times for this record, and each time the function ended before it "
    "stored the answer. Shorten the record, raise lambda_memory_size, or check that the work area can be "
    "written."
)


class AtWorkError(Exception):
    """Another run answers the same chunk at this moment."""


class CancelledError(Exception):
    """The upload was cancelled: no further record of the chunk is asked about."""


class OnDemand:
    """Writes the output file of each chunk of a job, as Bedrock would.

    Each answer is stored as it arrives. How often a record was asked about is stored before it is, so that a
    record is paid for ``MAX_ASKED`` times at most, wherever its runs die.
    """

    def __init__(self, queue: Queue, runtime: Runtime) -> None:
        self._queue = queue
        self._runtime = runtime

    def run(self, job: Job, run: Run) -> bool:
        """Answers all records of a job. Returns False if time ran out first; stored answers are kept.

        Raises AtWorkError if another run does the same.
        """
        chunks = self._queue.table.chunks
        intent = self._queue.table.jobs.intent(job.job_id)
        kind = str(intent.request.get("modelInvocationType", "InvokeModel"))
        written = self._queue.bucket.keys(names.output_folder(self._queue.settings.work_prefix, job.job_id))
        for ref in intent.chunks:
            chunk = chunks.get(ref)
            if chunk is None or chunk.job_id != job.job_id or chunk.gone:
                continue
            try:
                if not self._run_chunk(job, kind, chunk, run, written):
                    return False
            except ObjectGoneError as error:
                chunks.mark_gone(ref, job.job_id, error.told)
        return True

    def _run_chunk(self, job: Job, kind: str, chunk: Chunk, run: Run, written: Collection[str]) -> bool:
        """Answers the records of a chunk. ``written``: the keys of what earlier runs have stored."""
        bucket, work = self._queue.bucket, self._queue.settings.work_prefix
        key = names.output_key(work, job.job_id, job.arn, chunk.ref.file_name)
        if key in written:
            return True
        parts = sorted(part for part in written if part.startswith(f"{key}."))
        if chunk.cancelled:
            self._keep(parts, key)
            return True
        seen = {digest for part in parts for digest in self._answered(key, part)}
        source = ObjectRef(chunk.key, chunk.version_id, chunk.etag)
        stream = bucket.stream(source, None if chunk.whole else (chunk.start, chunk.end))
        records = outputs.unanswered(reading.tidied(stream), seen)
        counts = _Counts(self._queue.table.chunks, chunk)
        try:
            with ThreadPoolExecutor(RECORDS_IN_FLIGHT) as pool:
                for batch in batches(records, chunk.asked):
                    if run.has_less_than(BATCH_SECONDS):
                        return False
                    ask = counts.add({asked_key(record) for record in batch})
                    parts += pool.map(partial(self._answer, job, kind, key, ask), batch)
        except ObjectGoneError:
            if not parts:
                raise  # else the stored answers count
        except CancelledError:
            log.info("records are not asked about any more", extra={"job_id": job.job_id})
        self._keep(parts, key)
        log.info("records answered on demand", extra={"job_id": job.job_id, "records": chunk.records})
        return True

    def _keep(self, parts: Sequence[str], key: str) -> None:
        """Joins the stored answers of a chunk, if there are any, into its output file."""
        if parts:
            self._queue.bucket.concatenate(parts, key)

    def _answered(self, key: str, part: str) -> set[int]:
        """Returns the digests of the recordIds that a stored object answers: its name has that of one."""
        suffix = part.removeprefix(f"{key}.")
        if len(suffix) == MARK_DIGITS:
            return {int(suffix, 16)}
        # A version before this one stored eight answers in one object.
        stream = self._queue.bucket.stream(ObjectRef(part))
        records = (record for _, record in outputs.output_lines(stream) if record is not None)
        return {digests.digest(str(record.get("recordId"))) for record in records}

    def _answer(self, job: Job, kind: str, key: str, ask: Collection[str], record: dict[str, Any]) -> str:
        """Stores the output line of one record as an object of its own, and returns that object's key."""
        mark = asked_key(record)
        if mark in ask:
            line = self._line(job, kind, record)
        else:
            line = outputs.error_line(record, UNANSWERED_CODE, UNANSWERED)
        part = f"{key}.{mark}"
        self._queue.bucket.put_stream(part, iter([line]))
        return part

    def _line(self, job: Job, kind: str, record: dict[str, Any]) -> bytes:
        body = record["modelInput"]
        answer = self._runtime.answer(job.model_id, kind, body, FLEX if job.instead == FLEX else "")
        line = {"recordId": record["recordId"], "modelInput": body, **answer}
        # Converse gives bytes where a batch output has base64.
        return outputs.to_line(line, default=lambda raw: base64.b64encode(raw).decode())


class _Counts:
    """How often the records of a chunk were asked about without an answer that was stored."""

    def __init__(self, chunks: Chunks, chunk: Chunk) -> None:
        self._chunks = chunks
        self._chunk = chunk
        self._stored = dict(chunk.asked)
        self._batch: set[str] = set()
        self._run = uuid4().hex  # two runs can have the same request id, and count the same

    def add(self, marks: set[str]) -> set[str]:
        """Counts a batch, before it is asked about; returns those of its records that may be.

        The batch before it is answered by now. Raises AtWorkError if another run has counted meanwhile, and
        CancelledError.
        """
        asked = {mark: count for mark, count in self._stored.items() if mark not in self._batch}
        may = {mark for mark in marks if asked.get(mark, 0) < MAX_ASKED}
        self._batch = marks
        if may:
            asked.update({mark: asked.get(mark, 0) + 1 for mark in may})
            if not self._chunks.count_asked(self._chunk, self._stored, asked, self._run):
                now = self._chunks.get(self._chunk.ref)
                raise CancelledError if now is not None and now.cancelled else AtWorkError
            self._stored = asked
        return may


def batches(
    records: Iterable[tuple[bytes, dict[str, Any]]], asked: Mapping[str, int]
) -> Iterator[list[dict[str, Any]]]:
    """Yields the records (each with its line), ``RECORDS_IN_FLIGHT`` and ``BATCH_BYTES`` at most in a batch.

    A record that was asked about before is alone in its batch, because the run may have died of it.
    """
    batch: list[dict[str, Any]] = []
    size = 0
    for raw, record in records:
        alone = asked_key(record) in asked
        if batch and (alone or len(batch) == RECORDS_IN_FLIGHT or size + len(raw) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += len(raw)
        if alone:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def asked_key(record: Mapping[str, Any]) -> str:
    """Returns the key of a record in ``Chunk.asked``: 16 hex digits for its recordId."""
    return f"{digests.digest(str(record['recordId'])):0{MARK_DIGITS}x}"
