"""Proposals as they were recorded: what evolution has proposed, it proposes for ever.

A search that goes on under a newer version must not change its course. Written by

    python -m tests.search.evolution.recorded

which is to be run only when a change of proposals is meant, with a line in the change log.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

from brainformer.search.ask_tell.contract import ask_tell_spec
from brainformer.search.ask_tell.memory_history import MemoryHistory
from brainformer.search.evolution.proposer import Proposer
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import Space, parse_space
from brainformer.search.trials.history import Proposal
from tests.search.spaces import sequences

FILE = Path(__file__).with_name("recorded_proposals.json")
IN_FLIGHT = 4
# The preset `nano` as it was when these were recorded: what a preset holds may change.
RECORDED_SPACE = parse_space(
    """
name: nano
model_dim: [32, 48, 64]
min_layers: 2
max_layers: 8
layers:
  attention:
    heads: [2, 3, 4]
  feed_forward:
    hidden_dim: [96, 128, 192, 256]
    activation: [gated_relu, gated_gelu, relu, gelu]
  moe:
    hidden_dim: [64, 96, 128, 192]
    activation: [gated_relu, gated_gelu, relu, gelu]
    gating: [top_2, expert_choice]
    capacity_factor: [1, 2, 3, 4]
"""
)
NANO: dict[str, Any] = {
    "space": RECORDED_SPACE,
    "seeds": ("glam", "dense_transformer"),
    "population_size": 30,
    "tournament_size": 6,
}
# Small spaces are searched to the last genome: what is near has been tried, so all ways out show.
SMALL: dict[str, Any] = {"space": sequences(4), "population_size": 10, "tournament_size": 3}
CAMPAIGNS: dict[str, tuple[int, dict[str, Any]]] = {
    "screened": (300, NANO),
    "plain": (300, NANO | {"screening": "none"}),
    "nsga2": (300, NANO | {"algorithm": "nsga2"}),
    "random": (60, NANO | {"algorithm": "random"}),
    "small, screened": (81, SMALL),
    "small, plain": (81, SMALL | {"screening": "none"}),
}


def proposals(name: str) -> list[str]:
    """Returns a hash of each proposal of a campaign: genome, origin, parent and mutation."""
    count, options = CAMPAIGNS[name]
    space: Space | str = options["space"]
    others = {key: value for key, value in options.items() if key != "space"}
    spec = ask_tell_spec(space, seed=11, **others)
    history, proposer = MemoryHistory(), Proposer(spec)
    order = np.random.default_rng(9)
    in_flight: list[tuple[int, Genome]] = []
    found: list[str] = []
    for number in range(count):
        rng = np.random.default_rng([spec.seed, number])
        proposal = proposer.propose(history, rng=rng)
        found.append(_hash(proposal))
        history.add_proposed(number, proposal.genome)
        in_flight.append((number, proposal.genome))
        if len(in_flight) >= IN_FLIGHT:
            _finish(history, *in_flight.pop(int(order.integers(len(in_flight)))))
    return found


def _finish(history: MemoryHistory, number: int, genome: Genome) -> None:
    depth = len(genome.layers)
    pruned = depth % 7 == 0
    history.add_finished(
        number,
        genome,
        -1.0 if pruned else _fitness(genome),
        pruned=pruned,
        step_time_ms=float(depth),
        parameters=depth * genome.model_dim,
    )


def _fitness(genome: Genome) -> float:
    """A fitness of kinds, of their order, and of widths."""
    kinds = [layer.kind for layer in genome.layers]
    turns = sum(one != other for one, other in itertools.pairwise(kinds))
    widths = sum(getattr(layer, "hidden_dim", 0) for layer in genome.layers)
    share = sum(kind == "moe" for kind in kinds) / 8
    return share - len(kinds) / 50 + 0.1 * turns / len(kinds) + widths / 10_000


def _hash(proposal: Proposal) -> str:
    told = [proposal.genome.digest, proposal.origin, proposal.parent, proposal.mutation]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]


def main() -> None:
    """Writes the record anew."""
    record = {name: " ".join(proposals(name)) for name in CAMPAIGNS}
    FILE.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
