"""Whether the policies of a service role let it do what a job needs of Amazon S3, AWS KMS and the models.

Source: Amazon Bedrock User Guide, "Create a custom service role for batch inference".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from . import rules
from .aws import Aws
from .policies import Document, document
from .records import Location
from .roles import Rights, Verdict
from .unchecked import Unchecked


class ServiceRole:
    """The role of one job, as the policies in `aws` let it. `notes` takes what could not be evaluated.

    Making one and each check raise InputError where something is missing, and ClientError where a service
    answers with an error.
    """

    def __init__(self, aws: Aws, account: str, region: str, role_arn: str, notes: Unchecked) -> None:
        self._aws, self._account, self._region, self._notes = aws, account, region, notes
        self._partition = role_arn.split(":")[1]
        self._rights = Rights.read(aws.iam, role_arn)
        self._keys: dict[str, Mapping[str, Any]] = {}

    def check_input(self, uri: str, owner: str) -> list[str]:
        """Whether the role may list the input and read its objects; gives their names in the results' folder.

        `owner`: the account of the bucket.
        """
        place = Location.parse(uri)
        policy, read = self._bucket_policy(place.bucket)

        def may(action: str, key: str, **context: str) -> bool:
            arn = self._s3_arn(place.bucket, key)
            return self._told(self._rights.may(action, arn, context, owner=owner, policy=policy), read)

        # With which prefix Bedrock asks is not known: a policy that names any of these will do.
        prefixes = {place.key, place.prefix, place.key.rstrip("/")} if place.key else {""}
        if not any(may("s3:ListBucket", "", **{"s3:prefix": each}) for each in sorted(prefixes)):
            raise rules.ROLE_LIST.failure(uri=uri)
        names = []
        for key in self._input_keys(place):
            if not may("s3:GetObject", key) or not self._may_decrypt(place.bucket, key):
                raise rules.ROLE_GET.failure(bucket=place.bucket, key=key)
            names.append(key.rpartition("/")[2] if place.is_file else key.removeprefix(place.prefix))
        return names

    def check_output(self, uri: str, owner: str, job_id: str, names: Sequence[str], kms_key: str) -> None:
        """Whether the role may write the results of the input files `names`.

        `owner`: the account of the bucket. `kms_key`: the ARN of the key for the results, "" for none.
        """
        place = Location.parse(uri)
        policy, read = self._bucket_policy(place.bucket)
        context = {
            "s3:x-amz-server-side-encryption": "aws:kms",
            "s3:x-amz-server-side-encryption-aws-kms-key-id": kms_key,
        }
        for name in (*(f"{each}.out" for each in names), rules.RESULT_KEYS.value):
            key = f"{place.prefix}{job_id}/{name}"
            arn = self._s3_arn(place.bucket, key)
            sent = context if kms_key else {}
            verdict = self._rights.may("s3:PutObject", arn, sent, owner=owner, policy=policy)
            allowed = self._told(verdict, read)
            if not allowed or (kms_key and not self._may_use("kms:GenerateDataKey", kms_key)):
                raise rules.ROLE_PUT.failure(bucket=place.bucket, key=key)

    def may_invoke(self, profile_arn: str) -> bool:
        """Whether the role may invoke the inference profile of the job."""
        return self._told(
            self._rights.may("bedrock:InvokeModel", profile_arn, {}, owner=self._account, policy=None)
        )

    def _told(self, verdict: Verdict, read: bool = True) -> bool:
        """What a verdict comes to; without `read` there is a policy that might allow it."""
        for each in sorted(verdict.untold):
            self._notes.skip("service role", f"{each} is not evaluated")
        return verdict.allowed or not read

    def _input_keys(self, place: Location) -> Iterator[str]:
        if place.is_file:
            yield place.key
            return
        pages = self._aws.s3.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=place.bucket, Prefix=place.prefix):
            yield from (each["Key"] for each in page.get("Contents", []) if each["Key"].endswith(".jsonl"))

    def _s3_arn(self, bucket: str, key: str) -> str:
        return f"arn:{self._partition}:s3:::{bucket}" + (f"/{key}" if key else "")

    def _bucket_policy(self, bucket: str) -> tuple[Document | None, bool]:
        """The policy of a bucket, None where it has none; and whether it could be read."""
        with self._notes.asking(f"policy of the bucket {bucket}"):
            try:
                return document(self._aws.s3.get_bucket_policy(Bucket=bucket)["Policy"]), True
            except ClientError as error:
                if error.response["Error"]["Code"] != "NoSuchBucketPolicy":
                    raise
                return None, True
        return None, False

    def _may_decrypt(self, bucket: str, key: str) -> bool:
        """Whether the role may decrypt an object; an AWS managed key lets everybody of the account."""
        with self._notes.asking("encryption of the input"):
            found = self._aws.s3.head_object(Bucket=bucket, Key=key)
            given = found.get("SSEKMSKeyId", "")
            if not given or self._aws.kms is None:
                if given:
                    self._notes.skip("encryption of the input", "there is no AWS KMS")
                return True
            if given not in self._keys:
                self._keys[given] = self._aws.kms.describe_key(KeyId=given)["KeyMetadata"]
            used = self._keys[given]
            return used.get("KeyManager") == "AWS" or self._may_use("kms:Decrypt", used["Arn"])
        return True

    def _may_use(self, action: str, key_arn: str) -> bool:
        policy, read = None, False
        with self._notes.asking("policy of the KMS key"):
            found = self._aws.kms.get_key_policy(KeyId=key_arn, PolicyName="default")["Policy"]
            policy, read = document(found), True
        owner = key_arn.split(":")[4]
        context = {
            "kms:calleraccount": self._account,
            "kms:viaservice": f"s3.{self._region}.amazonaws.com",
        }
        verdict = self._rights.may(action, key_arn, context, owner=owner, policy=policy, policy_decides=True)
        return self._told(verdict, read)
