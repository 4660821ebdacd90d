"""Confirmations in ask and tell, and what they say of the best."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from brainformer.search.ask_tell.contract import AskTell, ask_tell_spec
from brainformer.search.errors import (
    InvalidMeasurement,
)
from brainformer.search.estimates.verdict import Verdict
from brainformer.search.sql.store import open_store
from brainformer.search.trials.trial import TrialKind
from tests.search.ask_tell.bench import Bench
from tests.search.spaces import sequences


def test_confirmations_are_asked_first_and_decide_who_is_best(bench: Bench) -> None:
    search = bench.open()
    for fitness in (0.9, 0.8, 0.1):
        search.tell(search.ask(), fitness)
    assert search.confirm(2, repeats=2) == 4
    again = [search.ask() for _ in range(4)]
    assert [one.parent for one in again] == [0, 0, 1, 1]
    assert {one.kind for one in again} == {TrialKind.CONFIRMATION}
    assert [one.repeat for one in again] == [0, 1, 0, 1]
    assert [one.seed for one in again] == [search.repeat_seed(n) for n in (0, 1, 0, 1)]
    assert again[0].genome == search.best()[0].genome
    for trial, fitness in zip(again, (0.1, 0.2, 0.7, 0.9), strict=True):
        search.tell(trial, fitness)
    best = search.best(3)
    assert [(one.number, one.repeats) for one in best] == [(1, 2), (0, 2), (2, 0)]
    assert best[0].mean_fitness == pytest.approx(0.8)
    assert [one.fitness for one in best] == [0.8, 0.9, 0.1]


def test_confirmations_do_not_enter_the_population(bench: Bench) -> None:
    everyone = {"population_size": 4, "tournament_size": 4, "screening": {"kind": "none"}}
    search = bench.open(ask_tell_spec(sequences(8), **everyone))
    for fitness in (9.0, 1.0, 2.0, 3.0, 2.5):
        search.tell(search.ask(), fitness)
    search.confirm(1, repeats=1)
    search.tell(search.ask(), 50.0)
    assert search.ask().parent == 3  # the fittest of the last four candidates


def confirmed(search: AskTell, *fresh: Sequence[float | None]) -> None:
    """Tells one candidate for each row, and its confirmations; None fails one."""
    for values in fresh:
        search.tell(search.ask(), sum(v for v in values if v is not None) / len(values) + 0.1)
    repeats = len(fresh[0])
    search.confirm(len(fresh), repeats=repeats)
    for _ in range(len(fresh) * repeats):
        trial = search.ask()
        assert trial.parent is not None
        assert trial.repeat is not None
        value = fresh[trial.parent][trial.repeat]
        if value is None:
            search.fail(trial, "diverged")
        else:
            search.tell(trial, value)


def test_confidence_grows_with_distance_from_a_noisy_baseline(bench: Bench) -> None:
    search = bench.open()
    search.tell_baseline([0.0, 0.02, -0.02, 0.01])
    confirmed(search, (0.2, 0.21, 0.19), (0.01, 0.02, 0.0))
    sure, unsure = search.best(2)
    assert sure.confidence is not None
    assert unsure.confidence is not None
    assert sure.confidence > 0.99 > unsure.confidence > 0.5
    assert (sure.verdict, unsure.verdict) == (Verdict.BETTER, Verdict.UNDECIDED)


def test_a_single_run_gives_no_confidence(bench: Bench) -> None:
    search = bench.open()
    search.tell_baseline([0.0, 0.02, -0.02, 0.01])
    search.tell(search.ask(), 5.0)
    assert (search.best()[0].confidence, search.best()[0].verdict) == (None, Verdict.NOT_CONFIRMED)
    search.confirm(1, repeats=1)
    search.tell(search.ask(), 5.0)
    assert search.best()[0].verdict is Verdict.NOT_ENOUGH_RUNS


def test_a_confirmation_that_fails_counts_against_its_block(bench: Bench) -> None:
    search = bench.open()
    search.tell_baseline([0.0, 0.02, -0.02, 0.01])
    confirmed(search, (0.2, None, 0.19))
    found = search.best()[0]
    assert (found.repeats, found.mean_fitness) == (3, pytest.approx(0.195))
    assert found.verdict is Verdict.UNDECIDED


def test_the_controller_is_as_sure_of_it(kept: Bench) -> None:
    search = kept.open()
    search.tell_baseline([-3.0, -3.02, -2.98])
    confirmed(search, (-2.9, -2.91, None), (-2.95, -2.93, -2.94))
    expected = search.best()[0]
    kept.close()
    store = open_store(str(kept.url))
    found = store.best(search.spec.name)
    store.close()
    assert found.confidence == pytest.approx(expected.confidence)
    assert found.mean_fitness == pytest.approx(expected.mean_fitness)
    assert found.trial.number == expected.number
    assert expected.confidence is not None
    assert expected.confidence > 0.95


@pytest.mark.parametrize("repeats", [[], [1.0], [1.0, math.nan]])
def test_a_baseline_without_repeats_is_refused(bench: Bench, repeats: list[float]) -> None:
    search = bench.open()
    with pytest.raises(InvalidMeasurement):
        search.tell_baseline(repeats)
    search.tell(search.ask(), 1.0)
    assert search.best()[0].confidence is None
