"""Run the project's checks and end with one summary.

    python -m tools.checks                    # all of them
    python -m tools.checks unit integration   # some

What needs a local AWS waits for the AWS provider half of its time, so other parts run beside it. A part
that fails does not stop the others; the exit code is 0 only when every part passed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tools import attached, terraform_env, venv

ROOT = terraform_env.ROOT
BUILD = ROOT / ".build"
REPORTS = BUILD / "reports"
#: A project of its own, whose tests know nothing of this one.
SIMULATOR = ROOT / "simulator"
#: What the integration tests say about the emulator they ran on; tests/integration/conftest.py writes it.
EMULATOR = REPORTS / "emulator.txt"
#: The same of tests/iam/conftest.py.
IAM_EMULATOR = REPORTS / "iam-emulator.txt"
NO_TESTS = 5
TERRAFORM_TIMEOUT = 900


@dataclass
class Outcome:
    """How a part ended. ``cpu_seconds``: what its processes took, those aside that outlive it."""

    ok: bool
    detail: str
    cpu_seconds: float = 0.0


def run(command: list[str], env: dict[str, str] | None = None, cwd: Path = ROOT) -> int:
    """Run a command with its output passed through, and return its exit code."""
    sys.stdout.flush()
    return subprocess.run(command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, check=False).returncode


def python_environment() -> dict[str, str]:
    """Return the tests' environment: no foreign AWS settings but the LocalStack that the caller names."""
    env = terraform_env.without_settings(dict(os.environ))
    kept = ("AWS_ENDPOINT_URL", "LOCALSTACK_HOST", "EDGE_PORT", "USE_SSL")
    return env | {name: os.environ[name] for name in kept if name in os.environ}


def lint() -> Outcome:
    """Run ruff."""
    checked = run([sys.executable, "-m", "ruff", "check", "."])
    formatted = run([sys.executable, "-m", "ruff", "format", "--check", "--quiet", "."])
    if formatted:
        print("ruff: these files are not in the standard form: `make format` mends them")
        run([sys.executable, "-m", "ruff", "format", "--check", "."])
    return Outcome(not checked and not formatted, "ruff")


def types() -> Outcome:
    """Run mypy, strict on the functions and on the simulator."""
    codes = [run([sys.executable, "-m", "mypy"], cwd=folder) for folder in (ROOT, SIMULATOR)]
    return Outcome(not any(codes), "mypy, strict on lambdas/ and simulator/")


def terraform_format() -> Outcome:
    """Check Terraform's standard form."""
    code = run(
        ["terraform", "fmt", "-check", "-diff", "-recursive", "."],
        terraform_env.environment(BUILD / "terraform"),
    )
    return Outcome(not code, "terraform fmt")


def terraform_roots() -> list[Path]:
    """Return every folder that `terraform validate` is run in: modules, examples, the local stack."""
    others = sorted(p.parent for kind in ("modules", "examples") for p in (ROOT / kind).glob("*/main.tf"))
    return [ROOT, *others, ROOT / "tests" / "local_aws" / "stack"]


def terraform_in(root: Path, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run Terraform in ``root``, a folder of this checkout, with a data folder of its own."""
    return terraform_at(root, "-".join(root.relative_to(ROOT).parts) or "module", *arguments, text=text)


def terraform_at(root: Path, name: str, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run Terraform in any folder; its data are kept under ``name``. ``text``: what it reads."""
    data_dir = BUILD / "terraform" / name
    with ExitStack() as started:
        more = started.enter_context(attached.provider(data_dir)) if arguments[0] == "test" else {}
        return subprocess.run(
            ["terraform", *arguments],
            env=terraform_env.environment(data_dir) | DUMMY_KEYS | more,
            cwd=root,
            input=text,
            capture_output=True,
            text=True,
            timeout=TERRAFORM_TIMEOUT,
            check=False,
        )


#: Keys for runs that reach no AWS: `terraform test` with mocked providers.
DUMMY_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


def validate() -> Outcome:
    """Run `terraform validate` everywhere; a warning is a failure too."""
    print(f"terraform: the AWS provider comes from {terraform_env.prepare().description}")
    good = True
    roots = terraform_roots()
    for root in roots:
        shown = root.relative_to(ROOT)
        done = terraform_in(root, "init", "-backend=false", "-input=false", "-no-color")
        if done.returncode:
            good = False
            print(f"terraform init in {shown}:\n{done.stdout}{done.stderr}")
            continue
        report: dict[str, Any] = json.loads(terraform_in(root, "validate", "-json", "-no-color").stdout)
        for found in report["diagnostics"]:
            good = False
            place = found.get("range") or {}
            line = (place.get("start") or {}).get("line", "?")
            print(f"{shown}/{place.get('filename', '')}:{line}: {found['severity']}: {found['summary']}")
            print(f"    {found.get('detail', '')}")
    return Outcome(good, f"terraform validate without a warning in {len(roots)} folders")


def terraform_test() -> Outcome:
    """Run tests/terraform/*.tftest.hcl, and the pytest tests marked terraform."""
    folder = "tests/terraform"
    files = sorted((ROOT / folder).glob("*.tftest.hcl"))
    if not files:
        return Outcome(False, f"{folder} has no *.tftest.hcl")
    options = ("-no-color", f"-test-directory={folder}")
    done = terraform_in(ROOT, "init", "-backend=false", "-input=false", *options)
    if not done.returncode:
        done = terraform_in(ROOT, "test", *options)
    print(done.stdout + done.stderr)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("Success!", "Failure!"))]
    extra = pytest("terraform")
    result = lines[-1] if lines else "no result"
    return Outcome(not done.returncode and extra.ok, f"terraform test: {result} Messages: {extra.detail}")


