"""What routes are given: the controller's parts, who asks, parameters that several share."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Query, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from brainformer.api.gate.admission import KnownDataSets
from brainformer.api.gate.auth import (
    COOKIE,
    Authenticator,
    Principal,
    require,
    secret_in,
)
from brainformer.api.gate.idempotency import KeysInFlight
from brainformer.api.gate.rate_limit import RateLimit
from brainformer.api.gate.stream_limit import StreamLimit
from brainformer.api.live.event_hub import EventHub
from brainformer.api.live.metrics import Metrics
from brainformer.api.live.point_batches import PointBatches
from brainformer.api.live.threads import Threads
from brainformer.api.live.waiting_claims import CLAIMS_AT_ONCE, Turns, WaitingClaims
from brainformer.api.logs import request_id
from brainformer.api.problems.problem import HttpProblem
from brainformer.api.report.recent_reports import RecentReports
from brainformer.api.settings import Settings
from brainformer.search.store.actor import Actor
from brainformer.search.store.contract import SearchStore
from brainformer.search.store.scopes import Scope
from brainformer.search.trials.lease_id import LEASE_ID_PATTERN

# Of workers, on their trials. More at once would wait for the same search's row, and slow down
# whoever holds it.
LEASE_REPORTS_AT_ONCE = 2
HEARTBEAT_THREADS = 2  # they wait for no search, and nothing should keep them
CARE_THREADS = 2  # for those who look after the controller


@dataclass(frozen=True)
class Controller:
    """The parts of one running controller."""

    settings: Settings
    store: SearchStore
    hub: EventHub
    metrics: Metrics
    authenticator: Authenticator
    datasets: KnownDataSets
    streams: StreamLimit
    claims: RateLimit
    recent_reports: RecentReports
    points: PointBatches
    keys: KeysInFlight = field(default_factory=KeysInFlight)
    waiting: WaitingClaims = field(default_factory=WaitingClaims)
    turns: Turns = field(default_factory=Turns)
    reporting: Threads = field(default_factory=lambda: Threads(LEASE_REPORTS_AT_ONCE))
    heartbeats: Threads = field(default_factory=lambda: Threads(HEARTBEAT_THREADS))
    claiming: Threads = field(default_factory=lambda: Threads(CLAIMS_AT_ONCE))
    care: Threads = field(default_factory=lambda: Threads(CARE_THREADS))


async def controller(request: Request) -> Controller:
    """Returns the parts of the controller that serves this request."""
    found: Controller = request.app.state.controller
    return found


Parts = Annotated[Controller, Depends(controller)]

TAG = re.compile(r'"([0-9]{1,15})"')
bearer = HTTPBearer(auto_error=False, description="A token of `brainformer token create`.")
cookie = APIKeyCookie(
    name=COOKIE, auto_error=False, description="A browser's session, made by POST /session."
)


def client_of(request: Request) -> str:
    """Returns the caller's address."""
    return request.client.host if request.client else "unknown"


async def secret_of(
    request: Request,
    _header: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
    _cookie: Annotated[str | None, Security(cookie)],
) -> str | None:
    """Returns what the caller proves themselves with; the two schemes are named for OpenAPI."""
    return secret_in(request)


Secret = Annotated[str | None, Depends(secret_of)]


def holder(scope: Scope | None) -> Callable[..., Coroutine[Any, Any, Principal]]:
    """Returns a dependency that gives whoever asks, if they have the scope; None means any."""

    async def principal(request: Request, parts: Parts, secret: Secret) -> Principal:
        found = await parts.authenticator.admitted(secret, client_of(request))
        if scope is not None:
            require(found, scope)
        request.scope["principal"] = found.name
        return found

    return principal


def actor_with(scope: Scope) -> Callable[..., Coroutine[Any, Any, Actor]]:
    """Returns a dependency that gives the name for the audit trail."""
    needed = Depends(holder(scope))

    async def actor(principal: Principal = needed) -> Actor:
        return principal.actor(request_id.get())

    return actor


Reads = Depends(holder("read"))
Works = Depends(holder("worker"))
Administers = Depends(holder("admin"))
Known = Annotated[Principal, Depends(holder(None))]
Writer = Annotated[Actor, Depends(actor_with("write"))]
Administrator = Annotated[Actor, Depends(actor_with("admin"))]

SearchId = Annotated[
    str,
    Path(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$",
        description="The search's id, or its name while it is the only unfinished one of it.",
    ),
]
LAST_NUMBER = 2**31 - 1  # of a trial, as the database keeps it
TrialNumber = Annotated[int, Path(ge=0, le=LAST_NUMBER, description="The trial's number.")]
ClaimedLease = Annotated[str, Path(pattern=f"^{LEASE_ID_PATTERN}$", description="As claimed.")]
Cursor = Annotated[
    str | None,
    Query(
        pattern=r"^[A-Za-z0-9_=.,:|+/-]{1,512}$",
        description="`next_cursor` of the page before, with the same filters and sort.",
    ),
]


async def expected_version(
    if_match: Annotated[
        str | None,
        Header(
            max_length=64,
            description="The ETag that was read; the change is refused (412) if it is not the "
            "present one.",
        ),
    ] = None,
) -> int | None:
    """Returns the version that a change relies on; None takes any.

    Raises:
        HttpProblem: 412, the tag is not one that we give.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    tag = TAG.fullmatch(if_match.strip())
    if tag is None:
        raise HttpProblem(
            412, "If-Match holds no tag that this controller gives", code="stale_version"
        )
    return int(tag[1])


Version = Annotated[int | None, Depends(expected_version)]
KnownTag = Annotated[
    str | None,
    Header(max_length=512, description="An ETag read before; the answer is 304 if it stands."),
]
