"""The Python client, against a real controller."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas
import pytest

from brainformer.client import Client, SearchRecord
from brainformer.search.errors import (
    Conflict,
    ControllerUnreachable,
    EnvironmentProblem,
    InvalidInput,
    InvalidSpec,
    NotFound,
)
from brainformer.search.export.genome_file import read_export
from brainformer.search.spec import parse_spec
from brainformer.search.trials.trial import TrialStatus
from tests.api.controller_process import controller_process
from tests.api.dashboard.site import ScriptedWorker, Site
from tests.repository import REPOSITORY

pytestmark = pytest.mark.timed


SPEC: dict[str, Any] = {
    "name": "small",
    "space": "nano",
    "baseline_repeats": 1,
    "population_size": 3,
    "tournament_size": 2,
    "limits": {"trials": 2},
    "confirmations": 0,
}


@pytest.fixture
def client(site: Site) -> Iterator[Client]:
    with Client(site.url) as found:
        yield found


def finish_all(worker: ScriptedWorker) -> None:
    worker.finish_next([2.0], kind="baseline")
    worker.finish_candidates([1.9, 1.8])


def test_a_search_is_created_waited_for_and_its_best_exported(
    client: Client, worker: ScriptedWorker, tmp_path: Path
) -> None:
    search = client.create(SPEC)
    told: list[SearchRecord] = []
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(search.wait, progress=told.append, poll_seconds=0.02)
        finish_all(worker)
        record = waiting.result(timeout=30)
    assert record.status == "completed"
    assert told[-1] == record == search.record
    assert [one.candidates_finished for one in told] == sorted(
        one.candidates_finished for one in told
    )
    best = search.best()
    assert (best.trial.number, best.trial.fitness) == (2, pytest.approx(0.2))
    block = search.export(tmp_path / "best.json")
    assert block == read_export(tmp_path / "best.json")
    assert block.genome == best.trial.genome
    larger = search.export(tmp_path / "block.py", trial=1, format="flax", target_params=2_000_000)
    assert larger.scaled_from == search.trial(1).digest
    compile((tmp_path / "block.py").read_text(), "block.py", "exec")
    assert search.report(tmp_path / "report.html").startswith("<!doctype html>")


def test_a_bar_is_drawn_on_stderr_and_says_how_it_ended(
    client: Client, worker: ScriptedWorker, capfd: pytest.CaptureFixture[str]
) -> None:
    search = client.create(SPEC)
    finish_all(worker)
    search.wait(poll_seconds=0.02)
    out, told = capfd.readouterr()
    assert "completed, 0 running, best 0.2000" in told
    assert "2/2" in told
    assert out == ""


def test_a_wait_has_an_end(client: Client) -> None:
    search = client.create(SPEC)
    with pytest.raises(TimeoutError, match=r"search small is running after 0\.05 s"):
        search.wait(progress=False, timeout_seconds=0.05, poll_seconds=0.01)


def test_an_outage_is_waited_out(site: Site, client: Client, worker: ScriptedWorker) -> None:
    search = client.create(SPEC)
    finish_all(worker)
    worker.http.close()
    site.stop()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(search.wait, progress=False, poll_seconds=0.02)
        site.start()
        assert waiting.result(timeout=30).status == "completed"


def test_trials_are_records_and_a_frame(client: Client, worker: ScriptedWorker) -> None:
    search = client.create(SPEC)
    finish_all(worker)
    trials = list(search.trials(kind="candidate", sort="-fitness"))
    assert [trial.number for trial in trials] == [2, 1]
    assert trials[0].status is TrialStatus.COMPLETED
    frame = search.frame()
    assert list(frame.index) == [0, 1, 2]
    assert frame.loc[2, "fitness"] == pytest.approx(0.2)
    assert frame.loc[2, "validation_loss"] == pytest.approx(1.8)
    assert frame.loc[2, "genome"] == trials[0].genome
    assert frame.loc[2, "parameters"] == trials[0].parameters
    assert pandas.api.types.is_numeric_dtype(frame["step_time_ms"])
    assert search.trial(2).measurements.curve
    assert [trial.number for trial in search.pareto()] == [2]


def test_a_frame_of_no_trials_has_its_columns(client: Client) -> None:
    frame = client.create(SPEC).frame(status="failed")
    assert len(frame) == 0
    assert {"kind", "fitness", "genome"} <= set(frame.columns)


def test_more_trials_than_a_page_are_all_there(
    client: Client, worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brainformer.api.client.search.PAGE", 2)
    monkeypatch.setattr("brainformer.api.client.client.PAGE", 1)
    search = client.create(SPEC)
    finish_all(worker)
    client.create(SPEC | {"name": "other"})
    assert [trial.number for trial in search.trials()] == [0, 1, 2]
    assert [one.record.name for one in client.searches()] == ["other", "small"]


def test_without_pandas_a_frame_says_what_to_install(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(EnvironmentProblem, match=r"brainformer-search\[pandas\]"):
        client.create(SPEC).frame()


def test_a_search_is_found_changed_ended_and_deleted(
    client: Client, worker: ScriptedWorker
) -> None:
    created = client.create(SPEC)
    search = client.search("small")
    assert search.id == created.id
    assert search.change_limits(trials=7).spec.limits.trials == 7
    for act, status in (
        (search.pause, "paused"),
        (search.resume, "running"),
        (search.stop, "stopped"),
    ):
        assert act().status == status
    with pytest.raises(Conflict):
        search.change_limits(trials=9)
    search.delete()
    with pytest.raises(NotFound) as caught:
        client.search(created.id)
    assert str(caught.value) == caught.value.message == f"no search {created.id}"


@pytest.mark.parametrize("named", ["", "..", "../pools", "a/pause", "a?b=c"])
def test_what_names_no_search_is_asked_for_as_a_name(named: str, client: Client) -> None:
    with pytest.raises((NotFound, InvalidInput)) as caught:
        client.search(named)
    assert "Not Found" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda search: search.change_limits(trials=-1), r"/trials must be at least 1 \(got -1\)"),
        (lambda search: search.change_limits(), "trials"),
        (lambda search: search.export("b", format="weights"), "'brainformer export' writes"),
        (lambda search: search.export("b", format="nope"), "'genome' or 'flax'"),
        (lambda search: search.export(target_params="1X"), "K, M or B"),
        (lambda search: search.export(target_params="99999B"), "at most 10000000000000"),
    ],
)
def test_arguments_that_break_a_rule_are_refused_with_the_sentence(
    call: Any, sentence: str, client: Client, worker: ScriptedWorker
) -> None:
    search = client.create(SPEC)
    finish_all(worker)
    with pytest.raises(InvalidInput, match=sentence):
        call(search)


def test_a_block_is_scaled_to_a_size_as_the_command_line_writes_it(
    client: Client, worker: ScriptedWorker
) -> None:
    search = client.create(SPEC)
    finish_all(worker)
    written = search.export(trial=1, target_params="2M")
    assert written == search.export(trial=1, target_params=2_000_000)
    assert written.scaled_from == search.trial(1).digest


def test_workers_and_pools_are_listed(client: Client, worker: ScriptedWorker) -> None:
    client.create(SPEC)
    finish_all(worker)
    assert [(one.worker_id, one.finished) for one in client.workers()] == [("scripted-1", 3)]
    assert [one.pool for one in client.pools()] == ["cpu"]


def test_a_pool_is_retired_and_brought_back(client: Client, worker: ScriptedWorker) -> None:
    client.create(SPEC)
    worker.finish_next([2.0], kind="baseline")
    retirement = client.retire_pool("cpu")
    assert retirement.pool.retired_at is not None
    assert [one.name for one in retirement.searches] == [SPEC["name"]]
    assert client.return_pool("cpu").retired_at is None
    with pytest.raises(NotFound, match="cppu"):
        client.retire_pool("cppu")


@pytest.mark.parametrize("form", ["fields", "spec", "text", "path", "marked"])
def test_a_spec_may_be_fields_a_spec_text_or_a_file(
    form: str, client: Client, tmp_path: Path
) -> None:
    text = "name: small\nspace: nano\nlimits: {trials: 2}\n"
    (tmp_path / "spec.yaml").write_text(text)
    (tmp_path / "marked.yaml").write_text(text, "utf-8-sig")  # as some editors save it
    forms: dict[str, Any] = {
        "fields": {"name": "small", "space": "nano", "limits": {"trials": 2}},
        "spec": parse_spec(text),
        "text": text,
        "path": tmp_path / "spec.yaml",
        "marked": tmp_path / "marked.yaml",
    }
    assert client.create(forms[form]).record.spec == parse_spec(text)


def test_what_is_wrong_with_a_spec_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    unreachable = Client("http://127.0.0.1:9")
    with pytest.raises(InvalidSpec, match="/limits"):
        unreachable.create({"name": "a", "space": "nano"})
    with pytest.raises(InvalidSpec, match="cannot read the spec"):
        unreachable.create(tmp_path / "none.yaml")
    with pytest.raises(ControllerUnreachable):
        unreachable.create(SPEC)


def test_the_same_key_never_creates_twice(client: Client) -> None:
    first = client.create(SPEC, idempotency_key="monday")
    assert client.create(SPEC, idempotency_key="monday").id == first.id


def test_address_and_token_come_from_the_environment(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAINFORMER_URL", site.url)
    assert Client().create(SPEC).url.startswith(f"{site.url}/?search=")


def test_neither_jax_nor_ray_is_imported() -> None:
    script = (
        "import sys, brainformer.client\n"
        "print(sorted({'jax', 'flax', 'ray', 'torch', 'pandas', 'sqlalchemy'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


@contextmanager
def example_running(url: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(REPOSITORY / "examples" / "client.py")]
    environment = {**os.environ, "BRAINFORMER_URL": url}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_the_example_runs_as_it_stands(site: Site, worker: ScriptedWorker, tmp_path: Path) -> None:
    with example_running(site.url, tmp_path) as example:
        assert example.stdout is not None
        assert example.stdout.readline().startswith(f"{site.url}/?search=")
        worker.finish_next([2.0, 2.01], kind="baseline")
        worker.finish_candidates([1.9, 1.8, 1.7, 1.6])
        while client_status(site) == "running":
            lease = worker.claim()
            worker.finish(lease, loss=1.6 if lease["kind"] == "confirmation" else 2.0)
        told = example.communicate(timeout=60)[0]
    assert example.returncode == 0
    assert "completed" in told.splitlines()[0]
    assert "verdict: " in told
    assert read_export(tmp_path / "best-block.json").trial_number == 5


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_example_ends_within_two_minutes_with_a_real_worker(tmp_path: Path) -> None:
    with controller_process(f"sqlite:///{tmp_path / 'search.db'}") as controller:
        command = [sys.executable, "-m", "brainformer.api.cli.main", "worker"]
        options = ["--url", controller.url, "--state-folder", str(tmp_path / "state")]
        worker = subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL)
        try:
            with example_running(controller.url, tmp_path) as example:
                told = example.communicate(timeout=120)[0]
        finally:
            worker.terminate()
            worker.wait(timeout=60)
    assert example.returncode == 0
    assert "completed" in told
    assert read_export(tmp_path / "best-block.json").measurements.steps


def client_status(site: Site) -> str:
    with Client(site.url) as client:
        return client.search("from-python").record.status


def test_a_trial_is_repeated(client: Client, worker: ScriptedWorker) -> None:
    search = client.create(SPEC)
    worker.finish_next([2.0], kind="baseline")
    worker.finish_candidates([1.9])
    made = search.repeat(1)
    assert (made.kind, made.parent_number) == ("repeat", 1)
    with pytest.raises(Conflict, match="repeat of trial 1 itself"):
        search.repeat(made.number)
