"""Do the tests notice? Each mutant breaks one thing of the functions on purpose, and some test must fail.

Not part of `make test`, whose tests they test: `make mutants` runs them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.world import package_root

pytestmark = pytest.mark.mutants

SECONDS = 900
FLOW = "tests/flows/test_flow.py"
TABLE = "tests/flows/test_table.py"
LEASE = "tests/unit/test_lease.py"
PLACES = "tests/unit/test_places.py"
ADVERSITY = "tests/flows/test_adversity.py"
ON_DEMAND = "tests/flows/test_on_demand.py"
EXPIRY = "tests/flows/test_expiry.py"
CHUNKS = "tests/flows/test_many_chunks.py"
ASSEMBLY = "tests/flows/test_assembly.py"
LOST = "tests/flows/test_lost_table.py"
PAGES = "tests/flows/test_pages.py"
WAITING = "tests/flows/test_waiting.py"
WAKE_UPS = "tests/flows/test_wake_ups.py"
ORDERS = "tests/flows/test_orders.py"
ORDERS_ADVERSITY = "tests/flows/test_orders_adversity.py"
CALLS = "tests/faults/test_calls.py"
SOAK = "tests/faults/test_soak.py"
EVENTS = "tests/flows/test_events.py"


@dataclass(frozen=True)
class Mutant:
    """One thing broken: in ``file`` of the package, ``text`` (it stands there once) becomes ``broken``.

    ``tests``: those that are to notice, the quickest first.
    """

    what: str
    file: str
    text: str
    broken: str
    tests: tuple[str, ...]


MUTANTS = [
    Mutant(
        "an upload runs again while collectors of its last run may be at work",
        "steps/operate.py",
        "names.iso(names.epoch(upload.ended_at) + AGAIN_SECONDS)",
        "names.iso(names.epoch(upload.ended_at))",
        (ORDERS_ADVERSITY,),
    ),
    Mutant(
        "a preparation takes over lines of the next chunk",
        "steps/preparation.py",
        "            if mark is not None and mark not in ids:\n",
        "            if is_answer and mark not in ids:\n",
        (ORDERS_ADVERSITY,),
    ),
    Mutant(
        "a chunk is prepared twice",
        "steps/preparation.py",
        "            if had.number != order.number or had.run >= upload.run:\n",
        "            if had.number != order.number:\n",
        (ORDERS_ADVERSITY, CALLS),
    ),
    Mutant(
        "an order to cancel forgets how far a preparation has come",
        "aws/table/orders.py",
        'Expression().set({"ordered_at": upload.cancelled_at}), ""',
        'Expression().set({"ordered_at": upload.cancelled_at, "number": 1, "offset": 0}), ""',
        (ORDERS_ADVERSITY,),
    ),
    Mutant(
        "a chunk of a cancelled upload returns to the queue from its job",
        "aws/table/chunks.py",
        '            mine += " AND attribute_not_exists(cancelled)"\n',
        '            mine += ""\n',
        (ORDERS, SOAK),
    ),
    Mutant(
        "records of a cancelled upload run again after their job",
        "steps/settlement.py",
        "        if chunk.cancelled:\n",
        "        if not chunk:\n",
        (ORDERS, SOAK),
    ),
    Mutant(
        "a job of others is stopped with one of its uploads",
        "steps/cancelling.py",
        "        return all(upload.cancelled_at for upload in uploads.values())\n",
        "        return any(upload.cancelled_at for upload in uploads.values())\n",
        (ORDERS,),
    ),
    Mutant(
        "an order is forgotten before it is carried out",
        "steps/processor.py",
        "        if self._queue.table.orders.any():\n",
        "        if not self._queue:\n",
        (ORDERS, CALLS),
    ),
    Mutant(
        "a late collector ends the next run of an upload",
        "aws/table/uploads.py",
        '        open_yet += f" AND {ended.among_runs(upload.run)}"\n',
        "",
        (ORDERS, SOAK),
    ),
    Mutant(
        "a prepared chunk is not stored together with how far the result was read",
        "aws/table/orders.py",
        '        moved = Expression().set({"number": chunk.number + 1, "offset": offset})\n',
        '        moved = Expression().set({"number": chunk.number + 1, "offset": 0})\n',
        (ORDERS, CALLS),
    ),
    Mutant(
        "a paused route is dispatched",
        "steps/dispatch.py",
        "        open_routes = [name for name in routes if not pauses.of(name)]\n",
        "        open_routes = [*routes]\n",
        (ORDERS,),
    ),
    Mutant(
        "the claim takes a chunk that another job has",
        "aws/table/chunks.py",
        'f"attempt = :attempt AND (#status = :pending OR {mine})"',
        'f"attempt = :attempt AND (#status = :pending OR {mine} OR attribute_exists(pk))"',
        (TABLE, FLOW, SOAK, CALLS),
    ),
    Mutant(
        "the claim takes a chunk at another attempt",
        "aws/table/chunks.py",
        'f"attempt = :attempt AND (#status = :pending OR {mine})"',
        'f":attempt = :attempt AND (#status = :pending OR {mine})"',
        (TABLE, FLOW, SOAK, CALLS),
    ),
    Mutant(
        "a job is submitted without its client token",
        "aws/bedrock.py",
        "        arguments = dict(request)\n",
        '        arguments = {key: request[key] for key in request if key != "clientRequestToken"}\n',
        (TABLE, SOAK, CALLS),
    ),
    Mutant(
        "every run takes the lease",
        "aws/table/lease.py",
        'condition=f"attribute_not_exists(#owner) OR #until < :now OR {ours}"',
        'condition=f"attribute_not_exists(#owner) OR #until >= :now OR #until < :now OR {ours}"',
        (LEASE,),
    ),
    Mutant(
        "Lambda's retry of a run that was killed waits until the lease runs out",
        "aws/table/lease.py",
        "        if retry_of:\n",
        "        if not retry_of:\n",
        (LEASE,),
    ),
    Mutant(
        "a wake-up that is needed is not sent",
        "aws/table/lease.py",
        "        if _is_on_its_way(seen, now):\n            return False\n",
        "        if not _is_held(seen, now):\n            return False\n",
        (LEASE,),
    ),
    Mutant(
        "a run that was woken leaves the mark that its wake-up is on the way",
        "aws/table/lease.py",
        'remove=("woken", "sent_at"),',
        'remove=("woken",),',
        (LEASE,),
    ),
    Mutant(
        "a group of which another job has one chunk is not claimed at all",
        "aws/table/chunks.py",
        "        if len(chunks) == 1:\n            return ()\n",
        "        if chunks:\n            return ()\n",
        (TABLE,),
    ),
    Mutant(
        "the uploads of a job that was submitted by a run that died are not told",
        "aws/table/jobs.py",
        "told=job.job_id not in untold)",
        "told=bool(job.arn))",
        (TABLE, CALLS),
    ),
    Mutant(
        "Lambda's retry of an event whose job is stored as ended does nothing",
        "steps/refresh.py",
        "            return status in TERMINAL\n",
        "            return False\n",
        (WAKE_UPS, CALLS),
    ),
    Mutant(
        "a run that finds the lease taken leaves no mark",
        "aws/table/lease.py",
        '        if _is_held(seen, now) and not mine and ("woken" in seen or self._mark(now)):\n',
        "        if _is_held(seen, now) and not mine:\n",
        (LEASE,),
    ),
    Mutant(
        "keys stay as S3's event encodes them",
        "core/objects.py",
        'key=unquote_plus(thing["key"])',
        'key=thing["key"]',
        ("tests/unit/test_keys.py",),
    ),
    Mutant(
        "only the first page of the account's jobs is read",
        "aws/bedrock.py",
        'for page in self._bedrock.get_paginator("list_model_invocation_jobs").paginate(**query):',
        "for page in [self._bedrock.list_model_invocation_jobs(**query)]:",
        (PAGES,),
    ),
    Mutant(
        "only the first page of the table is read",
        "aws/table/dynamo.py",
        '            if "LastEvaluatedKey" not in page:\n                return\n',
        "            if page:\n                return\n",
        (PAGES,),
    ),
    Mutant(
        "only the first partition of a queue is read",
        "aws/table/chunks.py",
        "shard) for shard in range(names.SHARDS))",
        "shard) for shard in range(1))",
        (PLACES,),
    ),
    Mutant(
        "an upload ends before its result is in place",
        "steps/finish.py",
        "        version = self._assembly.join(upload.folder, parts, key, run, self._sizes)\n",
        "        self._queue.table.uploads.finish(replace(upload, status=Status.COMPLETED, result_key=key))\n"
        "        version = self._assembly.join(upload.folder, parts, key, run, self._sizes)\n",
        (TABLE, SOAK, CALLS),
    ),
    Mutant(
        "a job counts as collected before its chunks are settled",
        "steps/collector.py",
        "        written = self._written(job, there)\n",
        "        written = self._written(job, there)\n        self._finish_job(job)\n",
        (TABLE, SOAK, CALLS),
    ),
    Mutant(
        "the folder of a job is deleted although a chunk could not be settled",
        "steps/collector.py",
        "        if not run.unfinished and not run.errors:\n            job = ",
        "        if not run.unfinished:\n            job = ",
        (SOAK, CALLS),
    ),
    Mutant(
        "a chunk that ends leaves its part in the folder of its job",
        "steps/settlement.py",
        "        if kept or chunk.upload_id in self._only:\n",
        "        if kept or chunk:\n",
        (EXPIRY, SOAK),
    ),
    Mutant(
        "records that run again lose their media with their job",
        "steps/settlement.py",
        "        self._copy_media(folder, sources)\n",
        "",
        ("tests/flows/test_media.py",),
    ),
    Mutant(
        "a collector takes for lost what another one has deleted",
        "steps/finish.py",
        "        if upload.status in TERMINAL:\n            return replace(due, upload=upload)\n",
        "        if not upload:\n            return replace(due, upload=upload)\n",
        (CALLS,),
    ),
    Mutant(
        "the folder of an upload is not deleted by the run after the one that ended it",
        "steps/finish.py",
        "if one in found and not found[one].chunks_open]\n",
        "if one in found and not found[one].chunks_open and found[one].status not in TERMINAL]\n",
        (CALLS, SOAK),
    ),
    Mutant(
        "a collector settles chunks without a look at its time",
        "steps/collector.py",
        "                if run.is_out_of_time(STEP_SECONDS):\n                    return None\n"
        "                return run.attempt(settlement.prepare",
        "                return run.attempt(settlement.prepare",
        (ASSEMBLY,),
    ),
    Mutant(
        "a collector without time for the rest leaves it to the schedule",
        "steps/collector.py",
        "            go_on_collecting(self._queue, job, run.function_name)\n",
        "",
        (ASSEMBLY,),
    ),
    Mutant(
        "groups that are joined are joined again",
        "steps/assembly.py",
        "            if key not in known and not ",
        "            if not ",
        (ASSEMBLY,),
    ),
    Mutant(
        "a result is joined though not all of its groups are",
        "steps/assembly.py",
        "        if not sources or run.is_out_of_time(STEP_SECONDS):\n",
        "        if not sources:\n",
        (ASSEMBLY,),
    ),
    Mutant(
        "the name of a group does not say which parts it has",
        "core/names.py",
        "{last:06d}-{digest_of_keys(parts)}.jsonl",
        "{last:06d}.jsonl",
        (ASSEMBLY,),
    ),
    Mutant(
        "missing parts are replaced without a look at the time",
        "steps/mending.py",
        "            if run.is_out_of_time(STEP_SECONDS):\n                return\n",
        "",
        (ASSEMBLY,),
    ),
    Mutant(
        "parts are copied one after the other",
        "aws/pool.py",
        "\nAT_ONCE = 32",
        "\nAT_ONCE = 1",
        ("tests/unit/test_large_results.py",),
    ),
    Mutant(
        "an object is joined from all parts at once, however many",
        "steps/assembly.py",
        "        sources = parts if len(parts) <= GROUP else",
        "        sources = parts if parts else",
        ("tests/unit/test_large_results.py",),
    ),
    Mutant(
        "an upload of any number of chunks is accepted",
        "core/admission.py",
        "    if len(scan.cuts) > MAX_CHUNKS:\n",
        "    if not scan:\n",
        (CHUNKS,),
    ),
    Mutant(
        "an upload of any size is accepted",
        "core/admission.py",
        "    if size > MAX_BYTES:\n",
        "    if size < 0:\n",
        (CHUNKS,),
    ),
    Mutant(
        "reading leaves no time to look for duplicates",
        "steps/validation.py",
        "run.has_less_than(READ_SECONDS + TWICE_SECONDS * scan.records)",
        "run.has_less_than(READ_SECONDS)",
        (CHUNKS,),
    ),
    Mutant(
        "chunks are stored without a look at the time",
        "aws/table/chunks.py",
        "            if stop():\n                raise UnfinishedError\n",
        "",
        (CHUNKS,),
    ),
    Mutant(
        "an upload is stored though another run has split it differently",
        "aws/table/uploads.py",
        'self._dynamo.checking(key, "cut = :cut", cut=digest)',
        'self._dynamo.checking(key, "attribute_exists(cut)")',
        (CHUNKS,),
    ),
    Mutant(
        "a chunk that was in the queue is put there once more",
        "aws/table/chunks.py",
        'new = f"attribute_not_exists(placed) OR {EXPIRES}"',
        'new = ""',
        (CHUNKS, "tests/flows/test_sweep.py"),
    ),
    Mutant(
        "a batch of chunks is not settled if one of them is",
        "steps/settlement.py",
        "            if not self._close_all(some):\n",
        "            if not self._close_all(some) and not some:\n",
        (EXPIRY, CALLS),
    ),
    Mutant(
        "chunks that a run has stored are stored again by the next one",
        "aws/table/uploads.py",
        "enumerate(cuts, start=1) if number not in placed]\n",
        "enumerate(cuts, start=1) if number or placed]\n",
        (CHUNKS,),
    ),
    Mutant(
        "a chunk in the queue keeps those out that are put there with it",
        "aws/table/chunks.py",
        "            if not self._add(some):  #",
        "            if self._add(some) is None:  #",
        (CHUNKS,),
    ),
    Mutant(
        "records that never ran and are missing end without a line",
        "steps/settlement.py",
        '        part = chunk.last_errors or names.settled_key(self._work, chunk, "missing")\n',
        "        part = chunk.last_errors\n",
        (EXPIRY,),
    ),
    Mutant(
        "what is settled is counted again",
        "aws/table/chunks.py",
        'mine = "job_id = :job AND #status = :submitted AND attempt = :had"',
        'mine = "job_id = :job AND :submitted = :submitted AND #status = #status AND attempt = :had"',
        (TABLE, SOAK, CALLS),
    ),
    Mutant(
        "a status may go back",
        "aws/table/uploads.py",
        "            if_status=statuses_before(status),\n        )\n        if moved",
        "            if_status=tuple(Status),\n        )\n        if moved",
        (TABLE, FLOW, SOAK, CALLS),
    ),
    Mutant(
        "staging takes the current version of a key",
        "aws/bucket.py",
        '        if ref.version_id:\n            return {"CopySource"',
        '        if not ref:\n            return {"CopySource"',
        (FLOW, ADVERSITY, SOAK),
    ),
    Mutant(
        "a run that was woken meanwhile does not go round again",
        "aws/table/lease.py",
        'condition="#owner = :me AND attribute_not_exists(woken)"',
        'condition="#owner = :me"',
        (FLOW,),
    ),
    Mutant(
        "how often a record was asked about is not stored",
        "aws/table/chunks.py",
        '{"asked": dict(asked), "asked_by": run},\n',
        '{"asked": dict(had), "asked_by": run},\n',
        (SOAK, ON_DEMAND),
    ),
    Mutant(
        "a run on demand asks although another run has counted",
        "steps/on_demand.py",
        "if not self._chunks.count_asked(self._chunk, self._stored, asked, self._run):\n",
        "if self._chunks.count_asked(self._chunk, self._stored, asked, self._run) is None:\n",
        (ON_DEMAND,),
    ),
    Mutant(
        "a run on demand does not ask whether another one is at work",
        "steps/collector.py",
        "if not jobs.start_work(job, self._queue.clock(), run.deadline, owner):\n",
        "if jobs.start_work(job, self._queue.clock(), run.deadline, owner) is None:\n",
        (ON_DEMAND,),
    ),
    Mutant(
        "a record is asked about on demand for ever",
        "steps/on_demand.py",
        "MAX_ASKED = 3\n",
        "MAX_ASKED = 99\n",
        (SOAK,),
    ),
    Mutant(
        "a route that is flex runs at the on-demand price",
        "steps/on_demand.py",
        'FLEX if job.instead == FLEX else ""',
        '"" if job.instead == FLEX else ""',
        (ON_DEMAND,),
    ),
    Mutant(
        "an upload that has ended in another table runs again",
        "steps/traces.py",
        "            return Trace.DONE if self._has_ended(*one) else None\n",
        "            return Trace.DONE if self._has_ended(*one) is None else None\n",
        (LOST, SOAK),
    ),
    Mutant(
        "an upload that was in a job of another table runs again",
        "steps/traces.py",
        "        return _mark(upload_id) in self._work_area\n",
        "        return False\n",
        (LOST, SOAK),
    ),
    Mutant(
        "versions that were overwritten since the last sweep are left out",
        "steps/sweep.py",
        "        if not swept:\n",
        "        if swept or not swept:\n",
        ("tests/flows/test_sweep.py", SOAK),
    ),
    Mutant(
        "a row that expires is marked before those of its chunks",
        "aws/table/uploads.py",
        "        own = upload_key(upload.upload_id)\n",
        "        own = upload_key(upload.upload_id)\n"
        '        self._dynamo.update(own, {"expires_at": expires_at}, condition=EXISTS)\n',
        ("tests/flows/test_expired_rows.py", CALLS),
    ),
    Mutant(
        "a second reading that goes on has forgotten what it saw",
        "core/duplicates.py",
        '            seen=set(document["seen"]),\n',
        "            seen=set(),\n",
        ("tests/unit/test_reading.py", "tests/flows/test_sizes.py"),
    ),
    Mutant(
        "packing leaves less than a minimum behind",
        "core/scheduling.py",
        "    return _sharing(taken, left, route.min_records_per_job)\n",
        "    return taken\n",
        ("tests/unit/test_scheduling.py",),
    ),
    Mutant(
        "a run reads only what fits into the free slots",
        "core/scheduling.py",
        "    return free_slots(routes, running)[model] + sum(busy)\n",
        "    return free_slots(routes, running)[model] + 0 * sum(busy)\n",
        ("tests/unit/test_scheduling.py",),
    ),
    Mutant(
        "the jobs of a route with few slots are made for all slots of its model",
        "core/scheduling.py",
        "    return max(share, job_size(left[route.name], [*own, *others[:within]], estimate))\n",
        "    return share\n",
        ("tests/unit/test_scheduling.py",),
    ),
    Mutant(
        "uploads that still arrive are not waited for",
        "core/gathering.py",
        "            found[model] = until\n",
        "            pass\n",
        ("tests/unit/test_gathering.py", "tests/unit/test_makespan.py"),
    ),
    Mutant(
        "what fills all slots waits for more",
        "core/gathering.py",
        "for name, places in ready.items()) >= full:",
        "for name, places in ready.items()) > 2 * full:",
        ("tests/unit/test_gathering.py",),
    ),
    Mutant(
        "an estimate that is out of date stays",
        "core/scheduling.py",
        "SURPRISE = 2.0\n",
        "SURPRISE = 1e9\n",
        ("tests/unit/test_scheduling.py", "tests/unit/test_makespan.py"),
    ),
    Mutant(
        "a record that failed for good runs again",
        "core/outputs.py",
        "elif may_run_again and passing(code):",
        "elif may_run_again:",
        (FLOW, "tests/unit/test_outputs.py"),
    ),
    Mutant(
        "a removed route is forgotten while a job of it runs",
        "steps/waiting.py",
        "if not places and name not in busy:",
        "if not places:",
        (WAITING,),
    ),
    Mutant(
        "places of a removed route are not looked at",
        "steps/waiting.py",
        "samples |= self._left_behind(jobs, routes)",
        "samples |= {}",
        (WAITING,),
    ),
    Mutant(
        "what waits for a slot replaces Bedrock's reason",
        "steps/waiting.py",
        "if route.name not in full or upload.upload_id in told:",
        "if route.name not in full:",
        (WAITING,),
    ),
    Mutant(
        "the age does not count jobs that do not go on",
        "steps/waiting.py",
        "if stamp := self._job(job):\n                since[job.route].append(names.epoch(stamp))\n",
        "self._job(job)\n",
        (WAITING,),
    ),
    Mutant(
        "records of attempts that another run has closed are counted again",
        "steps/settlement.py",
        "if not self._queue.table.chunks.close(closings, self._job.job_id):\n            return False\n",
        "self._queue.table.chunks.close(closings, self._job.job_id)\n",
        ("tests/flows/test_metrics.py",),
    ),
    Mutant(
        "the head of a long queue is told as all that waits",
        "steps/gauges.py",
        "            if not self.has_long_queues:\n",
        "            if True:\n",
        ("tests/flows/test_metrics.py",),
    ),
    Mutant(
        "a job that cannot be looked up is never submitted again",
        "steps/submission.py",
        "return self._create(job, intent)\n            if arn:",
        "return job\n            if arn:",
        (WAITING,),
    ),
    Mutant(
        "an event that the bus refuses is taken for sent",
        "steps/publishing.py",
        "            if code:\n",
        "            if code and not code:\n",
        (EVENTS,),
    ),
    Mutant(
        "a change that cannot be read is left out",
        "steps/publishing.py",
        "                return news, _Failure(change.sequence, error)\n",
        "                continue\n",
        (EVENTS,),
    ),
    Mutant(
        "a message that is not accepted is taken for sent",
        "steps/publishing.py",
        "                    return _Failure(one.sequence, error)\n",
        "                    continue\n",
        (EVENTS,),
    ),
    Mutant(
        "a function that makes no progress ends without an error",
        "steps/publishing.py",
        "        if batch[0].sequence == failed.sequence:\n",
        "        if not batch:\n",
        (EVENTS,),
    ),
    Mutant(
        "an upload that S3 denies is told of as accepted",
        "core/events.py",
        "    if new.unread:\n",
        "    if new.unread and old:\n",
        ("tests/unit/test_events.py", "tests/flows/test_denied.py"),
    ),
    Mutant(
        "an upload that can be read at last is not told of",
        "core/events.py",
        "begins = old is None or old.unread or",
        "begins = old is None or",
        ("tests/unit/test_events.py", "tests/flows/test_denied.py"),
    ),
    Mutant(
        "the id of an event depends on when it is sent",
        "core/names.py",
        'return _digest("event", kind, row, created_at, time)',
        'return _digest("event", kind, row, created_at, time, datetime.now(UTC))',
        (EVENTS, CALLS),
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_a_mutant_is_noticed(mutant: Mutant, tmp_path: Path) -> None:
    # Given the functions with one thing broken
    shutil.copytree(package_root() / "lambdas", tmp_path / "lambdas", ignore=shutil.ignore_patterns("__py*"))
    file = tmp_path / "lambdas" / "batch_queue" / mutant.file
    source = file.read_text()
    assert source.count(mutant.text) == 1, "the code has changed: mend the mutant"
    file.write_text(source.replace(mutant.text, mutant.broken))
    # When the tests run on them
    noticed = ""
    for tests in mutant.tests:
        done = subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "pytest",
                    "-q",
                    "-x",
                    "--no-header",
                    "--tb=line",
                    "-o",
                    f"cache_dir={tmp_path}",
                ),
                *("-o", f"pythonpath={tmp_path / 'lambdas'} .", "-m", "unit or flows or faults", tests),
            ],
            cwd=package_root(),
            env={**os.environ, "SEEDS": "100"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode in (0, 1), done.stdout + done.stderr
        if done.returncode:
            noticed = next(line for line in done.stdout.splitlines() if line.startswith("FAILED"))
            break
    # Then one fails
    assert noticed, f"no test of {', '.join(mutant.tests)} notices that {mutant.what}"
    print(f"{mutant.what}: {noticed}")
