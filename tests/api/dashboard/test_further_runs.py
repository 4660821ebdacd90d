"""What the drawer starts: a block run again, and a promotion, with what the controller says."""

from __future__ import annotations

import shlex

from playwright.sync_api import expect
from typer.testing import CliRunner

from brainformer.api.cli.main import app
from tests.api.dashboard.pages import open_search
from tests.api.dashboard.site import until


def drawer_button(page, name):
    return page.locator("#drawer").get_by_role("button", name=name, exact=True)


def test_a_block_is_run_again_and_its_drawer_follows(watched, site, worker, feed):
    page = open_search(watched, site, feed.search, trial=feed.best)
    drawer_button(page, "Run again").focus()
    page.keyboard.press("Enter")
    outcome = page.locator("#drawer-outcome")
    expect(outcome).to_contain_text("runs this block once more on cpu")
    worker.finish_next([1.9], kind="repeat")
    told = page.locator("#drawer-repeats")
    expect(told).to_contain_text("+0.105 in one run")
    expect(told).to_contain_text("not counted for the best")
    expect(drawer_button(page, "Run again")).to_be_focused()
    page.keyboard.press("Enter")
    until(lambda: len(worker.trials(feed.search)) == 9, "the second repeat is queued")
    worker.finish_next([1.8], kind="repeat")
    expect(told).to_contain_text("+0.155 ± 0.071 in 2 runs")
    number = max(worker.trials(feed.search))
    told.locator(f"[data-trial='{number}']").click()
    expect(page.locator("#drawer-origin")).to_contain_text(f"It repeats #{feed.best}.")
    expect(drawer_button(page, "Run again")).to_have_count(0)
    expect(page.locator("#best-figure")).not_to_contain_text("0.155")


def test_what_the_controller_refuses_is_said_in_the_drawer(watched, site, worker, feed):
    page = open_search(watched, site, feed.search, trial=feed.best)
    expect(drawer_button(page, "Run again")).to_be_enabled()
    worker.http.post("/pools/cpu/drain")
    drawer_button(page, "Run again").click()
    expect(page.locator("#drawer-outcome")).to_contain_text("pool cpu is drained")
    worker.http.post(f"/searches/{feed.search}/cancel")
    expect(drawer_button(page, "Run again")).to_be_disabled()


def test_a_trial_is_promoted_from_its_drawer(watched, site, worker, feed):
    page = open_search(watched, site, feed.search, trial=feed.best)
    drawer_button(page, "Promote").click()
    dialog = page.get_by_role("dialog", name=f"Promote trial #{feed.best}")
    command = dialog.locator("#promote-command")
    expect(command).to_have_text(
        f"brainformer promote {feed.search} --trial {feed.best} --url {site.url}"
    )
    send = dialog.get_by_role("button", name="Start the promotion")
    send.click()
    budget = dialog.get_by_label("Training time of a block")
    expect(budget).to_have_attribute("aria-invalid", "true")
    expect(dialog.locator("#promote-budget_seconds-fault")).to_contain_text("30m or 2h is needed")
    budget.fill("10m,20m,30m")  # for two scales
    send.click()
    expect(dialog.locator("#promote-budget_seconds-fault")).to_contain_text("for each of the 2")
    budget.fill("10m")
    dialog.get_by_label("Trials").fill(f"{feed.best}, 0")
    send.click()
    expect(dialog.locator("#promote-trials-fault")).to_contain_text("a completed baseline")
    dialog.get_by_label("Trials").fill(str(feed.best))
    dialog.get_by_label("Seeds of each block").fill("2")
    expect(command).to_contain_text("--budget 10m --repeats 2")
    send.click()
    expect(dialog).to_have_count(0)
    assert "tab=fidelity" in page.url
    expect(page.locator("#tab-fidelity")).to_be_focused()
    expect(page.locator("#drawer")).to_be_hidden()
    expect(page.locator("#tab-panel")).to_contain_text("laptop-promotion-1")
    [made] = worker.http.get(f"/searches/{feed.search}/promotions").json()["items"]
    asked = made["request"]
    assert (asked["trials"], asked["scales"], asked["repeats"]) == ([feed.best], [1, 2], 2)
    assert asked["budget_seconds"] == [600]


def test_the_command_beside_a_promotion_asks_for_the_same(watched, site, worker, feed):
    page = open_search(watched, site, feed.search, trial=feed.best)
    drawer_button(page, "Promote").click()
    dialog = page.locator("dialog.promotion")
    dialog.get_by_label("Trials").fill(f"{feed.best},{feed.worst}")
    dialog.get_by_label("Scales").fill("1x,1.5x")
    dialog.get_by_label("Training time of a block").fill("5m,10m")
    dialog.locator("summary").click()
    dialog.get_by_label("Learning rates tried").fill("1,2")
    words = shlex.split(dialog.locator("#promote-command").inner_text())
    page.get_by_role("button", name="Start the promotion").click()
    expect(dialog).to_have_count(0)
    told = CliRunner().invoke(app, words[1:])
    assert told.exit_code == 0, told.output
    by_command, by_page = worker.http.get(f"/searches/{feed.search}/promotions").json()["items"]
    assert by_command["request"] == by_page["request"]
    assert by_page["request"]["learning_rates"] == [1, 2]


def test_a_reader_is_offered_neither(watched, site, worker, feed):
    made = worker.http.post("/tokens", json={"name": "reader", "scopes": ["read"]})
    page = open_search(watched, site, feed.search, trial=feed.best)
    page.locator("#token-field").fill(made.json()["secret"])
    page.keyboard.press("Enter")
    expect(drawer_button(page, "Export")).to_be_visible()
    expect(page.locator("#search-connection")).to_have_text("live")
    for name in ("Run again", "Promote", "Use as seed"):
        expect(drawer_button(page, name)).to_have_count(0)
