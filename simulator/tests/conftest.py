"""A simulator under a virtual clock over moto's S3 and IAM, and the same one asked through a boto3 client."""

from __future__ import annotations

import os
from collections.abc import Iterator

import boto3
import pytest
from hypothesis import HealthCheck, settings
from moto import mock_aws

from .program import Program
from .world import ACCOUNT, BUCKET, REGION, World, create_role, delete_role, rights

#: With EXAMPLES=… in the environment property tests try so many new ones, else always the same few.
EXAMPLES = int(os.environ.get("EXAMPLES", "0"))
settings.register_profile(
    "simulator",
    max_examples=EXAMPLES or 50,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("simulator")


@pytest.fixture(scope="module")
def aws() -> Iterator[World]:
    """An empty AWS; made once for a module, because making clients takes longer than most tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("", "_S3", "_IAM", "_BEDROCK", "_BEDROCK_RUNTIME"):
            patch.delenv(f"AWS_ENDPOINT_URL{name}", raising=False)
        patch.delenv("AWS_PROFILE", raising=False)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        patch.setenv("MOTO_ACCOUNT_ID", ACCOUNT)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        # The server's tests talk to it over the network; everything else is moto's.
        with mock_aws(config={"core": {"passthrough": {"urls": [r"http://127\.0\.0\.1:"]}}}):
            s3, iam = boto3.client("s3"), boto3.client("iam")
            s3.create_bucket(Bucket=BUCKET)
            role_arn = create_role(iam, "bedrock")
            iam.put_role_policy(RoleName="bedrock", PolicyName="data", PolicyDocument=rights())
            yield World(s3=s3, iam=iam, role_arn=role_arn)


@pytest.fixture(scope="session")
def own() -> Iterator[Program]:
    """The program with an AWS of its own; a test that uses it takes buckets and accounts of its own."""
    with Program.started("--speed", "200") as program:
        yield program


@pytest.fixture
def world(aws: World) -> Iterator[World]:
    """A bucket without objects, a role that Bedrock may assume, a clock of its own."""
    yield World(s3=aws.s3, iam=aws.iam, role_arn=aws.role_arn)
    for key in aws.stored():
        aws.s3.delete_object(Bucket=BUCKET, Key=key)
    for role in aws.iam.list_roles()["Roles"]:
        if role["Arn"] != aws.role_arn:
            delete_role(aws.iam, role["RoleName"])
