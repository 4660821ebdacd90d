"""The Pareto front of ask and tell: in memory and in SQL what no other candidate beats."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brainformer.search.ask_tell.contract import (
    AskedTrial,
    AskTell,
    Compromise,
    ask_tell_spec,
)
from brainformer.search.ask_tell.in_memory import MemorySearch
from brainformer.search.cost.cost import parameters
from brainformer.search.evolution.pareto import dominance, objectives
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.trials.history import Observation
from tests.search.ask_tell.bench import SMALL, Bench
from tests.search.spaces import sequences

NAMES = itertools.count()


class Told(NamedTuple):
    """What is told of one trial; a fitness of None prunes it."""

    fitness: int | None
    step_time_ms: int | None
    parameters: int | None


some_told = st.lists(
    st.builds(
        Told,
        st.none() | st.integers(-2, 2),
        st.none() | st.integers(1, 4),
        st.none() | st.integers(1, 4),
    ),
    max_size=12,
)


def _front(trials: list[AskedTrial], told: list[Told], proxy: Proxy) -> set[int]:
    """Returns the numbers on the front, by comparing every two; of equals, the first."""
    seen = [
        Observation(
            number=trial.number,
            finished=rank,
            genome=trial.genome,
            fitness=one.fitness,
            step_time_ms=one.step_time_ms,
            parameters=one.parameters or parameters(trial.genome, proxy),
        )
        for rank, (trial, one) in enumerate(zip(trials, told, strict=True))
        if one.fitness is not None and (one.step_time_ms or one.parameters)
    ]
    values = objectives(seen)
    over = dominance(values)
    same = (values[:, None, :] == values[None, :, :]).all(axis=2)
    return {
        one.number
        for at, one in enumerate(seen)
        if not over[:, at].any() and not same[:at, at].any()
    }


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(some_told)
def test_the_front_is_who_is_beaten_by_none(bench: Bench, told: list[Told]) -> None:
    bench.close()
    spec = ask_tell_spec(sequences(3), name=f"front-{next(NAMES)}", algorithm="random")
    search = bench.open(spec)
    trials = [search.ask() for _ in told]
    trials.reverse()
    for trial, one in zip(trials, told, strict=True):
        search.tell(
            trial,
            one.fitness,
            pruned=one.fitness is None,
            step_time_ms=one.step_time_ms,
            parameters=one.parameters,
        )
    assert {one.number for one in search.pareto()} == _front(trials, told, spec.proxy)


def test_a_compromise_says_what_was_told_and_counts_what_was_not(bench: Bench) -> None:
    search = bench.open()
    slow, fast, plain, unmeasured = (search.ask() for _ in range(4))
    search.tell(slow, 2.0, step_time_ms=9.0)
    search.tell(fast, 1.0, step_time_ms=3.5)
    search.tell(plain, 9.0)
    search.tell(unmeasured, 0.5, parameters=7)
    size = {one: parameters(one.genome, search.spec.proxy) for one in (slow, fast)}
    assert search.pareto() == [
        Compromise(fast.number, fast.genome, 1.0, 3.5, size[fast]),
        Compromise(slow.number, slow.genome, 2.0, 9.0, size[slow]),
        Compromise(unmeasured.number, unmeasured.genome, 0.5, None, 7),
    ]


def test_confirmations_and_failures_are_not_on_the_front(bench: Bench) -> None:
    search = bench.open()
    search.tell(search.ask(), 1.0, step_time_ms=5.0, parameters=5)
    search.fail(search.ask(), "it broke")
    search.confirm(1, repeats=1)
    search.tell(search.ask(), 9.0, step_time_ms=1.0, parameters=1)
    assert [one.number for one in search.pareto()] == [0]


def test_the_front_outlives_the_process(kept: Bench) -> None:
    search = kept.open()
    for fitness in (1.0, 3.0, 2.0):
        search.tell(search.ask(), fitness, step_time_ms=10 * fitness)
    expected = search.pareto()
    kept.close()
    assert kept.open().pareto() == expected


def _driven(search: AskTell, *, told: bool) -> list[str]:
    digests = []
    for _ in range(40):
        trial = search.ask()
        digests.append(trial.genome.digest)
        attention = sum(layer.kind == "attention" for layer in trial.genome.layers)
        costs: dict[str, Any] = {"step_time_ms": 10.0 + attention} if told else {}
        search.tell(trial, float(np.cos(trial.number)), **costs)
    return digests


@pytest.mark.parametrize("told", [True, False])
def test_several_objectives_choose_alike_in_memory_and_in_sql(kept: Bench, told: bool) -> None:
    spec = ask_tell_spec("nano", algorithm="nsga2", **SMALL)
    assert _driven(kept.open(spec), told=told) == _driven(MemorySearch(spec), told=told)
