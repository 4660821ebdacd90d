"""Tables of all 3^8 sequences of layer kinds, drawn at random by structure and seed.

Every table has mean 0 and deviation 1 over the sequences, so that regrets compare.

- separable: each place adds its own share;
- epistatic: places, 14 random pairs and 10 random triples of places, and noise of 0.1;
- noisy: places and 10 random pairs, and noise of 0.3;
- ratio: how many of each kind matter most, then neighbours and places, and noise of 0.1;
- rugged: each place adds a random value for itself and the next two (an NK landscape, K = 2);
- constrained: places and neighbours; half of all sequences are too slow and pruned; noise of 0.1.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from benchmarks.objectives.objective import Evaluation, Objective
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import Space, parse_space

LENGTH = 8
KINDS = ("attention", "feed_forward", "moe")
Values = npt.NDArray[np.float64]
SEQUENCES = np.array(list(itertools.product(range(len(KINDS)), repeat=LENGTH)))
WEIGHTS = len(KINDS) ** np.arange(LENGTH)[::-1]
PRUNED = -10.0


def sequence_space() -> Space:
    """Returns the space of all sequences of eight sub-layers, one choice for every other field."""
    return parse_space(
        {
            "name": "sequences",
            "model_dim": [64],
            "min_layers": LENGTH,
            "max_layers": LENGTH,
            "layers": {
                "attention": {"heads": [4]},
                "feed_forward": {"hidden_dim": [256], "activation": ["gelu"]},
                "moe": {
                    "hidden_dim": [256],
                    "activation": ["gelu"],
                    "gating": ["expert_choice"],
                    "capacity_factor": [1],
                },
            },
        }
    )


class SequenceTable(Objective):
    """One table."""

    def __init__(self, structure: str, seed: int) -> None:
        self.space = sequence_space()
        build, self.noise = STRUCTURES[structure]
        rng = np.random.default_rng([2306, 8, list(STRUCTURES).index(structure), seed])
        self._values = _scaled(build(rng))
        self._feasible = np.ones(len(SEQUENCES), bool)
        if structure == "constrained":
            seconds = np.array([1.0, 1.5, 3.0])[SEQUENCES].sum(axis=1) + 0.3 * _places(rng)
            self._feasible = seconds < np.quantile(seconds, 0.5)
        self.optimum = float(self._values[self._feasible].max())

    def value(self, genome: Genome) -> float:
        """Returns the table's entry."""
        row = self._row(genome)
        return float(self._values[row]) if self._feasible[row] else -np.inf

    def evaluate(self, genome: Genome, *, rng: np.random.Generator) -> Evaluation:
        """Returns the table's entry with noise."""
        row, noise = self._row(genome), float(rng.standard_normal())
        if not self._feasible[row]:
            return Evaluation(PRUNED, pruned=True)
        return Evaluation(float(self._values[row]) + self.noise * noise)

    def _row(self, genome: Genome) -> int:
        return int(np.dot([KINDS.index(layer.kind) for layer in genome.layers], WEIGHTS))


def _places(rng: np.random.Generator) -> Values:
    shares = rng.normal(size=(LENGTH, len(KINDS)))
    return np.sum([shares[at][SEQUENCES[:, at]] for at in range(LENGTH)], axis=0)


def _groups(rng: np.random.Generator, size: int, count: int) -> Values:
    """Returns the sum of `count` random functions of `size` random places each."""
    total = np.zeros(len(SEQUENCES))
    for _ in range(count):
        at = rng.choice(LENGTH, size, replace=False)
        total += rng.normal(size=(len(KINDS),) * size)[tuple(SEQUENCES[:, at].T)]
    return total


def _runs(rng: np.random.Generator, size: int) -> Values:
    """Returns the sum over places of a random function of each and those behind it, in a ring."""
    total = np.zeros(len(SEQUENCES))
    for start in range(LENGTH):
        at = (start + np.arange(size)) % LENGTH
        total += rng.normal(size=(len(KINDS),) * size)[tuple(SEQUENCES[:, at].T)]
    return total


def _neighbours(rng: np.random.Generator) -> Values:
    """Returns the sum over neighbours of a random function of their kinds, wherever they stand."""
    worth = rng.normal(size=(len(KINDS),) * 2)
    return worth[SEQUENCES[:, :-1], SEQUENCES[:, 1:]].sum(axis=1)


def _ratio(rng: np.random.Generator) -> Values:
    counts = np.stack([(kind == SEQUENCES).sum(axis=1) for kind in range(len(KINDS))], axis=1)
    wanted = rng.dirichlet(np.full(len(KINDS), 2.0)) * LENGTH
    return np.asarray(-((counts - wanted) ** 2).sum(axis=1))


def _scaled(values: Values) -> Values:
    return (values - values.mean()) / values.std()


def _mixed(*parts: tuple[float, Values]) -> Values:
    return np.sum([weight * _scaled(values) for weight, values in parts], axis=0)


Build = Callable[[np.random.Generator], Values]
STRUCTURES: dict[str, tuple[Build, float]] = {
    "separable": (_places, 0.0),
    "epistatic": (
        lambda rng: _mixed(
            (1.0, _places(rng)), (0.8, _groups(rng, 2, 14)), (0.5, _groups(rng, 3, 10))
        ),
        0.1,
    ),
    "noisy": (lambda rng: _mixed((1.0, _places(rng)), (0.7, _groups(rng, 2, 10))), 0.3),
    "ratio": (
        lambda rng: _mixed((1.0, _ratio(rng)), (0.5, _neighbours(rng)), (0.4, _places(rng))),
        0.1,
    ),
    "rugged": (lambda rng: _runs(rng, 3), 0.0),
    "constrained": (lambda rng: _mixed((1.0, _places(rng)), (0.8, _neighbours(rng))), 0.1),
}
