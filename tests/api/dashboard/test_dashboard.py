"""The dashboard as a reader sees it: a real controller, a real Chromium, no stand-ins."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.api.dashboard.pages import open_page, wait_for_plot
from tests.api.dashboard.site import (
    ScriptedWorker,
    until,
)


def test_empty_controller_says_what_to_do_next(watched, site):
    page = open_page(watched, site)
    expect(page.get_by_role("heading", name="No search yet")).to_be_visible()
    expect(page.locator("#view-nothing")).to_contain_text("brainformer search create -f")


def test_trials_appear_as_they_finish_without_a_reload(watched, site, worker):
    worker.create_search()
    page = open_page(watched, site)
    expect(page.locator("#search-name")).to_have_text("laptop")
    expect(page.locator("#view-waiting")).to_contain_text("brainformer worker")
    worker.measure_baseline()
    expect(page.locator("#view-waiting")).to_be_hidden()
    expect(page.locator("#search-figures")).to_contain_text("2.005")
    done = worker.finish_candidates([2.1, 1.8])
    expect(page.locator("#search-figures")).to_contain_text("2 / 40")
    expect(page.locator("#panel-fitness")).to_have_text("+0.205")
    wait_for_plot(watched, "population", done)
    lease = worker.claim()
    wait_for_plot(watched, "running", [lease["trial_number"]])


def test_a_trial_that_was_preempted_and_runs_again_is_shown_as_running(watched, site, worker, feed):
    lease = worker.claim()
    worker.report(lease, {"outcome": "preempted"})
    again = worker.claim()
    assert again["trial_number"] == lease["trial_number"]
    page = open_page(watched, site)
    row = page.locator(f"#table-body tr[data-number='{lease['trial_number']}']")
    expect(row.locator(".column-status")).to_have_text("running")


def test_members_that_age_out_change_their_look_in_the_plot(watched, site, worker, feed):
    page = open_page(watched, site, f"?search={feed.search}&trial={feed.candidates[0]}")
    wait_for_plot(watched, "population", feed.candidates)
    expect(page.locator("#panel-summary")).to_contain_text("in the population")
    worker.finish_candidates([2.0, 2.0, 2.0])
    trials = worker.trials(feed.search).values()
    finished = [t for t in trials if t["kind"] == "candidate"]
    inside = sorted(t["number"] for t in finished if t["in_population"])
    outside = sorted(t["number"] for t in finished if not t["in_population"])
    assert len(inside) == 6
    assert len(outside) == 2
    wait_for_plot(watched, "population", inside)
    wait_for_plot(watched, "aged", outside)
    expect(page.locator("#panel-summary")).not_to_contain_text("in the population")


def test_zoom_selection_and_focus_outlive_new_trials(watched, site, worker, feed):
    page = open_page(watched, site)
    wait_for_plot(watched, "baseline", feed.baseline)
    chosen = feed.candidates[1]
    row = page.locator(f"#table-body tr[data-number='{chosen}']")
    row.click()
    expect(page.locator("#panel-title")).to_have_text(f"Trial #{chosen}")
    area = page.locator("#view-plot .nsewdrag").first.bounding_box()
    page.mouse.move(area["x"] + 20, area["y"] + 20)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] / 2, area["y"] + 200, steps=4)
    page.mouse.up()
    row.locator("a").focus()
    zoomed = watched.plot_range()
    worker.finish_candidates([1.99])
    expect(page.locator("#search-figures")).to_contain_text("6 / 40")
    expect(page.locator("#table-body tr")).to_have_count(8)
    assert watched.plot_range() == zoomed
    assert zoomed[1] < 30, "the drag zoomed"
    expect(page.locator("#panel-title")).to_have_text(f"Trial #{chosen}")
    expect(row.locator("a")).to_be_focused()


def test_click_on_a_point_opens_its_trial_and_the_address_brings_it_back(
    watched, site, worker, feed
):
    page = open_page(watched, site)
    wait_for_plot(watched, "baseline", feed.baseline)
    number = feed.candidates[3]
    x, y = page.evaluate(POINT, number)
    page.mouse.move(x, y)
    expect(page.locator(".plot-tip")).to_contain_text(f"#{number}")
    page.mouse.click(x, y)
    expect(page.locator("#panel-title")).to_have_text(f"Trial #{number}")
    assert f"trial={number}" in page.url
    page.reload()
    expect(page.locator("#panel-title")).to_have_text(f"Trial #{number}")
    page.keyboard.press("Escape")
    expect(page.locator("#panel-title")).to_have_text(f"Best: trial #{feed.best}")
    page.go_back()
    expect(page.locator("#panel-title")).to_have_text(f"Trial #{number}")


# Where the point of a trial lies in the window.
POINT = """(number) => {
  const box = document.querySelector("#view-plot");
  const { xaxis, yaxis } = box._fullLayout;
  const point = box.points.flatMap((group) => group.points).find((p) => p.row.number === number);
  const area = box.getBoundingClientRect();
  return [area.left + xaxis._offset + xaxis.l2p(point.x),
          area.top + yaxis._offset + yaxis.l2p(point.y)];
}"""


def test_table_sorts_filters_and_walks_by_keyboard(watched, site, feed):
    page = open_page(watched, site)
    rows = page.locator("#table-body tr th a")
    expect(rows).to_have_count(7)
    page.get_by_role("button", name="Fitness", exact=True).click()
    expect(rows.first).to_have_text(f"#{feed.best}")
    expect(page.locator("th.column-fitness")).to_have_attribute("aria-sort", "descending")
    page.get_by_role("button", name=re.compile("^Fitness")).click()
    expect(rows.first).to_have_text(f"#{feed.worst}")
    assert "sort=fitness" in page.url
    page.locator("#table-status").select_option("baseline")
    expect(rows).to_have_count(2)
    page.locator("#table-status").select_option("")
    page.locator("#table-filter").fill(f"#{feed.worst}")
    expect(rows).to_have_count(1)
    page.locator("#table-filter").fill("no such thing")
    expect(page.locator("#table-body")).to_contain_text("No trial matches")
    page.locator("#table-filter").fill("")
    expect(rows).to_have_count(7)
    rows.first.focus()
    page.keyboard.press("ArrowDown")
    expect(rows.nth(1)).to_be_focused()
    page.keyboard.press("End")
    expect(rows.last).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#table-body tr[aria-selected='true'] a")).to_have_text(
        rows.last.inner_text()
    )


def test_legend_hides_a_series_and_the_address_keeps_it(watched, site, feed):
    page = open_page(watched, site)
    button = page.locator("[data-series='baseline']")
    button.click()
    expect(page.locator("[data-series='baseline']")).to_have_attribute("aria-pressed", "false")
    assert "hide=baseline" in page.url
    until(lambda: "baseline" not in watched.plotted(), "the series is hidden")
    assert "population" in watched.plotted()


def test_buttons_change_the_search_and_cancel_asks_first(watched, site, worker, feed):
    page = open_page(watched, site)
    status = page.locator("#search-status")
    page.get_by_role("button", name="Pause").click()
    expect(status).to_have_text("paused")
    page.get_by_role("button", name="Resume").click()
    expect(status).to_have_text("running")
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(status).to_have_text("running")
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel the search").click()
    expect(status).to_have_text("cancelled")
    expect(page.locator("#search-actions button")).to_have_count(0)
    assert worker.http.get(f"/searches/{feed.search}").json()["status"] == "cancelled"


def test_search_that_the_command_line_stops_shows_it_at_once(watched, site, worker, feed):
    page = open_page(watched, site)
    expect(page.locator("#search-status")).to_have_text("running")
    worker.http.post(f"/searches/{feed.search}/stop")
    expect(page.locator("#search-status")).to_have_text("stopped")


def test_lost_connection_is_said_and_what_was_missed_is_caught_up(watched, site, worker, feed):
    page = open_page(watched, site)
    expect(page.locator("#view-connection")).to_have_text("live")
    expect(page.locator("#table-body tr")).to_have_count(7)
    site.stop()
    expect(page.locator("#notice-text")).to_contain_text("Stale", timeout=15_000)
    expect(page.locator("#view-connection")).to_have_text("stale")
    expect(page.locator("#table-body tr")).to_have_count(7)
    watched.requests.clear()
    page.get_by_role("button", name="Try now").click()  # nothing is there to answer it yet
    until(lambda: bool(watched.requests), "the page tries")
    expect(page.locator("#view-connection")).to_have_text("stale")
    site.start()
    [newest] = ScriptedWorker(site).finish_candidates([1.7])
    expect(page.locator("#view-connection")).to_have_text("live", timeout=40_000)
    expect(page.locator("#notice-bar")).to_be_hidden()
    expect(page.locator("#panel-title")).to_have_text(f"Best: trial #{newest}")


def test_after_the_first_reading_only_differences_are_read(watched, site, worker, feed):
    page = open_page(watched, site)
    expect(page.locator("#table-body tr")).to_have_count(7)
    seen = max(t["seq"] for t in worker.trials(feed.search).values())
    until(lambda: page.locator("#view-connection").inner_text() == "live", "the stream is open")
    watched.requests.clear()
    worker.finish_candidates([1.99])
    expect(page.locator("#table-body tr")).to_have_count(8)
    lists = [url for url in watched.requests if "/trials?" in url]
    assert lists
    for url in lists:
        assert int(re.search(r"after_seq=(\d+)", url)[1]) >= seen


def test_page_asks_for_a_token_once_the_controller_has_some(watched, site, worker):
    worker.create_search()
    made = worker.http.post("/tokens", json={"name": "reader", "scopes": ["read", "write"]})
    secret = made.json()["secret"]
    page = open_page(watched, site)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Access token")
    page.locator("#token-field").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#token-message")).to_contain_text("unknown, expired or revoked")
    page.locator("#token-field").fill(secret)
    page.keyboard.press("Enter")
    expect(page.locator("#search-name")).to_have_text("laptop")
    expect(page.locator("#view-connection")).to_have_text("live")
    assert page.evaluate("() => document.cookie") == "", "scripts cannot read the cookie"
    page.reload()
    expect(page.locator("#search-name")).to_have_text("laptop")


def test_nothing_is_fetched_from_elsewhere(watched, site, feed):
    open_page(watched, site)
    wait_for_plot(watched, "baseline", feed.baseline)
    assert {url.split("/")[2] for url in watched.requests} == {f"127.0.0.1:{site.port}"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_page_fits_and_themes_differ(watched, site, feed, scheme):
    page = watched.page
    page.set_viewport_size({"width": 400, "height": 800})
    page.emulate_media(color_scheme=scheme)
    open_page(watched, site)
    wait_for_plot(watched, "baseline", feed.baseline)
    overflow = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) <= 0
    paper = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    lightness = sum(map(int, re.findall(r"\d+", paper)[:3])) / 3
    assert (lightness < 60) == (scheme == "dark")


def test_theme_button_overrides_the_system_and_is_remembered(watched, site):
    page = open_page(watched, site)
    page.locator("#theme").click()
    page.locator("#theme").click()
    expect(page.locator("#theme")).to_have_accessible_name("Colour theme: Dark")
    page.reload()
    assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"


def test_every_control_has_a_name_and_every_text_enough_contrast(watched, site, feed):
    page = open_page(watched, site)
    wait_for_plot(watched, "baseline", feed.baseline)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, a, select, input")]
             .filter((node) => node.offsetParent !== null)
             .filter((node) => !(node.textContent.trim() || node.ariaLabel || node.labels?.length))
             .map((node) => node.outerHTML)"""
    )
    assert nameless == []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert page.evaluate(POOR_CONTRAST) == [], scheme


# Text whose contrast with the nearest opaque background is under 4.5 (WCAG 2.2, AA).
POOR_CONTRAST = """() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = rgb(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const node of document.querySelectorAll("main *, aside *")) {
    const own = [...node.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (!own || node.closest("svg, [aria-hidden], :disabled")) continue;
    if (node.offsetParent === null) continue;
    const [a, b] = [light(rgb(getComputedStyle(node).color)), light(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${node.textContent.trim().slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return poor;
}"""
