"""The rows of the queue and their statuses: route, upload, chunk, place and job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import Any

from .records import dataclass

ON_DEMAND = "on_demand"
FLEX = "flex"
# The values of ``undersized`` that run too few records one by one; any other value rejects them.
ONE_BY_ONE = (ON_DEMAND, FLEX)
# Takes the place of the ARN in the output keys of a job that runs on demand.
ON_DEMAND_ARN = "on-demand"


class Status(StrEnum):
    """Bedrock's ten job statuses and four of the queue (Pending, Submitting, Rejected, Cancelled)."""

    PENDING = "Pending"
    SUBMITTING = "Submitting"
    SUBMITTED = "Submitted"
    VALIDATING = "Validating"
    SCHEDULED = "Scheduled"
    IN_PROGRESS = "InProgress"
    STOPPING = "Stopping"
    COMPLETED = "Completed"
    PARTIALLY_COMPLETED = "PartiallyCompleted"
    FAILED = "Failed"
    STOPPED = "Stopped"
    EXPIRED = "Expired"
    REJECTED = "Rejected"
    CANCELLED = "Cancelled"


class Taken(StrEnum):
    """How far an upload with a row is taken in; ``WHOLE``: it has ended or is fully in the queue."""

    WHOLE = "whole"
    PARTLY = "partly"
    UNREAD = "unread"


# Bedrock's active statuses, in the order in which a job goes through them.
ACTIVE = (Status.SUBMITTED, Status.VALIDATING, Status.SCHEDULED, Status.IN_PROGRESS, Status.STOPPING)
TERMINAL = (
    Status.COMPLETED,
    Status.PARTIALLY_COMPLETED,
    Status.FAILED,
    Status.STOPPED,
    Status.EXPIRED,
    Status.REJECTED,
    Status.CANCELLED,
)


def statuses_before(status: Status) -> tuple[Status, ...]:
    """Returns the statuses from which a row may change to ``status``; never a terminal status."""
    order = (Status.PENDING, Status.SUBMITTING, *ACTIVE)
    return order if status in TERMINAL else order[: order.index(status)]


@dataclass(frozen=True, slots=True)
class Route:
    """One row of ``routes``: the model that runs the uploads of one folder, and the limits of its jobs.

    Terraform writes each row with its defaults (``routes.tf``). The fields with a default here are those that
    a row may leave out.
    """

    name: str
    model_id: str
    invocation_type: str
    max_active_jobs: int
    reserved_slots: int
    priority: int
    min_records_per_job: int
    max_records_per_job: int
    max_records_per_file: int
    max_bytes_per_file: int
    max_bytes_per_job: int
    pack_wait_minutes: int
    undersized: str
    max_record_attempts: int
    media: bool
    tags: Mapping[str, str]
    timeout_hours: int | None = None
    input_price: str = ""
    output_price: str = ""
    quota_code: str | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Since when a route submits nothing new, by whose order and why. ``route``: "" for the whole queue."""

    route: str
    since: str
    by: str
    why: str

    @property
    def words(self) -> str:
        """The pause in words, for people."""
        what = f"the route {self.route}" if self.route else "the queue"
        return f"{what} is paused since {self.since} by {self.by}: {self.why}"


@dataclass(frozen=True, slots=True)
class Pauses:
    """The pauses that hold. ``by_route``: route → its pause; "" → that of the queue."""

    by_route: Mapping[str, Pause]

    def of(self, route: str) -> Pause | None:
        """Returns why a route submits nothing new, or None if it does."""
        return self.by_route.get("") or self.by_route.get(route)


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a model's jobs take: a fixed overhead in seconds, then a rate in records per second.

    Estimated from completed jobs; ``jobs`` is how many. The defaults apply until there is one.
    """

    overhead_seconds: float = 300.0
    records_per_second: float = 10.0
    jobs: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """The counts of one attempt of a chunk: records that succeeded or permanently failed, and tokens."""

    success: int = 0
    error: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, more: Counts) -> Counts:
        """Adds the counts of another attempt."""
        return Counts(
            self.success + more.success,
            self.error + more.error,
            self.input_tokens + more.input_tokens,
            self.output_tokens + more.output_tokens,
        )


