"""Who asks: a token's own view of itself, and the browser's session."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from brainformer.api.dependencies import Known, Parts, client_of
from brainformer.api.gate.auth import COOKIE, session_in
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
    """Begins a session, kept in a cookie that scripts cannot read, for the dashboard."""
    await parts.authenticator.admitted(login.token, client_of(request))
    response = Response(status_code=204)
    seconds = parts.settings.session_hours * 3600
    begin = partial(parts.store.sessions.begin, login.token, seconds=seconds)
    session = await run_in_threadpool(begin)
    if session is None:  # open to everybody on this machine: there is nothing to keep
        return response
    response.set_cookie(
        COOKIE,
        session,
        max_age=int(seconds),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
        path=parts.settings.root_path or "/",
    )
    return response


@router.delete("", status_code=204, response_class=Response, responses=problems())
def sign_out(request: Request, parts: Parts) -> Response:
    """Ends the browser's session: a copy of its cookie opens nothing any more."""
    session = session_in(request)
    if session is not None:
        parts.store.sessions.end(session)
        parts.authenticator.forget()
    response = Response(status_code=204)
    response.delete_cookie(
        COOKIE, path=parts.settings.root_path or "/", httponly=True, samesite="strict"
    )
    return response
