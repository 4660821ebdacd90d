"""Random search: any genome that was not tried yet, down to the last one of a small space."""

from __future__ import annotations

from itertools import islice

import numpy as np

from brainformer.search.errors import SpaceExhausted
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import Space
from brainformer.search.trials.history import History

DRAWS = 512  # random genomes before the space counts as full
LISTED_BELOW = 20_000  # spaces so small are searched to the last genome
BATCH = 500


def untried_genome(space: Space, history: History, *, rng: np.random.Generator) -> Genome:
    """Returns a random genome that was never proposed.

    Raises:
        SpaceExhausted: none was found; a small space has been searched to its last genome.
    """
    for _ in range(DRAWS):
        genome = space.sample(rng=rng)
        if not history.tried([genome.digest]):
            return genome
    left = _left(space, history) if space.size() <= LISTED_BELOW else []
    if not left:
        raise SpaceExhausted(history.proposed(), DRAWS)
    return left[int(rng.integers(len(left)))]


def _left(space: Space, history: History) -> list[Genome]:
    """Returns all genomes of a small space that were not tried."""
    every = space.enumerate()
    left: list[Genome] = []
    while batch := {genome.digest: genome for genome in islice(every, BATCH)}:
        tried = history.tried(list(batch))
        left += [genome for digest, genome in batch.items() if digest not in tried]
    return left
