"""Make a virtual environment from a hashed requirements file, once. Needs nothing but Python itself.

    python tools/venv.py .venv requirements/dev.txt
    python tools/venv.py .build/venv requirements/localstack-4.9.2.txt --project tests/local_aws/plugins
    python tools/venv.py .venv requirements/dev.txt --project simulator --editable

A stamp in the environment holds a digest of everything it was made from; as long as that is the same, nothing
is done.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUPPORTED = ((3, 11), (3, 13))
ATTEMPTS = 4
#: Longest time that one pip run may take, in seconds.
INSTALL_TIMEOUT = 1200
#: A connection that stalls is given up soon, whatever the machine's own setting, and tried again.
OPTIONS = ("--disable-pip-version-check", "--no-input", "--timeout", "30", "--retries", "5")
#: A module is compiled when it is first imported: most of them never are.
HASHED = ("--require-hashes", "--no-compile")
PIP = ROOT / ".build" / "pip"
PIP_REQUIREMENTS = ROOT / "requirements" / "pip.txt"
PIP_COMMAND = (str(PIP / "bin" / "python"), "-m", "pip", *OPTIONS)
#: pip settings that would put the packages somewhere else than into the environment.
MISPLACING = ("PIP_TARGET", "PIP_USER", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIRE_VIRTUALENV", "PIP_NO_DEPS")


class InstallError(RuntimeError):
    """The environment could not be made; the message says what to do."""


def digest(requirements: Path) -> str:
    """Return a digest of what an environment is made from: this Python and the requirements."""
    python = (
        f"{platform.python_implementation()} {platform.python_version()} {Path(sys.executable).resolve()}"
    )
    return hashlib.sha256(f"{python}\n".encode() + requirements.read_bytes()).hexdigest()


def project_digest(project: Path, *, editable: bool = False) -> str:
    """Return a digest of the files of a project of our own that its installation depends on."""
    if editable:
        return hashlib.sha256(f"{project}\n".encode() + (project / "pyproject.toml").read_bytes()).hexdigest()
    parts = hashlib.sha256()
    for file in sorted(p for p in project.rglob("*") if p.suffix in {".py", ".toml"}):
        parts.update(f"\n{file.relative_to(project)}\n".encode() + file.read_bytes())
    return parts.hexdigest()


def ensure(
    directory: Path,
    requirements: Path,
    project: Path | None = None,
    *,
    editable: bool = False,
    lean: bool = False,
) -> Path:
    """Make ``directory`` hold exactly what ``requirements`` (with hashes) names, and return its Python.

    ``project`` is a folder with a pyproject.toml of our own that is installed on top, without dependencies;
    ``editable``: where it lies, so that only a change of its pyproject.toml installs it anew. ``lean``: the
    packages may ask for others that are left out.
    Raises InstallError when Python is not supported or the installation fails several times.
    """
    if not SUPPORTED[0] <= sys.version_info[:2] <= SUPPORTED[1]:
        raise InstallError(
            f"Python {platform.python_version()} is not supported: use 3.11, 3.12 or 3.13, "
            "for example `make PYTHON=python3.12 …`."
        )
    python = directory / "bin" / "python"
    with _locked(directory):
        _once(directory, requirements, partial(_make, directory, requirements, lean=lean))
        if project is not None:
            stamp, wanted = directory / ".project", project_digest(project, editable=editable)
            if not _reads(stamp, wanted):
                _install_project(directory, project, editable=editable)
                stamp.write_text(wanted)
    return python


def _reads(file: Path, text: str) -> bool:
    return file.exists() and file.read_text() == text


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One process at a time makes an environment; the others wait."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    locks = ROOT / ".build" / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / "-".join(directory.parts[-2:]).strip(".")).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _once(directory: Path, requirements: Path, make: Callable[[], None]) -> None:
    """Have an environment made, unless it is there and was made from these requirements."""
    stamp, wanted = directory / ".made-from", digest(requirements)
    if not ((directory / "bin" / "python").exists() and _reads(stamp, wanted)):
        shutil.rmtree(directory, ignore_errors=True)
        make()
        stamp.write_text(wanted)


def _pip(directory: Path) -> list[str]:
    """Return the pip that installs into every environment, of which none needs one of its own."""
    with _locked(PIP):
        _once(PIP, PIP_REQUIREMENTS, _make_pip)
    return [*PIP_COMMAND, "--python", str(directory / "bin" / "python")]


def _make_pip() -> None:
    log = _log(PIP_REQUIREMENTS.stem)
    _make_empty(PIP, log)
    _retry([*PIP_COMMAND, "install", *HASHED, "-r", str(PIP_REQUIREMENTS)], log)


def _make_empty(directory: Path, log: Path, *options: str) -> None:
    make = [sys.executable, "-m", "venv", *options, str(directory)]
    _run(make, log, "the virtual environment could not be made")


def _log(name: str) -> Path:
    log = ROOT / ".build" / "logs" / f"install-{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    return log


def _make(directory: Path, requirements: Path, *, lean: bool) -> None:
    began = time.monotonic()
    shown = directory.relative_to(ROOT) if directory.is_relative_to(ROOT) else directory
    print(f"setup: installing {requirements.name} into {shown} (once)…", file=sys.stderr, flush=True)
    log = _log(requirements.stem)
    _make_empty(directory, log, "--without-pip")
    options = [*HASHED, *(["--no-deps"] if lean else [])]
    _retry([*_pip(directory), "install", *options, "-r", str(requirements)], log)
    print(f"setup: {shown} is ready after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def _install_project(directory: Path, project: Path, *, editable: bool) -> None:
    options = ["--no-deps", "--no-build-isolation", "--force-reinstall"]
    if editable:
        _retry([*_pip(directory), "install", *options, "--editable", str(project)], _log(project.name))
        return
    # setuptools builds beside the sources: a copy keeps the checkout clean.
    copy = ROOT / ".build" / "sources" / project.name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    _retry([*_pip(directory), "install", *options, str(copy)], _log(project.name))


def _retry(command: list[str], log: Path) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _run(command, log, "the packages could not be installed")
        except InstallError:
            # Hashes that differ and versions that do not exist stay so; the network comes back.
            text = log.read_text(errors="replace")
            if attempt == ATTEMPTS or "DO NOT MATCH THE HASHES" in text or "No matching distribution" in text:
                raise
            print(
                f"setup: the installation failed, attempt {attempt + 1} of {ATTEMPTS}…",
                file=sys.stderr,
                flush=True,
            )
            time.sleep(2**attempt)
    return None


def _run(command: list[str], log: Path, failure: str) -> None:
    env = {k: v for k, v in os.environ.items() if k not in MISPLACING and not k.startswith("PYTHON")}
    env.pop("VIRTUAL_ENV", None)
    env["NO_COLOR"] = "1"
    with log.open("a") as out:
        out.write(f"$ {' '.join(command)}\n")
        out.flush()
        try:
            code = subprocess.run(
                command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                timeout=INSTALL_TIMEOUT,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise InstallError(f"{failure}: no end after {INSTALL_TIMEOUT} s; see {log}") from error
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise InstallError(f"{failure} (exit code {code}):\n{tail}\nAll of it: {log}")


def main() -> int:
    """Command line: see the module's doc string."""
    parser = argparse.ArgumentParser(
        description="Make a virtual environment from a hashed requirements file, once."
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("requirements", type=Path)
    parser.add_argument("--project", type=Path)
    parser.add_argument("--editable", action="store_true", help="install the project where it lies")
    args = parser.parse_args()
    try:
        ensure(
            args.directory.absolute(),
            args.requirements.absolute(),
            args.project and args.project.absolute(),
            editable=args.editable,
        )
    except InstallError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
