"""A Gaussian process whose covariance is a weighted sum of given components.

The weights and the noise are found by maximum a posteriori: the marginal likelihood with a broad
log-normal prior, which keeps a fit on ten observations sane (Rasmussen and Williams, 2006, chapter
5). The components do not change while the weights do, so one step of the fit costs a Cholesky
factorisation and no kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs, dtpttr, dtrtrs
from scipy.optimize import minimize
from scipy.special import erfcx, log_ndtr, ndtr

from brainformer.search.surrogate.features import Matrix

Vector = npt.NDArray[np.float64]
PRIOR_DEVIATION = 2.0  # of the logarithm of a weight
NOISE = 0.05  # variance of standardised targets, where nothing better is known
LOWEST, HIGHEST = -12.0, 4.0  # logarithm of a weight
LEAST_NOISE, MOST_NOISE = 1e-3, 2.0
STEPS = 40
ENOUGH = 1e-4  # relative gain of a step below which a fit ends; a tenth of it changes nothing
JITTER = 1e-6
LEAST_VARIANCE = 1e-9  # of a point, where rounding leaves less
DRAWN_DEVIATION = 1.5  # of the logarithm of a weight that is drawn around the most probable one
FARTHEST = -1e4  # deviations below the best; beyond, rounding would decide


@dataclass(frozen=True)
class Weights:
    """Variance of every component, and of the noise."""

    components: Vector
    noise: float

    def covariance(self, grams: Matrix) -> Matrix:
        """Returns the weighted sum of components; shape (rows, columns)."""
        summed: Matrix = self.components @ grams.reshape(len(grams), -1)
        return summed.reshape(grams.shape[1:])

    def covariance_of_packed(self, grams: Matrix, size: int) -> Matrix:
        """Returns the covariance of `size` points, above the diagonal and on it.

        Args:
            grams: Each point's components with those before it and with itself, one point after
                another; shape (components, size * (size + 1) / 2).
            size: Number of points.
        """
        upper, _ = dtpttr(size, self.components @ grams)
        return np.asarray(upper)

    def drawn(self, rng: np.random.Generator) -> Weights:
        """Returns weights around these: what the observations leave open, each draw decides."""
        off = DRAWN_DEVIATION * rng.standard_normal(len(self.components))
        return Weights(self.components * np.exp(off), self.noise)


@dataclass(frozen=True)
class Posterior:
    """What the observations say of other points.

    Attributes:
        weights: Of the components.
        root: Lower factor of the covariance of all points, observed or to be observed.
        solved: Weight of each point in a mean; none of a point that is to be observed.
        best: Highest mean among all points.
    """

    weights: Weights
    root: Matrix
    solved: Vector
    best: float


class Prediction:
    """What the posterior says of some points, each for itself."""

    def __init__(self, posterior: Posterior, towards: Matrix, own: Vector) -> None:
        """Takes the points' covariances.

        Args:
            posterior: What the observations say.
            towards: Covariances with the observations, shape (points, observations).
            own: Variances before anything was observed, shape (points,).
        """
        self._posterior = posterior
        self._towards = towards
        self._own = own
        self.mean: Vector = towards @ posterior.solved

    @cached_property
    def deviation(self) -> Vector:
        """Standard deviation of the function at each point, noise apart."""
        known, _ = dtrtrs(self._posterior.root, self._towards.T, lower=True)
        variance = self._own - np.einsum("op,op->p", known, known)
        return np.asarray(np.sqrt(np.maximum(variance, LEAST_VARIANCE)))

    def log_improvement(self) -> Vector:
        """Returns the logarithm of how far each point is expected to pass the best observed one.

        Far below the best by the form that keeps its digits there (arXiv:2310.20708, section 3).
        """
        above = np.maximum((self.mean - self._posterior.best) / self.deviation, FARTHEST)
        near = np.maximum(above, -1.0)
        density = np.exp(-0.5 * near * near) / np.sqrt(2 * np.pi)
        close = np.log(density + near * ndtr(near))
        below = np.minimum(above, -1.0)
        left = -np.sqrt(np.pi / 2) * below * erfcx(below / -np.sqrt(2))
        far = -0.5 * (below * below + np.log(2 * np.pi)) + np.log1p(-left)
        return np.asarray(np.log(self.deviation) + np.where(above > -1.0, close, far))

    def log_chance_above_zero(self) -> Vector:
        """Returns the logarithm of each point's probability that the function is above zero."""
        return np.asarray(log_ndtr(self.mean / self.deviation))


