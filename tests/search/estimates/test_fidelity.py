"""The fidelity of a proxy, held against SciPy and against tables whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from brainformer.search.estimates.fidelity import fidelity, tau_b

values = st.lists(st.integers(0, 6), min_size=3, max_size=12)


@given(values, st.randoms())
def test_tau_is_kendalls_tau_b(left: list[int], random: object) -> None:
    right = list(left)
    random.shuffle(right)  # type: ignore[attr-defined]
    expected = stats.kendalltau(left, right).statistic
    found = tau_b(np.array(left, float), np.array(right, float))
    assert found == pytest.approx(0.0 if np.isnan(expected) else expected)


def table(truth: np.ndarray, noise: float, seeds: int, rng: np.random.Generator) -> np.ndarray:
    return truth[:, None] + noise * rng.standard_normal((len(truth), seeds))


def test_a_proxy_that_knows_the_target_is_sufficient() -> None:
    rng = np.random.default_rng(0)
    truth = np.linspace(1.5, 2.0, 16)
    found = fidelity(table(truth, 0.002, 2, rng), table(truth - 0.3, 0.002, 2, rng), rng=rng)
    assert found.tau.value > 0.95
    assert found.tau_top.value > 0.9
    assert found.ceiling is not None
    assert found.ceiling.value > 0.95
    assert found.regret.high < 0.01
    assert found.sufficient


def test_a_proxy_that_prefers_the_wrong_block_is_not() -> None:
    rng = np.random.default_rng(1)
    truth = np.linspace(1.5, 2.0, 16)
    found = fidelity(table(truth[::-1], 0.002, 2, rng), table(truth, 0.002, 2, rng), rng=rng)
    assert found.tau.value < -0.9
    assert found.regret.value == pytest.approx(0.5, abs=0.01)
    assert not found.sufficient


def test_noise_lowers_the_ceiling_and_widens_the_interval() -> None:
    rng = np.random.default_rng(2)
    truth = np.linspace(1.5, 1.6, 16)
    quiet = fidelity(table(truth, 0.001, 2, rng), table(truth, 0.001, 2, rng), rng=rng)
    noisy = fidelity(table(truth, 0.05, 2, rng), table(truth, 0.05, 2, rng), rng=rng)
    assert quiet.ceiling is not None
    assert noisy.ceiling is not None
    assert noisy.ceiling.value < quiet.ceiling.value - 0.3
    assert noisy.regret.high - noisy.regret.low > quiet.regret.high - quiet.regret.low


def test_a_proxy_that_counts_steps_alone_knows_nothing_beyond_them() -> None:
    rng = np.random.default_rng(3)
    steps = rng.permutation(np.arange(24.0)) * 100
    by_steps = table(3.0 - steps / 3000, 0.001, 2, rng)
    target = table(2.0 - steps / 9000 + 0.05 * rng.standard_normal(24), 0.001, 2, rng)
    found = fidelity(by_steps, target, steps=steps, rng=rng)
    assert found.tau.value > 0.5
    assert found.partial_tau is None or abs(found.partial_tau) < 0.35


def test_agreement_is_the_share_on_the_rivals_same_side() -> None:
    rng = np.random.default_rng(4)
    proxy = np.array([[1.0, 1.0], [1.2, 1.2], [1.4, 1.4], [1.6, 1.6]])
    target = np.array([[0.5, 0.5], [0.9, 0.9], [0.6, 0.6], [1.0, 1.0]])
    assert fidelity(proxy, target, rival=(1.3, 0.8), rng=rng).agreement == 0.5


def test_a_block_that_diverged_is_worse_than_any() -> None:
    rng = np.random.default_rng(5)
    proxy = np.array([[1.0, 1.1], [1.2, 1.1], [np.inf, 1.0], [1.5, 1.6]])
    target = np.array([[0.5, 0.6], [0.7, 0.7], [np.inf, np.inf], [0.9, 0.8]])
    found = fidelity(proxy, target, rng=rng)
    assert found.tau.value == 1.0
    assert found.regret.value == 0.0
    assert np.isfinite([found.tau.high, found.regret.high]).all()


def test_a_winner_that_diverged_at_the_target_costs_a_nat_at_least() -> None:
    rng = np.random.default_rng(5)
    proxy = np.array([[1.0, 1.1], [1.2, 1.1], [1.3, 1.0], [1.5, 1.6]])
    target = np.array([[np.inf, np.inf], [0.7, 0.7], [0.8, 0.8], [0.9, 0.8]])
    found = fidelity(proxy, target, rng=rng)
    assert found.regret.value == pytest.approx(1.2)
    assert found.regret.high >= found.regret.value


def test_without_a_second_seed_there_is_no_ceiling() -> None:
    rng = np.random.default_rng(6)
    truth = np.linspace(1.5, 2.0, 10)
    found = fidelity(table(truth, 0.01, 1, rng), table(truth, 0.01, 1, rng), rng=rng)
    assert found.ceiling is None
