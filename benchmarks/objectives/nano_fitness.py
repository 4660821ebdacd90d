"""A fitness fitted on real nano trials: what training blocks for ten seconds really showed.

Kernel ridge regression on plain figures of a block (how much of what, how wide, what stands first
and last) learns validation loss and the logarithm of step time from `nano_trials.jsonl`. Neither
figures nor kernel are the surrogate's: no search is measured on its own assumptions.

Fitness is GLaM's loss minus the block's, in nats a token; a block whose step takes 5% longer than
GLaM's is pruned. The noise is what repeats of a genome showed. The optimum is the best that many
hill climbs have found.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.objectives.objective import Evaluation, Objective
from brainformer.search.evolution.mutation import mutate
from brainformer.search.space.genome import (
    Attention,
    FeedForward,
    Genome,
    MoE,
    parse_genome,
)
from brainformer.search.space.space import load_preset
from brainformer.search.space.zoo import zoo_genome

TRIALS = Path(__file__).parent / "nano_trials.jsonl"
KINDS = ("attention", "feed_forward", "moe")
SLACK = 0.05
RIDGE = 0.05
PRUNED = -1.0
CLIMBS, STEPS, AROUND = 60, 60, 60
Array = npt.NDArray[np.float64]


class NanoFitness(Objective):
    """The same function for every seed; the searches' seeds and the noise differ."""

    def __init__(self) -> None:
        self.space = load_preset("nano")
        figures, losses, times, self.noise, self.genomes = _recorded()
        self._loss = _Ridge(figures, losses)
        self._time = _Ridge(figures, np.log(times))
        glam = np.array([_figures(zoo_genome("glam", self.space))])
        self._glam_loss = float(self._loss(glam)[0])
        self._slowest = float(self._time(glam)[0]) + np.log1p(SLACK)
        self.optimum = self._climb()

    def value(self, genome: Genome) -> float:
        """Returns nats a token better than GLaM."""
        return float(self._values([genome])[0])

    def evaluate(self, genome: Genome, *, rng: np.random.Generator) -> Evaluation:
        """Returns the fitness with the noise of repeats."""
        value, noise = self.value(genome), float(rng.standard_normal())
        if value == -np.inf:
            return Evaluation(PRUNED, pruned=True)
        return Evaluation(value + self.noise * noise)

    def _values(self, genomes: list[Genome]) -> Array:
        rows = np.array([_figures(genome) for genome in genomes])
        values = self._glam_loss - self._loss(rows)
        values[self._time(rows) > self._slowest] = -np.inf
        return values

    def _climb(self) -> float:
        """Returns the best value that many climbs from random blocks have reached."""
        best = -np.inf
        for climb in range(CLIMBS):
            rng = np.random.default_rng([2306, 9, climb])
            here = self.space.sample(rng=rng)
            for _ in range(STEPS):
                around = [here]
                for _ in range(AROUND):
                    mutation = mutate(around[int(rng.integers(len(around)))], self.space, rng=rng)
                    around += [] if mutation is None else [mutation.genome]
                values = self._values(around)
                here = around[int(np.argmax(values))]
                best = max(best, float(values.max()))
        return best


class _Ridge:
    """Kernel ridge regression with a Gaussian kernel as wide as the median distance."""

    def __init__(self, figures: Array, targets: Array) -> None:
        self._mean, self._scale = figures.mean(axis=0), figures.std(axis=0) + 1e-9
        self._rows = (figures - self._mean) / self._scale
        self._level = float(targets.mean())
        squares = self._squares(self._rows)
        self._width = float(np.median(squares[squares > 0]))
        ridge = RIDGE * np.eye(len(figures))
        self._weights = np.linalg.solve(self._kernel(self._rows) + ridge, targets - self._level)

    def __call__(self, figures: Array) -> Array:
        rows = (figures - self._mean) / self._scale
        return np.asarray(self._level + self._kernel(rows) @ self._weights)

    def _kernel(self, rows: Array) -> Array:
        return np.asarray(np.exp(-self._squares(rows) / self._width))

    def _squares(self, rows: Array) -> Array:
        return np.asarray(((rows[:, None] - self._rows[None]) ** 2).sum(axis=2))


@cache
def nano_fitness() -> NanoFitness:
    """Returns the one nano fitness, fitted once."""
    return NanoFitness()


def _recorded() -> tuple[Array, Array, Array, float, int]:
    """Returns figures, losses and step times of the recorded trials, noise, number of genomes."""
    rows = [json.loads(line) for line in TRIALS.read_text("utf-8").splitlines()]
    rows = [row for row in rows if row["validation_loss"] is not None]
    genomes = [parse_genome(row["genome"]) for row in rows]
    losses = np.array([row["validation_loss"] for row in rows])
    times = np.array([row["step_time_ms"] for row in rows])
    repeats: dict[Genome, list[float]] = defaultdict(list)
    for genome, loss in zip(genomes, losses, strict=True):
        repeats[genome].append(float(loss))
    within = [np.var(values, ddof=1) for values in repeats.values() if len(values) > 1]
    noise = float(np.sqrt(np.mean(within))) if within else 0.0
    return np.array([_figures(genome) for genome in genomes]), losses, times, noise, len(repeats)


def _figures(genome: Genome) -> list[float]:
    kinds = [KINDS.index(layer.kind) for layer in genome.layers]
    dense = [layer for layer in genome.layers if isinstance(layer, FeedForward)]
    experts = [layer for layer in genome.layers if isinstance(layer, MoE)]
    heads = [layer.heads for layer in genome.layers if isinstance(layer, Attention)]
    return [
        genome.model_dim,
        len(kinds),
        *(kinds.count(kind) for kind in range(len(KINDS))),
        *(float(kinds[0] == kind) for kind in range(len(KINDS))),
        *(float(kinds[-1] == kind) for kind in range(len(KINDS))),
        sum(heads),
        sum(layer.hidden_dim for layer in dense),
        sum(layer.hidden_dim for layer in experts),
        sum(layer.activation.startswith("gated") for layer in [*dense, *experts]),
        sum(layer.gating == "expert_choice" for layer in experts),
        sum(layer.capacity_factor for layer in experts),
        sum(one != other for one, other in itertools.pairwise(kinds)),
    ]
