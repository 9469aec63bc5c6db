"""The policy features hold for the plan of an applied stack, whose values are known, and they can fail."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.local_aws.processes import BUILD, ROOT, clean_environment, run
from tools import venv

pytestmark = pytest.mark.policy

FEATURES = ROOT / "tests" / "policy"
#: Longest time that terraform-compliance may take, in seconds.
TIMEOUT = 300.0


@pytest.fixture(scope="session")
def compliance() -> Path:
    """The program, in a virtual environment of its own: its pins hold back what the tests use."""
    python = venv.ensure(BUILD / "policy" / "venv", ROOT / "requirements" / "policy.txt")
    return python.with_name("terraform-compliance")


def check(compliance: Path, plan: Path) -> subprocess.CompletedProcess[str]:
    """Run every feature over the plan; the exit code is 0 only when none failed."""
    # GitPython looks for git when it is imported; nothing here uses it.
    env = clean_environment()
    path = os.pathsep.join([str(compliance.parent), env.get("PATH", os.defpath)])
    env |= {"GIT_PYTHON_REFRESH": "quiet", "HOME": str(BUILD / "policy"), "PATH": path}
    command = [str(compliance), "-f", str(FEATURES), "-p", str(plan), "--no-ansi"]
    return run(command, env, ROOT, timeout=TIMEOUT, log=BUILD / "policy" / "terraform-compliance.log")


def values(plan: Any, kind: str) -> list[dict[str, Any]]:
    """Return the values of every resource of a type, wherever terraform-compliance reads them from."""
    found: list[dict[str, Any]] = []

    def walk(module: dict[str, Any]) -> None:
        found.extend(r["values"] for r in module.get("resources", []) if r["type"] == kind)
        for child in module.get("child_modules", []):
            walk(child)

    walk(plan["planned_values"]["root_module"])
    changes = [c for c in plan["resource_changes"] if c["type"] == kind]
    found.extend(c["change"]["after"] for c in changes if c["change"]["after"])
    return found


def test_there_are_features() -> None:
    assert sorted(FEATURES.glob("*.feature")), f"no features in {FEATURES}"


def test_the_plan_satisfies_every_feature(compliance: Path, plan: Path) -> None:
    done = check(compliance, plan)

    assert done.returncode == 0, done.stdout + done.stderr


def no_recovery(plan: Any) -> None:
    for table in values(plan, "aws_dynamodb_table"):
        table["point_in_time_recovery"] = [{"enabled": False}]


def public_bucket(plan: Any) -> None:
    for block in values(plan, "aws_s3_bucket_public_access_block"):
        block["block_public_policy"] = False


def endless_logs(plan: Any) -> None:
    for group in values(plan, "aws_cloudwatch_log_group"):
        group["retention_in_days"] = 0


def no_dead_letters(plan: Any) -> None:
    for function in values(plan, "aws_lambda_function"):
        function["dead_letter_config"] = []


@pytest.mark.parametrize("break_it", [no_recovery, public_bucket, endless_logs, no_dead_letters])
def test_a_broken_plan_fails(
    compliance: Path, plan: Path, tmp_path: Path, break_it: Callable[[Any], None]
) -> None:
    broken = json.loads(plan.read_text())
    break_it(broken)
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(broken))

    done = check(compliance, file)

    assert done.returncode != 0, f"no feature minds {break_it.__name__}:\n{done.stdout}"
