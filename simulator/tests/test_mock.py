"""`mock_bedrock_batch`: every client of the process, in every account and Region, beside moto."""

from __future__ import annotations

import datetime as dt
import json
import math
import threading
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from bedrock_batch_simulator import ConfigError, Record, Simulation, expected_output, mock_bedrock_batch
from moto import mock_aws

from .world import CLAUDE, message

RECORDS = "\n".join(json.dumps({"modelInput": message(f"Question {n}?")}) for n in range(100))
FOREVER = 500


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_BEDROCK", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.fixture
def simulation() -> Iterator[Simulation]:
    with mock_aws(), mock_bedrock_batch() as found:
        yield found


def submit(bedrock: Any, name: str = "job", **change: Any) -> str:
    """Create a job of a hundred records with clients of its own, as code under test would."""
    s3 = boto3.client("s3")
    if not s3.list_buckets()["Buckets"]:
        s3.create_bucket(Bucket="data", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    s3.put_object(Bucket="data", Key="in/a.jsonl", Body=RECORDS)
    request = {
        "jobName": name,
        "roleArn": "arn:aws:iam::123456789012:role/bedrock",
        "modelId": CLAUDE,
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": "s3://data/in/a.jsonl"}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://data/out/"}},
        **change,
    }
    return str(bedrock.create_model_invocation_job(**request)["jobArn"])


def status(bedrock: Any, arn: str) -> str:
    return str(bedrock.get_model_invocation_job(jobIdentifier=arn)["status"])


def test_a_job_runs_when_time_passes(simulation: Simulation) -> None:
    # Given a job that code under test created
    bedrock = boto3.client("bedrock")
    arn = submit(bedrock)
    assert status(bedrock, arn) == "Submitted"
    # When an hour passes
    simulation.clock.advance(hours=1)
    # Then it has completed, with its results in S3 and its events told
    assert status(bedrock, arn) == "Completed"
    key = f"out/{arn[-12:]}/a.jsonl.out"
    lines = boto3.client("s3").get_object(Bucket="data", Key=key)["Body"].read().splitlines()
    assert len(lines) == 100
    assert [job.status for job in simulation.jobs] == ["Completed"]
    assert [each["detail"]["status"] for each in simulation.events][-1] == "Completed"


def test_the_time_begins_now(simulation: Simulation) -> None:
    assert abs(simulation.clock.now - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)


def test_a_client_that_was_made_before_is_answered_too() -> None:
    # Given a client that a module made when it was imported
    bedrock = boto3.client("bedrock")
    with mock_aws(), mock_bedrock_batch() as simulation:
        # When code under test uses it, then it is answered
        arn = submit(bedrock)
        simulation.clock.advance(minutes=10)
        assert status(bedrock, arn) == "Completed"


def test_code_that_polls_comes_to_an_end() -> None:
    # Given calls that each move the time ahead
    with mock_aws(), mock_bedrock_batch(seconds_per_call=30):
        bedrock = boto3.client("bedrock")
        arn = submit(bedrock)
        # When code under test asks until the job has ended, then it ends
        found = [status(bedrock, arn) for _ in range(5)]
        assert found[-1] == "Completed"


def test_answers_may_ask_bedrock_themselves(simulation: Simulation) -> None:
    # Given answers that call a model
    runtime: Any = boto3.client("bedrock-runtime")
    asked = [{"role": "user", "content": [{"text": "Two words."}]}]
    simulation.answers(
        lambda record: str(runtime.converse(modelId=CLAUDE, messages=asked)) if record.record_id else None
    )
    bedrock = boto3.client("bedrock")
    # When a job runs, then it completes
    arn = submit(bedrock)
    simulation.clock.advance(hours=1)
    assert status(bedrock, arn) == "Completed"


def test_answers_in_several_threads_may_ask_bedrock_themselves(simulation: Simulation) -> None:
    # Given answers that call a model, four at a time
    runtime: Any = boto3.client("bedrock-runtime")

    class Asking:
        concurrency = 4

        def __call__(self, record: Record) -> str | None:
            messages = [{"role": "user", "content": [{"text": record.prompt}]}]
            return str(runtime.converse(modelId=CLAUDE, messages=messages)) if record.record_id else None

    simulation.answers(Asking())
    bedrock = boto3.client("bedrock")
    arn = submit(bedrock)
    # When time passes, then the job completes: nobody waits for a lock that the other holds
    passing = threading.Thread(target=simulation.clock.advance, args=(3600,), daemon=True)
    passing.start()
    passing.join(60)
    assert not passing.is_alive()
    assert status(bedrock, arn) == "Completed"


def test_accounts_and_regions_are_apart(simulation: Simulation) -> None:
    # Given a job in one Region
    arn = submit(boto3.client("bedrock"))
    # When others list theirs, then they have none, and the ARN names the Region
    assert ":us-west-2:123456789012:" in arn
    elsewhere = boto3.client("bedrock", region_name="eu-central-1")
    other = boto3.client("bedrock", aws_access_key_id="111122223333", aws_secret_access_key="test")
    for bedrock in (elsewhere, other):
        assert bedrock.list_model_invocation_jobs()["invocationJobSummaries"] == []
        with pytest.raises(bedrock.exceptions.ResourceNotFoundException):
            bedrock.get_model_invocation_job(jobIdentifier=arn)


def test_foreign_jobs_use_up_the_quota_where_the_code_under_test_is_at_home(simulation: Simulation) -> None:
    # Given ten jobs of somebody else, in a session whose Region is that of the environment
    simulation.add_foreign_jobs(CLAUDE, 10, hours=2)
    bedrock = boto3.client("bedrock")
    # When a job is created, then there is no slot for it until those have ended
    with pytest.raises(bedrock.exceptions.ServiceQuotaExceededException):
        submit(bedrock)
    simulation.clock.advance(hours=3)
    assert submit(bedrock, "later")


def test_the_account_of_an_assumed_role_is_that_of_moto(simulation: Simulation) -> None:
    # Given the credentials of a role of another account
    role = "arn:aws:iam::444455556666:role/batch"
    made = boto3.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    session = boto3.Session(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])
    # When it creates a job, then the job is of that account
    assert ":444455556666:" in submit(session.client("bedrock"), roleArn=role)


