"""What a search comes to: its report, and its best blocks at a larger scale."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import HTMLResponse

from brainformer.api.dependencies import Parts, Reads, SearchId
from brainformer.api.problems.problem import problems
from brainformer.api.report.report import read_findings, report_html
from brainformer.api.report.soundness import Soundness, soundness
from brainformer.api.routes.answers import answer
from brainformer.api.schemas import Promotions
from brainformer.search.errors import NotFound
from brainformer.search.export.promotion import promotions

router = APIRouter(prefix="/searches/{search_id}", tags=["reports"], dependencies=[Reads])
BILLION = 1_000_000_000


@router.get("/report", response_class=HTMLResponse, responses=problems(404, 409))
def get_report(parts: Parts, search_id: SearchId) -> Response:
    """Returns the search's report: one HTML file that stands alone."""
    findings = read_findings(parts.store, search_id)
    name = f'inline; filename="{findings.search.id}-report.html"'
    return HTMLResponse(report_html(findings), headers={"Content-Disposition": name})


@router.get("/soundness", response_model=Soundness, responses=problems(404, 409))
def get_soundness(parts: Parts, search_id: SearchId) -> Response:
    """Returns how long rival and best were trained for their size, and what to mind."""
    store = parts.store
    search = store.get_search(search_id)
    try:
        best = store.best(search.id)
    except NotFound:
        best = None
    return answer(soundness(search, store.baselines(search.id), best))


@router.get("/promotions", response_model=Promotions, responses=problems(404, 409))
def list_promotions(
    parts: Parts,
    search_id: SearchId,
    target_parameters: Annotated[
        int,
        Query(ge=1, le=10**13, description="Activated parameters wanted, embeddings apart."),
    ] = BILLION,
    top: Annotated[int, Query(ge=1, le=50, description="How many of the best blocks.")] = 5,
) -> Response:
    """Returns the baseline and the best blocks widened and stacked to a target size.

    Nothing is trained: each item is a genome and a proxy to train or export at that scale.
    """
    found = promotions(parts.store, search_id, target_parameters=target_parameters, top=top)
    return answer(Promotions(target_parameters=target_parameters, items=tuple(found)))
