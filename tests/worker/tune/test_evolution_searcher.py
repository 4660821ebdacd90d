"""Our evolution as a Tune Searcher: callbacks lost or twice, and one real Tune run."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray import tune
from ray.tune.search import Searcher

from brainformer.search.ask_tell.contract import ask_tell_spec
from brainformer.search.ask_tell.in_memory import MemorySearch
from brainformer.search.ask_tell.in_sql import open_sql_search
from brainformer.search.errors import Conflict, InvalidInput
from brainformer.search.space.genome import parse_genome
from brainformer.worker.tune.evolution_searcher import EvolutionSearcher
from tests.search.spaces import sequences

SPEC = ask_tell_spec(sequences(6), seed=2, population_size=6, tournament_size=3)


def _experts(config: dict[str, Any]) -> float:
    return float(sum(layer["kind"] == "moe" for layer in config["genome"]["layers"]))


def test_it_suggests_genomes_of_the_space_and_learns_what_is_reported() -> None:
    search = MemorySearch(SPEC)
    searcher = EvolutionSearcher(search)
    for at in range(40):
        config = searcher.suggest(f"t{at}")
        assert isinstance(config, dict)
        assert sequences(6).contains(parse_genome(config["genome"]))
        searcher.on_trial_complete(f"t{at}", {"fitness": _experts(config)})
    assert search.best()[0].fitness == 6.0


def test_a_loss_is_minimised() -> None:
    search = MemorySearch(SPEC)
    searcher = EvolutionSearcher(search, metric="loss", mode="min")
    for trial, loss in (("a", 3.0), ("b", 1.0)):
        searcher.suggest(trial)
        searcher.on_trial_complete(trial, {"loss": loss})
    assert search.best()[0].fitness == -1.0


def test_what_tune_is_asked_to_optimise_is_what_is_told() -> None:
    search = MemorySearch(SPEC)
    searcher = EvolutionSearcher(search)
    assert searcher.set_search_properties("loss", "min", {"anything": 1})
    assert (searcher.metric, searcher.mode) == ("loss", "min")
    searcher.suggest("a")
    searcher.on_trial_complete("a", {"loss": 3.0, "fitness": 8.0})
    assert search.best()[0].fitness == -3.0


def test_two_names_for_the_figure_are_refused() -> None:
    searcher = EvolutionSearcher(MemorySearch(SPEC), metric="loss", mode="min")
    assert searcher.set_search_properties("loss", "min", {})
    assert searcher.set_search_properties(None, None, {})
    for metric, mode in (("accuracy", None), ("loss", "max")):
        with pytest.raises(InvalidInput, match="name it in one of them"):
            searcher.set_search_properties(metric, mode, {})
    assert (searcher.metric, searcher.mode) == ("loss", "min")


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (None, True),
        (None, False),
        ({}, False),
        ({"fitness": math.nan}, False),
        ({"fitness": 1e300}, False),
        ({"fitness": "high"}, False),
        ({"fitness": 1.0, "ms": -1.0}, False),
    ],
)
def test_a_trial_without_a_finite_figure_has_failed(
    result: dict[str, Any] | None, error: bool
) -> None:
    search = MemorySearch(SPEC)
    searcher = EvolutionSearcher(search, step_time_ms="ms")
    searcher.suggest("a")
    searcher.on_trial_complete("a", result, error=error)
    assert search.pending() == []
    assert search.best() == []


def test_costs_are_told_under_the_names_that_they_are_reported_by() -> None:
    search = MemorySearch(SPEC)
    searcher = EvolutionSearcher(search, step_time_ms="ms", parameters="size")
    searcher.suggest("a")
    reported = {"fitness": np.float32(0.5), "ms": 20, "size": np.int64(7)}
    searcher.on_trial_complete("a", reported)
    [one] = search.pareto()
    assert (one.fitness, one.step_time_ms, one.parameters) == (0.5, 20.0, 7)


def test_a_pruned_trial_is_told_as_pruned() -> None:
    search = MemorySearch(SPEC)
    searcher = EvolutionSearcher(search)
    searcher.suggest("a")
    searcher.on_trial_complete("a", {"fitness": 9.0, "pruned": True})
    assert search.best() == []
    assert search.pending() == []


def test_callbacks_that_come_twice_are_harmless() -> None:
    search = MemorySearch(SPEC)
    searcher = EvolutionSearcher(search)
    assert searcher.suggest("a") == searcher.suggest("a")
    searcher.on_trial_complete("a", {"fitness": 1.0})
    searcher.on_trial_complete("a", {"fitness": 2.0})
    searcher.on_trial_complete("never suggested", {"fitness": 2.0})
    assert search.best()[0].fitness == 1.0


def test_an_exhausted_space_ends_the_run() -> None:
    searcher = EvolutionSearcher(MemorySearch(ask_tell_spec(sequences(1), tournament_size=1)))
    assert all(isinstance(searcher.suggest(str(at)), dict) for at in range(3))
    assert searcher.suggest("3") == Searcher.FINISHED


def test_what_a_lost_driver_had_asked_for_is_suggested_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'mine.db'}"
    search = open_sql_search(SPEC, url)
    lost = EvolutionSearcher(search).suggest("a")
    search.close()
    search = open_sql_search(SPEC, url)
    again = EvolutionSearcher(search).suggest("other name")
    search.close()
    assert again == lost


@pytest.fixture
def small_cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_says_why_it_is_of_no_use(duplicate: Callable[[Searcher], Searcher]) -> None:
    other = duplicate(EvolutionSearcher(MemorySearch(SPEC)))
    for use in (
        lambda: other.suggest("t0"),
        lambda: other.on_trial_complete("t0", {"fitness": 1.0}),
        lambda: other.restore("folder"),
    ):
        with pytest.raises(Conflict, match="begin a new Tuner with EvolutionSearcher"):
            use()


@pytest.mark.slow
def test_a_real_tune_run_is_told_whatever_was_reported(small_cluster: None, tmp_path: Path) -> None:
    search = MemorySearch(SPEC)
    tuner = tune.Tuner(
        lambda config: tune.report({"fitness": _experts(config)}),
        tune_config=tune.TuneConfig(
            search_alg=EvolutionSearcher(search),
            num_samples=8,
            max_concurrent_trials=2,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    )
    assert not tuner.fit().errors
    told = search.best(100)
    assert len(told) == 8
    for one in told:
        assert one.fitness == _experts({"genome": one.genome.canonical()})
