"""Tokens, the browser's session, and the audit trail."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from brainformer.api.dependencies import (
    Administers,
    Administrator,
    Cursor,
    Parts,
)
from brainformer.api.gate.strict_body import body_schema, strict_body
from brainformer.api.problems.problem import problems
from brainformer.api.routes.answers import answer, next_link
from brainformer.api.schemas import (
    AuditPage,
    CreatedToken,
    NewToken,
    Tokens,
)
from brainformer.search.store.records import TokenRecord

router = APIRouter(tags=["access"])


@router.post(
    "/tokens",
    status_code=201,
    response_model=CreatedToken,
    responses={
        **problems(409, 413),
        201: {
            "description": "Created",
            "links": {
                "revoke_token": {
                    "operationId": "revoke_token",
                    "parameters": {"token_id": "$response.body#/token/id"},
                }
            },
        },
    },
    openapi_extra=body_schema(NewToken),
)
def create_token(
    parts: Parts, actor: Administrator, wanted: Annotated[NewToken, strict_body(NewToken)]
) -> Response:
    """Makes a token. Its secret is in this answer and nowhere else."""
    record, secret = parts.store.create_token(
        wanted.name, wanted.scopes, expires_in_seconds=wanted.expires_in_seconds, actor=actor
    )
    parts.authenticator.forget()
    return answer(CreatedToken(token=record, secret=secret), status=201)


@router.get("/tokens", response_model=Tokens, responses=problems(), dependencies=[Administers])
def list_tokens(parts: Parts) -> Response:
    """Lists all tokens, without secrets."""
    return answer(Tokens.model_construct(items=tuple(parts.store.list_tokens())))


@router.delete("/tokens/{token_id}", response_model=TokenRecord, responses=problems(404))
def revoke_token(
    parts: Parts, actor: Administrator, token_id: Annotated[int, Path(ge=1, le=2**31 - 1)]
) -> Response:
    """Revokes a token at once; it stays listed. Asking twice is harmless."""
    record = parts.store.revoke_token(token_id, actor=actor)
    parts.authenticator.forget()
    return answer(record)


@router.get("/audit", response_model=AuditPage, responses=problems(), dependencies=[Administers])
def list_audit(
    request: Request,
    parts: Parts,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Lists who did what, newest first."""
    page = parts.store.audit(cursor=cursor, limit=limit)
    body = AuditPage.model_construct(items=page.items, next_cursor=page.next_cursor)
    return answer(body, headers=next_link(request, page.next_cursor))
