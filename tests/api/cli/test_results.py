"""Best, report, trials, workers, limits, deletion and short ids, against a real controller."""

from __future__ import annotations

import json
import re
import webbrowser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from brainformer.api.cli.main import app
from brainformer.api.cli.searches.results import _axes, _contention
from brainformer.api.cli.terminal.exit_codes import CONFLICT, NOT_FOUND, USAGE
from brainformer.api.cli.terminal.id_prefix import SHORTEST, whole_path
from brainformer.search.errors import InvalidInput
from tests.api.cli.test_search import SPEC, brainformer, refused
from tests.api.dashboard.site import ScriptedWorker, Site


@pytest.fixture
def search(site: Site, worker: ScriptedWorker, tmp_path: Path) -> str:
    """Returns the id of a search that has completed."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    created = brainformer(site, "search", "create", "-f", str(tmp_path / "spec.yaml"))
    worker.finish_next([2.0], kind="baseline")
    worker.finish_candidates([1.9, 1.8])
    return created.stdout.strip()


def test_best_report_and_trials_are_shown(site: Site, search: str, tmp_path: Path) -> None:
    best = brainformer(site, "best", "small")
    assert "trial 2 not confirmed" in best.stderr
    assert "2, candidate, " in best.stdout
    assert re.search(r"best fitness +0\.200 \(single run\)", best.stdout)
    same = re.search(r"same tokens +(.+)", best.stdout)
    assert same
    assert same[1] in brainformer(site, "trial", "show", "small", "2").stdout
    assert json.loads(brainformer(site, "best", "small", "--json").stdout)["trial"]["number"] == 2
    shown = brainformer(site, "trial", "show", "small", "1").stdout
    assert "0.1000" in shown
    assert "1.9000" in shown
    assert json.loads(brainformer(site, "trial", "show", "small", "1", "--json").stdout)["attempts"]
    listed = brainformer(site, "trial", "list", "small", "--sort", "-fitness", "--limit", "2")
    assert [line.split()[0] for line in listed.stdout.splitlines()[1:]] == ["2", "1"]
    assert "more with --limit" in listed.stderr
    file = tmp_path / "report.html"
    brainformer(site, "report", "small", "-o", str(file))
    times = re.compile(r'"(read_at|now)":[^,}]+')  # when each of the two was made
    written, told = file.read_text(), brainformer(site, "report", "small").stdout
    assert times.sub("", written) == times.sub("", told)
    assert "no trial 9" in refused(site, NOT_FOUND, "trial", "show", "small", "9")


def test_steps_that_calibration_gained_are_not_told_as_lost() -> None:
    gained = {"contention": 3.6, "calibration_lost_steps": -13, "steps": 90}
    assert _contention(gained).endswith("; 90 steps, a quiet machine would have made 77")
    assert "-" not in _contention(gained)


def test_workers_and_pools_are_listed(site: Site, search: str) -> None:
    assert "scripted-1" in brainformer(site, "workers").stdout
    assert json.loads(brainformer(site, "pool", "list", "--json").stdout)[0]["pool"] == "cpu"


def test_without_workers_the_lists_say_how_to_start_one(site: Site) -> None:
    for words in (("workers",), ("pool", "list")):
        assert "brainformer worker" in brainformer(site, *words).stderr


def test_a_limit_that_is_not_given_stays(site: Site, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    brainformer(site, "search", "create", "-f", str(tmp_path / "spec.yaml"))
    told = brainformer(site, "search", "limits", "small").stdout
    assert told == "small ends after 2 trials\n"
    changed = brainformer(site, "search", "limits", "small", "--hours", "1.5", "--json").stdout
    assert json.loads(changed) == {"trials": 2, "hours": 1.5}
    assert "--hours is above 0" in refused(site, USAGE, "search", "limits", "small", "--hours", "0")


def test_a_search_is_deleted_when_it_has_ended_and_its_owner_says_so(
    site: Site, search: str, tmp_path: Path
) -> None:
    asked = CliRunner().invoke(app, ["search", "delete", "small", "--url", site.url], input="n\n")
    assert asked.exit_code == 1
    assert f"delete search small ({search}) and its 3 trials?" in asked.stderr
    assert "nothing was deleted" in asked.stderr
    unasked = CliRunner().invoke(app, ["search", "delete", "small", "--url", site.url], input="")
    assert isinstance(unasked.exception, InvalidInput)
    assert "add --yes" in unasked.exception.message
    assert "with 3 trials" in brainformer(site, "search", "delete", "small", "--yes").stderr
    refused(site, NOT_FOUND, "search", "show", search)
    brainformer(site, "search", "create", "-f", str(tmp_path / "spec.yaml"))
    refused(site, CONFLICT, "search", "delete", "small", "--yes")


def test_the_beginning_of_an_id_names_a_search_everywhere(site: Site, search: str) -> None:
    short = search[:8]
    for words in (
        ("search", "show", short, "--json"),
        ("best", short, "--json"),
        ("trial", "show", short, "1", "--json"),
        ("export", short),
        ("search", "limits", short, "--json"),
    ):
        full = [search if word == short else word for word in words]
        assert brainformer(site, *words).stdout == brainformer(site, *full).stdout
    refused(site, NOT_FOUND, "search", "show", "zzzzzz")
    brainformer(site, "search", "delete", short, "--yes")


def test_an_ambiguous_beginning_names_no_search() -> None:
    ids = ["abcd1", "abcd2", "ef012"]
    assert whole_path("/searches/ef0/best", ids) == "/searches/ef012/best"
    assert whole_path("/searches/ef012", ids) is None
    assert whole_path(f"/searches/{'e' * (SHORTEST - 1)}", ids) is None
    assert whole_path("/workers", ids) is None
    with pytest.raises(InvalidInput, match=r"2 searches have an id that begins with abc; .*abcd2"):
        whole_path("/searches/abc", ids)


@pytest.mark.parametrize("browser", [True, False])
def test_the_dashboard_is_opened_or_its_address_told(
    browser: bool, site: Site, search: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def open_browser(address: str) -> bool:
        opened.append(address)
        return browser

    monkeypatch.setattr(webbrowser, "open", open_browser)
    told = brainformer(site, "open", "small")
    assert opened == [told.stdout.strip()] == [f"{site.url}/?search={search}"]
    assert ("no browser" in told.stderr) is not browser


def test_what_tells_whether_to_believe_a_trial_is_shown(
    site: Site, worker: ScriptedWorker, tmp_path: Path
) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    brainformer(site, "search", "create", "-f", str(tmp_path / "spec.yaml"))
    worker.finish_next([2.0], kind="baseline")
    busy = {"contention": 3.1, "calibration_lost_steps": 12}
    routed = {"routing_gap": 0.02, "evaluation_experts": 0.97, "evaluation_drop_fraction": 0.05}
    worker.finish(worker.claim(), loss=1.9, **busy, **routed)
    worker.finish(worker.claim(), loss=1.8, contention=1.2, calibration_lost_steps=3)
    shown = " ".join(brainformer(site, "trial", "show", "small", "1").stdout.split())
    assert "3.10x, a busy machine; calibration lost 12 of 412 steps" in shown
    assert "experts a token 0.97 in evaluation, 5.0% dropped" in shown
    assert "routing gap +0.0200 nats a token" in shown
    assert "same tokens 1.9000 against the baseline's 2.0000 after" in shown
    calm = " ".join(brainformer(site, "trial", "show", "small", "2").stdout.split())
    assert "contention 1.20x same tokens" in calm
    assert "routing gap" not in calm


def test_a_trial_is_repeated_while_its_search_runs(
    site: Site, worker: ScriptedWorker, tmp_path: Path
) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    brainformer(site, "search", "create", "-f", str(tmp_path / "spec.yaml"))
    worker.finish_next([2.0], kind="baseline")
    worker.finish_candidates([1.9])
    assert "trial 2 runs the block of trial 1 once more on cpu" in (
        brainformer(site, "trial", "repeat", "small", "1").stderr
    )
    worker.finish_next([1.95], kind="repeat")
    made = json.loads(brainformer(site, "trial", "repeat", "small", "1", "--json").stdout)
    assert (made["kind"], made["parent_number"]) == ("repeat", 1)
    assert "only candidates" in refused(site, CONFLICT, "trial", "repeat", "small", "0")


def test_a_mesh_over_several_hosts_is_shown_with_their_number() -> None:
    mesh = {"data": 2, "expert": 4, "model": 1}
    assert _axes(mesh, 2) == "data 2 x expert 4 x model 1, 2 hosts"
    assert _axes(mesh, 1) == _axes(mesh, None) == "data 2 x expert 4 x model 1"
    assert _axes(None, None) == "-"
