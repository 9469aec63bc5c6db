"""The start of a function: which clients it makes, and that they are those that botocore would make."""

from __future__ import annotations

import ast
import gc
import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import botocore
import botocore.session
import pytest
from batch_queue import clients
from batch_queue.start import start
from botocore.loaders import JSONFileLoader, Loader

from tests.support.starts import ENVIRONMENT, IN_LAMBDA

pytestmark = pytest.mark.unit

LAMBDAS = Path(clients.__file__).parents[1]
STARTS = """
import gc, importlib, sys
from botocore.session import Session
made, create = [], Session.create_client
def create_client(self, service, **arguments):
    made.append(service)
    return create(self, service, **arguments)
Session.create_client = create_client
importlib.import_module(sys.argv[1])
print((sorted(made), gc.isenabled()))
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    clients._session.cache_clear()
    yield
    clients._session.cache_clear()


def starts(handler: str, environment: Mapping[str, str]) -> tuple[list[str], bool]:
    """Which clients a handler makes when it is imported, and whether garbage is collected afterwards."""
    done = subprocess.run(
        [sys.executable, "-c", STARTS, handler],
        env={**os.environ, **environment, "PYTHONPATH": str(LAMBDAS)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    made, collects = ast.literal_eval(done.stdout)
    return made, collects


@pytest.mark.parametrize(
    ("handler", "services"),
    [
        ("create_batch_queue", ["dynamodb", "s3"]),
        ("process_batch_jobs", ["bedrock", "dynamodb"]),
        ("operate_queue", ["dynamodb", "s3"]),
        ("collect_results", ["dynamodb", "s3"]),
        ("publish_events", ["events"]),
    ],
)
def test_a_function_makes_at_its_start_only_the_clients_that_its_runs_usually_need(
    handler: str, services: list[str]
) -> None:
    assert starts(handler, IN_LAMBDA) == (services, True)


def test_a_handler_that_is_imported_elsewhere_makes_no_client() -> None:
    assert starts("collect_results", {}) == ([], True)


def test_the_garbage_collector_rests_at_the_start_alone() -> None:
    with start():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_start_that_fails_leaves_the_garbage_collector_on() -> None:
    with pytest.raises(KeyError), start():
        clients.queue({})
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with start():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize("service", clients.SERVICES)
def test_a_client_is_the_one_that_botocore_makes(service: str) -> None:
    ours, theirs = clients.client(service), botocore.session.Session().create_client(service)
    assert ours.meta.endpoint_url == theirs.meta.endpoint_url
    assert ours.meta.region_name == theirs.meta.region_name
    assert ours.meta.service_model.metadata == theirs.meta.service_model.metadata
    assert ours.meta.service_model.operation_names == theirs.meta.service_model.operation_names


@pytest.mark.parametrize("service", clients.SERVICES)
def test_a_client_is_made_without_listing_all_services(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Loader, "list_available_services", fail)
    assert clients.client(service).meta.service_model.service_name == service


@pytest.mark.parametrize(
    "path",
    [
        "endpoints",
        "partitions",
        "s3/2006-03-01/service-2",
        "s3/2006-03-01/endpoint-rule-set-1",
        "s3/2006-03-01/no-such-file",
    ],
)
def test_a_document_is_read_as_botocore_reads_it(path: str) -> None:
    file = str(Path(Loader.BUILTIN_DATA_PATH) / path)
    assert clients._Files().load_file(file) == JSONFileLoader().load_file(file)


def test_the_user_s_own_models_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a model of a service in AWS_DATA_PATH, which botocore searches first
    (tmp_path / "lambda" / "2099-01-01").mkdir(parents=True)
    model = '{"metadata": {"serviceId": "Lambda", "protocol": "rest-json", "endpointPrefix": "lambda"}}'
    (tmp_path / "lambda" / "2099-01-01" / "service-2.json").write_text(model)
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    loaded = clients._session().get_component("data_loader").load_service_model("lambda", "service-2")
    assert loaded["metadata"]["serviceId"] == "Lambda"
    assert "operations" not in loaded


def test_a_tls_context_reads_a_file_of_certificates_once(tmp_path: Path) -> None:
    clients.client("s3")
    # Given a context that has read a file of certificates
    file = tmp_path / "certificates.pem"
    shutil.copy(Path(botocore.__file__).with_name("cacert.pem"), file)
    known, new = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    known.load_verify_locations(str(file), None, None)
    trusted = known.get_ca_certs()
    # When it is told to read it again, then it does not, and trusts the same; another context has its own
    file.unlink()
    known.load_verify_locations(str(file), None, None)
    assert known.get_ca_certs() == trusted != []
    with pytest.raises(FileNotFoundError):
        new.load_verify_locations(str(file), None, None)
    assert new.get_ca_certs() == []


def test_what_is_made_later_is_made_at_its_first_use() -> None:
    made: list[str] = []

    def make() -> str:
        made.append("text")
        return made[-1]

    lazy = clients.lazily(make)
    assert not made
    assert [lazy.upper(), lazy.title()] == ["TEXT", "Text"]
    assert len(made) == 1


def test_threads_that_use_it_at_once_share_what_is_made() -> None:
    made: list[str] = []

    def make() -> str:
        made.append("text")
        if len(made) == 1:
            # While this is being made, another thread wants it too; it cannot get further than the lock.
            other = threading.Thread(target=lambda: used.append(lazy.upper()))
            other.start()
            other.join(0.2)
            threads.append(other)
        return "text"

    lazy: Any = clients.lazily(make)
    used: list[str] = []
    threads: list[threading.Thread] = []
    assert lazy.upper() == "TEXT"
    threads[0].join(10)
    assert used == ["TEXT"]
    assert len(made) == 1


def test_what_cannot_be_made_is_tried_again() -> None:
    tries: list[int] = []

    def make() -> str:
        tries.append(1)
        if len(tries) == 1:
            message = "no credentials yet"
            raise OSError(message)
        return "text"

    lazy = clients.lazily(make)
    with pytest.raises(OSError, match="yet"):
        lazy.upper()
    assert lazy.upper() == "TEXT"
