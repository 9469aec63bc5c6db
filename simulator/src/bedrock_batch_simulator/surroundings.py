"""What Validating looks at beside the input: the buckets, the service role's rights, the KMS key, the VPC.

It is asked of the AWS beside the simulated Bedrock. What cannot be asked there, or cannot be decided, is no
fault of the job: it is told in the job's state as unchecked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from . import rules
from .aws import Aws
from .config import Config
from .errors import HTTP_STATUS
from .jobs import Job
from .models import is_profile, model_arn
from .records import Location
from .service_role import ServiceRole
from .unchecked import Unchecked

_FORBIDDEN = HTTP_STATUS["AccessDeniedException"]
_NO_KEY = ("NotFoundException", "InvalidArnException", "ValidationException")
_NO_NETWORK = ("InvalidSubnet", "InvalidGroup", "InvalidSecurityGroup")
_ENCRYPTION, _SYMMETRIC = "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT"
_VPC_IDS = {"subnetIds": r"subnet-[0-9A-Za-z-]+", "securityGroupIds": r"sg-[0-9A-Za-z-]+"}


@dataclass(frozen=True)
class Found:
    """What came out of a look: what could not be checked, and why the models will refuse the role, or ""."""

    unchecked: tuple[str, ...] = ()
    refusal: str = ""


class Surroundings:
    """Looks at the surroundings of jobs in one account and Region."""

    def __init__(self, aws: Aws, config: Config, *, account: str, region: str, partition: str) -> None:
        self._aws, self._config = aws, config
        self._account, self._region, self._partition = account, region, partition

    def check(self, job: Job) -> Found:
        """Look at all of it; raises InputError at a fault, and ClientError for a passing one of a service."""
        if not self._config.check_surroundings:
            return Found()
        notes, refusal = Unchecked(), ""
        source = job.request["inputDataConfig"]["s3InputDataConfig"]
        target = job.request["outputDataConfig"]["s3OutputDataConfig"]
        results = f"{Location.parse(target['s3Uri']).prefix}{job.id}/"
        s3 = self._aws.s3_of(job.request["roleArn"])
        with notes.asking("input bucket"):
            if self._bucket(s3, "Input", source) != self._region:
                raise rules.INPUT_REGION.failure(uri=source["s3Uri"])
        with notes.asking("output bucket"):
            if self._bucket(s3, "Output", target) != self._region:
                bucket = Location.parse(target["s3Uri"]).bucket
                raise rules.OUTPUT_REGION.failure(bucket=bucket, key=results)
        key = ""
        with notes.asking("KMS key"):
            key = self._key(target.get("s3EncryptionKeyId", ""), notes)
        with notes.asking("VPC"):
            self._vpc(job.request.get("vpcConfig"), notes)
        if self._config.check_role and self._aws.s3_as is None:
            with notes.asking("service role"):
                refusal = self._role(job, key, notes)
        return Found(notes.notes, refusal)

    def _bucket(self, s3: Any, side: str, place: Mapping[str, Any]) -> str:
        """The Region of a bucket; raises InputError where it is not of the account that the job names."""
        bucket = Location.parse(place["s3Uri"]).bucket
        # Without the owner, Bedrock takes the job's own account, whatever the policy of the bucket says.
        told = place.get("s3BucketOwner", self._account)
        known = self._config.bucket_owners.get(bucket)
        if known is None and self._aws.bucket_owner is not None:
            known = self._aws.bucket_owner(bucket) or None
        wrong = rules.BUCKET_OWNER.failure(side=side, bucket=bucket)
        if known not in (None, told):
            raise wrong
        try:
            found = s3.head_bucket(Bucket=bucket, **({} if known else {"ExpectedBucketOwner": told}))
        except ClientError as error:
            if known or error.response["ResponseMetadata"].get("HTTPStatusCode") != _FORBIDDEN:
                raise
            s3.head_bucket(Bucket=bucket)  # what is refused this way too says nothing of the owner
            raise wrong from None
        return str(found.get("BucketRegion", self._region))

    def _key(self, given: str, notes: Unchecked) -> str:
        """The ARN of the KMS key for the results, "" without one; raises InputError where it is of no use."""
        if not given:
            return ""
        _, _, _, region, account, *_ = given.split(":") if given.startswith("arn:") else [""] * 6
        if region not in ("", self._region):
            raise rules.KEY_UNUSABLE.failure(key=given, fault=f"is not in {self._region}")
        if self._aws.kms is None:
            notes.skip("KMS key", "there is no AWS KMS")
            return ""
        try:
            found = self._aws.kms.describe_key(KeyId=given)["KeyMetadata"]
        except ClientError as error:
            if error.response["Error"]["Code"] not in _NO_KEY:
                raise
            if account not in ("", self._account):
                notes.skip("KMS key", f"it is of account {account}")
                return ""
            raise rules.KEY_UNUSABLE.failure(key=given, fault="does not exist") from None
        if found.get("KeyState", "Enabled") != "Enabled":
            raise rules.KEY_UNUSABLE.failure(key=given, fault=f"is {found['KeyState']}")
        if (found.get("KeyUsage", _ENCRYPTION), found.get("KeySpec", _SYMMETRIC)) != (
            _ENCRYPTION,
            _SYMMETRIC,
        ):
            raise rules.KEY_UNUSABLE.failure(key=given, fault="is no symmetric key for encryption")
        return str(found["Arn"])

    def _vpc(self, given: Mapping[str, Any] | None, notes: Unchecked) -> None:
        if not given:
            return
        for name, form in _VPC_IDS.items():
            for each in given[name]:
                if not re.fullmatch(form, each):
                    raise rules.VPC_UNUSABLE.failure(fault=f"{each} in {name} is no id of that kind")
        ec2 = self._aws.ec2
        if ec2 is None:
            notes.skip("VPC", "there is no Amazon EC2")
            return
        try:
            subnets = ec2.describe_subnets(SubnetIds=given["subnetIds"])["Subnets"]
            groups = ec2.describe_security_groups(GroupIds=given["securityGroupIds"])["SecurityGroups"]
        except ClientError as error:
            told = error.response["Error"]
            if not told["Code"].startswith(_NO_NETWORK):
                raise
            raise rules.VPC_UNUSABLE.failure(fault=told["Message"]) from None
        vpcs = sorted({str(each["VpcId"]) for each in (*subnets, *groups)})
        if len(vpcs) > 1:
            fault = f"subnets and security groups are of more than one VPC: {', '.join(vpcs)}"
            raise rules.VPC_UNUSABLE.failure(fault=fault)

    def _role(self, job: Job, key: str, notes: Unchecked) -> str:
        """Raise InputError unless the role may reach the data; gives why the models will refuse it, or ""."""
        if self._aws.iam is None:
            notes.skip("service role", "there is no IAM")
            return ""
        role = ServiceRole(self._aws, self._account, self._region, job.request["roleArn"], notes)
        source = job.request["inputDataConfig"]["s3InputDataConfig"]
        target = job.request["outputDataConfig"]["s3OutputDataConfig"]
        names = role.check_input(source["s3Uri"], source.get("s3BucketOwner", self._account))
        role.check_output(target["s3Uri"], target.get("s3BucketOwner", self._account), job.id, names, key)
        if not is_profile(job.model_id, self._config.inference_profiles):
            return ""
        profile = model_arn(job.model_id, self._region, self._account, self._partition)
        return "" if role.may_invoke(profile) else rules.ROLE_INVOKE.text()
