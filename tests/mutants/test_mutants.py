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
PAGES = "tests/flows/test_pages.py"
WAITING = "tests/flows/test_waiting.py"
CALLS = "tests/faults/test_calls.py"
SOAK = "tests/faults/test_soak.py"


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
        'condition="attribute_not_exists(#owner) OR #until < :now OR #owner = :owner"',
        'condition="attribute_not_exists(#owner) OR #until >= :now OR #until < :now OR #owner = :owner"',
        (LEASE,),
    ),
    Mutant(
        "a run that finds the lease taken leaves no mark",
        "aws/table/lease.py",
        '        if held and ("woken" in seen or self._mark(now)):\n',
        "        if held:\n",
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
        "for shard in range(names.SHARDS)",
        "for shard in range(1)",
        (PLACES,),
    ),
    Mutant(
        "an upload ends before its result is in place",
        "steps/finish.py",
        "        version = bucket.concatenate(parts, key) if parts else None\n",
        "        self._queue.table.uploads.finish(replace(upload, status=Status.COMPLETED, result_key=key))\n"
        "        version = bucket.concatenate(parts, key) if parts else None\n",
        (TABLE, SOAK, CALLS),
    ),
    Mutant(
        "a job counts as collected before its chunks are settled",
        "steps/collector.py",
        "        written = self._written(job)\n        route ",
        "        written = self._written(job)\n        self._finish_job(job, None)\n        route ",
        (TABLE, SOAK, CALLS),
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
        "            if_status=statuses_before(status),\n        )\n        if not moved",
        "            if_status=tuple(Status),\n        )\n        if not moved",
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
        '            {"asked": dict(asked)},\n',
        '            {"asked": dict(had)},\n',
        ("tests/flows/test_on_demand.py",),
    ),
    Mutant(
        "a run on demand asks although another run has counted",
        "steps/on_demand.py",
        "            if not self._chunks.count_asked(self._chunk, self._stored, asked):\n",
        "            if self._chunks.count_asked(self._chunk, self._stored, asked) is None:\n",
        ("tests/flows/test_on_demand.py",),
    ),
    Mutant(
        "packing leaves less than a minimum behind",
        "core/scheduling.py",
        "    return _sharing(taken, left, route.min_records_per_job)\n",
        "    return taken\n",
        ("tests/unit/test_scheduling.py",),
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
        "places += self._left_behind(jobs, routes)",
        "places += []",
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
        "since += [names.epoch(stamp) for job in jobs if (stamp := self._job(job))]",
        "[self._job(job) for job in jobs]",
        (WAITING,),
    ),
    Mutant(
        "a job that cannot be looked up is never submitted again",
        "steps/submission.py",
        "return self._create(job)\n            if arn:",
        "return job\n            if arn:",
        (WAITING,),
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
