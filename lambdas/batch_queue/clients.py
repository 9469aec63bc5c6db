"""Makes what a function needs from its environment: the one module that makes AWS clients.

A client takes tens of milliseconds of CPU to make. A function makes those that its runs usually need at its
start, and each other one when it is first used.
"""

from __future__ import annotations

import gzip
import json
import ssl
import time
from collections.abc import Callable, Collection, Mapping
from functools import cache, partial, wraps
from pathlib import Path
from threading import Lock, RLock
from typing import Any, TypeVar, cast

from botocore.config import Config
from botocore.loaders import JSONFileLoader
from botocore.session import Session, get_session

from .aws.bucket import Bucket
from .aws.functions import Functions
from .aws.listing import Listing
from .aws.patience import Patience
from .aws.pool import CONNECTIONS
from .aws.table import Table
from .aws.telemetry import CLIENT_CONFIG, WAITING_CONFIG, log
from .core.settings import from_environment
from .steps.queue import Queue

T = TypeVar("T")

SERVICES = ("bedrock", "bedrock-runtime", "dynamodb", "events", "lambda", "s3", "sns")
_LOCK = RLock()  # a session makes one client at a time


def queue(environment: Mapping[str, str], later: Collection[str] = ()) -> Queue:
    """The queue that a function's environment names. Raises KeyError naming a variable that is missing.

    ``later``: which of the services S3, DynamoDB and Lambda get their client when it is first used. Sets the
    level of the logs too.
    """

    def made(service: str, config: Config = CLIENT_CONFIG) -> Any:
        make = partial(client, service, config)
        return lazily(make) if service in later else make()

    settings = from_environment(environment)
    log.setLevel(settings.log_level)
    patience = Patience()
    many = CLIENT_CONFIG.merge(Config(max_pool_connections=CONNECTIONS))
    s3 = made("s3", many)
    return Queue(
        settings,
        Table(made("dynamodb", many), settings.table, patience),
        Bucket(s3, settings.bucket, settings.kms_key_arn),
        Listing(s3, settings.bucket),
        Functions(made("lambda"), patience, lazily(partial(client, "lambda", WAITING_CONFIG))),
        time.time,
        patience,
    )


def client(service: str, config: Config = CLIENT_CONFIG) -> Any:
    """A new client of one of ``SERVICES``. Thread-safe."""
    with _LOCK:
        return _session().create_client(service, config=config)


def lazily(make: Callable[[], T]) -> T:
    """What ``make`` gives, which is called once, at the first use. Thread-safe."""
    return cast("T", _Lazy(make))


class _Lazy:
    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: Any = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            with _LOCK:
                self._made = self._made or self._make()
        return getattr(self._made, name)


@cache
def _session() -> Session:
    """The session of botocore, which makes clients in half the time.

    botocore would list all of its services before it loads one, which reads a thousand directories, and turn
    each object of its JSON documents, some megabytes, into an OrderedDict.
    """
    session = get_session()
    loader = session.get_component("data_loader")
    loader.list_available_services = _services
    loader.file_loader = _Files()
    _load_certificates_once()
    return session


@cache
def _load_certificates_once() -> None:
    """From now on, a client's TLS context reads its certificates once, not for each of its connections.

    urllib3 gives the same file to the same context whenever it connects (``ssl_wrap_socket``). Reading it
    takes as much CPU as 30 calls, and a client connects up to ``CONNECTIONS`` times.
    """
    load, lock = ssl.SSLContext.load_verify_locations, Lock()

    @wraps(load)
    def once(context: ssl.SSLContext, cafile: Any = None, capath: Any = None, cadata: Any = None) -> None:
        with lock:  # all connections of a pool begin at the same time
            loaded = vars(context).setdefault("loaded", set())
            if (cafile, capath, cadata) not in loaded:
                load(context, cafile, capath, cadata)
                loaded.add((cafile, capath, cadata))

    cast("Any", ssl.SSLContext).load_verify_locations = once


def _services(*_: object, **__: object) -> list[str]:
    return list(SERVICES)


class _Files(JSONFileLoader):
    def load_file(self, file_path: str) -> Any:
        """Returns the JSON document of a path without its ending, or None if there is none."""
        for ending, read in ((".json", _read), (".json.gz", _unzip)):
            path = Path(file_path + ending)
            if path.is_file():
                return json.loads(read(path))
        return None


def _read(path: Path) -> bytes:
    return path.read_bytes()


def _unzip(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())
