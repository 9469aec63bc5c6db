"""Steps 1 and 2: a new object becomes an upload with its chunks, Pending, or Rejected with a report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote_plus

from . import jsonl, model
from .model import Chunk, Route, Status, Upload
from .settings import Settings
from .storage import ObjectGoneError, ObjectRef, Storage
from .table import Table
from .telemetry import log


@dataclass(frozen=True, slots=True)
class NewObject:
    """One record of an S3 event: which exact object came into being, and when (ISO 8601, UTC)."""

    bucket: str
    key: str
    version_id: str
    etag: str
    sequencer: str
    created_at: str

    @property
    def upload_id(self) -> str:
        """The id of the upload that this object is."""
        return model.upload_id(self.bucket, self.key, self.version_id or self.sequencer)


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


class Intake:
    """Turns objects into uploads. Safe to run twice on the same object, also at the same time."""

    def __init__(
        self, settings: Settings, table: Table, storage: Storage, clock: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._table = table
        self._storage = storage
        self._clock = clock

    def run(self, objects: Iterable[NewObject]) -> bool:
        """Takes in every object; True where there may be pending work. Raises the first error at the end."""
        wake = False
        errors: list[Exception] = []
        routes: dict[str, Route] = {}
        for found in objects:
            if self._foreign(found):
                continue
            try:
                routes = routes or self._table.routes()
                wake |= self.take_in(found, routes) == Status.PENDING
            except Exception as error:
                log.exception("upload failed to be taken in", extra={"key": found.key})
                errors.append(error)
        if errors:
            raise errors[0]
        return wake

    def _foreign(self, found: NewObject) -> bool:
        settings = self._settings
        reason = ""
        if found.bucket != settings.bucket:
            reason = "it lies in another bucket"
        elif not found.key.startswith(settings.input_prefix):
            reason = f"it does not lie under {settings.input_prefix}"
        elif found.key.endswith("/"):
            reason = "it is a folder marker"
        elif not found.key.endswith(".jsonl"):
            reason = "its name does not end with .jsonl"
        if reason:
            log.info("object ignored: %s", reason, extra={"bucket": found.bucket, "key": found.key})
        return bool(reason)

    def take_in(self, found: NewObject, routes: Mapping[str, Route]) -> Status:
        """Validates one object and stores its rows; gives the upload's status, also where it was known."""
        known = self._table.upload(found.upload_id)
        if known is not None:
            log.info("upload known already", extra={"upload_id": found.upload_id, "key": found.key})
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
            size, scan = self._scan(found, route)
        except ObjectGoneError:
            message = "The object was deleted before it was read. Upload it again."
            return self._store(_ended(upload, Status.CANCELLED, message), [])
        if scan.fault_count:
            return self._reject(upload, size, scan)
        chunk = Chunk(
            upload_id=upload.upload_id,
            number=1,
            route=route.name,
            key=found.key,
            version_id=found.version_id,
            etag=found.etag,
            start=0,
            end=size,
            records=scan.records,
            created_at=found.created_at,
            rewrite=scan.rewrite,
        )
        accepted = replace(upload, size_bytes=size, records=scan.records, chunks=1, chunks_open=1)
        return self._store(accepted, [chunk])

    def _scan(self, found: NewObject, route: Route) -> tuple[int, jsonl.Scan]:
        ref = ObjectRef(found.key, found.version_id, found.etag)
        size = self._storage.size(ref)
        settings = self._settings
        result = model.report_key(found.key, settings.input_prefix, settings.output_prefix)
        if model.key_too_long(result):
            scan = jsonl.Scan(size_bytes=size)
            over = len(result.encode()) - model.MAX_KEY_BYTES
            scan.add(
                jsonl.Fault(0, f"the names of its results would be too long: shorten it by {over} bytes")
            )
            return size, scan
        if size > route.max_bytes_per_file:
            scan = jsonl.Scan(size_bytes=size)
            limit = route.max_bytes_per_file
            scan.add(jsonl.Fault(0, f"{size:,} bytes, more than {limit:,}: cut the file into several"))
            return size, scan
        return size, jsonl.scan(self._storage.stream(ref), route.max_records_per_job)

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
        self._storage.put_json(
            key,
            {
                "upload_id": upload.upload_id,
                "bucket": upload.bucket,
                "key": upload.key,
                "version_id": upload.version_id,
                "status": Status.REJECTED,
                "what_to_do": "Mend the lines below and upload the file again; no record of it was run.",
                "fault_count": scan.fault_count,
                "faults": [
                    {
                        "line": fault.line,
                        **({"recordId": fault.record_id} if fault.record_id is not None else {}),
                        "reason": fault.reason,
                    }
                    for fault in scan.faults
                ],
            },
        )
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


def _ended(upload: Upload, status: Status, message: str) -> Upload:
    return replace(upload, status=status, message=message, ended_at=upload.updated_at)
