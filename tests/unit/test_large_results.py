"""What it takes to put a very large result together: calls are counted, and their time is modelled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Self
from unittest.mock import patch

import pytest
from batch_queue.aws import bucket as bucket_module
from batch_queue.aws import pool
from batch_queue.aws.bucket import Bucket
from batch_queue.aws.listing import Listing
from batch_queue.aws.patience import Patience
from batch_queue.core import joining, names
from batch_queue.core.rows import Chunk, Status, Upload
from batch_queue.core.settings import Settings
from batch_queue.steps.finish import Finish
from batch_queue.steps.queue import Queue
from batch_queue.steps.run import Run
from botocore.exceptions import ClientError

TIMEOUT = 900.0  # of the function, in seconds
RECORDS = 5_000  # of a chunk
#: One byte of an object here stands for so many, so that nothing large is moved.
SCALE = 1024
LIMITS = ("MIN_PART_BYTES", "MAX_PART_BYTES", "LARGEST_PART_BYTES")
#: S3's performance guidelines: 100 to 200 ms for a small request, 85 to 90 MB/s for one that moves data.
CALL_SECONDS = 0.15
BYTES_PER_SECOND = 85e6
#: What a function itself can move, however many its requests (measured by others, AWS does not document it).
FUNCTION_BYTES_PER_SECOND = 75e6


@pytest.fixture(autouse=True)
def _scaled() -> Iterator[None]:
    """S3's limits at the scale of this module."""
    limits = {name: getattr(joining, name) // SCALE for name in LIMITS}
    with (
        patch.multiple(joining, **limits),
        patch.object(bucket_module, "MIN_RANGE_COPY_SOURCE", limits["MIN_PART_BYTES"] + 1),
        patch.object(bucket_module, "MAX_SINGLE_COPY", bucket_module.MAX_SINGLE_COPY // SCALE),
    ):
        yield


class S3:
    """Objects as their sizes. Each call takes its time, of which ten calls of a pool take theirs at once."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self.calls: Counter[str] = Counter()
        self.now = 0.0
        self.at_once = 1
        self._parts: dict[int, int] = {}

    def _call(self, kind: str, copied: int = 0, moved: int = 0) -> None:
        """``copied``: bytes that S3 copies; ``moved``: bytes that go through the function."""
        self.calls[kind] += 1
        at_once = min(self.at_once, bucket_module.STREAMED_AT_ONCE) if moved else self.at_once
        self.now += (CALL_SECONDS + copied * SCALE / BYTES_PER_SECOND) / at_once
        self.now += moved * SCALE / FUNCTION_BYTES_PER_SECOND

    def head_object(self, **call: Any) -> Any:
        self._call("head")
        if call["Key"] not in self.sizes:
            raise ClientError({"Error": {"Code": "404"}}, "HeadObject")
        return {"ContentLength": self.sizes[call["Key"]]}

    def get_paginator(self, operation: str) -> Any:
        def paginate(**call: Any) -> Iterator[Any]:
            if operation == "list_objects_v2":
                keys = [key for key in self.sizes if key.startswith(call["Prefix"])]
                for at in range(0, max(1, len(keys)), 1000):
                    self._call("list")
                    yield {
                        "Contents": [{"Key": key, "Size": self.sizes[key]} for key in keys[at : at + 1000]]
                    }

        return type("Paginator", (), {"paginate": staticmethod(paginate)})()

    def create_multipart_upload(self, **_: Any) -> Any:
        self._call("other")
        self._parts = {}
        return {"UploadId": "1"}

    def upload_part_copy(self, **call: Any) -> Any:
        size = size_of(call["CopySourceRange"])
        self._call("copy", copied=size)
        self._parts[call["PartNumber"]] = size
        return {"CopyPartResult": {"ETag": ""}}

    def upload_part(self, **call: Any) -> Any:
        size = len(call["Body"])
        self._call("put", moved=size)
        self._parts[call["PartNumber"]] = size
        return {"ETag": ""}

    def complete_multipart_upload(self, **call: Any) -> Any:
        self._call("other")
        assert len(self._parts) <= 10_000
        self.sizes[call["Key"]] = sum(self._parts.values())
        return {"VersionId": "v"}

    def get_object(self, **call: Any) -> Any:
        size = size_of(call["Range"])
        self._call("get", moved=size)
        return {"Body": Body(size)}

    def put_object(self, **call: Any) -> Any:
        self._call("put")
        self.sizes[call["Key"]] = 1
        return {}

    def delete_objects(self, **call: Any) -> Any:
        self._call("other")
        for each in call["Delete"]["Objects"]:
            del self.sizes[each["Key"]]
        return {}


def size_of(span: str) -> int:
    """How many bytes a range of HTTP is."""
    first, last = span.removeprefix("bytes=").split("-")
    return int(last) - int(first) + 1


class Body:
    """A stream of zeros."""

    def __init__(self, size: int) -> None:
        self._size = size

    def iter_chunks(self, _: int) -> Iterator[bytes]:
        yield bytes(self._size)

    def close(self) -> None:
        return


def pool_of(s3: S3) -> type:
    """A pool whose calls take a tenth of their time, one after the other."""

    class Pool:
        def __init__(self, max_workers: int) -> None:
            self._workers = max_workers

        def __enter__(self) -> Self:
            s3.at_once = self._workers
            return self

        def __exit__(self, *_: object) -> None:
            s3.at_once = 1

        def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
            return [function(item) for item in items]

    return Pool


class Rows:
    """The table's rows of one upload whose chunks have all ended."""

    def __init__(self, chunks: int) -> None:
        upload = Upload("u", "bucket", "to-process/a.jsonl", "default", Status.IN_PROGRESS, "now")
        records = chunks * RECORDS
        self.upload = replace(upload, records=records, success_count=records, chunks=chunks)
        self.parts = [
            names.settled_key("jobs/", Chunk("u", number, "default", "", 0, 0, 50, "", attempt=2), "x")
            for number in range(1, chunks + 1)
        ]
        self._chunks = [
            Chunk("u", number, "default", "", 0, 0, 50, "", attempt=2, status=Status.COMPLETED, parts=(part,))
            for number, part in enumerate(self.parts, start=1)
        ]
        self.uploads = self.chunks = self.models = self

    def all(self, _: object) -> dict[str, Upload]:
        return {"u": self.upload}

    def only(self, _: object) -> dict[str, Chunk]:
        return {}

    def of(self, _: Upload) -> list[Chunk]:
        return self._chunks

    def finish(self, upload: Upload) -> bool:
        self.upload = upload
        return True


@pytest.mark.parametrize(
    ("chunks", "size", "most_runs"),
    [
        pytest.param(200, 4_500_000, 1, id="1 million records, 0.9 GB, streamed: too small to be copied"),
        pytest.param(2_000, 5_500_000, 1, id="10 million records, 11 GB, copied"),
        pytest.param(10_000, 5_500_000, 1, id="50 million records, 55 GB, copied"),
        pytest.param(10_000, 4_500_000, 3, id="50 million records, 45 GB, streamed"),
        pytest.param(10_000, 25_000_000, 2, id="50 million records, 250 GB, copied"),
        pytest.param(10_000, 160_000_000, 2, id="50 million records, 1.6 TB, copied"),
        pytest.param(100_000, 55_000, 10, id="as many chunks as an upload may have, of 50 records each"),
    ],
)
def test_a_result_of_any_size_is_put_together_in_runs_that_end_in_time(
    chunks: int, size: int, most_runs: int
) -> None:
    # Given an upload whose chunks have all ended, with one part of ``size`` bytes each
    s3, rows = S3(), Rows(chunks)
    s3.sizes = dict.fromkeys(rows.parts, size // SCALE)
    any_s3: Any = s3
    any_table: Any = rows
    any_functions: Any = None
    queue = Queue(
        Settings("q", "t", "bucket"),
        any_table,
        Bucket(any_s3, "bucket"),
        Listing(any_s3, "bucket"),
        any_functions,
        lambda: s3.now,
        Patience(),
    )
    # When runs of 900 s join them, a run after the other
    runs = []
    with patch.object(pool, "ThreadPoolExecutor", pool_of(s3)):
        while rows.upload.status != Status.COMPLETED:
            began = s3.now
            run = Run(queue.clock, "collect", TIMEOUT)
            Finish(queue, {}, {}).uploads(["u"], run)
            assert not run.errors
            runs.append(s3.now - began)
            assert max(runs) < TIMEOUT
            assert len(runs) <= most_runs
    # Then there is a result of all of them, no run takes too long, and nothing else is left
    assert s3.sizes["processed/a.jsonl.out"] == chunks * (size // SCALE)
    assert not [key for key in s3.sizes if key.startswith("jobs/")]
    # for each part, a look at its size, and a copy or what streams it
    assert s3.calls.total() <= chunks * 2.6 + chunks * size / (500 << 20) + 1_200
    took = ", ".join(f"{seconds:.0f}" for seconds in runs)
    print(f"{chunks:,} chunks of {size / 1e6:.2f} MB: {dict(s3.calls)}; {took} s")
