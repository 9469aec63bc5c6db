"""Uploads with difficult keys in the whole queue."""

import json
from dataclasses import replace

import pytest
from batch_queue.core import names
from batch_queue.core.rows import Status

from tests.flows.test_poison import CONFIG, ROUTE, strictly
from tests.support.keys import S3_URI
from tests.support.routes import configured
from tests.support.world import ACCOUNT, NAME, REGION, World, lines, records

pytestmark = pytest.mark.flows


PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))


NASTY = [
    f"{PRINTABLE}ä日😀\u2028",
    "../a/../../x",
    "//x/./y/..",
    "a+b c%20d%2Be%zz%\t\n\r\x01",
    "?versionId=x&y#z",
]


def test_uploads_with_nasty_keys_end_with_results_beside_them() -> None:
    with World.open(replace(ROUTE, max_active_jobs=1), config=CONFIG) as world:
        good = {world.upload(f"{name}.jsonl", lines(records(1))): f"{name}.jsonl" for name in NASTY}
        bad = {world.upload(f"{name}.jsonl", b"{"): f"{name}.jsonl" for name in NASTY[:2]}
        for event in list(world.events):
            world.invoke("create", event[3])
        world.events.clear()
        world.invoke("process", {})
        world.run()
        assert not world.errors
        for upload_id, key in good.items():
            upload = world.one_upload(upload_id)
            assert upload.status == Status.COMPLETED
            assert upload.result_key == f"processed/{key}.out"
            assert [each["recordId"] for each in strictly(world, upload)] == ["r0"]
            summary = world.s3.get_object(Bucket=world.bucket, Key=f"processed/{key}.summary.json")
            assert json.loads(summary["Body"].read())["key"] == f"to-process/{key}"
        for upload_id, key in bad.items():
            assert world.one_upload(upload_id).result_key == f"processed/{key}.rejected.json"
            report = world.s3.get_object(Bucket=world.bucket, Key=f"processed/{key}.rejected.json")
            assert json.loads(report["Body"].read())["key"] == f"to-process/{key}"
        for job in world.jobs():
            staged = world.s3.list_objects_v2(Bucket=world.bucket, Prefix=f"jobs/{job.job_id}/in/")
            for each in staged.get("Contents", []):
                assert S3_URI.fullmatch(f"s3://{world.bucket}/{each['Key']}")


@pytest.mark.parametrize(("given", "ends"), [("210987654321", Status.COMPLETED), ("", Status.FAILED)])
def test_jobs_on_a_bucket_of_another_account_name_its_owner(given: str, ends: Status) -> None:
    owners = {f"{NAME}-{ACCOUNT}-{REGION}": "210987654321"}
    with World.open(ROUTE, config={**CONFIG, "bucket_owners": owners}) as world:
        world.settings = replace(world.settings, bucket_owner=given)
        world._wire()
        upload_id = world.upload("a.jsonl", lines(records(2)))
        world.run()
        assert world.one_upload(upload_id).status == ends


def test_without_an_owner_a_job_names_none() -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        world.upload("a.jsonl", lines(records(2)))
        world.run()
        (job,) = world.jobs()
        assert "s3BucketOwner" not in json.dumps(world.runs(job).request)


def test_the_work_area_is_where_the_settings_say() -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        world.settings = replace(world.settings, work_prefix="team/work/")
        world._wire()
        upload_id = world.upload("a.jsonl", lines(records(2)))
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED
        assert {key.partition("/")[0] for key in world.ever("")} == {"to-process", "processed", "team"}
        assert world.ever("team/work/") == world.ever("team/")
        assert world.left() == []


def test_a_key_whose_results_have_the_longest_names_runs() -> None:
    room = names.MAX_KEY_BYTES - len("processed/.jsonl.rejected.json")
    name = "😀" * (room // 4) + "x" * (room % 4)
    with World.open(ROUTE, configured("..", ROUTE.model_id), config=CONFIG) as world:
        good = world.upload(f"{name}.jsonl", lines(records(1)))
        bad = world.upload(f"{name[:-1]}y.jsonl", b"{")
        world.run()
        assert world.one_upload(good).status == Status.COMPLETED
        assert len(world.one_upload(bad).result_key.encode()) >= names.MAX_KEY_BYTES - 3
        assert not world.errors
