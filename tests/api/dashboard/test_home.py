"""The front page: searches, machines, and a new search from a spec."""

from __future__ import annotations

import re

import httpx2
import pytest
from playwright.sync_api import expect

from tests.api.dashboard.pages import open_page
from tests.repository import REPOSITORY

PRESETS = REPOSITORY / "api" / "dashboard" / "page" / "home" / "presets.js"


def test_empty_controller_says_what_to_do_next(watched, site):
    page = open_page(watched, site)
    expect(page.get_by_role("heading", name="No search yet")).to_be_visible()
    expect(page.locator("#view-nothing")).to_contain_text(f"--url {site.url}")
    expect(page.locator("#home-machines")).to_contain_text("No worker has connected yet")


def test_searches_are_listed_with_stage_progress_course_and_pools(watched, site, worker, feed):
    worker.create_search(name="x" * 64)
    page = open_page(watched, site)
    row = page.locator("#home-searches tbody tr", has_text="laptop")
    expect(row).to_contain_text("running")
    expect(row).to_contain_text("5 / 40")
    expect(row).to_contain_text("not confirmed")
    expect(row).to_contain_text("cpu")
    expect(row.locator(".sparkline path")).to_be_attached()
    expect(page.locator("#home-machines tbody tr")).to_contain_text("cpu")
    link = page.locator(".search-link", has_text="xxxx")
    expect(link).to_have_attribute("title", "x" * 64)
    row.locator("a").click()
    expect(page.locator("#search-name")).to_have_text("laptop")
    page.go_back()
    expect(page.locator("#home-searches tbody tr")).to_have_count(2)


def test_new_search_is_checked_while_typing_and_leads_to_its_page(watched, site, worker):
    page = open_page(watched, site)
    page.locator("#new-search").click()
    expect(page.locator("#spec-faults")).to_contain_text("can run this")
    field = page.locator("#spec-text")
    good = field.input_value()
    field.fill(good.replace("population_size: 16", "population_size: one"))
    expect(page.locator("#spec-faults")).to_contain_text("/population_size")
    expect(page.locator("#spec-create")).to_be_disabled()
    page.get_by_role("button", name=re.compile("Go to line")).click()
    chosen = page.evaluate(
        """() => {
             const { value, selectionStart, selectionEnd } = document.querySelector("#spec-text");
             return value.slice(selectionStart, selectionEnd);
           }"""
    )
    assert chosen == "population_size: one"
    field.fill(good.replace("name: laptop", "name: from-the-page"))
    page.locator("#spec-create").click()
    expect(page.locator("#search-name")).to_have_text("from-the-page")
    [made] = worker.http.get("/searches").json()["items"]
    assert made["name"] == "from-the-page"


@pytest.mark.parametrize("text", re.findall(r"`([^`]+)`", PRESETS.read_text()))
def test_every_preset_is_one_that_the_controller_can_run(site, text):
    answer = httpx2.post(
        f"{site.url}/api/v1/specs/check",
        content=text,
        headers={"Content-Type": "application/yaml"},
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    assert httpx2.get(f"{site.url}/api/v1/searches", trust_env=False).json()["items"] == []


def test_a_note_is_kept_and_an_archived_search_is_put_away(watched, site, worker, feed):
    worker.create_search(name="another")
    worker.http.post(f"/searches/{feed.search}/cancel")
    page = open_page(watched, site)
    page.get_by_role("button", name="Add a note to laptop").click()
    page.locator("#note-text").fill("<b>learning rate too low</b>")
    page.get_by_role("button", name="Save the note").click()
    row = page.locator("#home-searches tbody tr", has_text="laptop")
    expect(row.locator(".note")).to_have_text("<b>learning rate too low</b>")
    [kept] = worker.http.get("/notes").json()["items"]
    assert kept["search_id"] == feed.search
    expect(page.get_by_role("button", name="Archive another")).to_have_count(0)
    page.get_by_role("button", name="Archive laptop").click()
    expect(page.locator("#home-searches tbody tr")).to_have_count(1)
    page.locator("#show-archived").click()
    expect(row).to_be_visible()
    page.get_by_role("button", name="Bring back laptop").click()
    expect(page.locator("#show-archived")).to_be_hidden()
    worker.http.delete(f"/searches/{feed.search}")
    assert worker.http.get("/notes").json()["items"] == []
