"""The version of this client, which is that of the module."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def _version() -> str:
    try:
        return version("bedrock-batch")
    except PackageNotFoundError:  # a checkout that is not installed
        return (Path(__file__).parents[2] / "VERSION").read_text().strip()


VERSION = _version()
