"""Searches from the command line, against a real controller."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from brainformer.api.cli.main import app
from brainformer.api.cli.terminal.controller_client import ControllerClient
from brainformer.api.cli.terminal.exit_codes import NOT_FOUND, USAGE, exit_code
from brainformer.search.errors import BrainformerError
from brainformer.search.export.genome_file import read_export
from brainformer.search.space.genome import parse_genome
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import zoo_genome
from tests.api.dashboard.site import ScriptedWorker, Site

SPEC = """
name: small
space: nano
baseline_repeats: 1
population_size: 3
tournament_size: 2
limits: {trials: 2}
confirmations: 0
"""


@pytest.fixture
def spec(tmp_path: Path) -> str:
    file = tmp_path / "spec.yaml"
    file.write_text(SPEC)
    return str(file)


def brainformer(site: Site, *arguments: str) -> Result:
    """Returns what the command wrote, stdout and stderr apart; it must end well."""
    result = CliRunner().invoke(app, [*arguments, "--url", site.url])
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def refused(site: Site, code: int, *arguments: str) -> str:
    """Returns the one sentence with which the command ended."""
    result = CliRunner().invoke(app, [*arguments, "--url", site.url])
    assert isinstance(result.exception, BrainformerError), result.output
    assert exit_code(result.exception) == code
    return result.exception.message


def test_a_search_is_launched_looked_after_and_ended(site: Site, spec: str) -> None:
    created = brainformer(site, "search", "create", "-f", spec)
    assert "is running; watch it" in created.stderr
    search = created.stdout.strip()
    assert search in brainformer(site, "search", "list").stdout
    for action, status in (("pause", "paused"), ("resume", "running"), ("stop", "stopped")):
        assert brainformer(site, "search", action, "small").stdout == f"small is {status}\n"
    shown = json.loads(brainformer(site, "search", "show", search, "--json").stdout)
    assert (shown["status"], shown["name"]) == ("stopped", "small")


def test_the_same_idempotency_key_never_creates_twice(site: Site, spec: str) -> None:
    same = ("search", "create", "-f", spec, "--idempotency-key", "monday")
    assert brainformer(site, *same).stdout == brainformer(site, *same).stdout


def test_a_search_begins_with_zoo_genomes_earlier_ones_and_a_file(
    site: Site, spec: str, worker: ScriptedWorker, tmp_path: Path
) -> None:
    brainformer(site, "search", "create", "-f", spec)
    worker.finish_next([2.0], kind="baseline")
    worker.finish_candidates([1.9, 1.8])
    found = tmp_path / "best.json"
    brainformer(site, "export", "small", "-o", str(found), "--trial", "1")
    again = tmp_path / "again.yaml"
    again.write_text(SPEC.replace("small", "again").replace("trials: 2", "trials: 5"))
    created = brainformer(
        site,
        *("search", "create", "-f", str(again), "--seed-file", str(found)),
        *("--seed-search", "small:1", "--seed-zoo", "glam", "--seed-zoo", "dense_transformer"),
    )
    assert "begins with 4 seeds" in created.stderr
    worker.finish_next([2.0], kind="baseline")
    leases = [worker.claim() for _ in range(5)]
    earlier = worker.trials("small")
    nano = load_preset("nano")
    expected = [zoo_genome(name, nano) for name in ("glam", "dense_transformer")]
    expected += [parse_genome(earlier[number]["genome"]) for number in (2, 1)]
    assert [parse_genome(lease["genome"]) for lease in leases[:4]] == expected
    origins = [trial["origin"] for trial in worker.trials("again").values()]
    assert origins == ["baseline", "seed", "seed", "seed", "seed", "random"]


def test_seeds_that_are_not_there_or_do_not_fit_create_nothing(
    site: Site, spec: str, worker: ScriptedWorker, tmp_path: Path
) -> None:
    brainformer(site, "search", "create", "-f", spec)
    large = tmp_path / "large.yaml"
    large.write_text(SPEC.replace("nano", "brainformer-100m32e").replace("small", "large"))
    for option, value, code, words in (
        ("--seed-search", "small", NOT_FOUND, "no completed candidate in search small"),
        ("--seed-search", "smaller:3", NOT_FOUND, "no search smaller"),
        ("--seed-search", "small:0", USAGE, "SEARCH:COUNT, a count from 1 to 1000"),
        ("--seed-search", "../tokens", USAGE, "SEARCH:COUNT"),
        ("--seed-zoo", "gram", USAGE, "--seed-zoo gram: no zoo genome gram; known: "),
    ):
        assert words in refused(site, code, "search", "create", "-f", spec, option, value)
    worker.finish_next([2.0], kind="baseline")
    worker.finish_candidates([1.9])
    told = refused(site, USAGE, "search", "create", "-f", str(large), "--seed-search", "small:1")
    assert "trial 1 of search small: the genome lies outside the space" in told
    assert [one["name"] for one in worker.http.get("/searches").json()["items"]] == ["small"]


def test_best_and_front_are_shown_and_how_sure_it_is(
    site: Site, tmp_path: Path, worker: ScriptedWorker
) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(SPEC.replace("baseline_repeats: 1", "baseline_repeats: 2"))
    brainformer(site, "search", "create", "-f", str(file))
    assert "no candidate has completed" in brainformer(site, "search", "pareto", "small").stderr
    worker.finish_next([2.0, 2.0], kind="baseline")
    worker.finish(worker.claim(), loss=1.75)
    worker.finish(worker.claim(), loss=1.9, step_time_ms=12.5)
    shown = brainformer(site, "search", "show", "small").stdout
    assert "2: not confirmed: fitness +0.2500 in the single run that made it" in shown
    listed = brainformer(site, "search", "list").stdout
    assert "(single run)" in listed
    front = brainformer(site, "search", "pareto", "small").stdout.splitlines()
    assert [line.split() for line in front[1:]] == [
        ["3", "cpu", "0.100", "1.900", "12.5", "500,000"],
        ["2", "cpu", "0.250", "1.750", "20.0", "500,000"],
    ]
    rows = json.loads(brainformer(site, "search", "pareto", "small", "--json").stdout)
    assert [row["number"] for row in rows] == [3, 2]


def test_watch_tells_what_happened_until_the_end(
    site: Site, spec: str, worker: ScriptedWorker
) -> None:
    brainformer(site, "search", "create", "-f", spec)
    worker.finish_next([2.0], kind="baseline")
    worker.finish_candidates([1.9, 1.8])
    watched = brainformer(site, "search", "watch", "small")
    assert "search small completed, best fitness 0.200" in watched.stderr


def test_watch_keeps_one_stream_open_while_trials_complete(
    site: Site, spec: str, worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    events = ControllerClient.events

    def noted(self: ControllerClient, search: str, *, after: int) -> Iterator[dict[str, Any]]:
        opened.append(after)
        return events(self, search, after=after)

    monkeypatch.setattr(ControllerClient, "events", noted)
    brainformer(site, "search", "create", "-f", spec)
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(brainformer, site, "search", "watch", "small")
        end = time.monotonic() + 30
        while not opened:
            assert time.monotonic() < end
            time.sleep(0.02)
        worker.finish_next([2.0], kind="baseline")
        worker.finish_candidates([1.9, 1.8])
        watched = watching.result(timeout=30)
    assert watched.stdout.count("trial.finished") == 3
    assert "status=completed" in watched.stdout.splitlines()[-1]
    assert opened == [0]


def test_a_search_that_nobody_serves_says_so(
    site: Site, worker: ScriptedWorker, tmp_path: Path
) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(SPEC)
    told = brainformer(site, "search", "create", "-f", str(file)).stderr
    assert "no worker is here yet; start one with 'brainformer worker'" in told
    worker.claim()
    assert "no worker" not in brainformer(site, "search", "show", "small").stderr
    file.write_text(SPEC.replace("small", "large") + "pools: [h200, v6e-8]\n")
    brainformer(site, "search", "create", "-f", str(file))
    told = brainformer(site, "search", "show", "large").stderr
    assert "no worker serves pool h200 or v6e-8 at present" in told
    brainformer(site, "search", "pause", "large")
    assert "no worker" not in brainformer(site, "search", "show", "large").stderr


@pytest.mark.parametrize("name", ["x/pause?y=", "../tokens", "a b", "%2e%2e", "small#", "é"])
def test_a_search_is_named_by_what_was_typed_and_nothing_else(
    site: Site, spec: str, worker: ScriptedWorker, name: str
) -> None:
    brainformer(site, "search", "create", "-f", spec)
    code = NOT_FOUND if "/" in name else USAGE
    for words in (["show", name], ["pause", name], ["watch", name], ["pareto", name]):
        refused(site, code, "search", *words)
    refused(site, code, "export", name)
    assert worker.http.get("/searches").json()["items"][0]["status"] == "running"


def test_an_export_names_the_trial_and_reads_back(
    site: Site, spec: str, worker: ScriptedWorker, tmp_path: Path
) -> None:
    brainformer(site, "search", "create", "-f", spec)
    worker.finish_next([2.0], kind="baseline")
    worker.finish_candidates([1.9, 1.8])
    file = tmp_path / "block.json"
    assert "wrote trial 2 of small" in brainformer(site, "export", "small", "-o", str(file)).stderr
    found = read_export(file)
    assert found.fitness == pytest.approx(0.2)
    other = brainformer(site, "export", "small", "--trial", "1").stdout
    assert json.loads(other)["digest"] != found.digest
    source = brainformer(site, "export", "small", "--format", "flax", "--target-params", "2M")
    assert "class Model(nnx.Module)" in source.stdout
    compile(source.stdout, "block.py", "exec")


def test_a_search_goes_on_from_what_another_evaluated(
    site: Site, spec: str, worker: ScriptedWorker, tmp_path: Path
) -> None:
    first = brainformer(site, "search", "create", "-f", spec).stdout.strip()
    worker.finish_next([2.0], kind="baseline")
    worker.finish_next([1.9, 1.8], kind="candidate")
    file = tmp_path / "first.jsonl"
    brainformer(site, "export", first, "--format", "trials", "-o", str(file))
    longer = tmp_path / "longer.yaml"
    longer.write_text(SPEC.replace("trials: 2", "trials: 5").replace("small", "longer"))
    created = brainformer(site, "search", "create", "-f", str(longer), "--import", str(file))
    assert "imported 2 candidates" in created.stderr
    shown = json.loads(brainformer(site, "search", "show", created.stdout.strip(), "--json").stdout)
    assert (shown["candidates_finished"], shown["counts"]["completed"]) == (2, 3)
    assert shown["baseline"]["repeats"] == 1


def test_an_import_that_does_not_fit_creates_nothing(site: Site, spec: str, tmp_path: Path) -> None:
    plain = tmp_path / "plain.jsonl"
    plain.write_text('{"number": 1}\n')
    create = ("search", "create", "-f", spec, "--import")
    assert "--format trials" in refused(site, USAGE, *create, str(plain))
    assert "cannot read" in refused(site, USAGE, *create, str(tmp_path / "absent.jsonl"))
    (tmp_path / "cut.jsonl").write_text('{"record": "search", "schema')
    assert "line 1 is not JSON" in refused(site, USAGE, *create, str(tmp_path / "cut.jsonl"))
    (tmp_path / "newer.jsonl").write_text('{"record": "search", "schema_version": 2}\n')
    assert "newer" in refused(site, USAGE, *create, str(tmp_path / "newer.jsonl"))
    assert brainformer(site, "search", "list", "--json").stdout.strip() == "[]"
