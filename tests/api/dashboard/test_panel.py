"""What the panel and the drawings tell of a trial and of the best."""

from __future__ import annotations

from playwright.sync_api import expect

from brainformer.api.dashboard.files import assets_label
from brainformer.search.space.genome import LAYER_KINDS
from brainformer.search.trials.trial import TrialStatus
from tests.api.dashboard.pages import open_page, wait_for_plot


def test_panel_compares_draws_and_tells_where_a_trial_comes_from(watched, site, worker, feed):
    worker.finish_candidates([2.05, 1.75])  # the first six, a population, are drawn at random
    trials = worker.trials(feed.search)
    child = next(t for t in trials.values() if t["parent_number"] is not None)
    page = open_page(watched, site, f"?search={feed.search}&trial={child['number']}")
    best = max(trials.values(), key=lambda t: t["fitness"] if t["fitness"] is not None else -9)
    heads = page.locator("#panel-comparison thead th")
    wanted = ["glam", f"best #{best['number']}"]
    if child["number"] != best["number"]:
        wanted.append(f"#{child['number']}")
    expect(heads).to_have_text(wanted)
    expect(page.locator("#panel-comparison tbody tr").first).to_contain_text("2.0050")
    expect(page.locator("#panel-comparison .better").first).to_contain_text("better")
    boxes = page.locator("#panel-blocks figure").first.locator(".layer")
    expect(boxes).to_have_count(len(child["genome"]["layers"]))
    expect(page.locator("#panel-mutation")).to_contain_text(child["mutation"])
    expect(page.locator("#panel-ancestry a").first).to_have_text(f"#{child['parent_number']}")
    expect(page.locator("#panel-curve svg .own")).to_have_count(1)
    expect(page.locator("#panel-curve svg .reference")).to_have_count(1)
    expect(page.locator("#panel-measurements")).to_contain_text("Training time")
    page.locator("#panel-ancestry a").first.click()
    expect(page.locator("#panel-title")).to_contain_text(f"#{child['parent_number']}")


def test_the_front_is_the_controllers(watched, site, worker):
    search = worker.create_search(step_time_slack=None)
    worker.finish_next([2.0, 2.0], kind="baseline")
    figures = [
        (1.9, 20, 500),
        (1.8, 30, 500),
        (1.95, 20, 500),  # beaten by the first
        (1.8, 30, 500),  # equals the second
        (1.99, 40, 400),
        (1.7, None, 600),
        (1.6, 30, 450),  # beats the second
    ]
    for loss, step_time_ms, size in figures:
        lease = worker.claim()
        worker.finish(lease, loss=loss, step_time_ms=step_time_ms, parameters=size)
    front = worker.http.get(f"/searches/{search}/pareto").json()["items"]
    numbers = sorted(one["number"] for one in front)
    assert len(numbers) == 3
    page = open_page(watched, site, "?q=front&sort=number")
    expect(page.locator("#table-body tr th a")).to_have_text([f"#{one}" for one in numbers])
    expect(page.locator("#table-body .tag").get_by_text("front")).to_have_count(3)
    expect(page.locator("#panel-summary")).to_contain_text("on the Pareto front")


def test_how_sure_the_best_is_comes_from_fresh_runs_alone_and_is_never_certainty(
    watched, site, worker
):
    race = {"baseline_repeats": 3, "confirmations": 1, "confirmation_repeats": 3}
    worker.create_search(limits={"trials": 1}, confirmation_limit=3, **race)
    worker.finish_next([2.0, 2.01, 1.99], kind="baseline")
    worker.finish(worker.claim(), loss=1.2)
    page = open_page(watched, site)
    expect(page.locator("#panel-summary")).not_to_contain_text("sure to beat")
    worker.finish_next([1.6, 1.61, 1.59], kind="confirmation")
    expect(page.locator("#panel-summary")).to_contain_text("3 fresh runs")
    expect(page.locator("#panel-summary")).to_contain_text("over 99 % sure to beat the baseline")


def test_every_kind_of_sub_layer_has_a_drawing_and_a_colour(watched, site):
    page = open_page(watched, site)
    drawn = page.evaluate(
        f"""async () => Object.keys(
              (await import("/assets/{assets_label()}/block_diagram.js")).DRAWINGS)"""
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


def test_unknown_kind_is_drawn_as_unknown_instead_of_breaking_the_page(watched, site):
    page = open_page(watched, site)
    text = page.evaluate(
        f"""async () => {{
              const {{ blockDiagram }} = await import("/assets/{assets_label()}/block_diagram.js");
              const genome = {{ model_dim: 8, layers: [{{ kind: "state_space" }}] }};
              return blockDiagram(genome, {{ proxy: {{ blocks: 3 }}, label: "x" }}).textContent;
            }}"""
    )
    assert "state_space?" in text


def test_every_status_of_a_trial_has_a_look(watched, site):
    page = open_page(watched, site)
    series = page.evaluate(
        f"""async (statuses) => {{
              const {{ seriesOf }} = await import("/assets/{assets_label()}/series.js");
              return statuses.map((status) => seriesOf({{ status, kind: "candidate" }}));
            }}""",
        [status.value for status in TrialStatus],
    )
    without = [s for s, key in zip(TrialStatus, series, strict=True) if key is None]
    assert without == [TrialStatus.QUEUED]


def test_text_of_a_trial_never_becomes_markup(watched, site, worker, feed):
    nasty = "<img src=x onerror=\"document.title='owned'\"><b>bold</b>"
    lease = worker.claim()
    worker.report(lease, {"outcome": "diverged", "message": nasty})
    page = open_page(watched, site, f"?search={feed.search}&trial={lease['trial_number']}")
    expect(page.locator("#panel-message")).to_have_text(nasty)
    wait_for_plot(watched, "failed", [lease["trial_number"]])
    assert page.locator("main img").count() == 0
    assert page.title() != "owned"