def test_roles_and_keys_of_another_account_are_not_looked_for() -> None:
    # Given a job of another account with a key that is not in that of the test
    with mock_aws(), mock_bedrock_batch(check_role=True) as simulation:
        bedrock = boto3.client("bedrock", aws_access_key_id="111122223333", aws_secret_access_key="test")
        ours = {"s3BucketOwner": "123456789012"}
        result = {"s3Uri": "s3://data/out/", "s3EncryptionKeyId": "alias/theirs", **ours}
        arn = submit(
            bedrock,
            roleArn="arn:aws:iam::111122223333:role/batch",
            inputDataConfig={"s3InputDataConfig": {"s3Uri": "s3://data/in/a.jsonl", **ours}},
            outputDataConfig={"s3OutputDataConfig": result},
        )
        # When it runs, then it completes, and says what was not checked
        simulation.clock.advance(hours=1)
        assert status(bedrock, arn) == "Completed"
        (job,) = simulation.jobs
        assert job.unchecked == ("KMS key: there is no AWS KMS", "service role: there is no IAM")


def test_a_key_that_moto_does_not_have_fails_the_job(simulation: Simulation) -> None:
    bedrock = boto3.client("bedrock")
    result = {"s3Uri": "s3://data/out/", "s3EncryptionKeyId": "alias/none"}
    arn = submit(bedrock, outputDataConfig={"s3OutputDataConfig": result})
    simulation.clock.advance(hours=1)
    assert "alias/none" in bedrock.get_model_invocation_job(jobIdentifier=arn)["message"]


def test_without_an_s3_it_says_what_to_do() -> None:
    with mock_bedrock_batch(), pytest.raises(ConfigError, match="mock_aws"):
        boto3.client("bedrock").list_model_invocation_jobs()


def test_what_is_not_simulated_goes_on_to_moto(simulation: Simulation) -> None:
    assert boto3.client("bedrock").list_custom_models()["modelSummaries"] == []


def test_tags_of_other_resources_are_those_of_moto(simulation: Simulation) -> None:
    # Given a job and a custom model with tags
    bedrock = boto3.client("bedrock")
    role = boto3.client("iam").create_role(RoleName="tuner", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    arn = submit(bedrock, tags=[{"key": "team", "value": "a"}])
    made = bedrock.create_model_customization_job(
        jobName="tune",
        customModelName="tuned",
        roleArn=role,
        baseModelIdentifier="amazon.titan-text-lite-v1",
        trainingDataConfig={"s3Uri": "s3://data/in/a.jsonl"},
        outputDataConfig={"s3Uri": "s3://data/out/"},
        hyperParameters={},
        jobTags=[{"key": "team", "value": "b"}],
    )["jobArn"]
    # When the tags of both are read, then each has its own
    assert bedrock.list_tags_for_resource(resourceARN=arn)["tags"] == [{"key": "team", "value": "a"}]
    assert bedrock.list_tags_for_resource(resourceARN=made)["tags"] == [{"key": "team", "value": "b"}]


def test_a_wrong_setting_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match="unknown key 'min_record'"), mock_bedrock_batch(min_record=1):
        pass


def test_afterwards_clients_are_what_they_were() -> None:
    # Given that the mock has ended
    with mock_aws():
        with mock_bedrock_batch():
            bedrock = boto3.client("bedrock")
            assert bedrock.list_model_invocation_jobs()["invocationJobSummaries"] == []
        # When a client calls, then moto answers again, which does not know the operation
        with pytest.raises(Exception, match=r"not been implemented|NotImplemented|Not found|404"):
            bedrock.list_model_invocation_jobs()


