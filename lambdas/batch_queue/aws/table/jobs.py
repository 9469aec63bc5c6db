"""Jobs, from the intent to create one until its results are collected."""

from __future__ import annotations

from dataclasses import replace

from batch_queue.core.rows import TERMINAL, Intent, Job, Status, statuses_before

from .dynamo import EXISTS, EXPIRES, NEW, Dynamo, Expression, milliseconds
from .items import active_key, intent_item, intent_key, intent_of, job_item, job_key, job_of, refs_item


class Jobs:
    """The jobs of the queue. The active jobs are read with strong consistency."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo

    def get(self, job_id: str) -> Job | None:
        """Returns one job, or None."""
        item = self._dynamo.get(job_key(job_id))
        return None if item is None else job_of(item)

    def intent(self, job_id: str) -> Intent:
        """Returns what a job runs: nothing if its rows have expired."""
        # An earlier version stored it in the job's own row.
        item = self._dynamo.get(intent_key(job_id)) or self._dynamo.get(job_key(job_id)) or {}
        return intent_of(item)

    def active(self) -> list[Job]:
        """Returns every job whose results are not collected yet, oldest first."""
        pointers = self._dynamo.query("pk = :pk", {":pk": "active"}, consistent=True)
        untold = {pointer["sk"] for pointer in pointers if pointer.get("untold")}
        keys = [job_key(pointer["sk"]) for pointer in pointers]
        jobs = [job_of(item) for item in self._dynamo.batch_get(keys, ConsistentRead=True)]
        known = [replace(job, told=job.job_id not in untold) for job in jobs]
        return sorted(known, key=lambda job: (job.created_at, job.job_id))

    # ---------------------------------------------------------------------------------------- submission

    def add(self, job: Job, intent: Intent) -> bool:
        """Stores the intent to create a job. Returns False if it is already stored, and not to be deleted."""
        pk, sk = active_key(job.job_id)
        # The row of an upload that ran before may not be deleted yet.
        new = f"{NEW} OR {EXPIRES}"
        return self._dynamo.transact(
            [
                self._dynamo.putting(job_item(job), new),
                self._dynamo.putting(intent_item(job.job_id, intent)),
                self._dynamo.putting({"pk": pk, "sk": sk, "untold": True}),
            ]
        )

    def seal(self, job: Job, changed: Intent | None = None) -> bool:
        """Makes the list of a job's chunks final. Returns False if it already is.

        ``changed``: the new list, if the job did not get all the chunks that it intended to run.
        """
        condition = f"{EXISTS} AND attribute_not_exists(sealed)"
        sealed = {"sealed": True, "records": job.records, "updated_at": job.updated_at}
        if changed is None:
            return self._dynamo.update(job_key(job.job_id), sealed, condition=condition)
        refs = Expression().set({"chunks": refs_item(changed.chunks)})
        own = Expression().set(sealed)
        # A row of an earlier version has the list itself, and no row beside it.
        there = self._dynamo.get(intent_key(job.job_id)) is not None
        if not there:
            own = Expression().set({**sealed, "chunks": refs_item(changed.chunks)})
        also = [self._dynamo.updating(intent_key(job.job_id), refs, EXISTS)] if there else []
        return self._dynamo.transact([self._dynamo.updating(job_key(job.job_id), own, condition), *also])

    def count_try(self, job: Job) -> bool:
        """Stores a further try to submit a job before it is made. Returns False if another run did.

        ``job`` has the new ``tries`` and ``tried_at``.
        """
        return self._dynamo.update(
            job_key(job.job_id),
            {"tries": job.tries, "tried_at": job.tried_at},
            condition="#status = :submitting AND (attribute_not_exists(#tries) OR #tries < :tries)",
            names={"#status": "status"},
            values={":submitting": Status.SUBMITTING},
        )

    def discard(self, job: Job) -> None:
        """Deletes a job that was never submitted to Bedrock."""
        self._dynamo.transact(
            [
                self._dynamo.deleting(job_key(job.job_id), "attribute_not_exists(arn)"),
                self._dynamo.deleting(intent_key(job.job_id)),
                self._dynamo.deleting(active_key(job.job_id)),
            ]
        )

    def store_arn(self, job: Job) -> bool:
        """Stores that Bedrock accepted a job. Returns False if that is already stored."""
        return self._dynamo.update(
            job_key(job.job_id),
            {
                "arn": job.arn,
                "status": job.status,
                "status_key": f"job#{job.status}",
                "submitted_at": job.submitted_at,
                "updated_at": job.updated_at,
            },
            if_status=(Status.SUBMITTING,),
        )

    def store_told(self, job_id: str) -> None:
        """Stores that the rows of a job's uploads say that it was submitted."""
        self._dynamo.update(active_key(job_id), {}, remove=("untold",), condition=EXISTS)

    # -------------------------------------------------------------------------------------------- status

    def update(self, job: Job, collect_at: str = "") -> bool:
        """Stores a job's status, message and counts. Returns False if it has a later status or has ended.

        ``collect_at``: when the collection of its results is requested (ISO 8601), if it is.
        """
        return self._dynamo.update(
            job_key(job.job_id),
            {
                "status": job.status,
                "status_key": f"job#{job.status}",
                "message": job.message,
                "tries": job.tries,
                "unanswered": job.unanswered,
                "success_count": job.success_count,
                "error_count": job.error_count,
                "started_at": job.started_at,
                "ended_at": job.ended_at,
                "updated_at": job.updated_at,
                **({"collect_requested_at": collect_at} if collect_at else {}),
            },
            if_status=(*statuses_before(job.status), *(() if job.status in TERMINAL else (job.status,))),
        )

    # ---------------------------------------------------------------------------------------- collection

    def request_collect(self, job: Job, now: str, stale_before: str) -> bool:
        """Records a request to collect a job's results, at ``now`` (ISO 8601).

        Returns False if the results are collected, or were requested at ``stale_before`` or later.
        """
        return self._dynamo.update(
            job_key(job.job_id),
            {"collect_requested_at": now},
            condition=f"{EXISTS} AND attribute_not_exists(collected_at) AND "
            "(attribute_not_exists(collect_requested_at) OR collect_requested_at < :stale)",
            values={":stale": stale_before},
        )

    def withdraw_collect(self, job: Job, asked_at: str) -> None:
        """Undoes ``request_collect`` if the collector could not be invoked."""
        self._dynamo.update(
            job_key(job.job_id),
            {},
            remove=("collect_requested_at",),
            condition="collect_requested_at = :asked",
            values={":asked": asked_at},
        )

    def start_work(self, job: Job, now: float, until: float, owner: str) -> bool:
        """Acquires the right to run a job on demand until ``until`` (epoch seconds).

        Returns False if another owner has it or the job is not running.
        """
        return self._dynamo.update(
            job_key(job.job_id),
            {"working_until": milliseconds(until), "working_by": owner},
            condition="#status = :running AND "
            "(attribute_not_exists(#working_until) OR #working_until < :now OR #working_by = :working_by)",
            names={"#status": "status"},
            values={":running": Status.IN_PROGRESS, ":now": milliseconds(now)},
        )

    def stop_work(self, job: Job, owner: str) -> None:
        """Releases the right that ``start_work`` acquired, unless another owner has it by now."""
        self._dynamo.update(
            job_key(job.job_id),
            {},
            remove=("working_until", "working_by"),
            condition="#working_by = :owner",
            values={":owner": owner},
        )

    def count(self, job: Job) -> None:
        """Stores a job's counts: records and tokens."""
        self._dynamo.update(
            job_key(job.job_id),
            {
                "success_count": job.success_count,
                "error_count": job.error_count,
                "input_tokens": job.input_tokens,
                "output_tokens": job.output_tokens,
            },
            condition=EXISTS,
        )

    def finish(self, job: Job) -> None:
        """Stores that a job's results are collected. The job is then no longer active."""
        expires = {} if job.expires_at is None else {"expires_at": job.expires_at}
        done = {"collected_at": job.collected_at, "updated_at": job.updated_at, **expires}
        if expires:  # before the job is no longer active, so that a run that dies is repeated
            self._dynamo.update(intent_key(job.job_id), expires, condition=EXISTS)
        self._dynamo.update(job_key(job.job_id), done, condition=EXISTS)
        self.forget(job.job_id)

    def forget(self, job_id: str) -> None:
        """Deletes the item that says that a job is active: its results are collected."""
        self._dynamo.delete(active_key(job_id))
