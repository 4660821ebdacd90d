"""Regularized evolution: tournament, the fittest, mutate; the oldest leave (arXiv:1802.01548).

A proposal is the first that one of these stages has:

1. **Seeds** that the spec names, in their order (`_seed`).
2. **Children** of results, once there are enough: screened by a surrogate (`screened.py`) or
   plainly mutated winners of tournaments (`tournament.py`).
3. **A random genome**: the founders of a search, and what is left where all that is near has been
   tried (`random_search.py`).

Asynchronous by nature: parents are drawn from what has finished; what is in flight is not tried
again, and the surrogate counts on hearing of it. All randomness comes from the caller's generator,
seeded by (search seed, trial number), so the same results in the same order give the same search,
after a restart too.
"""

from __future__ import annotations

import numpy as np

from brainformer.search.evolution.effort import EFFORT, Effort
from brainformer.search.evolution.random_search import untried_genome
from brainformer.search.evolution.screened import ScreenedBreeding
from brainformer.search.evolution.tournament import mutated_winner
from brainformer.search.space.coded_genome import GenomeCoder
from brainformer.search.spec import SearchSpec, genome_at
from brainformer.search.trials.history import History, Proposal


class Proposer:
    """Proposes the next genome of one search from its history.

    Args:
        spec: Of the search.
        effort: How hard to look.

    Raises:
        InvalidSpec: a seed is unknown or lies outside the space.
    """

    def __init__(self, spec: SearchSpec, effort: Effort = EFFORT) -> None:
        self.spec = spec
        self.space = spec.resolved_space()
        self.seeds = [
            genome_at(f"/seeds/{index}", seed, self.space, None)
            for index, seed in enumerate(spec.seeds)
        ]
        self._effort = effort
        wanted = spec.screening.kind == "gaussian_process"
        self._screens = wanted and spec.algorithm == "regularized_evolution"
        self._start_over()

    def _start_over(self) -> None:
        """Drops what was learned of sub-layers; all of it would be learned again."""
        self._coder = GenomeCoder(self.space)
        self._screened = ScreenedBreeding(self.spec, self._coder, self._effort)

    def propose(self, history: History, *, rng: np.random.Generator) -> Proposal:
        """Returns a genome that was never proposed in this search.

        Args:
            history: What has been proposed and has finished.
            rng: `default_rng([search seed, trial number])`.

        Raises:
            SpaceExhausted: every genome within reach has been tried.
        """
        if len(self._coder) > self._effort.most_codes:
            self._start_over()
        return (
            self._seed(history)
            or self._child(history, rng)
            or Proposal(untried_genome(self.space, history, rng=rng), "random")
        )

    def _seed(self, history: History) -> Proposal | None:
        """Returns the next seed, None if there is no further one or it was given twice."""
        if not self.seeds:
            return None
        place = history.proposed() - history.imported()
        if place >= len(self.seeds):
            return None
        seed = self.seeds[place]
        return None if history.tried([seed.digest]) else Proposal(seed, "seed")

    def _child(self, history: History, rng: np.random.Generator) -> Proposal | None:
        """Returns a child of results; None while there are too few, or where all were tried."""
        proposed, finished = history.proposed(), history.finished()
        if self.spec.algorithm == "random" or not finished:
            return None
        enough = finished >= self._effort.least_finished and proposed >= self._effort.founders
        if self._screens and enough:
            return self._screened.propose(history, rng=rng)
        if proposed < max(self.spec.population_size, len(self.seeds)):
            return None
        return mutated_winner(self.spec, self._coder, history, self._effort, rng=rng)
