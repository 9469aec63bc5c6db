"""Terraform on the local AWS: plug-ins, data, state and logs of a stack lie in its folder of .build."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.local_aws.processes import LocalAwsError, run
from tools import terraform_env

SOURCE = Path(__file__).parent / "stack"
#: Longest time for each command, in seconds. The provider's own waits make an apply take one to two minutes.
TIMEOUTS = {
    "init": 300.0,
    "apply": 900.0,
    "destroy": 900.0,
    "plan": 300.0,
    "output": 60.0,
    "show": 120.0,
    "state": 60.0,
}
#: The address of a data source, in any module.
DATA = re.compile(r"(module\.[^.\[]+(\[[^\]]*\])?\.)*data\.")
NO_CHANGES, CHANGES = 0, 2


class Terraform:
    """The root in ``source``, applied to one endpoint; ``folder``, `.build/<stack>`, gets what it writes."""

    def __init__(
        self,
        folder: Path,
        endpoint: str,
        region: str,
        variables: Mapping[str, Any],
        *,
        source: Path = SOURCE,
    ) -> None:
        self.source = source
        self.folder = folder
        self.root = folder / "root-module"
        self.log = folder / "terraform.log"
        self.endpoint = endpoint
        self.region = region
        self.variables = dict(variables)
        self._ready = False

    def init(self) -> None:
        """Copy the root (the module itself stays where it is: `../../..`) and initialise it."""
        if self._ready:
            return
        self.root.mkdir(parents=True, exist_ok=True)
        for old in self.root.glob("*.tf"):
            old.unlink()
        for file in self.source.glob("*.tf"):
            shutil.copy(file, self.root)
        self._write_variables()
        self._terraform("init", "-no-color", "-input=false", "-upgrade=false")
        self._ready = True

    def apply(self, variables: Mapping[str, Any] | None = None) -> None:
        """Apply, after changing the given variables. Raises LocalAwsError with Terraform's message."""
        self.variables.update(variables or {})
        self.init()
        self._write_variables()
        self._terraform("apply", "-no-color", "-input=false", "-auto-approve", "-lock-timeout=30s")

    def plan(self, *options: str, out: Path | None = None) -> tuple[bool, str]:
        """Plan and return whether anything would change, and what Terraform says. ``out`` keeps the plan."""
        self.init()
        keep = [*options, *([f"-out={out}"] if out else [])]
        done = self._terraform(
            "plan", "-no-color", "-input=false", "-detailed-exitcode", *keep, good=(NO_CHANGES, CHANGES)
        )
        return done.returncode == CHANGES, done.stdout

    def plan_json(self, *options: str) -> dict[str, Any]:
        """Plan, with more options such as ``-var=…``, and return the plan in Terraform's JSON format."""
        file = self.folder / "saved.tfplan"
        self.plan(*options, out=file)
        done = self._terraform("show", "-json", str(file))
        return dict(json.loads(done.stdout))

    def destroy(self) -> None:
        """Destroy everything. Raises LocalAwsError with Terraform's message."""
        self.init()
        self._terraform("destroy", "-no-color", "-input=false", "-auto-approve", "-lock-timeout=30s")

    def resources(self) -> list[str]:
        """Return the addresses of what the state holds."""
        self.init()
        addresses = self._terraform("state", "list").stdout.splitlines()
        return [each for each in addresses if not DATA.match(each)]

    def outputs(self) -> dict[str, Any]:
        """Return the outputs' values by name."""
        self.init()
        found = json.loads(self._terraform("output", "-json").stdout)
        return {name: entry["value"] for name, entry in found.items()}

    def _write_variables(self) -> None:
        text = json.dumps(self.variables, indent=2, sort_keys=True)
        (self.root / "terraform.tfvars.json").write_text(text + "\n")

    def _terraform(
        self, command: str, *options: str, good: tuple[int, ...] = (0,)
    ) -> subprocess.CompletedProcess[str]:
        env = terraform_env.environment(self.folder / "terraform-data") | {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
        }
        if not shutil.which("terraform"):
            raise LocalAwsError("terraform is not on the PATH: install Terraform 1.11 or newer")
        done = run(["terraform", command, *options], env, self.root, timeout=TIMEOUTS[command], log=self.log)
        if done.returncode not in good:
            raise LocalAwsError(
                f"terraform {command} failed (exit code {done.returncode}):\n{done.stderr.strip()}"
            )
        return done
