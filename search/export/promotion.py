"""Promotions: the best blocks of a search at a larger scale (arXiv:2306.00008, section 3.4).

The block is widened by a factor and stacked until it activates the parameters wanted; the baseline
is scaled alike, so that a reader can compare the two at each scale.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from brainformer.search.cost import cost
from brainformer.search.cost.scaling import ScaleModelDim, StackNTimes
from brainformer.search.cost.trainable import check_trainable
from brainformer.search.errors import InvalidGenome, InvalidSpec, NotFound
from brainformer.search.proxy.proxy import Proxy
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
    store: SearchStore, search_id: str, *, target_parameters: int, factor: float, top: int
) -> list[Promotion]:
    """Returns the baseline and the best blocks, scaled; the best one first after the baseline.

    Args:
        store: Where the search is.
        search_id: Its id or name.
        target_parameters: Activated parameters wanted, embeddings apart.
        factor: Of model dim, hidden dims, ranks and heads; 2 and 4 in the paper.
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
    scaled = [_scaled(search, None, genome, target_parameters, factor)]
    return scaled + [_scaled(search, t, t.genome, target_parameters, factor) for t in best]


def _rival(store: SearchStore, search: SearchRecord) -> Genome:
    """Returns the block that the search compared its candidates with."""
    known = [one.rival for one in store.baselines(search.id) if one.rival is not None]
    return known[0] if known else search.spec.rivals()[0].genome


def _scaled(
    search: SearchRecord, trial: TrialRecord | None, genome: Genome, target: int, factor: float
) -> Promotion:
    number = None if trial is None else trial.number
    fitness = None if trial is None else trial.fitness
    try:
        wider = ScaleModelDim(factor)(genome)
        proxy = StackNTimes(target)(wider, search.spec.proxy)
        check_trainable(wider, proxy)
    except (InvalidGenome, InvalidSpec) as error:
        return Promotion(trial_number=number, fitness=fitness, reason=error.message)
    return Promotion(trial_number=number, fitness=fitness, **_costs(wider, proxy))


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
