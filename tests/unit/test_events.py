"""Which changes of rows are events, what they say, and how they are sent."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from batch_queue.aws.events import MOST_BYTES, Events, entry_size
from batch_queue.aws.notifications import Notifications
from batch_queue.aws.patience import Patience
from batch_queue.aws.table.items import job_item, upload_item
from batch_queue.aws.table.stream import changes
from batch_queue.aws.table.values import item_of
from batch_queue.aws.telemetry import EventError
from batch_queue.core import events, notices
from batch_queue.core.events import Event, Kind, Place
from batch_queue.core.reports import MAX_MESSAGE
from batch_queue.core.rows import ACTIVE, NAMED_CHUNKS, TERMINAL, Job, Status, Upload
from batch_queue.core.settings import Settings
from botocore.exceptions import ClientError

from tests.support import stream
from tests.support.errors import aws_error
from tests.support.routes import configured
from tests.support.told import Told, check_schema

pytestmark = pytest.mark.unit

SETTINGS = Settings("queue", "queue-queue", "bucket")
PLACE = Place(SETTINGS, "aws")
BEGAN, ENDED = "2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"
PENDING = Upload(
    "0" * 32,
    "bucket",
    "to-process/a.jsonl",
    "default",
    Status.PENDING,
    BEGAN,
    version_id="v1",
    records=10,
    chunks=1,
    chunks_open=1,
    ready=True,
    updated_at=BEGAN,
)
DONE = replace(
    PENDING,
    status=Status.PARTIALLY_COMPLETED,
    success_count=9,
    error_count=1,
    input_tokens=1_000_000,
    output_tokens=2_000_000,
    job_arns=frozenset({"arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/abc"}),
    message="1 of 10 records failed.",
    result_key="processed/a.jsonl.out",
    result_version_id="v2",
    ended_at=ENDED,
)
REJECTED = replace(
    PENDING,
    status=Status.REJECTED,
    chunks=0,
    chunks_open=0,
    result_key="processed/a.jsonl.rejected.json",
    message="Rejected.",
    ended_at=BEGAN,
)
DENIED = replace(PENDING, records=0, chunks=0, ready=False, unread=True)
SUBMITTING = Job(
    "1" * 32, f"queue-{'1' * 32}", "default", "model", Status.SUBMITTING, BEGAN, updated_at=BEGAN
)
SUBMITTED = replace(
    SUBMITTING,
    status=Status.SUBMITTED,
    arn="arn:aws:bedrock:us-east-1:1:model-invocation-job/a",
    submitted_at=BEGAN,
)
ON_DEMAND = replace(SUBMITTED, status=Status.IN_PROGRESS, arn="on-demand", instead="on_demand")


#: What an upload can be when its row is new: from these, Lambda cannot tell whether it is.
NEW = {"Pending", "Rejected", "Cancelled", "Failed"}

# ---------------------------------------------------------------------------------- which changes are events


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        pytest.param(None, PENDING, Kind.UPLOAD_ACCEPTED, id="stored"),
        pytest.param(
            None, replace(PENDING, ready=False), Kind.UPLOAD_ACCEPTED, id="stored before its chunks"
        ),
        pytest.param(replace(PENDING, ready=False), PENDING, None, id="all its chunks are in the queue"),
        pytest.param(PENDING, replace(PENDING, message="waits"), None, id="says why it waits"),
        pytest.param(PENDING, replace(PENDING, status=Status.SUBMITTED), None, id="submitted"),
        pytest.param(PENDING, DONE, Kind.UPLOAD_ENDED, id="ended"),
        pytest.param(DONE, replace(DONE, expires_at=1), None, id="marked to expire"),
        pytest.param(None, REJECTED, Kind.UPLOAD_ENDED, id="rejected at the intake"),
        pytest.param(None, DENIED, None, id="cannot be read"),
        pytest.param(DENIED, replace(DENIED, message="other"), None, id="still cannot be read"),
        pytest.param(DENIED, PENDING, Kind.UPLOAD_ACCEPTED, id="can be read"),
        pytest.param(DENIED, REJECTED, Kind.UPLOAD_ENDED, id="can be read, and is rejected"),
    ],
)
def test_a_change_of_an_upload_is_an_event_or_none(
    old: Upload | None, new: Upload, kind: Kind | None
) -> None:
    assert events.upload_kind(old, new) == kind


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        pytest.param(None, SUBMITTING, None, id="intent"),
        pytest.param(SUBMITTING, replace(SUBMITTING, sealed=True), None, id="sealed"),
        pytest.param(SUBMITTING, SUBMITTED, Kind.JOB_SUBMITTED, id="submitted"),
        pytest.param(SUBMITTING, ON_DEMAND, Kind.JOB_SUBMITTED, id="runs on demand"),
        pytest.param(SUBMITTED, replace(SUBMITTED, status=Status.IN_PROGRESS), None, id="in progress"),
        pytest.param(SUBMITTED, replace(SUBMITTED, status=Status.FAILED), Kind.JOB_ENDED, id="ended"),
        pytest.param(SUBMITTING, replace(SUBMITTING, status=Status.FAILED), Kind.JOB_ENDED, id="refused"),
        pytest.param(
            replace(SUBMITTED, status=Status.FAILED),
            replace(SUBMITTED, status=Status.FAILED, collected_at=ENDED),
            None,
            id="collected",
        ),
        pytest.param(
            replace(SUBMITTED, status=Status.FAILED), SUBMITTING, None, id="its row expires, and is new"
        ),
    ],
)
def test_a_change_of_a_job_is_an_event_or_none(old: Job | None, new: Job, kind: Kind | None) -> None:
    assert events.job_kind(old, new) == kind


def images() -> Iterator[tuple[dict[str, Any], Kind | None]]:
    """Every change between rows of every shape, and which event it is."""
    uploads: list[Upload | None] = [None, DENIED, replace(DENIED, message="other")]
    uploads += [
        replace(row, status=status, ready=ready)
        for row in (PENDING, DONE)
        for status in Status
        for ready in (True, False)
    ]
    new_ones = [row for row in uploads if row and (row.unread or row.status in NEW)]
    for old, new in itertools.product(uploads, uploads):
        if new is None or (old is not None and old.status in TERMINAL and new.status not in TERMINAL):
            continue  # deleted, or not possible
        if old is not None and not old.unread and new.unread:
            continue
        if (old is None or old.unread) and new not in new_ones:
            continue
        before = item_of(upload_item(old)) if old else None
        record = stream.record_of((new.upload_id, "upload"), before, item_of(upload_item(new)))
        yield record, events.upload_kind(old, new)
    jobs: list[Job | None] = [None, SUBMITTING, replace(SUBMITTING, sealed=True)]
    jobs += [replace(SUBMITTING, status=status) for status in TERMINAL]
    jobs += [replace(SUBMITTED, status=status) for status in (*ACTIVE, *TERMINAL)]
    jobs += [replace(ON_DEMAND, status=status) for status in (Status.IN_PROGRESS, *TERMINAL)]
    for job, then in itertools.product(jobs, jobs):
        if then is None or (job is None and then not in jobs[1:3]):
            continue  # the row of a new job is an intent
        submitted = then in (SUBMITTED, ON_DEMAND) and job is not None and job.status == Status.SUBMITTING
        if then.arn and not (job and job.arn) and not submitted:
            continue  # ``Jobs.store_arn`` alone stores the ARN
        before = item_of(job_item(job)) if job else None
        record = stream.record_of((then.job_id, "job"), before, item_of(job_item(then)))
        yield record, events.job_kind(job, then)


def test_the_filters_of_the_event_source_mapping_let_through_what_is_an_event_and_little_else() -> None:
    found = list(images())
    assert {kind for _, kind in found} == {None, *Kind}
    for record, kind in found:
        passes = any(stream.matches(pattern, record) for pattern in stream.filters().values())
        assert passes >= (kind is not None), f"{kind} is lost: {record}"
        new = record["dynamodb"]["NewImage"]
        maybe = new["sk"]["S"] == "upload" and new["status"]["S"] in NEW
        assert passes == (kind is not None or maybe), f"costs an invocation: {record}"


def test_a_deleted_row_passes_no_filter() -> None:
    record = stream.record_of((DONE.upload_id, "upload"), item_of(upload_item(DONE)), None)
    assert not any(stream.matches(pattern, record) for pattern in stream.filters().values())


def test_the_filters_know_all_statuses() -> None:
    end = stream.filters()["end"]["dynamodb"]
    assert set(end["NewImage"]["status"]["S"]) == {str(status) for status in TERMINAL}
    assert set(end["OldImage"]["status"]["S"]) == {str(status) for status in set(Status) - set(TERMINAL)}


# ---------------------------------------------------------------------------------------- what events say


def arrived(event: Event) -> dict[str, Any]:
    """An event as receivers get it, through the adapter. It fits its schema."""
    client = Bus([])
    assert bus_of(client).send([event]) == [""]
    told = Told()
    told.take({**client.taken[0], "Time": client.taken[0]["Time"].timestamp()})
    check_schema(told.events[0])
    return told.events[0]


def test_an_upload_that_has_ended_says_how_and_what_it_cost() -> None:
    prices = configured("default", "model", input_price="0.4", output_price="2")
    event = arrived(events.upload_event(Kind.UPLOAD_ENDED, DONE, PLACE, prices))
    detail = event["detail"]
    assert detail["status"] == "PartiallyCompleted"
    assert (detail["successes"], detail["errors"]) == (9, 1)
    assert detail["cost"] == "4.400000"
    assert detail["result"] == {"key": "processed/a.jsonl.out", "version_id": "v2"}
    assert detail["summary_key"] == "processed/a.jsonl.summary.json"
    assert detail["rejection_report_key"] is None
    assert event["resources"] == ["arn:aws:s3:::bucket/to-process/a.jsonl"]
    assert event["time"] == "2026-01-02T00:00:00Z"


def test_without_prices_there_is_no_cost() -> None:
    assert arrived(events.upload_event(Kind.UPLOAD_ENDED, DONE, PLACE))["detail"]["cost"] is None


def test_a_rejected_upload_names_its_report_and_no_result() -> None:
    detail = arrived(events.upload_event(Kind.UPLOAD_ENDED, REJECTED, PLACE))["detail"]
    assert detail["rejection_report_key"] == "processed/a.jsonl.rejected.json"
    assert detail["result"] is None
    assert detail["summary_key"] is None


def test_an_upload_that_had_run_in_a_table_that_is_gone_names_its_summary() -> None:
    gone = replace(REJECTED, status=Status.FAILED, result_key="")
    detail = arrived(events.upload_event(Kind.UPLOAD_ENDED, gone, PLACE))["detail"]
    assert detail["summary_key"] == "processed/a.jsonl.summary.json"


def test_a_job_on_demand_has_no_arn() -> None:
    event = arrived(events.job_event(Kind.JOB_SUBMITTED, ON_DEMAND, PLACE))
    assert (event["detail"]["mode"], event["detail"]["job_arn"], event["resources"]) == (
        "on_demand",
        None,
        [],
    )


def test_counts_that_bedrock_does_not_tell_are_unknown_not_zero() -> None:
    ended = replace(SUBMITTED, status=Status.COMPLETED, ended_at=ENDED)
    assert arrived(events.job_event(Kind.JOB_ENDED, ended, PLACE))["detail"]["successes"] is None
    counted = replace(ended, success_count=3)
    detail = arrived(events.job_event(Kind.JOB_ENDED, counted, PLACE))["detail"]
    assert (detail["successes"], detail["errors"]) == (3, 0)


def test_the_id_tells_what_happened_not_when_it_is_sent() -> None:
    def id_of(kind: Kind, upload: Upload) -> Any:
        return events.upload_event(kind, upload, PLACE).detail["id"]

    ended = id_of(Kind.UPLOAD_ENDED, DONE)
    assert id_of(Kind.UPLOAD_ENDED, replace(DONE, updated_at=ENDED, expires_at=1)) == ended
    other = {
        id_of(Kind.UPLOAD_ACCEPTED, DONE),
        id_of(Kind.UPLOAD_ENDED, replace(DONE, upload_id="2" * 32)),
        id_of(Kind.UPLOAD_ENDED, replace(DONE, ended_at=BEGAN)),
    }
    assert len(other) == 3
    assert ended not in other


def test_the_largest_event_is_billed_as_one() -> None:
    # Given an upload whose jobs, message and keys are as many and as long as they can be
    arn = "arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:model-invocation-job/"
    large = replace(
        DONE,
        key="to-process/" + "\N{HIRAGANA LETTER A}" * 337,
        message="\N{HIRAGANA LETTER A}" * MAX_MESSAGE,
        job_arns=frozenset(f"{arn}{number:064}" for number in range(10 * NAMED_CHUNKS)),
        result_key="processed/" + "\N{HIRAGANA LETTER A}" * 337,
    )
    event = events.upload_event(Kind.UPLOAD_ENDED, large, PLACE)
    client = Bus([])
    bus_of(client).send([event])
    # Then the event is below the 64 KB that EventBridge bills as one, and says how many jobs it leaves out
    assert entry_size(client.taken[0]) < 64_000
    assert len(event.detail["job_arns"]) == 100
    assert event.detail["job_count"] == 10 * NAMED_CHUNKS
    arrived(event)


# --------------------------------------------------------------------------------------- how they are sent


def bus_of(client: Any) -> Events:
    """The bus, by a client that has no time."""
    return Events(client, "bus", Patience())


class Bus:
    """EventBridge's client. ``answers``: the error code of each entry, call by call; then it takes all."""

    def __init__(self, answers: list[list[str]]) -> None:
        self.answers = answers
        self.calls: list[list[dict[str, Any]]] = []
        self.taken: list[Any] = []

    def put_events(self, Entries: list[Any]) -> dict[str, Any]:  # noqa: N803 (as boto3 has it)
        self.calls.append(Entries)
        codes = self.answers.pop(0) if self.answers else [""] * len(Entries)
        self.taken += [entry for entry, code in zip(Entries, codes, strict=True) if not code]
        found = [{"ErrorCode": code} if code else {"EventId": "1"} for code in codes]
        return {"FailedEntryCount": sum(map(bool, codes)), "Entries": found}

    def numbers(self) -> list[list[int]]:
        """What each call had, by the numbers of the records."""
        return [[json.loads(entry["Detail"])["records"] for entry in call] for call in self.calls]