def _folder(upload_id: str, run: int) -> str:
    """Returns a folder of an upload in the work area: what a run clears late is not the next one's."""
    return upload_id if run == 1 else f"{upload_id}-{run}"


# DynamoDB's 400 KB for an item are some 5,000 ARNs: the row of an upload names the jobs of this many chunks.
NAMED_CHUNKS = 400


@dataclass(frozen=True, slots=True)
class Upload:
    """One object version under the input prefix, and its status.

    ``ready``: all its chunks are in the queue. ``unread``: S3 has so far denied access to the object, or
    to what tells whether it has run, as ``message`` says; nothing else is known of it. ``expires_at``: when
    DynamoDB may delete the row, in epoch seconds; None if the upload has not ended, or its rows are kept for
    ever. ``job_arns``: the jobs of its first ``NAMED_CHUNKS`` chunks.

    ``run``: 1, and one more for each order to retry it. ``preparing``: the chunks of this run are not all in
    the queue yet; the result is still that of the run before. ``cancelled_at``, ``cancelled_by`` and
    ``cancelled_why``: the order to cancel it, if there is one.
    """

    upload_id: str
    bucket: str
    key: str
    route: str
    status: Status
    created_at: str
    version_id: str = ""
    etag: str = ""
    size_bytes: int = 0
    records: int = 0
    chunks: int = 0
    chunks_open: int = 0
    ready: bool = False
    unread: bool = False
    success_count: int = 0
    error_count: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    job_arns: frozenset[str] = frozenset()
    message: str = ""
    result_key: str = ""
    result_version_id: str = ""
    updated_at: str = ""
    ended_at: str = ""
    expires_at: int | None = None
    run: int = 1
    preparing: bool = False
    cancelled_at: str = ""
    cancelled_by: str = ""
    cancelled_why: str = ""

    @property
    def folder(self) -> str:
        """The name of its folder in the work area, which no other run of it has."""
        return _folder(self.upload_id, self.run)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive whole lines of one upload: the unit that waits in the queue, and runs once or more.

    The records to run are bytes ``[start, end)`` of one object version: the upload itself on the first
    attempt, an object with the records to retry afterwards. ``whole``: the bytes are the whole object.
    ``rewrite``: staging changes lines (a byte-order mark, blank lines, carriage returns, media references),
    so it streams the chunk. ``gone``: the chunk could not be staged, for the reason in ``message``;
    ``error_code`` is then the error code of its records, or "" if they cannot be read.

    ``records`` is how many records are left to run, and ``ids`` the ``digests.digest_sum`` of their
    recordIds. ``attempt`` numbers the jobs that the chunk was in. ``runs`` is how many of them ran its
    records. ``unstarted_since``: when the first of the jobs was created that have ended without running them
    since; "" if the last one ran them.

    ``parts`` are the keys of the objects that hold the chunk's result lines so far. ``origin_start``,
    ``origin_end`` and ``origin_records`` are the bytes ``[start, end)`` of the upload that were the chunk at
    its first attempt, and their records; a row of an earlier version may lack them. ``shard``: which
    partition of its route's queue has its place; 0 in rows of versions that had only one. ``asked``: by the
    hex digits of a recordId's digest, how often the model was invoked on demand without an answer that was
    stored; ``asked_by``: which run counted that last. ``job_arns``: the jobs that have ended with it.

    ``run``: that of its upload for which it is in the queue, or was last. ``cancelled``: its upload is
    cancelled, so that it does not return to the queue from the job that has it.
    """

    upload_id: str
    number: int
    route: str
    key: str
    start: int
    end: int
    records: int
    created_at: str
    shard: int = 0
    ids: int = 0
    version_id: str = ""
    etag: str = ""
    rewrite: bool = False
    whole: bool = True
    gone: bool = False
    attempt: int = 1
    runs: int = 0
    unstarted_since: str = ""
    queued_at: str = ""
    not_before: int = 0
    status: Status = Status.PENDING
    job_id: str = ""
    message: str = ""
    error_code: str = ""
    parts: tuple[str, ...] = ()
    last_errors: str = ""
    errors_by_code: Mapping[str, int] = field(default_factory=dict)
    stop_reasons: Mapping[str, int] = field(default_factory=dict)
    asked: Mapping[str, int] = field(default_factory=dict)
    asked_by: str = ""
    job_arns: frozenset[str] = frozenset()
    origin_start: int = 0
    origin_end: int = 0
    origin_records: int = 0
    run: int = 1
    cancelled: bool = False

    @property
    def folder(self) -> str:
        """The name of the folder of its upload in the work area."""
        return _folder(self.upload_id, self.run)

    @property
    def origin(self) -> tuple[int, int, int] | None:
        """Bytes ``[start, end)`` of the upload that were the chunk, and their records; None if not known."""
        if self.attempt == 1:
            return self.start, self.end, self.records
        return (self.origin_start, self.origin_end, self.origin_records) if self.origin_end else None

    @property
    def ref(self) -> ChunkRef:
        """The chunk at its current attempt, as a job row lists it."""
        return ChunkRef(self.upload_id, self.number, self.attempt, self.records)

    @property
    def place(self) -> Place:
        """The chunk's place in the queue of its route."""
        size = self.end - self.start
        return Place(self.ref, self.route, self.created_at, size, self.not_before, self.queued_at, self.shard)


