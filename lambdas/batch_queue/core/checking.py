"""Reads Bedrock's answer to a job without an input: whether Bedrock would take jobs of that model.

Bedrock looks at the service role first, then at what the caller may do, at the model, and at the input last.
AWS documents neither this order nor the messages. They are matched loosely, and quoted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

from .records import dataclass


class Batch(StrEnum):
    """Whether a model runs batch jobs."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class About(StrEnum):
    """What an answer of Bedrock is about. ``INPUT``: all that comes before the input is right."""

    INPUT = "input"
    BUCKET = "bucket"
    ROLE = "role"
    CALLER = "caller"
    MODEL = "model"
    QUOTA = "quota"
    OUTAGE = "outage"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Answer:
    """An error that Bedrock answered with: its code and message.

    ``quota``: a quota is exhausted, or calls are throttled. ``failed``: Bedrock failed, or did not answer.
    """

    code: str
    message: str
    quota: bool = False
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a model runs batch jobs, what Bedrock's answer was about, and in words what to do."""

    batch: Batch
    about: About
    words: str


# Not about models, the role of the jobs, or their input.
_NAMES = r"model[ -]?invocation[ -]?jobs?|\bassumed-role\b|\binput validation\b"
_PASSED = r"\biam:passrole\b"
_NO_ACCESS = r"access to (the|this) model|model access|aws-marketplace|agreement|entitle"
_CONVERSE = r"\bconverse\b|modelinvocationtype"
_S3 = r"\b(s3|buckets?|prefix(es)?|objects?|files?|uris?|paths?|folders?|inputs?|records?)\b"
_DENIED = r"denied|not authorized|no access|permission|forbidden|\bowne(d|r)\b"
_MISSING = (
    r"not exist|n.t exist|not found|(not|n.t|un\w+) (be |to )?(find|found|locate|contain)|no such"
    r"|\bno (objects|files|inputs?|records|data)\b|at least|\bminimum\b"
)
# What a message is about: the first row of which it has all patterns.
_RULES: Sequence[tuple[About, tuple[str, ...]]] = (
    (About.CALLER, (_PASSED,)),
    (About.MODEL, (r"validation errors? detected", r"'modelid'|'modelinvocationtype'")),
    (About.ROLE, (r"validation errors? detected", r"'rolearn'")),
    (About.OTHER, (r"validation errors? detected",)),
    (About.ROLE, (r"\bassum|\btrust|cross-account|\bpass(ed|ing)? (the )?role\b",)),
    (About.OTHER, (r"\bkms\b|encryption key|\bsubnet|security group",)),
    (About.MODEL, (_CONVERSE,)),
    (About.MODEL, (r"support", r"\bmodels?\b|batch inference|throughput|inference profile")),
    (About.MODEL, (_NO_ACCESS,)),
    (About.BUCKET, (r"\boutput",)),
    # A bucket that is missing is a mistake. What is missing in it was left out on purpose.
    (About.BUCKET, (r"\bbuckets? [\w.-]+ (does|do|is|could|can)",)),
    (About.INPUT, (_S3, _MISSING)),
    (About.BUCKET, (_S3, _DENIED)),
    (About.INPUT, (r"\b(s3|prefix|uri|input)\b",)),
    (About.MODEL, (r"\bmodels?\b|inference profile",)),
    (About.ROLE, (r"\brole\b",)),
)


def accepted(model_id: str) -> Verdict:
    """Returns the verdict on a model of which Bedrock has taken the job."""
    return Verdict(Batch.YES, About.INPUT, f"Bedrock takes batch jobs of {model_id}.")


def verdict(answer: Answer, model_id: str, invocation_type: str, role_arn: str) -> Verdict:
    """Returns what an error says of the model, the service role and the caller."""
    about = _about(answer)
    if about == About.INPUT:
        return accepted(model_id)
    text = answer.message.lower()
    words = {
        About.QUOTA: (
            f"It cannot be told now whether Bedrock takes batch jobs of {model_id}: a quota is exhausted, or "
            "calls are throttled. Nothing is wrong with the model and the service role so far. Repeat the "
            "order later."
        ),
        About.OUTAGE: f"Bedrock has not said whether it takes batch jobs of {model_id}. Repeat the order.",
        About.ROLE: (
            f"Bedrock cannot use the service role {role_arn}. Correct its trust policy, or the input "
            "role_arn."
        ),
        About.CALLER: _denied(text, model_id, role_arn),
        About.BUCKET: (
            "Bedrock cannot use the bucket. Correct the permissions of the service role, the policy of the "
            "bucket, or the input bucket_owner."
        ),
        About.MODEL: _not_run(text, model_id, invocation_type),
        About.OTHER: f"Bedrock refuses jobs of {model_id}, for a reason that the queue does not know.",
    }[about]
    unknown = about in (About.QUOTA, About.OUTAGE, About.OTHER)
    said = f'Bedrock said: "{answer.code}: {answer.message}"'
    return Verdict(Batch.UNKNOWN if unknown else Batch.NO, about, f"{words} {said}")


def _about(answer: Answer) -> About:
    if answer.quota or answer.failed:
        return About.QUOTA if answer.quota else About.OUTAGE
    text = re.sub(_NAMES, "", answer.message.lower())
    found = (about for about, patterns in _RULES if all(re.search(each, text) for each in patterns))
    about = next(found, About.OTHER)
    # Bedrock denies in the name of the service role, too.
    return About.CALLER if answer.code.startswith("AccessDenied") and about != About.ROLE else about


def _denied(text: str, model_id: str, role_arn: str) -> str:
    if re.search(_PASSED, text):
        return (
            f"process_batch_jobs may not pass the service role {role_arn} to Bedrock. See whether a "
            "permissions boundary or a policy of your organization denies iam:PassRole."
        )
    if re.search(_NO_ACCESS, text):
        return f"The account has no access to {model_id}. Request it in the Bedrock console."
    return (
        f"process_batch_jobs may not create jobs of {model_id}. See whether a permissions boundary or a "
        "policy of your organization denies what Bedrock names."
    )


def _not_run(text: str, model_id: str, invocation_type: str) -> str:
    if re.search(_NO_ACCESS, text):
        return f"The account has no access to {model_id}. Request it in the Bedrock console."
    if re.search(_CONVERSE, text):
        return (
            f"Bedrock takes no {invocation_type} jobs of {model_id}. Change the invocation_type of the "
            "routes, and the bodies of their records."
        )
    return (
        f"Bedrock takes no batch jobs of {model_id}. Write an inference profile of the model (such as us., "
        "eu. or global. before its ID), or another model."
    )
