"""checkov finds nothing in module and examples that is not mended or justified, and it can find something.

It looks twice, because each way sees what the other does not: at the configuration, which has every example
and the options that the local stack does not use, and at the plan of the applied stack, which has the values
that the configuration takes from variables, conditions and other resources.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_policy import values
from tests.local_aws.processes import BUILD, ROOT, clean_environment, run
from tools import venv

pytestmark = pytest.mark.checkov

#: Longest time that a scan may take, in seconds.
TIMEOUT = 300.0
#: It has no need of the network: whatever it would ask is refused at once by a port that nobody listens on.
NOWHERE = "http://127.0.0.1:9"
SKIP = re.compile(r"checkov:skip=(?P<check>[A-Z0-9_]+)(?::(?P<reason>.*))?$", re.MULTILINE)
#: Fewer characters say no reason.
REASON = 20


@dataclass(frozen=True)
class Report:
    """What a scan found: how many checks passed, and check and resource of what failed or was skipped."""

    passed: int
    failed: list[tuple[str, str]]
    skipped: set[tuple[str, str]]


@pytest.fixture(scope="session")
def checkov() -> Path:
    """The program, in a virtual environment of its own."""
    python = venv.ensure(BUILD / "checkov" / "venv", ROOT / "requirements" / "checkov.txt")
    return python.with_name("checkov")


@pytest.fixture(scope="session")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Terraform files of the checkout and nothing else, in their places."""
    copy = tmp_path_factory.mktemp("configuration")
    folders = [ROOT, *sorted((ROOT / "examples").iterdir()), ROOT / "tests" / "local_aws" / "stack"]
    for file in (file for folder in folders for file in folder.glob("*.tf")):
        target = copy / file.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    return copy


def scan(checkov: Path, *options: str) -> Report:
    """Run checkov and return what it found. A finding is no reason for it to end with an error of its own."""
    env = clean_environment()
    env |= {
        "PATH": os.pathsep.join([str(checkov.parent), env.get("PATH", os.defpath)]),
        "HOME": str(BUILD / "checkov"),
        "CKV_SKIP_PACKAGE_UPDATE_CHECK": "true",
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), NOWHERE),
    }
    common = ["--skip-download", "--download-external-modules", "false", "--compact", "--output", "json"]
    log = BUILD / "checkov" / "checkov.log"
    done = run([str(checkov), *options, *common], env, ROOT, timeout=TIMEOUT, log=log)
    try:
        found = json.loads(done.stdout)
        results, summary = found["results"], found["summary"]
    except (ValueError, KeyError, TypeError):
        pytest.fail(f"checkov gave no report (exit code {done.returncode}):\n{done.stdout}{done.stderr}")
    assert not summary["parsing_errors"], results.get("parsing_errors")

    def pairs(kind: str) -> list[tuple[str, str]]:
        return sorted((each["check_id"], each["resource"]) for each in results[kind])

    return Report(summary["passed"], pairs("failed_checks"), set(pairs("skipped_checks")))


def scan_configuration(checkov: Path, folder: Path) -> Report:
    """Scan every Terraform file below the folder."""
    return scan(checkov, "--directory", str(folder), "--framework", "terraform")


def scan_plan(checkov: Path, plan: Path, configuration: Path) -> Report:
    """Scan a plan; the configuration says what is skipped."""
    enriched = ["--repo-root-for-plan-enrichment", str(configuration)]
    return scan(checkov, "--file", str(plan), "--framework", "terraform_plan", *enriched)


@pytest.fixture(scope="session")
def of_configuration(checkov: Path, configuration: Path) -> Report:
    """What checkov says of the configuration."""
    return scan_configuration(checkov, configuration)


@pytest.fixture(scope="session")
def of_plan(checkov: Path, configuration: Path, plan: Path) -> Report:
    """What checkov says of the plan."""
    return scan_plan(checkov, plan, configuration)


def test_the_configuration_has_no_finding(of_configuration: Report) -> None:
    assert of_configuration.failed == []
    assert of_configuration.passed > 0


def test_the_plan_has_no_finding(of_plan: Report) -> None:
    assert of_plan.failed == []
    assert of_plan.passed > 0


def test_every_skip_has_its_reason(configuration: Path) -> None:
    for file in configuration.rglob("*.tf"):
        for found in SKIP.finditer(file.read_text()):
            assert len(found["reason"] or "") >= REASON, f"{file.relative_to(configuration)}: {found[0]}"


def test_every_skip_is_still_needed(configuration: Path, of_configuration: Report, of_plan: Report) -> None:
    written = {
        found["check"] for file in configuration.rglob("*.tf") for found in SKIP.finditer(file.read_text())
    }

    assert written == {check for check, _ in of_configuration.skipped | of_plan.skipped}


def test_a_broken_configuration_has_a_finding(checkov: Path, configuration: Path, tmp_path: Path) -> None:
    # given an example whose key does not rotate
    broken = tmp_path / "broken"
    shutil.copytree(configuration / "examples" / "kms", broken)
    file = broken / "kms.tf"
    file.write_text(file.read_text().replace("enable_key_rotation = true", "enable_key_rotation = false"))

    found = scan_configuration(checkov, broken)

    assert ("CKV_AWS_7", "aws_kms_key.this") in found.failed


def test_a_broken_plan_has_findings(checkov: Path, configuration: Path, plan: Path, tmp_path: Path) -> None:
    # given a plan with a table that cannot be restored and dead letters in the clear
    changed: Any = json.loads(plan.read_text())
    for table in values(changed, "aws_dynamodb_table"):
        table["point_in_time_recovery"] = [{"enabled": False}]
    for queue in values(changed, "aws_sqs_queue"):
        queue["sqs_managed_sse_enabled"] = False
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(changed))

    found = scan_plan(checkov, file, configuration)

    assert {"CKV_AWS_28", "CKV_AWS_27"} <= {check for check, _ in found.failed}
