"""A visit from the first search to its export, beside real workers of two pools that train."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from brainformer.api.cli.demo.processes import Family
from brainformer.search.space.genome import parse_genome
from tests.api.dashboard.pages import open_page
from tests.api.dashboard.site import until

pytestmark = [pytest.mark.slow, pytest.mark.timed, pytest.mark.timeout(900)]

SPEC = """
name: walk
space: nano
proxy: {budget_seconds: 1, blocks: 1, validation_tokens: 1024}
pools: [left, right]
baseline_repeats: 1
population_size: 3
tournament_size: 2
step_time_slack: null
screening: {kind: none}
limits: {trials: 400}
confirmations: 0
lease_seconds: 60
"""
TRAINING_SECONDS = 300  # at most, until trials of both pools have completed


@pytest.fixture
def workers(site, tmp_path):
    """One real worker of each of two pools, a core each."""
    family = Family(tmp_path / "logs")
    for pool in ("left", "right"):
        state = ["--slots", "1", "--state-folder", str(tmp_path / pool)]
        family.start(pool, ["worker", "--url", site.url, "--pool", pool, *state])
    yield family
    family.stop()


def completed(worker: Any, search: str) -> dict[str, list[int]]:
    """Returns the completed candidates by pool."""
    where = {"kind": "candidate", "status": "completed", "limit": 500}
    found: dict[str, list[int]] = {"left": [], "right": []}
    for one in worker.http.get(f"/searches/{search}/trials", params=where).json()["items"]:
        found[one["pool"]].append(one["number"])
    return found


def test_create_watch_brush_select_drill_pin_pause_limits_stop_export(
    watched, site, worker, workers
):
    page = open_page(watched, site)
    search = create(page, worker)
    watch(page, worker, workers, search)
    brush(page)
    first, second = (numbers[0] for numbers in completed(worker, search).values())
    select_and_drill(page, worker, search, first)
    pin_and_compare(page, first, second)
    pause_and_limit(page, worker, search)
    stop(page, worker, search)
    export(page, worker, search, first)


def create(page: Page, worker: Any) -> str:
    page.locator("#new-search").click()
    page.locator("#spec-text").fill(SPEC)
    expect(page.locator("#spec-faults")).to_contain_text("can run this")
    page.locator("#spec-create").click()
    expect(page.locator("#search-name")).to_have_text("walk")
    [made] = worker.http.get("/searches").json()["items"]
    return str(made["id"])


def watch(page: Page, worker: Any, workers: Family, search: str) -> None:
    """Results of both pools appear by themselves."""

    def trained() -> bool:
        assert workers.dead() is None, workers.last_words(str(workers.dead()))
        return all(len(numbers) >= 2 for numbers in completed(worker, search).values())

    until(trained, "two candidates of each pool have been trained", TRAINING_SECONDS)
    expect(page.locator("#best-figure")).to_have_text("not confirmed", timeout=15_000)
    for pool in ("left", "right"):
        expect(page.locator(f"[data-switch='pool:{pool}']")).to_be_visible()
        expect(page.locator(".grid-row", has_text=pool).first).to_be_visible()
    expect(page.locator("#chart-step .front-marks")).to_have_count(2, timeout=20_000)


def brush(page: Page) -> None:
    """A drag across the chart chooses a stretch; the table follows; a double click ends it."""
    area = page.locator("#chart-fitness .chart-area")
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.3, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, middle, steps=5)
    page.mouse.up()
    until(lambda: "from=" in page.url, "the stretch is in the address")
    expect(page.locator("#chart-fitness .points").first).to_be_attached()
    area.dblclick(position={"x": box["width"] * 0.9, "y": 40})
    until(lambda: "from=" not in page.url, "the whole is shown again")


def select_and_drill(page: Page, worker: Any, search: str, number: int) -> None:
    """A row opens its trial with what was really measured; tabs tell what lies behind it."""
    page.locator("#table-filter").fill(f"#{number}")
    page.locator(f".grid-row[data-number='{number}']").click()
    expect(page.locator("#drawer-title")).to_contain_text(f"#{number}")
    trial = worker.http.get(f"/searches/{search}/trials/{number}").json()
    loss = trial["measurements"]["validation_loss"]
    expect(page.locator("#drawer .comparison")).to_contain_text(f"{loss:.4f}")
    expect(page.locator("#drawer .curve-own").first).to_be_attached()
    page.locator("#table-filter").fill("")
    for tab, marks in (
        ("population", ".share"),
        ("lineage", ".points"),
        ("machines", ".span"),
    ):
        page.locator(f"#tab-{tab}").click()
        expect(page.locator(f"#tab-panel {marks}").first).to_be_attached(timeout=15_000)
    expect(page.locator("#tab-panel tbody th")).to_have_text(["left", "right"])


def pin_and_compare(page: Page, first: int, second: int) -> None:
    page.locator("#drawer").get_by_role("button", name="Pin", exact=True).click()
    page.keyboard.press("Escape")
    page.locator("#tab-trials").click()
    page.locator("#table-filter").fill(f"#{second}")
    page.locator(f".grid-row[data-number='{second}']").click()
    page.locator("#drawer").get_by_role("button", name="Pin", exact=True).click()
    page.locator("#compare-open").click()
    dialog = page.get_by_role("dialog", name="Compare trials")
    expect(dialog.locator("thead th")).to_have_text([f"#{first}", f"#{second}"])
    expect(dialog.locator("path.curve")).to_have_count(2)
    dialog.get_by_label("Close the comparison").click()
    page.keyboard.press("Escape")


def pause_and_limit(page: Page, worker: Any, search: str) -> None:
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#search-status")).to_have_text("paused")
    page.get_by_role("button", name="Limits").click()
    page.locator("#limit-trials").fill("500")
    page.get_by_role("button", name="Change limits").click()
    expect(page.locator("#search-progress")).to_contain_text("of 500 candidates")
    assert worker.http.get(f"/searches/{search}").json()["spec"]["limits"]["trials"] == 500
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#search-status")).to_have_text("running")


def stop(page: Page, worker: Any, search: str) -> None:
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Stop the search").click()
    expect(page.locator("#search-status")).to_have_text("stopped", timeout=60_000)
    assert worker.http.get(f"/searches/{search}").json()["counts"]["running"] == 0


def export(page: Page, worker: Any, search: str, number: int) -> None:
    """The block, a chart and its data leave as files."""
    page.locator("#table-filter").fill(f"#{number}")
    page.locator(f".grid-row[data-number='{number}']").click()
    with page.expect_download() as told:
        page.locator("#drawer").get_by_role("button", name="Export").click()
    genome = json.loads(Path(told.value.path()).read_text())
    found = worker.http.get(f"/searches/{search}/trials/{number}").json()
    assert parse_genome(genome) == parse_genome(found["genome"])
    page.keyboard.press("Escape")
    page.locator("#chart-fitness .downloads summary").click()
    with page.expect_download() as told:
        page.locator("#chart-fitness").get_by_role("button", name="Data, CSV").click()
    rows = Path(told.value.path()).read_text().splitlines()
    counts = worker.http.get(f"/searches/{search}").json()["counts"]
    assert len(rows) == 1 + sum(counts.values())
