"""The demo's queue: what became of the uploads, and what Bedrock and the dead-letter queue say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from batch_queue.core import names, scheduling
from bedrock_batch.client import Queue as Client
from bedrock_batch.client import Upload
from bedrock_batch_simulator import SimulatorControl
from botocore.config import Config

from tests.local_aws.demo.data import Requests
from tests.local_aws.demo.verdict import Ended
from tests.local_aws.environment import LocalAws

#: A LocalStack that hangs is told from a slow one within seconds.
_PATIENCE = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 3})
INPUT_PREFIX = "to-process/"


@dataclass(frozen=True)
class Shipped:
    """One file in the bucket, and what the client knows of it."""

    requests: Requests
    upload: Upload


class Queue:
    """The queue of an applied stack, as its client sees it; it never calls a function."""

    def __init__(self, stack: LocalAws) -> None:
        aws = stack.session()
        self._client = Client(stack.name, session=aws)
        self._bucket: str = stack.outputs["bucket_name"]
        self._letters: str = stack.outputs["dead_letter_queue"]["url"]
        self._s3: Any = aws.client("s3", config=_PATIENCE)
        self._sqs: Any = aws.client("sqs", config=_PATIENCE)
        self._control = SimulatorControl(stack.bedrock.endpoint, timeout=20)
        self.routes = self._client.routes()

    def put(self, requests: Requests) -> Shipped:
        """Upload a file as a program does that does not use the client; S3 tells the queue of it."""
        self._s3.put_object(Bucket=self._bucket, Key=INPUT_PREFIX + requests.path, Body=requests.body)
        return self.shipped(requests)

    def shipped(self, requests: Requests) -> Shipped:
        """A file that is in the bucket."""
        return Shipped(requests, self._client.upload(requests.path))

    def model_of(self, one: Shipped) -> tuple[str, str]:
        """The model and the invocation type that an upload is to run with."""
        route = self.routes[names.route_name(one.upload.key, INPUT_PREFIX, self.routes)]
        return route.model_id, route.invocation_type

    def ended(self, one: Shipped) -> Ended:
        """What became of an upload, with its result (the version that its row names) or its report."""
        row = one.upload.state()
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
            QueueUrl=self._letters, AttributeNames=["ApproximateNumberOfMessages"]
        )
        return int(attributes["Attributes"]["ApproximateNumberOfMessages"])
