"""Steps 1 and 2: a new object becomes an upload with its chunks, Pending, or Rejected with a report."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from typing import Any
from urllib.parse import unquote_plus

from batch_queue.aws.bucket import ObjectGoneError, ObjectRef, Storage
from batch_queue.aws.functions import Functions
from batch_queue.aws.table.uploads import Table
from batch_queue.aws.telemetry import EventError, log
from batch_queue.core import media
from batch_queue.core import reading as jsonl
from batch_queue.core import rows as model
from batch_queue.core.rows import TERMINAL, Chunk, Route, Status, Upload
from batch_queue.core.settings import Settings

# A chunk is a tenth of what one file of a job may hold.
CHUNKS_PER_FILE = 10
# Reading stops at a boundary between chunks when there is less time left than this.
READ_SECONDS = 60.0
# So many doubled recordIds are looked for at most; a report lists no more than a hundred.
MAX_SUSPECTS = 1_000


@dataclass(frozen=True, slots=True)
class NewObject:
    """An exact object, as an S3 event or a sweep tells of it. Times are ISO 8601 in UTC.

    ``created_at``: since when it waits, as the event or the sweep has it. ``modified_at``: S3's LastModified,
    which with the ETag tells objects without a version id apart; "" where it was not looked up.
    """

    bucket: str
    key: str
    version_id: str
    etag: str
    created_at: str
    sequencer: str = ""
    modified_at: str = ""

    @property
    def upload_id(self) -> str:
        """The id of the upload that this object is, however it was found.

        Without a version id it is told apart by what anybody sees who looks at it. The sequencer, which the
        event alone has, is left for an object that was gone before it could be looked at.
        """
        seen = f"{self.etag}/{self.modified_at}" if self.modified_at else self.sequencer
        return model.upload_id(self.bucket, self.key, self.version_id or seen)


def new_objects(event: Mapping[str, Any]) -> Iterator[NewObject]:
    """The objects that an S3 event tells of. Keys arrive form-encoded (S3 User Guide, event structure)."""
    for record in event.get("Records", []):
        if not record.get("eventName", "").startswith("ObjectCreated:"):
            continue
        thing = record["s3"]["object"]
        yield NewObject(
            bucket=record["s3"]["bucket"]["name"],
            key=unquote_plus(thing["key"]),
            # Where versioning is suspended every version is called "null", and names no exact object.
            version_id=thing.get("versionId", "").removeprefix("null"),
            etag=thing.get("eTag") or "",
            sequencer=thing.get("sequencer") or "",
            created_at=model.iso(model.epoch(record["eventTime"])),
        )


def why_not(bucket: str, key: str, settings: Settings) -> str:
    """Why an object is none of the queue's uploads; "" where it is one."""
    if bucket != settings.bucket:
        return "it lies in another bucket"
    if not key.startswith(settings.input_prefix):
        return f"it does not lie under {settings.input_prefix}"
    if key.endswith("/"):
        return "it is a folder marker"
    return "" if key.endswith(".jsonl") else "its name does not end with .jsonl"


