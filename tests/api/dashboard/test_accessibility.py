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