def pytest(marker: str, *, folder: str = "") -> Outcome:
    """Run the tests that carry ``marker`` in a folder of tests/, the one of that name unless given."""
    code, counts = pytest_in(ROOT, marker, "-m", marker, f"tests/{folder or marker}")
    if code == NO_TESTS:
        print(f"pytest: there is no test marked {marker}")
        return Outcome(False, f"NO TESTS are marked {marker}")
    return Outcome(code == 0, counts or f"pytest ended with exit code {code}")


def pytest_in(
    project: Path,
    name: str,
    *arguments: str,
    python: Path | str = sys.executable,
    more: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Run tests of the project in a folder; return the exit code, and the counts of its report ``name``.

    ``more``: what the environment has besides.
    """
    REPORTS.mkdir(parents=True, exist_ok=True)
    report = REPORTS / f"{name}.xml"
    report.unlink(missing_ok=True)
    options = [f"--junit-xml={report}", "-o", "junit_family=xunit1"]
    code = run(
        [str(python), "-m", "pytest", *options, *arguments], {**python_environment(), **(more or {})}, project
    )
    return code, _counts(report)


def simulator() -> Outcome:
    """Run the simulator's own tests on its built package, outside of the checkout."""
    with tempfile.TemporaryDirectory(prefix="simulator-") as folder:
        here = Path(folder)
        build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder]
        if run(build, cwd=SIMULATOR):
            return Outcome(False, "the source distribution could not be built")
        (archive,) = here.glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(here, filter="data")
        project = here / archive.name.removesuffix(".tar.gz")
        site = here / "site"
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
        if run([*install, "--disable-pip-version-check", "--target", str(site), str(project)]):
            return Outcome(False, "the wheel could not be built or installed")
        code, counts = pytest_in(project, "simulator", more={"PYTHONPATH": str(site)})
    found = counts or f"pytest ended with exit code {code}"
    return Outcome(code == 0, f"{found}; {project.name} from its wheel")


def clients() -> Outcome:
    """Run other people's clients of Bedrock on the simulator's server, from a virtual environment of theirs.

    The server runs from this Python: what the clients need of botocore and what it needs are two matters.
    """
    try:
        python = venv.ensure(BUILD / "clients" / "venv", ROOT / "requirements" / "clients.txt", lean=True)
    except venv.InstallError as error:
        print(error)
        return Outcome(False, "the clients could not be installed")
    more = {"SIMULATOR_PYTHON": sys.executable}
    code, counts = pytest_in(SIMULATOR, "clients", "tests/clients", python=python, more=more)
    return Outcome(code == 0, counts or f"pytest ended with exit code {code}")


def _counts(report: Path) -> str:
    if not report.exists():
        return ""
    suite = ET.parse(report).getroot().find("testsuite")  # noqa: S314 (pytest's own report)
    if suite is None:
        return ""
    numbers = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
    passed = numbers["tests"] - numbers["failures"] - numbers["errors"] - numbers["skipped"]
    others = [f"{numbers[key]} {word}" for key, word in WORDS.items() if numbers[key]]
    return ", ".join([f"{passed} passed", *others])


WORDS = {"failures": "failed", "errors": "errors", "skipped": "SKIPPED"}


def integration() -> Outcome:
    """Run the tests on the local AWS; which one that was stands in the summary."""
    return on_emulator("integration", EMULATOR)


def iam() -> Outcome:
    """Run the proof of least privilege on a MiniStack that enforces IAM."""
    return on_emulator("iam", IAM_EMULATOR)


def on_emulator(marker: str, note: Path) -> Outcome:
    """Run the tests of one folder, which note down the emulator they ran on."""
    note.unlink(missing_ok=True)
    outcome = pytest(marker)
    where = note.read_text().strip() if note.exists() else "the local AWS did not start"
    return Outcome(outcome.ok, f"{outcome.detail}; on {where}")


