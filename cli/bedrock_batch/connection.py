"""The queue's AWS clients, and the row that tells where everything is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from batch_queue.aws.listing import Listing
from batch_queue.aws.patience import Patience
from batch_queue.aws.table import Table
from batch_queue.aws.table.dynamo import Dynamo
from batch_queue.core.records import dataclass
from batch_queue.core.settings import Settings
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from .errors import InputError, RefusedError
from .version import VERSION

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client


DEFAULT_NAME = "br-batch-inference"
ABOUT_KEY = ("about", "queue")
# An order can take half a minute before it leaves the rest to another invocation.
ORDER_SECONDS = 90
_CONFIG = Config(retries={"mode": "standard", "max_attempts": 5}, user_agent_extra=f"bedrock-batch/{VERSION}")
_ORDERS = _CONFIG.merge(Config(read_timeout=ORDER_SECONDS, retries={"total_max_attempts": 1}))
_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, TokenRetrievalError, SSOError)


@dataclass(frozen=True, slots=True)
class About:
    """The row that Terraform writes for clients (``client.tf``). What the queue does not have is "".

    ``functions`` and ``rules``: their names, by what the module calls them. ``dead_letter_queue``: its URL.
    ``dashboard``: its name.
    """

    version: str
    name: str
    account_id: str
    region: str
    bucket: str
    input_prefix: str
    output_prefix: str
    media_prefixes: str
    role_arn: str
    dead_letter_queue: str
    functions: Mapping[str, str]
    rules: Mapping[str, str]
    bucket_owner: str = ""
    kms_key_arn: str = ""
    dashboard: str = ""

    @property
    def settings(self) -> Settings:
        """The settings of the functions, as far as the row tells them."""
        return Settings(
            name=self.name,
            table=table_name(self.name),
            bucket=self.bucket,
            input_prefix=self.input_prefix,
            output_prefix=self.output_prefix,
            media_prefixes=tuple(self.media_prefixes.split(",")),
            bucket_owner=self.bucket_owner,
            kms_key_arn=self.kms_key_arn,
        )


class Connection:
    """A queue's clients and table. Nothing is read before it is needed.

    ``session``: a boto3 session; by default one with the environment's credentials and Region.
    """

    def __init__(self, name: str = DEFAULT_NAME, session: boto3.Session | None = None) -> None:
        self.name = name
        self._session = session

    @cached_property
    def session(self) -> boto3.Session:
        """The boto3 session."""
        if self._session is not None:
            return self._session
        return session_of()

    def client(self, service: str, config: Config = _CONFIG) -> Any:
        """Returns a client of a service. Raises InputError without a Region."""
        with told():
            return self.session.client(service, config=config)  # type: ignore[call-overload]

    @cached_property
    def s3(self) -> S3Client:
        """The client for S3."""
        client: S3Client = self.client("s3")
        return client

    @cached_property
    def _lambda(self) -> LambdaClient:
        client: LambdaClient = self.client("lambda", _ORDERS)
        return client

    @cached_property
    def dynamodb(self) -> Any:
        """The client for DynamoDB."""
        return self.client("dynamodb")

    @cached_property
    def table(self) -> Table:
        """The rows of the queue, as the functions read them. This client never writes a row."""
        return Table(self.dynamodb, table_name(self.name), Patience())

    @cached_property
    def rows(self) -> Dynamo:
        """The items of the table."""
        return Dynamo(self.dynamodb, table_name(self.name), Patience())

    @cached_property
    def listing(self) -> Listing:
        """The objects of the bucket."""
        return Listing(self.s3, self.about.bucket)

    @cached_property
    def about(self) -> About:
        """The row that says where everything is. Raises InputError if there is no such queue."""
        with told(self.name):
            item = self.rows.get(ABOUT_KEY, consistent=False)
        if item is None:
            raise InputError(
                f"the queue {self.name} was applied with a version of the module that this client does not "
                f"know. Run terraform apply with version {VERSION} of the module"
            )
        known = About.__dataclass_fields__
        return About(**{name: value for name, value in item.items() if name in known})

    def invoke(self, function: str, event: Mapping[str, Any]) -> dict[str, Any]:
        """Invokes one of the queue's functions and returns its answer.

        ``function``: as the module calls it. Raises InputError with what the function says of a wrong order,
        and RefusedError.
        """
        with told(self.name):
            answer = self._lambda.invoke(
                FunctionName=self.about.functions[function], Payload=json.dumps(event).encode()
            )
            document: dict[str, Any] = json.loads(answer["Payload"].read()) or {}
        if answer.get("FunctionError"):
            raise RefusedError(
                f"{self.about.functions[function]} failed: {document.get('errorMessage', document)}. Its log "
                "says more, and the order can be repeated"
            )
        if "error" in document:
            raise InputError(str(document["error"]))
        return document


def session_of(region: str = "", profile: str = "") -> boto3.Session:
    """Returns a boto3 session. A name that is "" is that of the environment. Raises InputError.

    As the AWS CLI does, and boto3 does not, it takes the Region of AWS_REGION before AWS_DEFAULT_REGION.
    """
    import boto3  # noqa: PLC0415 (takes longer to import than all the rest)

    with told():
        return boto3.Session(
            region_name=region or os.environ.get("AWS_REGION") or None, profile_name=profile or None
        )


def table_name(name: str) -> str:
    """Returns the name of a queue's table."""
    return f"{name}-queue"


@contextmanager
def told(queue: str = "") -> Iterator[None]:
    """Turns what botocore raises into InputError or RefusedError, in words for people."""
    try:
        yield
    except _CREDENTIALS as error:
        raise InputError(
            f"no AWS credentials that can be used ({error}). Run aws configure, or set AWS_PROFILE"
        ) from error
    except NoRegionError as error:
        raise InputError("no AWS Region is set. Add --region, or set AWS_REGION") from error
    except ProfileNotFound as error:
        raise InputError(f"{error}. aws configure list-profiles lists the profiles") from error
    except ClientError as error:
        raise _of(error, queue) from error
    except BotoCoreError as error:
        raise RefusedError(f"AWS could not be reached: {error}") from error


def _of(error: ClientError, queue: str) -> InputError | RefusedError:
    code = error.response["Error"]["Code"]
    words = error.response["Error"].get("Message", "")
    if code == "ResourceNotFoundException" and error.operation_name in ("GetItem", "Query", "BatchGetItem"):
        return InputError(
            f"there is no queue {queue} in this account and Region: its table {table_name(queue)} was not "
            "found. Name the queue with --queue (the input name of the module), and its Region with --region"
        )
    return RefusedError(f"AWS refused {error.operation_name}: {code}: {words}")
