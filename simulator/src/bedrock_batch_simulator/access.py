"""Who may do what at the simulated service, where an emulator that enforces IAM policies says so.

Each call is held against the caller's policies before anything else, and a job's data is reached as the
job's service role. Actions and resources are those of the Service Authorization Reference for Amazon
Bedrock; a call through an inference profile needs the profile and the model in the Regions it routes to
(Bedrock User Guide, "Prerequisites for inference profiles").
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .errors import ApiError
from .models import base_model_id, is_profile, model_arn
from .records import InputError, media_uris

PASSED_TO = "bedrock.amazonaws.com"
#: Where the simulated inference profiles route to, beside the job's own Region.
DESTINATIONS = ("us-east-1", "us-west-2")
_CREDENTIAL = re.compile(r"Credential=([^/]+)/")
_TIMEOUT = 30.0

Check = tuple[str, str, dict[str, str]]


class Access:
    """The decisions of the emulator at ``url`` (its control, see `tests/local_aws/ministack_server.py`).

    ``client``: makes an S3 client from an access key, a secret key and a session token.
    """

    def __init__(
        self, url: str, region: str, account: str, partition: str, client: Callable[[str, str, str], Any]
    ) -> None:
        self._url, self._region, self._account, self._partition = url, region, account, partition
        self._client = client
        self._clients: dict[str, Any] = {}

    def check(self, operation: str, params: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        """Raise an AccessDeniedException (`ApiError`) unless the signer of a request may do what it asks."""
        given = {name.lower(): value for name, value in headers.items()}
        key = _CREDENTIAL.search(given.get("authorization", ""))
        who = {
            "access_key": key[1] if key else "",
            "session_token": given.get("x-amz-security-token", ""),
        }
        self._authorize(who, list(self._checks(operation, params)))

    def s3(self, role_arn: str) -> Any:
        """An S3 client with a session of a job's service role."""
        if role_arn not in self._clients:
            made = self._ask("session", {"role_arn": role_arn, "name": "bedrock"})
            self._clients[role_arn] = self._client(
                made["access_key"], made["secret_key"], made["session_token"]
            )
        return self._clients[role_arn]

    def check_role(self, role_arn: str, model_id: str) -> None:
        """Raise InputError unless the service role may invoke the profile that a job runs through."""
        if not is_profile(model_id):
            return
        made = self._ask("session", {"role_arn": role_arn, "name": "bedrock"})
        try:
            self._authorize(made, [("bedrock:InvokeModel", arn, {}) for arn in self._models(model_id)])
        except ApiError as error:
            raise InputError(error.message) from None

    def _checks(self, operation: str, params: Mapping[str, Any]) -> Iterator[Check]:
        jobs = f"arn:{self._partition}:bedrock:{self._region}:{self._account}:model-invocation-job/"
        if operation == "ListModelInvocationJobs":
            yield "bedrock:ListModelInvocationJobs", "*", {}
        elif operation == "CreateModelInvocationJob":
            tags = {f"aws:RequestTag/{each['key']}": str(each["value"]) for each in params.get("tags") or []}
            for arn in (f"{jobs}new", *self._models(str(params.get("modelId")))):
                yield "bedrock:CreateModelInvocationJob", arn, tags
            if tags:
                yield "bedrock:TagResource", f"{jobs}new", tags
            yield "iam:PassRole", str(params.get("roleArn")), {"iam:PassedToService": PASSED_TO}
        elif operation in ("InvokeModel", "Converse"):
            for arn in self._models(str(params.get("modelId"))):
                yield "bedrock:InvokeModel", arn, {}
            for uri in media_uris(_body(operation, params)):
                yield "s3:GetObject", f"arn:{self._partition}:s3:::{uri.removeprefix('s3://')}", {}
        else:
            yield f"bedrock:{operation}", jobs + str(params.get("jobIdentifier")).rpartition("/")[2], {}

    def _models(self, model_id: str) -> list[str]:
        arn = model_arn(model_id, self._region, self._account, self._partition)
        if not is_profile(model_id):
            return [arn]
        base = base_model_id(model_id)
        regions = dict.fromkeys((self._region, *DESTINATIONS))
        return [arn, *(f"arn:{self._partition}:bedrock:{each}::foundation-model/{base}" for each in regions)]

    def _authorize(self, who: Mapping[str, str], checks: list[Check]) -> None:
        refused = self._ask("authorize", {**who, "checks": checks})["denied"]
        if refused:
            raise ApiError("AccessDeniedException", refused)

    def _ask(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        data = json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self._url}/_local_aws/{name}", data, {"Content-Type": "application/json"}
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            request, timeout=_TIMEOUT
        ) as answer:
            found: dict[str, Any] = json.load(answer)
            return found


def _body(operation: str, params: Mapping[str, Any]) -> Any:
    if operation == "Converse":
        return params
    try:
        return json.loads(params.get("body") or b"{}")
    except ValueError:
        return {}
