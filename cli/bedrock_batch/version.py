"""The version of this client, which is that of the module."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def _version() -> str:
    try:
        return version("bedrock-batch")
    except PackageNotFoundError:  # a checkout that is not installed
        text = (Path(__file__).parents[2] / "versions.tf").read_text()
        return text.partition('module_version = "')[2].partition('"')[0]


VERSION = _version()