def prior_weights(count: int) -> Weights:
    """Returns the weights of `count` components before anything was observed."""
    return Weights(np.full(count, 1.0 / max(count, 1)), NOISE)


def fit_weights(grams: Matrix, targets: Vector, *, noise: float | None = None) -> Weights:
    """Returns the most probable weights.

    Args:
        grams: Components among the observations, shape (components, n, n).
        targets: Standardised observations, shape (n,).
        noise: Variance of the targets over repeats, if it was measured.
    """
    count = len(grams)
    level = float(np.clip(NOISE if noise is None else noise, LEAST_NOISE, MOST_NOISE))
    mean = np.log(np.r_[np.full(count, 1.0 / count), level])
    width = np.full(count + 1, PRIOR_DEVIATION)
    if noise is not None:
        width[-1] /= 2
    bounds = [(LOWEST, HIGHEST)] * count + [(np.log(LEAST_NOISE), np.log(MOST_NOISE))]

    def loss(logs: Vector) -> tuple[float, Vector]:
        value, slope = _negative_log_likelihood(grams, targets, np.exp(logs))
        off = (logs - mean) / width
        return value + 0.5 * float(off @ off), slope + off / width

    options = {"maxiter": STEPS, "ftol": ENOUGH}
    found = minimize(loss, mean, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    values = np.exp(found.x)
    return Weights(values[:-1], float(values[-1]))


def condition(covariance: Matrix, targets: Vector, weights: Weights) -> Posterior:
    """Returns the process given observations, and points of which observations are to come.

    Those to come are taken as observed at their mean (Ginsbourger et al., 2010, the kriging
    believer): no mean changes, deviations around them shrink.

    Args:
        covariance: Of the function at the observed points, then at those to be observed; nothing
            below its diagonal is read.
        targets: The observations; shape (observed,).
        weights: Of the covariance's components; the noise comes on top.
    """
    noise, observed = weights.noise + JITTER, len(targets)
    root = _cholesky(covariance, noise)
    known = _solve(root[:observed, :observed], targets)
    solved, means = np.zeros((2, len(covariance)))
    solved[:observed] = known
    means[:observed] = targets - noise * known
    means[observed:] = known @ covariance[:observed, observed:]
    return Posterior(weights, root, solved, float(means.max(initial=-np.inf)))


# LAPACK itself: SciPy's functions around it cost as much again for matrices of this size.
def _cholesky(covariance: Matrix, more: float) -> Matrix:
    """Returns the lower factor of the covariance with `more` on its diagonal."""
    shifted = covariance.copy()
    shifted.flat[:: len(shifted) + 1] += more
    # The transposed view of a symmetric matrix is as LAPACK wants it: nothing is copied.
    lower, failed = dpotrf(shifted.T, lower=True, overwrite_a=True)
    if failed:
        raise np.linalg.LinAlgError(f"no covariance: minor {failed} is not positive definite")
    return np.asarray(lower)


def _solve(root: Matrix, targets: Vector) -> Vector:
    """Returns the covariance's inverse, given its lower factor, times the targets."""
    solved, _ = dpotrs(root, targets, lower=True)
    return np.asarray(solved)


def _negative_log_likelihood(
    grams: Matrix, targets: Vector, values: Vector
) -> tuple[float, Vector]:
    """Returns the negative log marginal likelihood and its slope by the logarithms of `values`."""
    weights = Weights(values[:-1], float(values[-1]))
    root = _cholesky(weights.covariance(grams), weights.noise + JITTER)
    solved = _solve(root, targets)
    half, _ = dpotri(root, lower=True)  # a third of solving for the unit matrix
    inverse = half + np.tril(half, -1).T
    pull = np.outer(solved, solved) - inverse
    slope = -0.5 * values * np.r_[np.tensordot(grams, pull, ([1, 2], [0, 1])), np.trace(pull)]
    value = 0.5 * float(targets @ solved) + float(np.log(np.diag(root)).sum())
    return value, slope
