"""Any size in, at once: one file of 120,000 records, 400 small ones under two routes, and one of three.

Not part of `make test`: `make bench` runs it. It prints how many jobs it took, and how long.
"""

from __future__ import annotations

import time
from collections import Counter
from random import Random
from typing import Any

import pytest

from tests.integration.user import FAST, Queue, converse, lines, requests
from tests.local_aws.environment import MODEL_ID

pytestmark = pytest.mark.bench

SLOTS = 10
FOREIGN = 2
SECONDS = 2_400


@pytest.mark.parametrize("faults", [False, True], ids=["no faults", "records and jobs fail"])
def test_every_record_of_402_uploads_stands_once_in_its_result(queue: Queue, faults: bool) -> None:
    # Given uploads of all sizes, and two slots that somebody else holds
    chance = Random(7)
    small = [chance.randint(10, 300) for _ in range(400)]
    mark = "faulty" if faults else "plain"
    batches: dict[str, list[dict[str, Any]]] = {f"{mark}/large.jsonl": requests(120_000, f"{mark}-large")}
    for number, count in enumerate(small):
        if number % 2:
            batches[f"{mark}/{number:03d}.jsonl"] = requests(count, f"{mark}-{number}")
        else:
            batches[f"converse/{mark}/{number:03d}.jsonl"] = converse(count, f"{mark}-{number}")
    batches[f"direct/{mark}/three.jsonl"] = converse(3, f"{mark}-three")
    queue.simulator.reset()
    queue.simulator.configure(
        models={"*": {**FAST, "min_records": 100, "records_per_second": 3_000.0}},
        record_faults={"passing_rate": 0.05 if faults else 0.0, "permanent_rate": 0.01 if faults else 0.0},
        job_faults=[{"outcome": "Expired", "rate": 0.1, "fraction": 0.5}] if faults else [],
    )
    queue.simulator.foreign(MODEL_ID, count=FOREIGN, seconds=3_600)

    # When they are dropped into the bucket at once
    began = time.monotonic()
    ids = {queue.upload(key, lines(rows)): rows for key, rows in batches.items()}
    try:
        # One after the other: to look at all of them each time would keep the emulator busy by itself.
        ended = [queue.ended(one, timeout=began + SECONDS - time.monotonic())[0] for one in ids]
    finally:
        queue.simulator.configure(record_faults={"passing_rate": 0.0, "permanent_rate": 0.0}, job_faults=[])
    seconds = time.monotonic() - began

    # Then each has one result in which every record stands exactly once
    codes: Counter[object] = Counter()
    for row in ended:
        rows = ids[row["pk"]]
        found = queue.result(row)
        assert Counter(line["recordId"] for line in found) == Counter(line["recordId"] for line in rows)
        assert row["success_count"] + row["error_count"] == len(rows)
        codes.update(line["error"]["errorCode"] for line in found if "error" in line)
    state = queue.simulator.state()
    jobs = [job for job in state["jobs"] if not job["foreign"]]
    assert state["models"][MODEL_ID]["peak_active"] <= SLOTS
    records = sum(len(rows) for rows in ids.values())
    print(
        f"{mark}: {len(ids)} uploads, {records:,} records in {len(jobs)} jobs, {seconds:.0f} s; "
        f"errors {dict(codes)}, {sum(codes.values()) / records:.2%}"
    )
    assert len(jobs) < len(ids) / 4
    if faults:
        assert set(codes) <= {400}
    else:
        assert {row["status"] for row in ended} == {"Completed"}
