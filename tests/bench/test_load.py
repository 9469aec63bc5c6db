"""The tables of what the queue does under load, of its growth and of its cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from tests.bench.record import record
from tests.support import costs, goals
from tests.support.costs import PRICES, Line, Usage
from tests.support.goals import GOALS, MILLION

pytestmark = pytest.mark.bench

FUNCTIONS = {"create": "create_batch_queue", "process": "process_batch_jobs", "collect": "collect_results"}
PENDING = (100, 10_000, 100_000)
UPLOADS = (1_000, 10_000, 100_000, MILLION)


def test_the_goals() -> None:
    found = {name: goal.measured() for name, goal in GOALS.items()}
    for name, goal in GOALS.items():
        before = "" if goal.before is None else f"{goal.before:g}"
        print(f"{found[name]:>10,.4g}  goal {goal.goal:>5g}  before {before:>5}  {name}")
    record(
        "load",
        {
            name: {"measured": found[name], "goal": goal.goal, "before": goal.before}
            for name, goal in GOALS.items()
        },
    )
    assert [name for name, goal in GOALS.items() if found[name] > goal.limit] == []


def test_the_calls_of_a_burst() -> None:
    meter, uploads = goals.burst().load.meter, goals.burst().health.uploads
    found = {}
    for name, function in FUNCTIONS.items():
        calls = sorted(
            ((count, each[1]) for each, count in meter.calls.items() if each[0] == name), reverse=True
        )
        found[function] = {operation: count / uploads for count, operation in calls}
        print(f"\n{function}, for an upload:")
        for operation, count in found[function].items():
            print(f"{count:10.3f} {operation}")
    record("calls for an upload in a burst", found)
    units = {
        f"{FUNCTIONS[name]}: {kind} units": count / uploads for (name, kind), count in meter.units.items()
    }
    record("units for an upload in a burst", {"for an upload": units})
    assert found


def test_a_burst_without_the_limits_of_the_table() -> None:
    found = {}
    for name, run in (("as it is", goals.burst()), ("never throttled", goals.quick())):
        found[name] = {
            "last upload stored, s": run.stored,
            "first job, s": run.first_job,
            "tenth job, s": run.tenth_job,
            "jobs": run.jobs,
            "throttled calls": run.throttled,
        }
        print(f"\nDynamoDB {name}: " + ", ".join(f"{key} {value:.4g}" for key, value in found[name].items()))
    record("burst and throttling", found)
    assert found


def test_the_longest_share_of_a_time_out() -> None:
    runs = {
        "5,000 small uploads": goals.burst().health,
        "500 uploads in a job": goals.packed().health,
        "2,500 chunks": goals.large().health,
        "9,000 chunks": goals.tiny().health,
    }
    found = {name: health.longest_share for name, health in runs.items()}
    print(
        "\nlongest share of a time-out: " + ", ".join(f"{name} {share:.2f}" for name, share in found.items())
    )
    record("time-outs", {"longest share": found})
    assert max(found.values()) < 1


def test_growth() -> None:
    found = {}
    for pending in PENDING:
        for free, one in enumerate(goals.rounds(pending)):
            slots = "one slot free" if free else "no slot free"
            found[f"{pending:,} pending, {slots}"] = {
                "calls": one.calls,
                "items read": one.items,
                "s": one.seconds,
            }
            print(f"{pending:8,} pending, {slots}: {one.calls} calls, {one.items} items, {one.seconds:.1f} s")
    record("growth of one round", found)
    assert found


def test_costs() -> None:
    designs = {
        "the queue, one job each": costs.one_job_each(),
        "the queue, packed": goals.packed_line(),
        "AWS's article": Line(Usage(), costs.article()),
        "Step Functions": Line(Usage(), costs.step_functions()),
    }
    _print_costs(designs, (1_000, MILLION))
    series = {
        name: [[uploads, line.of(uploads).total] for uploads in UPLOADS] for name, line in designs.items()
    }
    plot = {"series": series, "x": "uploads", "y": "dollars", "log": True}
    table = {
        name: {f"{uploads:,} uploads, $": line.of(uploads).total for uploads in (1_000, MILLION)}
        | {f"{part} for an upload": getattr(line.each, part) for part in PRICES}
        for name, line in designs.items()
    }
    record("cost", {**table, "cost by uploads": plot})
    assert table


def _print_costs(designs: Mapping[str, Line], numbers: Sequence[int]) -> None:
    for uploads in numbers:
        print(f"\n{uploads:,} uploads, in dollars:")
        for name, line in designs.items():
            parts = ", ".join(
                f"{part} {cost:.3g}" for part, cost in line.of(uploads).dollars().items() if cost
            )
            print(f"{line.of(uploads).total:10.2f} {name} ({parts})")