def policy() -> Outcome:
    """Run terraform-compliance over a plan with known values."""
    return pytest("policy", folder="integration")


def checkov() -> Outcome:
    """Run checkov over the configuration and over the plan that the policy features hold for."""
    return pytest("checkov", folder="integration")


PARTS: dict[str, tuple[str, Callable[[], Outcome]]] = {
    "lint": ("lint", lint),
    "types": ("types", types),
    "format": ("terraform format", terraform_format),
    "validate": ("terraform validate", validate),
    "unit": ("unit", lambda: pytest("unit")),
    "simulator": ("simulator", simulator),
    "clients": ("clients", clients),
    "flows": ("flows", lambda: pytest("flows")),
    "client": ("client", lambda: pytest("client")),
    "terraform": ("terraform test", terraform_test),
    "faults": ("faults", lambda: pytest("faults")),
    "integration": ("integration", integration),
    "policy": ("policy", policy),
    "checkov": ("checkov", checkov),
    "iam": ("least privilege", iam),
}


#: The parts that run Terraform.
TERRAFORM_PARTS = {"format", "validate", "terraform", "integration", "iam"}


#: Parts that run one after the other; the chains run beside each other, as many as there are WORKERS, the
#: longest first. The plan that policy and checkov look at is integration's.
CHAINS = (
    ("integration", "policy", "checkov"),
    ("iam",),
    ("faults",),
    ("flows",),
    ("lint", "types", "format", "validate", "terraform"),
    ("simulator",),
    ("clients",),
    ("client",),
    ("unit",),
)
#: One more than the cores of a small machine: integration and iam wait half of their time.
WORKERS = 3


@dataclass
class Row:
    """A line of the summary."""

    part: str
    outcome: Outcome
    seconds: float

    @property
    def title(self) -> str:
        """The part as people know it."""
        return PARTS[self.part][0]

    def __str__(self) -> str:
        word = "passed" if self.outcome.ok else "FAILED"
        cpu = f"{self.outcome.cpu_seconds:5.0f} s of CPU"
        return f"{word}  {self.title:<18} {self.seconds:5.0f} s  {cpu}  {self.outcome.detail}"


def attempt(name: str) -> Row:
    """Run a part here; what it raises is its failure. The outcome is noted for whoever started this."""
    title, part = PARTS[name]
    print(f"\n=== {title}", flush=True)
    began, cpu_began = time.monotonic(), _cpu_seconds()
    try:
        outcome = part()
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        print(f"{type(error).__name__}: {error}")
        outcome = Outcome(False, f"{type(error).__name__}: {error}")
    outcome.cpu_seconds = _cpu_seconds() - cpu_began
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / f"{name}.json").write_text(json.dumps(asdict(outcome)))
    return Row(name, outcome, time.monotonic() - began)


def _cpu_seconds() -> float:
    """Return the CPU time of this process and of those that it started and that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def apart(name: str) -> Row:
    """Run a part in a process of its own, and print what it printed when it has ended."""
    began = time.monotonic()
    note = REPORTS / f"{name}.json"
    note.unlink(missing_ok=True)
    print(f"({PARTS[name][0]} begins)", flush=True)
    command = [sys.executable, "-m", "tools.checks", name]
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout.partition(SUMMARY)[0].rstrip(), flush=True)
    outcome = Outcome(False, f"ended with exit code {done.returncode}")
    if note.exists():
        outcome = Outcome(**json.loads(note.read_text()))
    return Row(name, outcome, time.monotonic() - began)


SUMMARY = "\n=== summary"


def main() -> int:
    """Command line: the parts to run, or none for all."""
    parser = argparse.ArgumentParser(prog="python -m tools.checks", description="Run the project's checks.")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"some of: {', '.join(PARTS)}; none for all")
    chosen = parser.parse_args().parts or list(PARTS)
    if unknown := [p for p in chosen if p not in PARTS]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if not shutil.which("terraform") and TERRAFORM_PARTS & set(chosen):
        print("terraform is not on the PATH: install Terraform 1.11 or newer", file=sys.stderr)
        return 1
    began = time.monotonic()
    chains = [some for chain in CHAINS if (some := [name for name in chain if name in chosen])]
    if len(chains) > 1:
        REPORTS.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(WORKERS) as pool:
            rows = list(
                itertools.chain.from_iterable(pool.map(lambda some: [apart(name) for name in some], chains))
            )
    else:
        rows = [attempt(name) for name in chosen]
    rows.sort(key=lambda row: list(PARTS).index(row.part))
    print(SUMMARY)
    print(*rows, sep="\n")
    bad = [row.title for row in rows if not row.outcome.ok]
    print(
        f"{'FAILED: ' + ', '.join(bad) if bad else 'All passed'} "
        f"({len(rows)} parts, {time.monotonic() - began:.0f} s)",
        flush=True,
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
