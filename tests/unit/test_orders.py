"""Orders: whatever is sent, the answer says what to write; what is accepted is what was written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from batch_queue.core.orders import Kind, Order, OrderError, order_of
from batch_queue.core.settings import Settings
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.unit

SETTINGS = Settings(name="queue", table="table", bucket="bucket")
ROUTES = ("default", "reports")
ID = "0123456789abcdef" * 2
TEXTS = st.text(min_size=1, max_size=20)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["key", "version_id", "upload_id", "prefix", "route", "by", "why", "after", "kye"])
VALUES = st.sampled_from([ID, "to-process/a.jsonl", "to-process/reports/", "reports", "ana", "", None, 7])


def read(event: Any) -> Order:
    return order_of(event, SETTINGS, ROUTES)


@given(JSON | st.fixed_dictionaries({"order": st.sampled_from([*Kind]) | JSON}, optional={"key": JSON}))
def test_any_json_is_answered(event: Any) -> None:
    words = ""
    try:
        found = read(event)
    except OrderError as error:
        words = str(error)
    else:
        assert found.kind in Kind
        return
    assert len(words.encode()) > 20


@given(st.sampled_from([*Kind]), st.dictionaries(NAMES, VALUES, max_size=4))
def test_an_order_that_is_accepted_has_what_was_written_and_names_at_most_one_upload(
    kind: Kind, members: dict[str, Any]
) -> None:
    try:
        found = read({"order": str(kind), **members})
    except OrderError:
        return
    assert {name: getattr(found, name) for name in members} == members
    assert [found.key, found.upload_id, found.prefix].count("") >= 2
    assert bool(found.key or found.upload_id or found.prefix) == (
        kind in (Kind.CANCEL, Kind.RETRY, Kind.EXPLAIN)
    )
    assert kind != Kind.PAUSE or (found.by and found.why)


@pytest.mark.parametrize(
    "event",
    [
        {"order": "cancel", "key": "to-process/ü/ä b.jsonl", "version_id": "v", "by": "Zoë", "why": "日本"},
        {"order": "cancel", "prefix": "to-process/reports/"},
        {"order": "cancel", "prefix": "to-process/"},
        {"order": "retry", "upload_id": ID, "by": "ana"},
        {"order": "pause", "route": "reports", "by": "ana", "why": "a test"},
        {"order": "pause", "by": "ana", "why": "a test"},
        # A route that was removed while it was paused.
        {"order": "resume", "route": "removed"},
        {"order": "explain", "key": "to-process/a.jsonl"},
        {"order": "status"},
        {"order": "check"},
        {"order": "sweep"},
        {"order": "sweep", "prefix": "to-process/reports/"},
    ],
    ids=json.dumps,
)
def test_what_the_documentation_shows_is_accepted(event: dict[str, str]) -> None:
    found = read(event)
    assert found == Order(Kind(event["order"]), **{k: v for k, v in event.items() if k != "order"})


@pytest.mark.parametrize("prefix", ["reports/", "to-process/reports", "processed/"])
def test_a_sweep_below_anything_but_a_folder_of_uploads_is_refused(prefix: str) -> None:
    with pytest.raises(OrderError, match='"prefix" must be a folder under to-process/'):
        read({"order": "sweep", "prefix": prefix})


@pytest.mark.parametrize("member", ["key", "route", "by", "models", ""])
def test_the_order_to_check_takes_nothing_else(member: str) -> None:
    with pytest.raises(OrderError, match='the order "check" has no member') as caught:
        read({"order": "check", member: "x"})
    assert 'It takes nothing else. For example: {"order": "check"}' in str(caught.value)


def test_a_misspelled_order_to_check_is_recognized() -> None:
    with pytest.raises(OrderError, match='did you mean "check"'):
        read({"order": "chek"})
