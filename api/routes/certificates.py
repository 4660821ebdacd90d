"""Certificates: how well a search's proxy ranks blocks, measured by trials on its pool."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response

from brainformer.api.dependencies import Parts, Reads, SearchId, Writer
from brainformer.api.gate.idempotency import IdempotencyKey
from brainformer.api.gate.strict_body import body_schema, strict_body
from brainformer.api.problems.problem import problems
from brainformer.api.routes.answers import answer, created
from brainformer.api.schemas import CertificateBody, Certificates
from brainformer.search.store.records import SearchRecord
from brainformer.search.studies.certificate import CertificateRequest

router = APIRouter(prefix="/searches/{search_id}/certificates", tags=["certificates"])


@router.post(
    "",
    status_code=201,
    response_model=SearchRecord,
    responses=problems(404, 409, 413),
    openapi_extra=body_schema(CertificateBody),
)
def create_certificate(
    request: Request,
    parts: Parts,
    actor: Writer,
    search_id: SearchId,
    wanted: Annotated[CertificateBody, strict_body(CertificateBody)],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Starts a certificate of the search's proxy: ordinary trials on its pool.

    Returns the study that runs them; it is paused, resumed, stopped and cancelled like a search.
    With an Idempotency-Key, a repeat with the same body returns the study made before.
    """
    plan = CertificateRequest.model_validate(wanted.model_dump(exclude={"pool"}))
    with parts.keys.held(idempotency_key):
        record = parts.store.studies.create_certificate(
            search_id, plan, pool=wanted.pool, actor=actor, idempotency_key=idempotency_key
        )
    parts.hub.poke()
    return created(request, record)


@router.get("", response_model=Certificates, responses=problems(404, 409), dependencies=[Reads])
def list_certificates(parts: Parts, search_id: SearchId) -> Response:
    """Returns the search's certificates, newest first, with what they show so far."""
    return answer(Certificates(items=tuple(parts.store.studies.certificates(search_id))))
