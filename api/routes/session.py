"""Who asks: a token's own view of itself, and the browser's session."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response

from brainformer.api.dependencies import Known, Parts, client_of
from brainformer.api.gate.auth import COOKIE
from brainformer.api.gate.strict_body import body_schema, strict_body
from brainformer.api.problems.problem import problems
from brainformer.api.routes.answers import answer
from brainformer.api.schemas import Identity, Login

router = APIRouter(prefix="/session", tags=["access"])


@router.get("", response_model=Identity, responses=problems())
def get_identity(who: Known) -> Response:
    """Returns whom the controller takes the caller for, and what they may do."""
    return answer(Identity(name=who.name, scopes=tuple(sorted(who.scopes))))


@router.post(
    "",
    status_code=204,
    response_class=Response,
    responses=problems(413),
    openapi_extra=body_schema(Login),
)
async def sign_in(
    request: Request, parts: Parts, login: Annotated[Login, strict_body(Login)]
) -> Response:
    """Keeps a token in a cookie that scripts cannot read, for the dashboard."""
    await parts.authenticator.admitted(login.token, client_of(request))
    response = Response(status_code=204)
    response.set_cookie(
        COOKIE,
        login.token,
        max_age=int(parts.settings.session_hours * 3600),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
        path="/",
    )
    return response


@router.delete("", status_code=204, response_class=Response, responses=problems())
def sign_out() -> Response:
    """Forgets the browser's token."""
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response
