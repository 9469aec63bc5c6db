"""Which actions on which resources a call needs, for an authorizer to decide.

Each call is held against the caller's policies before anything else. Actions and resources are those of the
Service Authorization Reference for Amazon Bedrock; a call through an inference profile needs the profile and
the model in the Regions it routes to (Bedrock User Guide, "Prerequisites for inference profiles").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from . import rules, strict_json
from .availability import Availability
from .aws import Authorizer, Check, Principal
from .config import Config
from .models import base_model_id, is_profile, model_arn
from .records import media_uris
from .validation import RUNTIME_OPERATIONS, STREAMS, TAG_OPERATIONS

PASSED_TO = "bedrock.amazonaws.com"
_CREDENTIAL = re.compile(r"Credential=(?P<key>[^/]+)/[^/]*/(?P<region>[^/]*)/(?P<service>[^/]*)/aws4_request")


class Signature(NamedTuple):
    """Who signed a request, and for which Region and service; all are "" where there is no signature."""

    who: Principal
    region: str
    service: str


def signature(headers: Mapping[str, str], target: str = "") -> Signature:
    """The signature (version 4) in the headers of a request, or in the query of its `target`."""
    given = {name.lower(): value for name, value in headers.items()}
    places = (given.get("authorization", ""), unquote(target.partition("?")[2]))
    found = next((match for each in places if (match := _CREDENTIAL.search(each))), None)
    key, region, service = found.group("key", "region", "service") if found else ("", "", "")
    return Signature(Principal(key, given.get("x-amz-security-token", "")), region, service)


class Access:
    """Asks an authorizer about the calls in one account and Region."""

    def __init__(
        self, authorize: Authorizer, region: str, account: str, partition: str, config: Config | None = None
    ) -> None:
        self._authorize, self._config = authorize, config or Config()
        self._region, self._account, self._partition = region, account, partition

    def check(self, operation: str, params: Mapping[str, Any], who: Principal) -> None:
        """Raise an AccessDeniedException (`ApiError`) unless `who` may do what a request asks."""
        if refusal := self._authorize(who, list(self._checks(operation, params))):
            raise rules.DENIED.error(refusal=refusal)

    def refusal_of_role(self, role_arn: str, model_id: str) -> str:
        """Why the models will refuse a service role: it may not invoke the profile of its job."""
        if not is_profile(model_id, self._config.inference_profiles):
            return ""
        checks = [Check("bedrock:InvokeModel", arn, {}) for arn in self._models(model_id)]
        return rules.ROLE_INVOKE.text() if self._authorize(Principal(role_arn=role_arn), checks) else ""

    def _checks(self, operation: str, params: Mapping[str, Any]) -> Iterator[Check]:
        jobs = f"arn:{self._partition}:bedrock:{self._region}:{self._account}:model-invocation-job/"
        if operation in TAG_OPERATIONS:
            yield Check(f"bedrock:{operation}", str(params.get("resourceARN")), _request_tags(params))
        elif operation == "ListModelInvocationJobs":
            yield Check("bedrock:ListModelInvocationJobs", "*", {})
        elif operation in ("ListFoundationModels", "ListInferenceProfiles"):
            yield Check(f"bedrock:{operation}", "*", {})
        elif operation == "GetFoundationModel":
            yield Check("bedrock:GetFoundationModel", self._arn(str(params.get("modelIdentifier"))), {})
        elif operation == "GetInferenceProfile":
            asked = self._arn(str(params.get("inferenceProfileIdentifier")))
            yield Check("bedrock:GetInferenceProfile", asked, {})
        elif operation == "CreateModelInvocationJob":
            tags = _request_tags(params)
            for arn in (f"{jobs}new", *self._models(str(params.get("modelId")))):
                yield Check("bedrock:CreateModelInvocationJob", arn, tags)
            if tags:
                yield Check("bedrock:TagResource", f"{jobs}new", tags)
            yield Check("iam:PassRole", str(params.get("roleArn")), {"iam:PassedToService": PASSED_TO})
        elif operation in RUNTIME_OPERATIONS:
            action = f"bedrock:InvokeModel{'WithResponseStream' if operation in STREAMS else ''}"
            for arn in self._models(str(params.get("modelId"))):
                yield Check(action, arn, {})
            for uri in media_uris(_body(STREAMS.get(operation, operation), params)):
                yield Check("s3:GetObject", f"arn:{self._partition}:s3:::{uri.removeprefix('s3://')}", {})
        else:
            yield Check(
                f"bedrock:{operation}", jobs + str(params.get("jobIdentifier")).rpartition("/")[2], {}
            )

    def _models(self, model_id: str) -> list[str]:
        arn = self._arn(model_id)
        if not is_profile(model_id, self._config.inference_profiles):
            return [arn]
        base = base_model_id(model_id, self._config.inference_profiles)
        routes = Availability(self._config, self._region, self._account).destinations(model_id)
        regions = dict.fromkeys((self._region, *routes))
        return [arn, *(f"arn:{self._partition}:bedrock:{each}::foundation-model/{base}" for each in regions)]

    def _arn(self, model_id: str) -> str:
        if model_id in self._config.inference_profiles and not model_id.startswith("arn:"):
            kind = f"application-inference-profile/{model_id}"
            return f"arn:{self._partition}:bedrock:{self._region}:{self._account}:{kind}"
        return model_arn(model_id, self._region, self._account, self._partition)


def _request_tags(params: Mapping[str, Any]) -> dict[str, str]:
    given = params.get("tags")
    return {
        f"aws:RequestTag/{each['key']}": str(each.get("value"))
        for each in (given if isinstance(given, list) else [])
        if isinstance(each, Mapping) and "key" in each
    }


def _body(operation: str, params: Mapping[str, Any]) -> Any:
    if operation == "Converse":
        return params
    try:
        return strict_json.decode(params.get("body") or b"{}")
    except (ValueError, RecursionError):
        return {}
