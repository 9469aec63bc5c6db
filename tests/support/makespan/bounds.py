"""The lower bound of a makespan: what no scheduler can beat if each job takes the expected time."""

from __future__ import annotations

import math

from batch_queue.core.names import base_model
from batch_queue.core.scheduling import model_limits

from tests.support.makespan.workloads import TRUE, Workload


def shortest(records: int, slots: int, most: int) -> float:
    """Returns the shortest time (seconds) that so many records take on ``slots`` slots.

    A slot must run at least its even part of the records, in as few jobs of at most ``most`` records as hold
    it, and each job costs the fixed time.
    """
    part = records / slots
    jobs = math.ceil(part / most)
    return jobs * TRUE.overhead_seconds + part / TRUE.records_per_second


def lower_bound(workload: Workload) -> float:
    """Returns a time (seconds from the first arrival) before which the last job cannot end.

    For each moment: what arrives then or later takes at least its shortest time from then on.
    """
    limits = model_limits(workload.routes.values())
    bound = 0.0
    for model, slots in limits.items():
        most = max(
            route.max_records_per_job
            for route in workload.routes.values()
            if base_model(route.model_id) == model
        )
        behind = 0
        for file in reversed(workload.files):
            if workload.model(file) == model:
                behind += file.records
                bound = max(bound, file.at + shortest(behind, slots, most))
    return bound
