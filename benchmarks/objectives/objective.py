"""What a search is measured on: a true value for every genome, and what an evaluation shows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from brainformer.search.space.genome import Genome
from brainformer.search.space.space import Space


@dataclass(frozen=True)
class Evaluation:
    """What a search is told: fitness to be maximised, or that the genome breaks a constraint."""

    fitness: float
    pruned: bool = False


class Objective(ABC):
    """A function of genomes; `seed` decides the function, the caller's generator the noise."""

    space: Space
    optimum: float

    @abstractmethod
    def value(self, genome: Genome) -> float:
        """Returns the true value, without noise; minus infinity where a constraint is broken."""

    @abstractmethod
    def evaluate(self, genome: Genome, *, rng: np.random.Generator) -> Evaluation:
        """Returns what one trial of this genome would show."""
