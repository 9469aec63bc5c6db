"""What Bedrock's answer to a job without an input says of the model, the service role and the caller."""

from __future__ import annotations

from uuid import uuid4

import pytest
from batch_queue.core import names
from batch_queue.core.checking import About, Answer, Batch, Verdict, accepted, verdict
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.unit

MODEL = "anthropic.claude-haiku-4-5-20251001-v1:0"
ROLE = "arn:aws:iam::123456789012:role/br-bedrock"
USER = "User: arn:aws:sts::123456789012:assumed-role/br-process/br-process is not authorized to perform:"
JOB = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/*"
INVALID, DENIED, NOT_FOUND = "ValidationException", "AccessDeniedException", "ResourceNotFoundException"
NO_ASSUME = (
    "Could not assume provided IAM role. Please verify that the role exists, permissions are "
    "configured correctly and try again."
)
ROLE_PATTERN = (
    "1 validation error detected: Value 'x' at 'roleArn' failed to satisfy constraint: Member "
    "must satisfy regular expression pattern: arn:…"
)
MODEL_PATTERN = (
    "1 validation error detected: Value 'us.minimax.minimax-m2.1' at 'modelId' failed to "
    "satisfy constraint: Member must satisfy regular expression pattern: (s3://…)"
)
INPUT_PATTERN = (
    "1 validation error detected: Value 's3://b/a b' at "
    "'inputDataConfig.s3InputDataConfig.s3Uri' failed to satisfy constraint"
)
YES, NO, UNKNOWN = Batch.YES, Batch.NO, Batch.UNKNOWN


def read(code: str, message: str, *, quota: bool = False, failed: bool = False) -> Verdict:
    return verdict(Answer(code, message, quota, failed), MODEL, "Converse", ROLE)


@pytest.mark.parametrize(
    ("code", "message", "batch", "about"),
    [
        # The input is missing, as it should be.
        (INVALID, "The input s3://b/jobs/check-1/in/ does not exist, or has no objects.", YES, About.INPUT),
        (INVALID, "Input S3 URI doesn't exist", YES, About.INPUT),
        (INVALID, "The provided S3 prefix does not contain any files for the model.", YES, About.INPUT),
        (INVALID, "No objects found at s3://b/jobs/x/in/", YES, About.INPUT),
        (INVALID, "Could not find input file for model invocation job", YES, About.INPUT),
        (NOT_FOUND, "The specified S3 path was not found.", YES, About.INPUT),
        (INVALID, "Unable to locate the object in bucket my-bucket", YES, About.INPUT),
        (INVALID, "Provided input s3 uri is invalid. Please check it", YES, About.INPUT),
        (INVALID, "The job must contain at least 100 records.", YES, About.INPUT),
        # The bucket cannot be used.
        (
            INVALID,
            "Input bucket b.c does not exist or the service role has no access to it.",
            NO,
            About.BUCKET,
        ),
        (INVALID, "Output bucket b is not owned by the expected account.", NO, About.BUCKET),
        (INVALID, "The output S3 location does not exist", NO, About.BUCKET),
        (INVALID, "The service role has no access to the input s3://b/jobs/x/in/.", NO, About.BUCKET),
        (INVALID, "The provided role does not have permission to read from s3://b/p/", NO, About.BUCKET),
        # The role cannot be used.
        (INVALID, f"The role {ROLE} cannot be assumed by Amazon Bedrock: it does not exist.", NO, About.ROLE),
        (INVALID, NO_ASSUME, NO, About.ROLE),
        (INVALID, f"Cross-account pass role is not allowed: {ROLE}", NO, About.ROLE),
        (DENIED, "Cross-account pass role is not allowed.", NO, About.ROLE),
        (DENIED, "Bedrock could not assume the role", NO, About.ROLE),
        (INVALID, "The specified role is invalid.", NO, About.ROLE),
        (INVALID, ROLE_PATTERN, NO, About.ROLE),
        # The caller is denied something.
        (DENIED, f"{USER} iam:PassRole on resource: {ROLE}", NO, About.CALLER),
        (INVALID, f"{USER} iam:PassRole on resource: {ROLE}", NO, About.CALLER),
        (DENIED, f"{USER} bedrock:CreateModelInvocationJob on resource: {JOB}", NO, About.CALLER),
        (DENIED, f"{USER} bedrock:TagResource on resource: {JOB} with an explicit deny", NO, About.CALLER),
        (DENIED, "You don't have access to the model with the specified model ID.", NO, About.CALLER),
        ("AccessDenied", "denied", NO, About.CALLER),
        # The model runs no batch jobs.
        (INVALID, "Batch inference is not supported for the requested model", NO, About.MODEL),
        (INVALID, "The requested model doesn't support batch inference.", NO, About.MODEL),
        (INVALID, "The provided model identifier is invalid.", NO, About.MODEL),
        (NOT_FOUND, f"Could not find model {MODEL}", NO, About.MODEL),
        (INVALID, "The model does not exist in your location.", NO, About.MODEL),
        (NOT_FOUND, "This model version has reached the end of its life.", NO, About.MODEL),
        (INVALID, "Invocation with on-demand throughput isn’t supported.", NO, About.MODEL),
        (INVALID, "Access to this model is granted by AWS Marketplace agreement only.", NO, About.MODEL),
        (INVALID, "modelInvocationType Converse cannot be used here", NO, About.MODEL),
        (INVALID, MODEL_PATTERN, NO, About.MODEL),
        # Nobody knows.
        (INVALID, "The KMS key does not exist in this location.", UNKNOWN, About.OTHER),
        (INVALID, "The subnet ID 'subnet-1' does not exist", UNKNOWN, About.OTHER),
        (INVALID, INPUT_PATTERN, UNKNOWN, About.OTHER),
        (INVALID, "Something is wrong.", UNKNOWN, About.OTHER),
        (INVALID, "Input validation failed.", UNKNOWN, About.OTHER),
        ("ExpiredTokenException", "The security token has expired", UNKNOWN, About.OTHER),
        ("ConflictException", "A job of that name is there.", UNKNOWN, About.OTHER),
    ],
)
def test_the_answer_says_what_it_is_about(code: str, message: str, batch: Batch, about: About) -> None:
    found = read(code, message)
    assert (found.batch, found.about) == (batch, about)
    assert (message in found.words) == (about != About.INPUT)


def test_at_the_quota_nothing_is_wrong_with_the_model_and_the_role() -> None:
    found = read("ServiceQuotaExceededException", "the model: 20", quota=True)
    assert (found.batch, found.about) == (Batch.UNKNOWN, About.QUOTA)
    assert "Nothing is wrong with the model and the service role" in found.words


def test_without_an_answer_the_order_is_to_be_repeated() -> None:
    found = read("InternalServerException", "the role cannot be assumed", failed=True)
    assert (found.batch, found.about) == (Batch.UNKNOWN, About.OUTAGE)
    assert "Repeat the order" in found.words


@pytest.mark.parametrize(
    ("code", "message", "words"),
    [
        (DENIED, f"{USER} iam:PassRole on resource: {ROLE}", "denies iam:PassRole"),
        (DENIED, "You don't have access to the model.", "Request it in the Bedrock console"),
        (INVALID, "No model access", "Request it in the Bedrock console"),
        (DENIED, f"{USER} bedrock:TagResource", "denies what Bedrock names"),
        (INVALID, "Converse is not supported for this model", "takes no Converse jobs"),
        (INVALID, "Batch inference is not supported for the requested model", "an inference profile"),
    ],
)
def test_the_words_say_what_to_do(code: str, message: str, words: str) -> None:
    assert words in read(code, message).words


def test_a_job_that_is_accepted_shows_that_the_model_runs_batch() -> None:
    assert accepted(MODEL) == read(INVALID, "The input prefix does not exist")


@given(st.text(), st.text(), st.booleans(), st.booleans())
def test_any_answer_is_read(code: str, message: str, quota: bool, failed: bool) -> None:
    found = read(code, message, quota=quota, failed=failed)
    assert (found.batch == Batch.YES) == (found.about == About.INPUT)
    assert MODEL in found.words or ROLE in found.words or found.about == About.BUCKET


def test_a_job_that_asks_has_a_name_that_no_queue_takes_for_its_own() -> None:
    random = uuid4().hex
    for name in ("br", "br-check", "check"):
        job = names.job_name(name, names.check_id(random))
        assert names.job_id_of(name, job) is None
        assert names.job_id_of(f"{name}-check", job) is None
