"""Promotions: the best blocks of a search at a larger scale (arXiv:2306.00008, section 3.4).

The block is widened by a factor and stacked until it activates the parameters wanted; the baseline
is scaled alike, so that a reader can compare the two at each scale.
"""

from __future__ import annotations

from api.schemas import Promotion
from search import cost
from search.errors import InvalidGenome, InvalidSpec, NotFound
from search.evolution import resolve_genome
from search.genome import Genome
from search.records import SearchRecord, TrialRecord
from search.scaling import ScaleModelDim, StackNTimes
from search.spec import Proxy
from search.store import SearchStore, TrialFilter
from search.trial import TrialKind, TrialStatus


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
    best: tuple[TrialRecord, ...] = store.list_trials(search.id, where=where, limit=top).items
    if not best:
        raise NotFound("completed candidate in search", search.id)
    genome = resolve_genome(search.spec.baseline, search.spec.resolved_space())
    scaled = [_scaled(search, None, genome, target_parameters, factor)]
    return scaled + [_scaled(search, t, t.genome, target_parameters, factor) for t in best]


def _scaled(
    search: SearchRecord, trial: TrialRecord | None, genome: Genome, target: int, factor: float
) -> Promotion:
    number = None if trial is None else trial.number
    fitness = None if trial is None else trial.fitness
    try:
        wider = ScaleModelDim(factor)(genome)
        proxy = StackNTimes(target)(wider, search.spec.proxy)
        cost.check_trainable(wider, proxy)
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
