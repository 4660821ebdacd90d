"""The Gaussian process: what it learns of weights and noise, and what it says between."""

from __future__ import annotations

import numpy as np
import pytest

from search.gaussian_process import Matrix, Prediction, condition, fit_weights, prior_weights

RNG = np.random.default_rng(8)
POINTS = RNG.normal(size=(60, 3))


def _grams(left: Matrix, right: Matrix) -> Matrix:
    """Components: linear in the first column, smooth in the second, smooth in the third."""

    def smooth(column: int) -> Matrix:
        return np.asarray(np.exp(-((left[:, None, column] - right[None, :, column]) ** 2)))

    return np.stack([np.outer(left[:, 0], right[:, 0]), smooth(1), smooth(2)])


def _standard(values: Matrix) -> Matrix:
    return np.asarray((values - values.mean()) / values.std())


def _predicted(targets: Matrix, known: int) -> Prediction:
    first, rest = POINTS[:known], POINTS[known:]
    grams = _grams(first, first)
    weights = fit_weights(grams, targets[:known])
    posterior = condition(weights.covariance(grams), targets[:known], weights)
    own = weights.components @ np.einsum("mii->mi", _grams(rest, rest))
    return Prediction(posterior, weights.covariance(_grams(rest, first)), own)


def test_the_component_that_matters_gets_the_weight() -> None:
    targets = _standard(np.sin(2 * POINTS[:, 1]))
    weights = fit_weights(_grams(POINTS, POINTS), targets)
    assert weights.components[1] > 10 * weights.components[2]


def test_noise_is_learned() -> None:
    noisy = _standard(POINTS[:, 0]) + 0.5 * RNG.normal(size=60)
    quiet = _standard(POINTS[:, 0])
    grams = _grams(POINTS, POINTS)
    found = [fit_weights(grams, targets).noise for targets in (noisy, quiet)]
    assert 0.1 < found[0] < 0.6
    assert found[1] < 0.02


def test_a_measured_noise_is_believed_more_than_a_guess() -> None:
    targets = _standard(POINTS[:, 0] + np.sin(3 * POINTS[:, 2]))[:8]
    grams = _grams(POINTS[:8], POINTS[:8])
    low, high = (fit_weights(grams, targets, noise=noise).noise for noise in (0.002, 0.5))
    assert low < 0.05 < high


def test_what_follows_the_components_is_predicted() -> None:
    targets = _standard(POINTS[:, 0] + np.sin(2 * POINTS[:, 1]))
    predicted = _predicted(targets, 40)
    assert np.corrcoef(predicted.mean, targets[40:])[0, 1] > 0.95


def test_deviations_are_those_that_the_inverse_of_the_covariance_gives() -> None:
    targets = _standard(POINTS[:, 0] + np.sin(2 * POINTS[:, 1]))
    known, rest = POINTS[:10], POINTS[10:]
    weights = fit_weights(_grams(known, known), targets[:10])
    among, towards, own = (
        weights.covariance(_grams(left, right))
        for left, right in ((known, known), (rest, known), (rest, rest))
    )
    expected = own - towards @ np.linalg.inv(among + weights.noise * np.eye(10)) @ towards.T
    found = _predicted(targets, 10).deviation
    np.testing.assert_allclose(found, np.sqrt(np.diag(expected)), rtol=1e-3)


def test_the_upper_bound_lies_so_many_deviations_above_the_mean() -> None:
    predicted = _predicted(_standard(POINTS[:, 0]), 20)
    assert predicted.upper_bound(0.0).tolist() == predicted.mean.tolist()
    np.testing.assert_allclose(
        predicted.upper_bound(2.0) - predicted.mean, 2.0 * predicted.deviation, atol=1e-12
    )


def test_the_chance_above_zero_is_what_normal_draws_show() -> None:
    predicted = _predicted(_standard(POINTS[:, 0] + np.sin(2 * POINTS[:, 1])), 10)
    drawn = np.random.default_rng(1).standard_normal((400, 50))
    above = (predicted.mean + predicted.deviation * drawn > 0).mean(axis=0)
    # Five standard deviations of a share over 400 draws.
    assert np.abs(above - predicted.chance_above_zero()).max() < 5 * 0.5 / 400**0.5


def test_equal_observations_are_no_obstacle() -> None:
    same = np.zeros((6, 3))
    weights = fit_weights(_grams(same, same), np.zeros(6))
    posterior = condition(weights.covariance(_grams(same, same)), np.zeros(6), weights)
    assert np.isfinite(posterior.solved).all()


def test_before_any_observation_the_components_share_alike() -> None:
    assert prior_weights(4).components.tolist() == [0.25] * 4


def test_a_fit_is_a_pure_function() -> None:
    targets, grams = _standard(POINTS[:, 1]), _grams(POINTS, POINTS)
    first, second = (fit_weights(grams, targets) for _ in range(2))
    assert first.components.tolist() == second.components.tolist()
    assert first.noise == pytest.approx(second.noise, abs=0)