@dataclass(frozen=True, slots=True, order=True)
class ChunkRef:
    """A reference to a chunk at one attempt, as a job row lists it."""

    upload_id: str
    number: int
    attempt: int
    records: int

    @property
    def is_named(self) -> bool:
        """Whether the row of the upload names the jobs of this chunk."""
        return self.number <= NAMED_CHUNKS

    @property
    def file_name(self) -> str:
        """The name of the staged file; it has only characters that Bedrock's ``s3Uri`` pattern allows."""
        return f"{self.upload_id}-{self.number:06d}.jsonl"


@dataclass(frozen=True, slots=True)
class Place:
    """A pending chunk's place in the queue of its route, with what scheduling needs to know.

    ``queued_at``: when it entered the queue. ``created_at``: the time of the event, which orders the queue.
    ``shard``: the partition of the queue that has it.
    """

    ref: ChunkRef
    route: str
    created_at: str
    size_bytes: int
    not_before: int = 0
    queued_at: str = ""
    shard: int = 0

    @property
    def order_key(self) -> str:
        """The sort key of the queue, as text: oldest upload first, and its chunks in order."""
        return f"{self.created_at}#{self.ref.upload_id}#{self.ref.number:06d}"


@dataclass(frozen=True, slots=True)
class Intent:
    """What a job runs: its chunks, and the exact parameters of CreateModelInvocationJob (``request``).

    It is stored before the call, so that a later run repeats the call with the same client token, and in a
    row of its own: most readers of a job do not need it, and with 2,500 chunks it has 150 KB.
    """

    chunks: tuple[ChunkRef, ...]
    request: Mapping[str, Any]

    @property
    def upload_ids(self) -> tuple[str, ...]:
        """The ids of the uploads whose chunks the job runs, without duplicates."""
        return tuple(dict.fromkeys(ref.upload_id for ref in self.chunks))


@dataclass(frozen=True, slots=True)
class Job:
    """One Bedrock batch inference job, or the intent to create one (Submitting, no ARN yet).

    ``sealed``: the list of chunks is final and every file is staged. ``instead``: what happens instead of a
    batch job because there are too few records for one: "reject", "on_demand" or "flex" (on demand at the
    service tier flex). ``told``: the rows of its uploads say that it was submitted.

    ``tries``: how often in a row it was tried to submit it and nothing came of it, this try included; stored
    before the try, so that a run that is killed counts. ``tried_at``: when the last try began.
    ``unanswered``: before the job had its ARN, Bedrock's last answer was a server error, or was lost.
    ``expires_at``: as of an upload, from when the job is collected.
    """

    job_id: str
    job_name: str
    route: str
    model_id: str
    status: Status
    created_at: str
    sealed: bool = False
    told: bool = False
    instead: str = ""
    tries: int = 0
    tried_at: str = ""
    unanswered: bool = False
    arn: str = ""
    message: str = ""
    records: int = 0
    success_count: int = 0
    error_count: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    submitted_at: str = ""
    started_at: str = ""
    ended_at: str = ""
    collect_requested_at: str = ""
    collected_at: str = ""
    updated_at: str = ""
    expires_at: int | None = None
