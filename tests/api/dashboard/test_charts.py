"""The charts and the tabs: brushing, keyboard, downloads, what each tab tells."""

from __future__ import annotations

import csv
import json
import re

import pytest
from playwright.sync_api import expect

from tests.api.dashboard.pages import open_search, place_of, wait_for_plot
from tests.api.dashboard.site import until


@pytest.fixture
def long_search(worker):
    """Forty candidates, of which some failed."""
    search = worker.create_search(limits={"trials": 60})
    worker.measure_baseline()
    for index in range(40):
        lease = worker.claim()
        if index % 10 == 9:
            message = f"out of memory: {index} GiB"
            worker.report(lease, {"outcome": "out_of_memory", "message": message})
        else:
            worker.finish(lease, loss=2.1 - index / 200, step_time_ms=15 + index % 7)
    return search


def shown(watched):
    plotted = watched.plotted()
    return sorted({number for numbers in plotted.values() for number in numbers})


def test_a_drag_narrows_charts_table_and_tabs_and_a_double_click_widens(watched, site, long_search):
    page = open_search(watched, site, long_search)
    until(lambda: len(shown(watched)) == 42, "all are drawn")
    left, _ = place_of(watched, 10)
    right, _ = place_of(watched, 20)
    area = page.locator("#chart-fitness .chart-area").bounding_box()
    top = area["y"] + 60
    page.mouse.move(left - 4, top)
    page.mouse.down()
    page.mouse.move(right + 4, top, steps=5)
    page.mouse.up()
    until(lambda: shown(watched) == list(range(10, 21)), "the stretch is drawn")
    expect(page.locator("#table-count")).to_have_text("11 trials")
    expect(page.locator(".navigator-says")).to_have_text("trials 10 to 20 of 42")
    assert re.search(r"from=10&to=20", page.url)
    page.get_by_role("tab", name="Failures").click()
    expect(page.locator(".failure-count")).to_have_text("1")
    page.reload()
    until(lambda: shown(watched) == list(range(10, 21)), "the address keeps the stretch")
    page.mouse.move(*place_of(watched, 15))
    page.locator("#chart-fitness .chart-area").dblclick(position={"x": 300, "y": 40})
    until(lambda: len(shown(watched)) == 42, "all are drawn again")
    assert "from=" not in page.url


def test_stretch_moves_by_keyboard_and_stays_while_trials_arrive(
    watched, site, worker, long_search
):
    page = open_search(watched, site, long_search, **{"from": 10, "to": 19})
    until(lambda: shown(watched) == list(range(10, 20)), "the stretch is drawn")
    page.locator(".navigator-window").focus()
    page.keyboard.press("ArrowRight")
    until(lambda: shown(watched) == list(range(11, 21)), "one step on")
    worker.finish_candidates([1.5])
    expect(page.locator("#search-progress")).to_have_text("41 of 60 candidates")
    assert shown(watched) == list(range(11, 21))
    page.keyboard.press("Escape")
    until(lambda: len(shown(watched)) == 43, "all are drawn")


def test_chart_is_walked_opened_and_zoomed_by_keyboard(watched, site, long_search):
    page = open_search(watched, site, long_search)
    until(lambda: len(shown(watched)) == 42, "all are drawn")
    area = page.locator("#chart-fitness .chart-area")
    area.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    told = area.locator("[role=status]").inner_text()
    number = re.search(r"#(\d+)", told)[1]
    page.keyboard.press("Enter")
    expect(page.locator("#drawer-title")).to_contain_text(f"#{number}")
    page.keyboard.press("Escape")
    area.focus()
    page.keyboard.press("+")
    until(lambda: len(shown(watched)) < 42, "it zoomed in")
    page.keyboard.press("0")
    until(lambda: len(shown(watched)) == 42, "it shows all again")


def test_legend_hides_a_series_and_the_address_keeps_it(watched, site, feed):
    page = open_search(watched, site, feed.search)
    wait_for_plot(watched, "baseline", feed.baseline)
    page.locator("[data-series='baseline']").click()
    expect(page.locator("[data-series='baseline']")).to_have_attribute("aria-pressed", "false")
    assert "hide=baseline" in page.url
    until(lambda: "baseline" not in watched.plotted(), "the series is hidden")
    assert "population" in watched.plotted()


