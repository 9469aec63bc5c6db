"""`pip install .` into an environment of its own, on every supported Python of this machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from bedrock_batch.version import VERSION

from tests.support.world import package_root

SUPPORTED = ("3.11", "3.12", "3.13")
#: How often each command is timed; the quickest run counts, as other work can only make one slower.
RUNS = 7
MOST = 1.5


def pythons() -> dict[str, str]:
    """Version → path of the supported Pythons: the one that runs this, and those on the PATH."""
    own = ".".join(map(str, sys.version_info[:2]))
    found = {version: shutil.which(f"python{version}") for version in SUPPORTED}
    works = {version: path for version, path in found.items() if path and _is(version, path)}
    return {**works, own: sys.executable}


def _is(version: str, path: str) -> bool:
    """Whether a Python is what its name says: it may be a stub of a version manager."""
    code = "import sys, ensurepip, venv; print('.'.join(map(str, sys.version_info[:2])))"
    done = subprocess.run([path, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip() == version


def seconds(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, timeout=60, check=True)
    return time.perf_counter() - began


@pytest.mark.parametrize("version", pythons())
def test_it_is_installed_and_its_help_is_quick(version: str, tmp_path: Path) -> None:
    # Given an empty environment
    subprocess.run([pythons()[version], "-m", "venv", tmp_path / "venv"], timeout=120, check=True)
    bin_ = tmp_path / "venv" / "bin"
    # When the checkout is installed into it
    install = [str(bin_ / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "."]
    subprocess.run(install, cwd=package_root(), timeout=600, check=True)
    # Then the command works, outside of the checkout
    shown = subprocess.run(
        [bin_ / "bedrock-batch", "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert shown.stdout == f"bedrock-batch {VERSION}\n"
    code = "import bedrock_batch; print(bedrock_batch.Queue('x').name, bedrock_batch.__file__)"
    found = subprocess.run(
        [bin_ / "python", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout.startswith(f"x {tmp_path}")
    # With its types, for those who check theirs
    assert (Path(found.stdout.split()[1]).parent / "py.typed").exists()
    # And its help takes less than one and a half times as long as the import of boto3
    help_, boto3 = [str(bin_ / "bedrock-batch"), "--help"], [str(bin_ / "python"), "-c", "import boto3"]
    both = [(seconds(help_), seconds(boto3)) for _ in range(RUNS)]
    ratio = min(one for one, _ in both) / min(other for _, other in both)
    print(f"Python {version}: --help takes {ratio:.2f} times as long as import boto3")
    assert ratio < MOST
