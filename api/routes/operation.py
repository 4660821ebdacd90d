"""For whoever operates the controller: liveness, readiness, metrics."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from brainformer.api.dependencies import Parts, Reads
from brainformer.api.problems.problem import HttpProblem, problems
from brainformer.api.routes.answers import answer
from brainformer.api.schemas import Health
from brainformer.search.storage_errors import StorageUnavailable
from brainformer.search.store.patience import patience
from brainformer.search.trials.version_skew import own_version

router = APIRouter(tags=["operation"])
READY_SECONDS = 3.0
VERSION = own_version()
METRICS = {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Metrics"}


@router.get("/healthz", response_model=Health, responses=problems())
async def get_health() -> Response:
    """Answers as long as the process lives; says nothing of the database."""
    return answer(Health(status="ok", version=VERSION))


@router.get("/readyz", response_model=Health, responses=problems())
async def get_readiness(parts: Parts) -> Response:
    """Answers 200 while the controller can serve, else 503 with the reason.

    The database must answer, its schema be this version's, and every background task move.
    """
    if parts.hub.closing:
        raise StorageUnavailable("the controller is shutting down")
    with patience(READY_SECONDS):
        await parts.care.run(parts.store.check)
    problems_of_tasks = parts.hub.problems()
    if problems_of_tasks:
        why = "; ".join(problems_of_tasks)
        raise HttpProblem(503, why, code="task_failing", headers={"Retry-After": "5"})
    return answer(Health(status="ok", version=VERSION))


@router.get(
    "/metrics",
    response_class=Response,
    responses={**problems(), 200: METRICS},
    dependencies=[Reads],
)
async def get_metrics(parts: Parts) -> Response:
    """Returns the metrics in Prometheus' text format."""
    text = await parts.care.run(parts.metrics.text)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
