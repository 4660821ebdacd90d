"""Several objectives: dominance, fronts, crowding, and the archive of the best compromises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainformer.search.evolution.pareto import (
    ParetoArchive,
    crowding,
    dominance,
    fronts,
    objectives,
    rank_by_dominance,
)
from brainformer.search.trials.history import Observation
from tests.search.spaces import sequences

GENOME = sequences(1).sample(rng=np.random.default_rng(0))


def _seen(number: int, fitness: float, time: float | None, size: int | None) -> Observation:
    return Observation(number, number, GENOME, fitness, step_time_ms=time, parameters=size)


some_observations = st.lists(
    st.tuples(st.integers(0, 5), st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=25
).map(lambda rows: [_seen(n, float(f), float(t), p) for n, (f, t, p) in enumerate(rows)])


def test_dominance_is_nowhere_worse_and_somewhere_better() -> None:
    values = np.array([[1.0, 1, 1], [1, 1, 2], [0, 2, 1], [1, 1, 1]])
    assert dominance(values)[0].tolist() == [False, True, False, False]


def test_unknown_costs_and_pruned_trials_come_last() -> None:
    pruned = Observation(2, 2, GENOME, -1.0, pruned=True)
    values = objectives([_seen(0, 0.5, None, None), pruned])
    assert values.tolist() == [[-0.5, np.inf, np.inf], [np.inf, np.inf, np.inf]]


@given(some_observations)
def test_the_front_is_what_no_other_dominates(seen: list[Observation]) -> None:
    values = objectives(seen)
    front = {one.number for one, rank in zip(seen, fronts(values), strict=True) if rank == 0}
    over = dominance(values)
    assert front == {one.number for at, one in enumerate(seen) if not over[:, at].any()}
    assert front


@given(some_observations)
def test_fronts_peel_one_after_another(seen: list[Observation]) -> None:
    values = objectives(seen)
    rank, over = fronts(values), dominance(values)
    for at in range(len(seen)):
        above = [int(rank[other]) for other in range(len(seen)) if over[other, at]]
        assert rank[at] == (max(above) + 1 if above else 0)


def test_the_lonely_are_preferred_within_a_front() -> None:
    line = [_seen(n, f, t, 1) for n, (f, t) in enumerate([(0, 0), (1, 1), (1.1, 1.1), (9, 9)])]
    far = crowding(objectives(line))
    assert np.isinf(far[[0, 3]]).all()
    assert far[2] > far[1]
    order = rank_by_dominance(line)
    assert order[0] < order[2] < order[1] < 1.0


@given(some_observations)
def test_the_archive_holds_the_front_of_all_that_was_added(seen: list[Observation]) -> None:
    archive = ParetoArchive()
    for one in seen:
        archive.add(one)
    held = {tuple(row) for row in objectives(archive.members)}
    values = objectives(seen)
    assert held == {tuple(row) for row in values[fronts(values) == 0]}


def test_a_pruned_trial_never_enters_the_archive() -> None:
    archive = ParetoArchive()
    archive.add(Observation(0, 0, GENOME, -1.0, pruned=True))
    assert archive.members == []


def test_an_empty_history_has_no_front() -> None:
    assert fronts(objectives([])).size == 0
    assert ParetoArchive().members == []


def test_equal_values_are_kept_once() -> None:
    archive = ParetoArchive()
    for number in range(3):
        archive.add(_seen(number, 1.0, 2.0, 3))
    assert [one.number for one in archive.members] == [0]
    with pytest.raises(AttributeError):
        archive.members = []  # type: ignore[misc]
