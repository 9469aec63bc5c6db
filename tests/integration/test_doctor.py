"""The doctor on the real stack: it finds everything in order, and what somebody has broken."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from bedrock_batch.connection import Connection
from bedrock_batch.doctor import Finding, examine

from tests.integration.user import Queue
from tests.local_aws.environment import LocalAws

MODEL = "amazon.nova-pro-v1:0"


class Session:
    """In the place of boto3's: a client of Bedrock reaches the simulator, every other LocalStack."""

    def __init__(self, stack: LocalAws) -> None:
        self._stack = stack
        self._session: Any = boto3.Session("test", "test", region_name=stack.region)

    def client(self, service: str, config: Any = None) -> Any:
        server = self._stack.bedrock if service == "bedrock" else self._stack.localstack
        return self._session.client(service, endpoint_url=server.endpoint, config=config)


@pytest.fixture
def connection(stack: LocalAws) -> Connection:
    return Connection(stack.name, Session(stack))  # type: ignore[arg-type]


def examined(connection: Connection) -> dict[str, Finding]:
    return {finding.what: finding for finding in examine(connection)}


def test_the_doctor_finds_what_is_broken_and_nothing_else(
    queue: Queue, connection: Connection, events: Any
) -> None:
    # Given a stack as Terraform has made it, but for a rule that somebody has disabled
    rule = connection.about.rules["sweep"]
    events.disable_rule(Name=rule)
    # And a model that runs no batch jobs
    queue.simulator.configure(models={MODEL: {"batch": False}})
    try:
        # When the doctor looks at it
        found = examined(connection)
    finally:
        queue.simulator.configure(models={MODEL: {"batch": True}})
        events.enable_rule(Name=rule)
    # Then it finds these two; the dead letters are those of other tests
    wrong = {what for what, finding in found.items() if finding.known and not finding.ok}
    assert wrong - {"dead letters"} == {"rule sweep", f"batch jobs of {MODEL} (Converse)"}
    assert f"aws events enable-rule --name {rule}" in found["rule sweep"].words
    assert found["service role"].ok
    # And of the quotas it cannot tell: LocalStack has none
    unknown = {what for what, finding in found.items() if not finding.known}
    assert unknown == {what for what in found if what.startswith("quota of ")}
    assert unknown
    # When it is put right, then nothing else is wrong
    again = examined(connection)
    assert {what for what, finding in again.items() if finding.known and not finding.ok} <= {"dead letters"}
