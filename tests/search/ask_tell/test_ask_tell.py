"""Ask and tell: one suite over a search in memory, in a SQLite file and in PostgreSQL."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from brainformer.search.ask_tell.contract import AskedTrial, AskTell, ask_tell_spec
from brainformer.search.ask_tell.in_memory import MemorySearch
from brainformer.search.errors import (
    Conflict,
    IllegalTransition,
    InvalidGenome,
    InvalidMeasurement,
    InvalidSpec,
    NotFound,
    SpaceExhausted,
)
from brainformer.search.space.genome import Genome
from brainformer.search.sql.trials.history import SqlHistory
from brainformer.search.sql.trials.state import lock_search
from brainformer.search.trials.trial import TrialKind
from tests.search.ask_tell.bench import SMALL, Bench
from tests.search.spaces import sequences


def _fitness(genome: Genome) -> float:
    return sum(layer.kind == "moe" for layer in genome.layers) - 0.1 * len(genome.layers)


def _run(search: AskTell, count: int, fitness: Callable[[Genome], float] = _fitness) -> list[str]:
    """Drives a search with three trials in flight, told in an order of their own."""
    order, digests = np.random.default_rng(1), []
    for _ in range(count):
        while len(search.pending()) < 3:
            digests.append(search.ask().genome.digest)
        waiting = search.pending()
        trial = waiting[int(order.integers(len(waiting)))]
        search.tell(trial, fitness(trial.genome))
    return digests


def test_trials_are_numbered_and_pending_until_told(bench: Bench) -> None:
    search = bench.open()
    first, second = search.ask(), search.ask()
    assert (first.number, second.number) == (0, 1)
    assert first.seed != second.seed
    assert search.pending() == [first, second]
    search.tell(second, 0.5)
    assert search.pending() == [first]
    search.tell(first.number, 0.25)
    assert search.pending() == []


def test_the_best_told_is_the_best(bench: Bench) -> None:
    search = bench.open()
    trials = [search.ask() for _ in range(5)]
    for trial, fitness in zip(trials, (0.1, 0.4, -2.0, 0.3, 0.2), strict=True):
        search.tell(trial, fitness)
    best = search.best(2)
    assert [one.number for one in best] == [1, 3]
    assert best[0].genome == trials[1].genome
    assert (best[0].fitness, best[0].repeats, best[0].confidence) == (0.4, 0, None)


def test_of_equals_the_one_proposed_first_is_best(bench: Bench) -> None:
    search = bench.open()
    trials = [search.ask() for _ in range(4)]
    for trial in reversed(trials):
        search.tell(trial, 1.0)
    assert [one.number for one in search.best(2)] == [0, 1]
    search.confirm(2, repeats=1)
    assert [search.ask().parent for _ in range(2)] == [0, 1]


def test_a_baseline_told_late_is_no_obstacle_to_going_on(kept: Bench) -> None:
    spec = ask_tell_spec(sequences(8), **SMALL)
    steady, search = MemorySearch(spec), kept.open(spec)
    assert _run(search, 14) == _run(steady, 14)
    for one in (steady, search):
        one.tell_baseline([0.0, 1.5])
    kept.close()
    assert _run(kept.open(spec), 6) == _run(steady, 6)


@pytest.mark.parametrize("count", [0, -1])
def test_none_wanted_none_given(bench: Bench, count: int) -> None:
    search = bench.open()
    for fitness in (0.1, 0.2):
        search.tell(search.ask(), fitness)
    assert search.best(count) == []
    assert search.confirm(count) == 0


def test_nothing_told_nothing_best(bench: Bench) -> None:
    assert bench.open().best() == []


@pytest.mark.parametrize("fitness", [math.nan, math.inf, -math.inf, 1e300, None, "0.5", [1.0]])
def test_a_fitness_that_is_no_finite_number_is_refused_and_nothing_recorded(
    bench: Bench, fitness: Any
) -> None:
    search = bench.open()
    trial = search.ask()
    with pytest.raises(InvalidMeasurement, match="fitness"):
        search.tell(trial, fitness)
    assert search.pending() == [trial]
    assert search.best() == []
    search.tell(trial, 1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"step_time_ms": math.nan},
        {"step_time_ms": 1e31},
        {"step_time_ms": -1.0},
        {"parameters": -1},
        {"parameters": 2.5},
        {"parameters": 10**19},
    ],
)
def test_an_impossible_cost_is_refused_and_nothing_recorded(
    bench: Bench, wrong: dict[str, Any]
) -> None:
    search = bench.open()
    trial = search.ask()
    with pytest.raises(InvalidMeasurement, match=next(iter(wrong))):
        search.tell(trial, 1.0, **wrong)
    assert search.pending() == [trial]


def test_numbers_of_other_libraries_are_as_good(bench: Bench) -> None:
    search = bench.open()
    search.tell(search.ask(), np.float32(0.5), step_time_ms=np.float64(2), parameters=np.int64(3))  # type: ignore[arg-type]
    search.tell_baseline(np.array([0.0, 0.5], np.float32))  # type: ignore[arg-type]
    best, front = search.best()[0], search.pareto()[0]
    assert (best.fitness, front.step_time_ms, front.parameters) == (0.5, 2.0, 3)
    assert best.confidence is None


def test_unknown_and_finished_trials_are_refused(bench: Bench) -> None:
    search = bench.open()
    trial = search.ask()
    for unknown in (7, -1, 2**31, 2**70, "0", 0.0):
        with pytest.raises(NotFound, match=f"no trial {unknown}"):
            search.tell(unknown, 1.0)  # type: ignore[arg-type]
    search.tell(trial, 1.0)
    with pytest.raises(IllegalTransition, match="trial 0 is completed already"):
        search.tell(trial, 2.0)
    with pytest.raises(IllegalTransition, match="trial 0 is completed"):
        search.fail(trial)
    assert search.best()[0].fitness == 1.0


def test_a_pruned_trial_is_never_best_and_a_failed_one_is_forgotten(bench: Bench) -> None:
    search = bench.open()
    low, pruned, failed = search.ask(), search.ask(), search.ask()
    search.tell(low, -30.0)
    search.tell(pruned, pruned=True)
    search.fail(failed, "the evaluator crashed")
    assert [one.number for one in search.best(3)] == [low.number]
    later = {search.ask().genome.digest for _ in range(10)}
    assert not later & {low.genome.digest, pruned.genome.digest, failed.genome.digest}


def test_memory_and_sql_search_alike(bench: Bench) -> None:
    spec = ask_tell_spec(sequences(8), **SMALL)
    assert _run(bench.open(spec), 40) == _run(MemorySearch(spec), 40)


def test_a_search_goes_on_after_a_restart_as_if_there_had_been_none(kept: Bench) -> None:
    spec = ask_tell_spec(sequences(8), **SMALL)
    expected = _run(MemorySearch(spec), 45)
    order, digests = np.random.default_rng(1), []
    for step in range(45):
        if step % 5 == 0:
            kept.close()
            search = kept.open(spec)
        while len(search.pending()) < 3:
            digests.append(search.ask().genome.digest)
        waiting = search.pending()
        trial = waiting[int(order.integers(len(waiting)))]
        search.tell(trial, _fitness(trial.genome))
    assert digests == expected


def _in_flight(search: Any, limit: int) -> list[str]:
    """Returns the digests of the candidates that the surrogate hears of."""
    if isinstance(search, MemorySearch):
        return [genome.digest for genome in search._history.in_flight(limit)]
    with search._database.write() as tx:
        history = SqlHistory(tx, lock_search(tx, search._id), search._cache)
        return [genome.digest for genome in history.in_flight(limit)]


def test_what_is_in_flight_are_the_candidates_that_have_not_ended(bench: Bench) -> None:
    search = bench.open()
    assert _in_flight(search, 10) == []
    asked = [search.ask() for _ in range(6)]
    search.tell(asked[0], 0.5)
    search.confirm(1, repeats=1)
    assert search.ask().kind is TrialKind.CONFIRMATION
    search.tell(asked[3], pruned=True)
    search.fail(asked[4], "lost")
    left = [asked[place].genome.digest for place in (1, 2, 5)]
    assert _in_flight(search, 10) == left
    assert _in_flight(search, 2) == left[1:]
    for trial in search.pending():
        search.tell(trial, 0.1)
    assert _in_flight(search, 10) == []


def test_another_spec_under_the_same_name_is_refused(kept: Bench) -> None:
    kept.open(ask_tell_spec("nano", seed=1)).ask()
    kept.close()
    with pytest.raises(Conflict, match="another spec"):
        kept.open(ask_tell_spec("nano", seed=2))
    assert kept.open(ask_tell_spec("nano", seed=1)).pending()[0].number == 0


def test_searches_of_other_names_stand_side_by_side(kept: Bench) -> None:
    kept.open(ask_tell_spec("nano", name="first")).ask()
    kept.close()
    assert kept.open(ask_tell_spec("nano", name="second")).pending() == []


def test_a_seed_outside_the_space_is_refused_before_anything_is_written(kept: Bench) -> None:
    outside = Genome.model_validate({"model_dim": 7, "layers": [{"kind": "attention", "heads": 1}]})
    with pytest.raises(InvalidSpec):
        kept.open(ask_tell_spec("nano", seeds=(outside,)))
    assert kept.open(ask_tell_spec("nano")).ask().number == 0


def test_an_exhausted_space_says_so_and_can_still_be_told(bench: Bench) -> None:
    search = bench.open(ask_tell_spec(sequences(1), **SMALL))
    trials = [search.ask() for _ in range(3)]
    with pytest.raises(SpaceExhausted):
        search.ask()
    for trial in trials:
        search.tell(trial, float(trial.number))
    assert search.best()[0].number == 2


def test_an_unknown_option_is_refused_by_name() -> None:
    with pytest.raises(InvalidSpec, match="/poplation_size"):
        ask_tell_spec("nano", poplation_size=3)


def test_asked_trials_are_plain_values() -> None:
    search = MemorySearch(ask_tell_spec("nano"))
    trial = search.ask()
    assert isinstance(trial, AskedTrial)
    with pytest.raises(AttributeError):
        trial.number = 3  # type: ignore[misc]


def test_what_was_evaluated_elsewhere_is_learned_from_and_not_proposed(bench: Bench) -> None:
    elsewhere = MemorySearch(ask_tell_spec("nano", **SMALL | {"seed": 9}))
    _run(elsewhere, 20)
    search = bench.open()
    known = [one.genome for one in elsewhere.best(10)]
    for genome in known:
        search.add_evaluated(genome, _fitness(genome), step_time_ms=5.0)
    assert search.pending() == []
    (best,) = search.best()
    assert best.genome == max(known, key=_fitness)
    asked = search.ask()
    assert asked.origin == "mutation"  # ten results are a population of six
    assert not {one.digest for one in known} & set(_run(search, 30))
    assert {one.genome.digest for one in search.pareto()} & {one.digest for one in known}


def test_seeds_keep_their_places_beside_what_was_evaluated(bench: Bench) -> None:
    search = bench.open(ask_tell_spec("nano", **SMALL, seeds=("switch", "dense_transformer")))
    first = MemorySearch(ask_tell_spec("nano", **SMALL)).ask().genome
    search.add_evaluated(first, 1.0)
    assert [search.ask().origin for _ in range(2)] == ["seed", "seed"]


def test_a_genome_is_taken_in_once_and_only_from_its_space(bench: Bench) -> None:
    search = bench.open()
    asked = search.ask()
    with pytest.raises(Conflict, match="already"):
        search.add_evaluated(asked.genome, 1.0)
    foreign = asked.genome.model_copy(update={"model_dim": 4096})
    with pytest.raises(InvalidGenome, match="outside the space"):
        search.add_evaluated(foreign, 1.0)
    with pytest.raises(InvalidMeasurement):
        search.add_evaluated(foreign, math.nan)
    search.tell(asked, 0.5)
    assert [one.fitness for one in search.best(5)] == [0.5]
