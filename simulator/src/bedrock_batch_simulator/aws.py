"""The AWS beside the simulated Bedrock: clients of other services, and who decides what a caller may do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Principal:
    """Who asks: who signed a request (`access_key`, `session_token`), or a service role (`role_arn`)."""

    access_key: str = ""
    session_token: str = ""
    role_arn: str = ""


@dataclass(frozen=True)
class Check:
    """What is asked: an IAM action on a resource's ARN, with the condition keys of the request."""

    action: str
    resource: str
    context: dict[str, str]


Authorizer = Callable[[Principal, Sequence[Check]], str]
"""Decides: "" when the principal may do all of it, else why not, in words for the caller."""


@dataclass(frozen=True)
class Aws:
    """What the simulated Bedrock asks of other services.

    - `s3`: a boto3 client (list_objects_v2, get_object, put_object, head_bucket, and upload_fileobj for
      results above 64 MiB; for the rights of the service role also head_object and get_bucket_policy).
    - `iam`, `kms`, `ec2`: boto3 clients; what would be asked of one that is None is taken as it is.
    - `authorize`: decides who may do what; None lets everybody do everything.
    - `bucket_owner`: gives the account of a bucket, "" where it does not know.
    - `s3_as`: gives the S3 client with which a job's service role, by its ARN, reaches the job's data; None
      takes `s3`.
    """

    s3: Any
    iam: Any = None
    kms: Any = None
    ec2: Any = None
    authorize: Authorizer | None = None
    s3_as: Callable[[str], Any] | None = None
    bucket_owner: Callable[[str], str] | None = None

    def s3_of(self, role_arn: str) -> Any:
        """S3 as a job's service role reaches it."""
        return self.s3 if self.s3_as is None else self.s3_as(role_arn)


_making = threading.Lock()  # a boto3 session may make one client at a time


class Later:
    """A boto3 client that `make` makes when it is first used: few of them are, and EC2's takes a while."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: Any = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            with _making:
                self._made = self._made or self._make()
        return getattr(self._made, name)
