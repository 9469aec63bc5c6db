"""Builds dist/lambdas.zip from lambdas/, byte for byte the same wherever and whenever it is built.

Stored instead of compressed (the output of a compressor depends on its version), entries sorted by name,
with one fixed time and one fixed mode. ``python tools/package.py`` writes it; ``--check`` only compares.
"""

from __future__ import annotations

import argparse
import io
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "lambdas"
PACKAGE = ROOT / "dist" / "lambdas.zip"
_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that the format can express
_MODE = 0o100644  # a regular file that Lambda's user may read
_UNIX = 3


def build(sources: Path = SOURCES) -> bytes:
    """The package of the Python files below ``sources`` as bytes; names are relative to it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as package:
        for path in sorted(sources.rglob("*.py"), key=lambda path: path.relative_to(sources).as_posix()):
            entry = zipfile.ZipInfo(path.relative_to(sources).as_posix(), _TIME)
            entry.create_system = _UNIX
            entry.external_attr = _MODE << 16
            # A checkout with other line ends still gives the same package.
            package.writestr(entry, path.read_bytes().replace(b"\r\n", b"\n"))
    return buffer.getvalue()


def main(arguments: list[str] | None = None) -> int:
    """Writes the package, or with ``--check`` says whether it equals the sources (exit status 1 if not)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    options = parser.parse_args(arguments)
    content = build()
    current = PACKAGE.read_bytes() if PACKAGE.exists() else b""
    if current == content:
        print(f"{PACKAGE.relative_to(ROOT)} equals the sources ({len(content):,} bytes)")
        return 0
    if options.check:
        print(f"{PACKAGE.relative_to(ROOT)} differs from lambdas/: run `make package` and commit it")
        return 1
    PACKAGE.parent.mkdir(exist_ok=True)
    PACKAGE.write_bytes(content)
    print(f"wrote {PACKAGE.relative_to(ROOT)} ({len(content):,} bytes)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
