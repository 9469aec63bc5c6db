"""The two baselines: one job for each file, as AWS's article and AWS's orchestrator sample do it.

Both are treated kindly: what exceeds a job's limits is split into full jobs, and files below Bedrock's
minimum run all the same. The higher priority goes first, and no route is above its limit.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterator
from math import inf

from batch_queue.core.scheduling import model_limits

from tests.support.makespan.slots import Ran, Slots, Times
from tests.support.makespan.workloads import MINUTE, File, Workload

#: AWS's article runs its dispatcher every 15 minutes.
POLL = 15 * MINUTE


def _jobs(workload: Workload) -> Iterator[File]:
    """Yields the files, those with too many records for a job in parts."""
    for file in workload.files:
        most, left = workload.routes[file.route].max_records_per_job, file.records
        while left > 0:
            yield File(file.at, file.route, min(most, left))
            left -= most


def one_job_a_file(workload: Workload, times: Times, poll: float = 0.0) -> list[Ran]:
    """Runs each file as a job of its own, oldest first.

    ``poll``: how often it is looked for free slots and new files, in seconds; 0: at every arrival and every
    end of a job. Returns the jobs that ran.
    """
    arriving = deque(_jobs(workload))
    waiting: dict[str, deque[File]] = {name: deque() for name in workload.routes}
    by_priority = sorted(workload.routes.values(), key=lambda route: -route.priority)
    slots = {model: Slots(model, count) for model, count in model_limits(workload.routes.values()).items()}
    active: Counter[str] = Counter()
    ends: list[tuple[float, int, str, Ran]] = []
    now = 0.0
    while arriving or ends or any(waiting.values()):
        while arriving and arriving[0].at <= now:
            file = arriving.popleft()
            waiting[file.route].append(file)
        while ends and ends[0][0] <= now:
            _, _, route_name, job = heapq.heappop(ends)
            slots[job.model].give_back(job)
            active[route_name] -= 1
        for route in by_priority:
            queue = waiting[route.name]
            while queue and active[route.name] < route.max_active_jobs:
                own = slots[workload.model(queue[0])]
                if not own.free:
                    break
                file = queue.popleft()
                job = own.take(now, now + sum(times.draw(file.records)), file.records)
                active[route.name] += 1
                heapq.heappush(ends, (job.end, len(own.ran), route.name, job))
        if poll:
            now += poll
        elif arriving or ends:
            now = min(arriving[0].at if arriving else inf, ends[0][0] if ends else inf)
    return [job for own in slots.values() for job in own.ran]
