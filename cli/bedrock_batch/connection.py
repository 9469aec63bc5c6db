"""The queue's AWS clients, and the row that tells where everything is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from batch_queue.aws.listing import Listing
from batch_queue.aws.patience import Patience
from batch_queue.aws.pool import AT_ONCE
from batch_queue.aws.table import Table
from batch_queue.aws.table.dynamo import Dynamo, ThrottledError
from batch_queue.core.records import dataclass
from batch_queue.core.settings import Settings
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as NoConnectionError

import bedrock_batch

from . import defaults
from .errors import InputError, PassingError, RefusedError
from .version import VERSION

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client


ABOUT_KEY = ("about", "queue")
# An order can take half a minute before it leaves the rest to another invocation.
ORDER_SECONDS = 90
# How often a read of the table is tried again, besides botocore's tries: for some 6 seconds.
TRIES = 6
FIRST_WAIT = 0.2
_CONFIG = Config(
    retries={"mode": "standard", "max_attempts": 5},
    max_pool_connections=AT_ONCE,
    user_agent_extra=f"bedrock-batch/{VERSION}",
)
_ORDERS = _CONFIG.merge(Config(read_timeout=ORDER_SECONDS, retries={"total_max_attempts": 1}))
_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    TokenRetrievalError,
    SSOError,
)
# What botocore raises if AWS cannot be reached, or an answer ends too soon.
_UNREACHED = (HTTPClientError, NoConnectionError, IncompleteReadError)
# What AWS says of a call that it would answer later, with a status below 500.
_LATER = {
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestTimeout",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}


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


class Persistence(Patience):
    """Tries again a few times, however long the client has been there: it has no time at which it ends."""

    def wait(self, tries: int) -> bool:
        """Waits after a call that failed for the ``tries + 1``-th time. Returns False after the last one."""
        if tries >= TRIES:
            return False
        self._pause(FIRST_WAIT * 2**tries)
        return True


class Connection:
    """A queue's clients and table. Nothing is read before it is needed.

    ``session``: a boto3 session; by default one with the environment's credentials and Region.
    """

    def __init__(self, name: str = defaults.QUEUE, session: boto3.Session | None = None) -> None:
        self.name = name
        self._session = session

    @cached_property
    def session(self) -> boto3.Session:
        """The boto3 session."""
        # Through the package, which imports boto3 when it is asked for a session.
        return bedrock_batch.session_of() if self._session is None else self._session

    def client(self, service: str, config: Config = _CONFIG) -> Any:
        """Returns a client of a service. Raises InputError without a Region."""
        with told():
            make: Any = self.session.client  # the stubs have one of its forms for each service
            return make(service, config=config)

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
        return Table(self.dynamodb, table_name(self.name), Persistence())

    @cached_property
    def rows(self) -> Dynamo:
        """The items of the table."""
        return Dynamo(self.dynamodb, table_name(self.name), Persistence())

    @cached_property
    def listing(self) -> Listing:
        """The objects of the bucket."""
        return Listing(self.s3, self.about.bucket)

    @cached_property
    def about(self) -> About:
        """The row that says where everything is. Raises InputError if there is no such queue."""
        with told(self.name):
            item = self.rows.get(ABOUT_KEY, consistent=False)
        known = About.__dataclass_fields__
        try:
            return About(**{name: value for name, value in (item or {}).items() if name in known})
        except TypeError:  # there is no row, or one without something that this version needs
            raise InputError(
                f"the queue {self.name} was applied with a version of the module that this client does not "
                f"know. Run terraform apply with version {VERSION} of the module"
            ) from None

    def invoke(self, function: str, event: Mapping[str, Any]) -> dict[str, Any]:
        """Invokes one of the queue's functions and returns its answer.

        ``function``: as the module calls it. Raises InputError with what the function says of a wrong order,
        and RefusedError.
        """
        called = self.about.functions[function]
        with told(self.name):
            try:
                answer = self._lambda.invoke(FunctionName=called, Payload=json.dumps(event).encode())
                payload = answer["Payload"].read()
            except ReadTimeoutError as error:
                raise PassingError(
                    f"{called} has not answered within {ORDER_SECONDS} s. It may have done what it was "
                    "ordered all the same, and the order can be repeated"
                ) from error
        document = _document(payload)
        if answer.get("FunctionError"):
            words = document.get("errorMessage") or payload.decode(errors="replace")[:500]
            raise RefusedError(f"{called} failed: {words}. Its log says more, and the order can be repeated")
        if document.get("error"):
            raise InputError(str(document["error"]))
        if not document:
            raise RefusedError(
                f"{called} answered what bedrock-batch {VERSION} does not understand: "
                f"{payload.decode(errors='replace')[:500]}"
            )
        return document


def _document(payload: bytes) -> dict[str, Any]:
    """Returns what a function answered, or {} if that is no JSON object."""
    try:
        found = json.loads(payload)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


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
    except _UNREACHED as error:
        raise PassingError(f"AWS could not be reached: {error}") from error
    except BotoCoreError as error:
        raise RefusedError(f"AWS was not asked: {error}") from error
    except ThrottledError as error:
        raise PassingError(f"AWS could not answer in time: {error}") from error


def _of(error: ClientError, queue: str) -> InputError | RefusedError:
    code = error.response["Error"].get("Code", "")
    words = error.response["Error"].get("Message", "")
    if code == "ResourceNotFoundException" and error.operation_name in ("GetItem", "Query", "BatchGetItem"):
        return InputError(
            f"there is no queue {queue} in this account and Region: its table {table_name(queue)} was not "
            "found. Name the queue with --queue (the input name of the module), and its Region with --region"
        )
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    passing = status >= HTTPStatus.INTERNAL_SERVER_ERROR or code in _LATER
    kind = PassingError if passing else RefusedError
    return kind(f"AWS refused {error.operation_name}: {code}: {words}")
