"""A trial in its drawer, pinned beside others, and how blocks are drawn."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect

from brainformer.api.dashboard.files import assets_label
from brainformer.search.space.genome import LAYER_KINDS
from brainformer.search.trials.trial import TrialStatus
from tests.api.dashboard.pages import open_page, open_search, place_of, wait_for_plot
from tests.api.dashboard.site import until


def test_drawer_tells_what_a_trial_is_made_of_and_where_it_comes_from(watched, site, worker, feed):
    worker.finish_candidates([2.05, 1.75])  # the first six, a population, are drawn at random
    trials = worker.trials(feed.search)
    child = next(t for t in trials.values() if t["parent_number"] is not None)
    page = open_search(watched, site, feed.search, trial=child["number"])
    boxes = page.locator("#drawer .block-diagram .layer")
    expect(boxes).to_have_count(len(child["genome"]["layers"]))
    expect(page.locator("#drawer .comparison")).to_contain_text("2.0050")
    expect(page.locator("#drawer-origin")).to_contain_text(child["mutation"])
    changes = worker.http.get(f"/searches/{feed.search}/trials/{child['number']}").json()["changes"]
    expect(page.locator("#drawer .changes li")).to_have_count(len(changes))
    expect(page.locator("#drawer .ancestry a").first).to_have_text(f"#{child['parent_number']}")
    expect(page.locator("#drawer .costs tbody tr")).to_have_count(len(child["genome"]["layers"]))
    expect(page.locator("#drawer .curve-own").first).to_be_attached()
    expect(page.locator("#drawer .curve-rival").first).to_be_attached()
    expect(page.locator("#drawer .curve-faint").first).to_be_attached()
    expect(page.locator("#drawer .measurements")).to_contain_text("Training time")
    expect(page.locator("#drawer .attempts")).to_contain_text("Attempt 1 on scripted-1")
    page.locator("#drawer .ancestry a").first.click()
    expect(page.locator("#drawer-title")).to_contain_text(f"#{child['parent_number']}")


class Held:
    """Requests for single trials, which the controller does not see until they are let go."""

    def __init__(self, page):
        self.routes = []
        self.is_over = False
        page.route(
            re.compile(r"/trials/\d+|/charts/(ancestors|costs)/\d+|/charts/curves"), self.hold
        )

    def hold(self, route):
        if self.is_over:
            route.continue_()
        else:
            self.routes.append(route)

    def asked(self):
        return {re.search(r"(\w+)/\d+$", route.request.url)[1] for route in self.routes}

    def let_go(self):
        self.is_over = True
        for route in self.routes:
            route.continue_()


@pytest.fixture
def held(watched):
    return Held(watched.page)


def test_a_row_opens_the_drawer_with_what_is_known_and_the_rest_follows(
    watched, site, worker, feed, held
):
    page = open_search(watched, site, feed.search)
    genome = worker.trials(feed.search)[feed.worst]["genome"]
    page.locator(f".grid-row[data-number='{feed.worst}']").click()
    expect(page.locator("#drawer-title")).to_have_text(f"Trial #{feed.worst}")
    expect(page.locator("#drawer-fitness")).to_contain_text("in one run")
    expect(page.locator("#drawer .block-diagram .layer")).to_have_count(len(genome["layers"]))
    expect(page.locator("#drawer .comparison")).to_contain_text("2.2000")
    for part in ("costs", "measured", "attempts"):
        expect(page.locator(f"#drawer [data-part={part}]")).to_contain_text("Loading")
    expect(page.locator("#drawer [data-part=curve]")).not_to_contain_text("no curve")
    watched.until(
        lambda: held.asked() == {"trials", "ancestors", "costs"}, "none waits for another"
    )
    held.let_go()
    expect(page.locator("#drawer .attempts")).to_contain_text("Attempt 1 on scripted-1")
    expect(page.locator("#drawer .curve-own").first).to_be_attached()
    expect(page.locator("#drawer .costs tbody tr")).to_have_count(len(genome["layers"]))
    expect(page.locator("#drawer")).not_to_contain_text("Loading")


def test_a_mark_opens_the_drawer_with_its_fitness_before_its_block_is_read(
    watched, site, feed, held
):
    page = open_search(watched, site, feed.search, q="baseline")  # the table knows no candidate
    expect(page.locator("#table-count")).to_have_text("2 trials")
    wait_for_plot(watched, "baseline", feed.baseline)
    page.mouse.click(*place_of(watched, feed.worst))
    expect(page.locator("#drawer-title")).to_have_text(f"Trial #{feed.worst}")
    expect(page.locator("#drawer-fitness")).to_contain_text("in one run")
    expect(page.locator("#drawer .comparison")).to_contain_text("2.2000")
    expect(page.locator("#drawer [data-part=block]")).to_contain_text("Loading")
    expect(page.locator("#drawer .drawer-buttons button")).to_have_count(0)
    held.let_go()
    expect(page.locator("#drawer .block-diagram")).to_be_visible()
    expect(page.locator("#drawer .drawer-buttons button")).not_to_have_count(0)


def test_a_choice_draws_neither_charts_nor_rows_anew_and_rings_the_mark(watched, site, feed):
    page = open_search(watched, site, feed.search)
    wait_for_plot(watched, "baseline", feed.baseline)
    expect(page.locator("#best-figure")).to_be_visible()
    expect(page.locator("#chart-step .cloud")).to_be_attached()
    row = page.locator(f".grid-row[data-number='{feed.worst}']")
    row.click()
    ring = page.locator("#chart-fitness .selected")
    expect(ring).to_have_count(1)
    first = ring.get_attribute("cx")
    kept = "#chart-fitness .points, #chart-step .cloud, .grid-row"
    page.evaluate(f"""() => document.querySelectorAll("{kept}").forEach((one) => one.kept = 1)""")
    page.locator(f".grid-row[data-number='{feed.best}']").click()
    expect(row).to_have_attribute("aria-selected", "false")
    selected = page.locator(".grid-row[aria-selected='true'] a")
    expect(selected).to_have_text(f"#{feed.best}")
    until(lambda: ring.get_attribute("cx") != first, "the ring has moved")
    expect(page.locator("#chart-step .selected")).to_have_count(1)
    expect(page.locator("#drawer .attempts")).to_contain_text("Attempt 1")
    fresh = f"""() => [...document.querySelectorAll("{kept}")].filter((one) => !one.kept).length"""
    assert page.evaluate(fresh) == 0


def test_click_on_a_point_opens_its_trial_and_the_address_brings_it_back(
    watched, site, worker, feed
):
    page = open_search(watched, site, feed.search)
    wait_for_plot(watched, "baseline", feed.baseline)
    number = feed.candidates[3]
    x, y = place_of(watched, number)
    page.mouse.move(x, y)
    expect(page.locator("#chart-fitness .chart-tip")).to_contain_text(f"#{number}")
    page.mouse.click(x, y)
    expect(page.locator("#drawer-title")).to_have_text(f"Trial #{number}")
    assert f"trial={number}" in page.url
    page.reload()
    expect(page.locator("#drawer-title")).to_have_text(f"Trial #{number}")
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
    page.go_back()
    expect(page.locator("#drawer-title")).to_have_text(f"Trial #{number}")


def test_every_attempt_is_told_with_its_traceback(watched, site, worker, feed):
    lease = worker.claim()
    told = {"outcome": "error", "message": "shape mismatch", "traceback": "Traceback: line 7"}
    worker.report(lease, told)
    worker.finish(worker.claim(), loss=1.95)
    page = open_search(watched, site, feed.search, trial=lease["trial_number"])
    attempts = page.locator("#drawer .attempts > li")
    expect(attempts).to_have_count(2)
    expect(attempts.first).to_contain_text("error")
    expect(attempts.first.locator("pre")).to_be_hidden()
    attempts.first.locator("summary").click()
    expect(attempts.first.locator("pre")).to_have_text("Traceback: line 7")


def test_unknown_trial_is_said_and_leads_back(watched, site, feed):
    page = open_search(watched, site, feed.search, trial=9999)
    expect(page.locator("#drawer")).to_contain_text("This search has no trial #9999")
    page.get_by_role("link", name="Back to the search").click()
    expect(page.locator("#drawer")).to_be_hidden()


def test_pinned_trials_are_compared_side_by_side_and_stay_in_the_address(watched, site, feed):
    page = open_search(watched, site, feed.search)
    for number in (feed.best, feed.worst):
        page.locator(f".grid-row[data-number='{number}']").click()
        page.locator("#drawer").get_by_role("button", name="Pin", exact=True).click()
    page.locator("#compare-open").click()
    dialog = page.get_by_role("dialog", name="Compare trials")
    expect(dialog.locator("figure .block-diagram")).to_have_count(2)
    expect(dialog.locator("thead th")).to_have_text([f"#{feed.best}", f"#{feed.worst}"])
    expect(dialog.locator("path.curve")).to_have_count(2)
    assert f"pins={feed.best}%2C{feed.worst}" in page.url
    page.reload()
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.get_by_role("button", name=f"Unpin #{feed.best}").click()
    expect(page.locator("#compare-open")).to_be_disabled()


def test_a_block_is_exported_and_begins_a_new_search(watched, site, worker, feed):
    page = open_search(watched, site, feed.search, trial=feed.best)
    with page.expect_download() as told:
        page.locator("#drawer").get_by_role("button", name="Export").click()
    genome = worker.trials(feed.search)[feed.best]["genome"]
    assert json.loads(told.value.path().read_text()) == genome
    page.locator("#drawer").get_by_role("button", name="Use as seed").click()
    expect(page.locator("#spec-faults")).to_contain_text("can run this")
    page.locator("#spec-create").click()
    expect(page.locator("#search-name")).to_have_text(f"laptop-from-{feed.best}")
    [newest] = worker.http.get("/searches", params={"limit": 1}).json()["items"]
    assert newest["spec"]["seeds"] == [genome]


def test_every_kind_of_sub_layer_has_a_drawing_and_a_colour(watched, site):
    page = open_page(watched, site)
    drawn = page.evaluate(
        f"""async () => Object.keys(
              (await import("/assets/{assets_label()}/trial/block_diagram.js")).DRAWINGS)"""
    )
    assert set(drawn) == set(LAYER_KINDS)
    colours = page.evaluate(
        """(kinds) => kinds.map((kind) => {
             const mark = document.body.appendChild(document.createElement("i"));
             mark.className = `kind-${kind}`;
             return getComputedStyle(mark).getPropertyValue("--k");
           })""",
        list(LAYER_KINDS),
    )
    assert all(colours)
    assert len(set(colours)) == len(LAYER_KINDS)


def test_widths_in_a_diagram_are_to_scale(watched, site):
    page = open_page(watched, site)
    widths = page.evaluate(
        f"""async () => {{
              const {{ blockDiagram }} =
                await import("/assets/{assets_label()}/trial/block_diagram.js");
              const layers = [128, 512].map((hidden_dim) =>
                ({{ kind: "feed_forward", hidden_dim, activation: "relu" }}));
              const proxy = {{ blocks: 1, head_dim: 16, experts: 8 }};
              const drawn = blockDiagram({{ model_dim: 256, layers }}, {{ proxy, label: "x" }});
              return [...drawn.querySelectorAll(".scale")]
                .map((bar) => Number(bar.getAttribute("width")));
            }}"""
    )
    assert widths[1] == 4 * widths[0]


def test_unknown_kind_is_drawn_as_unknown_instead_of_breaking_the_page(watched, site):
    page = open_page(watched, site)
    text = page.evaluate(
        f"""async () => {{
              const {{ blockDiagram }} =
                await import("/assets/{assets_label()}/trial/block_diagram.js");
              const genome = {{ model_dim: 8, layers: [{{ kind: "state_space" }}] }};
              return blockDiagram(genome, {{ proxy: {{ blocks: 3 }}, label: "x" }}).textContent;
            }}"""
    )
    assert "state_space?" in text


def test_every_status_of_a_trial_has_a_look(watched, site):
    page = open_page(watched, site)
    series = page.evaluate(
        f"""async (statuses) => {{
              const {{ seriesOf }} = await import("/assets/{assets_label()}/charts/marks.js");
              return statuses.map((status) => seriesOf({{ status, kind: "candidate" }}));
            }}""",
        [status.value for status in TrialStatus],
    )
    without = [s for s, key in zip(TrialStatus, series, strict=True) if key is None]
    assert without == [TrialStatus.QUEUED]


def test_text_of_a_trial_never_becomes_markup(watched, site, worker, feed):
    nasty = "<img src=x onerror=\"document.title='owned'\"><b>bold</b>"
    lease = worker.claim()
    worker.report(lease, {"outcome": "diverged", "message": nasty, "traceback": nasty})
    page = open_search(watched, site, feed.search, trial=lease["trial_number"], tab="failures")
    expect(page.locator("#drawer-message")).to_have_text(nasty)
    expect(page.locator(".failure-reason")).to_contain_text("<img src=x")
    wait_for_plot(watched, "failed", [lease["trial_number"]])
    assert page.locator("main img, aside img").count() == 0
    assert page.title() != "owned"
