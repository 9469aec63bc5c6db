"""A whole local AWS: LocalStack, the Bedrock simulator and the module applied to both.

`LocalAws` is for tests: it ends with the process that started it. `Up` is what `make up` leaves running.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Self, TypeVar

from localstack_client.session import Session

from tests.local_aws.bedrock import Bedrock
from tests.local_aws.localstack import LocalStack, given_endpoint
from tests.local_aws.processes import BUILD, LocalAwsError, Process, http_json
from tests.local_aws.terraform import Terraform
from tools import terraform_env

REGION = "us-east-1"
ACCOUNT = "000000000000"
MODEL_ID = "anthropic.claude-3-5-haiku-20241022-v1:0"
LOCAL_ENV = BUILD / "local.env"
Say = Callable[[str], None]
T = TypeVar("T")


def say(message: str) -> None:
    """Print a line of progress at once."""
    print(message, file=sys.stderr, flush=True)


def scrub() -> None:
    """Take out of this process's environment what would send boto3 elsewhere: profiles, keys, proxies.

    AWS_ENDPOINT_URL and LOCALSTACK_HOST, which name a LocalStack that runs, stay for given_endpoint().
    """
    kept = {k: os.environ[k] for k in ("AWS_ENDPOINT_URL",) if k in os.environ}
    clean = terraform_env.without_settings(dict(os.environ))
    for name in [k for k in os.environ if k.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update({k: v for k, v in clean.items() if k.startswith("AWS_") or k.lower() == "no_proxy"})
    os.environ.update(kept)


def session(endpoint: str, region: str = REGION) -> Session:
    """Return localstack-client's session for ``endpoint``; it has ``client`` and ``resource`` as boto3's."""
    made = Session(
        aws_access_key_id="test", aws_secret_access_key="test", aws_session_token=None, region_name=region
    )
    # The session knows an address only from the environment at its import: give it the one that was found.
    made._service_endpoint_mapping = dict.fromkeys(made._service_endpoint_mapping, endpoint)
    return made


def take_folder(folder: Path) -> IO[str]:
    """Empty a folder of .build for this run alone, until the file that is returned is closed.

    Raises LocalAwsError when another run has it.
    """
    locks = BUILD / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    lock = (locks / folder.name).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise LocalAwsError(f"another run of this checkout is using {folder}; wait for its end") from error
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return lock


class LocalAws:
    """LocalStack, the simulator and one applied stack, with everything they write in `.build/<folder>`.

    As a context manager it starts and applies on entry, and on exit ends what it started, whatever happened.
    """

    def __init__(
        self,
        folder: str,
        *,
        name: str,
        model_id: str = MODEL_ID,
        variables: Mapping[str, Any] | None = None,
        simulator: Mapping[str, Any] | None = None,
        detached: bool = False,
        tell: Say = say,
    ) -> None:
        self.folder = BUILD / folder
        self.name = name
        self.region = REGION
        self.account = ACCOUNT
        self.variables: dict[str, Any] = {"name": name, "model_id": model_id, **(variables or {})}
        # The tests name models by their ids in one Region, whatever AWS has there.
        self.simulator_config = {"check_models": False, **(simulator or {})}
        self.detached = detached
        self.tell = tell
        self._localstack: LocalStack | None = None
        self._bedrock: Bedrock | None = None
        self._terraform: Terraform | None = None
        self._outputs: dict[str, Any] | None = None
        self._lock: IO[str] | None = None
        self._applied = False

    @property
    def localstack(self) -> LocalStack:
        """The LocalStack that is used."""
        return _started(self._localstack)

    @property
    def bedrock(self) -> Bedrock:
        """The Bedrock simulator and its control."""
        return _started(self._bedrock)

    @property
    def terraform(self) -> Terraform:
        """Terraform on this stack."""
        return _started(self._terraform)

    @property
    def outputs(self) -> dict[str, Any]:
        """The stack's outputs by name."""
        if self._outputs is None:
            self._outputs = self.terraform.outputs()
        return self._outputs

    @property
    def description(self) -> str:
        """Say which emulator ran, for people."""
        return f"{self.localstack.description}; Bedrock: simulator at {self.bedrock.endpoint}"

    def session(self) -> Session:
        """Return a session of localstack-client for this LocalStack."""
        return session(self.localstack.endpoint, self.region)

    def bedrock_client(self) -> Any:
        """Return boto3's Bedrock client for the simulator."""
        return session(self.bedrock.endpoint, self.region).client("bedrock")

    def start(self) -> None:
        """Start the servers. Raises LocalAwsError when one does not start; what was started is ended then."""
        self._take_folder()
        try:
            given = given_endpoint()
            began = time.monotonic()
            self._localstack = (
                LocalStack.at(given) if given else LocalStack.start(self.folder, detached=self.detached)
            )
            self.started()
            self._bedrock = Bedrock.start(
                self.folder,
                self.localstack.endpoint,
                region=self.region,
                account=self.account,
                config=self.simulator_config,
                detached=self.detached,
            )
            self.started()
            self.tell(f"local AWS: {self.description} ({time.monotonic() - began:.0f} s)")
        except BaseException:
            self.stop()
            raise
        self.connect()

    def started(self) -> None:
        """Take note of what runs by now; `make up` writes it down."""

    def connect(self) -> None:
        """Point Terraform at the servers."""
        self.variables["lambda_environment"] = {
            **self.variables.get("lambda_environment", {}),
            "AWS_ENDPOINT_URL_BEDROCK": self.bedrock.endpoint,
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": self.bedrock.endpoint,
        }
        self._terraform = Terraform(self.folder, self.localstack.endpoint, self.region, self.variables)

    def apply(self, **variables: Any) -> None:
        """Apply, with the given variables changed. Raises LocalAwsError with Terraform's message."""
        began = time.monotonic()
        self.tell(f"terraform: the AWS provider comes from {terraform_env.prepare().description}")
        self.tell(
            "terraform: applying the module (one to two minutes: the AWS provider waits for S3 and SQS)…"
        )
        self._applied = True
        self.terraform.apply(variables)
        self._outputs = None
        count = len(self.terraform.resources())
        self.tell(f"terraform: applied {count} resources in {time.monotonic() - began:.0f} s")

    def destroy(self) -> None:
        """Destroy what was applied."""
        self.terraform.destroy()
        self._applied = False

    def stop(self) -> None:
        """End the servers started here; on somebody else's LocalStack, destroy what was applied first."""
        try:
            if self._applied and self._terraform and self._localstack and self._localstack.process is None:
                self.destroy()
        finally:
            for server in (self._bedrock, self._localstack):
                if server:
                    server.stop()
            if self._lock:
                self._lock.close()
                self._lock = None

    def _take_folder(self) -> None:
        self._lock = take_folder(self.folder)

    def __enter__(self) -> Self:
        self.start()
        try:
            self.apply()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def local_env(self) -> dict[str, str]:
        """Return what any AWS client needs to go on from here."""
        out = self.outputs
        functions = out["functions"]
        return {
            "AWS_ENDPOINT_URL": self.localstack.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "BEDROCK_URL": self.bedrock.endpoint,
            "AWS_ENDPOINT_URL_BEDROCK": self.bedrock.endpoint,
            "NAME": self.name,
            "BEDROCK_BATCH_QUEUE": self.name,
            "BUCKET": out["bucket_name"],
            "TABLE": out["table_name"],
            "CREATE_FUNCTION": functions["create_batch_queue"]["name"],
            "PROCESS_FUNCTION": functions["process_batch_jobs"]["name"],
            "COLLECT_FUNCTION": functions["collect_results"]["name"],
        }


