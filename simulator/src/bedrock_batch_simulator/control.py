"""A client of the server's control API, for tests that drive it from another process.

`python -m bedrock_batch_simulator.control URL` says whether one is there: exit code 0 when it is, 1 when not.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import urlencode


class ControlError(RuntimeError):
    """The simulator refused a control call; the text is its reason."""


class SimulatorControl:
    """Drive a running server at `base_url` (`http://127.0.0.1:8765`). `timeout`: seconds for each call.

    Each method is a call of its control API, JSON over HTTP at `/_simulator/…`. `account` and `region` name
    where; without them it is where requests are that are not signed. All raise ControlError, with the reason,
    for what the server refuses, and OSError when it is not there.
    """

    def __init__(self, base_url: str, timeout: float = 60.0) -> None:
        self.base_url = base_url.rstrip("/")
        self._timeout = timeout

    def _send(self, method: str, name: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.base_url}/_simulator/{name}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as answer:
                result: dict[str, Any] = json.load(answer)
                return result
        except urllib.error.HTTPError as error:
            raise ControlError(json.load(error).get("message", str(error))) from None

    def health(self) -> dict[str, Any]:
        """`{"status": "ok", "jobs": …, "places": […], "clock": …}`; `places`: accounts and Regions so far."""
        return self._send("GET", "health")

    def state(self, account: str = "", region: str = "") -> dict[str, Any]:
        """Jobs with timelines, models with active and peak, calls, events, faults, configuration, clock."""
        return self._send("GET", f"state?{urlencode({'account': account, 'region': region})}")

    def jobs(self, account: str = "", region: str = "") -> list[dict[str, Any]]:
        """The jobs of `state`."""
        jobs: list[dict[str, Any]] = self.state(account, region)["jobs"]
        return jobs

    def events(self) -> list[dict[str, Any]]:
        """The last state-change events everywhere, oldest first, each as EventBridge delivers it."""
        events: list[dict[str, Any]] = self._send("GET", "events")["events"]
        return events

    def configure(self, **patch: Any) -> dict[str, Any]:
        """Merge `patch` into the configuration; returns the whole of it."""
        return self._send("POST", "config", patch)

    def faults(self, *rules: Mapping[str, Any], clear: bool = False) -> list[dict[str, Any]]:
        """Put rules in force (after forgetting the old ones with `clear`); returns those in force."""
        active: list[dict[str, Any]] = self._send("POST", "faults", {"faults": list(rules), "clear": clear})[
            "faults"
        ]
        return active

    def advance(self, seconds: float) -> dict[str, Any]:
        """Move the simulated clock ahead and let all happen that falls due; returns the clock."""
        return self._send("POST", "clock", {"advance": seconds})

    def clock(
        self, mode: Literal["manual", "wall"] | None = None, speed: float | None = None
    ) -> dict[str, Any]:
        """Let the clock stand still or run, or change its speed; returns the clock."""
        return self._send(
            "POST", "clock", {name: v for name, v in (("mode", mode), ("speed", speed)) if v is not None}
        )

    def foreign(
        self, model_id: str, count: int = 1, seconds: float = 60.0, account: str = "", region: str = ""
    ) -> list[str]:
        """Start jobs of somebody else that hold slots of the model; returns their ARNs."""
        where = {"account": account, "region": region}
        body = {"model_id": model_id, "count": count, "seconds": seconds, **where}
        arns: list[str] = self._send("POST", "foreign", body)["jobArns"]
        return arns

    def reset(self, config: bool = False) -> None:
        """Forget jobs, counts, faults and events; with `config` go back to the first configuration too."""
        self._send("POST", "reset", {"config": config})

    def wait_for(
        self, condition: Callable[[dict[str, Any]], bool], timeout: float = 30.0, interval: float = 0.05
    ) -> dict[str, Any]:
        """Poll `state` until `condition` holds and return it; raises TimeoutError after `timeout` seconds."""
        end = time.monotonic() + timeout
        while True:
            state = self.state()
            if condition(state):
                return state
            if time.monotonic() >= end:
                jobs = {job["jobName"]: job["status"] for job in state["jobs"]}
                raise TimeoutError(f"the condition did not come true within {timeout} s; jobs: {jobs}")
            time.sleep(interval)


def main(arguments: list[str] | None = None) -> int:
    """Say whether a server is at the URL that is the one argument; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 1:
        print("usage: python -m bedrock_batch_simulator.control URL", file=sys.stderr)
        return 2
    try:
        health = SimulatorControl(given[0], timeout=2).health()
    except (OSError, ValueError, ControlError) as error:
        print(f"no simulator at {given[0]}: {error}", file=sys.stderr)
        return 1
    print(f"{health['status']}, {health['jobs']} jobs")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
