"""The surrogate: which of many mutated children a Gaussian process would rather see evaluated.

Every proposal draws its own weights of the kernel's components around the most probable ones, as
Thompson sampling draws a function: what the observations leave open is decided otherwise the next
time, and proposals in flight stay apart. Under these weights each child is judged by its expected
improvement, times the chance that it is not pruned (arXiv:1403.5607), which a second process learns
so that a constraint does not bend the first.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cache
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from brainformer.search.space.coded_genome import CodedGenome, GenomeCoder
from brainformer.search.surrogate.features import FeatureMap, Features, Matrix
from brainformer.search.surrogate.gaussian_process import (
    Posterior,
    Prediction,
    Vector,
    Weights,
    condition,
    fit_weights,
    prior_weights,
)
from brainformer.search.surrogate.kernel import (
    component_names,
    components,
    covariance,
    own_components,
)
from brainformer.search.trials.history import Observation

WINDOW = 200  # most observations that a posterior sees
STRIDE = 100  # observations that leave the window at once; most results between two fits
MOST_OBSERVATIONS = WINDOW + STRIDE  # observations that the surrogate may ask for
MIN_OBSERVATIONS = 8
LEAST_OBSERVED = 4  # below, there is nothing to learn from
FEWEST_BETWEEN_FITS = 4


class Surrogate:
    """A pure function of the observations, the noise and the generator, with a cache.

    Weights are fitted on the observations up to the last rank that is due, the posterior on those
    of the window: both are given by ranks alone, so that a controller that restarts proposes what
    it would have proposed.
    """

    def __init__(self, coder: GenomeCoder) -> None:
        self._features = FeatureMap(coder)
        self._fitness = _Model(self._features, standardised)
        self._passing = _Model(self._features, _passed)

    def look(
        self,
        observations: Sequence[Observation],
        in_flight: Sequence[CodedGenome] = (),
        *,
        noise: float | None,
        rng: np.random.Generator,
    ) -> Look:
        """Returns a look at genomes, none yet, in the light of the observations.

        Args:
            observations: The last `MOST_OBSERVATIONS` finished candidates, oldest first.
            in_flight: Candidates whose results are still to come.
            noise: Standard deviation of fitness over repeats, nats a code, if known.
            rng: Draws the weights.
        """
        newest = observations[-1].finished + 1
        window = _within(observations, window_start(newest), newest)
        pruned = sum([seen.pruned for seen in window])
        fitness = passing = None
        if len(window) - pruned >= LEAST_OBSERVED:
            completed = [seen for seen in observations if not seen.pruned]
            fitness = self._fitness.outlook(completed, in_flight, newest, noise, rng)
        if pruned:
            passing = self._passing.outlook(observations, (), newest, None, rng)
        return Look(self._features, fitness, passing)


class Look:
    """The genomes that one proposal looks at; what is computed of one is computed once."""

    def __init__(
        self, features: FeatureMap, fitness: _Outlook | None, passing: _Outlook | None
    ) -> None:
        self._features = features
        self._fitness = fitness
        self._passing = passing
        self._seen = 0

    def see(self, genomes: Sequence[CodedGenome]) -> list[int]:
        """Adds genomes; returns their indices, best first by the mean of all functions."""
        fresh = self._features(genomes)
        self._seen += len(fresh)
        liked = np.zeros(len(fresh)) if self._fitness is None else self._fitness.see(fresh)
        if self._passing is None:
            return _descending(liked)
        margin = self._passing.see(fresh)
        passes = margin > 0
        return _indices(np.lexsort((-np.where(passes, liked, margin), ~passes)))

    def choose(self) -> list[int]:
        """Returns the indices of all genomes seen, in order of `see`, most promising first."""
        promise = np.zeros(self._seen)
        if self._fitness is not None:
            promise += self._fitness.of_all().log_improvement()
        if self._passing is not None:
            promise += self._passing.of_all().log_chance_above_zero()
        return _descending(promise)


def _descending(values: Vector) -> list[int]:
    return _indices(np.argsort(-values, kind="stable"))


def _indices(order: npt.NDArray[np.int_]) -> list[int]:
    found: list[int] = order.tolist()
    return found


class _Outlook:
    """What a posterior says of the genomes of one look."""

    def __init__(self, posterior: Posterior, known: Features, *, detailed: bool) -> None:
        self._posterior = posterior
        self._known = known
        self._detailed = detailed
        self._towards: list[Matrix] = []
        self._own: list[Vector] = []

    def see(self, points: Features) -> Vector:
        """Computes the covariances of further points; returns their means."""
        weights = self._posterior.weights
        towards = covariance(points, self._known, weights.components, detailed=self._detailed)
        self._towards.append(towards)
        own = own_components(points, detailed=self._detailed)
        self._own.append(weights.components @ own)
        return towards @ self._posterior.solved

    def of_all(self) -> Prediction:
        """Returns what is known of the points seen, in order of `see`."""
        towards, own = np.concatenate(self._towards), np.concatenate(self._own)
        return Prediction(self._posterior, towards, own)


def one_thread() -> AbstractContextManager[Any]:
    """Holds linear algebra to one thread: a surrogate's matrices are small, threads only wait."""
    limit: AbstractContextManager[Any] = _libraries().limit(limits=1, user_api="blas")
    return limit


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


