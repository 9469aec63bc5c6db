"""Bedrock's batch inference for tests of code that makes its own boto3 clients."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import boto3
from botocore.client import BaseClient
from botocore.model import OperationModel

from .aws import Aws, Later, Principal
from .clock import SpeedClock, VirtualClock
from .config import Config
from .errors import ConfigError
from .simulation import LONGEST, Simulation, account_in_key
from .validation import OPERATIONS, TAG_OPERATIONS
from .wire import answered

_SERVICES = ("bedrock", "bedrock-runtime")
_NO_S3 = (
    "mock_bedrock_batch reads inputs from Amazon S3 and writes results there. Use it together with moto's"
    " mock_aws, or set AWS_ENDPOINT_URL to an emulator of AWS, or give it a client: mock_bedrock_batch(s3=…)."
)


@contextmanager
def mock_bedrock_batch(
    *,
    s3: Any = None,
    account: str = "",
    speed: float = 0.0,
    seconds_per_call: float = 0.0,
    seed: int = 0,
    **settings: Any,
) -> Iterator[Simulation]:
    """Answer every boto3 client of `bedrock` and `bedrock-runtime` of this process by a simulation.

    Operations that are not simulated go on to whatever answered them before. The job's data are in moto's S3
    inside of `mock_aws`, in the emulator that AWS_ENDPOINT_URL names, or where the client `s3` looks.

    The simulated time begins now and stands still: move it with `clock.advance`. With `speed` it runs, so
    many seconds in each real one; with `seconds_per_call` each call moves it ahead, so that code that polls
    comes to an end. What falls due happens in calls of Bedrock and in `clock.advance`, so code that waits for
    results in S3 alone needs the latter. `account`: the account (that of moto unless told). `seed`: all
    chance. `settings`: those of `Config`; here `check_role` is off unless told, so that a role need not
    exist.

    Raises ConfigError at the first call when there is no S3 that is safe to use, and for a wrong setting.
    There are no retries by botocore: each fault reaches the caller.
    """
    if not 0 <= seconds_per_call <= LONGEST:
        raise ConfigError(f"seconds_per_call: must be between 0 and {LONGEST}, not {seconds_per_call}")
    clock = SpeedClock(speed) if speed else VirtualClock(time.time())
    own = account or os.environ.get("MOTO_ACCOUNT_ID", "123456789012")
    simulation = Simulation(
        lambda account, region: _beside(s3, region, at_home=account == own),
        clock=clock,
        account=own,
        region=boto3.session.Session().region_name or "us-east-1",
        account_of=_account_of,
        seed=seed,
        config=Config.from_dict({"check_role": False, **settings}),
    )
    # Private to botocore, but where every client of the process passes, whenever and however it was made.
    passed_on = BaseClient._make_request  # type: ignore[attr-defined]

    def make_request(
        client: Any, model: OperationModel, request: Mapping[str, Any], context: Any
    ) -> tuple[Any, Any]:
        ours = client.meta.service_model.service_name in _SERVICES and model.name in OPERATIONS
        if not ours or _is_of_another_resource(model, request):
            given: tuple[Any, Any] = passed_on(client, model, request, context)
            return given
        who = _principal(client)
        place = simulation.place_of(who, client.meta.region_name)
        if not simulation.agenda.ticking:  # else the answers of the user's own are calling
            simulation.clock.advance(seconds_per_call)
        return answered(place, model, request)

    try:
        with patch.object(BaseClient, "_make_request", make_request):
            yield simulation
    finally:
        simulation.close()


def _is_of_another_resource(model: OperationModel, request: Mapping[str, Any]) -> bool:
    """Whether an operation on tags is about a resource that is no job."""
    if model.name not in TAG_OPERATIONS:
        return False
    return ":model-invocation-job/" not in str(json.loads(request["body"]).get("resourceARN"))


def _principal(client: Any) -> Principal:
    signer = client._request_signer
    credentials = signer._credentials
    if credentials is None:
        return Principal()
    frozen = credentials.get_frozen_credentials()
    return Principal(frozen.access_key or "", frozen.token or "")


def _moto_is_on() -> bool:
    models = sys.modules.get("moto.core.models")
    return models is not None and models.botocore_stubber.enabled


def _account_of(who: Principal) -> str:
    known = sys.modules.get("moto.iam.models") if _moto_is_on() else None
    found = str(known.get_account_id_from(who.access_key)) if known and who.access_key else ""
    return found if known and found != known.DEFAULT_ACCOUNT_ID else account_in_key(who)


def _beside(s3: Any, region: str, *, at_home: bool) -> Aws:
    if s3 is None and not _moto_is_on() and not is_emulated():
        raise ConfigError(_NO_S3)
    if s3 is not None:
        return Aws(s3)
    # Roles, keys and networks of another account are not where these clients look; buckets are everybody's.
    names = ("s3", "iam", "kms", "ec2") if at_home else ("s3",)
    client: Any = boto3.client
    clients: dict[str, Any] = {name: Later(partial(client, name, region_name=region)) for name in names}
    return Aws(**clients, bucket_owner=_bucket_owner)


def _bucket_owner(bucket: str) -> str:
    known = sys.modules.get("moto.s3.models") if _moto_is_on() else None
    return str(known.s3_backends.bucket_accounts.get(bucket, ("", ""))[1]) if known else ""


def is_emulated() -> bool:
    """Whether the environment names an emulator of AWS."""
    return bool(os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT_URL_S3"))
