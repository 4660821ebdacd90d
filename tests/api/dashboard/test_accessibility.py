"""Every page, tab and dialog against axe-core's rules (WCAG 2.1, levels A and AA)."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.api.dashboard.pages import open_page, open_search

pytestmark = pytest.mark.slow

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
TABS = ["trials", "population", "lineage", "helps", "fidelity", "failures", "machines"]


def faults(page):
    """Returns what axe-core finds in the page as it stands: the rule, and where."""
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": RULES}}).response
    assert found["passes"], "axe-core checked nothing"
    return [
        (fault["id"], node["target"], node["failureSummary"])
        for fault in found["violations"]
        for node in fault["nodes"]
    ]


@pytest.fixture(params=["light", "dark"])
def scheme(request, watched):
    watched.page.emulate_media(color_scheme=request.param, reduced_motion="reduce")


@pytest.mark.usefixtures("scheme")
def test_front_page_and_form_of_a_new_search(watched, site, feed):
    page = open_page(watched, site)
    expect(page.locator(f"[data-search='{feed.search}']")).to_be_visible()
    assert faults(page) == []
    page.locator("#new-search").click()
    expect(page.locator("#spec-faults")).to_contain_text("can run this")
    assert faults(page) == []


@pytest.mark.usefixtures("scheme")
def test_empty_front_page_faults_of_a_spec_and_a_note(watched, site, worker):
    page = open_page(watched, site)
    expect(page.get_by_role("heading", name="No search yet")).to_be_visible()
    assert faults(page) == []
    page.locator("#new-search").click()
    page.locator("#spec-text").fill("name: laptop\nspace: 7")
    expect(page.locator("#spec-faults .faults")).to_be_visible()
    assert faults(page) == []
    worker.create_search()
    page.reload()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Add a note to laptop").click()
    expect(page.locator("#note-text")).to_be_visible()
    assert faults(page) == []


@pytest.mark.usefixtures("scheme")
def test_token_is_asked_for_and_an_unknown_search_is_said(watched, site, worker):
    made = worker.http.post("/tokens", json={"name": "reader", "scopes": ["read"]})
    page = open_search(watched, site, "nothing")
    expect(page.locator("#token-dialog")).to_be_visible()
    page.locator("#token-field").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#token-message")).not_to_be_empty()
    assert faults(page) == []
    page.locator("#token-field").fill(made.json()["secret"])
    page.keyboard.press("Enter")
    expect(page.locator("#search-missing")).to_be_visible()
    assert faults(page) == []


@pytest.mark.usefixtures("scheme")
def test_search_without_results_and_one_that_failed(watched, site, worker):
    empty = worker.create_search(limits={"trials": 1})
    page = open_search(watched, site, empty)
    expect(page.locator("#search-waiting")).to_be_visible()
    assert faults(page) == []
    worker.measure_baseline()
    worker.report(worker.claim(), {"outcome": "diverged", "message": "the loss is not finite"})
    page = open_search(watched, site, empty, tab="failures")
    expect(page.locator("#search-answer")).to_contain_text("No candidate has completed")
    expect(page.locator(".failure")).to_have_count(1)
    assert faults(page) == []


@pytest.mark.usefixtures("scheme")
@pytest.mark.parametrize("tab", TABS)
def test_two_pools_with_each_tab(watched, site, worker, tab):
    search = searched_on_two_pools(worker)
    page = open_search(watched, site, search, tab=tab, **{"from": 2, "to": 9})
    expect(page.locator("#best-figure")).to_be_visible()
    expect(page.locator("#tab-panel .state-loading")).to_have_count(0)
    expect(page.locator("#chart-step .front-marks").first).to_be_attached()
    assert faults(page) == []


@pytest.mark.usefixtures("scheme")
def test_report(watched, site, worker, tmp_path):
    file = tmp_path / "report.html"
    search = searched_on_two_pools(worker)
    file.write_text(worker.http.get(f"/searches/{search}/report").text)
    watched.page.goto(file.as_uri())
    expect(watched.page.locator("#report-machines .span").first).to_be_attached()
    watched.page.locator("#report-fitness .downloads summary").click()
    assert faults(watched.page) == []


def searched_on_two_pools(worker):
    """Runs trials that complete, are pruned and fail on two pools; returns the search's id."""
    search = worker.create_search(pools=["cpu", "fast"], step_time_slack=None)
    for index in range(20):
        who = {"worker_id": f"w-{index % 2}", "pool": ("cpu", "fast")[index % 2]}
        [lease] = worker.http.post("/leases/claim", json=who).json()["leases"]
        if index == 12:
            worker.report(lease, {"outcome": "diverged", "message": "NaN", "traceback": "line 1"})
        elif index == 13:
            worker.report(lease, {"outcome": "pruned", "message": "hurdle", "measurements": {}})
        else:
            worker.finish(lease, loss=2 - index / 100, step_time_ms=20 - index % 3)
    return search


@pytest.mark.usefixtures("scheme")
@pytest.mark.parametrize("tab", TABS)
def test_search_with_each_tab(watched, site, worker, feed, tab):
    lease = worker.claim()
    worker.report(lease, {"outcome": "diverged", "message": "loss is NaN", "traceback": "line 1"})
    page = open_search(watched, site, feed.search, tab=tab)
    expect(page.locator("#best-figure")).to_be_visible()
    expect(page.locator("#tab-panel .state-loading")).to_have_count(0)
    assert faults(page) == []


@pytest.mark.usefixtures("scheme")
def test_drawer_pins_comparison_and_questions(watched, site, feed):
    pins = f"{feed.best},{feed.worst}"
    page = open_search(watched, site, feed.search, trial=feed.best, pins=pins)
    expect(page.locator("#drawer .comparison")).to_be_visible()
    assert faults(page) == []
    page.locator("#compare-open").click()
    expect(page.locator("dialog.compare table")).to_be_visible()
    assert faults(page) == []
    page.locator("dialog.compare").get_by_label("Close the comparison").click()
    page.locator("#drawer").get_by_label("Close the trial").click()
    page.locator(".action-stop").click()
    expect(page.locator("dialog.ask")).to_be_visible()
    assert faults(page) == []
    page.locator("dialog.ask").get_by_role("button", name="Keep it running").click()
    page.get_by_role("button", name="Limits").click()
    page.locator("#limit-trials").fill("")
    page.get_by_role("button", name="Change limits").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).not_to_be_empty()
    assert faults(page) == []


@pytest.mark.usefixtures("scheme")
def test_promotion_with_faults_and_repeats(watched, site, worker, feed):
    worker.http.post(f"/searches/{feed.search}/trials/{feed.best}/repeats")
    worker.finish_next([1.9], kind="repeat")
    page = open_search(watched, site, feed.search, trial=feed.best)
    expect(page.locator("#drawer-repeats")).to_be_visible()
    page.locator("#drawer").get_by_role("button", name="Run again").click()
    expect(page.locator("#drawer-outcome")).not_to_be_empty()
    assert faults(page) == []
    page.locator("#drawer").get_by_role("button", name="Promote").click()
    page.locator("dialog.promotion summary").click()
    page.get_by_role("button", name="Start the promotion").click()
    expect(page.locator("#promote-budget_seconds")).to_have_attribute("aria-invalid", "true")
    assert faults(page) == []
