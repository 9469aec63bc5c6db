"""Which base model an identifier of a model stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping

_GEOGRAPHIES = ("us-gov", "us", "eu", "apac", "global", "jp", "au", "ca", "sa", "mx", "me", "af", "in", "uk")
_GEOGRAPHY = re.compile(rf"^(?:{'|'.join(_GEOGRAPHIES)})\.(?=[a-z0-9-]+\.)")
_CONTEXT_LENGTH = re.compile(r"(:\d+):(?:\d+k|mm)$")
_BASE = re.compile(r"^[a-z0-9-]+\.[a-z0-9.:-]+$")
_ARN = re.compile(
    r"^arn:(?P<partition>aws[^:]*):bedrock:(?P<region>[^:]*):(?P<account>[^:]*):(?P<kind>[^/]+)/(?P<id>.+)$"
)


def base_model_id(model_id: str, profiles: Mapping[str, str] | None = None) -> str:
    """The base model that `model_id` runs on and whose quota it uses.

    `model_id`: a foundation model id or ARN, a system inference profile's id or ARN (`us.anthropic.…`), a
    custom model ARN, or an application inference profile that `profiles` (id or ARN → base model id) names.
    What is none of these comes back as it is. Source for the geographic prefixes: the ids of the
    cross-Region inference profiles.
    """
    if profiles and model_id in profiles:
        return base_model_id(profiles[model_id])
    arn = _ARN.match(model_id)
    name = model_id
    if arn:
        name = arn["id"]
        if arn["kind"] == "custom-model":
            name = name.rsplit("/", 1)[0]
        elif arn["kind"] == "application-inference-profile":
            return base_model_id(profiles[name]) if profiles and name in profiles else model_id
    return _CONTEXT_LENGTH.sub(r"\1", _GEOGRAPHY.sub("", name))


def is_known_form(base_model: str) -> bool:
    """Whether `base_model` looks like a base model's id: `provider.name`."""
    return bool(_BASE.match(base_model))


def model_arn(model_id: str, region: str, account: str, partition: str = "aws") -> str:
    """The ARN under which events name the model of a job that was created with `model_id`."""
    if model_id.startswith("arn:"):
        return model_id
    if _GEOGRAPHY.match(model_id):
        return f"arn:{partition}:bedrock:{region}:{account}:inference-profile/{model_id}"
    return f"arn:{partition}:bedrock:{region}::foundation-model/{model_id}"


def geography(model_id: str) -> str:
    """The geography of a system-defined inference profile by its id, such as "us"; "" for any other id."""
    found = _GEOGRAPHY.match(model_id)
    return found[0].rstrip(".") if found else ""


def system_profile_id(model_id: str) -> str:
    """The id of a system-defined inference profile that `model_id` is, by id or ARN; "" for anything else."""
    arn = _ARN.match(model_id)
    name = model_id if arn is None else arn["id"] if arn["kind"] == "inference-profile" else ""
    return name if geography(name) else ""


def is_profile(model_id: str, profiles: Mapping[str, str] | None = None) -> bool:
    """Whether `model_id` is an inference profile: a system one by id or ARN, or an application's."""
    if profiles and model_id in profiles:
        return True
    arn = _ARN.match(model_id)
    return arn["kind"].endswith("inference-profile") if arn else bool(_GEOGRAPHY.match(model_id))


def is_custom(model_id: str) -> bool:
    """Whether `model_id` is the ARN of a custom model."""
    arn = _ARN.match(model_id)
    return arn is not None and arn["kind"] == "custom-model"


def arn_region(model_id: str) -> str | None:
    """The Region in a model's ARN, None for an id."""
    arn = _ARN.match(model_id)
    return arn["region"] if arn else None


def arn_account(model_id: str) -> str | None:
    """The account in a model's ARN ("" in that of a foundation model), None for an id."""
    arn = _ARN.match(model_id)
    return arn["account"] if arn else None
