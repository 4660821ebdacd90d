"""What a search comes to: its report, and how soundly it was set up."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from brainformer.api.dependencies import Parts, Reads, SearchId
from brainformer.api.problems.problem import problems
from brainformer.api.report.report import policy
from brainformer.api.report.soundness import Soundness, soundness
from brainformer.api.routes.answers import answer
from brainformer.search.errors import NotFound

router = APIRouter(prefix="/searches/{search_id}", tags=["reports"], dependencies=[Reads])


@router.get("/report", response_class=HTMLResponse, responses=problems(404, 409))
def get_report(request: Request, parts: Parts, search_id: SearchId) -> Response:
    """Returns the search's report: one HTML file that stands alone.

    That of a search of over 2,000 trials that runs may be ten seconds old; it says when it was
    written.
    """
    found = parts.recent_reports.get(search_id)
    body, headers = found.for_(request)
    headers |= {
        "Content-Disposition": f'inline; filename="{found.search_id}-report.html"',
        "Content-Security-Policy": f"{policy()}; frame-ancestors 'none'",
    }
    return HTMLResponse(body, headers=headers)


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
