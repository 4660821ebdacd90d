"""The Gaussian process: what it learns of weights and noise, and what it says between."""

from __future__ import annotations

import numpy as np
import pytest

from brainformer.search.surrogate.gaussian_process import (
    DRAWN_DEVIATION,
    Matrix,
    Posterior,
    Prediction,
    condition,
    fit_weights,
    prior_weights,
)

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


def _one_observation(mean: float, deviation: float, best: float) -> Prediction:
    """What is said of a point with that mean and deviation."""
    weights = prior_weights(1)
    posterior = Posterior(weights, np.eye(1), np.ones(1), best)
    return Prediction(posterior, np.array([[mean]]), np.array([deviation**2 + mean**2]))


@pytest.mark.parametrize(
    ("mean", "deviation", "best"), [(0.5, 1.0, 0.2), (0.0, 0.3, 0.3), (-1.0, 0.5, 1.5)]
)
def test_the_improvement_is_what_normal_values_above_the_best_add_up_to(
    mean: float, deviation: float, best: float
) -> None:
    values = np.linspace(best, best + 20 * deviation, 200_001)
    density = np.exp(-0.5 * ((values - mean) / deviation) ** 2) / (np.sqrt(2 * np.pi) * deviation)
    expected = np.trapezoid((values - best) * density, values)
    found = np.exp(_one_observation(mean, deviation, best).log_improvement())[0]
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("deviations", [10.0, 100.0, 5_000.0])
def test_far_below_the_best_the_improvement_keeps_its_digits(deviations: float) -> None:
    found = _one_observation(0.0, 1.0, deviations).log_improvement()[0]
    # The first terms of its asymptotic series: density / u^2 * (1 - 3 / u^2 + 15 / u^4 ...).
    series = np.log1p(-3 / deviations**2 + 15 / deviations**4 - 105 / deviations**6)
    density = -0.5 * deviations**2 - 0.5 * np.log(2 * np.pi)
    assert found == pytest.approx(density - 2 * np.log(deviations) + series, rel=1e-6)


def test_the_best_is_the_highest_mean_among_the_observed_points() -> None:
    targets = _standard(POINTS[:, 0] + np.sin(2 * POINTS[:, 1]))
    grams = _grams(POINTS, POINTS)
    weights = fit_weights(grams, targets)
    posterior = condition(weights.covariance(grams), targets, weights)
    own = weights.components @ np.einsum("mii->mi", grams)
    means = Prediction(posterior, weights.covariance(grams), own).mean
    assert posterior.best == pytest.approx(means.max(), abs=1e-4)


def test_points_to_come_count_as_observed_at_their_mean() -> None:
    targets = _standard(POINTS[:, 0] + np.sin(2 * POINTS[:, 1]))[:10]
    known, coming, rest = POINTS[:10], POINTS[10:14], POINTS[14:]
    weights, both = prior_weights(3), POINTS[:14]

    def covariance(left: Matrix, right: Matrix) -> Matrix:
        return weights.covariance(_grams(left, right))

    def said(posterior: Posterior, points: Matrix, towards: Matrix) -> Prediction:
        own = weights.components @ np.einsum("mii->mi", _grams(points, points))
        return Prediction(posterior, covariance(points, towards), own)

    before = condition(covariance(known, known), targets, weights)
    upper = covariance(both, both)
    upper[np.tril_indices(14, -1)] = np.nan  # what lies there must not be read
    found = condition(upper, targets, weights)
    believed = np.r_[targets, said(before, coming, known).mean]
    expected = condition(covariance(both, both), believed, weights)
    for posterior in (found, expected):
        now = said(posterior, rest, both)
        np.testing.assert_allclose(now.mean, said(before, rest, known).mean, atol=1e-4)
        assert (now.deviation < said(before, rest, known).deviation).all()
    assert found.best == pytest.approx(expected.best, abs=1e-4)
    np.testing.assert_allclose(
        said(found, rest, both).deviation, said(expected, rest, both).deviation
    )


def test_packed_components_give_the_same_covariance() -> None:
    weights, grams = prior_weights(3).drawn(np.random.default_rng(0)), _grams(POINTS, POINTS)
    packed = np.concatenate([grams[:, at, : at + 1] for at in range(60)], axis=1)
    found = weights.covariance_of_packed(packed, 60)
    np.testing.assert_allclose(np.triu(found), np.triu(weights.covariance(grams)), atol=1e-12)


def test_drawn_weights_lie_around_the_most_probable_and_keep_the_noise() -> None:
    weights = prior_weights(4000)
    drawn = weights.drawn(np.random.default_rng(0))
    off = np.log(drawn.components / weights.components)
    assert abs(off.mean()) < 0.1
    assert off.std() == pytest.approx(DRAWN_DEVIATION, rel=0.05)
    assert drawn.noise == weights.noise


def test_the_chance_above_zero_is_what_normal_draws_show() -> None:
    predicted = _predicted(_standard(POINTS[:, 0] + np.sin(2 * POINTS[:, 1])), 10)
    drawn = np.random.default_rng(1).standard_normal((400, 50))
    above = (predicted.mean + predicted.deviation * drawn > 0).mean(axis=0)
    # Five standard deviations of a share over 400 draws.
    chance = np.exp(predicted.log_chance_above_zero())
    assert np.abs(above - chance).max() < 5 * 0.5 / 400**0.5


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
