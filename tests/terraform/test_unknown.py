"""A plan checks what it knows of a route, also where the model is created in the same configuration."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tools import checks

pytestmark = pytest.mark.terraform

PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123def456"
CONFIGURATION = f"""
provider "aws" {{}}

resource "terraform_data" "profile" {{
  input = "{PROFILE}"
}}

module "queue" {{
  source   = "{checks.ROOT}"
  model_id = "amazon.nova-lite-v1:0"
  routes   = {{ labels = {{ model_id = terraform_data.profile.output, priorty = 9, timeout_hours = 1 }} }}
}}
"""
TEST = """
mock_provider "aws" {
  source          = "./mocks"
  override_during = plan
}

run "plan" {
  command = plan
}
"""


def test_a_model_that_is_not_known_yet_hides_no_other_fault(tmp_path: Path) -> None:
    shutil.copytree(checks.ROOT / "tests" / "terraform" / "mocks", tmp_path / "mocks")
    (tmp_path / "main.tf").write_text(CONFIGURATION)
    (tmp_path / "main.tftest.hcl").write_text(TEST)
    started = checks.terraform_at(tmp_path, "unknown", "init", "-backend=false", "-input=false", "-no-color")
    assert started.returncode == 0, started.stdout + started.stderr

    done = checks.terraform_at(tmp_path, "unknown", "test", "-json")

    reports = [json.loads(line) for line in done.stdout.splitlines()]
    told = [
        each["diagnostic"]["detail"]
        for each in reports
        if each["type"] == "diagnostic" and each["diagnostic"]["severity"] == "error"
    ]
    (message,) = told
    assert "- priorty is not an attribute of a route" in message
    assert "- timeout_hours is 1: write a whole number from 24 to 168" in message
