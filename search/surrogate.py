"""The surrogate: a Gaussian process on genome features that likes some children better than others.

Thompson sampling draws one function from the posterior and takes its best child, which balances
trying and trusting without a knob, and keeps proposals apart when many trials are in flight.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

from search.features import FeatureMap
from search.genome import Genome
from search.history import Observation
from search.space import Space

WINDOW = 300  # observations that a fit sees
REFIT_EVERY = 20  # results between two fits of the kernel's parameters
MIN_OBSERVATIONS = 8

Matrix = npt.NDArray[np.float64]


class Surrogate:
    """A Gaussian process over the window of a search's last results.

    What it knows is a pure function of the observations that it is given: the kernel's
    parameters come from those up to the last multiple of `REFIT_EVERY`, so that a controller that
    restarts proposes what it would have proposed.
    """

    def __init__(self, space: Space) -> None:
        self.features = FeatureMap(space)
        self._fitted_at = -1
        self._kernel: Any = None
        self._posterior_at = -1
        self._model: GaussianProcessRegressor | None = None

    def choose(
        self,
        children: Sequence[Genome],
        observations: Sequence[Observation],
        *,
        noise: float | None,
        rng: np.random.Generator,
    ) -> int:
        """Returns the index of the child that one draw from the posterior likes best.

        Args:
            children: Genomes to choose from.
            observations: Finished candidates, oldest first.
            noise: Standard deviation of fitness over repeats, nats a token, if known.
            rng: Draws the function.
        """
        model = self._model_of(observations, noise)
        rows = self._scaled(list(children))
        mean, covariance = model.predict(rows, return_cov=True)
        covariance = covariance + 1e-8 * np.eye(len(rows))
        root = np.linalg.cholesky(
            covariance + 1e-6 * np.trace(covariance) / len(rows) * np.eye(len(rows))
        )
        draw = mean + root @ rng.standard_normal(len(rows))
        return int(np.argmax(draw))

    def _model_of(
        self, observations: Sequence[Observation], noise: float | None
    ) -> GaussianProcessRegressor:
        newest = observations[-1].finished + 1
        due = newest - newest % REFIT_EVERY
        if self._fitted_at != due:
            early = [seen for seen in observations if seen.finished < due] or list(observations)
            self._kernel = self._fit_kernel(early, noise)
            self._fitted_at = due
            self._posterior_at = -1
        if self._posterior_at != newest or self._model is None:
            self._model = GaussianProcessRegressor(self._kernel, optimizer=None, alpha=1e-6)
            self._model.fit(self._rows(observations), targets(observations))
            self._posterior_at = newest
        return self._model

    def _fit_kernel(self, observations: Sequence[Observation], noise: float | None) -> Any:
        rows, wanted = self._rows(observations), targets(observations)
        scale = float(np.std([seen.fitness for seen in observations if not seen.pruned]) or 1.0)
        level = 0.1 if noise is None else float(np.clip((noise / scale) ** 2, 1e-3, 1.0))
        kernel = (
            ConstantKernel(1.0, (1e-2, 1e2)) * RBF(1.0, (0.2, 20.0))
            + ConstantKernel(0.5, (1e-3, 1e2)) * DotProduct(1.0, (1e-2, 1e1))
            + WhiteKernel(level, (1e-3, 2.0))
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = GaussianProcessRegressor(kernel, alpha=1e-6).fit(rows, wanted)
        return model.kernel_

    def _rows(self, observations: Sequence[Observation]) -> Matrix:
        return self._scaled([seen.genome for seen in observations])

    def _scaled(self, genomes: list[Genome]) -> Matrix:
        return self.features(genomes) * 0.35


def targets(observations: Sequence[Observation]) -> npt.NDArray[np.float64]:
    """Returns standardised fitness; a pruned trial counts as the worst that completed."""
    completed = np.array([seen.fitness for seen in observations if not seen.pruned])
    worst = float(completed.min()) if len(completed) else -1.0
    values = np.array([worst if seen.pruned else seen.fitness for seen in observations])
    # One diverged outlier must not flatten the differences that matter.
    low, high = np.quantile(values, [0.1, 0.9])
    values = np.maximum(values, low - 2.0 * max(high - low, 1e-9))
    spread = float(values.std())
    centred: npt.NDArray[np.float64] = values - values.mean()
    return centred / spread if spread > 0 else centred