def test_models_on_demand_are_answered_too(simulation: Simulation) -> None:
    said = boto3.client("bedrock-runtime").converse(
        modelId=CLAUDE, messages=[{"role": "user", "content": [{"text": "Two words."}]}]
    )
    assert said["output"]["message"]["content"][0]["text"].startswith("2 words")


pytest_plugins = ("pytester",)


def test_after_its_end_time_no_longer_passes_and_the_jobs_can_be_looked_at() -> None:
    # Given a simulation that has ended
    with mock_aws(), mock_bedrock_batch() as simulation:
        submit(boto3.client("bedrock"))
    # When time is moved, then nothing of it reaches AWS
    with pytest.raises(ConfigError, match="has ended"):
        simulation.clock.advance(hours=1)
    assert [job.status for job in simulation.jobs] == ["Submitted"]


def test_a_bucket_of_another_account_fails_the_job(simulation: Simulation) -> None:
    # Given a job that names another owner of its bucket than moto has
    bedrock: Any = boto3.client("bedrock")
    source = {"s3Uri": "s3://data/in/a.jsonl", "s3BucketOwner": "999999999999"}
    arn = submit(bedrock, inputDataConfig={"s3InputDataConfig": source})
    # When it runs, then it fails
    simulation.clock.advance(hours=1)
    found = bedrock.get_model_invocation_job(jobIdentifier=arn)
    assert (found["status"], found["message"]) == (
        "Failed",
        "Input bucket data is not owned by the expected account.",
    )


def test_a_role_of_another_account_is_refused(simulation: Simulation) -> None:
    bedrock = boto3.client("bedrock")
    with pytest.raises(bedrock.exceptions.ValidationException, match="Cross-account pass role"):
        submit(bedrock, roleArn="arn:aws:iam::999999999999:role/bedrock")


@pytest.mark.parametrize(
    "options", [{"seconds_per_call": -1}, {"speed": -5}, {"account": "12"}, {"min_records": 1}], ids=str
)
def test_a_wrong_option_is_told_at_once(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ConfigError, match=name), mock_bedrock_batch(**options):
        pass


def test_answers_that_cannot_be_called_are_told_at_once(simulation: Simulation) -> None:
    wrong: Any = "yes"
    with pytest.raises(ConfigError, match="must be a callable"):
        simulation.answers(wrong)


def test_a_tool_that_is_called_on_demand_has_its_input(simulation: Simulation) -> None:
    # Given a tool that has to be used
    schema = {"type": "object", "properties": {"even": {"type": "boolean"}}, "required": ["even"]}
    tools = [{"toolSpec": {"name": "say", "inputSchema": {"json": schema}}}]
    body = {
        "messages": [{"role": "user", "content": [{"text": "Is 4 even?"}]}],
        "toolConfig": {"tools": tools, "toolChoice": {"any": {}}},
    }
    # When Converse is called, then its answer is the expected one, with the tool's input
    runtime: Any = boto3.client("bedrock-runtime")
    said = runtime.converse(modelId=CLAUDE, **body)["output"]
    expected = expected_output(CLAUDE, "Converse", body, on_demand=True)["modelOutput"]["output"]
    assert said == expected
    assert isinstance(said["message"]["content"][-1]["toolUse"]["input"]["even"], bool)


def test_pytest_finds_the_fixture(pytester: pytest.Pytester) -> None:
    # Given a test that asks for the fixture by its name
    pytester.makepyfile(
        """
        import boto3
        import pytest

        def test_it(mock_bedrock_batch):
            assert boto3.client("bedrock", "us-east-1").list_model_invocation_jobs()
            boto3.client("s3", "us-east-1").create_bucket(Bucket="moto")
            assert mock_bedrock_batch.jobs == []

        @pytest.mark.mock_bedrock_batch(seconds_per_call=60)
        def test_time_passes(mock_bedrock_batch):
            before = mock_bedrock_batch.clock.now
            boto3.client("bedrock", "us-east-1").list_model_invocation_jobs()
            assert (mock_bedrock_batch.clock.now - before).total_seconds() == 60
        """
    )
    # When pytest runs it, then it passes
    pytester.runpytest_subprocess("--strict-markers").assert_outcomes(passed=2)


@pytest.mark.parametrize("seconds", [math.nan, math.inf, 1e12])
def test_a_time_that_has_no_date_is_refused(simulation: Simulation, seconds: float) -> None:
    before = simulation.clock.now
    with pytest.raises(ConfigError, match="at most"):
        simulation.clock.advance(seconds)
    assert simulation.clock.now == before


def test_no_client_of_another_service_is_made_before_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a mock, when Bedrock alone is asked
    with mock_aws(), mock_bedrock_batch():
        bedrock = boto3.client("bedrock", region_name="us-west-2")
        made: list[str] = []
        monkeypatch.setattr(boto3, "client", lambda name, **_: made.append(name))
        bedrock.list_model_invocation_jobs()

    # then a test pays for no other client: EC2's alone takes longer than the test
    assert made == []