def some(count: int) -> list[Event]:
    """Events whose uploads have 0, 1, 2 … records."""
    return [
        events.upload_event(Kind.UPLOAD_ACCEPTED, replace(PENDING, records=number), PLACE)
        for number in range(count)
    ]


def patient() -> Patience:
    """As long as a minute, in which waiting takes no time."""
    return Patience(lambda: 0.0, 60.0, pause=lambda _: None)


def patient_bus(client: Any) -> Events:
    """The bus, by a client that has a minute."""
    return Events(client, "bus", patient())


def test_events_are_sent_ten_at_a_time_in_order() -> None:
    bus = Bus([])
    assert bus_of(bus).send(some(23)) == [""] * 23
    assert bus.numbers() == [[*range(10)], [*range(10, 20)], [20, 21, 22]]


def test_a_call_has_no_more_bytes_than_eventbridge_accepts() -> None:
    large = [replace(one, detail={**one.detail, "message": "x" * 100_000}) for one in some(5)]
    bus = Bus([])
    bus_of(bus).send(large)
    assert bus.numbers() == [[0, 1], [2, 3], [4]]
    assert all(sum(map(entry_size, call)) <= MOST_BYTES for call in bus.calls)


def test_an_event_that_is_throttled_is_sent_again_and_the_others_are_not() -> None:
    bus = Bus([["", "ThrottlingException", ""], ["InternalFailure"]])
    assert patient_bus(bus).send(some(3)) == ["", "", ""]
    assert bus.numbers() == [[0, 1, 2], [1], [1]]


