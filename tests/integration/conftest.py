"""One local AWS for the whole session: LocalStack, the Bedrock simulator, the module applied once.

Fixtures: ``stack`` (everything: outputs, terraform, sessions), ``keyed`` (examples/kms applied beside it),
``outputs``, ``names``, ``bucket``, ``aws`` (session of localstack-client), ``s3``, ``dynamodb``, ``table``,
``lambda_``, ``events``, ``sqs``, ``logs``, ``iam``, ``cloudwatch``, ``bedrock`` (boto3 on the simulator),
``simulator`` (its control), ``plan`` and ``key_plan`` (plans with known values, in JSON). Nothing is skipped:
when LocalStack does not start, every test errs.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.integration.user import FAST, Queue
from tests.local_aws.bedrock import Bedrock
from tests.local_aws.environment import LocalAws, scrub
from tests.local_aws.localstack import given_endpoint
from tests.local_aws.processes import BUILD, ROOT
from tests.local_aws.terraform import Terraform

EMULATOR = BUILD / "reports" / "emulator.txt"
PLAN = BUILD / "plan.json"
#: That of examples/kms.
KEY_PLAN = BUILD / "plan-with-key.json"
#: Small jobs, so that an upload is cut, run again where records fail, and put together from parts.
KEYED_ROUTE = {
    "min_records_per_job": 1,
    "max_records_per_file": 1_000,
    "pack_wait_minutes": 0,
    "max_record_attempts": 5,
}
#: Routes of the shared stack.
# So often that a record which fails one time in ten for passing reasons is answered in the end.
MANY = 9
ROUTES = {
    "default": {"pack_wait_minutes": 1, "undersized": "on_demand", "max_record_attempts": MANY},
    "converse": {
        "pack_wait_minutes": 1,
        "undersized": "on_demand",
        "max_record_attempts": MANY,
        "model_id": "us.amazon.nova-lite-v1:0",
        "invocation_type": "Converse",
        "max_active_jobs": 4,
        "priority": 80,
        "timeout_hours": 24,
        "tags": {"Team": "tests"},
    },
    # A job takes one upload of 100 records.
    "single": {
        "model_id": "amazon.nova-pro-v1:0",
        "invocation_type": "Converse",
        "max_active_jobs": 10,
        "max_records_per_job": 100,
    },
    # What is too few for a job does not wait.
    "direct": {
        "model_id": "amazon.nova-micro-v1:0",
        "max_record_attempts": MANY,
        "invocation_type": "Converse",
        "pack_wait_minutes": 0,
        "undersized": "on_demand",
    },
}
#: Where the alarms of the shared stack go. Nothing needs the topic to be there.
ALARM_TOPIC = "arn:aws:sns:us-east-1:000000000000:alarms"
SETTINGS = pytest.StashKey[dict[str, str]]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that take the stack down behind all others."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


def pytest_report_header() -> str:
    """Say which LocalStack will be used."""
    given = given_endpoint()
    return (
        f"integration: LocalStack at {given} (given)"
        if given
        else "integration: a LocalStack is started by the tests"
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which emulator the tests ran on."""
    if found := config.stash.get(SETTINGS, None):
        terminalreporter.write_line(f"integration: {found['emulator']}")


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Iterator[LocalAws]:
    """LocalStack and the simulator, which end with the session."""
    scrub()
    name = f"br-test-{uuid.uuid4().hex[:6]}"
    variables = {"routes": ROUTES, "alarm_actions": [ALARM_TOPIC]}
    local = LocalAws("integration", name=name, variables=variables, tell=_teller(request))
    local.start()
    try:
        EMULATOR.parent.mkdir(parents=True, exist_ok=True)
        EMULATOR.write_text(local.description + "\n")
        request.config.stash[SETTINGS] = {"emulator": local.description}
        yield local
    finally:
        local.stop()


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, servers: LocalAws) -> LocalAws:
    """LocalStack, the simulator and the applied module; all of it ends with the session."""
    if any("keyed" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("applying_keyed")  # the AWS provider waits most of the time
    servers.apply()
    return servers


def _teller(request: pytest.FixtureRequest) -> Any:
    reporter: pytest.TerminalReporter = request.config.pluginmanager.getplugin("terminalreporter")

    def tell(message: str) -> None:
        capture = request.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            reporter.write_line("")
            reporter.write_line(message)

    return tell


@pytest.fixture(scope="session")
def outputs(stack: LocalAws) -> dict[str, Any]:
    """The module's outputs by name."""
    return stack.outputs


@pytest.fixture(scope="session")
def names(outputs: dict[str, Any]) -> dict[str, str]:
    """Names of the functions, by create_batch_queue, process_batch_jobs and collect_results."""
    return {key: value["name"] for key, value in outputs["functions"].items()}


@pytest.fixture(scope="session")
def aws(stack: LocalAws) -> Any:
    """The session of localstack-client: ``aws.client("s3")``, ``aws.resource("dynamodb")``."""
    return stack.session()


@pytest.fixture(scope="session")
def s3(aws: Any) -> Any:
    """boto3's S3 client."""
    return aws.client("s3")


@pytest.fixture(scope="session")
def dynamodb(aws: Any) -> Any:
    """boto3's DynamoDB client."""
    return aws.client("dynamodb")


@pytest.fixture(scope="session")
def table(aws: Any, outputs: dict[str, Any]) -> Any:
    """boto3's resource of the queue's table."""
    return aws.resource("dynamodb").Table(outputs["table_name"])


@pytest.fixture(scope="session")
def lambda_(aws: Any) -> Any:
    """boto3's Lambda client."""
    return aws.client("lambda")


@pytest.fixture(scope="session")
def events(aws: Any) -> Any:
    """boto3's EventBridge client."""
    return aws.client("events")


@pytest.fixture(scope="session")
def sqs(aws: Any) -> Any:
    """boto3's SQS client."""
    return aws.client("sqs")


@pytest.fixture(scope="session")
def logs(aws: Any) -> Any:
    """boto3's CloudWatch Logs client."""
    return aws.client("logs")


@pytest.fixture(scope="session")
def iam(aws: Any) -> Any:
    """boto3's IAM client."""
    return aws.client("iam")


@pytest.fixture(scope="session")
def cloudwatch(aws: Any) -> Any:
    """boto3's CloudWatch client."""
    return aws.client("cloudwatch")


@pytest.fixture(scope="session")
def bedrock(stack: LocalAws) -> Any:
    """boto3's Bedrock client, on the simulator."""
    return stack.bedrock_client()


@pytest.fixture(scope="session")
def simulator(stack: LocalAws) -> Bedrock:
    """The simulator's control: ``simulator.get("state")``, ``simulator.post("…", {…})``."""
    return stack.bedrock


@pytest.fixture
def queue(stack: LocalAws, s3: Any, table: Any, bucket: str) -> Iterator[Queue]:
    found = Queue(stack, s3, table, bucket)
    found.simulator.configure(models={"*": FAST})
    yield found
    found.simulator.faults(clear=True)


@pytest.fixture(scope="session")
def bucket(outputs: dict[str, Any]) -> str:
    """The bucket's name."""
    return str(outputs["bucket_name"])


def sources_digest() -> str:
    """Return a digest of what a plan is made from."""
    parts = hashlib.sha256()
    for file in sorted(
        [
            *ROOT.glob("*.tf"),
            *(ROOT / "examples/kms").glob("*.tf"),
            *(ROOT / "modules/kms-key").glob("*.tf"),
            *(ROOT / "tests/local_aws/stack").glob("*.tf"),
            ROOT / "dist/lambdas.zip",
        ]
    ):
        parts.update(file.name.encode() + file.read_bytes())
    return parts.hexdigest()


@pytest.fixture(scope="session")
def applying_keyed(servers: LocalAws) -> Iterator[Future[Terraform]]:
    """examples/kms on its way; it is changed only in where Bedrock is and in its pace."""
    source = ROOT / "examples" / "kms"
    terraform = Terraform(BUILD / "kms", servers.localstack.endpoint, servers.region, {}, source=source)
    changed = {
        "source": "../../..",
        "force_destroy": True,
        "schedule_expression": "rate(1 minute)",
        "routes": {"default": KEYED_ROUTE},
        "lambda_environment": servers.variables["lambda_environment"],
    }
    shutil.rmtree(terraform.folder, ignore_errors=True)
    terraform.root.mkdir(parents=True)
    override = {"module": {"batch_inference": changed, "key": {"source": "../../../modules/kms-key"}}}
    (terraform.root / "local_override.tf.json").write_text(json.dumps(override))

    def applied() -> Terraform:
        terraform.apply()
        return terraform

    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(applied)
    # A LocalStack of ours ends with everything in it.
    if servers.localstack.process is None:
        terraform.destroy()


@pytest.fixture(scope="session")
def keyed(applying_keyed: Future[Terraform]) -> Terraform:
    """examples/kms, applied beside the stack."""
    return applying_keyed.result()


def write_plan(terraform: Terraform, file: Path) -> Any:
    """Plan what was applied, keep the plan with its sources' digest in ``file``, and return it."""
    plan = terraform.plan_json()
    file.write_text(json.dumps(plan))
    file.with_suffix(".made-from").write_text(sources_digest())
    return plan


def is_kept(file: Path) -> bool:
    """Tell whether the last session's plan was made from the same sources."""
    made_from = file.with_suffix(".made-from")
    return file.exists() and made_from.exists() and made_from.read_text() == sources_digest()


@pytest.fixture(scope="session")
def plan(request: pytest.FixtureRequest) -> Path:
    """The plan of the applied stack in JSON; the last session's, if it was made from the same sources."""
    if not is_kept(PLAN):
        write_plan(request.getfixturevalue("stack").terraform, PLAN)
    return PLAN


@pytest.fixture(scope="session")
def key_plan(request: pytest.FixtureRequest) -> Path:
    """The same of examples/kms, whose values are known because it was applied."""
    if not is_kept(KEY_PLAN):
        write_plan(request.getfixturevalue("keyed"), KEY_PLAN)
    return KEY_PLAN
