"""The module on MiniStack with IAM enforced, and the features that its roles' statements serve."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import uuid4

from batch_queue.core import names
from batch_queue.core.rows import ON_DEMAND_ARN, TERMINAL
from bedrock_batch_simulator import SimulatorControl
from boto3.dynamodb.conditions import Attr, Key

from tests.iam.statements import Roles
from tests.local_aws.bedrock import Bedrock
from tests.local_aws.environment import ACCOUNT, MODEL_ID, REGION, Say, scrub, session, take_folder
from tests.local_aws.ministack import MiniStack
from tests.local_aws.processes import BUILD
from tests.local_aws.terraform import Terraform

NOVA = "us.amazon.nova-lite-v1:0"
NAME = "br-iam"
#: A job takes two records of the first route and thirty of the second; what is fewer does not wait.
FEW, MANY = 2, 30
ROUTES: dict[str, dict[str, Any]] = {
    "default": {
        "pack_wait_minutes": 0,
        "min_records_per_job": FEW,
        "max_records_per_file": 20,  # a chunk has two records
        "max_records_per_job": 20_000,
        "max_active_jobs": 5,
        "prices": {"input_per_million_tokens": 1, "output_per_million_tokens": 5},
    },
    "nova": {
        "model_id": NOVA,
        "invocation_type": "Converse",
        "media": True,
        "undersized": "on_demand",
        "pack_wait_minutes": 0,
        "min_records_per_job": MANY,
    },
}
SIMULATOR: dict[str, Any] = {
    "check_models": False,
    "models": {
        "*": {
            "min_records": 1,
            "max_active_jobs": 5,
            "queue_seconds": 0.1,
            "validation_seconds": 0.1,
            "schedule_seconds": 0.1,
            "stopping_seconds": 0.1,
            "records_per_second": 2000.0,
        }
    },
}
#: Seconds that a feature may take; it takes some two.
PATIENCE = 40.0
#: Seconds between two runs of the processor that a feature asks for while it waits. As long as one of them
#: holds the lease, no other function sends a wake-up.
PUSH_SECONDS = 0.5
#: How many looks in a row, 0.05 s apart, see no function run when the queue is at rest, nor one that is tried
#: again.
QUIET = 4
#: The time-out, in seconds, of a function that shall not end its work in one run. Its leases last as long.
SHORT = 5
ENDED = {str(status) for status in TERMINAL}


class DeniedError(AssertionError):
    """A role was denied something; ``entries`` of the journal say what."""

    def __init__(self, entries: list[dict[str, Any]]) -> None:
        told = [
            f"{role_of(one)}: {one['request']['action']} {one['request']['resource_arn']}" for one in entries
        ]
        super().__init__("denied: " + "; ".join(sorted(set(told))))
        self.entries = entries


def role_of(entry: Mapping[str, Any]) -> str:
    """The name of the role that asked."""
    return str(entry["request"]["principal_arn"].split("/")[1])


def ask(number: int, size: int = 0) -> dict[str, Any]:
    """A record for the first route, of some ``size`` bytes."""
    text = f"Say {number} {uuid4().hex}" + "." * size
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 20}
    return {"recordId": f"r{number}", "modelInput": {**body, "messages": [{"role": "user", "content": text}]}}


def show(number: int, *uris: str, size: int = 0) -> dict[str, Any]:
    """A record for the second route, with pictures."""
    pictures = [{"image": {"format": "png", "source": {"s3Location": {"uri": uri}}}} for uri in uris]
    content = [*pictures, {"text": f"What is {number} {uuid4().hex}?" + "." * size}]
    return {"recordId": f"r{number}", "modelInput": {"messages": [{"role": "user", "content": content}]}}


def lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def denials(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those entries of the journal that say that a role was denied something."""
    return [
        one
        for one in entries
        if one["decision"] != "Allow" and "assumed-role" in one["request"]["principal_arn"]
    ]