def test_axes_change_and_x_ends_where_the_trials_do(watched, site, long_search):
    page = open_search(watched, site, long_search)
    until(lambda: len(shown(watched)) == 42, "all are drawn")
    area = page.locator("#chart-fitness .chart-area")
    last = page.evaluate(
        """() => {
             const area = document.querySelector("#chart-fitness .chart-area");
             return Math.max(...area.marks().map((mark) => mark.x)) / area.clientWidth;
           }"""
    )
    assert last > 0.95, "40 of 60 trials fill the width"
    page.locator("[data-switch='x:time']").click()
    expect(area.locator("text.axis-label", has_text="time of completion")).to_be_visible()
    page.locator("[data-switch='y:log']").click()
    assert "x=time" in page.url
    assert "y=log" in page.url
    assert len(shown(watched)) == 42


def test_a_stretch_that_moves_shows_its_own_trials_within_the_plot(watched, site, long_search):
    page = open_search(watched, site, long_search, **{"from": 5, "to": 15})
    until(lambda: shown(watched) == list(range(5, 16)), "the stretch is drawn")
    strip = page.locator(".navigator-strip")
    strip.scroll_into_view_if_needed()
    box = strip.bounding_box()
    window = page.locator(".navigator-window").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(window["x"] + window["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, y, steps=6)
    until(lambda: min(shown(watched)) > 10, "the chart follows the hand")
    moving = page.evaluate(
        """() => {
             const area = document.querySelector("#chart-fitness .chart-area");
             const right = area.clientWidth;
             return area.marks().every((mark) => mark.x > 50 && mark.x < right);
           }"""
    )
    assert moving
    assert len(shown(watched)) == 11
    expect(page).to_have_url(re.compile("from=5&"))  # it has not been let go
    page.mouse.up()
    expect(page).not_to_have_url(re.compile("from=5&"))


@pytest.mark.parametrize("kind", ["SVG", "PNG", "CSV", "JSON"])
def test_every_chart_is_downloaded_whole(watched, site, long_search, kind):
    page = open_search(watched, site, long_search)
    until(lambda: len(shown(watched)) == 42, "all are drawn")
    page.locator("#chart-fitness .downloads summary").click()
    with page.expect_download() as told:
        page.locator("#chart-fitness .downloads").get_by_role("button", name=kind).click()
    path = told.value.path()
    assert told.value.suggested_filename == f"fitness.{kind.lower()}"
    if kind == "SVG":
        text = path.read_text()
        assert "Fitness of every trial" in text
        assert "var(--" not in text
        assert "light-dark(" not in text
        assert "class=" not in text
    elif kind == "PNG":
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG")
        assert int.from_bytes(data[16:20]) > 800
    elif kind == "CSV":
        rows = list(csv.DictReader(path.read_text().splitlines()))
        assert len(rows) == 42
        assert {row["pool"] for row in rows} == {"cpu"}
    else:
        assert [row["number"] for row in json.loads(path.read_text())] == list(range(42))


def test_table_sorts_filters_and_walks_by_keyboard(watched, site, feed):
    page = open_search(watched, site, feed.search)
    rows = page.locator(".grid-body .grid-row[data-number] a")
    expect(rows).to_have_count(7)
    page.get_by_role("button", name="Fitness", exact=True).click()
    expect(rows.first).to_have_text(f"#{feed.best}")
    header = page.locator("[role=columnheader]", has_text="Fitness")
    expect(header).to_have_attribute("aria-sort", "descending")
    page.get_by_role("button", name=re.compile("^Fitness")).click()
    expect(rows.first).to_have_text(f"#{feed.worst}")
    assert "sort=fitness" in page.url
    page.locator("#table-filter").fill("baseline")
    expect(rows).to_have_count(2)
    page.locator("#table-filter").fill(f"#{feed.worst}")
    expect(rows).to_have_count(1)
    page.locator("#table-filter").fill("no such thing")
    expect(page.locator(".grid-body")).to_contain_text("No trial matches")
    page.locator("#table-filter").fill("")
    expect(rows).to_have_count(7)
    rows.first.focus()
    page.keyboard.press("ArrowDown")
    expect(rows.nth(1)).to_be_focused()
    page.keyboard.press("End")
    expect(rows.last).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".grid-row[aria-selected='true'] a")).to_have_text(rows.last.inner_text())


