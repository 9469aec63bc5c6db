"""The rows of the queue and their statuses: route, upload, chunk, place and job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

ON_DEMAND = "on_demand"
# Stands for the ARN of a job that is run on demand, so that its outputs have a place.
ON_DEMAND_ARN = "on-demand"


class Status(StrEnum):
    """Bedrock's ten job statuses and the four that are ours (Pending, Submitting, Rejected, Cancelled)."""

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


# Bedrock's active statuses in the order in which a job passes through them.
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
    """The statuses that a row may move on to ``status`` from; a terminal status is never in it."""
    order = (Status.PENDING, Status.SUBMITTING, *ACTIVE)
    return order if status in TERMINAL else order[: order.index(status)]


@dataclass(frozen=True, slots=True)
class Route:
    """One row of ``routes``: which model runs the uploads of one folder, and within which limits.

    Terraform writes it with its defaults (``routes.tf``), so that there are none here but for what a row may
    leave out.
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


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a model's jobs take: a fixed overhead, then so many records a second.

    Learned from finished jobs; the defaults hold before there are any. ``jobs``: how many were learned from.
    """

    overhead_seconds: float = 300.0
    records_per_second: float = 10.0
    jobs: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """What one attempt of a chunk came to: records that were answered or failed for good, and tokens."""

    success: int = 0
    error: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Upload:
    """One object version under the input prefix: what the user sees and asks about.

    ``ready``: all its chunks are in the queue.
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


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of whole lines of one upload: what waits in the queue, and runs once or more.

    The bytes to run are ``[start, end)`` of an exact object: of the upload itself at the first attempt, of
    what is to run again afterwards. ``whole``: they are all of the object. ``rewrite``: lines are changed
    on their way to Bedrock (a byte-order mark, blank lines, carriage returns, links to media), so the chunk
    is staged by streaming. ``gone``: the chunk could not be staged, for the reason in ``message``;
    ``error_code`` is then what its records get, or "" where they cannot be read.

    ``records`` is how many are left to run, ``ids`` the ``jsonl.digest_sum`` of their recordIds; ``parts``
    are the keys of the lines of the result so far.
    """

    upload_id: str
    number: int
    route: str
    key: str
    start: int
    end: int
    records: int
    created_at: str
    ids: int = 0
    version_id: str = ""
    etag: str = ""
    rewrite: bool = False
    whole: bool = True
    gone: bool = False
    attempt: int = 1
    not_before: int = 0
    status: Status = Status.PENDING
    job_id: str = ""
    message: str = ""
    error_code: str = ""
    parts: tuple[str, ...] = ()
    last_errors: str = ""
    errors_by_code: Mapping[str, int] = field(default_factory=dict)

    @property
    def ref(self) -> ChunkRef:
        """The chunk at its present attempt, as a job row holds it."""
        return ChunkRef(self.upload_id, self.number, self.attempt, self.records)

    @property
    def place(self) -> Place:
        """The chunk's place in the queue of its route."""
        return Place(self.ref, self.route, self.created_at, self.end - self.start, self.not_before)


@dataclass(frozen=True, slots=True, order=True)
class ChunkRef:
    """What a job row holds of each of its chunks."""

    upload_id: str
    number: int
    attempt: int
    records: int

    @property
    def file_name(self) -> str:
        """The name of the staged file; only characters that Bedrock's ``s3Uri`` pattern allows."""
        return f"{self.upload_id}-{self.number:06d}.jsonl"


@dataclass(frozen=True, slots=True)
class Place:
    """A pending chunk's place in the queue of its route, with what a decision about it needs."""

    ref: ChunkRef
    route: str
    created_at: str
    size_bytes: int
    not_before: int = 0

    @property
    def order_key(self) -> str:
        """Sorts as text: oldest first; an upload's chunks in their order."""
        return f"{self.created_at}#{self.ref.upload_id}#{self.ref.number:06d}"


@dataclass(frozen=True, slots=True)
class Job:
    """One Bedrock batch inference job, or the intent to make one (Submitting, no ARN yet).

    ``request`` holds the exact parameters of CreateModelInvocationJob, stored before Bedrock is called, so
    that a later run repeats the same call with the same client token. ``sealed``: the list of chunks is
    final and every file is staged. ``instead``: what becomes of it rather than a batch job, because its
    records are too few for one: "reject" or "on_demand".
    """

    job_id: str
    job_name: str
    route: str
    model_id: str
    status: Status
    chunks: tuple[ChunkRef, ...]
    request: Mapping[str, Any]
    created_at: str
    sealed: bool = False
    instead: str = ""
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

    @property
    def upload_ids(self) -> tuple[str, ...]:
        """The uploads whose chunks the job runs, each once."""
        return tuple(dict.fromkeys(ref.upload_id for ref in self.chunks))
