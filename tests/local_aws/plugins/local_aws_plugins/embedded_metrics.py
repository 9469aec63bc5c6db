"""What CloudWatch makes of the functions' output: metrics from lines in the embedded metric format.

As "Specification: Embedded metric format" of the CloudWatch User Guide has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Datapoint:
    """One value of one metric. ``dimensions``: name and value of each; ``at``: in epoch seconds."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    value: float
    unit: str
    at: float


def datapoints(output: str) -> Iterator[Datapoint]:
    """Yields what the lines of a function's output that are in this format contain."""
    for line in output.splitlines():
        if '"_aws"' in line:
            yield from _of(json.loads(line[line.index("{") :]))


def _of(document: Mapping[str, Any]) -> Iterator[Datapoint]:
    for directive in document["_aws"]["CloudWatchMetrics"]:
        for names in directive["Dimensions"]:
            dimensions = tuple((name, document[name]) for name in names)
            for metric in directive["Metrics"]:
                yield Datapoint(
                    directive["Namespace"],
                    metric["Name"],
                    dimensions,
                    document[metric["Name"]],
                    metric["Unit"],
                    document["_aws"]["Timestamp"] / 1000,
                )
