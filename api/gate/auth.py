"""Who asks and what they may: bearer tokens, the browser's cookie, scopes."""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NoReturn

from starlette.requests import HTTPConnection

from brainformer.api.gate.rate_limit import RateLimit
from brainformer.api.live.threads import Threads
from brainformer.api.problems.problem import HttpProblem
from brainformer.search.storage_errors import StorageError, StorageUnavailable
from brainformer.search.store.actor import Actor
from brainformer.search.store.contract import SearchStore
from brainformer.search.store.patience import patience
from brainformer.search.store.records import TokenRecord
from brainformer.search.store.scopes import SCOPES, SESSION_PREFIX, Scope, scopes_of

COOKIE = "brainformer_session"
MAX_SECRET_LENGTH = 512
UNKNOWN = "unknown"  # nobody's secret
AUTHENTICATION_SECONDS = 3.0
AUTHENTICATION_THREADS = 4


@dataclass(frozen=True)
class Principal:
    """Who asks; holds no secret."""

    name: str
    scopes: frozenset[str]

    def actor(self, request_id: str) -> Actor:
        """Returns the name for the audit trail."""
        return Actor(name=self.name, request_id=request_id)


LOCAL = Principal(name="local", scopes=frozenset(SCOPES))


@dataclass(frozen=True)
class Check:
    """A token that was found: when it was checked, when it expires, whose it is."""

    made: float
    ends: float
    principal: Principal


class Authenticator:
    """Turns a secret into a principal.

    Open mode: while the controller is bound to loopback and not one token has ever been made,
    everybody on this machine may do everything. A revoked token still counts as made, so
    revoking the last one locks the door instead of opening it.
    """

    def __init__(
        self,
        store: SearchStore,
        *,
        loopback: bool,
        cache_seconds: float,
        failures: RateLimit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.threads = Threads(AUTHENTICATION_THREADS)
        self._store = store
        self._loopback = loopback
        self._cache_seconds = cache_seconds
        self._failures = failures
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, Check] = {}
        self._open: tuple[float, bool] | None = None

    async def admitted(self, secret: str | None, client: str) -> Principal:
        """Returns who holds the secret, asked for beside all other work if it is not remembered.

        Raises:
            HttpProblem: 401 without a live token, 429 after too many wrong ones.
        """
        known = self.remembered(secret)
        if known is not None:
            return known
        with patience(AUTHENTICATION_SECONDS):
            return await self.threads.run(self.principal, secret, client)

    def remembered(self, secret: str | None) -> Principal | None:
        """Returns who holds the secret if that is known without asking the database."""
        if self._loopback and (self._open is None or self._stale(self._open[0])):
            return None
        if self._loopback and self._open is not None and self._open[1]:
            return LOCAL
        return None if secret is None else self._cached(_digest(secret))

    def principal(self, secret: str | None, client: str) -> Principal:
        """Returns who holds the secret.

        Raises:
            HttpProblem: 401 without a live token, 429 after too many wrong ones.
        """
        if self.is_open():
            return LOCAL
        if secret is None:
            raise _unauthenticated("this controller wants a token")
        digest = _digest(secret)
        known = self._cached(digest)
        return known if known is not None else self._look_up(secret, digest, client)

    def is_open(self) -> bool:
        """Returns whether requests need no token."""
        if not self._loopback:
            return False
        now = self._clock()
        known = self._open
        if known is not None and not self._stale(known[0]):
            return known[1]
        try:
            found = not self._store.list_tokens()
        except StorageError:
            if known is None:
                raise
            found = known[1]
        self._open = (now, found)
        return found

    def _stale(self, checked: float) -> bool:
        return self._clock() - checked >= self._cache_seconds

    def forget(self) -> None:
        """Forgets every remembered check; called when a token is made or revoked."""
        with self._lock:
            self._known.clear()
            self._open = None

    def _cached(self, digest: str) -> Principal | None:
        with self._lock:
            check = self._known.get(digest)
        if check is None or check.ends <= self._clock() or self._stale(check.made):
            return None
        return check.principal

    def _look_up(self, secret: str, digest: str, client: str) -> Principal:
        try:
            token = self._store.find_token(secret) if len(secret) <= MAX_SECRET_LENGTH else None
        except StorageError:
            return self._known_before(digest)
        if token is None:
            self._refuse(client)
        principal = Principal(name=f"token:{token.name}", scopes=scopes_of(token.scopes))
        with self._lock:
            if len(self._known) > 1_000:
                self._known.clear()
            self._known[digest] = Check(self._clock(), self._end(token), principal)
        return principal

    def _known_before(self, digest: str) -> Principal:
        """Returns who held the secret at the last check.

        While the database is gone nobody can revoke a token, and whoever watches the controller
        should see that it is gone.
        """
        with self._lock:
            check = self._known.get(digest)
            if check is None or check.ends <= self._clock():
                raise StorageUnavailable("the token cannot be checked")
            self._known[digest] = replace(check, made=self._clock())  # asked again after a while
        return check.principal

    def _refuse(self, client: str) -> NoReturn:
        """Refuses a wrong token; a right one is never slowed down by others of its address."""
        wait = self._failures.take(client)
        if wait:
            raise HttpProblem(
                429,
                "too many wrong tokens from this address; wait",
                headers={"Retry-After": str(int(wait) + 1)},
            )
        raise _unauthenticated("the token is unknown, expired or revoked")

    def _end(self, token: TokenRecord) -> float:
        """Returns when the token expires, by this object's clock."""
        if token.expires_at is None:
            return math.inf
        return self._clock() + (token.expires_at - datetime.now(UTC)).total_seconds()


def secret_in(connection: HTTPConnection) -> str | None:
    """Returns what the caller proves themselves with; a bearer token goes before the cookie.

    A token is not accepted as a cookie, nor a session as a bearer token: what a browser holds opens
    nothing elsewhere, and a token pasted into a cookie by hand would never end.
    """
    scheme, _, credentials = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        given = credentials.strip()
        return UNKNOWN if given.startswith(SESSION_PREFIX) else given
    return session_in(connection)


def session_in(connection: HTTPConnection) -> str | None:
    """Returns the browser's session, if there is one."""
    held = connection.cookies.get(COOKIE)
    return held if held and held.startswith(SESSION_PREFIX) else None


def require(principal: Principal, scope: Scope) -> None:
    """Returns if the principal has the scope.

    Raises:
        HttpProblem: 403.
    """
    if scope not in principal.scopes:
        raise HttpProblem(403, f"this needs a token with scope {scope!r}", code="missing_scope")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _unauthenticated(detail: str) -> HttpProblem:
    return HttpProblem(401, detail, headers={"WWW-Authenticate": 'Bearer realm="brainformer"'})
