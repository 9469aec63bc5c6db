"""LiteLLM's batches and files, with Bedrock as their provider."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import litellm
import pytest
from litellm.llms.bedrock.common_utils import BedrockError

from .conftest import Aws
from .isolation import REGION

ENDED = {
    "Failed": "failed",
    "Stopped": "cancelled",
    "Expired": "expired",
    "PartiallyCompleted": "completed",
}


@pytest.fixture
def settings(aws: Aws) -> dict[str, Any]:
    """What each call of LiteLLM is given."""
    return {
        "custom_llm_provider": "bedrock",
        "aws_region_name": REGION,
        "aws_bedrock_control_plane_endpoint": aws.url,
        "aws_batch_role_arn": aws.role_arn,
        "s3_bucket_name": aws.bucket,
        "s3_endpoint_url": aws.url,
        "timeout": 30,
    }


@pytest.fixture
def upload(aws: Aws, settings: dict[str, Any]) -> Any:
    """An input file of three requests."""
    body = {"model": f"bedrock/{aws.model_id}", "max_tokens": 20}
    lines = [
        {
            "custom_id": f"r{n}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {**body, "messages": [{"role": "user", "content": f"Q{n}"}]},
        }
        for n in range(3)
    ]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    file = ("in.jsonl", text.encode(), "application/jsonl")
    return litellm.create_file(file=file, purpose="batch", **settings)


@pytest.fixture
def create(aws: Aws, settings: dict[str, Any], upload: Any) -> Callable[..., Any]:
    """Create a batch over that file."""

    def create(**more: Any) -> Any:
        return litellm.create_batch(
            model=f"bedrock/{aws.model_id}",
            completion_window="24h",
            endpoint="/v1/chat/completions",
            input_file_id=upload.id,
            **{**settings, **more},
        )

    return create


def test_a_batch_from_its_file_to_its_results(
    aws: Aws, settings: dict[str, Any], create: Callable[..., Any]
) -> None:
    # given a batch that has ended
    created = create()
    aws.control.advance(60)

    # when it is retrieved, and the file that it names
    batch = litellm.retrieve_batch(batch_id=created.id, **settings)
    content = litellm.file_content(file_id=batch.output_file_id, **settings)

    # then all records are in both
    assert (created.status, batch.status) == ("validating", "completed")
    assert batch.request_counts.model_dump() == {"completed": 3, "failed": 0, "total": 3}
    results = [json.loads(line) for line in content.text.split("\n") if line]
    assert sorted(each["recordId"] for each in results) == ["r0", "r1", "r2"]
    assert all(each["modelOutput"]["content"] for each in results)


def test_a_batch_in_the_bucket_of_another_account(
    aws: Aws, settings: dict[str, Any], create: Callable[..., Any]
) -> None:
    # given a bucket that belongs to another account
    aws.control.configure(bucket_owners={aws.bucket: "210987654321"})

    # when a batch with tags names that account
    created = create(s3_bucket_owner="210987654321", bedrock_tags=[{"key": "team", "value": "search"}])

    # then it is taken
    aws.control.advance(60)
    assert litellm.retrieve_batch(batch_id=created.id, **settings).status == "completed"


@pytest.mark.parametrize(
    ("seconds", "status"),
    [
        (0.5, "validating"),
        (1.5, "validating"),
        (2.5, "in_progress"),
        (1000, "in_progress"),
        (9000, "completed"),
    ],
)
def test_the_status_on_the_way(
    aws: Aws, settings: dict[str, Any], create: Callable[..., Any], seconds: float, status: str
) -> None:
    aws.control.configure(models={"*": {"records_per_second": 0.001}})
    created = create()
    aws.control.advance(seconds)
    assert litellm.retrieve_batch(batch_id=created.id, **settings).status == status


@pytest.mark.parametrize("outcome", ENDED)
def test_the_status_of_a_job_that_does_not_complete(
    aws: Aws, settings: dict[str, Any], create: Callable[..., Any], outcome: str
) -> None:
    aws.control.configure(job_faults=[{"outcome": outcome}])
    created = create()
    aws.control.advance(3 * 24 * 3600)
    assert litellm.retrieve_batch(batch_id=created.id, **settings).status == ENDED[outcome]


def test_the_reason_why_a_job_failed(aws: Aws, settings: dict[str, Any], create: Callable[..., Any]) -> None:
    aws.control.configure(job_faults=[{"outcome": "Failed", "message": "The role is gone."}])
    created = create()
    aws.control.advance(60)
    batch = litellm.retrieve_batch(batch_id=created.id, **settings)
    assert batch.metadata["failure_message"] == "The role is gone."


def test_a_batch_that_is_cancelled(aws: Aws, settings: dict[str, Any], create: Callable[..., Any]) -> None:
    # given a batch, when it is cancelled
    created = create()
    cancelled = litellm.cancel_batch(batch_id=created.id, **settings)
    aws.control.advance(5)

    # then it ends as such, and to cancel it again is no error
    assert cancelled.status == "cancelling"
    assert litellm.retrieve_batch(batch_id=created.id, **settings).status == "cancelled"
    assert litellm.cancel_batch(batch_id=created.id, **settings).status == "cancelled"


def test_a_batch_that_has_ended_is_cancelled_without_an_error(
    aws: Aws, settings: dict[str, Any], create: Callable[..., Any]
) -> None:
    created = create()
    aws.control.advance(60)
    assert litellm.cancel_batch(batch_id=created.id, **settings).status == "completed"


def test_the_files_of_a_batch(
    aws: Aws, settings: dict[str, Any], upload: Any, create: Callable[..., Any]
) -> None:
    # given a batch that has ended
    created = create()
    aws.control.advance(60)

    # when the files are listed
    found = {each.id: each.purpose for each in litellm.file_list(**settings)}

    # then its input and its output are there
    batch = litellm.retrieve_batch(batch_id=created.id, **settings)
    assert found[upload.id] == "batch"
    assert found[batch.output_file_id] == "batch_output"


def test_the_model_of_a_batch_is_named_by_its_arn(
    aws: Aws, settings: dict[str, Any], create: Callable[..., Any]
) -> None:
    batch = litellm.retrieve_batch(batch_id=create().id, **settings)
    assert batch.metadata["model_arn"] == f"arn:aws:bedrock:{REGION}::foundation-model/{aws.model_id}"


def test_the_output_file_is_retrieved(aws: Aws, settings: dict[str, Any], create: Callable[..., Any]) -> None:
    # given a batch that has ended
    created = create()
    aws.control.advance(60)
    batch = litellm.retrieve_batch(batch_id=created.id, **settings)

    # when its output file is retrieved, then it has the size of the content
    file = litellm.file_retrieve(file_id=batch.output_file_id, **settings)
    content = litellm.file_content(file_id=batch.output_file_id, **settings)
    assert (file.status, file.bytes) == ("processed", len(content.content))


def test_the_input_file_is_deleted(settings: dict[str, Any], upload: Any) -> None:
    assert litellm.file_delete(file_id=upload.id, **settings).deleted
    assert litellm.file_list(**settings) == []


def test_the_model_refuses_batches(aws: Aws, create: Callable[..., Any]) -> None:
    aws.control.configure(models={"*": {"batch": False}})
    with pytest.raises(BedrockError, match="Batch inference is not supported"):
        create()


def test_the_asynchronous_calls(aws: Aws, settings: dict[str, Any], upload: Any) -> None:
    async def all_calls() -> tuple[str, str, str]:
        # given a batch that was created, when the time has passed
        created = await litellm.acreate_batch(
            model=f"bedrock/{aws.model_id}",
            completion_window="24h",
            endpoint="/v1/chat/completions",
            input_file_id=upload.id,
            **settings,
        )
        await asyncio.to_thread(aws.control.advance, 60)
        batch = await litellm.aretrieve_batch(batch_id=created.id, **settings)
        content = await litellm.afile_content(file_id=batch.output_file_id, **settings)
        return created.status, batch.status, content.text

    # then it has ended, and its results can be read
    created, retrieved, text = asyncio.run(asyncio.wait_for(all_calls(), 30))
    assert (created, retrieved) == ("validating", "completed")
    assert text.count('"modelOutput"') == 3
