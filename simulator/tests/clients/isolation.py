"""The clients' environment: no settings but the tests' own, and no connection that leaves this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

REGION = "us-east-1"
#: Beginnings of the names of variables that would configure a client.
_FOREIGN = ("AIRFLOW", "AWS_", "BEDROCK_", "LITELLM_", "OPENAI_", "OTEL_")
#: Where nobody listens: what does not go to 127.0.0.1 ends here.
_NOWHERE = "http://127.0.0.1:9"
_LOCAL = ("127.0.0.1", "::1", "localhost")


def isolate(home: Path) -> None:
    """Set this process's environment, which the clients' processes inherit; `home` is for their files."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN) or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ.update(
        HOME=str(home),
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test-secret",
        AWS_DEFAULT_REGION=REGION,
        AWS_EC2_METADATA_DISABLED="true",
        AWS_MAX_ATTEMPTS="1",
        AIRFLOW_HOME=str(home / "airflow"),
        AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR",
        LITELLM_LOCAL_MODEL_COST_MAP="True",
        LITELLM_TELEMETRY="False",
        HTTP_PROXY=_NOWHERE,
        HTTPS_PROXY=_NOWHERE,
        NO_PROXY="127.0.0.1",
    )


def refuse_connections() -> list[str]:
    """Refuse each connection of this process that leaves the machine; returns the list of those."""
    refused: list[str] = []

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        place = None
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            place = arguments[1][0]
        elif event == "socket.getaddrinfo":
            place = arguments[0]
        if isinstance(place, bytes):
            place = place.decode()
        if place is not None and place not in _LOCAL:
            refused.append(f"{event} {place}")
            raise OSError(f"these tests reach nothing but this machine: {event} {place}")

    sys.addaudithook(look)
    return refused
