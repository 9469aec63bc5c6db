"""Bedrock's batch jobs under a virtual clock: each answers all records of its folder, after its time."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace
from typing import Any

from tests.support.memory_s3 import MemoryS3, refused
from tests.support.meter import Meter

_ANSWER = (
    b',"modelOutput":{"content":[{"type":"text","text":"Yes."}],'
    b'"usage":{"input_tokens":9,"output_tokens":3}}}\n'
)
_ENDED = "Completed"
_EVENT_SECONDS = 0.1


@dataclass(frozen=True)
class Timeline:
    """How long jobs take, in seconds after they were created, and how fast they are after that.

    ``weight``: how many records each record stands for. ``moves``: False if jobs stay Submitted.
    """

    validating: float = 5.0
    scheduled: float = 60.0
    in_progress: float = 900.0
    records_per_minute: float = 1000.0
    weight: int = 1
    moves: bool = True


@dataclass
class BedrockJob:
    """A job. ``history``: the time of each status, in virtual seconds."""

    request: Mapping[str, Any]
    arn: str
    status: str
    files: Mapping[str, bytes]
    history: dict[str, float] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """How many records it has."""
        return sum(body.count(b"\n") for body in self.files.values())


class FakeBedrock:
    """Stands for boto3's client. ``emit`` gets the event of each change of a status.

    ``foreign``: active jobs of somebody else, for the base model ``model``. They never end.
    """

    def __init__(
        self,
        meter: Meter,
        s3: MemoryS3,
        emit: Callable[[dict[str, Any]], None],
        timeline: Timeline,
        foreign: int = 0,
        model: str = "",
    ) -> None:
        self._meter = meter
        self._s3 = s3
        self._emit = emit
        self._timeline = timeline
        self._foreign = [
            {"jobArn": f"arn:foreign/{number}", "jobName": f"foreign-{number}", "modelId": model}
            for number in range(foreign)
        ]
        self._ids = itertools.count(1)
        self._by_token: dict[str, BedrockJob] = {}
        self.jobs: dict[str, BedrockJob] = {}
        self.gets: Counter[str] = Counter()
        known = SimpleNamespace(
            input_shape=SimpleNamespace(members={"modelInvocationType": None, "serviceTier": None})
        )
        self.meta = SimpleNamespace(
            service_model=SimpleNamespace(operation_model=lambda _: known),
            events=SimpleNamespace(register=lambda *_: None),
        )

    def create_model_invocation_job(self, **request: Any) -> dict[str, str]:
        self._meter.call("CreateModelInvocationJob")
        token = request["clientRequestToken"]
        if token not in self._by_token:
            self._by_token[token] = self._created(request)
        return {"jobArn": self._by_token[token].arn}

    def _created(self, request: Mapping[str, Any]) -> BedrockJob:
        prefix = _prefix(request["inputDataConfig"]["s3InputDataConfig"]["s3Uri"])
        files = {key.removeprefix(prefix): self._s3.body(key) or b"" for key in self._s3.below(prefix)}
        assert files, "a job without a file"
        arn = f"arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/{next(self._ids):012d}"
        job = BedrockJob(request, arn, "Submitted", files, {"Submitted": self._meter.turns.now})
        self.jobs[arn] = job
        times = self._timeline
        if not times.moves:
            return job
        answering = job.records * times.weight * 60 / times.records_per_minute
        for status, at in (
            ("Validating", times.validating),
            ("Scheduled", times.scheduled),
            ("InProgress", times.in_progress),
            (_ENDED, times.in_progress + answering),
        ):
            self._meter.turns.start(partial(self._becomes, job, status), at)
        self._told(job)
        return job

    def _becomes(self, job: BedrockJob, status: str) -> None:
        job.status = status
        job.history[status] = self._meter.turns.now
        if status == _ENDED:
            self._write(job)
        self._told(job)

    def _told(self, job: BedrockJob) -> None:
        detail = {
            "version": "0.0",
            "accountId": "123456789012",
            "batchJobName": job.request["jobName"],
            "batchJobArn": job.arn,
            "batchModelId": f"arn:aws:bedrock:us-east-1::foundation-model/{job.request['modelId']}",
            "status": job.status,
            "failureMessage": "",
            "creationTime": _date(job.history["Submitted"]).strftime("%b %-d, %Y, %-I:%M:%S %p"),
        }
        event = {
            "version": "0",
            "source": "aws.bedrock",
            "detail-type": "Batch Inference Job State Change",
            "account": "123456789012",
            "region": "us-east-1",
            "time": _date(self._meter.turns.now).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "resources": [job.arn],
            "detail": detail,
        }
        self._meter.turns.start(partial(self._emit, event), _EVENT_SECONDS)

    def _write(self, job: BedrockJob) -> None:
        """Writes the output files and the manifest."""
        folder = _prefix(job.request["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"])
        folder += f"{job.arn.rsplit('/', 1)[-1]}/"
        for name, body in job.files.items():
            self._s3.store(f"{folder}{name}.out", body.replace(b"}\n", _ANSWER))
        total = job.records
        counts = {
            "totalRecordCount": total,
            "processedRecordCount": total,
            "successRecordCount": total,
            "errorRecordCount": 0,
            "inputTokenCount": 9 * total,
            "outputTokenCount": 3 * total,
        }
        self._s3.store(f"{folder}manifest.json.out", json.dumps(counts).encode())

    def end_foreign(self, count: int | None = None) -> None:
        """Jobs of somebody else end, by default all. Nobody is told."""
        del self._foreign[:count]

    def get_model_invocation_job(self, **call: Any) -> dict[str, Any]:
        self._meter.call("GetModelInvocationJob")
        self.gets[call["jobIdentifier"]] += 1
        if (job := self.jobs.get(call["jobIdentifier"])) is None:
            raise refused("ResourceNotFoundException", 404, "GetModelInvocationJob")
        ended = {}
        if job.status == _ENDED:
            ended = {
                "endTime": _date(job.history[_ENDED]),
                "successRecordCount": job.records,
                "errorRecordCount": 0,
            }
        return {"jobArn": job.arn, "status": job.status, **ended}

    def get_paginator(self, operation: str) -> FakeBedrock:
        assert operation == "list_model_invocation_jobs"
        return self

    def paginate(self, **call: Any) -> Iterator[dict[str, Any]]:
        """Yields the one page of a list."""
        self._meter.call("ListModelInvocationJobs")
        status, name = call.get("statusEquals", ""), call.get("nameContains", "")
        found = [
            {"jobArn": job.arn, "jobName": job.request["jobName"], "modelId": job.request["modelId"]}
            for job in self.jobs.values()
            if job.status == (status or job.status) and name in job.request["jobName"]
        ]
        yield {"invocationJobSummaries": found + (self._foreign if status == "InProgress" else [])}


def _prefix(uri: str) -> str:
    key = uri.removeprefix("s3://").partition("/")[2]
    return key if key.endswith("/") else f"{key}/"


def _date(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
