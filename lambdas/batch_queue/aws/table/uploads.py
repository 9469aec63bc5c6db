"""The queue's table: every write is conditional, so repeating one changes nothing. Adapter for DynamoDB.

| item | pk / sk | status_key, or how long |
|---|---|---|
| upload | upload id / ``upload`` | ``upload#<status>`` |
| chunk | upload id / ``chunk#000001`` | |
| cut | upload id / ``cut`` | of an upload of many chunks |
| entering | ``entering`` / upload id | of the same, until all its places are there |
| place | ``queue#<route>`` / order key | while its chunk is pending |
| job | job id / ``job`` | ``job#<status>`` |
| active job | ``active`` / job id | until its results are collected |
| route | ``route`` / route name | (written by Terraform) |
| lease | ``control`` / ``lease`` | |

What a run must not miss (places, active jobs) is read from the table itself with strong consistency; the
index lags behind by a moment and answers people's questions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from batch_queue.aws.telemetry import SafeError
from batch_queue.core.rows import (
    TERMINAL,
    Chunk,
    ChunkRef,
    Counts,
    Estimate,
    Job,
    Place,
    Route,
    Status,
    Upload,
    digest_of_cut,
    statuses_before,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table as DynamoTable

INDEX = "status-index"
_TRANSACTION_TRIES = 5
_CHUNKS_AT_ONCE = 40  # TransactWriteItems takes at most 100 items: the upload, and two for each chunk
_BATCH_GET = 100  # BatchGetItem takes at most 100 keys


class CutError(SafeError):
    """Two runs cut one upload in different ways at once."""


class Table:
    """Reads and writes the rows of one queue."""

    def __init__(self, table: DynamoTable, pause: Callable[[float], None] = time.sleep) -> None:
        self._table = table
        self._pause = pause

    # ------------------------------------------------------------------------------------------- routes

    def routes(self) -> dict[str, Route]:
        """The routes that Terraform has configured, by name."""
        items = self._query("pk = :pk", {":pk": "route"})
        names = {field.name for field in fields(Route)} - {"name"}
        return {
            item["sk"]: Route(name=item["sk"], **{name: item[name] for name in names if name in item})
            for item in items
        }

    # ------------------------------------------------------------------------------------------ uploads

    def upload(self, upload_id: str) -> Upload | None:
        """One upload, or None."""
        item = self._get(upload_id, "upload")
        return None if item is None else _upload(item)

    def taken_in(self, upload_ids: Sequence[str]) -> set[str]:
        """Which of these uploads have ended, or have all their chunks in the queue. May lag by a moment."""
        found: set[str] = set()
        read: Any = {
            "ProjectionExpression": "pk, #ready, #status",
            "ExpressionAttributeNames": {"#ready": "ready", "#status": "status"},
        }
        for at in range(0, len(upload_ids), _BATCH_GET):
            keys = [{"pk": upload_id, "sk": "upload"} for upload_id in upload_ids[at : at + _BATCH_GET]]
            found |= {
                item["pk"]
                for item in self._batch_get({**read, "Keys": keys})
                if item.get("ready") or item["status"] in TERMINAL
            }
        return found

    def add_upload(self, upload: Upload, chunks: Sequence[Chunk]) -> bool:
        """Stores an upload and its chunks, and puts them into the queue; False where it is there already.

        All at once where they fit one transaction. Otherwise the chunks first, then the upload, then the
        places, so that a run that dies leaves nothing that looks complete: ``enqueue_chunks`` goes on. A run
        that died may have cut the upload by other limits: the row ``cut`` says whose chunks count, until the
        upload is there. Raises CutError where they are those of another run that is at work.
        """
        new = "attribute_not_exists(pk)"
        put = {"TableName": self._name, "ConditionExpression": new}
        if len(chunks) <= _CHUNKS_AT_ONCE:
            ready = replace(upload, ready=True)
            puts: list[Any] = [{"Put": {**put, "Item": _upload_item(ready)}}]
            for chunk in chunks:
                placed = {**_chunk_item(chunk), "placed": True}
                puts += [{"Put": {"TableName": self._name, "Item": placed}}, self._put_place(chunk)]
            return self._transact(puts)
        cut = digest_of_cut(chunks)
        absent = {"TableName": self._name, "Key": {"pk": upload.upload_id, "sk": "upload"}}
        no_upload = {"ConditionCheck": {**absent, "ConditionExpression": new}}
        key = {"pk": upload.upload_id, "sk": "cut"}
        matches = {"ConditionExpression": "cut = :cut", "ExpressionAttributeValues": {":cut": cut}}
        our_cut = {"ConditionCheck": {"TableName": self._name, "Key": key, **matches}}
        begin = {"Put": {"TableName": self._name, "Item": {**key, "cut": cut}}}
        added = False
        if self._transact([no_upload, begin]):
            other = {
                "ConditionExpression": f"{new} OR cut <> :cut",
                "ExpressionAttributeValues": {":cut": cut},
            }
            for chunk in chunks:
                item = {**_chunk_item(chunk), "cut": cut}
                self._transact(
                    [no_upload, our_cut, {"Put": {"TableName": self._name, "Item": item, **other}}]
                )
            entering = {"pk": "entering", "sk": upload.upload_id, "since": upload.updated_at}
            added = self._transact(
                [
                    our_cut,
                    {"Put": {**put, "Item": _upload_item(upload)}},
                    {"Put": {"TableName": self._name, "Item": entering}},
                ]
            )
        stored = self.upload(upload.upload_id)
        if stored is None:
            raise CutError(f"another run cuts {upload.key} by other limits at this moment; it is tried again")
        self.enqueue_chunks(stored, self.chunks(stored))
        return added

    def enqueue_chunks(self, upload: Upload, chunks: Iterable[Chunk]) -> None:
        """Puts an upload's chunks into the queue, each once, however often this is called."""
        for chunk in chunks:
            mark = _Expression().set({"placed": True})
            mine = "attribute_not_exists(placed) AND attribute_exists(pk)"
            key = {"pk": chunk.upload_id, "sk": _chunk_sk(chunk.number)}
            update = {"TableName": self._name, "Key": key, **mark.arguments(mine)}
            self._transact([{"Update": update}, self._put_place(chunk)])
        self._update((upload.upload_id, "upload"), {"ready": True}, condition="attribute_exists(pk)")

    def entering(self) -> dict[str, str]:
        """Upload id → since when (ISO 8601), of the uploads whose chunks may not all be in the queue yet."""
        items = self._query("pk = :pk", {":pk": "entering"}, consistent=True)
        return {item["sk"]: item["since"] for item in items}

    def entered(self, upload_id: str) -> None:
        """Notes that all chunks of an upload are in the queue."""
        self._table.delete_item(Key={"pk": "entering", "sk": upload_id})

    def _put_place(self, chunk: Chunk) -> dict[str, Any]:
        return {"Put": {"TableName": self._name, "Item": _place_item(chunk.place)}}

    def advance_upload(self, upload_id: str, status: Status, now: str, job_arn: str) -> bool:
        """Moves an upload on with its job, never back; False where it was there or further already."""
        key = (upload_id, "upload")
        arns = {"job_arns": {job_arn}} if job_arn else {}
        moved = self._update(
            key,
            {"status": status, "status_key": f"upload#{status}", "updated_at": now},
            remove=("message",),  # what it waited for
            add=arns,
            if_status=statuses_before(status),
        )
        if not moved and arns:
            self._update(key, {}, add=arns, condition="attribute_exists(pk)")
        return moved

    def finish_upload(self, upload: Upload) -> bool:
        """Stores how an upload ended; False where it had ended already."""
        return self._update(
            (upload.upload_id, "upload"),
            {
                "status": upload.status,
                "status_key": f"upload#{upload.status}",
                "message": upload.message,
                "result_key": upload.result_key,
                "result_version_id": upload.result_version_id,
                "updated_at": upload.updated_at,
                "ended_at": upload.ended_at,
            },
            if_status=statuses_before(upload.status),
        )

    def pending_uploads(self, limit: int) -> list[Upload]:
        """The uploads that have waited longest, oldest first. The index may lag by a moment."""
        items = self._query("status_key = :s", {":s": f"upload#{Status.PENDING}"}, index=True, limit=limit)
        return [_upload(item) for item in items]

    def note(self, upload_id: str, message: str) -> bool:
        """Tells the user why an upload waits; False where it waits no more, or says so already."""
        return self._update(
            (upload_id, "upload"),
            {"message": message},
            condition="#status = :pending AND (attribute_not_exists(#message) OR #message <> :message)",
            names={"#status": "status"},
            values={":pending": Status.PENDING},
        )

    # ------------------------------------------------------------------------------------------- chunks

    def chunks(self, upload: Upload) -> list[Chunk]:
        """All chunks of an upload, in their order."""
        # Rows beyond its number are what a run left that died, and cut it otherwise.
        last = _chunk_sk(upload.chunks)
        values = {":pk": upload.upload_id, ":first": _chunk_sk(1), ":last": last}
        found = self._query("pk = :pk AND sk BETWEEN :first AND :last", values, consistent=True)
        return [_chunk(item) for item in found]

    def chunk(self, ref: ChunkRef) -> Chunk | None:
        """One chunk, or None."""
        item = self._get(ref.upload_id, _chunk_sk(ref.number))
        return None if item is None else _chunk(item)

    def pending(self, route: str, most_records: int, most_places: int, now: float) -> list[Place]:
        """The head of a route's queue, oldest first: as much as ``most_records`` records that may run now.

        Reading stops there, or at ``most_places``, so a round costs what it can dispatch, not what waits.
        """
        found: list[Place] = []
        records = 0
        for item in self._pages("pk = :pk", {":pk": f"queue#{route}"}, consistent=True):
            place = _place(item, route)
            found.append(place)
            records += place.ref.records if place.not_before <= now else 0
            if records >= most_records or len(found) >= most_places:
                break
        return found

    def estimates(self) -> dict[str, Estimate]:
        """What was learned of each base model's jobs."""
        items = self._query("pk = :pk", {":pk": "model"})
        return {
            item["sk"]: Estimate(
                overhead_seconds=item["overhead_ms"] / 1000,
                records_per_second=item["records_per_1000_s"] / 1000,
                jobs=item["jobs"],
            )
            for item in items
        }

    def learn(self, model: str, estimate: Estimate) -> bool:
        """Stores what was learned of a base model; False where another run has learned meanwhile."""
        return self._update(
            ("model", model),
            {
                "overhead_ms": _ms(estimate.overhead_seconds),
                "records_per_1000_s": max(1, _ms(estimate.records_per_second)),
                "jobs": estimate.jobs,
            },
            condition="attribute_not_exists(pk) OR #jobs < :jobs",
        )

    def claim_chunk(self, chunk: Chunk, job_id: str) -> bool:
        """Gives a pending chunk to a job and takes it out of the queue; True also where the job has it.

        False where another job has it, or where it is at another attempt by now.
        """
        claim = _Expression().set({"status": Status.SUBMITTED, "job_id": job_id})
        claim.values.update({":attempt": chunk.attempt, ":pending": Status.PENDING})
        mine = "(#status = :status AND #job_id = :job_id)"
        return self._transact(
            [
                {
                    "Update": {
                        "TableName": self._name,
                        "Key": {"pk": chunk.upload_id, "sk": _chunk_sk(chunk.number)},
                        **claim.arguments(f"attempt = :attempt AND (#status = :pending OR {mine})"),
                    }
                },
                {"Delete": {"TableName": self._name, "Key": _place_key(chunk.place)}},
            ]
        )

    def mark_gone(self, ref: ChunkRef, job_id: str, message: str, error_code: str = "") -> None:
        """Notes that a chunk could not be staged, and why."""
        self._update(
            (ref.upload_id, _chunk_sk(ref.number)),
            {"gone": True, "message": message, "error_code": error_code},
            condition="job_id = :job AND #status = :submitted",
            names={"#status": "status"},
            values={":job": job_id, ":submitted": Status.SUBMITTED},
        )

    def settle_chunk(self, chunk: Chunk, counts: Counts) -> bool:
        """Stores how a chunk ended and adds the counts to its upload, both or neither; False if it had ended.

        ``counts`` are those of the last attempt alone.
        """
        ended = _Expression().set(
            {
                "status": chunk.status,
                "message": chunk.message,
                "parts": list(chunk.parts),
                "errors_by_code": dict(chunk.errors_by_code),
            }
        )
        return self._close_attempt(chunk, chunk.attempt, ended, counts, chunks_open=-1)

    def run_again(self, chunk: Chunk, job_id: str, counts: Counts) -> bool:
        """Puts what is left of a chunk back into the queue, as its next attempt; False if it was before.

        ``chunk`` is the chunk as it shall be; ``job_id`` the job that it had; ``counts`` those of that job.
        """
        item = {name: value for name, value in _chunk_item(chunk).items() if name not in ("pk", "sk")}
        empty = {field.name for field in fields(Chunk)} - set(item) - {"upload_id"}
        again = _Expression().set(item).remove(sorted(empty))
        had = replace(chunk, job_id=job_id)
        return self._close_attempt(
            had, chunk.attempt - 1, again, counts, chunks_open=0, also=[self._put_place(chunk)]
        )

    def _close_attempt(
        self,
        chunk: Chunk,
        attempt: int,
        change: _Expression,
        counts: Counts,
        *,
        chunks_open: int,
        also: Sequence[dict[str, Any]] = (),
    ) -> bool:
        change.values.update({":job": chunk.job_id, ":submitted": Status.SUBMITTED, ":had": attempt})
        mine = "job_id = :job AND #status = :submitted AND attempt = :had"
        added = _Expression().add(
            {
                "chunks_open": chunks_open,
                "success_count": counts.success,
                "error_count": counts.error,
                "input_tokens": counts.input_tokens,
                "output_tokens": counts.output_tokens,
            }
        )
        key = {"pk": chunk.upload_id, "sk": _chunk_sk(chunk.number)}
        upload = {"pk": chunk.upload_id, "sk": "upload"}
        return self._transact(
            [
                {"Update": {"TableName": self._name, "Key": key, **change.arguments(mine)}},
                {
                    "Update": {
                        "TableName": self._name,
                        "Key": upload,
                        **added.arguments("attribute_exists(pk)"),
                    }
                },
                *also,
            ]
        )

    # --------------------------------------------------------------------------------------------- jobs

    def job(self, job_id: str) -> Job | None:
        """One job, or None."""
        item = self._get(job_id, "job")
        return None if item is None else _job(item)

    def add_job(self, job: Job) -> bool:
        """Stores the intent to run a job; False where it is there already."""
        new = "attribute_not_exists(pk)"
        pointer = {"pk": "active", "sk": job.job_id}
        return self._transact(
            [
                {"Put": {"TableName": self._name, "Item": _job_item(job), "ConditionExpression": new}},
                {"Put": {"TableName": self._name, "Item": pointer}},
            ]
        )

    def active_jobs(self) -> list[Job]:
        """Every job that is not collected yet, oldest first, read with strong consistency."""
        ids = [item["sk"] for item in self._query("pk = :pk", {":pk": "active"}, consistent=True)]
        jobs: list[Job] = []
        for at in range(0, len(ids), _BATCH_GET):
            keys = [{"pk": job, "sk": "job"} for job in ids[at : at + _BATCH_GET]]
            jobs += [_job(item) for item in self._batch_get({"Keys": keys, "ConsistentRead": True})]
        return sorted(jobs, key=lambda job: (job.created_at, job.job_id))

    def seal_job(self, job: Job) -> bool:
        """Makes the list of a job's chunks final; False where it is final already."""
        return self._update(
            (job.job_id, "job"),
            {
                "sealed": True,
                "chunks": [_ref_item(ref) for ref in job.chunks],
                "records": job.records,
                "updated_at": job.updated_at,
            },
            condition="attribute_exists(pk) AND attribute_not_exists(sealed)",
        )

    def discard_job(self, job: Job) -> None:
        """Removes a job that Bedrock never had."""
        key = {"pk": job.job_id, "sk": "job"}
        never = {"ConditionExpression": "attribute_not_exists(arn)"}
        pointer = {"pk": "active", "sk": job.job_id}
        self._transact(
            [
                {"Delete": {"TableName": self._name, "Key": key, **never}},
                {"Delete": {"TableName": self._name, "Key": pointer}},
            ]
        )

    def store_arn(self, job: Job) -> bool:
        """Stores that Bedrock has accepted a job; False where that is known already."""
        return self._update(
            (job.job_id, "job"),
            {
                "arn": job.arn,
                "status": job.status,
                "status_key": f"job#{job.status}",
                "submitted_at": job.submitted_at,
                "updated_at": job.updated_at,
            },
            if_status=(Status.SUBMITTING,),
        )

    def update_job(self, job: Job) -> bool:
        """Stores a job's new status, message and counts; False where the row is as far or further."""
        return self._update(
            (job.job_id, "job"),
            {
                "status": job.status,
                "status_key": f"job#{job.status}",
                "message": job.message,
                "success_count": job.success_count,
                "error_count": job.error_count,
                "started_at": job.started_at,
                "ended_at": job.ended_at,
                "updated_at": job.updated_at,
            },
            if_status=(*statuses_before(job.status), *(() if job.status in TERMINAL else (job.status,))),
        )

    def request_collect(self, job: Job, now: str, stale_before: str) -> bool:
        """Notes that the collector is asked to collect a job; False where it was since ``stale_before``."""
        return self._update(
            (job.job_id, "job"),
            {"collect_requested_at": now},
            condition="attribute_not_exists(collected_at) AND "
            "(attribute_not_exists(collect_requested_at) OR collect_requested_at < :stale)",
            values={":stale": stale_before},
        )

    def start_work(self, job: Job, now: float, until: float) -> bool:
        """Takes the right to run a job on demand until ``until`` (epoch seconds), or False."""
        return self._update(
            (job.job_id, "job"),
            {"working_until": _ms(until)},
            condition="#status = :running AND "
            "(attribute_not_exists(#working_until) OR #working_until < :now)",
            names={"#status": "status"},
            values={":running": Status.IN_PROGRESS, ":now": _ms(now)},
        )

    def stop_work(self, job: Job) -> None:
        """Gives the right of ``start_work`` back."""
        self._update((job.job_id, "job"), {}, remove=("working_until",), condition="attribute_exists(pk)")

    def withdraw_collect(self, job: Job, asked_at: str) -> None:
        """Takes back the note of ``request_collect`` where the collector could not be asked after all."""
        self._update(
            (job.job_id, "job"),
            {},
            remove=("collect_requested_at",),
            condition="collect_requested_at = :asked",
            values={":asked": asked_at},
        )

    def finish_job(self, job: Job) -> None:
        """Stores that a job's results are collected; from now on no run looks at it any more."""
        done = _Expression().set(
            {
                "collected_at": job.collected_at,
                "success_count": job.success_count,
                "error_count": job.error_count,
                "input_tokens": job.input_tokens,
                "output_tokens": job.output_tokens,
                "updated_at": job.updated_at,
            }
        )
        key = {"pk": job.job_id, "sk": "job"}
        pointer = {"pk": "active", "sk": job.job_id}
        self._transact(
            [
                {"Update": {"TableName": self._name, "Key": key, **done.arguments("attribute_exists(pk)")}},
                {"Delete": {"TableName": self._name, "Key": pointer}},
            ]
        )

    # -------------------------------------------------------------------------------------------- lease

    def acquire_lease(self, owner: str, now: float, until: float) -> bool:
        """Takes the right to dispatch until ``until`` (epoch seconds); False where another run has it.

        In that case the other run is told to go round again before it stops.
        """
        for _ in range(5):
            taken = self._update(
                ("control", "lease"),
                {"owner": owner, "until": _ms(until)},
                remove=("woken",),
                condition="attribute_not_exists(#owner) OR #until < :now OR #owner = :owner",
                values={":now": _ms(now)},
            )
            if taken:
                return True
            told = self._update(
                ("control", "lease"),
                {"woken": True},
                condition="attribute_exists(#owner) AND #until >= :now",
                names={"#owner": "owner", "#until": "until"},
                values={":now": _ms(now)},
            )
            if told:
                return False
        return False

    def release_lease(self, owner: str) -> bool:
        """Gives the lease back; False where this run was woken meanwhile, still has it, and must go on."""
        key = ("control", "lease")
        mine = {"#owner": "owner"}
        released = self._update(
            key,
            {},
            remove=("owner", "until"),
            condition="#owner = :me AND attribute_not_exists(woken)",
            names=mine,
            values={":me": owner},
        )
        if released:
            return True
        woken = self._update(
            key, {}, remove=("woken",), condition="#owner = :me", names=mine, values={":me": owner}
        )
        return not woken

    def drop_lease(self, owner: str) -> None:
        """Gives the lease back whether or not this run was woken meanwhile."""
        self._update(
            ("control", "lease"),
            {},
            remove=("owner", "until", "woken"),
            condition="#owner = :me",
            names={"#owner": "owner"},
            values={":me": owner},
        )

    # ---------------------------------------------------------------------------------------- plumbing

    @property
    def _name(self) -> str:
        return self._table.name

    def _get(self, pk: str, sk: str) -> dict[str, Any] | None:
        item = self._table.get_item(Key={"pk": pk, "sk": sk}, ConsistentRead=True).get("Item")
        return None if item is None else _plain(item)

    def _query(self, condition: str, values: Mapping[str, Any], **options: Any) -> list[dict[str, Any]]:
        return list(self._pages(condition, values, **options))

    def _pages(
        self,
        condition: str,
        values: Mapping[str, Any],
        *,
        index: bool = False,
        consistent: bool = False,
        limit: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        arguments: dict[str, Any] = {
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": dict(values),
            **({"IndexName": INDEX} if index else {}),
            **({"ConsistentRead": True} if consistent else {}),
            **({} if limit is None else {"Limit": limit}),
        }
        given = 0
        while True:
            page = self._table.query(**arguments)
            for item in page["Items"]:
                yield _plain(item)
                given += 1
                if given == limit:
                    return
            if "LastEvaluatedKey" not in page:
                return
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _batch_get(self, read: Any) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        request: Any = {self._name: read}
        for attempt in range(10):
            answer = self._table.meta.client.batch_get_item(RequestItems=request)
            items += [_plain(item) for item in answer["Responses"].get(self._name, [])]
            request = answer.get("UnprocessedKeys")
            if not request:
                return items
            self._pause(0.05 * 2**attempt)
        raise RuntimeError("DynamoDB left rows unread ten times over: the table is throttled")

    def _update(
        self,
        key: tuple[str, str],
        sets: Mapping[str, Any],
        *,
        remove: Iterable[str] = (),
        add: Mapping[str, Any] | None = None,
        condition: str = "",
        if_status: Sequence[Status] = (),
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> bool:
        change = _Expression().set(sets).remove(remove).add(add or {})
        if if_status:
            marks = {f":from{at}": status for at, status in enumerate(if_status)}
            condition = f"#status IN ({', '.join(marks)})"
            change.values.update(marks)
            change.names["#status"] = "status"
        change.names.update(names or {})
        change.values.update(values or {})
        arguments = change.arguments(condition)
        try:
            self._table.update_item(Key={"pk": key[0], "sk": key[1]}, **arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def _transact(self, operations: list[Any]) -> bool:
        client = self._table.meta.client
        for attempt in range(_TRANSACTION_TRIES):
            try:
                client.transact_write_items(TransactItems=operations)
            except ClientError as error:
                if error.response["Error"]["Code"] != "TransactionCanceledException":
                    raise
                reasons: Any = error.response.get("CancellationReasons", [])
                codes = {reason.get("Code") for reason in reasons}
                if "ConditionalCheckFailed" in codes:
                    return False
                if attempt == _TRANSACTION_TRIES - 1 or "TransactionConflict" not in codes:
                    raise
            else:
                return True
            self._pause(0.05 * 2**attempt)
        return False


# ------------------------------------------------------------------------------------------- expressions


@dataclass(slots=True)
class _Expression:
    """An update expression under construction; every attribute goes by a ``#name`` (many are reserved)."""

    parts: list[str]
    names: dict[str, str]
    values: dict[str, Any]

    def __init__(self) -> None:
        self.parts, self.names, self.values = [], {}, {}

    # Each method adds one clause and gives the expression back.

    def set(self, sets: Mapping[str, Any]) -> _Expression:
        if sets:
            self.parts.append("SET " + ", ".join(f"#{name} = :{name}" for name in sets))
        self.names.update({f"#{name}": name for name in sets})
        self.values.update({f":{name}": value for name, value in sets.items()})
        return self

    def remove(self, names: Iterable[str]) -> _Expression:
        removed = list(names)
        if removed:
            self.parts.append("REMOVE " + ", ".join(f"#{name}" for name in removed))
        self.names.update({f"#{name}": name for name in removed})
        return self

    def add(self, adds: Mapping[str, Any]) -> _Expression:
        if adds:
            self.parts.append("ADD " + ", ".join(f"#{name} :{name}" for name in adds))
        self.names.update({f"#{name}": name for name in adds})
        self.values.update({f":{name}": value for name, value in adds.items()})
        return self

    def arguments(self, condition: str) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "UpdateExpression": " ".join(self.parts),
            "ExpressionAttributeNames": self.names,
        }
        if condition:
            arguments["ConditionExpression"] = condition
        if self.values:
            arguments["ExpressionAttributeValues"] = self.values
        return arguments


# ------------------------------------------------------------------------------------------ rows as items


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _plain(value: Any) -> Any:
    """Numbers as int: the table holds no fractions."""
    if isinstance(value, Decimal):
        return int(value)
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


def _filled(row: Any, leave_out: str) -> dict[str, Any]:
    """The fields of a row that say something: what is empty takes no space and reads back as its default."""
    values = {field.name: getattr(row, field.name) for field in fields(row) if field.name != leave_out}
    return {
        name: value
        for name, value in values.items()
        if value is not False and value not in (None, "", frozenset(), ())
    }


def _fields(kind: Any, item: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in item.items() if name in names}


def _upload_item(upload: Upload) -> dict[str, Any]:
    return {
        "pk": upload.upload_id,
        "sk": "upload",
        "status_key": f"upload#{upload.status}",
        "order_key": f"{upload.created_at}#{upload.upload_id}",
        **_filled(upload, "upload_id"),
        **({"job_arns": set(upload.job_arns)} if upload.job_arns else {}),
    }


def _upload(item: Mapping[str, Any]) -> Upload:
    known = _fields(Upload, item)
    return Upload(
        **{
            **known,
            "upload_id": item["pk"],
            "status": Status(item["status"]),
            "job_arns": frozenset(item.get("job_arns", ())),
        }
    )


def _chunk_sk(number: int) -> str:
    return f"chunk#{number:06d}"


def _chunk_item(chunk: Chunk) -> dict[str, Any]:
    item = {"pk": chunk.upload_id, "sk": _chunk_sk(chunk.number), **_filled(chunk, "upload_id")}
    # False is not the default of `whole`, so it must be stored; DynamoDB has no tuples.
    return {**item, "whole": chunk.whole, "parts": list(chunk.parts)}


def _chunk(item: Mapping[str, Any]) -> Chunk:
    known = _fields(Chunk, item)
    parts = tuple(item.get("parts", ()))
    return Chunk(**{**known, "upload_id": item["pk"], "status": Status(item["status"]), "parts": parts})


def _place_key(place: Place) -> dict[str, Any]:
    return {"pk": f"queue#{place.route}", "sk": place.order_key}


def _place_item(place: Place) -> dict[str, Any]:
    about = {
        "created_at": place.created_at,
        "size_bytes": place.size_bytes,
        "not_before": place.not_before,
    }
    return {**_place_key(place), **about, **_ref_item(place.ref)}


def _place(item: Mapping[str, Any], route: str) -> Place:
    ref = ChunkRef(**_fields(ChunkRef, item))
    return Place(ref, route, item["created_at"], item["size_bytes"], item["not_before"])


def _ref_item(ref: ChunkRef) -> dict[str, Any]:
    return {name: getattr(ref, name) for name in ("upload_id", "number", "attempt", "records")}


def _job_item(job: Job) -> dict[str, Any]:
    return {
        "pk": job.job_id,
        "sk": "job",
        "status_key": f"job#{job.status}",
        "order_key": f"{job.created_at}#{job.job_id}",
        **_filled(job, "job_id"),
        "chunks": [_ref_item(ref) for ref in job.chunks],
    }


def _job(item: Mapping[str, Any]) -> Job:
    refs = tuple(ChunkRef(**_fields(ChunkRef, ref)) for ref in item["chunks"])
    known = _fields(Job, item)
    return Job(**{**known, "job_id": item["pk"], "status": Status(item["status"]), "chunks": refs})
