"""The figures of a report: nothing is counted twice, and nothing is lost."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from batch_queue.core import media, names, outputs
from batch_queue.core.rows import TERMINAL, Job, Status, Upload
from batch_queue.steps import mending, on_demand, settlement
from bedrock_batch.report import Data, document, figures
from bedrock_batch.report.causes import MOST_CAUSES, OTHERS, Kind, meaning, of_jobs, of_records, of_uploads
from bedrock_batch.report.figures import spread, throughput
from bedrock_batch.report.slots import Bar, is_bad, lanes, merged
from hypothesis import given
from hypothesis import strategies as st

from tests.support import report_data
from tests.support.report_data import HAIKU, SINCE, route

UNTIL = SINCE + 86_400
JOB = Job(
    job_id="0" * 32,
    job_name="reviews-1",
    route="default",
    model_id=HAIKU,
    status=Status.COMPLETED,
    created_at=names.iso(SINCE),
    arn="arn:aws:bedrock:us-east-1:1:model-invocation-job/1",
    records=100,
    success_count=100,
    submitted_at=names.iso(SINCE + 60),
    started_at=names.iso(SINCE + 360),
    ended_at=names.iso(SINCE + 3_660),
)
UPLOAD = Upload(
    upload_id="1" * 32,
    bucket="b",
    key="to-process/a.jsonl",
    route="default",
    status=Status.COMPLETED,
    created_at=names.iso(SINCE),
    records=100,
    success_count=100,
    input_tokens=2_000_000,
    output_tokens=400_000,
    job_arns=frozenset({JOB.arn}),
    ended_at=names.iso(SINCE + 3_700),
)

moments = st.integers(-5_000, 100_000)
spans = st.lists(st.tuples(moments, st.integers(0, 20_000)), max_size=60)


def held(times: list[tuple[int, int]]) -> list[tuple[float, float, Job]]:
    return [
        (float(start), float(start + length), replace(JOB, job_id=f"{number:032x}", records=number))
        for number, (start, length) in enumerate(times)
    ]


def apart(bars: list[Bar]) -> bool:
    by_lane = sorted(bars, key=lambda bar: (bar.lane, bar.start, bar.end))
    return all(a.end <= b.start for a, b in pairwise(by_lane) if a.lane == b.lane)


# -------------------------------------------------------------------------------------------------- slots


@given(spans)
def test_jobs_of_a_lane_never_overlap_and_there_are_as_few_lanes_as_can_be(
    times: list[tuple[int, int]],
) -> None:
    bars = lanes(held(times))
    assert apart(bars)
    assert Counter(bar.job.job_id for bar in bars) == Counter(job.job_id for _, _, job in held(times))
    most = max((sum(start <= at < start + length for start, length in times) for at, _ in times), default=0)
    # A job without a length takes a lane, although it never shares a moment with another.
    assert most <= max((bar.lane for bar in bars), default=0) <= most + 1


@given(spans, st.integers(1, 40))
def test_bars_that_become_one_lose_nothing(times: list[tuple[int, int]], most: int) -> None:
    bars = lanes(held(times))
    fewer = merged(bars, most)
    assert len(fewer) <= max(most, len({bar.lane for bar in bars}))
    assert apart(list(fewer))
    assert sum(bar.jobs for bar in fewer) == len(bars)
    assert sum(bar.records for bar in fewer) == sum(bar.records for bar in bars)


def test_a_failed_job_stays_visible_among_its_neighbors() -> None:
    jobs = [replace(JOB, status=Status.FAILED if number == 7 else Status.COMPLETED) for number in range(20)]
    bars = lanes((float(at), float(at + 1), job) for at, job in enumerate(jobs))
    assert [is_bad(bar.status) for bar in merged(bars, 1)] == [True]


def test_a_job_holds_its_slot_within_the_period() -> None:
    jobs = [
        replace(JOB, job_id="before", submitted_at=names.iso(SINCE - 600), ended_at=names.iso(SINCE + 600)),
        replace(
            JOB, job_id="runs", status=Status.IN_PROGRESS, ended_at="", submitted_at=names.iso(UNTIL - 900)
        ),
        replace(JOB, job_id="earlier", submitted_at=names.iso(SINCE - 900), ended_at=names.iso(SINCE - 1)),
        replace(JOB, job_id="on demand", instead="on_demand"),
        replace(JOB, job_id="not submitted", submitted_at="", status=Status.SUBMITTING, ended_at=""),
    ]
    routes = {"default": replace(route("default", HAIKU, 3), reserved_slots=1)}
    found = figures(Data("q", "1", SINCE, UNTIL, jobs=jobs, routes=routes))
    (model,) = found.models
    assert {bar.job.job_id: bar.end - bar.start for bar in model.bars} == {"before": 600, "runs": 900}
    assert (model.limit, model.lanes, model.seconds) == (2, 1, 1_500)
    assert found.use == pytest.approx(1_500 / (2 * 86_400))


@pytest.mark.parametrize(("hours", "drawn"), [(0, 0), (6, 0), (23, 22.95)])
def test_plots_begin_with_the_first_job_if_that_is_late_in_the_period(hours: float, drawn: float) -> None:
    began = SINCE + hours * 3_600
    job = replace(JOB, submitted_at=names.iso(began), ended_at=names.iso(began + 60))
    found = figures(Data("q", "1", SINCE, UNTIL, jobs=[job], routes={"default": route("default", HAIKU, 3)}))
    assert UNTIL - SINCE == 86_400
    assert found.drawn_since == pytest.approx(SINCE + drawn * 3_600)


def test_a_model_without_a_route_has_no_limit() -> None:
    found = figures(Data("q", "1", SINCE, UNTIL, jobs=[JOB]))
    assert [(model.limit, model.use) for model in found.models] == [(None, None)]
    assert found.use is None


# --------------------------------------------------------------------------------------------- throughput


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 10**6), st.integers(0, 10**9)), max_size=40),
    st.sampled_from((1, 60, 3_600, 86_400, 604_800, 40 * 86_400, 2_000 * 86_400)),
    st.floats(0, 1),
)
def test_the_buckets_have_all_records_that_were_answered(
    ended: list[tuple[str, int, int]], period: int, offset: float
) -> None:
    since = SINCE + offset
    jobs = [
        replace(JOB, route=name, success_count=count, ended_at=names.iso(since + part / 10**9 * period))
        for name, count, part in ended
    ]
    found = throughput(jobs, since, since + period)
    expected: Counter[str] = Counter()
    for name, count, _ in ended:
        expected[name] += count
    assert {name: sum(counts) for name, counts in found.answered.items()} == {**(+expected)}
    assert len(found.starts) <= 400
    assert all(len(counts) == len(found.starts) for counts in found.answered.values())


def test_records_count_in_the_hour_in_which_their_job_ended() -> None:
    found = throughput([JOB], SINCE, UNTIL)
    at = found.answered["default"].index(100)
    assert found.width == 900
    assert found.starts[at] <= SINCE + 3_660 < found.starts[at] + found.width


# ----------------------------------------------------------------------------------------------- by route

uploads = st.lists(
    st.builds(
        lambda name, status, records, good, bad, tokens: replace(
            UPLOAD,
            route=name,
            status=status,
            records=records,
            success_count=good,
            error_count=bad,
            input_tokens=tokens,
            ended_at=UPLOAD.ended_at if status in TERMINAL else "",
        ),
        st.sampled_from("abc"),
        st.sampled_from(Status),
        *[st.integers(0, 10**6)] * 4,
    ),
    max_size=30,
)


@given(uploads)
def test_the_sums_are_those_of_the_uploads_that_ended(rows: list[Upload]) -> None:
    found = figures(Data("q", "1", SINCE, UNTIL, uploads=rows))
    ended = [row for row in rows if row.status in TERMINAL]
    assert found.uploads == Counter(row.status for row in rows)
    assert found.ended == found.total.uploads == len(ended)
    assert found.total.answered == sum(row.success_count for row in ended)
    assert found.total.failed == sum(row.error_count for row in ended)
    assert found.total.input_tokens == sum(row.input_tokens for row in ended)
    assert all(route.not_run >= 0 for route in found.routes)
    assert found.total.not_run == sum(route.not_run for route in found.routes)


def test_what_ended_outside_of_the_period_does_not_count() -> None:
    rows = [replace(UPLOAD, ended_at=names.iso(at)) for at in (SINCE - 1, SINCE, UNTIL, UNTIL + 1)]
    jobs = [replace(JOB, ended_at=row.ended_at) for row in rows]
    found = figures(Data("q", "1", SINCE, UNTIL, uploads=rows, jobs=jobs))
    assert (found.ended, sum(found.jobs.values())) == (2, 2)


def test_cost_is_that_of_the_routes_with_prices() -> None:
    rows = [UPLOAD, replace(UPLOAD, route="free")]
    routes = {
        "default": route("default", HAIKU, 1),
        "free": route("free", HAIKU, 1, prices=False),
    }
    found = figures(Data("q", "1", SINCE, UNTIL, uploads=rows, routes=routes))
    assert [one.cost for one in found.routes] == [Decimal("2.0"), None]
    assert found.total.cost == Decimal("2.0")


def test_an_upload_waits_until_its_first_job_and_a_job_until_it_starts() -> None:
    later = replace(JOB, job_id="later", arn="later", submitted_at=names.iso(SINCE + 900))
    upload = replace(UPLOAD, job_arns=frozenset({JOB.arn, "later", "gone"}))
    (found,) = figures(Data("q", "1", SINCE, UNTIL, uploads=[upload], jobs=[JOB, later])).routes
    assert found.waits is not None
    assert found.starts is not None
    assert found.runs is not None
    assert (found.waits.count, found.waits.median) == (1, 60)
    # Bedrock's clock can be behind: the second job started before it was submitted.
    assert (found.starts.count, found.starts.longest, found.starts.p10) == (2, 300, pytest.approx(30))
    assert found.runs.median == 3_300


@given(st.lists(st.floats(0, 10**7), min_size=1, max_size=50))
def test_percentiles_are_in_order_and_within_the_values(values: list[float]) -> None:
    found = spread(values)
    assert found is not None
    ordered = [found.p10, found.p25, found.median, found.p75, found.p90, found.longest]
    assert ordered == sorted(ordered)
    assert min(values) <= found.p10
    assert found.longest == max(values)
    assert found.median == pytest.approx(statistics.median(values))


# ------------------------------------------------------------------------------------------------- causes


def test_messages_that_differ_in_names_and_numbers_are_one_cause() -> None:
    jobs = [
        replace(JOB, status=Status.FAILED, message=f"cannot read s3://b/jobs/{n:032x}/in/ of arn:aws:x:{n}")
        for n in range(5)
    ]
    found = of_jobs([*jobs, replace(JOB, status=Status.FAILED, message="no access")], [UPLOAD])
    assert [(cause.count, cause.text) for cause in found] == [(5, jobs[0].message), (1, "no access")]
    assert {cause.example for cause in found} == {UPLOAD.key}


def test_rejected_uploads_are_told_by_their_reason() -> None:
    rows = [
        replace(
            UPLOAD,
            status=Status.REJECTED,
            message=f"Rejected, nothing was run: line {n}: bad JSON at 7 (3 more faults). All in p/{n}.json",
        )
        for n in (3, 1_200)
    ]
    assert [(cause.count, cause.text) for cause in of_uploads(rows)] == [(2, "bad JSON at 7")]


@given(
    st.dictionaries(st.sampled_from("abc"), st.dictionaries(st.integers(0, 99).map(str), st.integers(1, 99)))
)
def test_the_causes_of_records_have_all_of_them(errors: dict[str, dict[str, int]]) -> None:
    found = of_records(errors, {})
    assert sum(cause.count for cause in found) == sum(sum(codes.values()) for codes in errors.values())
    assert len(found) <= MOST_CAUSES
    assert (len({code for codes in errors.values() for code in codes}) > MOST_CAUSES) == any(
        cause.text == OTHERS for cause in found
    )
    assert {cause.kind for cause in found} <= {Kind.RECORDS}


def test_each_error_code_of_the_queue_is_explained() -> None:
    codes = [value for module in (media, mending, on_demand, settlement) for value in _codes(module)]
    assert len(codes) >= 7
    ends = [f"Job{status}" for status in (Status.COMPLETED, Status.FAILED, Status.EXPIRED, Status.STOPPED)]
    for code in (*codes, *ends, outputs.TIER_REFUSED, "unknown", "other"):
        assert meaning(code), code


def _codes(module: object) -> list[str]:
    found = {name: value for name, value in vars(module).items() if name.endswith("_CODE")}
    # The mark of a chunk that waits: no record ends with it.
    return [value for name, value in found.items() if name != "NO_ROOM_CODE"]


# --------------------------------------------------------------------------------------------------- JSON


def test_the_document_has_the_same_figures() -> None:
    found = figures(report_data.week())
    told = json.loads(json.dumps(document(found)))
    assert told["total"]["answered"] == found.total.answered > 0
    assert sum(one["answered"] for one in told["routes"].values()) == found.total.answered
    assert sum(map(sum, told["answered"]["by_route"].values())) == sum(
        map(sum, found.throughput.answered.values())
    )
    assert told["models"]["amazon.nova-lite-v1:0"]["slots"] == 5
    assert sum(told["uploads"].values()) == sum(found.uploads.values())


def test_no_rows_give_no_figures() -> None:
    found = figures(Data("q", "1", SINCE, SINCE))
    assert found.is_empty
    assert document(found)["total"]["uploads"] == 0
