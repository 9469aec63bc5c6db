"""checkov finds nothing in modules and examples but what is justified, and it can find something.

.checkov.yaml skips checks everywhere, whatever resource they fail for. So the scans here run without it, and
what they find must be, check by check, what ``ACCEPTED`` has: no more, and no less, for then a skip is not
needed any more.

checkov looks twice, because each way sees what the other does not: at the configuration, which has every
example and the options that the local stack does not use, and at the plan of the applied stack, which has the
values that the configuration takes from variables, conditions and other resources.
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
from tools.checks import terraform_roots

pytestmark = pytest.mark.checkov

#: Longest time that a scan may take, in seconds.
TIMEOUT = 300.0
#: It has no need of the network: whatever it would ask is refused at once by a port that nobody listens on.
NOWHERE = "http://127.0.0.1:9"
CONFIG = ROOT / ".checkov.yaml"
#: A skip of that file with the comment above it, and the fewest characters that are a reason.
SKIP = re.compile(r"(?P<reason>(?:^  #.*\n)*)^  - (?P<check>CKV\w+)$", re.MULTILINE)
REASON = 40
#: A resource in a finding: without its modules, and without the key of an instance.
RESOURCE = re.compile(r"(?P<kind>aws_\w+)\.(?P<name>\w+)(?:\[.*\])?$")
BUCKETS = {"aws_s3_bucket.this", "aws_s3_bucket.team"}
FUNCTIONS = {"aws_lambda_function.this"}
#: By check, what it fails for; .checkov.yaml has the reasons.
ACCEPTED = {
    "CKV_AWS_18": BUCKETS,
    "CKV_AWS_109": {"aws_iam_policy_document.key"},
    "CKV_AWS_111": {"aws_iam_policy_document.boundary", "aws_iam_policy_document.key"},
    "CKV_AWS_117": FUNCTIONS,
    "CKV_AWS_144": BUCKETS,
    "CKV_AWS_145": BUCKETS,
    "CKV_AWS_158": {"aws_cloudwatch_log_group.function"},
    "CKV_AWS_173": FUNCTIONS,
    "CKV_AWS_272": FUNCTIONS,
    "CKV_AWS_356": {"aws_iam_policy_document.boundary", "aws_iam_policy_document.key"},
    "CKV_AWS_394": {"aws_availability_zones.available"},
    "CKV2_AWS_11": {"aws_vpc.this"},
    "CKV2_AWS_62": {"aws_s3_bucket.this"},
}


@dataclass(frozen=True)
class Report:
    """What a scan found: how many checks passed, and check and resource of what failed."""

    passed: int
    failed: set[tuple[str, str]]


@pytest.fixture(scope="session")
def checkov() -> Path:
    """The program, in a virtual environment of its own."""
    python = venv.ensure(BUILD / "checkov" / "venv", ROOT / "requirements" / "checkov.txt")
    return python.with_name("checkov")


@pytest.fixture(scope="session")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Terraform files of the checkout and nothing else, in their places."""
    copy = tmp_path_factory.mktemp("configuration")
    for file in (file for folder in terraform_roots() for file in folder.glob("*.tf")):
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
    # In a folder without .checkov.yaml, which would be used.
    done = run([str(checkov), *options, *common], env, BUILD / "checkov", timeout=TIMEOUT, log=log)
    try:
        found = json.loads(done.stdout)
        results, summary = found["results"], found["summary"]
    except (ValueError, KeyError, TypeError):
        pytest.fail(f"checkov gave no report (exit code {done.returncode}):\n{done.stdout}{done.stderr}")
    assert not summary["parsing_errors"], results.get("parsing_errors")

    failed = set()
    for each in results["failed_checks"]:
        resource = RESOURCE.search(each["resource"])
        assert resource, each["resource"]
        failed.add((each["check_id"], f"{resource['kind']}.{resource['name']}"))
    assert not results["skipped_checks"], "a skip beside a resource: .checkov.yaml is the place for it"
    return Report(summary["passed"], failed)


def scan_configuration(checkov: Path, folder: Path) -> Report:
    """Scan every Terraform file below the folder."""
    return scan(checkov, "--directory", str(folder), "--framework", "terraform")


def scan_plan(checkov: Path, plan: Path) -> Report:
    """Scan a plan in JSON."""
    return scan(checkov, "--file", str(plan), "--framework", "terraform_plan")


@pytest.fixture(scope="session")
def of_configuration(checkov: Path, configuration: Path) -> Report:
    """What checkov says of the configuration."""
    return scan_configuration(checkov, configuration)


@pytest.fixture(scope="session")
def of_plan(checkov: Path, plan: Path) -> Report:
    """What checkov says of the plan."""
    return scan_plan(checkov, plan)


def accepted() -> set[tuple[str, str]]:
    """Every check with every resource that it fails for."""
    return {(check, resource) for check, resources in ACCEPTED.items() for resource in resources}


def test_the_configuration_has_no_other_finding(of_configuration: Report) -> None:
    assert of_configuration.failed - accepted() == set()
    assert of_configuration.passed > 0


def test_the_plan_has_no_other_finding(of_plan: Report) -> None:
    assert of_plan.failed - accepted() == set()
    assert of_plan.passed > 0


def test_every_skip_is_still_needed(of_configuration: Report, of_plan: Report) -> None:
    assert accepted() - of_configuration.failed - of_plan.failed == set()


def test_what_is_skipped_for_users_is_what_is_accepted_here() -> None:
    text = CONFIG.read_text()
    skips = {found["check"]: found["reason"] for found in SKIP.finditer(text)}

    assert skips.keys() == ACCEPTED.keys()
    assert len(skips) == text.count("  - CKV")
    for check, reason in skips.items():
        assert len(reason) >= REASON, f"{check} has no reason"


def test_a_broken_configuration_has_a_finding(checkov: Path, configuration: Path, tmp_path: Path) -> None:
    # given a key that does not rotate
    broken = tmp_path / "broken"
    shutil.copytree(configuration / "modules" / "kms-key", broken)
    file = broken / "main.tf"
    file.write_text(file.read_text().replace("enable_key_rotation = true", "enable_key_rotation = false"))

    found = scan_configuration(checkov, broken)

    assert ("CKV_AWS_7", "aws_kms_key.this") in found.failed


def test_a_broken_plan_has_findings(checkov: Path, plan: Path, tmp_path: Path) -> None:
    # given a plan with a table that cannot be restored and dead letters in the clear
    changed: Any = json.loads(plan.read_text())
    for table in values(changed, "aws_dynamodb_table"):
        table["point_in_time_recovery"] = [{"enabled": False}]
    for queue in values(changed, "aws_sqs_queue"):
        queue["sqs_managed_sse_enabled"] = False
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(changed))

    found = scan_plan(checkov, file)

    assert {"CKV_AWS_28", "CKV_AWS_27"} <= {check for check, _ in found.failed}