def test_focus_in_the_table_outlives_new_trials(watched, site, worker, feed):
    page = open_search(watched, site, feed.search)
    link = page.locator(f".grid-row[data-number='{feed.best}'] a")
    link.focus()
    worker.finish_candidates([1.99])
    expect(page.locator("#table-count")).to_have_text("8 trials")
    expect(link).to_be_focused()


def test_tabs_tell_of_population_lineage_gains_failures_and_machines(watched, site, long_search):
    page = open_search(watched, site, long_search)
    panel = page.locator("#tab-panel")
    page.get_by_role("tab", name="Population").click()
    expect(panel.locator("figure")).not_to_have_count(0)
    expect(panel).to_contain_text("Sub-layers by kind")
    page.get_by_role("tab", name="Lineage").click()
    expect(panel.locator(".lineage-best")).to_be_attached()
    page.get_by_role("tab", name="What helps").click()
    expect(panel).to_contain_text("By kind of mutation")
    expect(panel.locator(".interval-mean")).not_to_have_count(0)
    page.get_by_role("tab", name="Failures").click()
    expect(panel.locator(".failure")).to_have_count(1)
    expect(panel.locator(".failure-count")).to_have_text("4")
    page.get_by_role("tab", name="Machines").click()
    expect(panel.locator(".span-done")).to_be_attached()
    expect(panel).to_contain_text("scripted-1")
    page.get_by_role("tab", name="Fidelity and promotion").click()
    expect(panel).to_contain_text("No certificate yet")
    expect(panel).to_contain_text(f"brainformer promote {long_search}")
    page.get_by_role("tab", name="Fidelity and promotion").press("ArrowRight")
    expect(page.get_by_role("tab", name="Failures")).to_have_attribute("aria-selected", "true")


@pytest.mark.parametrize("then", ["another tab", "another stretch"])
def test_an_answer_that_comes_late_is_not_shown(watched, site, long_search, then):
    held = []
    page = open_search(watched, site, long_search)
    panel = page.locator("#tab-panel")
    expect(page.locator("#table-count")).to_have_text("42 trials")
    page.route(re.compile("/charts/gains"), lambda route: held.append(route), times=1)
    page.get_by_role("tab", name="What helps").click()
    watched.until(lambda: held, "the gains are asked for")
    if then == "another tab":
        page.get_by_role("tab", name="Machines").click()
        expect(panel).to_contain_text("scripted-1")
    else:
        page.locator(".navigator-window").focus()
        page.keyboard.press("+")
        expect(panel).to_contain_text("Highest")
    before = panel.inner_text()
    with page.expect_response(re.compile("/charts/gains")):
        held[0].continue_()
    page.wait_for_timeout(300)
    assert panel.inner_text() == before


def test_subtree_of_a_trial_is_shown_alone(watched, site, worker, long_search):
    trials = worker.trials(long_search)
    parents = [one["parent_number"] for one in trials.values() if one["parent_number"]]
    page = open_search(watched, site, long_search, tab="lineage", trial=parents[0])
    page.get_by_role("button", name=f"Only the descendants of #{parents[0]}").click()
    expect(page.locator("#tab-panel")).to_contain_text(f"Descendants of #{parents[0]}")
    assert f"root={parents[0]}" in page.url


def test_after_the_first_reading_only_differences_are_read(watched, site, worker, feed):
    page = open_search(watched, site, feed.search)
    expect(page.locator("#table-count")).to_have_text("7 trials")
    seen = max(t["seq"] for t in worker.trials(feed.search).values())
    expect(page.locator("#search-connection")).to_have_text("live")
    watched.requests.clear()
    worker.finish_candidates([1.99])
    expect(page.locator("#table-count")).to_have_text("8 trials")
    asked = [url for url in watched.requests if "/charts/overview" in url]
    assert asked
    for url in asked:
        assert int(re.search(r"after_seq=(\d+)", url)[1]) >= seen
