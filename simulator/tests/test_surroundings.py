"""What Validating finds out about the buckets, the service role, the KMS key and the VPC of a job."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import boto3
import pytest
from bedrock_batch_simulator import Aws, Simulator
from botocore.exceptions import ClientError

from .world import ACCOUNT, BUCKET, CLAUDE, REGION, World, allow, create_role, deny, policy, records, rights

STRANGER = "999999999999"
NAMES = itertools.count()
DATA = [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]
S3 = allow("s3:GetObject", "s3:PutObject", "s3:ListBucket", on=DATA)


def refusing(operation: str, code: str, status: int, message: str = "no") -> Callable[..., Any]:
    """A call that is answered with an error."""

    def call(**_: Any) -> Any:
        answer: Any = {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }
        raise ClientError(answer, operation)

    return call


class Instead:
    """A client with some calls replaced."""

    def __init__(self, client: Any, **calls: Callable[..., Any]) -> None:
        self._client, self._calls = client, calls

    def __getattr__(self, name: str) -> Any:
        return self._calls.get(name) or getattr(self._client, name)


@dataclass
class Bench:
    """A simulator over all the services that moto has, and an input of one record."""

    world: World
    simulator: Simulator
    kms: Any
    ec2: Any

    def use(self, **services: Any) -> None:
        """Put other services beside the simulator."""
        self.simulator.aws = replace(self.simulator.aws, **services)

    def role(self, *statements: dict[str, Any], **more: Any) -> str:
        """A role that Bedrock may assume, with one inline policy of these statements."""
        name = f"role-{next(NAMES)}"
        arn = create_role(self.world.iam, name)
        if more:
            self.world.iam.put_role_permissions_boundary(RoleName=name, **more)
        if statements:
            self.world.iam.put_role_policy(
                RoleName=name, PolicyName="inline", PolicyDocument=policy(*statements)
            )
        return arn

    def key(self, *statements: dict[str, Any], **more: Any) -> str:
        """The id of a KMS key, with the usual policy or another."""
        given = {"Policy": policy(*statements)} if statements else {}
        return str(self.kms.create_key(**given, **more)["KeyMetadata"]["KeyId"])

    def run(self, **change: Any) -> dict[str, Any]:
        """The state of a job at its end, whose request differs by `change`."""
        name = f"job-{next(NAMES)}"
        arn = self.simulator.call("CreateModelInvocationJob", self.world.request(name, **change))["jobArn"]
        self.simulator.advance(3600)
        job = self.simulator.jobs[arn.rpartition("/")[2]]
        return self.simulator.operations.state(job, self.world.clock())

    def message(self, **change: Any) -> str:
        """Why a job fails in Validating."""
        state = self.run(**change)
        assert [each["status"] for each in state["timeline"]] == ["Submitted", "Validating", "Failed"]
        return str(state["message"])

    def unchecked(self, **change: Any) -> list[str]:
        """What of a job that completes was not checked."""
        state = self.run(**change)
        assert (state["status"], state["message"]) == ("Completed", "")
        return list(state["unchecked"])


@pytest.fixture
def bench(world: World) -> Bench:
    world.put("in/a.jsonl", records(1))
    simulator = world.simulator()
    kms, ec2 = boto3.client("kms"), boto3.client("ec2")
    simulator.aws = Aws(world.s3, world.iam, kms, ec2)
    return Bench(world, simulator, kms, ec2)


def output(**more: Any) -> dict[str, Any]:
    return {"outputDataConfig": {"s3OutputDataConfig": {"s3Uri": f"s3://{BUCKET}/out/", **more}}}


def source(**more: Any) -> dict[str, Any]:
    return {"inputDataConfig": {"s3InputDataConfig": {"s3Uri": f"s3://{BUCKET}/in/", **more}}}


def bucket_policy(bench: Bench, *statements: dict[str, Any]) -> None:
    # Told, not put there: moto would refuse calls itself, whatever the conditions say.
    told = {"Policy": policy(*statements)}
    bench.use(s3=Instead(bench.world.s3, get_bucket_policy=lambda **_: told))


# --- the service role ----------------------------------------------------------------------------


def test_a_role_as_documented_is_fine(bench: Bench) -> None:
    assert bench.unchecked() == []


def test_a_role_without_policies_fails_the_job(bench: Bench) -> None:
    assert bench.message(roleArn=bench.role()) == (
        f"Could not validate ListBucket permissions for S3URI: s3://{BUCKET}/in/"
    )


@pytest.mark.parametrize(
    ("action", "says"),
    [
        ("s3:ListBucket", "ListBucket permissions for S3URI"),
        ("s3:GetObject", "GetObject permissions to access S3 bucket: batch-bucket at key in/a.jsonl"),
        ("s3:PutObject", "PutObject permissions to access S3 bucket: batch-bucket at key out/"),
    ],
)
def test_an_explicit_deny_wins(bench: Bench, action: str, says: str) -> None:
    role = bench.role(allow("s3:*"), deny(action))
    assert says in bench.message(roleArn=role)


def test_a_role_needs_the_input_that_it_is_given(bench: Bench) -> None:
    # given a role that may read one folder, and an input in another one
    reads = allow("s3:GetObject", on=f"arn:aws:s3:::{BUCKET}/other/*")
    role = bench.role(reads, allow("s3:ListBucket", "s3:PutObject", on=DATA))

    # when a job runs over the latter, then it fails for the first file
    assert "GetObject" in bench.message(roleArn=role)


@pytest.mark.parametrize("prefix", ["in/", "in", "in/*", "i*"])
def test_a_role_may_list_by_prefix(bench: Bench, prefix: str) -> None:
    lists = allow("s3:ListBucket", Condition={"StringLike": {"s3:prefix": prefix}})
    assert bench.unchecked(roleArn=bench.role(lists, allow("s3:GetObject", "s3:PutObject"))) == []


def test_a_role_that_may_list_another_prefix_fails_the_job(bench: Bench) -> None:
    lists = allow("s3:ListBucket", Condition={"StringLike": {"s3:prefix": "other/*"}})
    role = bench.role(lists, allow("s3:GetObject", "s3:PutObject"))
    assert "ListBucket" in bench.message(roleArn=role)


def test_the_results_of_each_file_are_written_below_the_job_s_folder(bench: Bench) -> None:
    # given a role that may write the manifest alone
    manifests = f"arn:aws:s3:::{BUCKET}/out/*/manifest.json.out"
    role = bench.role(allow("s3:GetObject", "s3:ListBucket"), allow("s3:PutObject", on=manifests))

    # when a job runs, then it fails for the first result
    assert bench.message(roleArn=role).endswith("/a.jsonl.out")


def test_attached_policies_count(bench: Bench) -> None:
    role = bench.role()
    made = bench.world.iam.create_policy(PolicyName=f"p-{next(NAMES)}", PolicyDocument=rights())["Policy"]
    bench.world.iam.attach_role_policy(RoleName=role.rpartition("/")[2], PolicyArn=made["Arn"])
    assert bench.unchecked(roleArn=role) == []


def test_a_permissions_boundary_limits_the_role(bench: Bench) -> None:
    made = bench.world.iam.create_policy(
        PolicyName=f"p-{next(NAMES)}", PolicyDocument=policy(allow("s3:GetObject", "s3:ListBucket"))
    )["Policy"]
    role = bench.role(allow("s3:*"), PermissionsBoundary=made["Arn"])
    assert "PutObject" in bench.message(roleArn=role)


def test_an_attached_policy_that_is_not_there_is_told(bench: Bench) -> None:
    # given a role with a policy of AWS that the emulator does not have
    arn = "arn:aws:iam::aws:policy/AmazonS3FullAccess"

    class Pages:
        def paginate(self, **_: Any) -> Any:
            return [{"AttachedPolicies": [{"PolicyArn": arn}]}]

    real = bench.world.iam
    pages = lambda name: Pages() if name == "list_attached_role_policies" else real.get_paginator(name)  # noqa: E731
    bench.use(iam=Instead(real, get_paginator=pages))

    # when a job runs with it, then it is no fault, and told
    assert bench.unchecked(roleArn=bench.role()) == [f"service role: {arn} is not evaluated"]


@pytest.mark.parametrize("named", ["role", "all"])
def test_the_bucket_s_policy_can_let_the_role_in(bench: Bench, named: str) -> None:
    role = bench.role()
    bucket_policy(bench, {**S3, "Principal": {"AWS": role} if named == "role" else "*"})
    assert bench.unchecked(roleArn=role) == []


def test_a_bucket_policy_for_the_account_leaves_it_to_the_role_s_policies(bench: Bench) -> None:
    root = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    bucket_policy(bench, {**S3, "Principal": root})
    assert "ListBucket" in bench.message(roleArn=bench.role())


@pytest.mark.parametrize("principal", ["*", {"AWS": ACCOUNT}])
def test_the_bucket_s_policy_can_keep_the_role_out(bench: Bench, principal: Any) -> None:
    bucket_policy(bench, deny("s3:PutObject", on=DATA, Principal=principal))
    assert "PutObject" in bench.message()


def test_a_bucket_of_another_account_has_to_let_the_role_in(bench: Bench) -> None:
    # given buckets of another account, which the job names
    bench.simulator.configure({"bucket_owners": {BUCKET: STRANGER}})
    foreign = {**source(s3BucketOwner=STRANGER), **output(s3BucketOwner=STRANGER)}

    # when the bucket has no policy, and then one for the job's account
    assert "ListBucket" in bench.message(**foreign)
    bucket_policy(bench, {**S3, "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}})

    # then the job runs
    assert bench.unchecked(**foreign) == []


def test_a_deny_of_unencrypted_connections_hits_nobody(bench: Bench) -> None:
    insecure = {"Bool": {"aws:SecureTransport": "false"}}
    bucket_policy(bench, deny("s3:*", on=DATA, Principal="*", Condition=insecure))
    assert bench.unchecked() == []


def test_a_condition_that_cannot_be_evaluated_is_told(bench: Bench) -> None:
    elsewhere = {"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}
    bucket_policy(bench, deny("s3:*", on=DATA, Principal="*", Condition=elsewhere))
    assert bench.unchecked() == ["service role: StringNotEquals aws:SourceVpce is not evaluated"]


def test_a_bucket_policy_that_cannot_be_read_is_told(bench: Bench) -> None:
    bench.use(
        s3=Instead(bench.world.s3, get_bucket_policy=refusing("GetBucketPolicy", "NotImplemented", 501))
    )
    assert bench.unchecked(roleArn=bench.role()) == [
        f"policy of the bucket {BUCKET}: GetBucketPolicy is not implemented"
    ]


def test_a_role_that_went_away_fails_the_job(bench: Bench) -> None:
    role = bench.role()
    arn = bench.simulator.call("CreateModelInvocationJob", bench.world.request(roleArn=role))["jobArn"]
    bench.world.iam.delete_role(RoleName=role.rpartition("/")[2])
    bench.simulator.advance(3600)
    assert "does not exist" in bench.simulator.jobs[arn.rpartition("/")[2]].message


@pytest.mark.parametrize("setting", ["check_role", "check_surroundings"])
def test_the_role_s_rights_can_be_taken_as_they_are(bench: Bench, setting: str) -> None:
    bench.simulator.configure({setting: False})
    assert bench.unchecked(roleArn=bench.role()) == []


def test_an_s3_of_the_role_decides_itself(bench: Bench) -> None:
    bench.use(s3_as=lambda _: bench.world.s3)
    assert bench.unchecked(roleArn=bench.role()) == []


def test_without_an_iam_that_is_told(bench: Bench) -> None:
    bench.use(iam=None)
    assert bench.unchecked() == ["service role: there is no IAM"]


def test_a_role_that_may_not_invoke_the_profile_fails_the_job_in_progress(bench: Bench) -> None:
    # given a role that has the data alone, and a job through an inference profile
    state = bench.run(roleArn=bench.role(S3), modelId=f"us.{CLAUDE}")

    # then the job is validated, and fails for the model, without results
    assert [each["status"] for each in state["timeline"]][-2:] == ["InProgress", "Failed"]
    assert state["message"] == "Customer doesn't have permissions to invokeModel"
    assert bench.world.stored("out/") == []


def test_a_role_may_invoke_the_profile_by_its_arn(bench: Bench) -> None:
    profile = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:inference-profile/us.{CLAUDE}"
    role = bench.role(S3, allow("bedrock:InvokeModel", on=profile))
    assert bench.unchecked(roleArn=role, modelId=f"us.{CLAUDE}") == []


def test_a_passing_fault_of_iam_is_tried_again(bench: Bench) -> None:
    # given an IAM that fails twice
    real, failures = bench.world.iam, [1, 2]

    def paginator(name: str) -> Any:
        if failures:
            failures.pop()
            refusing("ListRolePolicies", "ServiceFailure", 500)()
        return real.get_paginator(name)

    bench.use(iam=Instead(real, get_paginator=paginator))

    # when a job runs, then it comes through
    assert bench.unchecked() == []
    assert failures == []


# --- the buckets ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "place"), [("Input", source), ("Output", output)])
def test_a_bucket_of_another_account_than_the_job_s_fails_it(
    bench: Bench, side: str, place: Callable[..., Any]
) -> None:
    bench.simulator.configure({"bucket_owners": {BUCKET: STRANGER}, "check_role": False})
    both = {**source(s3BucketOwner=STRANGER), **output(s3BucketOwner=STRANGER)}
    message = bench.message(**{**both, **place()})
    assert message == f"{side} bucket {BUCKET} is not owned by the expected account."


def test_a_bucket_that_is_not_of_the_account_told_fails_the_job(bench: Bench) -> None:
    # given an S3 that looks at the owner that it is told
    real = bench.world.s3

    def head(**given: Any) -> Any:
        if given.get("ExpectedBucketOwner", ACCOUNT) != ACCOUNT:
            refusing("HeadBucket", "403", 403)()
        return real.head_bucket(Bucket=given["Bucket"])

    bench.use(s3=Instead(real, head_bucket=head))

    # when a job names another owner, then it fails
    assert "not owned by the expected account" in bench.message(**output(s3BucketOwner=STRANGER))


def test_a_bucket_that_is_refused_whoever_owns_it_is_told(bench: Bench) -> None:
    bench.simulator.configure({"check_buckets": False})
    bench.use(s3=Instead(bench.world.s3, head_bucket=refusing("HeadBucket", "403", 403)))
    assert bench.unchecked() == [
        "input bucket: HeadBucket answered 403",
        "output bucket: HeadBucket answered 403",
    ]


@pytest.mark.parametrize(
    ("place", "says"),
    [
        (source, "Could not validate ListBucket permissions for S3URI"),
        (output, "Could not validate PutObject"),
    ],
)
def test_a_bucket_in_another_region_fails_the_job(bench: Bench, place: Callable[..., Any], says: str) -> None:
    # given a bucket elsewhere
    bench.simulator.configure({"check_role": False})
    where = {"LocationConstraint": "eu-central-1"}
    bucket = f"elsewhere-{next(NAMES)}"
    boto3.client("s3", "eu-central-1").create_bucket(Bucket=bucket, CreateBucketConfiguration=where)  # type: ignore[arg-type]

    # when a job uses it, then it fails
    assert says in bench.message(**place(s3Uri=f"s3://{bucket}/x/"))


# --- the KMS key ---------------------------------------------------------------------------------


def with_key(key: str) -> dict[str, Any]:
    return output(s3EncryptionKeyId=key)


def test_a_key_can_be_told_by_id_arn_and_alias(bench: Bench) -> None:
    key = bench.key()
    alias = f"alias/results-{next(NAMES)}"
    bench.kms.create_alias(AliasName=alias, TargetKeyId=key)
    role = bench.role(S3, allow("kms:GenerateDataKey", on=f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{key}"))
    arns = [f"arn:aws:kms:{REGION}:{ACCOUNT}:{each}" for each in (f"key/{key}", alias)]
    for form in (key, alias, *arns):
        assert bench.unchecked(roleArn=role, **with_key(form)) == []


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("12345678-1234-1234-1234-123456789012", "does not exist"),
        ("alias/none", "does not exist"),
        (f"arn:aws:kms:eu-west-1:{ACCOUNT}:alias/results", "is not in us-east-1"),
    ],
)
def test_a_key_has_to_be_there(bench: Bench, key: str, fault: str) -> None:
    assert bench.message(**with_key(key)) == f"The KMS key {key} cannot encrypt the output: it {fault}."


def test_a_key_has_to_be_enabled(bench: Bench) -> None:
    key = bench.key()
    bench.kms.disable_key(KeyId=key)
    assert "it is Disabled" in bench.message(**with_key(key))


def test_a_key_has_to_be_one_for_encryption(bench: Bench) -> None:
    key = bench.key(KeyUsage="SIGN_VERIFY", KeySpec="RSA_2048")
    assert "no symmetric key" in bench.message(**with_key(key))


def test_a_role_needs_the_key_of_the_results(bench: Bench) -> None:
    assert "PutObject" in bench.message(**with_key(bench.key()))


def test_the_key_s_policy_can_let_the_role_use_it(bench: Bench) -> None:
    role = bench.role(S3)
    key = bench.key(allow("kms:*", Principal={"AWS": role}))
    assert bench.unchecked(roleArn=role, **with_key(key)) == []


def test_a_key_whose_policy_names_neither_role_nor_account_keeps_the_role_out(bench: Bench) -> None:
    role = bench.role(S3, allow("kms:*"))
    key = bench.key(allow("kms:*", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:user/admin"}))
    assert "PutObject" in bench.message(roleArn=role, **with_key(key))


@pytest.mark.parametrize("may", [True, False])
def test_a_role_needs_the_key_of_the_input(bench: Bench, may: bool) -> None:
    # given an input that a key encrypts
    key = bench.key()
    bench.world.s3.put_object(
        Bucket=BUCKET, Key="in/a.jsonl", Body=records(1), ServerSideEncryption="aws:kms", SSEKMSKeyId=key
    )
    via = {"StringEquals": {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}}
    role = bench.role(S3, *([allow("kms:Decrypt", Condition=via)] if may else []))

    # when a job reads it, then the role needs kms:Decrypt
    if may:
        assert bench.unchecked(roleArn=role) == []
    else:
        assert "GetObject" in bench.message(roleArn=role)


def test_a_key_of_another_account_that_cannot_be_seen_is_told(bench: Bench) -> None:
    key = f"arn:aws:kms:{REGION}:{STRANGER}:key/12345678-1234-1234-1234-123456789012"
    assert bench.unchecked(**with_key(key)) == [f"KMS key: it is of account {STRANGER}"]


def test_without_a_kms_that_is_told(bench: Bench) -> None:
    bench.use(kms=None)
    assert bench.unchecked(**with_key("alias/none")) == ["KMS key: there is no AWS KMS"]


# --- the VPC -------------------------------------------------------------------------------------


def network(bench: Bench) -> tuple[str, str, str]:
    """A VPC, a subnet of it and its security group."""
    vpc = bench.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = bench.ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    groups = bench.ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc]}])
    return vpc, subnet, groups["SecurityGroups"][0]["GroupId"]


def inside(subnet: str, group: str) -> dict[str, Any]:
    return {"vpcConfig": {"subnetIds": [subnet], "securityGroupIds": [group]}}


def test_a_vpc_that_is_there_is_fine(bench: Bench) -> None:
    _, subnet, group = network(bench)
    assert bench.unchecked(**inside(subnet, group)) == []


def test_a_subnet_and_a_security_group_have_to_be_there(bench: Bench) -> None:
    _, subnet, group = network(bench)
    assert "subnet-12345678" in bench.message(**inside("subnet-12345678", group))
    assert "sg-12345678" in bench.message(**inside(subnet, "sg-12345678"))


def test_they_have_to_be_of_one_vpc(bench: Bench) -> None:
    (one, subnet, _), (other, _, group) = network(bench), network(bench)
    message = bench.message(**inside(subnet, group))
    assert one in message
    assert other in message


def test_ids_have_a_form(bench: Bench) -> None:
    assert "sg-1 in subnetIds is no id of that kind" in bench.message(**inside("sg-1", "sg-1"))


def test_without_an_ec2_that_is_told(bench: Bench) -> None:
    bench.use(ec2=None)
    assert bench.unchecked(**inside("subnet-1", "sg-1")) == ["VPC: there is no Amazon EC2"]


@pytest.mark.parametrize(
    "call",
    [
        refusing("DescribeSubnets", "InternalFailure", 501),
        refusing("DescribeSubnets", "InternalFailure", 500, "API for service 'ec2' not yet implemented"),
        refusing("DescribeSubnets", "UnknownOperationException", 404),
    ],
)
def test_what_an_emulator_does_not_have_is_told(bench: Bench, call: Callable[..., Any]) -> None:
    bench.use(ec2=Instead(bench.ec2, describe_subnets=call))
    assert bench.unchecked(**inside("subnet-1", "sg-1")) == ["VPC: DescribeSubnets is not implemented"]


def test_what_moto_does_not_have_is_told(bench: Bench) -> None:
    def missing(**_: Any) -> Any:
        raise NotImplementedError("The describe_subnets action has not been implemented")

    bench.use(ec2=Instead(bench.ec2, describe_subnets=missing))
    assert bench.unchecked(**inside("subnet-1", "sg-1")) == [
        "VPC: The describe_subnets action has not been implemented"
    ]


def test_the_state_is_json(bench: Bench) -> None:
    bench.use(ec2=None)
    assert json.loads(json.dumps(bench.run(**inside("subnet-1", "sg-1"))))["unchecked"]
