"""The page of a report, as text: whole, safe whatever the rows say, and small."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import plotly.graph_objects as go
from batch_queue.core import names
from batch_queue.core.rows import Status
from bedrock_batch.report import Data, figures, page, plots
from hypothesis import given
from hypothesis import strategies as st

from tests.support import report_data
from tests.support.report_data import SINCE, WEEK

MARK = '</script><script>alert(1)</script><!--<b onclick="x">\'&%{x}$x$'
# plotly.js is most of the page.
PLOTLY_BYTES = 5_500_000
OWN_BYTES = 1_000_000


class Reader(HTMLParser):
    """Reads a page as a browser does: which elements it has, and what text."""

    VOID = frozenset({"meta", "link", "br", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)

    def count(self, tag: str) -> int:
        return sum(1 for found, _ in self.elements if found == tag)


def read(data: Data) -> tuple[str, Reader]:
    text = page(figures(data))
    return text, Reader(text)


def drawn(reader: Reader) -> list[dict[str, Any]]:
    """The plots of a page, as plotly.js gets them."""
    found: list[dict[str, Any]] = json.loads(
        next(text for text in reader.texts["script"] if text.startswith('[{"data"'))
    )
    return found


def everywhere(text: str) -> Data:
    """A week in which every text that a row can have is this one."""
    data = report_data.week(60)
    return replace(
        data,
        queue=text,
        version=text,
        uploads=[
            replace(one, key=text, route=text, message=text, upload_id=f"{number:032x}")
            for number, one in enumerate(data.uploads)
        ],
        jobs=[
            replace(
                one,
                job_name=text,
                route=text,
                message=text,
                status=Status.FAILED if number % 2 else one.status,
            )
            for number, one in enumerate(data.jobs)
        ],
        routes={text: replace(report_data.ROUTES["default"], name=text, model_id=f"us.x.{text}")},
        errors={text: {text: 3}},
        examples={text: text},
        truncated=[text],
    )


def test_a_page_has_its_sections_figures_and_scripts() -> None:
    text, reader = read(report_data.week())
    assert text.startswith("<!DOCTYPE html>")
    assert reader.open == []
    assert reader.texts["h1"] == ["reviews"]
    assert reader.texts["h2"] == [
        "Slots over time",
        "Records answered",
        "Waiting and running",
        "Failures",
        "Tokens and cost",
        "How this is counted",
    ]
    places = [attributes for tag, attributes in reader.elements if attributes.get("class") == "plot"]
    assert len(places) == len(drawn(reader)) == 9
    assert all(place["role"] == "img" and len(place["aria-label"] or "") > 20 for place in places)
    assert reader.count("table") == 3
    assert reader.count("caption") == 3


def test_plotly_knows_everything_that_it_is_told_to_draw() -> None:
    _, reader = read(report_data.week())
    for plot in drawn(reader):
        # Raises ValueError for a property or a value that plotly.js does not have.
        go.Figure(data=plot["data"], layout=plot["layout"])


def test_nothing_is_fetched() -> None:
    text, reader = read(report_data.week())
    for _, attributes in reader.elements:
        assert not {"src", "href", "srcset", "data", "action"} & attributes.keys()
    assert "@import" not in "".join(reader.texts["style"])
    assert "url(" not in "".join(reader.texts["style"])
    assert re.search(r"Content-Security-Policy\" content=\"default-src 'none';", text)


def test_what_rows_say_stays_text() -> None:
    plain, usual = read(everywhere("x"))
    text, reader = read(everywhere(MARK))
    assert [tag for tag, _ in reader.elements] == [tag for tag, _ in usual.elements]
    assert reader.texts["h1"] == [MARK]
    for tag in ("<script", "</script", "<!--"):
        assert text.count(tag) == plain.count(tag)
    # What is drawn could end no element even if it were not escaped.
    assert not {"<", ">", "&"} & set(
        next(one for one in reader.texts["script"] if one.startswith('[{"data"'))
    )


@given(st.text(max_size=40))
def test_any_text_gives_a_page_that_can_be_written(text: str) -> None:
    data = everywhere(text)
    few = replace(data, uploads=data.uploads[:5], jobs=data.jobs[:5])
    found, reader = read(few)
    found.encode()
    assert reader.open == []
    assert "\x00" not in found


def test_what_is_pointed_at_is_text_too() -> None:
    _, reader = read(everywhere(MARK))
    told = json.dumps(drawn(reader))
    assert "<script" not in told
    assert "<b onclick" not in told
    assert "&lt;script&gt;" in told


def test_an_empty_period_gives_a_small_page_that_says_what_to_do() -> None:
    data = report_data.week()
    text, reader = read(replace(data, uploads=[], jobs=[], errors={}))
    assert "No upload ended in this period" in reader.texts["h2"]
    assert "bedrock-batch report --since 30d" in reader.texts["code"]
    assert "script" not in reader.texts
    assert len(text) < 20_000


def test_thousands_of_jobs_stay_a_small_page() -> None:
    job = report_data.week(3).jobs[0]
    count = 20_000
    length = WEEK / count
    jobs = [
        replace(
            job,
            job_id=f"{number:032x}",
            status=Status.COMPLETED,
            success_count=100,
            submitted_at=names.iso(SINCE + length * number),
            started_at=names.iso(SINCE + length * number + 5),
            ended_at=names.iso(SINCE + length * number + 5 * length),
        )
        for number in range(count)
    ]
    text, reader = read(Data("q", "1", SINCE, SINCE + WEEK, jobs=jobs, routes=report_data.ROUTES))
    assert len(text) < PLOTLY_BYTES + OWN_BYTES
    bars = sum(len(trace["y"]) for trace in drawn(reader)[0]["data"])
    assert 100 < bars <= plots.MOST_BARS
    assert any("Short jobs are drawn together" in part for part in reader.texts["p"])
    assert any(part.startswith("20,000 jobs") for part in reader.texts["p"])


def test_many_routes_are_drawn_as_others_and_told_in_a_table() -> None:
    data = report_data.week(300)
    jobs = [replace(job, route=f"route-{number % 150:03d}") for number, job in enumerate(data.jobs)]
    uploads = [replace(one, route=f"route-{number % 150:03d}") for number, one in enumerate(data.uploads)]
    _, reader = read(replace(data, uploads=uploads, jobs=jobs))
    legend = [text for text in reader.texts["li"] if text in (plots.OTHERS, "route-000")]
    assert plots.OTHERS in legend
    assert any(
        note == "50 more routes are not in this table; --json has them all." for note in reader.texts["p"]
    )
    assert max(len(plot["data"]) for plot in drawn(reader)) <= len(plots.COLORS) + 3


def test_the_figures_come_without_plotly() -> None:
    code = (
        "import sys\nfrom tests.support import report_data\n"
        "from bedrock_batch.report import document, figures\n"
        "document(figures(report_data.week(20)))\nassert not {'plotly', 'boto3'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=60, env={"PYTHONPATH": ":".join(sys.path)}
    )
