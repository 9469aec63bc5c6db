"""The dashboard and the alarms as Terraform plans them, without an AWS."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools import checks

#: What the picture is of: two routes, of which one has prices.
EXAMPLE = {
    "name": "reviews",
    "routes": {
        "bulk": {
            "model_id": "amazon.nova-lite-v1:0",
            "prices": {"input_per_million_tokens": 0.03, "output_per_million_tokens": 0.12},
        }
    },
}
_TEST = """
mock_provider "aws" {
  source          = "./mocks"
  override_during = plan
}

run "plan" {
  command = plan
}
"""


def plan(inputs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the planned values of the module with these inputs, by address; needs no AWS."""
    module = {
        "source": str(checks.ROOT),
        "model_id": "global.anthropic.claude-haiku-4-5-20251001-v1:0",
        **inputs,
    }
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "main.tf.json").write_text(json.dumps({"provider": {"aws": {}}, "module": {"queue": module}}))
        (root / "main.tftest.hcl").write_text(_TEST)
        (root / "mocks").symlink_to(checks.ROOT / "tests" / "terraform" / "mocks")
        started = checks.terraform_at(
            root, "dashboard", "init", "-backend=false", "-input=false", "-no-color"
        )
        done = checks.terraform_at(root, "dashboard", "test", "-json", "-verbose")
    if started.returncode or done.returncode:
        raise RuntimeError(
            f"terraform cannot plan the module: {started.stdout}{started.stderr}{done.stdout}{done.stderr}"
        )
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    (found,) = [report["test_plan"] for report in reports if report["type"] == "test_plan"]
    return {
        one["address"].removeprefix("module.queue."): one["change"]["after"]
        for one in found["resource_changes"]
    }


def body(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the dashboard of the module with these inputs, as its JSON has it."""
    return dict(json.loads(plan(inputs)["aws_cloudwatch_dashboard.this[0]"]["dashboard_body"]))


def expand(metrics: Sequence[Sequence[Any]]) -> list[tuple[list[str], dict[str, Any]]]:
    """Returns each metric of a widget as (namespace, name and dimensions, options)."""
    return [
        (
            [str(part) for part in one if not isinstance(part, Mapping)],
            dict(one[-1]) if isinstance(one[-1], Mapping) else {},
        )
        for one in metrics
    ]
