"""A simulator of Amazon Bedrock's batch inference and of its models on demand, as strict as the service.

In process: `Simulator` with a `VirtualClock`, an S3 client and `attach(simulator, boto3.client("bedrock"))`;
the same for `boto3.client("bedrock-runtime")`.
As a server: `python -m bedrock_batch_simulator --endpoint-url …`, driven with `SimulatorControl`.
"""

from .answers import expected_output
from .clock import SpeedClock, VirtualClock
from .config import Config
from .control import ControlError, SimulatorControl
from .core import ACTIVE, TERMINAL, Simulator
from .errors import ApiError, ConfigError, ConnectionLostError
from .faults import Fault
from .wire import attach

__all__ = [
    "ACTIVE",
    "TERMINAL",
    "ApiError",
    "Config",
    "ConfigError",
    "ConnectionLostError",
    "ControlError",
    "Fault",
    "Simulator",
    "SimulatorControl",
    "SpeedClock",
    "VirtualClock",
    "attach",
    "expected_output",
]
