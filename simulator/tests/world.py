"""What the tests of the simulator share: an AWS of one account, and words to say what is in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import boto3
from bedrock_batch_simulator import Aws, Config, Simulator, VirtualClock, attach

ACCOUNT = "123456789012"
REGION = "us-east-1"
BUCKET = "batch-bucket"
CLAUDE = "anthropic.claude-3-haiku-20240307-v1:0"
NOVA = "amazon.nova-lite-v1:0"
SOURCE_ARN = f"arn:aws:bedrock:{REGION}:{ACCOUNT}:model-invocation-job/*"

SMALL = {"models": {"*": {"min_records": 1}}}
"""A configuration under which jobs of one record are fine."""

LENIENT = {"check_input": False, "check_models": False}
"""What the tests of other things need not care about."""


def trust(
    service: str = "bedrock.amazonaws.com", source_arn: str = SOURCE_ARN, account: str = ACCOUNT
) -> str:
    """A trust policy with the confused-deputy conditions."""
    condition = {"StringEquals": {"aws:SourceAccount": account}, "ArnEquals": {"aws:SourceArn": source_arn}}
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sts:AssumeRole",
        "Condition": condition,
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def create_role(iam: Any, name: str, policy: str | None = None) -> str:
    """The ARN of a new role, with a good trust policy unless told otherwise."""
    answer = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy or trust())
    return str(answer["Role"]["Arn"])


def allow(*actions: str, on: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    """A statement of a policy."""
    return {"Effect": "Allow", "Action": list(actions), "Resource": on, **more}


def deny(*actions: str, on: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    """A statement of a policy."""
    return {**allow(*actions, on=on, **more), "Effect": "Deny"}


def policy(*statements: dict[str, Any]) -> str:
    """A policy of some statements, as JSON."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def rights(bucket: str = BUCKET) -> str:
    """The policy of a service role as the documentation has it: its data, and the models behind profiles."""
    data = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    return policy(
        allow("s3:GetObject", "s3:PutObject", "s3:ListBucket", on=data), allow("bedrock:InvokeModel")
    )


def delete_role(iam: Any, name: str) -> None:
    """Delete a role with its policies."""
    for each in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=each)
    for each in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=name, PolicyArn=each["PolicyArn"])
        iam.delete_policy(PolicyArn=each["PolicyArn"])
    iam.delete_role(RoleName=name)


def message(text: str, **more: Any) -> dict[str, Any]:
    """An InvokeModel body of Anthropic's messages."""
    return {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 200,
        "messages": [{"role": "user", "content": text}],
        **more,
    }


def converse(text: str, **more: Any) -> dict[str, Any]:
    """A Converse body."""
    return {"messages": [{"role": "user", "content": [{"text": text}]}], **more}


def jsonl(*inputs: dict[str, Any], first: int = 0) -> bytes:
    """Lines with the record ids r0, r1 and so on."""
    lines = [json.dumps({"recordId": f"r{first + n}", "modelInput": each}) for n, each in enumerate(inputs)]
    return ("\n".join(lines) + "\n").encode()


def records(count: int, first: int = 0) -> bytes:
    """`count` good lines for Anthropic."""
    return jsonl(*(message(f"Question {first + n}. What now?") for n in range(count)), first=first)


@dataclass
class World:
    """Buckets and roles, and the simulators made over them."""

    s3: Any
    iam: Any
    role_arn: str
    events: list[dict[str, Any]] = field(default_factory=list)
    clock: VirtualClock = field(default_factory=VirtualClock)

    def simulator(self, config: dict[str, Any] | None = None, seed: int = 1) -> Simulator:
        """A simulator whose events come into `events`.

        Unless told, Create does not look for an input, and every model is everywhere by id and by profile.
        """
        return Simulator(
            Aws(self.s3, self.iam),
            clock=self.clock,
            account=ACCOUNT,
            region=REGION,
            emit=self.events.append,
            seed=seed,
            config=Config.from_dict({**LENIENT, **(SMALL if config is None else config)}),
        )

    def client(self, simulator: Simulator) -> Any:
        """A boto3 client that `simulator` answers in this process."""
        return attach(simulator, boto3.client("bedrock", region_name=REGION))

    def runtime(self, simulator: Simulator, pause: Callable[[float], None] | None = None) -> Any:
        """A boto3 client of the models on demand that `simulator` answers in this process."""
        return attach(simulator, boto3.client("bedrock-runtime", region_name=REGION), pause)

    def put(self, key: str, body: bytes) -> str:
        """Store an object; returns its URI."""
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        return f"s3://{BUCKET}/{key}"

    def stored(self, prefix: str = "") -> list[str]:
        """The keys below `prefix`."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [each["Key"] for page in pages for each in page.get("Contents", [])]

    def read(self, uri: str) -> bytes:
        """The bytes of an object."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return bytes(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    def results(self, key: str) -> list[dict[str, Any]]:
        """The lines of a result file."""
        return [json.loads(line) for line in self.read(f"s3://{BUCKET}/{key}").split(b"\n") if line]

    def request(self, name: str = "job-1", **change: Any) -> dict[str, Any]:
        """The parameters of a good Create over the folder in/, changed by `change` (None takes one away)."""
        params = {
            "jobName": name,
            "roleArn": self.role_arn,
            "modelId": CLAUDE,
            "clientRequestToken": f"token-{name}",
            "inputDataConfig": {"s3InputDataConfig": {"s3Uri": f"s3://{BUCKET}/in/"}},
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": f"s3://{BUCKET}/out/"}},
            **change,
        }
        return {key: value for key, value in params.items() if value is not None}

    def statuses(self, job_arn: str | None = None) -> list[str]:
        """The statuses in the events that came, of one job or of all."""
        details = [event["detail"] for event in self.events]
        return [each["status"] for each in details if job_arn in (None, each["batchJobArn"])]
