"""Regularized evolution: who becomes a parent, who leaves, what is never proposed twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainformer.search.ask_tell.contract import ask_tell_spec
from brainformer.search.ask_tell.memory_history import MemoryHistory
from brainformer.search.errors import InvalidSpec, SpaceExhausted
from brainformer.search.evolution.effort import EFFORT
from brainformer.search.evolution.proposer import Proposer
from brainformer.search.space.genome import Genome
from brainformer.search.space.space import OPERATOR_NAMES, Space, load_preset
from brainformer.search.space.zoo import zoo_genome
from brainformer.search.trials.history import Proposal
from tests.search.evolution.oracles import neighbours
from tests.search.spaces import sequences

PLAIN: dict[str, Any] = {"screening": {"kind": "none"}}


def _experts(genome: Genome) -> float:
    """A fitness: the share of sub-layers that are experts."""
    return sum(layer.kind == "moe" for layer in genome.layers) / len(genome.layers)


class Campaign:
    """A search driven step by step, with any number of trials in flight."""

    def __init__(self, space: Space | str, *, seed: int = 0, **options: Any) -> None:
        self.spec = ask_tell_spec(space, seed=seed, **options)
        self.history = MemoryHistory()
        self.proposer = Proposer(self.spec)
        self.open: list[tuple[int, Proposal]] = []

    def ask(self) -> Proposal:
        number = self.history.proposed()
        rng = np.random.default_rng([self.spec.seed, number])
        proposal = self.proposer.propose(self.history, rng=rng)
        self.history.add_proposed(number, proposal.genome)
        self.open.append((number, proposal))
        return proposal

    def finish(self, place: int, fitness: float | None) -> None:
        """Ends the trial at a place among the open ones; None prunes it."""
        number, proposal = self.open.pop(place)
        value = -1.0 if fitness is None else fitness
        self.history.add_finished(number, proposal.genome, value, pruned=fitness is None)

    def run(self, count: int, fitness: Callable[[Genome], float | None] = _experts) -> list[str]:
        """Runs trials one after another and returns the digests that were proposed."""
        digests = []
        for _ in range(count):
            proposal = self.ask()
            digests.append(proposal.genome.digest)
            self.finish(0, fitness(proposal.genome))
        return digests


@pytest.mark.parametrize("options", [PLAIN, {}], ids=["plain", "screened"])
def test_a_small_space_is_searched_to_its_last_genome_and_then_exhausted(
    options: dict[str, Any],
) -> None:
    space = sequences(4)
    campaign = Campaign(space, population_size=10, tournament_size=3, **options)
    digests = campaign.run(space.size())
    assert len(set(digests)) == space.size() == 81
    with pytest.raises(SpaceExhausted, match="81 tried so far"):
        campaign.ask()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 64), st.sampled_from(["screened", "plain", "nsga2"]))
def test_no_digest_is_proposed_twice_whatever_is_in_flight(
    seed: int, in_flight: int, way: str
) -> None:
    options: dict[str, Any] = {"plain": PLAIN, "nsga2": {"algorithm": "nsga2"}}.get(way, {})
    campaign = Campaign("nano", seed=seed, population_size=8, tournament_size=3, **options)
    space, order = campaign.proposer.space, np.random.default_rng(seed)
    digests = []
    for _ in range(80):
        proposal = campaign.ask()
        assert space.contains(proposal.genome)
        digests.append(proposal.genome.digest)
        while len(campaign.open) >= in_flight:
            pruned = order.random() < 0.2
            place = int(order.integers(len(campaign.open)))
            genome = campaign.open[place][1].genome
            campaign.finish(place, None if pruned else _experts(genome))
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("options", [PLAIN, {}], ids=["plain", "screened"])
def test_same_seed_and_same_order_of_results_give_the_same_search(options: dict[str, Any]) -> None:
    first, second = (
        Campaign("nano", seed=3, population_size=8, tournament_size=3, **options) for _ in range(2)
    )
    assert first.run(40) == second.run(40)
    other = Campaign("nano", seed=4, population_size=8, tournament_size=3, **options)
    assert other.run(40) != second.run(40)


def test_a_proposer_that_restarts_goes_on_with_the_same_search() -> None:
    steady, restarted = (Campaign(sequences(8), seed=5, population_size=20) for _ in range(2))
    expected = steady.run(130)
    digests = []
    for _ in range(130):
        restarted.proposer = Proposer(restarted.spec)  # nothing but the history survives
        digests += restarted.run(1)
    assert digests == expected


@pytest.mark.parametrize(("in_flight", "first"), [(1, 16), (64, 73)])
def test_screening_begins_after_a_sample_and_as_soon_as_it_has_results(
    in_flight: int, first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = Campaign("nano", seed=7)
    screened: list[int] = []
    stage = campaign.proposer._screened
    screen = stage.propose

    def noted(history: MemoryHistory, *, rng: np.random.Generator) -> Proposal | None:
        screened.append(history.proposed())
        return screen(history, rng=rng)

    monkeypatch.setattr(stage, "propose", noted)
    for _ in range(first + 3):
        campaign.ask()
        if len(campaign.open) >= in_flight:
            campaign.finish(0, 0.5)
    assert screened == list(range(first, first + 3))


def test_a_proposer_that_forgets_the_sub_layers_it_met_goes_on_with_the_same_search() -> None:
    steady, forgetful = (
        Campaign("nano", seed=6, population_size=8, tournament_size=3) for _ in range(2)
    )
    expected = steady.run(40)
    forgetful.proposer = Proposer(forgetful.spec, replace(EFFORT, most_codes=0))
    assert forgetful.run(40) == expected


def test_first_proposals_are_seeds_then_random() -> None:
    campaign = Campaign(
        "nano", seeds=("glam", "dense_transformer"), population_size=6, tournament_size=2, **PLAIN
    )
    space = load_preset("nano")
    proposals = []
    for _ in range(7):
        proposals.append(campaign.ask())
        campaign.finish(0, 0.0)
    assert [one.origin for one in proposals] == ["seed"] * 2 + ["random"] * 4 + ["mutation"]
    assert proposals[0].genome == zoo_genome("glam", space)


def test_a_seed_given_twice_is_proposed_once() -> None:
    campaign = Campaign("nano", seeds=("glam", "glam"), population_size=4, tournament_size=2)
    assert [campaign.ask().origin for _ in range(3)] == ["seed", "random", "random"]


def test_a_seed_outside_the_space_is_refused() -> None:
    outside = Genome.model_validate({"model_dim": 7, "layers": [{"kind": "attention", "heads": 1}]})
    with pytest.raises(InvalidSpec, match=r"outside the space 'nano'.* at /seeds/0"):
        Proposer(ask_tell_spec("nano", seeds=(outside,)))


def test_oldest_trial_leaves_even_when_fittest() -> None:
    campaign = Campaign("nano", population_size=4, tournament_size=4, **PLAIN)
    for fitness in (9.0, 1.0, 2.0, 3.0):
        campaign.ask()
        campaign.finish(0, fitness)
    assert campaign.ask().parent == 0  # the whole population takes part: the fittest wins
    campaign.finish(0, 0.5)
    # Trial 0 is the oldest of five and has left.
    assert {campaign.ask().parent for _ in range(8)} == {3}


def test_age_is_counted_by_completion_not_by_number() -> None:
    campaign = Campaign("nano", population_size=4, tournament_size=4, **PLAIN)
    for _ in range(4):
        campaign.ask()
    for number, fitness in ((3, 9.0), (0, 1.0), (1, 2.0), (2, 3.0)):
        place = next(at for at, (one, _) in enumerate(campaign.open) if one == number)
        campaign.finish(place, fitness)
    assert campaign.ask().parent == 3
    campaign.finish(0, 0.5)
    # Trial 3 completed first, so it left first.
    assert {campaign.ask().parent for _ in range(8)} == {2}


def test_a_pruned_trial_never_beats_a_completed_one() -> None:
    campaign = Campaign("nano", population_size=4, tournament_size=4, **PLAIN)
    for fitness in (None, -50.0, None, None):
        campaign.ask()
        campaign.finish(0, fitness)
    assert campaign.ask().parent == 1


def test_without_screening_a_child_is_one_mutation_away_from_its_parent() -> None:
    campaign = Campaign(sequences(8), population_size=10, tournament_size=3, **PLAIN)
    genomes: list[Genome] = []
    for _ in range(60):
        proposal = campaign.ask()
        genomes.append(proposal.genome)
        if proposal.origin == "mutation":
            assert proposal.parent is not None
            parent = genomes[proposal.parent]
            assert proposal.genome in neighbours(parent, campaign.proposer.space)
        campaign.finish(0, _experts(proposal.genome))
    assert np.mean([_experts(genome) for genome in genomes[-10:]]) > 0.5


def test_random_search_pays_no_heed_to_results() -> None:
    good, bad = (Campaign("nano", seed=1, algorithm="random") for _ in range(2))
    assert good.run(30) == bad.run(30, lambda genome: -_experts(genome))


def test_screening_finds_in_fewer_trials_what_plain_evolution_finds() -> None:
    target = sequences(8).sample(rng=np.random.default_rng(77))

    def alike(genome: Genome) -> float:
        pairs = zip(genome.layers, target.layers, strict=True)
        return float(sum(one == other for one, other in pairs))

    best = {}
    for name, options in (("plain", PLAIN), ("screened", {})):
        found = []
        for seed in range(3):
            campaign = Campaign(sequences(8), seed=seed, **options)
            campaign.run(60, alike)
            found.append(max(seen.fitness for seen in campaign.history.recent(60)))
        best[name] = sum(found) / len(found)
    assert best["screened"] == 8.0
    assert best["plain"] < 8.0


def test_two_objectives_pull_both_ways() -> None:
    campaign = Campaign("nano", algorithm="nsga2", population_size=20, tournament_size=5)
    for _ in range(120):
        campaign.ask()
        number, proposal = campaign.open.pop(0)
        size = len(proposal.genome.layers)
        campaign.history.add_finished(
            number, proposal.genome, _experts(proposal.genome), step_time_ms=size, parameters=size
        )
    last = campaign.history.recent(30)
    first = campaign.history.recent(120)[:20]
    assert np.mean([seen.fitness for seen in last]) > np.mean([seen.fitness for seen in first])
    assert np.mean([len(one.genome.layers) for one in last]) < np.mean(
        [len(one.genome.layers) for one in first]
    )


def test_a_space_that_operators_cannot_leave_is_sampled() -> None:
    weights = {name: float(name == "swap") for name in OPERATOR_NAMES}
    space = sequences(3, mutation_weights=weights)
    campaign = Campaign(space, population_size=2, tournament_size=1, **PLAIN)
    assert len(set(campaign.run(space.size()))) == 27
