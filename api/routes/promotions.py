"""Promotions: a search's best blocks and its rival at larger scales, trained and compared."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from brainformer.api.dependencies import Parts, Reads, SearchId, Writer
from brainformer.api.gate.admission import check_dataset
from brainformer.api.gate.idempotency import IdempotencyKey
from brainformer.api.gate.strict_body import body_schema, strict_body
from brainformer.api.problems.problem import problems
from brainformer.api.routes.answers import answer, created
from brainformer.api.schemas import PromotionBody, Promotions
from brainformer.search.store.records import PromotionRecord, SearchRecord
from brainformer.search.studies.promotion import Caps, PromotionRequest

router = APIRouter(prefix="/searches/{search_id}/promotions", tags=["promotions"])


@router.post(
    "",
    status_code=201,
    response_model=SearchRecord,
    responses=problems(404, 409, 413),
    openapi_extra=body_schema(PromotionBody),
)
def create_promotion(
    request: Request,
    parts: Parts,
    actor: Writer,
    search_id: SearchId,
    wanted: Annotated[PromotionBody, strict_body(PromotionBody)],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Starts a promotion of the search's best blocks: ordinary trials on its pool.

    Returns the study that runs them; it is paused, resumed, stopped and cancelled like a search.
    With an Idempotency-Key, a repeat with the same body returns the study made before.
    """
    plan = PromotionRequest.model_validate(wanted.model_dump(exclude={"pool"}))
    for at, target in enumerate(plan.wanted_targets()):
        if target.dataset is not None:
            check_dataset(target.dataset, f"/targets/{at}/dataset", parts.datasets)
    caps = Caps(parts.settings.max_parameters, parts.settings.max_memory_bytes)
    with parts.keys.held(idempotency_key):
        record = parts.store.studies.create_promotion(
            search_id,
            plan,
            pool=wanted.pool,
            actor=actor,
            caps=caps,
            idempotency_key=idempotency_key,
        )
    parts.hub.poke()
    return created(request, record)


@router.get("", response_model=Promotions, responses=problems(404, 409), dependencies=[Reads])
def list_promotions(parts: Parts, search_id: SearchId) -> Response:
    """Returns the search's promotions, newest first, with what they show so far."""
    return answer(Promotions(items=tuple(parts.store.studies.promotions(search_id))))


@router.get(
    "/{promotion_id}",
    response_model=PromotionRecord,
    responses=problems(404, 409),
    dependencies=[Reads],
)
def get_promotion(
    parts: Parts,
    search_id: SearchId,
    promotion_id: Annotated[str, Path(max_length=64, description="The promotion's id or name.")],
) -> Response:
    """Returns one promotion: Table 3, the rival's ladder, speedups and what they prove."""
    return answer(parts.store.studies.promotion(search_id, promotion_id))