@dataclass
class World:
    """MiniStack, the simulator that asks it who may do what, and the module applied with all options."""

    tell: Say
    folder: Any = BUILD / "iam"
    _since: int = field(default=0, init=False)
    _made: list[str] = field(default_factory=list, init=False)

    def __enter__(self) -> Self:
        scrub()
        self._lock = take_folder(self.folder)
        try:
            self.ministack = MiniStack.start(self.folder, REGION, ACCOUNT)
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in ("bedrock", "ministack"):
            if server := getattr(self, name, None):
                server.stop()
        self._lock.close()

    @property
    def description(self) -> str:
        return (
            f"{self.ministack.description}; Bedrock: simulator at {self.bedrock.endpoint}, asking MiniStack"
        )

    def _start(self) -> None:
        began = time.monotonic()
        self.bedrock = Bedrock.start(
            self.folder,
            self.ministack.endpoint,
            region=REGION,
            account=ACCOUNT,
            config=SIMULATOR,
            options=["--plug", "tests.local_aws.ministack_access:plug", "--no-events"],
        )
        self.simulator = SimulatorControl(self.bedrock.endpoint)
        aws = session(self.ministack.endpoint)
        self.aws = aws
        self.s3, self.lambda_, self.sqs, self.logs = (aws.client(n) for n in ("s3", "lambda", "sqs", "logs"))
        self.jobs = session(self.bedrock.endpoint).client("bedrock")
        self.iam, ec2 = aws.client("iam"), aws.client("ec2")
        self.key_arn = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
        net = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=net, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
        group = ec2.create_security_group(VpcId=net, GroupName="jobs", Description="jobs")["GroupId"]
        network = {"subnet_ids": [subnet], "security_group_ids": [group]}
        where = {
            "AWS_ENDPOINT_URL_BEDROCK": self.bedrock.endpoint,
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": self.bedrock.endpoint,
        }
        variables = {
            "name": NAME,
            "model_id": MODEL_ID,
            "routes": ROUTES,
            "media_prefixes": ["pictures/"],
            "schedule_expression": "rate(1 day)",  # the tests wake the processor, and know when
            "kms_key_arn": self.key_arn,
            "vpc": network,
            "job_vpc": network,
            "tracing": True,
            "lambda_environment": where,
        }
        self.tell(f"local AWS: {self.description}")
        self.tell("terraform: applying the module with all options (two minutes: the AWS provider waits)…")
        terraform = Terraform(self.folder, self.ministack.endpoint, REGION, variables)
        terraform.apply()
        self.outputs = terraform.outputs()
        self.bucket = str(self.outputs["bucket_name"])
        self.table = aws.resource("dynamodb").Table(self.outputs["table_name"])
        self.functions = {key: value["name"] for key, value in self.outputs["functions"].items()}
        self.roles = Roles(self.iam, {key: value["name"] for key, value in self.outputs["roles"].items()})
        self._know_times()
        self._listen()
        self.tell(f"terraform: applied after {time.monotonic() - began:.0f} s")

    def _listen(self) -> None:
        """Has a queue of its own hear the events of the module, and the messages for people."""
        self._inbox = self.sqs.create_queue(QueueName=f"{NAME}-heard")["QueueUrl"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=self._inbox, AttributeNames=["QueueArn"])
        arn, events = attributes["Attributes"]["QueueArn"], self.aws.client("events")
        allow = {
            "Effect": "Allow",
            "Principal": {"Service": ["events.amazonaws.com", "sns.amazonaws.com"]},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        self.sqs.set_queue_attributes(QueueUrl=self._inbox, Attributes={"Policy": policy})
        pattern = {"source": [self.outputs["events"]["source"]]}
        events.put_rule(Name=f"{NAME}-heard", EventPattern=json.dumps(pattern))
        events.put_targets(Rule=f"{NAME}-heard", Targets=[{"Id": "queue", "Arn": arn}])
        self.aws.client("sns").subscribe(
            TopicArn=self.outputs["topic_arn"], Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True
        )

    def _heard(self) -> list[str]:
        """The events and messages that have arrived since the last look."""
        got = self.sqs.receive_message(QueueUrl=self._inbox, MaxNumberOfMessages=10, VisibilityTimeout=600)
        return [each["Body"] for each in got.get("Messages", [])]

    def _know_times(self) -> None:
        """Has the queue know that a job starts at once: it does not wait for further uploads then."""
        for model in (MODEL_ID, NOVA):
            self.table.put_item(
                Item={
                    "pk": "model",
                    "sk": names.base_model(model),
                    "overhead_ms": 0,
                    "records_per_1000_s": 2_000_000,
                    "jobs": 1,
                }
            )

    # ----------------------------------------------------------------------------------------- pieces

    def watch(self) -> int:
        """From now on, a denial ends the feature that runs; gives the journal's last number."""
        self._since = max(
            (entry["number"] for entry in self.ministack.journal(self._since)), default=self._since
        )
        return self._since

    def denied(self) -> list[dict[str, Any]]:
        """What roles were denied since ``watch``."""
        return denials(self.ministack.journal(self._since))

    def until(self, look: Callable[[], bool], what: str, push: bool = True) -> None:
        """Waits until ``look`` is true, running the processor meanwhile. Raises DeniedError at a denial."""
        end = time.monotonic() + PATIENCE
        next_push = time.monotonic() + PUSH_SECONDS
        seen = self._since
        while True:
            new = self.ministack.journal(seen)  # the oldest first
            if entries := denials(new):
                raise DeniedError(entries)
            seen = new[-1]["number"] if new else seen
            if look():
                return
            assert time.monotonic() < end, f"{what} did not happen within {PATIENCE:.0f} s"
            if push and time.monotonic() >= next_push:
                self._push()
                next_push = time.monotonic() + PUSH_SECONDS
            time.sleep(0.1)

    def _push(self) -> None:
        """Runs the processor as Bedrock's events of jobs that have ended do, and else as the schedule does.

        The simulator here sends no events: some features need that nobody wakes the processor.
        """
        told = [event for job in self._uncollected() if (event := self._event_of(job))]
        for event in told or [{}]:
            self.invoke("process_batch_jobs", event)

    def _event_of(self, job: str) -> dict[str, Any]:
        """Bedrock's event of a job's end, or {}: it runs, the queue knows of its end, or it is on demand."""
        row = self.table.get_item(Key={"pk": job, "sk": "job"}).get("Item", {})
        if row.get("arn", ON_DEMAND_ARN) in {"", ON_DEMAND_ARN} or row["status"] in ENDED:
            return {}
        status = self.jobs.get_model_invocation_job(jobIdentifier=row["arn"])["status"]
        detail = {"batchJobName": f"{NAME}-{job}", "batchJobArn": row["arn"], "status": status}
        return {"source": "aws.bedrock", "detail": detail} if status in ENDED else {}

    def idle(self) -> None:
        """Waits until no function runs, also none that another one has just invoked."""
        end, quiet = time.monotonic() + PATIENCE, 0
        while quiet < QUIET and time.monotonic() < end:
            quiet = 0 if self.ministack.runs() else quiet + 1
            time.sleep(0.05)

    def rest(self) -> None:
        """Brings to its end what features that failed have left."""
        self.idle()
        self.watch()
        self.until(self._rests, "rest")
        self._made.clear()
        self.idle()

    def _rests(self) -> bool:
        """Whether all has ended. Tries again at once what failed, as the queue would later."""
        rows = [self.row(upload) for upload in self._made]
        # An upload that was never taken in has ended as a dead letter, without a row or with one saying why.
        open_ = [row for row in rows if row.get("status", "") not in {"", *ENDED} and "unread" not in row]
        jobs = self._uncollected()
        if open_ or jobs:
            self._hurry()
        for job in jobs:
            self.invoke("collect_results", {"job_id": job})
        return not open_ and not jobs

    def _uncollected(self) -> list[str]:
        """The ids of the jobs whose results are not collected, or not everything behind them is cleared."""
        found = self.table.query(KeyConditionExpression=Key("pk").eq("active"), ConsistentRead=True)["Items"]
        return [str(pointer["sk"]) for pointer in found]

    def _hurry(self) -> None:
        """Has the processor try at once what the queue has set aside for minutes: jobs, and chunks."""
        for job in self._uncollected():
            self._reset({"pk": job, "sk": "job"}, "tries", 1, Attr("status").eq("Submitting"))
        aside = Attr("pk").begins_with("queue#") & Attr("not_before").gt(0)
        for place in self.table.scan(FilterExpression=aside)["Items"]:
            self._reset({"pk": place["pk"], "sk": place["sk"]}, "not_before", 0, Attr("pk").exists())

    def _reset(self, key: Mapping[str, str], name: str, value: int, condition: Any) -> None:
        """Sets an attribute of an item of the queue, unless the queue has gone on with it."""
        with suppress(self.table.meta.client.exceptions.ConditionalCheckFailedException):
            self.table.update_item(
                Key=dict(key),
                UpdateExpression="SET #name = :value",
                ConditionExpression=condition,
                ExpressionAttributeNames={"#name": name},
                ExpressionAttributeValues={":value": value},
            )

    def invoke(self, function: str, event: Any) -> str:
        """Invokes a function and waits for it; gives its error, or ""."""
        done = self.lambda_.invoke(FunctionName=self.functions[function], Payload=json.dumps(event).encode())
        return done["Payload"].read().decode() if "FunctionError" in done else ""

    def put(self, key: str, body: bytes) -> str:
        """Uploads an object; gives its version id."""
        return str(self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)["VersionId"])

    def upload(self, body: bytes, folder: str = "") -> str:
        """Uploads a file for a route; gives the upload's id."""
        key = f"to-process/{folder}{uuid4().hex}.jsonl"
        upload_id = names.upload_id(self.bucket, key, self.put(key, body))
        self._made.append(upload_id)
        return upload_id

    def nobody_woke_it(self) -> None:
        """Waits until no function runs, and forgets the last wake-up, so that the next one is sent."""
        self.idle()
        self.table.delete_item(Key={"pk": "control", "sk": "lease"})

    def row(self, upload_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.table.get_item(Key={"pk": upload_id, "sk": "upload"}).get("Item", {})
        return found

    def ended(self, *upload_ids: str, status: str = "Completed") -> None:
        """Drives the queue until the uploads have ended and all is cleared up, and expects how they ended."""

        def look() -> bool:
            if self._uncollected():
                return False
            return all(self.row(each).get("status") in ENDED for each in upload_ids)

        self.until(look, f"the end of {upload_ids}")
        rows = [self.row(each) for each in upload_ids]
        assert [row["status"] for row in rows] == [status] * len(rows), [row.get("message") for row in rows]

    def told(self, key: str, version_id: str = "", etag: str = "") -> tuple[str, dict[str, Any]]:
        """An upload's id and the event that S3 sends of it."""
        sequencer = uuid4().hex
        thing = {
            "key": key,
            "eTag": etag,
            "sequencer": sequencer,
            **({"versionId": version_id} if version_id else {}),
        }
        record = {
            "eventName": "ObjectCreated:Put",
            "eventTime": "2026-01-01T00:00:00.000Z",
            "s3": {"bucket": {"name": self.bucket}, "object": thing},
        }
        return names.upload_id(self.bucket, key, version_id or sequencer), {"Records": [record]}

    @contextmanager
    def short(self, *functions: str) -> Iterator[None]:
        """Gives functions less time than their work takes, so that it goes on in other runs."""
        usual = {
            name: self.lambda_.get_function_configuration(FunctionName=name)["Timeout"]
            for name in (self.functions[each] for each in functions)
        }
        try:
            self._limit(dict.fromkeys(usual, SHORT))
            yield
        finally:
            self._limit(usual)

    def _limit(self, seconds: Mapping[str, int]) -> None:
        # MiniStack kills what runs when the configuration changes: better nothing does.
        end = time.monotonic() + 1
        while self.ministack.runs() and time.monotonic() < end:
            time.sleep(0.02)
        for name, timeout in seconds.items():
            self.lambda_.update_function_configuration(FunctionName=name, Timeout=timeout)

    def allowed(self, function: str, action: str, resource: str) -> bool:
        """Whether a function was allowed something since ``watch``."""
        role = self.roles.names[function]
        return any(
            one["decision"] == "Allow"
            and role in one["request"]["principal_arn"]
            and (one["request"]["action"], one["request"]["resource_arn"]) == (action, resource)
            for one in self.ministack.journal(self._since)
        )

    def function_arn(self, function: str) -> str:
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.functions[function]}"

    # --------------------------------------------------------------------------------------- features

    def good(self) -> None:
        """An upload becomes a job and a result."""
        self.ended(self.upload(lines([ask(n) for n in range(4)])))

    def untidy(self) -> None:
        """A file that needs tidying is streamed."""
        self.ended(self.upload(b"\xef\xbb\xbf" + lines([ask(n) for n in range(4)]).replace(b"\n", b"\r\n\n")))

    def unversioned(self) -> None:
        """An upload of a bucket without versions is read, staged and answered on demand by its ETag."""
        ids = []
        for rows, folder in (([ask(0), ask(1)], ""), ([show(0)], "nova/")):
            key = f"to-process/{folder}{uuid4().hex}.jsonl"
            answer = self.s3.put_object(Bucket=self.bucket, Key=key, Body=lines(rows))
            etag = answer["ETag"].strip('"')
            modified = self.s3.head_object(Bucket=self.bucket, Key=key)["LastModified"].timestamp()
            self.invoke("create_batch_queue", self.told(key, etag=etag)[1])
            ids.append(names.upload_id(self.bucket, key, f"{etag}/{names.iso(int(modified))}"))
            self._made.append(ids[-1])
        self.ended(*ids)

    def cut(self) -> None:
        """An upload of so many chunks that they are stored one by one."""
        self.ended(self.upload(lines([ask(n) for n in range(84)])))

    def sweep(self) -> None:
        """A sweep lists the uploads and knows them all."""
        upload = self.upload(lines([ask(n) for n in range(4)]))
        self.ended(upload)
        assert not self.invoke("create_batch_queue", {"sweep": True})

    def lost_rows(self) -> None:
        """Uploads without a row that have run are not run again: one that ended and one that was in a job."""
        ended, running = (self.upload(lines([ask(n) for n in range(4)])) for _ in range(2))
        self.ended(ended, running)
        summaries = {
            each: f"{self.row(each)['result_key'].removesuffix('.out')}.summary.json"
            for each in (ended, running)
        }
        self.put(summaries[ended], b'{"upload_id": "another"}')  # another version has ended since
        for version in self.s3.list_object_versions(Bucket=self.bucket, Prefix=summaries[running])[
            "Versions"
        ]:
            self.s3.delete_object(Bucket=self.bucket, Key=summaries[running], VersionId=version["VersionId"])
        self.put(f"jobs/{uuid4().hex}/in/{running}-000001.jsonl", b"x")
        for each in (ended, running):
            self.table.delete_item(Key={"pk": each, "sk": "upload"})
        self.invoke("create_batch_queue", {"sweep": True})
        self.ended(running, status="Failed")
        assert not self.row(ended)

    def rejected(self) -> None:
        """A file with a fault is rejected with a report."""
        upload = self.upload(b'{"recordId": \n')
        self.ended(upload, status="Rejected")
        self.s3.head_object(Bucket=self.bucket, Key=self.row(upload)["result_key"])

    def denied_before(self) -> None:
        """A sweep tries an upload again that could not be read, and replaces its row."""
        upload = self.upload(b'{"recordId": \n')
        self.ended(upload, status="Rejected")
        row = {**self.row(upload), "status": "Pending", "unread": True}
        self.table.put_item(Item=row)
        told = {name: row[name] for name in ("bucket", "key", "version_id", "etag", "created_at")}
        self.table.put_item(Item={"pk": "denied", "sk": upload, **told})
        self.invoke("create_batch_queue", {"sweep": True})
        self.ended(upload, status="Rejected")
        assert "Item" not in self.table.get_item(Key={"pk": "denied", "sk": upload})

    def gone_before(self) -> None:
        """An upload that was deleted before it was read is cancelled."""
        version = self.put("other/gone", b"x")
        self.s3.delete_object(Bucket=self.bucket, Key="other/gone", VersionId=version)
        upload, event = self.told(f"to-process/{uuid4().hex}.jsonl", version)
        self.invoke("create_batch_queue", event)
        self.ended(upload, status="Cancelled")

    def foreign(self) -> None:
        """Others' jobs hold the slots, so an upload waits; deleted meanwhile, it is cancelled."""
        refused = self._refused()
        with self._no_slot():
            key = f"to-process/{uuid4().hex}.jsonl"
            version = self.put(key, lines([ask(0), ask(1)]))
            upload = names.upload_id(self.bucket, key, version)
            self._made.append(upload)
            self.until(lambda: bool(self.row(upload)), "the intake", push=False)
            self.invoke("process_batch_jobs", {})
            assert self._refused() == refused, "a job was asked for while there was no slot"
            self._half_enqueued(upload, key, version)
            self.s3.delete_object(Bucket=self.bucket, Key=key, VersionId=version)
        self.ended(upload, status="Cancelled")

    @contextmanager
    def _no_slot(self) -> Iterator[None]:
        """Others' jobs hold all slots of the first route until the end."""
        arns = self.simulator.foreign(MODEL_ID, count=5, seconds=10 * PATIENCE)
        try:
            yield
        finally:
            for arn in arns:
                self.jobs.stop_model_invocation_job(jobIdentifier=arn)

    def _half_enqueued(self, upload: str, key: str, version: str) -> None:
        """The event is delivered again after a run that died while it put a large upload into the queue."""
        self.table.update_item(
            Key={"pk": upload, "sk": "upload"},
            UpdateExpression="SET ready = :no",
            ExpressionAttributeValues={":no": False},
        )
        self.invoke("create_batch_queue", self.told(key, version)[1])
        self.until(lambda: bool(self.row(upload)["ready"]), "the rest of the intake", push=False)

    def _refused(self) -> int:
        errors = self.simulator.state()["calls"]["CreateModelInvocationJob"]["errors"]
        return int(errors.get("ServiceQuotaExceededException", 0))

    def retried(self) -> None:
        """What an expired job did not answer is run again."""
        fault = {"outcome": "Expired", "fraction": 0.0, "times": 1, "model_id": MODEL_ID}
        self.simulator.configure(job_faults=[fault])
        try:
            self.ended(self.upload(lines([ask(n) for n in range(6)])))
        finally:
            self.simulator.configure(job_faults=[])

    def intake_wakes(self) -> None:
        """An upload runs though nobody but its intake wakes the processor."""
        self.ended(self._submitted_alone())

    def collector_wakes(self) -> None:
        """Records of an expired job run again though nobody but its collector wakes the processor."""
        fault = {"outcome": "Expired", "fraction": 0.0, "times": 1, "model_id": MODEL_ID}
        self.simulator.configure(job_faults=[fault])
        try:
            upload = self._submitted_alone()
            job = self._expired_alone(upload)
            self.nobody_woke_it()
            assert not self.invoke("collect_results", {"job_id": job})
            self.until(lambda: self._job_of(upload) not in {"", job}, "the next job", push=False)
            self.ended(upload)
        finally:
            self.simulator.configure(job_faults=[])

    def _submitted_alone(self) -> str:
        """Uploads a file that becomes a job though nobody runs the processor here; gives the upload's id."""
        self.nobody_woke_it()
        upload = self.upload(lines([ask(n) for n in range(FEW)]))
        self.until(lambda: self.row(upload).get("status") == "Submitted", "the job", push=False)
        self.idle()
        return upload

    def _expired_alone(self, upload: str) -> str:
        """Stores that an upload's job has expired, as a run does that dies before it invokes the collector.

        The collector that a run invokes may meet the lease of this run, and would then send no wake-up. Gives
        the job's id.
        """
        job = self._job_of(upload)
        key = {"pk": job, "sk": "job"}
        arn = self.table.get_item(Key=key)["Item"]["arn"]

        def expired() -> bool:
            return bool(self.jobs.get_model_invocation_job(jobIdentifier=arn)["status"] == "Expired")

        self.until(expired, "the end of the job", push=False)
        self.table.update_item(
            Key=key,
            UpdateExpression="SET #status = :status, status_key = :key, ended_at = :now, updated_at = :now,"
            " collect_requested_at = :now",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={
                ":status": "Expired",
                ":key": "job#Expired",
                ":now": names.iso(time.time()),
            },
        )
        return job

    def _job_of(self, upload: str) -> str:
        """The id of the job that has the first chunk of an upload, or ""."""
        chunk = self.table.get_item(Key={"pk": upload, "sk": "chunk#000001"})["Item"]
        return str(chunk.get("job_id", ""))

    def left_over(self) -> None:
        """One record that is left of an expired job finds no company, and its error stands in the result."""
        fault = {"outcome": "Expired", "fraction": 0.75, "times": 1, "model_id": MODEL_ID}
        self.simulator.configure(job_faults=[fault])
        try:
            self.ended(self.upload(lines([ask(n) for n in range(4)])), status="PartiallyCompleted")
        finally:
            self.simulator.configure(job_faults=[])

    def media(self) -> None:
        """Linked pictures are staged beside the records of a job."""
        self.put("pictures/one two.png", b"png")
        rows = [show(n, f"s3://{self.bucket}/pictures/one two.png") for n in range(MANY)]
        self.ended(self.upload(lines(rows), "nova/"))

    def media_retried(self) -> None:
        """Linked pictures of records that run again are staged from where they lay for the first job."""
        self.put("pictures/two.png", b"png")
        fault = {"outcome": "Expired", "fraction": 0.0, "times": 1, "model_id": NOVA}
        self.simulator.configure(job_faults=[fault])
        try:
            rows = [show(n, f"s3://{self.bucket}/pictures/two.png") for n in range(MANY)]
            self.ended(self.upload(lines(rows), "nova/"))
        finally:
            self.simulator.configure(job_faults=[])

    def on_demand(self) -> None:
        """Too few records are run on demand."""
        self.ended(self.upload(lines([show(0)]), "nova/"))

    def media_on_demand(self) -> None:
        """Too few records are run on demand, with their pictures."""
        self.put("pictures/three.png", b"png")
        self.ended(self.upload(lines([show(0, f"s3://{self.bucket}/pictures/three.png")]), "nova/"))

    def profile(self) -> None:
        """A job runs through an inference profile."""
        self.ended(self.upload(lines([show(n) for n in range(MANY)]), "nova/"))

    def going_on(self) -> None:
        """Reading and dispatching that take longer than an invocation go on in the next."""
        with self.short("create_batch_queue", "process_batch_jobs"):
            upload = self.upload(lines([ask(n) for n in range(4)]))
            for function in ("create_batch_queue", "process_batch_jobs"):
                self.until(functools.partial(self._went_on, function), f"going on of {function}")
        self.ended(upload)

    def answering_on(self) -> None:
        """Answering on demand that takes longer than an invocation goes on in the next."""
        with self.short("collect_results"):
            upload = self.upload(lines([show(0)]), "nova/")
            self.until(functools.partial(self._went_on, "collect_results"), "going on of collect_results")
        # MiniStack may have killed the run that was to go on, which the schedule would make good later.
        job = self._job_of(upload)

        def look() -> bool:
            self.invoke("collect_results", {"job_id": job})
            return self.row(upload)["status"] in ENDED

        self.until(look, "the last answer", push=False)
        assert self.row(upload)["status"] == "Completed"

    def _went_on(self, function: str) -> bool:
        return self.allowed(function, "lambda:InvokeFunction", self.function_arn(function))

    def broken_staging(self) -> None:
        """Staging by parts that fails leaves no parts behind."""
        self._broken("/in/", lines([ask(n, size=1_400_000) for n in range(4)]))

    def broken_result(self) -> None:
        """Putting a result together that fails leaves no parts behind."""
        self._broken("/processed/", lines([ask(n, size=1_400_000) for n in range(8)]))

    def broken_answers(self) -> None:
        """The same of answers on demand."""
        self._broken("/out/", lines([show(n, size=700_000) for n in range(16)]), "nova/")

    def _broken(self, path: str, body: bytes, folder: str = "") -> None:
        self.ministack.faults(
            {
                "method": "PUT",
                "path": path,
                "query": "partNumber",
                "status": 400,
                "code": "InvalidRequest",
                "times": 1,
            }
        )
        try:
            self.ended(self.upload(body, folder))
        finally:
            self.ministack.faults()
        left = self.s3.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        assert left == [], [each["Key"] for each in left]

    def published(self) -> None:
        """A rule hears how uploads and jobs end, with the cost, and people that an upload was rejected."""
        good, bad = self.upload(lines([ask(n) for n in range(4)])), self.upload(b'{"recordId": \n')
        self.ended(good)
        heard: list[str] = []

        def look() -> bool:
            heard.extend(self._heard())
            paid = any(good in one and '"Upload Ended"' in one and '"cost"' in one for one in heard)
            told = any("Rejected" in one and bad in one and '"Subject"' in one for one in heard)
            return paid and told

        self.until(look, "events and a message", push=False)

    # ---------------------------------------------------------------------------------- orders of people

    def order(self, order: str, **members: str) -> dict[str, Any]:
        """Gives an order as an administrator, and returns its answer."""
        done = self.lambda_.invoke(
            FunctionName=self.functions["operate_queue"],
            Payload=json.dumps({"order": order, **members}).encode(),
        )
        answer: dict[str, Any] = json.loads(done["Payload"].read())
        assert "FunctionError" not in done, answer
        return answer

    def asked_for_status(self) -> None:
        """The status names who holds the slots."""
        assert self.order("status")["slots"]

    def swept_by_order(self) -> None:
        """A sweep of a folder is ordered, and comes to its end."""
        assert "has begun" in self.order("sweep", prefix=f"to-process/{uuid4().hex}/")["did"]

    def checked(self) -> None:
        """Bedrock is asked whether it would take jobs of each model."""
        found = self.order("check")
        assert {model["batch"] for model in found.get("models", [])} == {"yes"}, found

    def cancelled(self) -> None:
        """An upload that waits is cancelled by its key, and ends."""
        with self._no_slot():
            key = f"to-process/{uuid4().hex}.jsonl"
            upload = names.upload_id(self.bucket, key, self.put(key, lines([ask(0), ask(1)])))
            self._made.append(upload)
            self.until(lambda: bool(self.row(upload)), "the intake", push=False)
            assert self.order("cancel", key=key)["records_taken_out"] == FEW
            self.until(lambda: self.row(upload)["status"] == "Cancelled", "its end", push=False)

    def stopped(self) -> None:
        """A job that runs nothing but a cancelled upload is stopped."""
        slow = {**SIMULATOR["models"]["*"], "queue_seconds": PATIENCE}
        self.simulator.configure(models={"*": slow})
        try:
            upload = self._submitted_alone()
            assert len(self.order("cancel", upload_id=upload)["stopped_jobs"]) == 1
            self.ended(upload, status="Cancelled")
        finally:
            self.simulator.configure(models=SIMULATOR["models"])

    def _ended_long_ago(self, upload: str) -> None:
        """Has an upload that has ended run again at once: an hour ago, no function was at work for it."""
        self.table.update_item(
            Key={"pk": upload, "sk": "upload"},
            UpdateExpression="SET ended_at = :then",
            ExpressionAttributeValues={":then": names.iso(time.time() - 3600)},
        )

    def _failed(self, *rows: dict[str, Any]) -> str:
        """Uploads records of which none succeeds; gives the upload's id."""
        self.simulator.configure(record_faults={"permanent_rate": 1.0})
        try:
            upload = self.upload(lines(list(rows)))
            self.ended(upload, status="Failed")
        finally:
            self.simulator.configure(record_faults={"permanent_rate": 0.0})
        self._ended_long_ago(upload)
        return upload

    def _half_failed(self) -> str:
        """Uploads records of which some succeed; gives the upload's id."""
        self.simulator.configure(record_faults={"permanent_rate": 0.5})
        try:
            upload = self.upload(lines([ask(n) for n in range(12)]))
            self.ended(upload, status="PartiallyCompleted")
        finally:
            self.simulator.configure(record_faults={"permanent_rate": 0.0})
        self._ended_long_ago(upload)
        return upload

    def retried_by_order(self) -> None:
        """The records of an upload that have failed run again, and the answers of the others are kept."""
        upload = self._half_failed()
        self.nobody_woke_it()
        self.order("retry", upload_id=upload)
        self.ended(upload)

    def retried_without_versions(self) -> None:
        """The same where neither the upload nor its result has a version."""
        upload = self._half_failed()
        self.table.update_item(
            Key={"pk": upload, "sk": "upload"}, UpdateExpression="REMOVE version_id, result_version_id"
        )
        self.order("retry", upload_id=upload)
        self.ended(upload)

    def gone_before_retry(self) -> None:
        """An upload that was deleted cannot run again, and the order says so."""
        upload = self._half_failed()
        row = self.row(upload)
        self.s3.delete_object(Bucket=self.bucket, Key=row["key"], VersionId=row["version_id"])
        assert "it no longer exists" in self.order("retry", upload_id=upload)["error"]

    def broken_retry(self) -> None:
        """Records to run again that cannot be written leave no parts behind."""
        upload = self._failed(*(ask(n, size=17_000_000) for n in range(FEW)))
        fault = {"method": "PUT", "path": "/retry/", "query": "partNumber", "status": 400, "times": 1}
        self.ministack.faults({**fault, "code": "InvalidRequest"})
        try:
            failed = self.invoke("operate_queue", {"order": "retry", "upload_id": upload})
            assert "InvalidRequest" in failed
        finally:
            self.ministack.faults()
        assert self.s3.list_multipart_uploads(Bucket=self.bucket).get("Uploads", []) == []
        self.order("retry", upload_id=upload)
        self.ended(upload)

    def resumed(self) -> None:
        """What waits behind a pause runs once it is resumed, though nobody else wakes the processor."""
        self.order("pause", by="iam", why="a test")
        try:
            upload = self.upload(lines([ask(n) for n in range(FEW)]))
            self.until(lambda: bool(self.row(upload)), "the intake", push=False)
            self.nobody_woke_it()
        finally:
            self.order("resume")
        self.until(lambda: self.row(upload)["status"] in {"Submitted", *ENDED}, "the job", push=False)
        self.ended(upload)

    def orders_going_on(self) -> None:
        """An order that takes longer than an invocation goes on in the next, and the schedule sees to it."""
        with self.short("operate_queue"):
            assert self.order("cancel", prefix=f"to-process/{uuid4().hex}/")["cancelled"] == 0
            upload = self.upload(lines([ask(n) for n in range(FEW)]), f"{uuid4().hex}/")
            self.ended(upload)
            prefix = self.row(upload)["key"].rpartition("/")[0] + "/"
            assert self.order("cancel", prefix=prefix)["goes_on"]
            self.until(functools.partial(self._went_on, "operate_queue"), "going on of operate_queue")
            self.idle()
        self.table.put_item(Item={"pk": "orders", "sk": upload, "ordered_at": "2026-01-01T00:00:00.000Z"})

        def look() -> bool:
            return "Item" not in self.table.get_item(Key={"pk": "orders", "sk": upload})

        self.until(look, "the order that was left open")

    def dead_letter(self, function: str) -> None:
        """An event that a function cannot handle ends in the dead-letter queue."""
        url, mark = self.outputs["dead_letter_queue"]["url"], uuid4().hex
        wrong: dict[str, dict[str, Any]] = {
            "create_batch_queue": {"Records": [{"eventName": "ObjectCreated:Put", "mark": mark}]},
            "process_batch_jobs": {"detail": mark},
            "operate_queue": {"go_on": {"mark": mark}},
        }
        self.lambda_.invoke(
            FunctionName=self.functions[function],
            InvocationType="Event",
            Payload=json.dumps(wrong.get(function, {"mark": mark})).encode(),
        )

        def look() -> bool:
            got = self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=600)
            return any(mark in each["Body"] for each in got.get("Messages", []))

        self.until(look, "a dead letter", push=False)

    def log(self) -> None:
        """Each function writes its log."""
        events = {
            "create_batch_queue": {"Records": []},
            "process_batch_jobs": {},
            "collect_results": {"job_id": "0" * 32},
            "operate_queue": {"go_on": ""},
            "publish_events": {"Records": []},
        }
        for function, event in events.items():
            group = self.outputs["log_groups"][function]["name"]
            before = self._streams(group)
            assert not self.invoke(function, event)
            self.until(functools.partial(self._more, group, before), "a log", push=False)

    def _more(self, group: str, before: int) -> bool:
        return self._streams(group) > before

    def _streams(self, group: str) -> int:
        pages = self.logs.get_paginator("describe_log_streams").paginate(logGroupName=group)
        return sum(len(page["logStreams"]) for page in pages)

    def run(self, feature: str) -> None:
        """Runs a feature until nothing that it has begun goes on. Raises DeniedError at a denial."""
        self.features()[feature]()
        self.idle()
        if denied := self.denied():
            raise DeniedError(denied)

    def features(self) -> dict[str, Callable[[], None]]:
        """All of them by name, in the order in which they run."""
        found = [
            self.log, self.rejected, self.denied_before, self.gone_before, self.good, self.on_demand,
            self.published, self.foreign, self.intake_wakes, self.collector_wakes,
            self.retried, self.left_over, self.media, self.media_retried, self.media_on_demand,
            self.profile, self.untidy, self.cut, self.sweep, self.lost_rows, self.unversioned,
            self.broken_answers, self.broken_staging, self.broken_result, self.going_on, self.answering_on,
            self.asked_for_status, self.swept_by_order, self.checked, self.cancelled, self.stopped,
            self.retried_by_order, self.retried_without_versions, self.gone_before_retry, self.broken_retry,
            self.resumed,
            self.orders_going_on,
        ]  # fmt: skip
        letters = {
            f"dead_letter_of_{each}": functools.partial(self.dead_letter, each) for each in self.functions
        }
        return {each.__name__: each for each in found} | letters
