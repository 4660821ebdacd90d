"""Comparisons of fresh runs, held against SciPy's own tests and against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from brainformer.search.estimates.comparison import (
    gain_interval,
    holm,
    margin,
    p_value,
    paired_p_value,
    standard_deviation,
)

losses = st.lists(st.floats(0.5, 5.0).map(lambda x: round(x, 6)), min_size=2, max_size=8)


def varied(values: list[float]) -> bool:
    return np.std(values) > 1e-3


@given(losses, losses)
def test_without_divergence_it_is_welchs_test(block: list[float], rival: list[float]) -> None:
    if not (varied(block) or varied(rival)):
        return
    expected = stats.ttest_ind(block, rival, equal_var=False, alternative="less").pvalue
    assert p_value(block, rival) == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.tuples(st.floats(0.5, 5), st.floats(0.5, 5)), min_size=2, max_size=8))
def test_paired_runs_are_compared_by_their_differences(pairs: list[tuple[float, float]]) -> None:
    first, second = [one for one, _ in pairs], [other for _, other in pairs]
    if np.std(np.subtract(first, second)) < 1e-3:
        return
    expected = stats.ttest_rel(first, second, alternative="less").pvalue
    assert paired_p_value(first, second) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("block", "rival"), [(3, 4), (5, 5), (2, 6)])
def test_with_a_divergence_it_is_the_exact_rank_sum_test(block: int, rival: int) -> None:
    rng = np.random.default_rng(block)
    own: list[float | None] = [*rng.normal(2.0, 0.1, block - 1), None]
    other: list[float | None] = list(rng.normal(2.1, 0.1, rival))
    ordered = [9.0 if one is None else one for one in own]
    expected = stats.mannwhitneyu(ordered, other, alternative="less", method="exact").pvalue
    assert p_value(own, other) == pytest.approx(expected)


def test_a_divergence_is_never_better_than_no_divergence() -> None:
    rival = [2.0, 2.01, 1.99, 2.02, 2.0]
    sound = p_value([1.5, 1.51, 1.49, 1.5], rival)
    diverged = p_value([1.5, 1.51, 1.49, None], rival)
    assert sound is not None
    assert diverged is not None
    assert sound < 0.001 < 0.05 < diverged


def test_runs_that_all_diverge_do_not_beat_anything() -> None:
    assert p_value([None, None, None], [2.0, 2.1, 2.2]) == 1.0
    assert p_value([None, None], [None, None]) == pytest.approx(1.0)


@pytest.mark.parametrize(("block", "rival"), [([1.0], [2.0, 2.1]), ([1.0, 1.1], [2.0]), ([], [])])
def test_one_run_a_side_gives_no_probability(block: list[float], rival: list[float]) -> None:
    assert p_value(block, rival) is None
    assert paired_p_value(block, rival) is None
    assert gain_interval(block, rival) is None


def test_runs_without_any_noise_are_told_apart_exactly() -> None:
    assert p_value([1.0, 1.0], [2.0, 2.0]) == 0.0
    assert p_value([2.0, 2.0], [1.0, 1.0]) == 1.0
    assert p_value([2.0, 2.0], [2.0, 2.0]) == 0.5


def test_holm_by_its_textbook_example() -> None:
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({1: 0.9, 2: 0.8}) == {2: 1.0, 1: 1.0}


@pytest.mark.parametrize("repeats", [2, 3, 5, 9])
def test_one_equal_run_in_a_hundred_lies_above_the_margin(repeats: int) -> None:
    rng = np.random.default_rng(repeats)
    drawn = rng.normal(0, 1, (40_000, repeats + 1))
    deviations = drawn[:, :repeats].std(axis=1, ddof=1)
    unit = margin(repeats, 1.0)
    assert unit is not None
    above = drawn[:, repeats] > drawn[:, :repeats].mean(axis=1) + unit * deviations
    assert above.mean() == pytest.approx(0.01, abs=0.002)


def test_without_noise_known_there_is_no_margin() -> None:
    assert margin(1, None) is None
    assert margin(3, None) is None
    assert margin(3, 0.0) == 0.0


def test_an_interval_covers_the_true_gain_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(2000):
        block, rival = rng.normal(1.9, 0.02, 4), rng.normal(2.0, 0.05, 5)
        low, high = gain_interval(list(block), list(rival), level=0.9) or (math.inf, -math.inf)
        hits += low <= 0.1 <= high
    assert hits / 2000 == pytest.approx(0.9, abs=0.025)


def test_a_deviation_is_the_samples() -> None:
    assert standard_deviation([1.0]) is None
    assert standard_deviation([1.0, 2.0, 4.0]) == pytest.approx(np.std([1, 2, 4], ddof=1))
