"""What a search comes to: its report, and how soundly it was set up."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from brainformer.api.dependencies import Parts, Reads, SearchId
from brainformer.api.problems.problem import problems
from brainformer.api.report.report import policy, read_findings, report_html
from brainformer.api.report.soundness import Soundness, soundness
from brainformer.api.routes.answers import answer
from brainformer.search.errors import NotFound

router = APIRouter(prefix="/searches/{search_id}", tags=["reports"], dependencies=[Reads])


@router.get("/report", response_class=HTMLResponse, responses=problems(404, 409))
def get_report(parts: Parts, search_id: SearchId) -> Response:
    """Returns the search's report: one HTML file that stands alone."""
    findings = read_findings(parts.store, search_id)
    name = f'inline; filename="{findings.search.id}-report.html"'
    headers = {
        "Content-Disposition": name,
        "Content-Security-Policy": f"{policy()}; frame-ancestors 'none'",
    }
    return HTMLResponse(report_html(findings), headers=headers)


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
