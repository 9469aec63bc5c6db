"""The stack as its user sees it, and what its user uploads."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from batch_queue.core import names
from batch_queue.core.rows import TERMINAL
from bedrock_batch_simulator import SimulatorControl

from tests.local_aws.environment import LocalAws

T = TypeVar("T")
FAST = {
    "queue_seconds": 0.5,
    "validation_seconds": 0.5,
    "schedule_seconds": 0.5,
    "records_per_second": 50.0,
    "min_records": 1,
}


def requests(count: int, prefix: str) -> list[dict[str, Any]]:
    return [
        {
            "recordId": f"{prefix}-{number}",
            "modelInput": {
                "anthropic_version": "bedrock-2023-05-31",
                "max_tokens": 20,
                "messages": [{"role": "user", "content": f"Say {prefix} {number}"}],
            },
        }
        for number in range(count)
    ]


def converse(count: int, prefix: str) -> list[dict[str, Any]]:
    return [
        {
            "recordId": f"{prefix}-{number}",
            "modelInput": {"messages": [{"role": "user", "content": [{"text": f"Tell {prefix} {number}"}]}]},
        }
        for number in range(count)
    ]


def lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def eventually(look: Callable[[], T | None], timeout: float, what: str, every: float = 0.1) -> T:
    """Looks until there is something to see, ``every`` so many seconds; fails after ``timeout`` seconds."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if (found := look()) is not None:
            return found
        time.sleep(every)
    return pytest.fail(f"{what} did not happen within {timeout:.0f} s")


class Queue:
    """The stack as its user sees it."""

    def __init__(self, stack: LocalAws, s3: Any, table: Any, bucket: str) -> None:
        self._s3, self._table, self._bucket = s3, table, bucket
        self.simulator = SimulatorControl(stack.bedrock.endpoint)
        self.seen: dict[str, list[str]] = {}

    def upload(self, key: str, body: bytes) -> str:
        answer = self._s3.put_object(Bucket=self._bucket, Key=f"to-process/{key}", Body=body)
        return names.upload_id(self._bucket, f"to-process/{key}", answer["VersionId"])

    def row(self, upload_id: str) -> dict[str, Any] | None:
        row: dict[str, Any] | None = self._table.get_item(
            Key={"pk": upload_id, "sk": "upload"}, ConsistentRead=True
        ).get("Item")
        if row:
            seen = self.seen.setdefault(upload_id, [])
            if row["status"] not in seen:
                seen.append(row["status"])
        return row

    def ended(self, *upload_ids: str, timeout: float = 120) -> list[dict[str, Any]]:
        """Waits until all these uploads have ended; gives their rows."""
        terminal = {str(status) for status in TERMINAL}
        ended: dict[str, dict[str, Any]] = {}

        def look() -> list[dict[str, Any]] | None:
            for upload_id in set(upload_ids) - set(ended):  # each look costs the emulator
                if (row := self.row(upload_id)) and row["status"] in terminal:
                    ended[upload_id] = row
            return [ended[each] for each in upload_ids] if len(ended) == len(set(upload_ids)) else None

        return eventually(look, timeout, f"the end of {len(upload_ids)} uploads", every=0.3)

    def result(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        key, version = row["result_key"], row["result_version_id"]
        body = self._s3.get_object(Bucket=self._bucket, Key=key, VersionId=version)["Body"].read()
        return [json.loads(line) for line in body.split(b"\n") if line]

    def jobs_of(self, *upload_ids: str) -> list[dict[str, Any]]:
        """Bedrock's jobs that have a file of one of these uploads."""
        return [
            job
            for job in self.simulator.jobs()
            if any(file["name"][:32] in upload_ids for file in job["files"])
        ]
