"""The program without an emulator: Bedrock, and moto's S3, IAM and others, at one port."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from bedrock_batch_simulator import SimulatorControl
from botocore.exceptions import ClientError

from .program import PATIENCE, Program, run
from .world import CLAUDE, converse, records

HERE, THERE = "us-east-1", "eu-west-1"


def bucket(own: Program, name: str, access_key: str, region: str) -> Any:
    """A new bucket with 100 records below in/; returns the client of S3."""
    s3 = own.client("s3", access_key, region)
    elsewhere = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    s3.create_bucket(Bucket=name, **({} if region == HERE else elsewhere))
    s3.put_object(Bucket=name, Key="in/a.jsonl", Body=records(100))
    return s3


def request(name: str, bucket_: str, account: str = "123456789012") -> dict[str, Any]:
    return {
        "jobName": name,
        "roleArn": f"arn:aws:iam::{account}:role/there-is-none",
        "modelId": CLAUDE,
        "inputDataConfig": {"s3InputDataConfig": {"s3Uri": f"s3://{bucket_}/in/"}},
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": f"s3://{bucket_}/out/"}},
    }


def until(look: Callable[[], Any]) -> Any:
    """What `look` gives as soon as it gives something."""
    end = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)
    return found


def ended(bedrock: Any, arn: str) -> dict[str, Any]:
    def look() -> Any:
        job = bedrock.get_model_invocation_job(jobIdentifier=arn)
        return job if "endTime" in job else None

    found: dict[str, Any] = until(look)
    return found


def test_a_job_from_s3_to_s3_at_one_port_and_without_a_role(own: Program) -> None:
    # given an input in a bucket
    s3, bedrock = bucket(own, "first", "test", HERE), own.client("bedrock")

    # when a job is created over it
    arn = bedrock.create_model_invocation_job(**request("first", "first"))["jobArn"]
    job = ended(bedrock, arn)

    # then it ends, and its results are in the bucket
    assert (job["status"], job["successRecordCount"]) == ("Completed", 100)
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket="first", Prefix="out/")["Contents"]]
    assert keys == [f"out/{arn[-12:]}/a.jsonl.out", f"out/{arn[-12:]}/manifest.json.out"]


def test_accounts_and_regions_are_apart(own: Program) -> None:
    # given two accounts, one of them in two Regions
    places = [("111111111111", HERE), ("222222222222", HERE), ("222222222222", THERE)]
    for account, region in places:
        bucket(own, f"apart-{account}-{region}", account, region)

    # when a job of the same name is created in each
    arns = [
        own.client("bedrock", account, region).create_model_invocation_job(
            **request("same", f"apart-{account}-{region}", account)
        )["jobArn"]
        for account, region in places
    ]

    # then each has its own
    assert [arn.split(":")[3:5] for arn in arns] == [[region, account] for account, region in places]
    for arn, (account, region) in zip(arns, places, strict=True):
        bedrock = own.client("bedrock", account, region)
        assert ended(bedrock, arn)["status"] == "Completed"
        listed = bedrock.list_model_invocation_jobs()["invocationJobSummaries"]
        assert [each["jobArn"] for each in listed] == [arn]


def test_state_changes_reach_the_event_bus_of_the_account_and_region(own: Program) -> None:
    # given a rule for them that leads to a queue
    account = "333333333333"
    bucket(own, "events-bucket", account, THERE)
    sqs, events = own.client("sqs", account, THERE), own.client("events", account, THERE)
    queue = sqs.create_queue(QueueName="changes")["QueueUrl"]
    events.put_rule(Name="changes", EventPattern=json.dumps({"source": ["aws.bedrock"]}))
    target = {"Id": "1", "Arn": f"arn:aws:sqs:{THERE}:{account}:changes"}
    events.put_targets(Rule="changes", Targets=[target])

    # when a job runs
    bedrock = own.client("bedrock", account, THERE)
    arn = bedrock.create_model_invocation_job(**request("told", "events-bucket", account))["jobArn"]

    # then its changes come
    got: list[tuple[str, str]] = []

    def all_came() -> bool:
        for each in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
            detail = json.loads(each["Body"])["detail"]
            got.append((detail["batchJobArn"], detail["status"]))
        return len(got) >= 5

    until(all_came)
    statuses = ["Submitted", "Validating", "Scheduled", "InProgress", "Completed"]
    assert sorted(got) == sorted((arn, status) for status in statuses)


def test_who_assumed_a_role_is_of_its_account(own: Program) -> None:
    # given the keys of a role of an account
    account = "444444444444"
    role = f"arn:aws:iam::{account}:role/tester"
    sts = own.client("sts", account)
    keys = sts.assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    bucket(own, "assumed", account, HERE)

    # when a job is created with them
    bedrock = own.client("bedrock", keys["AccessKeyId"], token=keys["SessionToken"])
    arn = bedrock.create_model_invocation_job(**request("assumed", "assumed", account))["jobArn"]

    # then it is a job of that account
    assert arn.split(":")[4] == account


def test_a_bucket_with_the_name_of_a_path_of_bedrock_is_a_bucket(own: Program) -> None:
    s3 = own.client("s3")
    s3.create_bucket(Bucket="model-invocation-jobs")
    s3.put_object(Bucket="model-invocation-jobs", Key="key", Body=b"body")
    assert [each["Key"] for each in s3.list_objects(Bucket="model-invocation-jobs")["Contents"]] == ["key"]


def test_a_presigned_url_is_of_its_account(own: Program) -> None:
    s3 = bucket(own, "presigned", "555555555555", HERE)
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "presigned", "Key": "in/a.jsonl"})
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:  # noqa: S310 (http, as the program says)
        assert answer.read() == records(100)


def test_metadata_keeps_its_underscores(own: Program) -> None:
    s3 = own.client("s3")
    s3.create_bucket(Bucket="metadata")
    s3.put_object(Bucket="metadata", Key="a+b c/ü?.txt", Body=b"", Metadata={"a_b-c": "d"})
    assert s3.head_object(Bucket="metadata", Key="a+b c/ü?.txt")["Metadata"] == {"a_b-c": "d"}
    assert s3.list_objects_v2(Bucket="metadata")["Contents"][0]["Key"] == "a+b c/ü?.txt"


def test_a_bucket_may_be_in_the_name_of_the_host(own: Program) -> None:
    s3 = own.client("s3")
    s3.create_bucket(Bucket="in-the-host")
    s3.put_object(Bucket="in-the-host", Key="key", Body=b"body", ACL="public-read")
    port = own.url.rpartition(":")[2]
    call = urllib.request.Request(  # noqa: S310 (http, as the program says)
        f"{own.url}/key", headers={"Host": f"in-the-host.localhost:{port}"}
    )
    with urllib.request.urlopen(call, timeout=PATIENCE) as answer:  # noqa: S310
        assert answer.read() == b"body"


def test_a_region_that_is_none_of_aws_is_one_here(own: Program) -> None:
    bedrock = own.client("bedrock", region="local")
    assert bedrock.list_model_invocation_jobs()["invocationJobSummaries"] == []


def test_a_large_object_goes_in_and_out(own: Program) -> None:
    s3, body = own.client("s3"), bytes(range(256)) * 4096 * 20
    s3.create_bucket(Bucket="large")
    s3.put_object(Bucket="large", Key="key", Body=body)
    assert s3.get_object(Bucket="large", Key="key")["Body"].read() == body


def test_a_bearer_token_reaches_the_models(own: Program) -> None:
    call = urllib.request.Request(  # noqa: S310 (http, as the program says)
        f"{own.url}/model/{CLAUDE}/converse",
        data=json.dumps(converse("How are you?")).encode(),
        headers={"Authorization": "Bearer token", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(call, timeout=PATIENCE) as answer:  # noqa: S310
        assert json.load(answer)["output"]["message"]["role"] == "assistant"


def test_an_operation_that_nobody_has_is_told(own: Program) -> None:
    with pytest.raises(ClientError, match=r"NotImplemented.*list_guardrails"):
        own.client("bedrock").list_guardrails()


def test_the_state_tells_of_the_account_that_is_asked_for(own: Program) -> None:
    control = SimulatorControl(own.url)
    state = control.state("666666666666", THERE)
    assert (state["account"], state["region"], state["jobs"]) == ("666666666666", THERE, [])


def test_a_role_is_looked_at_where_that_is_asked_for() -> None:
    with Program.started("--check-role", "--account", "777777777777") as program:
        bucket(program, "checked", "test", HERE)
        with pytest.raises(ClientError, match="it does not exist"):
            program.client("bedrock").create_model_invocation_job(
                **request("checked", "checked", "777777777777")
            )


@pytest.mark.parametrize("missing", ["moto", "flask", "flask_cors"])
def test_without_the_extra_the_program_says_what_to_install(missing: str) -> None:
    code, said = run("--port", "0", code=f"import sys; sys.modules[{missing!r}] = None")
    assert code == 2
    assert "pip install 'bedrock-batch-simulator[server]'" in said
    assert "--endpoint-url" in said
    assert said.startswith("bedrock-batch-simulator: ")
