"""The errors of AWS as they come out of botocore."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from .world import Call, Hook


def aws_error(code: str, status: int = 400, message: str = "no", operation: str = "Operation") -> ClientError:
    """The error that a call raises for an answer of AWS."""
    answer: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, operation)


def denying(operation: str, path: str, after: Hook | None = None) -> Hook:
    """A hook by which S3 denies the intake an operation on the keys that contain ``path``.

    ``after``: a hook that is called before.
    """

    def before(call: Call) -> None:
        if after:
            after(call)
        if (call.function, call.operation) == ("create", operation) and path in call.params["url_path"]:
            raise aws_error("AccessDenied", 403, "the policy says no", operation)

    return before
