"""What pictures of a search are drawn from: columns and summaries, thinned here."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Response

from brainformer.api.dependencies import LAST_NUMBER, Parts, Reads, SearchId, TrialNumber
from brainformer.api.problems.problem import problems
from brainformer.api.routes.answers import answer
from brainformer.api.schemas import PoolCurves, SparkLine, TrialTable
from brainformer.search.charts.buckets import MOST_BUCKETS
from brainformer.search.charts.pictures import (
    Ancestors,
    Composition,
    Costs,
    Failures,
    Front,
    Gains,
    Lineage,
    Overview,
    Spans,
)
from brainformer.search.proxy.proxy import NAME_PATTERN
from brainformer.search.store.chart_store import Stretch
from brainformer.search.store.contract import TrialFilter

router = APIRouter(prefix="/searches/{search_id}/charts", tags=["charts"], dependencies=[Reads])
TableSort = Literal[
    "number",
    "-number",
    "fitness",
    "-fitness",
    "loss",
    "-loss",
    "step_time_ms",
    "-step_time_ms",
    "parameters",
    "-parameters",
    "finished",
    "-finished",
    "status",
    "-status",
    "pool",
    "-pool",
]
MOST_CURVES = 12  # of other trials, beside one
WORD = r"^[^\x00-\x1f]{1,64}$"


async def stretch(
    pool: Annotated[
        str | None,
        Query(pattern=NAME_PATTERN, description="Only trials of this pool."),
    ] = None,
    first: Annotated[int, Query(ge=0, le=LAST_NUMBER, description="The first trial.")] = 0,
    last: Annotated[
        int | None, Query(ge=0, le=LAST_NUMBER, description="The last one; by default the newest.")
    ] = None,
) -> Stretch:
    """Returns which trials are looked at."""
    return Stretch(pool=pool, first=first, last=last)


Where = Annotated[Stretch, Depends(stretch)]


@router.get("/overview", response_model=Overview, responses=problems(404, 409))
def get_overview(
    parts: Parts,
    search_id: SearchId,
    where: Where,
    after_seq: Annotated[
        int | None,
        Query(ge=0, le=2**53 - 1, description="Only what changed since, where that is little."),
    ] = None,
    buckets: Annotated[int, Query(ge=10, le=MOST_BUCKETS)] = 800,
) -> Response:
    """Returns a search at a glance: all trials of a short one, quantiles of a long one."""
    return answer(
        parts.store.charts.overview(search_id, where, after_seq=after_seq, buckets=buckets)
    )


@router.get("/front", response_model=Front, responses=problems(404, 409))
def get_front(parts: Parts, search_id: SearchId, where: Where) -> Response:
    """Returns gain against step time: each pool's front, and a grid of many trials."""
    return answer(parts.store.charts.front(search_id, where))


@router.get("/gains", response_model=Gains, responses=problems(404, 409))
def get_gains(parts: Parts, search_id: SearchId, where: Where) -> Response:
    """Returns by how much children beat their parents, by kind of mutation and by gene."""
    return answer(parts.store.charts.gains(search_id, where))


@router.get("/composition", response_model=Composition, responses=problems(404, 409))
def get_composition(parts: Parts, search_id: SearchId, where: Where) -> Response:
    """Returns what candidates are made of as the search goes on."""
    return answer(parts.store.charts.composition(search_id, where))


@router.get("/lineage", response_model=Lineage, responses=problems(404, 409))
def get_lineage(
    parts: Parts,
    search_id: SearchId,
    root: Annotated[
        int | None, Query(ge=0, le=LAST_NUMBER, description="Only what descends from it.")
    ] = None,
) -> Response:
    """Returns the population with all its ancestors, or the descendants of one trial."""
    return answer(parts.store.charts.lineage(search_id, root=root))


@router.get("/failures", response_model=Failures, responses=problems(404, 409))
def get_failures(parts: Parts, search_id: SearchId, where: Where) -> Response:
    """Returns why trials did not complete, grouped by reason, with the newest traceback of each."""
    return answer(parts.store.charts.failures(search_id, where))


@router.get("/machines", response_model=Spans, responses=problems(404, 409))
def get_machines(parts: Parts, search_id: SearchId) -> Response:
    """Returns the latest attempts by worker, for a timeline."""
    return answer(parts.store.charts.machines(search_id))


@router.get("/spark", response_model=SparkLine, responses=problems(404, 409))
def get_spark(parts: Parts, search_id: SearchId) -> Response:
    """Returns the best single run so far at up to 40 places of the search."""
    best, pools = parts.store.charts.spark(search_id)
    return answer(SparkLine(best=tuple(best), pools=tuple(pools)))


@router.get("/table", response_model=TrialTable, responses=problems(404, 409))
def get_table(
    parts: Parts,
    search_id: SearchId,
    where: Where,
    sort: Annotated[TableSort, Query(description="A leading minus is descending.")] = "-number",
    word: Annotated[
        list[Annotated[str, Query(pattern=WORD)]] | None,
        Query(
            max_length=8,
            description="Each must hold: a status, kind, outcome or pool, `front`, `population`, "
            "`#12`, `parent:12`, or part of mutation, message, genome or digest.",
        ),
    ] = None,
    offset: Annotated[int, Query(ge=0, le=LAST_NUMBER)] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
) -> Response:
    """Returns rows of a sorted and filtered table of trials, and how many it has."""
    rows = parts.store.charts.table(
        search_id, where, sort=sort, words=word or (), offset=offset, limit=limit
    )
    return answer(TrialTable.model_construct(items=rows.items, total=rows.total))


@router.get("/costs/{number}", response_model=Costs, responses=problems(404, 409))
def get_costs(parts: Parts, search_id: SearchId, number: TrialNumber) -> Response:
    """Returns what a trial's block costs, sub-layer by sub-layer."""
    return answer(parts.store.charts.costs(search_id, number))


@router.get("/ancestors/{number}", response_model=Ancestors, responses=problems(404, 409))
def get_ancestors(parts: Parts, search_id: SearchId, number: TrialNumber) -> Response:
    """Returns where a trial comes from: its ancestors as columns, and its parent's block."""
    return answer(parts.store.charts.ancestors(search_id, number))


@router.get("/curves", response_model=PoolCurves, responses=problems(404, 409))
def get_curves(
    parts: Parts,
    search_id: SearchId,
    pool: Annotated[str, Query(pattern=NAME_PATTERN, description="Of which pool.")],
) -> Response:
    """Returns what a trial's learning curve is seen beside: its rival's, and the pool's best."""
    rivals = TrialFilter.rival_runs(pool, sort="-number", curves=True)
    newest = parts.store.list_trials(search_id, where=rivals, limit=1).items
    best = TrialFilter.fittest(pool, curves=True)
    others = parts.store.list_trials(search_id, where=best, limit=MOST_CURVES).items
    found = PoolCurves.model_construct(
        rival=newest[0] if newest else None,
        number=tuple(one.number for one in others),
        curve=tuple(one.measurements.curve for one in others),
    )
    return answer(found)