class Intake:
    """Turns objects into uploads. Safe to run twice on the same object, also at the same time."""

    def __init__(
        self,
        settings: Settings,
        table: Table,
        storage: Storage,
        functions: Functions,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._table = table
        self._storage = storage
        self._functions = functions
        self._clock = clock
        self._offsets: dict[str, int] = {}

    def run(self, event: Mapping[str, Any], function_name: str, seconds_left: float) -> None:
        """Takes in every object of an S3 event, or goes on reading one where an earlier run stopped.

        Wakes the processor where there may be pending work, and ``function_name`` where reading is to go on.
        Raises the first error at the end, when the other objects are taken in; EventError at once for an
        event that is of neither kind.
        """
        if not {"Records", "read_on"} & set(event) and event.get("Event") != "s3:TestEvent":
            known = ", ".join(sorted(event)) or "nothing"
            raise EventError(f'this function takes S3 events and {{"sweep": true}}; the event has {known}')
        deadline = self._clock() + seconds_left
        routes: dict[str, Route] = {}
        errors: list[Exception] = []
        wake = False
        going_on = "read_on" in event
        objects = [NewObject(**event["read_on"])] if going_on else list(new_objects(event))
        for listed in objects:
            if self._foreign(listed):
                continue
            try:
                found = self._identified(listed)
                if found is None:
                    continue
                routes = routes or self._table.routes()
                status = self.take_in(found, routes, event.get("from", 0), deadline)
                wake |= status == Status.PENDING
                if status is None:
                    self._read_on(found, function_name)
            except Exception as error:
                log.exception("upload failed to be taken in", extra={"key": listed.key})
                errors.append(error)
        if wake or errors:
            self._functions.wake(self._settings.process_function, {"reason": "uploads"})
        if errors:
            raise errors[0]

    def _foreign(self, found: NewObject) -> bool:
        reason = why_not(found.bucket, found.key, self._settings)
        if reason:
            log.info("object ignored: %s", reason, extra={"bucket": found.bucket, "key": found.key})
        return bool(reason)

    def _identified(self, found: NewObject) -> NewObject | None:
        """The object with what tells it apart; None where it is gone and nothing does."""
        if found.version_id or found.modified_at:
            return found
        try:
            etag, modified = self._storage.identity(ObjectRef(found.key, etag=found.etag))
        except ObjectGoneError:
            if found.sequencer:
                return found
            log.info("object deleted since it was found", extra={"key": found.key})
            return None
        return replace(found, etag=etag, modified_at=model.iso(modified))

    def take_in(
        self, found: NewObject, routes: Mapping[str, Route], offset: int = 0, deadline: float = math.inf
    ) -> Status | None:
        """Validates one object and stores its rows; gives the upload's status, also where it was known.

        None where time was up first: then the state at the last boundary is stored, and reading goes on
        from there in another run, at ``offset``.
        """
        known = self._table.upload(found.upload_id)
        if known is not None:
            log.info("upload known already", extra={"upload_id": found.upload_id, "key": found.key})
            if not known.ready and known.status not in TERMINAL:
                self._table.enqueue_chunks(known, self._table.chunks(known))
                return Status.PENDING
            return known.status
        route = routes[model.route_name(found.key, self._settings.input_prefix, routes)]
        upload = Upload(
            upload_id=found.upload_id,
            bucket=found.bucket,
            key=found.key,
            version_id=found.version_id,
            etag=found.etag,
            route=route.name,
            status=Status.PENDING,
            created_at=found.created_at,
            updated_at=model.iso(self._clock()),
        )
        try:
            size, scan = self._scan(found, route, offset, deadline)
        except ObjectGoneError as error:
            return self._store(_ended(upload, Status.CANCELLED, error.told), [])
        if not scan.done:
            self._keep(found, scan)
            return None
        if scan.fault_count:
            return self._reject(upload, size, scan)
        chunks = [
            Chunk(
                upload_id=upload.upload_id,
                number=number,
                route=route.name,
                key=found.key,
                version_id=found.version_id,
                etag=found.etag,
                start=cut.start,
                end=cut.end,
                records=cut.records,
                created_at=found.created_at,
                ids=cut.ids,
                rewrite=cut.rewrite,
                whole=(cut.start, cut.end) == (0, size),
            )
            for number, cut in enumerate(scan.cuts, start=1)
        ]
        count = len(chunks)
        accepted = replace(upload, size_bytes=size, records=scan.records, chunks=count, chunks_open=count)
        return self._store(accepted, chunks)

    # ------------------------------------------------------------------------------------------ reading

    def _scan(self, found: NewObject, route: Route, offset: int, deadline: float) -> tuple[int, jsonl.Scan]:
        ref = ObjectRef(found.key, found.version_id, found.etag)
        size = self._storage.size(ref)
        settings = self._settings
        result = model.report_key(found.key, settings.input_prefix, settings.output_prefix)
        if model.key_too_long(result):
            scan = jsonl.Scan(done=True)
            over = len(result.encode()) - model.MAX_KEY_BYTES
            scan.add(
                jsonl.Fault(0, f"the names of its results would be too long: shorten it by {over} bytes")
            )
            return size, scan
        limits = _limits(route)
        kept = self._kept(found, offset) if offset else jsonl.Scan()
        blocks = self._storage.stream(ref, (offset, size) if offset else None)
        check = partial(media.check, bucket=settings.bucket, route=route.name, allowed=route.media)
        scan = jsonl.scan(blocks, limits, kept, lambda: self._clock() + READ_SECONDS > deadline, check)
        if scan.done and (suspects := scan.ids.twice()):
            some = set(islice(suspects, MAX_SUSPECTS))
            twice = jsonl.doubled(self._storage.stream(ref), some, limits)
            scan.faults = sorted((*scan.faults, *twice.faults), key=lambda fault: fault.line)
            scan.faults = scan.faults[: jsonl.MAX_REPORTED_FAULTS]
            scan.fault_count += twice.fault_count
        return size, scan

    def _state_key(self, found: NewObject, offset: int) -> str:
        return f"{self._settings.work_prefix}reading/{found.upload_id}/{offset}"

    def _keep(self, found: NewObject, scan: jsonl.Scan) -> None:
        key = self._state_key(found, scan.offset)
        self._storage.put_stream(f"{key}.ids", scan.ids.to_bytes())
        self._storage.put_json(f"{key}.json", scan.to_document())
        self._offsets[found.upload_id] = scan.offset

    def _kept(self, found: NewObject, offset: int) -> jsonl.Scan:
        key = self._state_key(found, offset)
        ids = jsonl.Ids.from_bytes(self._storage.stream(ObjectRef(f"{key}.ids")))
        return jsonl.Scan.from_document(self._storage.read_json(f"{key}.json"), ids)

    def _read_on(self, found: NewObject, function_name: str) -> None:
        offset = self._offsets.pop(found.upload_id)
        log.info("reading goes on in another run", extra={"key": found.key, "offset": offset})
        self._functions.wake(function_name, {"read_on": asdict(found), "from": offset})

    def _reject(self, upload: Upload, size: int, scan: jsonl.Scan) -> Status:
        settings = self._settings
        key = model.report_key(upload.key, settings.input_prefix, settings.output_prefix)
        first = scan.faults[0]
        where = f"line {first.line}: " if first.line else ""
        more = f" ({scan.fault_count - 1:,} more faults)" if scan.fault_count > 1 else ""
        message = f"Rejected, nothing was run: {where}{first.reason}{more}."
        if model.key_too_long(key):  # then the row alone tells it
            rejected = _ended(upload, Status.REJECTED, message)
            return self._store(replace(rejected, size_bytes=size), [])
        message += f" All in {key}"
        faults = [
            {
                "line": fault.line,
                **({"recordId": fault.record_id} if fault.record_id is not None else {}),
                "reason": fault.reason,
            }
            for fault in scan.faults
        ]
        advice = "Mend the lines below and upload the file again; no record of it was run."
        self._storage.put_json(key, model.rejection(upload, advice, scan.fault_count, faults))
        rejected = _ended(upload, Status.REJECTED, message)
        return self._store(replace(rejected, size_bytes=size, records=scan.records, result_key=key), [])

    def _store(self, upload: Upload, chunks: list[Chunk]) -> Status:
        if not self._table.add_upload(upload, chunks):
            log.info("upload known already", extra={"upload_id": upload.upload_id, "key": upload.key})
        else:
            log.info(
                "upload taken in",
                extra={
                    "upload_id": upload.upload_id,
                    "key": upload.key,
                    "route": upload.route,
                    "status": upload.status,
                    "records": upload.records,
                },
            )
        return upload.status


def _limits(route: Route) -> jsonl.Limits:
    """Chunks are a tenth of what one file may hold, so that they can be shared out over the slots."""
    most_records = min(route.max_records_per_file, route.max_records_per_job)
    most_bytes = min(route.max_bytes_per_file, route.max_bytes_per_job)
    tenth = max(route.min_records_per_job, route.max_records_per_file // CHUNKS_PER_FILE)
    return jsonl.Limits(
        chunk_records=min(most_records, tenth),
        chunk_bytes=min(most_bytes, route.max_bytes_per_file // CHUNKS_PER_FILE),
        least_records=route.min_records_per_job,
        most_records=most_records,
        most_bytes=most_bytes,
        line_bytes=min(jsonl.MAX_LINE_BYTES, most_bytes),
    )


def _ended(upload: Upload, status: Status, message: str) -> Upload:
    return replace(upload, status=status, message=message, ended_at=upload.updated_at)
