"""Images and videos that records reference by S3 URI: found, checked, copied beside the staged input."""

import json
import re
from typing import Any

import pytest
from batch_queue.core import cutting, media, names, reading
from hypothesis import given
from hypothesis import strategies as st

from tests.support.media import asking, moved
from tests.support.world import lines

pytestmark = pytest.mark.unit


OURS = "our-bucket"


URI = f"s3://{OURS}/pictures/a.png"


def test_a_line_without_links_is_given_back_as_the_same_object() -> None:
    line = b'{"recordId": "1", "modelInput": {"text": "see s3://b/k and \\"s3Location\\": {}", "n": 1.50E2}}'
    assert media.rewritten(line, moved) is line


def test_numbers_and_spaces_of_a_rewritten_line_stay_as_they_were() -> None:
    line = b'{"modelInput":  {"n": 1.50E2, "m": 1e999, "s3Location": {"uri" : "s3:\\/\\/b/k"}}}'
    after = b'{"modelInput":  {"n": 1.50E2, "m": 1e999, "s3Location": {"uri" : "s3://x/y"}}}'
    assert media.rewritten(line, lambda uri: "s3://x/y" if uri == "s3://b/k" else "") == after


@given(st.text(), st.text())
def test_staged_names_are_ones_that_bedrock_takes_and_tell_uris_apart(one: str, other: str) -> None:
    names = [media.staged_name(f"s3://bucket/{key}") for key in (one, other)]
    for name in names:
        assert re.fullmatch(r"media/[-_.a-zA-Z0-9]+", name)
        assert len(name) < 150
        assert not name.lower().endswith(".jsonl")
    assert (names[0] == names[1]) is (one == other)


@pytest.mark.parametrize(
    ("key", "ending"),
    [("films/a b.mp4", "-a_b.mp4"), ("x.JSONL", "-x.JSONL.media"), ("folder/", "-object"), ("ä", "-_")],
)
def test_a_staged_name_ends_like_the_object(key: str, ending: str) -> None:
    assert re.fullmatch("media/[0-9a-f]{32}" + re.escape(ending), media.staged_name(f"s3://b/{key}"))


def test_a_name_staged_again_has_a_new_hash_and_does_not_grow() -> None:
    once = media.staged_name(URI)
    again = media.staged_name(f"s3://{OURS}/jobs/1/in/{once}")
    assert again != once
    assert len(again) == len(once)
    assert again.endswith("-a.png")


def check(record: dict[str, Any], allowed: bool = True, prefixes: tuple[str, ...] = ("pictures/",)) -> bool:
    line = json.dumps(record).encode()
    return media.check(line, "m1", bucket=OURS, route="films", allowed=allowed, prefixes=prefixes)


def test_a_link_is_a_fault_with_advice_where_the_route_stages_no_media() -> None:
    with pytest.raises(
        reading.RecordError, match=rf"references {URI}: set media = true on the route films"
    ) as told:
        check(asking(1, URI), allowed=False)
    assert told.value.record_id == "m1"


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("s3://other-bucket/a.png", "in another bucket: copy the object to our-bucket"),
        (f"s3://{OURS}", "not the URI of an object"),
        (f"s3://{OURS}/", "not the URI of an object"),
        (f"s3://{OURS}/" + "x" * 1025, "not the URI of an object"),
        (f"s3://{OURS}/\ud83d", "not the URI of an object"),
    ],
)
def test_a_link_that_cannot_be_staged_is_a_fault(uri: str, reason: str) -> None:
    with pytest.raises(reading.RecordError, match=reason) as told:
        check(asking(1, URI, uri))
    assert str(told.value).encode("utf-8"), "a row and a report can hold it"


@pytest.mark.parametrize(
    "key", ["processed/hr/a.png", "jobs/1/in/media/a.png", "picture", "Pictures/a", "/pictures/a"]
)
def test_a_link_outside_the_media_prefixes_is_a_fault_that_says_where_to_put_it(key: str) -> None:
    advice = "outside pictures/, films/: copy the object below one of them, or add its prefix to the input"
    with pytest.raises(reading.RecordError, match=f"references s3://{OURS}/{key}, {advice} media_prefixes"):
        check(asking(1, URI, f"s3://{OURS}/{key}"), prefixes=("pictures/", "films/"))


@pytest.mark.parametrize("allowed", [True, False])
def test_a_record_without_links_passes_on_every_route(allowed: bool) -> None:
    assert check(asking(1), allowed) is False
    assert check(asking(1, "https://example.com/a.png"), allowed) is False


def test_a_record_with_a_link_of_our_bucket_is_rewritten() -> None:
    assert check(asking(1, URI)) is True


def test_a_record_that_rewriting_would_make_too_long_is_a_fault() -> None:
    record = asking(1, URI)
    record["modelInput"]["x"] = "x" * (cutting.MAX_LINE_BYTES - 400)
    with pytest.raises(reading.RecordError, match="too long after its media URIs"):
        check(record)


def test_no_staged_uri_is_longer_than_the_check_allows_for() -> None:
    folder = names.input_folder("j" * 200 + "/", "0" * 32)
    staged = f"s3://{'b' * 63}/{folder}{media.staged_name('s3://b/' + 'n' * 1000 + '.jsonl')}"
    assert len(json.dumps(staged)) <= media.MAX_STAGED_URI


def test_a_scan_puts_the_fault_of_a_check_on_its_line_and_marks_the_cut() -> None:
    def picky(line: bytes, identifier: str) -> bool:
        if identifier == "bad":
            raise reading.RecordError("no", identifier)
        return identifier == "moved"

    limits = cutting.Limits(chunk_records=1, chunk_bytes=10**6)
    rows: list[dict[str, Any]] = [{"recordId": name, "modelInput": {}} for name in ("a", "bad", "moved")]
    found = reading.scan([lines(rows)], limits, check=picky)
    assert found.faults == [reading.Fault(2, "no", "bad")]
    assert [cut.rewrite for cut in found.cuts] == [False, False, True]