def test_an_event_that_the_bus_refuses_is_named_by_its_code() -> None:
    bus = Bus([["", "MalformedDetail", ""]])
    assert patient_bus(bus).send(some(3)) == ["", "MalformedDetail", ""]
    assert len(bus.calls) == 1


def test_an_event_that_stays_throttled_is_given_back_when_time_is_short() -> None:
    bus = Bus([["ThrottlingException"]])
    assert bus_of(bus).send(some(1)) == ["ThrottlingException"]


def test_a_throttled_call_is_made_again_and_one_that_is_denied_is_not() -> None:
    calls: list[str] = []

    def put(Entries: list[Any]) -> Any:  # noqa: N803
        calls.append("put")
        if len(calls) == 1:
            raise aws_error("ThrottlingException", 400)
        raise aws_error("AccessDeniedException", 400)

    with pytest.raises(ClientError, match="AccessDenied"):
        patient_bus(SimpleNamespace(put_events=put)).send(some(1))
    assert len(calls) == 2


# ------------------------------------------------------------------------------------ the changes, and people


@pytest.mark.parametrize(
    "event", [{}, {"Records": 1}, {"Records": [{"s3": {}}]}, {"Records": [{"dynamodb": {}}]}, {"reason": "x"}]
)
def test_an_event_that_is_no_change_is_refused_with_what_to_do(event: Any) -> None:
    with pytest.raises(EventError, match="event source mapping"):
        changes(event)


