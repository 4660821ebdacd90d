"""Promotions: the best blocks of a search at a larger scale (arXiv:2306.00008, section 3.4).

The block is widened by a factor and stacked until it activates the parameters wanted; the baseline
is scaled alike, so that a reader can compare the two at each scale.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from brainformer.search.cost import cost
from brainformer.search.errors import InvalidGenome, InvalidSpec, NotFound
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.scaling.solving import scaled_to
from brainformer.search.scaling.target import target_of_size
from brainformer.search.space.genome import Genome
from brainformer.search.store.contract import SearchStore, TrialFilter
from brainformer.search.store.records import SearchRecord, TrialRecord
from brainformer.search.trials.trial import TrialKind, TrialStatus


class Promotion(BaseModel):
    """A block at a larger scale; without genome and proxy where it cannot be scaled so far."""

    model_config = ConfigDict(frozen=True)

    trial_number: Annotated[int | None, Field(description="Null for the baseline.")]
    fitness: Annotated[float | None, Field(description="As measured at the search's scale.")]
    genome: Genome | None = None
    digest: str | None = None
    proxy: Proxy | None = None
    parameters: int | None = None
    activated_parameters: int | None = None
    flops_per_token: float | None = None
    memory_bytes: int | None = None
    reason: Annotated[str, Field(description="Why it cannot be scaled; empty if it can.")] = ""


def promotions(
    store: SearchStore, search_id: str, *, target_parameters: int, top: int
) -> list[Promotion]:
    """Returns the baseline and the best blocks, scaled; the best one first after the baseline.

    Args:
        store: Where the search is.
        search_id: Its id or name.
        target_parameters: Activated parameters wanted, embeddings apart.
        top: How many of the best blocks.

    Raises:
        NotFound: there is no such search, or none of its candidates has completed.
    """
    search = store.get_search(search_id)
    where = TrialFilter(
        statuses=(TrialStatus.COMPLETED,), kinds=(TrialKind.CANDIDATE,), sort="-fitness"
    )
    best = store.list_trials(search.id, where=where, limit=top).items
    if not best:
        raise NotFound("completed candidate in search", search.id)
    genome = _rival(store, search)
    scaled = [_scaled(search, None, genome, target_parameters)]
    return scaled + [_scaled(search, t, t.genome, target_parameters) for t in best]


def _rival(store: SearchStore, search: SearchRecord) -> Genome:
    """Returns the block that the search compared its candidates with."""
    known = [one.rival for one in store.baselines(search.id) if one.rival is not None]
    return known[0] if known else search.spec.rivals()[0].genome


def _scaled(
    search: SearchRecord, trial: TrialRecord | None, genome: Genome, target: int
) -> Promotion:
    number = None if trial is None else trial.number
    fitness = None if trial is None else trial.fitness
    try:
        scaled = scaled_to(genome, search.spec.proxy, target_of_size(target))
    except (InvalidGenome, InvalidSpec) as error:
        return Promotion(trial_number=number, fitness=fitness, reason=error.message)
    return Promotion(trial_number=number, fitness=fitness, **_costs(scaled.genome, scaled.proxy))


def _costs(genome: Genome, proxy: Proxy) -> dict[str, object]:
    return {
        "genome": genome,
        "digest": genome.digest,
        "proxy": proxy,
        "parameters": cost.parameters(genome, proxy),
        "activated_parameters": cost.activated_parameters(genome, proxy),
        "flops_per_token": cost.flops_per_token(genome, proxy),
        "memory_bytes": cost.memory_bytes(genome, proxy),
    }
