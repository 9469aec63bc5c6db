"""The page of measurements: rendered from whatever was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench import record
from tools import performance

pytestmark = pytest.mark.unit

FIGURES = {"quiet": 1.0, "noisy": 1.25, "jobs": 20}
MEASURED: dict[str, Any] = {
    "makespan": {
        "one workload": {
            "files": 3_000,
            "records": 10**6,
            "bound_minutes": 112.2,
            "goal": [1.05, 1.3],
            "schedulers": dict.fromkeys(
                (
                    "cold",
                    "right",
                    "three times too long",
                    "three times too short",
                    "article",
                    "orchestrator",
                ),
                FIGURES,
            ),
        }
    },
    "slots": {"workload": "one workload", "jobs": {}},
}


def test_a_makespan_is_shown_beside_its_goal_and_the_baselines() -> None:
    found = performance.page(MEASURED)
    row = "one workload | 3,000 | 112 | 1.05 (1.30) | **1.00 (1.25)** | 1.00 (1.25) | 1.00 (1.25) | 20 | 20"
    assert f"| {row} |" in found


def test_what_was_not_measured_is_left_out() -> None:
    assert performance.page({}).count("## ") == 0
    assert "## Makespan" not in performance.page({"cost": {"dollars": 1.5}})


def test_other_sections_have_tables_of_values_and_of_rows_and_plots() -> None:
    values = {
        "note": "How it is measured.",
        "calls": 12_345,
        "short texts": {"ratio": 0.653, "MB/s": 123.4},
        "long texts": {"ratio": 0.7, "MB/s": 99.94},
        "Cost by uploads": {"series": {"queue": [[1, 1]]}},
    }
    assert performance.section("reader", values) == "\n\n".join(
        (
            "## Reader",
            "How it is measured.",
            "![Cost by uploads](performance/reader-cost-by-uploads.svg)",
            "| what | measured |\n| --- | ---: |\n| calls | 12,345 |",
            (
                "|  | ratio | MB/s |\n| --- | ---: | ---: |\n"
                "| short texts | 0.65 | 123 |\n| long texts | 0.70 | 99.9 |"
            ),
        )
    )


def test_a_measurement_replaces_its_own_values_and_keeps_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "FILE", tmp_path / "build" / "bench.json")
    record.record("cost", {"a": 1, "b": {"x": 1}})
    record.record("reader", {"a": 3})
    record.record("cost", {"b": {"y": 2}})
    found = json.loads(record.FILE.read_text(encoding="utf-8"))
    assert found == {"cost": {"a": 1, "b": {"y": 2}}, "reader": {"a": 3}}
