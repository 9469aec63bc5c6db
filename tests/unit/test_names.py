"""Ids, names and keys."""

import re
from itertools import permutations

import pytest
from batch_queue.core import names, rows
from batch_queue.core.rows import ACTIVE, TERMINAL, ChunkRef, Status
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.unit

# Service model of bedrock, shape ModelInvocationJobName and ModelInvocationIdempotencyToken.
JOB_NAME = re.compile(r"[a-zA-Z0-9]{1,63}(-*[a-zA-Z0-9\+\-\.]){0,63}")
TOKEN = re.compile(r"[a-zA-Z0-9]{1,256}(-*[a-zA-Z0-9]){0,256}")
KEYS = st.text(min_size=1, max_size=40)


@given(KEYS, KEYS, KEYS)
def test_an_upload_id_depends_on_bucket_key_and_version_alone(bucket: str, key: str, version: str) -> None:
    identifier = names.upload_id(bucket, key, version)
    assert re.fullmatch("[0-9a-f]{32}", identifier)
    assert identifier == names.upload_id(bucket, key, version)
    assert identifier != names.upload_id(bucket, key, version + "x")


def test_a_job_id_does_not_depend_on_the_order_of_its_chunks() -> None:
    refs = [ChunkRef("a" * 32, 1, 1, 10), ChunkRef("a" * 32, 2, 1, 10), ChunkRef("b" * 32, 1, 1, 10)]
    assert len({names.job_id(order) for order in permutations(refs)}) == 1


@pytest.mark.parametrize("changed", [ChunkRef("b", 1, 1, 5), ChunkRef("a", 2, 1, 5), ChunkRef("a", 1, 2, 5)])
def test_another_upload_chunk_or_attempt_is_another_job(changed: ChunkRef) -> None:
    assert names.job_id([ChunkRef("a", 1, 1, 5)]) != names.job_id([changed])


def test_the_longest_name_still_makes_a_job_name_and_a_token_that_bedrock_takes() -> None:
    job = names.job_id([ChunkRef("a", 1, 1, 5)])
    name = names.job_name("a" * 30, job)
    assert len(name) == 63
    assert JOB_NAME.fullmatch(name)
    assert TOKEN.fullmatch(job)


def test_a_job_is_ours_only_with_exactly_our_name() -> None:
    job = "0123456789abcdef" * 2
    assert names.job_id_of("br-batch", f"br-batch-{job}") == job
    assert names.job_id_of("br-batch", f"br-batch-inference-{job}") is None
    assert names.job_id_of("br-batch", "br-batch-nightly") is None


@pytest.mark.parametrize(
    ("model_id", "base"),
    [
        ("anthropic.claude-3-haiku-20240307-v1:0", "anthropic.claude-3-haiku-20240307-v1:0"),
        ("us.anthropic.claude-3-haiku-20240307-v1:0", "anthropic.claude-3-haiku-20240307-v1:0"),
        ("us-gov.anthropic.claude-3-haiku-20240307-v1:0", "anthropic.claude-3-haiku-20240307-v1:0"),
        ("global.anthropic.claude-sonnet-4-20250514-v1:0", "anthropic.claude-sonnet-4-20250514-v1:0"),
        ("apac.amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0"),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/eu.amazon.nova-lite-v1:0",
            "amazon.nova-lite-v1:0",
        ),
        ("deepseek.v3.1-instruct", "deepseek.v3.1-instruct"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123",
            "application-inference-profile/abc123",
        ),
    ],
)
def test_the_quota_of_a_model_is_that_of_its_base_model(model_id: str, base: str) -> None:
    assert names.base_model(model_id) == base


@pytest.mark.parametrize(
    ("key", "route"),
    [
        ("to-process/a/b.jsonl", "a"),
        ("to-process/a/b/c.jsonl", "a"),
        ("to-process/other/b.jsonl", "default"),
        ("to-process/b.jsonl", "default"),
        ("to-process/a", "default"),
        ("to-process/default/b.jsonl", "default"),
    ],
)
def test_the_first_folder_is_the_route_where_it_is_one(key: str, route: str) -> None:
    assert names.route_name(key, "to-process/", ["default", "a"]) == route


def test_results_and_reports_lie_beside_each_other_on_the_same_path() -> None:
    key = "to-process/a b/ä=1.jsonl"
    assert names.result_key(key, "to-process/", "processed/") == "processed/a b/ä=1.jsonl.out"
    assert names.report_key(key, "to-process/", "processed/") == "processed/a b/ä=1.jsonl.rejected.json"


def test_no_status_follows_a_terminal_one_and_active_ones_come_in_order() -> None:
    for status in Status:
        assert not set(rows.statuses_before(status)) & set(TERMINAL)
    assert rows.statuses_before(Status.IN_PROGRESS) == (Status.PENDING, Status.SUBMITTING, *ACTIVE[:3])
    assert set(rows.statuses_before(Status.COMPLETED)) == {Status.PENDING, Status.SUBMITTING, *ACTIVE}


@given(st.floats(0, 4e9), st.floats(0, 4e9))
def test_stamps_sort_as_time_does(one: float, other: float) -> None:
    if abs(one - other) > 0.001:
        assert (names.iso(one) < names.iso(other)) == (one < other)
    assert names.epoch(names.iso(one)) == pytest.approx(one, abs=0.001)