def _started(thing: T | None) -> T:
    if thing is None:
        raise LocalAwsError("the local AWS is not started")
    return thing


class Up(LocalAws):
    """The stack that `make up` leaves running; `make down` finds it again in `.build/up/running.json`."""

    def __init__(self, *, name: str = "br-batch-inference", **settings: Any) -> None:
        super().__init__("up", name=name, detached=True, **settings)
        self.record = self.folder / "running.json"

    def started(self) -> None:
        """Write down which processes run and where they answer."""
        data: dict[str, Any] = {"variables": self.variables}
        if self._localstack:
            process = self._localstack.process
            data["localstack"] = {
                "endpoint": self._localstack.endpoint,
                "version": self._localstack.version,
                "process": process.to_json() if process else None,
            }
        if self._bedrock:
            data["bedrock"] = {"endpoint": self._bedrock.endpoint, "process": self._bedrock.process.to_json()}
        self.record.write_text(json.dumps(data, indent=2) + "\n")

    def find(self) -> bool:
        """Take up what an earlier `make up` left running; tell whether all of it still runs."""
        try:
            data = json.loads(self.record.read_text())
        except (OSError, ValueError):
            return False
        self.variables = {**data["variables"], **self.variables}
        if found := data.get("localstack"):
            process = Process.from_json(found["process"]) if found["process"] else None
            self._localstack = LocalStack(found["endpoint"], found["version"], process)
        if found := data.get("bedrock"):
            self._bedrock = Bedrock(found["endpoint"], Process.from_json(found["process"]))
        if not (self._localstack and self._bedrock and self._bedrock.process.alive):
            return False
        if self._localstack.process and not self._localstack.process.alive:
            return False
        with contextlib.suppress(OSError):
            http_json(f"{self._localstack.endpoint}/_localstack/health", timeout=10)
            http_json(f"{self._bedrock.endpoint}/_simulator/health", timeout=10)
            self.connect()
            return True
        return False

    def up(self) -> None:
        """Start what does not run yet, apply the module and write `.build/local.env`."""
        given = given_endpoint()
        if self.find() and (given is None or given == self.localstack.endpoint):
            self.tell(f"local AWS: already up, {self.description}")
        else:
            self.down()
            self.start()
        self.apply()
        self.write_local_env()

    def down(self) -> bool:
        """End exactly what `up` started and remove its state; tell whether anything was running."""
        if self._localstack is None and self._bedrock is None:
            self.find()
        ran = any(p is not None and p.alive for p in self._processes())
        # A LocalStack of somebody else goes on: what we applied there is ours to remove.
        if self._terraform and self._localstack and self._localstack.process is None:
            self._applied = True
        self.stop()
        self._localstack = self._bedrock = self._terraform = None
        LOCAL_ENV.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        return ran

    def _processes(self) -> list[Process | None]:
        return [
            self._localstack.process if self._localstack else None,
            self._bedrock.process if self._bedrock else None,
        ]

    def write_local_env(self) -> None:
        """Write `.build/local.env`: lines of NAME=value, which a shell can read too."""
        lines = [f"{name}={shlex.quote(value)}\n" for name, value in self.local_env().items()]
        LOCAL_ENV.write_text("".join(lines))

    def running(self) -> list[Process]:
        """Return the processes that an earlier `make up` started and that still run."""
        self.find()
        return [p for p in self._processes() if p is not None and p.alive]

    def logs(self) -> Path:
        """Return the folder with what the functions print, one file a function."""
        return self.folder / "logs"
