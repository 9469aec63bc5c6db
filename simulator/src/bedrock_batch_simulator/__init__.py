"""A simulator of Amazon Bedrock's batch inference and of its models on demand, as strict as the service.

In a test: `mock_bedrock_batch` beside moto's `mock_aws`, or the pytest fixture of that name.
As a server: `bedrock-batch-simulator`, driven with `SimulatorControl`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .answering import Record
    from .answers import expected_output
    from .aws import Aws, Check, Principal
    from .clock import SpeedClock, VirtualClock
    from .config import Config
    from .control import ControlError, SimulatorControl
    from .core import Simulator
    from .endpoint import OpenAIEndpoint
    from .errors import ApiError, ConfigError, ConnectionLostError
    from .families import RecordError, Reply, ToolCall
    from .faults import Fault
    from .jobs import ACTIVE, TERMINAL
    from .mock import mock_bedrock_batch
    from .simulation import Simulation
    from .wire import attach

_HOMES = {
    "ACTIVE": "jobs",
    "TERMINAL": "jobs",
    "ApiError": "errors",
    "Aws": "aws",
    "Check": "aws",
    "Config": "config",
    "ConfigError": "errors",
    "ConnectionLostError": "errors",
    "ControlError": "control",
    "Fault": "faults",
    "OpenAIEndpoint": "endpoint",
    "Principal": "aws",
    "Record": "answering",
    "RecordError": "families",
    "Reply": "families",
    "Simulation": "simulation",
    "Simulator": "core",
    "SimulatorControl": "control",
    "SpeedClock": "clock",
    "ToolCall": "families",
    "VirtualClock": "clock",
    "attach": "wire",
    "expected_output": "answers",
    "mock_bedrock_batch": "mock",
}

__all__ = [
    "ACTIVE",
    "TERMINAL",
    "ApiError",
    "Aws",
    "Check",
    "Config",
    "ConfigError",
    "ConnectionLostError",
    "ControlError",
    "Fault",
    "OpenAIEndpoint",
    "Principal",
    "Record",
    "RecordError",
    "Reply",
    "Simulation",
    "Simulator",
    "SimulatorControl",
    "SpeedClock",
    "ToolCall",
    "VirtualClock",
    "attach",
    "expected_output",
    "mock_bedrock_batch",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: pytest loads the package for its fixture each time."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
