"""The dashboard as a reader sees it: a real controller, a real Chromium, no stand-ins."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.api.dashboard.pages import open_page, open_search, wait_for_plot
from tests.api.dashboard.site import ScriptedWorker

pytestmark = pytest.mark.timed


def test_trials_appear_as_they_finish_without_a_reload(watched, site, worker):
    search = worker.create_search()
    page = open_search(watched, site, search)
    expect(page.locator("#search-name")).to_have_text("laptop")
    expect(page.locator("#search-waiting")).to_contain_text(f"brainformer worker --url {site.url}")
    worker.measure_baseline()
    expect(page.locator("#search-waiting")).to_be_hidden()
    done = worker.finish_candidates([2.1, 1.8])
    expect(page.locator("#search-progress")).to_have_text("2 of 40 candidates")
    wait_for_plot(watched, "population", done)
    lease = worker.claim()
    wait_for_plot(watched, "running", [lease["trial_number"]])


def test_a_trial_that_was_preempted_and_runs_again_is_shown_as_running(watched, site, worker, feed):
    lease = worker.claim()
    worker.report(lease, {"outcome": "preempted"})
    again = worker.claim()
    assert again["trial_number"] == lease["trial_number"]
    page = open_search(watched, site, feed.search)
    row = page.locator(f".grid-row[data-number='{lease['trial_number']}']")
    expect(row.locator(".status-cell")).to_have_text("running")


def test_members_that_age_out_change_their_look_in_the_plot(watched, site, worker, feed):
    page = open_search(watched, site, feed.search, trial=feed.candidates[0])
    wait_for_plot(watched, "population", feed.candidates)
    expect(page.locator("#drawer-summary")).to_contain_text("in the population")
    worker.finish_candidates([2.0, 2.0, 2.0])
    trials = worker.trials(feed.search).values()
    finished = [t for t in trials if t["kind"] == "candidate"]
    inside = sorted(t["number"] for t in finished if t["in_population"])
    outside = sorted(t["number"] for t in finished if not t["in_population"])
    assert len(inside) == 6
    assert len(outside) == 2
    wait_for_plot(watched, "population", inside)
    wait_for_plot(watched, "aged", outside)
    expect(page.locator("#drawer-summary")).not_to_contain_text("in the population")


def test_one_figure_for_the_best_and_it_comes_from_fresh_runs(watched, site, worker):
    race = {"baseline_repeats": 3, "confirmations": 1, "confirmation_repeats": 3}
    search = worker.create_search(limits={"trials": 1}, confirmation_limit=3, **race)
    worker.finish_next([2.0, 2.01, 1.99], kind="baseline")
    worker.finish(worker.claim(), loss=1.2)
    page = open_search(watched, site, search)
    expect(page.locator("#best-figure")).to_have_text("not confirmed")
    expect(page.locator("#search-answer")).to_contain_text("single run +0.800, which flatters")
    expect(page.locator("#search-progress")).to_contain_text("0 fresh runs done")
    expect(page.locator(".stages [aria-current]")).to_have_text("confirm")
    in_turns = [2.0, 1.6, 2.01, 1.61, 1.99, 1.59]  # the rival, and the block
    worker.finish_next(in_turns, kind="confirmation")
    expect(page.locator("#best-figure")).to_have_text("+0.400 ± 0.010")
    expect(page.locator("#search-answer")).to_contain_text("mean ± sd of 3 fresh runs")
    expect(page.locator("#search-answer")).to_contain_text("over 99% sure")
    expect(page.locator("#chart-fitness .confirmed-label")).to_contain_text("+0.400")
    expect(page.locator("#chart-fitness .chart-message")).to_contain_text("3 fresh runs")
    number = worker.http.get(f"/searches/{search}/best").json()["trial"]["number"]
    page.locator(f".grid-row[data-number='{number}'] a").first.click()
    expect(page.locator("#drawer-fitness")).to_have_text("+0.400 ± 0.010")
    open_page(watched, site)
    expect(page.locator("#home-searches tbody tr")).to_contain_text("+0.400 ± 0.010 (3)")


def test_two_pools_are_each_relative_to_their_own_baseline(watched, site, worker):
    search = worker.create_search(step_time_slack=None)
    other = {"worker_id": "w-fast", "pool": "fast"}

    def on_fast(loss, step):
        [lease] = worker.http.post("/leases/claim", json=other).json()["leases"]
        worker.finish(lease, loss=loss, step_time_ms=step)
        return lease["trial_number"]

    worker.finish_next([3.0, 3.0], kind="baseline")
    base = [on_fast(2.0, 5.0), on_fast(2.0, 5.0)]
    slow = worker.finish_candidates([2.9])
    best = on_fast(1.8, 4.0)
    page = open_search(watched, site, search)
    wait_for_plot(watched, "population", [*slow, best])
    expect(page.locator("#search-answer")).to_contain_text("+0.200")
    expect(page.locator("#search-answer")).to_contain_text("20% faster than the rival (4.00 ms")
    for number in base:
        row = page.locator(f".grid-row[data-number='{number}']")
        expect(row.locator(".strong")).to_have_text("+0.000")
    row = page.locator(f".grid-row[data-number='{best}']")
    expect(row).to_contain_text("fast")
    row.click()
    expect(page.locator("#drawer .comparison")).to_contain_text("2.0000")
    expect(page.locator("#drawer .better").first).to_contain_text("10.0%, better")
    page.keyboard.press("Escape")
    page.locator("[data-switch='pool:fast']").click()
    wait_for_plot(watched, "population", [best])
    assert "pool=fast" in page.url
    expect(page.locator("#table-count")).to_have_text("3 trials")
    page.locator("[data-switch='pool:']").click()
    wait_for_plot(watched, "population", [*slow, best])


def test_sentinels_are_never_shown_as_fitness(watched, site, worker, feed):
    lease = worker.claim()
    pruned = {"outcome": "pruned", "message": "hurdle: too slow", "measurements": {}}
    worker.report(lease, pruned)
    page = open_search(watched, site, feed.search, trial=lease["trial_number"])
    expect(page.locator("#drawer-fitness")).to_have_text("pruned")
    wait_for_plot(watched, "pruned", [lease["trial_number"]])
    assert "1.000" not in page.locator("body").inner_text()


def test_buttons_change_the_search_and_what_ends_it_asks_first(watched, site, worker, feed):
    page = open_search(watched, site, feed.search)
    status = page.locator("#search-status")
    page.get_by_role("button", name="Pause").click()
    expect(status).to_have_text("paused")
    elapsed = page.locator("#search-time")
    before = elapsed.inner_text()
    page.wait_for_timeout(2200)
    assert elapsed.inner_text() == before, "a paused search's clock stands still"
    page.get_by_role("button", name="Resume").click()
    expect(status).to_have_text("running")
    for name in ("Stop", "Cancel"):
        page.get_by_role("button", name=name, exact=True).click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("cannot be resumed")
        dialog.get_by_role("button", name=re.compile("^Keep")).click()
        expect(dialog).to_have_count(0)
        expect(status).to_have_text("running")
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Stop the search").click()
    expect(status).to_have_text("stopped")
    expect(page.locator(".actions button")).to_have_count(0)
    assert worker.http.get(f"/searches/{feed.search}").json()["status"] == "stopped"


def test_limits_change_from_the_page_and_a_refusal_is_said(watched, site, worker, feed):
    page = open_search(watched, site, feed.search)
    page.get_by_role("button", name="Limits").click()
    page.locator("#limit-trials").fill("")
    page.get_by_role("button", name="Change limits").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).not_to_be_empty()
    page.locator("#limit-trials").fill("70")
    page.get_by_role("button", name="Change limits").click()
    expect(page.locator("#search-progress")).to_have_text("5 of 70 candidates")
    limits = worker.http.get(f"/searches/{feed.search}").json()["spec"]["limits"]
    assert limits == {"trials": 70, "hours": None}


def test_search_that_the_command_line_stops_shows_it_at_once(watched, site, worker, feed):
    page = open_search(watched, site, feed.search)
    expect(page.locator("#search-status")).to_have_text("running")
    worker.http.post(f"/searches/{feed.search}/stop")
    expect(page.locator("#search-status")).to_have_text("stopped")


@pytest.mark.slow
def test_lost_connection_is_said_and_what_was_missed_is_caught_up(watched, site, worker, feed):
    page = open_search(watched, site, feed.search)
    expect(page.locator("#search-connection")).to_have_text("live")
    expect(page.locator("#table-count")).to_have_text("7 trials")
    site.stop()
    expect(page.locator("#notice-text")).to_contain_text("Stale", timeout=15_000)
    expect(page.locator("#search-connection")).to_have_text("stale")
    expect(page.locator("#table-count")).to_have_text("7 trials")
    watched.requests.clear()
    page.get_by_role("button", name="Try now").click()  # nothing is there to answer it yet
    watched.until(lambda: watched.requests, "the page tries")
    expect(page.locator("#search-connection")).to_have_text("stale")
    site.start()
    [newest] = ScriptedWorker(site).finish_candidates([1.7])
    expect(page.locator("#search-connection")).to_have_text("live", timeout=40_000)
    expect(page.locator("#notice")).to_be_hidden()
    expect(page.locator("#search-answer")).to_contain_text(f"#{newest}", timeout=20_000)


def test_unknown_search_gets_a_page_with_a_way_on(watched, site, feed):
    page = open_search(watched, site, "nothing")
    expect(page.locator("#search-missing")).to_contain_text("There is no search nothing")
    page.get_by_role("link", name="All searches of this controller").click()
    page.get_by_role("link", name="laptop").click()
    expect(page.locator("#search-name")).to_have_text("laptop")


def test_what_is_not_read_yet_is_said_to_be_loading(watched, site, feed):
    held = []
    watched.page.route("**/charts/overview*", lambda route: held.append(route))
    page = open_search(watched, site, feed.search)
    watched.until(lambda: held, "the page asks")
    expect(page.locator("#view")).to_contain_text("Loading the search")
    expect(page.locator("#view")).not_to_contain_text("No candidate")
    held[0].continue_()
    expect(page.locator("#search-name")).to_have_text("laptop")


def test_what_comes_late_never_overwrites_what_is_newer(watched, site, worker, feed):
    worker.report(worker.claim(), {"outcome": "diverged", "message": "the loss is not finite"})
    held = []
    watched.page.route("**/charts/failures*", lambda route: held.append(route))
    page = open_search(watched, site, feed.search)
    answer = page.locator("#search-answer")
    expect(answer).to_contain_text(f"#{feed.best}")
    watched.until(lambda: held, "the page asks why trials failed")
    for route in held:
        route.continue_()
    expect(answer).to_contain_text("1 diverged")
    expect(answer).to_contain_text(f"#{feed.best}")


def test_a_part_that_cannot_be_read_says_so_and_can_be_tried_again(watched, site, feed):
    broken = "**/charts/gains*"
    watched.page.route(broken, lambda route: route.fulfill(status=500, json={"detail": "no disk"}))
    page = open_search(watched, site, feed.search, tab="helps")
    expect(page.locator("#tab-panel [role=alert]")).to_contain_text("no disk")
    expect(page.locator("#search-name")).to_have_text("laptop")
    watched.page.unroute(broken)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#tab-panel")).not_to_contain_text("no disk")


def test_everything_failed_is_shown_as_that(watched, site, worker):
    search = worker.create_search(limits={"trials": 2})
    worker.measure_baseline()
    for _ in range(2):
        worker.report(worker.claim(), {"outcome": "diverged", "message": "the loss is not finite"})
    page = open_search(watched, site, search)
    expect(page.locator("#search-answer")).to_contain_text("No candidate has completed")
    page.get_by_role("tab", name="Failures").click()
    expect(page.locator(".failure")).to_have_count(1)
    expect(page.locator(".failure")).to_contain_text("the loss is not finite")


def test_a_pool_that_lost_its_baseline_is_named_and_the_other_goes_on(watched, site, worker):
    search = worker.create_search(pools=["cpu", "fast"], step_time_slack=None)
    worker.measure_baseline()
    done = worker.finish_candidates([1.9])
    other = {"worker_id": "w-fast", "pool": "fast"}
    [lease] = worker.http.post("/leases/claim", json=other).json()["leases"]
    worker.report(lease, {"outcome": "out_of_memory", "message": "needs 80 GiB"})
    page = open_search(watched, site, search)
    expect(page.locator("#search-reason")).to_contain_text("Pool fast takes no part")
    expect(page.locator("#search-reason")).to_contain_text("needs 80 GiB")
    expect(page.locator("#search-answer")).to_contain_text("+0.105")
    wait_for_plot(watched, "population", done)


def test_a_token_that_is_revoked_is_asked_for_again(watched, site, worker, feed):
    made = worker.http.post("/tokens", json={"name": "admin", "scopes": ["admin"]}).json()
    reader = {"name": "reader", "scopes": ["read"]}
    headers = {"Authorization": f"Bearer {made['secret']}"}
    given = worker.http.post("/tokens", json=reader, headers=headers).json()
    page = open_search(watched, site, feed.search)
    page.locator("#token-field").fill(given["secret"])
    page.keyboard.press("Enter")
    expect(page.locator("#search-name")).to_have_text("laptop")
    worker.http.delete(f"/tokens/{given['token']['id']}", headers=headers)
    page.reload()
    expect(page.locator("#token-dialog")).to_be_visible()
    expect(page.locator("#token-message")).not_to_be_empty()


@pytest.mark.parametrize("scopes", [("read",), ("read", "write")])
def test_only_who_may_change_a_search_gets_buttons(watched, site, worker, feed, scopes):
    made = worker.http.post("/tokens", json={"name": "reader", "scopes": list(scopes)})
    secret = made.json()["secret"]
    page = open_search(watched, site, feed.search)
    page.locator("#token-field").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#token-message")).to_contain_text("unknown, expired or revoked")
    page.locator("#token-field").fill(secret)
    page.keyboard.press("Enter")
    expect(page.locator("#search-name")).to_have_text("laptop")
    expect(page.locator("#search-connection")).to_have_text("live")
    assert page.evaluate("() => document.cookie") == "", "scripts cannot read the cookie"
    expect(page.locator(".actions button")).to_have_count(4 if "write" in scopes else 0)
    page.reload()
    expect(page.locator("#search-name")).to_have_text("laptop")


def test_nothing_is_fetched_from_elsewhere_and_never_the_whole_search(watched, site, feed):
    open_search(watched, site, feed.search)
    wait_for_plot(watched, "baseline", feed.baseline)
    assert {url.split("/")[2] for url in watched.requests} == {f"127.0.0.1:{site.port}"}
    assert not [url for url in watched.requests if re.search(r"/trials(\?|$)|jsonl", url)]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280, 2560])
def test_pages_fit_their_width_and_themes_differ(watched, site, feed, scheme, width):
    page = watched.page
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme=scheme)
    overflow = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    open_page(watched, site)
    expect(page.locator("#home-searches tbody tr")).to_have_count(1)
    assert page.evaluate(overflow) <= 0
    open_search(watched, site, feed.search)
    wait_for_plot(watched, "baseline", feed.baseline)
    for tab in page.locator("[role=tab]").all():
        tab.click()
        expect(page.locator("#tab-panel .state-loading")).to_have_count(0)
        assert page.evaluate(overflow) <= 0, tab.inner_text()
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
    page = open_search(watched, site, feed.search, trial=feed.best)
    wait_for_plot(watched, "baseline", feed.baseline)
    expect(page.locator("#drawer .costs")).to_be_visible()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, a, select, input, summary")]
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
