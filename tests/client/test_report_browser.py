"""The page of a report in a browser: it draws, asks for nothing, and fits into a window of any width."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bedrock_batch.report import Data, figures, page
from bedrock_batch.report.slots import merged

from tests.support import report_data
from tools import browser

DRAWN = "document.documentElement.dataset.drawn"
WIDE, PHONE = 1280, 400


@pytest.fixture(scope="module")
def chromium() -> Iterator[browser.Page]:
    # Without a Chromium, this fails with what to do: a test that is left out proves nothing.
    with browser.opened() as found:
        yield found


def see(window: browser.Page, folder: Path, data: Data, width: int = WIDE, *, dark: bool = False) -> None:
    file = folder / "report.html"
    file.write_text(page(figures(data)), encoding="utf-8")
    window.complaints.clear()
    window.requests.clear()
    window.go(file.as_uri(), width=width, height=900, dark=dark)
    if window.evaluate("document.querySelector('.plot') !== null"):
        window.until(DRAWN)
    # Nothing was asked for but the page itself, and nothing went wrong.
    assert window.requests == [file.as_uri()]
    assert window.complaints == []


def bars(window: browser.Page) -> list[int]:
    """How many bars each plot has that can be seen."""
    found: list[int] = window.evaluate(
        """[...document.querySelectorAll(".plot")].map(plot =>
          [...plot.querySelectorAll(".bars .point path")].map(bar => bar.getBoundingClientRect())
            .filter(box => box.width > 0 && box.height > 0).length)"""
    )
    return found


def test_every_job_is_a_bar_in_its_slot(chromium: browser.Page, tmp_path: Path) -> None:
    data = report_data.week(120)
    see(chromium, tmp_path, data)
    expected = [len(merged(model.bars, 2_000)) for model in figures(data).models]
    assert bars(chromium)[:2] == expected
    assert sum(expected) == len(data.jobs) > 100


def test_the_other_plots_have_their_bars_and_boxes(chromium: browser.Page, tmp_path: Path) -> None:
    data = report_data.week(120)
    found = figures(data)
    see(chromium, tmp_path, data)
    _, _, answered, waits, *causes, tokens, cost = bars(chromium)
    assert answered == sum(1 for counts in found.throughput.answered.values() for count in counts if count)
    assert waits == 0
    assert (
        chromium.evaluate("document.querySelectorAll('.plot')[3].querySelectorAll('path.box').length") == 12
    )
    assert sum(causes) == len(found.causes)
    assert tokens == 2 * len(found.routes)
    assert cost == sum(1 for route in found.routes if route.cost is not None)


def test_the_texts_are_those_of_the_figures(chromium: browser.Page, tmp_path: Path) -> None:
    data = report_data.week(120)
    found = figures(data)
    see(chromium, tmp_path, data)
    text = chromium.evaluate("document.body.innerText")
    assert chromium.evaluate("document.title") == "reviews: batch queue report"
    for expected in (
        f"of {found.total.records:,}; {found.total.failed:,} failed, {found.total.not_run:,} not run",
        "anthropic.claude-haiku-4-5-20251001-v1:0",
        f"{found.total.input_tokens:,}",
        f"{found.total.cost:,.2f}",
        "MediaUnavailable",
        "An object that the record references is missing.",
        "All times are in UTC.",
    ):
        assert expected in text


def test_a_bar_says_what_it_is_when_one_points_at_it(chromium: browser.Page, tmp_path: Path) -> None:
    data = report_data.week(120)
    job = replace(data.jobs[0], message="<b>not bold</b> & 'quoted'", job_name="reviews-first")
    see(chromium, tmp_path, replace(data, jobs=[job], uploads=[]))
    x, y = chromium.evaluate(
        "(box => [box.x + box.width / 2, box.y + box.height / 2])"
        "(document.querySelector('.bars .point path').getBoundingClientRect())"
    )
    chromium.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    chromium.until("document.querySelector('.hovertext')")
    told = chromium.evaluate("document.querySelector('.hovertext').textContent")
    assert "reviews-first" in told
    assert "<b>not bold</b> & 'quoted'" in told


@pytest.mark.parametrize("width", [WIDE, PHONE])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_the_window_and_can_be_read(
    chromium: browser.Page, tmp_path: Path, width: int, dark: bool
) -> None:
    see(chromium, tmp_path, report_data.week(60), width, dark=dark)
    assert chromium.evaluate("document.documentElement.scrollWidth") == width
    # Whatever the colors are, texts and page differ by what WCAG 2.2 calls enough (4.5 to 1).
    contrasts = chromium.evaluate(
        """(() => {
          const light = color => {
            const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map(Number).map(part => part / 255)
              .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const page = light(getComputedStyle(document.body).backgroundColor);
          const ratio = value => (Math.max(value, page) + 0.05) / (Math.min(value, page) + 0.05);
          const of = (selector, property) => [...document.querySelectorAll(selector)]
            .map(one => ratio(light(getComputedStyle(one)[property])));
          return [...of("h1, h2, h3, p, td, th, small, li, code", "color"),
            ...of(".plot .xtick text, .plot .ytick text, .plot .ytitle", "fill")];
        })()"""
    )
    assert len(contrasts) > 100
    assert min(contrasts) >= 4.5


def test_nothing_that_rows_say_is_run(chromium: browser.Page, tmp_path: Path) -> None:
    mark = "</script><script>document.title = 'taken'</script><img src=x onerror=document.title='taken'>"
    long = 300 * "x"
    data = report_data.week(60)
    see(
        chromium,
        tmp_path,
        replace(
            data,
            queue=long,
            jobs=[replace(job, job_name=mark, message=mark + long, route=mark + long) for job in data.jobs],
            uploads=[replace(one, key=mark, message=long, route=mark + long) for one in data.uploads],
            errors={mark: {mark: 1}},
        ),
        PHONE,
    )
    assert chromium.evaluate("document.title") == f"{long}: batch queue report"
    assert chromium.evaluate("document.querySelectorAll('img').length") == 0
    # Nor does it make the page wider than the window.
    assert chromium.evaluate("document.documentElement.scrollWidth") == PHONE


def test_an_empty_period_says_so(chromium: browser.Page, tmp_path: Path) -> None:
    data = report_data.week(60)
    see(chromium, tmp_path, replace(data, jobs=[], uploads=[], errors={}))
    assert "No upload ended in this period" in chromium.evaluate("document.body.innerText")
    assert chromium.evaluate("document.querySelectorAll('svg').length") == 0


def test_it_can_be_printed(chromium: browser.Page, tmp_path: Path) -> None:
    see(chromium, tmp_path, report_data.week(60), dark=True)
    chromium.evaluate("dispatchEvent(new Event('beforeprint'))")
    widths = chromium.evaluate("[...document.querySelectorAll('.main-svg')].map(svg => svg.clientWidth)")
    assert max(widths) <= 700
    chromium.evaluate("dispatchEvent(new Event('afterprint'))")
    chromium.until("document.querySelector('.main-svg').clientWidth > 900")
    assert chromium.call("Page.printToPDF", printBackground=True)["data"]
    assert chromium.complaints == []
