"""The report in a real browser without a network: the same pictures, and nothing is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.api.dashboard.pages import open_search
from tests.api.dashboard.site import Watched

EVIL = (
    "<img src=x onerror=\"document.title='owned'\"></script><script>document.title='owned'</script>"
)
CHARTS = {  # where, and what its marks are
    "#report-answer .block-diagram": ".layer",
    "#report-fitness": ".points",
    "#report-step": ".cloud, .front-marks",
    "#report-curve": ".curve",
    "#report-population": ".share, .mean-line",
    "#report-helps": ".interval-mean",
    "#report-lineage": ".points",
    "#report-machines": ".span",
}


@pytest.fixture
def offline(browser):
    """A page without a network; every error in it fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    found = Watched(context.new_page())
    yield found
    context.close()
    assert found.problems == []
    assert {url.split(":")[0] for url in found.requests} <= {"file", "data", "blob"}


def searched(worker: Any, **changes: Any) -> str:
    """Runs a search that has children, fresh runs of the best, and failures."""
    race = {"confirmations": 1, "confirmation_repeats": 2, "confirmation_limit": 2}
    search = worker.create_search(limits={"trials": 14}, **race, **changes)
    worker.measure_baseline()
    for index in range(11):
        lease = worker.claim()
        worker.finish(lease, loss=1.95 - index % 4 / 50, step_time_ms=16 + index % 5)
    for _ in range(2):
        told = {"outcome": "diverged", "message": EVIL, "traceback": EVIL}
        worker.report(worker.claim(), told)
    worker.finish(worker.claim(), loss=1.7)
    worker.finish_next([2.0, 1.8, 2.01, 1.81], kind="confirmation")  # the rival in turns
    return str(search)


def saved(worker: Any, search: str, folder: Path) -> str:
    """Writes the report of a search; returns the file's address."""
    file = folder / "report.html"
    answer = worker.http.get(f"/searches/{search}/report")
    assert answer.status_code == 200, answer.text
    file.write_text(answer.text, "utf-8")
    return file.as_uri()


def test_every_picture_is_drawn_from_the_file_alone(offline, worker, tmp_path):
    page = offline.page
    page.goto(saved(worker, searched(worker), tmp_path))
    for place, marks in CHARTS.items():
        expect(page.locator(place).locator(marks).first).to_be_attached()
        drawn = page.locator(place).first.bounding_box()
        assert drawn is not None, place
        assert drawn["height"] > 60, place
    expect(page.locator("#best-figure")).to_have_text("+0.200 ± 0.007")
    expect(page.locator("#report-failures .failure-count")).to_have_text("2")
    expect(page.locator("#report-machines tbody th")).to_have_text("cpu")
    assert page.evaluate("document.querySelectorAll('a[href]').length") == 0


def test_the_page_of_a_search_leads_to_its_report(watched, site, worker, tmp_path):
    search = searched(worker)
    page = open_search(watched, site, search)
    with page.expect_download() as told:
        page.get_by_role("link", name="Report").click()
    assert told.value.suggested_filename == f"{search}-report.html"
    assert "report-data" in told.value.path().read_text()


def test_words_with_markup_are_shown_as_words(offline, worker, tmp_path):
    page = offline.page
    page.goto(saved(worker, searched(worker), tmp_path))
    expect(page.locator("#report-failures .failure-reason")).to_contain_text("<img src=x")
    page.locator("#report-failures summary").click()
    expect(page.locator("#report-failures pre")).to_have_text(EVIL)
    assert page.locator("img").count() == 0
    assert "owned" not in page.title()


def test_series_hide_axes_change_and_pictures_are_saved(offline, worker, tmp_path):
    page = offline.page
    page.goto(saved(worker, searched(worker), tmp_path))
    page.locator("#report-fitness [data-series='baseline']").click()
    expect(page.locator("#report-fitness .points.mark-baseline")).to_have_count(0)
    page.get_by_role("button", name="time", exact=True).click()
    expect(page.locator("#report-fitness")).to_contain_text("time of completion")
    page.locator("#report-fitness .downloads summary").click()
    with page.expect_download() as told:
        page.get_by_role("button", name="Picture, PNG").click()
    assert told.value.path().read_bytes().startswith(b"\x89PNG")
    page.locator("#report-fitness .chart-area").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#report-fitness .chart-tip")).to_contain_text("#2")
    page.keyboard.press("Enter")  # opens nothing here


def test_a_search_without_results_is_told_as_such(offline, worker, tmp_path):
    page = offline.page
    page.goto(saved(worker, worker.create_search(), tmp_path))
    expect(page.locator("#report-answer")).to_contain_text("No candidate has completed yet")
    expect(page.locator("#report-fitness")).to_contain_text("No trial yet")
    expect(page.locator("#report-failures")).to_contain_text("No trial has failed")


def test_plain_pictures_stand_in_where_scripts_do_not_run(browser, worker, tmp_path):
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(saved(worker, searched(worker), tmp_path))
    assert page.locator("noscript svg.drawn circle").count() > 20
    expect(page.locator("#report-fitness")).to_be_hidden()
    context.close()


@pytest.mark.parametrize("width", [390, 1280, 2560])
def test_a_report_fits_its_width(offline, worker, tmp_path, width):
    page = offline.page
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(saved(worker, searched(worker, name="n" * 64), tmp_path))
    expect(page.locator("#report-machines .span").first).to_be_attached()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