class _Model:
    """A Gaussian process over a sliding window, its weights fitted now and then."""

    def __init__(
        self, features: FeatureMap, targets: Callable[[Sequence[Observation]], Vector]
    ) -> None:
        self._features = features
        self._targets = targets
        self._fitted: tuple[int, float | None] | None = None  # up to which rank, at what noise
        self._weights = prior_weights(0)
        self._window: _Window | None = None

    def outlook(
        self,
        observations: Sequence[Observation],
        in_flight: Sequence[CodedGenome],
        newest: int,
        noise: float | None,
        rng: np.random.Generator,
    ) -> _Outlook:
        """Returns what is known of genomes, given the window that ends before `newest`."""
        due, start = fit_due(newest), window_start(newest)
        if self._fitted != (due, noise):
            early = _within(observations, window_start(due), due)
            self._weights, self._fitted = self._fit(early, noise), (due, noise)
        if self._window is None or self._window.start != start:
            self._window = _Window(self._features, start)
        seen = _within(observations, start, newest)
        weights = self._weights.drawn(rng)
        return self._window.outlook(seen, self._targets(seen), in_flight, weights)

    def _fit(self, observations: Sequence[Observation], noise: float | None) -> Weights:
        if len(observations) < LEAST_OBSERVED:
            return prior_weights(len(component_names(detailed=self._features.detailed)))
        known = self._features.of_observed(observations)
        grams = components(known, known, detailed=self._features.detailed)
        level = _relative_noise(observations, noise)
        return fit_weights(grams, self._targets(observations), noise=level)


class _Window:
    """The components among the points of a window; what was computed of them stays."""

    def __init__(self, features: FeatureMap, start: int) -> None:
        self.start = start
        self._features = features
        self._points = features([])
        self._numbers: list[int] = []
        count = len(component_names(detailed=features.detailed))
        self._grams: Matrix = np.empty((count, _packed(WINDOW)))

    def outlook(
        self,
        observations: Sequence[Observation],
        targets: Vector,
        in_flight: Sequence[CodedGenome],
        weights: Weights,
    ) -> _Outlook:
        """Returns what the observations of the window say, under these weights."""
        self._follow(observations)
        known, detailed = self._points, self._features.detailed
        among = weights.covariance_of_packed(self._grams[:, : _packed(len(known))], len(known))
        if in_flight:
            coming = self._features(in_flight)
            known = known.joined(coming)
            columns = covariance(known, coming, weights.components, detailed=detailed)
            among = _extended(among, columns)
        posterior = condition(among, targets, weights)
        return _Outlook(posterior, known, detailed=detailed)

    def _follow(self, observations: Sequence[Observation]) -> None:
        """Takes up what is new; starts over if these do not continue what is known."""
        numbers = [seen.number for seen in observations]
        if self._numbers != numbers[: len(self._numbers)]:
            self._points, self._numbers = self._features([]), []
        known = len(self._numbers)
        if known == len(numbers):
            return
        added = self._features.of_observed(observations[known:])
        self._points, self._numbers = self._points.joined(added), numbers
        rows = components(added, self._points, detailed=self._features.detailed)
        for at in range(known, len(numbers)):
            self._grams[:, _packed(at) : _packed(at + 1)] = rows[:, at - known, : at + 1]


def _extended(covariance: Matrix, columns: Matrix) -> Matrix:
    """Returns an upper triangle with further columns; nothing below its diagonal is set."""
    size = len(covariance)
    whole = np.empty((len(columns), len(columns)))
    whole[:size, :size] = covariance
    whole[:, size:] = columns
    return whole


def _packed(size: int) -> int:
    """Returns how many pairs there are among so many points, each with itself too."""
    return size * (size + 1) // 2


def fit_due(finished: int) -> int:
    """Returns the rank up to which weights are fitted: every few results, later every tenth."""
    if finished >= _DUE[-1]:
        return finished - (finished - _DUE[-1]) % STRIDE
    return max(rank for rank in _DUE if rank <= max(finished, _DUE[0]))


def window_start(finished: int) -> int:
    """Returns the oldest rank that the posterior sees; it moves by `STRIDE` ranks at once."""
    return max(0, -(-(finished - WINDOW) // STRIDE) * STRIDE)


def standardised(observations: Sequence[Observation]) -> Vector:
    """Returns fitness with mean 0 and deviation 1, outliers below drawn in."""
    values = np.array([seen.fitness for seen in observations])
    # One diverged outlier must not flatten the differences that matter.
    ranked = np.sort(values)
    low, high = np.interp(np.array([0.1, 0.9]) * (len(ranked) - 1), np.arange(len(ranked)), ranked)
    values = np.maximum(values, low - 2.0 * max(high - low, 1e-9))
    centred: Vector = values - values.sum() / len(values)
    spread = float(np.sqrt(centred @ centred / len(centred)))
    return centred / spread if spread > 0 else centred


def _passed(observations: Sequence[Observation]) -> Vector:
    return np.array([-1.0 if seen.pruned else 1.0 for seen in observations])


def _relative_noise(observations: Sequence[Observation], noise: float | None) -> float | None:
    """Returns the variance over repeats as a share of the variance between genomes."""
    spread = float(np.std([seen.fitness for seen in observations]))
    return None if noise is None or spread == 0 else (noise / spread) ** 2


def _within(observations: Sequence[Observation], start: int, end: int) -> list[Observation]:
    """Returns those of the ranks from `start` to before `end`; ranks rise."""
    first, last = (bisect_left(observations, rank, key=_FINISHED) for rank in (start, end))
    return list(observations[first:last])


def _ranks_due() -> tuple[int, ...]:
    ranks = [MIN_OBSERVATIONS]
    while ranks[-1] < 10 * STRIDE:
        ranks.append(ranks[-1] + max(FEWEST_BETWEEN_FITS, ranks[-1] // 10))
    return tuple(ranks)


_DUE = _ranks_due()
_FINISHED = attrgetter("finished")