@pytest.mark.parametrize("status", TERMINAL)
def test_people_are_told_where_how_many_and_what_to_do(status: Status) -> None:
    told = notices.notice(replace(DONE, status=status), SETTINGS)
    assert told.subject == f"queue: {status}: to-process/a.jsonl"
    for words in (
        f"s3://bucket/to-process/a.jsonl (version v1) of the queue queue ended as {status}.",
        "Records: 10. Succeeded: 9. Failed: 1.",
        "Message: 1 of 10 records failed.",
        "s3://bucket/processed/a.jsonl.out",
        "Summary: s3://bucket/processed/a.jsonl.summary.json",
        "What to do: ",
    ):
        assert words in told.body
    assert ("Rejection report: " in told.body) == (status == Status.REJECTED)
    assert told.attributes == {"queue": "queue", "route": "default", "status": status}


def test_a_subject_is_short_and_ascii_and_ends_as_the_key_does() -> None:
    key = "to-process/" + "Zürich\n" * 30 + "/the end.jsonl"
    subject = notices.notice(replace(DONE, key=key), SETTINGS).subject
    assert len(subject) == notices.MAX_SUBJECT
    assert subject.startswith("queue: PartiallyCompleted: ...")
    assert subject.endswith("Z?rich?/the end.jsonl")
    assert subject.isascii()
    assert subject.isprintable()


def test_a_throttled_message_is_published_again() -> None:
    sent: list[Mapping[str, Any]] = []

    def publish(**call: Any) -> None:
        sent.append(call)
        if len(sent) == 1:
            raise aws_error("Throttled", 400)

    client: Any = SimpleNamespace(publish=publish)
    topic = Notifications(client, "topic", patient())
    topic.publish(notices.notice(DONE, SETTINGS))
    assert [one["TopicArn"] for one in sent] == ["topic", "topic"]
    assert sent[1]["MessageAttributes"]["status"] == {
        "DataType": "String",
        "StringValue": "PartiallyCompleted",
    }
