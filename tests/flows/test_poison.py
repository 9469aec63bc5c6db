"""Poisoned files and outputs in the whole queue: rejected clearly or run rightly, never stuck."""

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from batch_queue.core.rows import TERMINAL, Status, Upload
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.poison import FILES, MANIFESTS, OUTPUTS, VALUES, oracle, refuse, row, told_plainly
from tests.support.routes import configured
from tests.support.world import HAIKU, Call, World, lines, records

pytestmark = pytest.mark.flows


ROUTE = configured("default", HAIKU, min_records_per_job=1, max_record_attempts=2)


CONFIG = {"models": {"*": {"min_records": 1}}}


def report(world: World, upload: Upload) -> dict[str, Any]:
    body = world.s3.get_object(Bucket=world.bucket, Key=upload.result_key)["Body"].read()
    found: dict[str, Any] = json.loads(body.decode("utf-8"), parse_constant=refuse)
    return found


def strictly(world: World, upload: Upload) -> list[dict[str, Any]]:
    """The lines of a result as a strict reader of JSON sees them."""
    body = world.s3.get_object(Bucket=world.bucket, Key=upload.result_key, VersionId=upload.result_version_id)
    text = body["Body"].read().decode("utf-8")
    return [json.loads(line, parse_constant=refuse) for line in text.split("\n") if line]


def ends_rightly(world: World, upload: Upload, data: bytes) -> None:
    faults, rows = oracle(data)
    assert upload.status in TERMINAL
    if faults:
        assert upload.status == Status.REJECTED
        assert [fault["line"] for fault in report(world, upload)["faults"]] == faults[:100]
        return
    expected = {told_plainly(line): json.loads(line)["modelInput"] for line in rows}
    found = strictly(world, upload)
    assert Counter(each["recordId"] for each in found) == Counter(expected.keys())
    assert {each["recordId"]: each["modelInput"] for each in found} == expected
    assert upload.success_count + upload.error_count == len(rows)


@pytest.mark.parametrize("undersized", ["reject", "on_demand"])
@examples(2)
@given(files=st.lists(FILES, min_size=6, max_size=10))
def test_poisoned_files_are_rejected_or_run_and_hold_up_no_good_one(
    files: list[bytes], undersized: str
) -> None:
    least = 1 if undersized == "reject" else 1_000
    route = configured(
        "default",
        HAIKU,
        min_records_per_job=least,
        pack_wait_minutes=0,
        undersized=undersized,
        max_record_attempts=2,
    )
    with World.open(route, config=CONFIG) as world:
        rows = records(3, "good")
        good = world.upload("good.jsonl", lines(rows))
        poisoned = {world.upload(f"{number}.jsonl", data): data for number, data in enumerate(files)}
        world.run()
        upload = world.one_upload(good)
        assert (upload.status, upload.success_count) == (Status.COMPLETED, 3), upload.message
        for upload_id, data in poisoned.items():
            ends_rightly(world, world.one_upload(upload_id), data)
        assert not world.errors
        assert not world.dead_letters


@pytest.mark.parametrize(
    "fault", [{"outcome": "Stopped", "fraction": 0}, {"outcome": "Failed", "message": "no"}]
)
def test_what_never_ran_stands_in_the_result_as_it_was_given(fault: dict[str, Any]) -> None:
    accepted = [value for value in VALUES if told_plainly(row("a", value))]
    data = b"\n".join(row(f"v{number}", value) for number, value in enumerate(accepted))
    with World.open(ROUTE, config={**CONFIG, "job_faults": [fault]}) as world:
        upload_id = world.upload("a.jsonl", data)
        world.run()
        upload = world.one_upload(upload_id)
        assert upload.error_count == len(accepted) > 10
        ends_rightly(world, upload, data)
        assert not world.errors


def output_keys(world: World, ending: str) -> list[str]:
    """The keys of what Bedrock wrote, by their ending."""
    found = world.s3.list_objects_v2(Bucket=world.bucket, Prefix="jobs/").get("Contents", [])
    return [each["Key"] for each in found if "/out/" in each["Key"] and each["Key"].endswith(ending)]


WORST = [
    "truncated",
    "blank lines",
    "doubled",
    "unknown instead of one",
    "unknown surrogate",
    "no recordId",
    "code is superscript",
    "tokens beyond all numbers",
    "carriage returns",
]


def test_whatever_bedrock_writes_each_record_stands_once_in_the_result() -> None:
    # Two records make a chunk, so that results are put together of several outputs.
    route = replace(ROUTE, max_active_jobs=1, max_records_per_file=20)
    with World.open(route, config=CONFIG) as world:
        uploads = {name: world.upload(f"{name}.jsonl", lines(records(4))) for name in WORST}
        names = {upload_id: name for name, upload_id in uploads.items()}

        def before_collecting(call: Call) -> None:
            if call.function != "collect" or not names:
                return
            for key in output_keys(world, ".jsonl.out"):
                name = names.pop(key.rpartition("/")[2].partition("-")[0], "")
                if name:
                    body = world.s3.get_object(Bucket=world.bucket, Key=key)["Body"].read()
                    changed = OUTPUTS[name](body.split(b"\n")[:-1])
                    world.s3.put_object(Bucket=world.bucket, Key=key, Body=b"\n".join(changed))

        for event in list(world.events):
            world.invoke("create", event[3])
        world.events.clear()
        world.invoke("process", {})
        world.before = before_collecting
        world.run(steps=2_000)
        assert not names, "all of them were spoiled"
        assert not world.errors
        for name, upload_id in uploads.items():
            upload = world.one_upload(upload_id)
            assert upload.status in {Status.COMPLETED, Status.PARTIALLY_COMPLETED}, (name, upload.message)
            found = strictly(world, upload)
            assert sorted(each["recordId"] for each in found) == ["r0", "r1", "r2", "r3"], name
            answered = sum("modelOutput" in each for each in found)
            assert (upload.success_count, upload.error_count) == (answered, 4 - answered), name


@pytest.mark.parametrize("name", ["missing", "not JSON"])
def test_a_job_is_collected_whatever_its_manifest_is(name: str) -> None:
    with World.open(ROUTE, config=CONFIG) as world:
        upload_id = world.upload("a.jsonl", lines(records(2)))

        def before_collecting(call: Call) -> None:
            if call.function == "collect":
                for key in output_keys(world, "/manifest.json.out"):
                    world.s3.delete_object(Bucket=world.bucket, Key=key)
                    if (body := MANIFESTS[name]) is not None:
                        world.s3.put_object(Bucket=world.bucket, Key=key, Body=body)

        world.before = before_collecting
        world.run()
        assert world.one_upload(upload_id).status == Status.COMPLETED
        assert not world.errors
