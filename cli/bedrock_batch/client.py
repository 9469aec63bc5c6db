"""The Python client: submits files, waits for them, and reads their results (docs/client.md)."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from batch_queue.aws.bucket import Bucket, ObjectDeniedError, ObjectGoneError
from batch_queue.aws.listing import Listing
from batch_queue.aws.pool import LIGHT_BYTES, by_size
from batch_queue.core import names
from batch_queue.core.objects import NewObject, ObjectRef
from batch_queue.core.rows import TERMINAL, Job, Route, Status
from batch_queue.core.rows import Upload as Row
from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig

from . import defaults, estimating, local, results, rows
from .connection import Connection, told
from .errors import InputError, PassingError, RefusedError, TimedOutError
from .local import Checked

if TYPE_CHECKING:
    import boto3

# The metadata of an object that says which file it was.
SHA256 = "bedrock-batch-sha256"
# An upload is looked at after so many seconds at first, and at most.
FIRST_LOOK = 1.0
LAST_LOOK = 15.0
# A wait ends if AWS has not answered for so many seconds.
LONGEST_OUTAGE = 3600.0
# How often the reading of an object goes on without a byte more, before it ends with the error.
MOST_READS = 8
# How many earlier uploads of a route tell what the next one will use.
EARLIER = 50
Progress = Callable[[int], None]
T = TypeVar("T")


def _nothing(_: object) -> None:
    """Tells nobody."""


class RejectedError(InputError):
    """Files that the queue would reject, found before they were uploaded. ``checked``: what was found."""

    def __init__(self, checked: Sequence[Checked]) -> None:
        bad = [one for one in checked if one.fault_count]
        files = "1 file has" if len(bad) == 1 else f"{len(bad):,} files have"
        super().__init__(
            f"{files} errors, and nothing was uploaded. Correct these lines:\n{local.first_faults(bad)}"
        )
        self.checked = tuple(checked)


class Queue:
    """One queue, by its name, which is the input ``name`` of the module.

    >>> queue = Queue("br-batch-inference")
    >>> for record in queue.submit("reviews.jsonl").wait().results():
    ...     print(record["recordId"], record.get("modelOutput"))

    ``session``: a boto3 session; by default one with the environment's credentials and Region. Methods raise
    InputError for the caller's mistakes and RefusedError for what AWS refuses.
    """

    def __init__(self, name: str = defaults.QUEUE, *, session: boto3.Session | None = None) -> None:
        self.name = name
        self.connection = Connection(name, session)

    # --------------------------------------------------------------------------------------------- submit

    def routes(self) -> dict[str, Route]:
        """Returns the routes that are configured, by name."""
        with told(self.name):
            return self.connection.table.models.routes()

    def check(
        self, path: str | Path, *, to: str = "", route: str = "", progress: Progress = _nothing
    ) -> list[Checked]:
        """Reads a file, or all ``.jsonl`` files below a folder, as the queue will, and uploads nothing.

        ``to``: the folder below the input prefix. ``route``: the route to run on, instead of the one that the
        first folder selects. ``progress`` gets the number of bytes of each block that was read.
        """
        found, _ = self.sources(path, to=to, route=route)
        return self.check_all(found, progress)

    def sources(self, path: str | Path, *, to: str = "", route: str = "") -> tuple[list[local.Source], int]:
        """Returns the files that ``check`` reads, with their keys, and how many it leaves out."""
        prefix = self.connection.about.input_prefix
        return local.sources(Path(path), prefix, self.routes(), to=to, route=route)

    def check_all(self, found: Iterable[local.Source], progress: Progress = _nothing) -> list[Checked]:
        """Reads files of ``sources`` as the queue will; see ``check``."""
        routes, settings = self.routes(), self.connection.about.settings
        return [local.check(one, self._route(one, routes), settings, progress) for one in found]

    def _route(self, source: local.Source, routes: Mapping[str, Route]) -> Route:
        if source.route not in routes:
            raise InputError(
                f"the queue {self.name} has no route {source.route}. Its routes are {', '.join(routes)}"
            )
        return routes[source.route]

    def expected(self, checked: Collection[Checked]) -> list[estimating.Expected]:
        """Returns what files that were checked are expected to take, by route."""
        routes = self.routes()
        with told(self.name):
            earlier = rows.uploads(
                self.connection, (Status.COMPLETED, Status.PARTIALLY_COMPLETED), most=EARLIER
            )
            return [
                estimating.expected(routes[name], some, self.connection.table, earlier, time.time())
                for name, some in local.routes_of(checked, routes).items()
            ]

    def submit(
        self,
        what: str | Path | Iterable[Mapping[str, Any]],
        *,
        name: str = "",
        to: str = "",
        route: str = "",
    ) -> Submission:
        """Checks and uploads a file, all ``.jsonl`` files below a folder, or records.

        Records are objects with a ``recordId`` and a ``modelInput``. ``name``: the name of their file; by
        default it is made from their contents, so that the same records are the same upload. See ``check``
        for ``to`` and ``route``. Raises RejectedError for files that the queue would reject.
        """
        if isinstance(what, str | Path):
            return self.upload_all(self.check(what, to=to, route=route))
        with tempfile.TemporaryDirectory() as folder:
            path = _written(what, Path(folder), name)
            return self.upload_all(self.check(path, to=to, route=route))

    def upload_all(self, checked: Sequence[Checked], progress: Progress = _nothing) -> Submission:
        """Uploads files that were checked. What the bucket has already is not sent again.

        ``progress`` gets the number of bytes of each block that was sent. Raises RejectedError.
        """
        if any(one.fault_count for one in checked):
            raise RejectedError(checked)
        # The client is made here, because a boto3 session is not for several threads. A large file has the
        # threads of boto3 to itself, and small ones are uploaded many at once.
        upload = partial(self._upload, self.connection.listing, progress)
        return Submission(self, by_size(upload, checked, lambda one: one.size))

    def _upload(self, listing: Listing, progress: Progress, checked: Checked) -> Upload:
        source = checked.source
        if (there := self._there(listing, source.key, checked.sha256)) is not None:
            progress(checked.size)
            return Upload(self, there, sent=False)
        s3, bucket = self.connection.s3, self.connection.about.bucket
        try:
            if checked.changed():
                raise InputError(f"{source.path} was changed after it was checked. Run the command again")
            with told(self.name):
                s3.upload_file(
                    str(source.path),
                    bucket,
                    source.key,
                    ExtraArgs={"Metadata": {SHA256: checked.sha256}, "ContentType": "application/x-ndjson"},
                    Callback=progress,
                    Config=TransferConfig(use_threads=checked.size > LIGHT_BYTES),
                )
            if checked.changed():
                raise InputError(
                    f"{source.path} was changed while it was uploaded to {source.key}, and what the bucket "
                    "has may be neither the old nor the new file. Cancel that upload with bedrock-batch "
                    "cancel, and submit the file under another name"
                )
        except OSError as error:
            raise InputError(f"{source.path} cannot be read: {error.strerror}") from error
        except S3UploadFailedError as error:
            raise RefusedError(f"AWS refused the upload: {error}") from error
        there = self._there(listing, source.key, checked.sha256)
        if there is None:
            raise InputError(
                f"{source.path} was uploaded, but another version took the place of {source.key} at once. "
                "bedrock-batch status says what became of that"
            )
        return Upload(self, there)

    def _there(self, listing: Listing, key: str, sha256: str) -> NewObject | None:
        """Returns the current version of an object if it has these contents."""
        bucket = self.connection.about.bucket
        with told(self.name):
            # A list, because without the right to list all of the bucket, HeadObject answers 403, not 404.
            current = [one for one in listing.versions_of(key) if one.current]
            if not current:
                return None
            version: Any = {"VersionId": current[0].version_id} if current[0].version_id else {}
            found = self.connection.s3.head_object(Bucket=bucket, Key=key, **version)
        return current[0].object(bucket) if found["Metadata"].get(SHA256) == sha256 else None

    # --------------------------------------------------------------------------------------------- uploads

    def upload(self, path: str) -> Upload:
        """Returns an upload by its path below the input prefix, its key, its S3 URI or its upload id.

        A path names the current version of the object. Raises InputError if there is no such object.
        """
        if names.ids_in(path) == [path]:
            with told(self.name):
                row = self.connection.table.uploads.get(path)
            if row is None:
                raise InputError(f"the queue {self.name} has no upload with the id {path}")
            return self.of(row)
        key = self.key_of(path)
        with told(self.name):
            versions = self.connection.listing.versions_of(key)
        if not versions:
            folder = "" if key.endswith(local.SUFFIX) else ". A folder ends with a slash"
            raise InputError(
                f"{key} is not in the bucket {self.connection.about.bucket}. Name a path below "
                f"{self.connection.about.input_prefix}, or an upload ID{folder}. bedrock-batch status / "
                "lists the uploads"
            )
        return Upload(self, versions[0].object(self.connection.about.bucket))

    def of(self, row: Row) -> Upload:
        """Returns the upload of a row."""
        about = NewObject(row.bucket, row.key, row.version_id, row.etag, row.created_at)
        return Upload(self, about, upload_id=row.upload_id)

    def key_of(self, path: str) -> str:
        """Returns the key that a path, a key or an S3 URI names. Raises InputError for another bucket."""
        about = self.connection.about
        if path.startswith("s3://"):
            bucket, _, key = path.removeprefix("s3://").partition("/")
            if bucket != about.bucket:
                raise InputError(
                    f"{path} is in another bucket: the uploads of {self.name} are in {about.bucket}"
                )
            path = key
        path = path.removeprefix("/")
        if not results.encodable(path):
            raise InputError(f"{path!a} is no UTF-8, and so no key of S3")
        for ending in (".out", ".summary.json", ".rejected.json"):
            if path.startswith(about.output_prefix) and path.endswith(f"{local.SUFFIX}{ending}"):
                path = path.removeprefix(about.output_prefix).removesuffix(ending)
        return path if path.startswith(about.input_prefix) else about.input_prefix + path

    def uploads(
        self, *, statuses: Iterable[Status] = tuple(Status), since: str = "", most: int | None = None
    ) -> list[Row]:
        """Returns the rows of uploads, newest first; see ``rows.uploads``."""
        return rows.uploads(self.connection, statuses, since=since, most=most)

    def uploads_below(self, folder: str, most: int | None = None) -> list[Row]:
        """Returns the rows of the current versions of all uploads below a folder, by key."""
        prefix = self._folder(folder)
        about = self.connection.about
        ids: list[str] = []
        with told(self.name):
            for page, _ in self.connection.listing.versions(prefix):
                ids += [one.object(about.bucket).upload_id for one in page if one.current]
                if most is not None and len(ids) >= most:
                    break
            found = self.connection.table.uploads.all(ids[:most])
        return sorted(found.values(), key=lambda row: row.key)

    def jobs(
        self, *, statuses: Iterable[Status] = tuple(Status), since: str = "", most: int | None = None
    ) -> list[Job]:
        """Returns the rows of jobs, newest first; see ``rows.jobs``."""
        return rows.jobs(self.connection, statuses, since=since, most=most)

    def open_jobs(self) -> list[Job]:
        """Returns the jobs that run, or whose results are not collected yet, oldest first."""
        with told(self.name):
            return [job for job in self.connection.table.jobs.active() if not job.collected_at]

    # --------------------------------------------------------------------------------------------- orders

    def order(self, order: str, **members: str) -> dict[str, Any]:
        """Gives an order to ``operate_queue`` (docs/orders.md) and returns its answer.

        Members that are "" are left out.
        """
        given = {name: text for name, text in members.items() if text}
        return self.connection.invoke("operate_queue", {"order": order, **given})

    def status(self) -> dict[str, Any]:
        """Returns the pauses, and the slots of each model with the jobs that hold them."""
        return self.order("status")

    def pause(self, route: str = "", *, by: str, why: str) -> dict[str, Any]:
        """Pauses a route, or the whole queue."""
        return self.order("pause", route=route, by=by, why=why)

    def resume(self, route: str = "", *, by: str = "") -> dict[str, Any]:
        """Ends the pause of a route, or of the whole queue."""
        return self.order("resume", route=route, by=by)

    def cancel_below(self, folder: str, *, by: str = "", why: str = "") -> dict[str, Any]:
        """Cancels all uploads below a folder."""
        return self.order("cancel", prefix=self._folder(folder), by=by, why=why)

    def sweep(self, folder: str = "") -> dict[str, Any]:
        """Has the queue look for uploads whose event was lost, whatever their age, also only in a folder."""
        return self.order("sweep", prefix=self._folder(folder) if folder else "")

    def _folder(self, path: str) -> str:
        """Returns the key prefix of a folder."""
        return self.key_of(path.rstrip("/") + "/")


def again(
    look: Callable[[], T], timeout: float | None = None, trouble: Callable[[PassingError], None] = _nothing
) -> Iterator[T]:
    """Yields what ``look`` returns, again and again, for ``timeout`` seconds or for ever.

    It looks every second at first, and every 15 seconds in the end. Errors that pass do not end it, unless
    nothing else comes for an hour; ``trouble`` gets each of them.
    """
    began = answered = time.monotonic()
    while True:
        try:
            found = look()
        except PassingError as error:
            if time.monotonic() - answered >= LONGEST_OUTAGE:
                raise
            trouble(error)
        else:
            answered = time.monotonic()
            yield found
        waited = time.monotonic() - began
        left = LAST_LOOK if timeout is None else timeout - waited
        if left <= 0:
            return
        time.sleep(min(LAST_LOOK, FIRST_LOOK + waited / 30, left))


def runs_again(row: Row) -> bool:
    """Returns whether an upload has a run that has not ended, and the result of the run before."""
    return row.run > 1 and row.status not in TERMINAL and bool(row.result_key)


class Upload:
    """One upload: an object version that the queue runs.

    ``sent``: it was sent by this client just now, and was not in the bucket before.
    """

    def __init__(self, queue: Queue, about: NewObject, *, upload_id: str = "", sent: bool = True) -> None:
        self._queue = queue
        self._about = about
        self.upload_id = upload_id or about.upload_id
        self.key = about.key
        self.sent = sent

    def __repr__(self) -> str:
        return f"Upload({self.key!r}, upload_id={self.upload_id!r})"

    def state(self) -> Row | None:
        """Returns the row of the upload, or None as long as the queue does not know it."""
        with told(self._queue.name):
            return self._queue.connection.table.uploads.get(self.upload_id)

    def wait(self, timeout: float | None = None) -> Upload:
        """Waits until the upload has ended, and returns it.

        Raises TimedOutError after ``timeout`` seconds.
        """
        Submission(self._queue, [self]).wait(timeout)
        return self

    def ended(self) -> Row:
        """Returns the row of the upload. Raises InputError if the upload has not ended."""
        row = self.state()
        if row is None:
            self.must_come()
            raise InputError(
                f"the queue does not know {self.key} yet: its event may be on its way. Try again in a "
                "minute. bedrock-batch sweep finds an upload whose event was lost"
            )
        if row.status not in TERMINAL:
            raise InputError(f"{self.key} has not ended: it is {row.status}. bedrock-batch explain says more")
        return row

    def _answered(self) -> Row:
        """Returns the row of the upload. Raises InputError if it names no result."""
        row = self.state()
        if row is None or not runs_again(row):
            row = self.ended()
        if not row.result_key or names.is_report(row.result_key):
            raise InputError(f"{self.key} has no result: it ended as {row.status}. {row.message}".strip())
        return row

    def must_come(self) -> None:
        """Raises InputError if the upload has no row and will get none, because it has ended long ago."""
        about = self._queue.connection.about
        for key_of in (names.summary_key, names.report_key):
            key = key_of(self.key, about.input_prefix, about.output_prefix)
            try:
                document = self._document(key)
            except RefusedError:
                return  # it cannot be told
            if document.get("upload_id") == self.upload_id:
                raise InputError(
                    f"{self.key} has ended long ago, and its row has expired. What became of it is in "
                    f"s3://{about.bucket}/{key}. To run it again, upload it under another name"
                )

    def blocks(self) -> Iterator[bytes]:
        """Yields the bytes of the result, in blocks. Raises InputError if there is no result.

        As long as another run of the upload has not ended, the result is that of the run before.
        """
        row = self._answered()
        yield from self._read(ObjectRef(row.result_key, row.result_version_id))

    def results(self) -> Iterator[dict[str, Any]]:
        """Yields the records of the result with ``modelOutput`` or ``error``, in no order."""
        return results.records(self.blocks())

    def joined(self) -> Iterator[dict[str, Any]]:
        """Yields the records in the order of the input, each with its ``modelOutput`` or ``error``."""
        row = self._answered()
        upload = self._read(ObjectRef(row.key, row.version_id, row.etag))
        return results.joined(upload, self.blocks())

    def summary(self) -> dict[str, Any]:
        """Returns the summary of the upload, which has errors by code, tokens and cost; {} without one."""
        row = self.ended()
        about = self._queue.connection.about
        key = names.summary_key(row.key, about.input_prefix, about.output_prefix)
        found = self._document(key)
        return found if found.get("upload_id") == self.upload_id else {}

    def rejection(self) -> dict[str, Any]:
        """Returns the rejection report of the upload, or {} if it was not rejected."""
        row = self.ended()
        return self._document(row.result_key, row.result_version_id) if row.status == Status.REJECTED else {}

    def explain(self) -> dict[str, Any]:
        """Returns how far the upload is, what it waits for, and when it is expected to end."""
        return self._queue.order("explain", upload_id=self.upload_id)

    def cancel(self, *, by: str = "", why: str = "") -> dict[str, Any]:
        """Cancels the upload."""
        return self._queue.order("cancel", upload_id=self.upload_id, by=by, why=why)

    def retry(self, *, by: str = "", why: str = "") -> dict[str, Any]:
        """Runs the records of an ended upload that have no answer."""
        return self._queue.order("retry", upload_id=self.upload_id, by=by, why=why)

    def _document(self, key: str, version_id: str = "") -> dict[str, Any]:
        try:
            document: dict[str, Any] = json.loads(b"".join(self._read(ObjectRef(key, version_id))))
        except InputError:
            return {}
        return document

    def _read(self, ref: ObjectRef) -> Iterator[bytes]:
        """Yields the bytes of an object. If the connection breaks off, it goes on where it was."""
        is_exact = bool(ref.version_id or ref.etag)
        at = tries = 0
        while True:
            try:
                for block in self._read_from(ref, at):
                    yield block
                    at, tries = at + len(block), 0
            except PassingError:
                tries += 1
                if not is_exact or tries > MOST_READS:
                    raise
                time.sleep(tries)
            else:
                return

    def _read_from(self, ref: ObjectRef, at: int) -> Iterator[bytes]:
        connection = self._queue.connection
        bucket = Bucket(connection.s3, connection.about.bucket)
        with told(self._queue.name):
            try:
                size = bucket.size(ref) if at else 0
                if not at:
                    yield from bucket.stream(ref)
                elif at < size:
                    yield from bucket.stream(ref, (at, size))
            except ObjectGoneError as error:
                raise InputError(f"{ref.key} was deleted from the bucket {bucket.name}") from error
            except ObjectDeniedError as error:
                raise RefusedError(f"S3 denied access to {ref.key}: {error}") from error


class Submission(Sequence[Upload]):
    """The uploads of one call of ``submit``."""

    def __init__(self, queue: Queue, uploads: Sequence[Upload]) -> None:
        self._queue = queue
        self._uploads = tuple(uploads)

    def __len__(self) -> int:
        return len(self._uploads)

    @overload
    def __getitem__(self, at: int) -> Upload: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Upload]: ...
    def __getitem__(self, at: int | slice) -> Upload | Sequence[Upload]:
        return self._uploads[at]

    def states(self) -> dict[str, Row]:
        """Returns upload id → row of those that the queue knows."""
        return self._rows([one.upload_id for one in self._uploads])

    def _rows(self, upload_ids: Sequence[str]) -> dict[str, Row]:
        with told(self._queue.name):
            return self._queue.connection.table.uploads.all(upload_ids)

    def watch(
        self, timeout: float | None = None, trouble: Callable[[PassingError], None] = _nothing
    ) -> Iterator[dict[str, Row]]:
        """Yields the rows again and again until all uploads have ended; see ``again``.

        Raises TimedOutError after ``timeout`` seconds.
        """
        found: dict[str, Row] = {}

        def left() -> list[str]:
            ids = (one.upload_id for one in self._uploads)
            return [one for one in ids if one not in found or found[one].status not in TERMINAL]

        for looks, new in enumerate(again(lambda: self._rows(left()), timeout, trouble)):
            if not looks:
                self._must_come(new)
            found.update(new)
            yield dict(found)
            if not left():
                return
        raise TimedOutError(
            f"{len(left()):,} of {len(self):,} uploads have not ended within {timeout:,.0f} s. They go on"
        )

    def _must_come(self, found: Mapping[str, Row]) -> None:
        """Raises InputError if an upload that was there before has no row, and will get none."""
        for one in self._uploads:
            if not one.sent and one.upload_id not in found:
                one.must_come()

    def wait(self, timeout: float | None = None) -> Submission:
        """Waits until all uploads have ended. Raises TimedOutError after ``timeout`` seconds."""
        for _ in self.watch(timeout):
            pass
        return self

    def results(self) -> Iterator[dict[str, Any]]:
        """Yields the records of all results, one upload after the other."""
        for one in self._uploads:
            yield from one.results()


def _written(found: Iterable[Mapping[str, Any]], folder: Path, name: str) -> Path:
    """Writes records to a file of this name, or of one that is made from their contents."""
    sha256 = hashlib.sha256()
    path = folder / "records"
    with path.open("wb") as file:
        for record in found:
            try:
                line = json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n"
            except (TypeError, ValueError) as error:
                raise InputError(f"a record cannot be written as JSON: {error}") from error
            sha256.update(line)
            file.write(line)
    return local.named(path, name or f"records-{sha256.hexdigest()[:12]}{local.SUFFIX}")
