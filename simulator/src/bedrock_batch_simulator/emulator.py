"""An emulator of AWS beside the simulated Bedrock: its clients by account and Region, and its coming up."""

from __future__ import annotations

import importlib
import sys
import threading
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config as ClientConfig
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
)
from botocore.parsers import ResponseParserError

from .aws import Aws, Later
from .errors import ConfigError

_SERVER_ERRORS = 500
#: Those of `Aws`.
_SERVICES = ("s3", "iam", "kms", "ec2")
_CLIENT = ClientConfig(
    s3={"addressing_style": "path"},
    retries={"mode": "standard", "max_attempts": 5},
    connect_timeout=5,
    read_timeout=60,
)


class Emulator:
    """The services at `url`: call it with an account and a Region for what `Simulation` needs of them.

    `account`: the one that the emulator takes the access key "test" for; others are reached by a key that is
    the account. `plug`: see `plugged`.
    """

    def __init__(self, url: str, account: str, *, plug: str | None = None) -> None:
        self.url, self.account, self._plug = url, account, plug
        self._events: dict[tuple[str, str], Any] = {}

    def __call__(self, account: str, region: str) -> Aws:
        """The services in an account and a Region. Raises ConfigError for a wrong plug."""
        more = plugged(self._plug, self.url, region, account) if self._plug else {}
        return Aws(**{**self._clients(account, region, _SERVICES), **more})

    def events(self, account: str, region: str) -> Any:
        """The client of EventBridge in an account and a Region."""
        if (account, region) not in self._events:
            self._events[account, region] = self._clients(account, region, ("events",))["events"]
        return self._events[account, region]

    def _clients(self, account: str, region: str, names: Iterable[str]) -> dict[str, Any]:
        session: Any = boto3.session.Session(
            "test" if account == self.account else account, "test", region_name=region
        )
        make = partial(session.client, endpoint_url=self.url, config=_CLIENT)
        return {name: Later(partial(make, name)) for name in names}

    def wait(self, seconds: float, ended: threading.Event) -> None:
        """See `wait_for_s3`."""
        wait_for_s3(self.url, seconds, ended)


def plugged(name: str, endpoint_url: str, region: str, account: str) -> dict[str, Any]:
    """What `module:function` gives for an emulator: members of `Aws`, such as `authorize` and `s3_as`.

    Raises ConfigError where there is no such function, or where it fails or gives something else.
    """
    module, _, function = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        make = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"--plug {name}: {error}; write module:function") from None
    try:
        made: dict[str, Any] = make(endpoint_url=endpoint_url, region=region, account=account)
        Aws(None, **made)
    except Exception as error:  # noqa: BLE001 (it is not ours, and may do anything)
        raise ConfigError(
            f"--plug {name}: {type(error).__name__}: {error}; it is called with endpoint_url, region"
            " and account and gives a dict with members of Aws"
        ) from None
    return made


def wait_for_s3(endpoint_url: str, seconds: float, ended: threading.Event) -> None:
    """Return when Amazon S3 answers at `endpoint_url`, or `ended` is set.

    Raises ConfigError, with words for the user, for no URL, and when nothing that is S3 answers within
    `seconds`.
    """
    try:
        parts = urlsplit(endpoint_url)
        well_formed = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        well_formed = False
    if not well_formed:
        raise ConfigError(f"--endpoint-url {endpoint_url}: write a URL such as http://127.0.0.1:4566")
    session: Any = boto3.session.Session("test", "test", region_name="us-east-1")
    settings = ClientConfig(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=30)
    s3, end = session.client("s3", endpoint_url=endpoint_url, config=settings), time.monotonic() + seconds
    told = False
    while fault := _fault_of(s3):
        if time.monotonic() >= end:
            raise ConfigError(
                f"--endpoint-url {endpoint_url}: {fault}. Start an emulator of AWS there, name another"
                " one, or leave the option out for an AWS of its own."
            )
        if not told:
            print(
                f"bedrock-batch-simulator: waiting up to {seconds:g} s for {endpoint_url}",
                file=sys.stderr,
                flush=True,
            )
        told = True
        if ended.wait(0.25):
            return


def _fault_of(s3: Any) -> str:
    """Why what answers as S3 is none, "" when it is one."""
    try:
        answer = s3.list_buckets()
    except ClientError as error:
        code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        # An emulator that enforces IAM refuses the call as S3 does, with a code that is a word.
        if str(code).isalpha() and status < _SERVER_ERRORS:
            return ""
        return f"it answers HTTP {status}, not as Amazon S3 does"
    except EndpointConnectionError:
        return "nothing listens there"
    except ResponseParserError:
        return "it answers, but not as Amazon S3 does"
    except BotoCoreError as error:
        return str(error)
    return "" if "Buckets" in answer else "it answers, but not as Amazon S3 does"
