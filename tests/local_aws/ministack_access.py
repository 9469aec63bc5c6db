"""What lets MiniStack decide for the Bedrock simulator: `--plug tests.local_aws.ministack_access:plug`.

The decisions are those of MiniStack's control, see `ministack_server.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import boto3
from bedrock_batch_simulator import Check, Principal
from botocore.config import Config

from tests.local_aws.processes import http_json

_TIMEOUT = 30.0
_CLIENT = Config(
    s3={"addressing_style": "path"},
    retries={"mode": "standard", "max_attempts": 5},
    connect_timeout=5,
    read_timeout=60,
)


def plug(endpoint_url: str, region: str, account: str) -> dict[str, Callable[..., Any]]:
    """Return `authorize` and `s3_as` for the MiniStack at ``endpoint_url``; it has one account."""

    def ask(name: str, body: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = http_json(
            f"{endpoint_url}/_local_aws/{name}", body, method="POST", timeout=_TIMEOUT
        )
        return found

    def session_of(role_arn: str) -> dict[str, Any]:
        return ask("session", {"role_arn": role_arn, "name": "bedrock"})

    def authorize(who: Principal, checks: Sequence[Check]) -> str:
        made = session_of(who.role_arn) if who.role_arn else {}
        asked = [(each.action, each.resource, each.context) for each in checks]
        signer = {"access_key": who.access_key, "session_token": who.session_token}
        return str(ask("authorize", {**signer, **made, "checks": asked})["denied"])

    @cache
    def s3_as(role_arn: str) -> Any:
        made = session_of(role_arn)
        session = boto3.session.Session(
            aws_access_key_id=made["access_key"],
            aws_secret_access_key=made["secret_key"],
            aws_session_token=made["session_token"],
            region_name=region,
        )
        return session.client("s3", endpoint_url=endpoint_url, config=_CLIENT)

    return {"authorize": authorize, "s3_as": s3_as}
