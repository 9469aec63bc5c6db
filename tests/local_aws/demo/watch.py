"""The running queue from outside: its bucket, its table, and Bedrock's list of jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from batch_queue.aws.patience import Patience
from batch_queue.aws.table import Table
from batch_queue.core import names, scheduling
from batch_queue.core.rows import ACTIVE, TERMINAL, Route, Upload
from botocore.config import Config

from tests.local_aws.demo.board import UPLOADED, JobLine, Snapshot, UploadLine
from tests.local_aws.demo.data import Requests
from tests.local_aws.demo.verdict import Ended
from tests.local_aws.environment import LocalAws
from tests.local_aws.simulator import SimulatorControl

#: A LocalStack that hangs is told from a slow one within seconds.
_PATIENCE = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 3})
INPUT_PREFIX = "to-process/"


@dataclass(frozen=True)
class Shipped:
    """One upload made: what, and the id under which the queue knows it."""

    requests: Requests
    key: str
    upload_id: str


class Queue:
    """Ships requests into an applied stack and looks at what becomes of them; it never calls a function."""

    def __init__(self, stack: LocalAws) -> None:
        aws = stack.session()
        self._stack = stack
        self._bucket: str = stack.outputs["bucket_name"]
        self._s3: Any = aws.client("s3", config=_PATIENCE)
        self._sqs: Any = aws.client("sqs", config=_PATIENCE)
        dynamodb = aws.client("dynamodb", config=_PATIENCE)
        self._table = Table(dynamodb, stack.outputs["table_name"], Patience())
        self._bedrock: Any = stack.bedrock_client()
        self._control = SimulatorControl(stack.bedrock.endpoint, timeout=20)
        self._rows: dict[str, Upload] = {}
        self.routes: Mapping[str, Route] = self._table.models.routes()
        self.shipped: list[Shipped] = []

    def ship(self, requests: Requests) -> None:
        """Upload one file; S3 tells the queue of it."""
        key = INPUT_PREFIX + requests.path
        done = self._s3.put_object(Bucket=self._bucket, Key=key, Body=requests.body)
        upload_id = names.upload_id(self._bucket, key, done["VersionId"])
        self.shipped.append(Shipped(requests, key, upload_id))

    def route(self, shipped: Shipped) -> Route:
        """The route that an upload is to take."""
        return self.routes[names.route_name(shipped.key, INPUT_PREFIX, self.routes)]

    def look(self) -> Snapshot:
        """Read the uploads' rows, and from Bedrock the jobs."""
        for one in self.shipped:
            known = self._rows.get(one.upload_id)
            if (known is None or known.status not in TERMINAL) and (
                row := self._table.uploads.get(one.upload_id)
            ):
                self._rows[one.upload_id] = row
        found = self._jobs()
        active = Counter(names.base_model(job["modelId"]) for job in found if job["status"] in ACTIVE)
        limits = scheduling.model_limits(self.routes.values())
        return Snapshot(
            tuple(self._upload_line(one) for one in self.shipped),
            tuple(self._job_line(job) for job in found),
            {name: (active[name], limit) for name, limit in limits.items()},
        )

    def _jobs(self) -> list[dict[str, Any]]:
        pages = self._bedrock.get_paginator("list_model_invocation_jobs").paginate(
            nameContains=f"{self._stack.name}-", sortBy="CreationTime", sortOrder="Ascending"
        )
        return [job for page in pages for job in page["invocationJobSummaries"]]

    def _upload_line(self, one: Shipped) -> UploadLine:
        row = self._rows.get(one.upload_id)
        return UploadLine(
            one.requests.path,
            row.route if row else self.route(one).name,
            one.requests.lines,
            str(row.status) if row else UPLOADED,
        )

    def _job_line(self, job: Mapping[str, Any]) -> JobLine:
        return JobLine(
            names.job_id_of(self._stack.name, job["jobName"]) or job["jobName"],
            job["modelId"],
            job["status"],
            job.get("processedRecordCount", 0),
            job.get("totalRecordCount", 0),
        )

    @property
    def finished(self) -> bool:
        """Whether every upload has ended, as of the last look."""
        return not self.open()

    def open(self) -> list[str]:
        """What has not ended as of the last look: path, status and message of each upload."""
        left = []
        for one in self.shipped:
            row = self._rows.get(one.upload_id)
            if row is None:
                left.append(f"{one.requests.path}: not in the queue's table yet")
            elif row.status not in TERMINAL:
                left.append(
                    f"{one.requests.path}: {row.status}" + (f", {row.message}" if row.message else "")
                )
        return left

    def ended(self, one: Shipped) -> Ended:
        """What became of an upload, with its result (the version that its row names) or its report."""
        row = self._table.uploads.get(one.upload_id)
        if row is None:
            return Ended("")
        uri, body = "", None
        if row.result_key:
            uri = f"s3://{self._bucket}/{row.result_key}"
            version = {"VersionId": row.result_version_id} if row.result_version_id else {}
            found = self._s3.get_object(Bucket=self._bucket, Key=row.result_key, **version)
            body = found["Body"].read()
        return Ended(str(row.status), row.message, row.success_count, row.error_count, uri, body)

    def peaks(self) -> dict[str, tuple[int, int]]:
        """Base model → the most jobs that Bedrock had active at once, and how many there may be."""
        models = self._control.state()["models"]
        limits = scheduling.model_limits(self.routes.values())
        return {name: (models.get(name, {}).get("peak_active", 0), limit) for name, limit in limits.items()}

    def dead_letters(self) -> int:
        """How many invocations failed for good."""
        attributes = self._sqs.get_queue_attributes(
            QueueUrl=self._stack.outputs["dead_letter_queue"]["url"],
            AttributeNames=["ApproximateNumberOfMessages"],
        )
        return int(attributes["Attributes"]["ApproximateNumberOfMessages"])
