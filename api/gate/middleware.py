"""What every request passes: its id, host and origin checks, size limit, headers, metrics, log."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from brainformer.api.gate.auth import Authenticator, secret_in
from brainformer.api.gate.strict_json import JSON_LINES
from brainformer.api.gate.sub_path import path_below
from brainformer.api.live.metrics import Metrics
from brainformer.api.logs import request_id
from brainformer.api.problems.problem import HttpProblem, problem_of
from brainformer.api.settings import Settings
from brainformer.search.store.patience import Patience, lengthen, patience

log = logging.getLogger("brainformer.access")
failures = logging.getLogger("brainformer.api")

ROOT = "/api/v1"
SIGN_IN = f"{ROOT}/session"
CLIENT_HUNG_UP = 499  # in logs and metrics; nobody is there to be answered
REFUSALS = frozenset({401, 403, 408, 413, 421, 429})  # logged whatever the method
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(?::[0-9]{1,5})?")
SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


class RequestGate:
    """The outermost layer of the app, as plain ASGI so that streams pass untouched."""

    def __init__(
        self, app: ASGIApp, *, settings: Settings, metrics: Metrics, authenticator: Authenticator
    ) -> None:
        self.app = app
        self._authenticator = authenticator
        self._settings = settings
        self._metrics = metrics
        self._hosts = settings.trusted_hosts
        self._origins = frozenset(origin.lower().rstrip("/") for origin in settings.allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request; whatever goes wrong inside becomes a problem."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        mark = request_id.set(_request_id(headers.get("x-request-id")))
        began = time.perf_counter()
        answer = _Answer(send, request_id.get())
        try:
            with patience() as caller:
                answer.caller = caller
                self._check(scope, headers)
                if scope["method"] not in SAFE_METHODS:
                    await self._authenticate(HTTPConnection(scope))
                limit = self._body_limit(headers)
                await self.app(scope, self._limited(receive, limit), answer.send)
        except Exception as error:  # noqa: BLE001 the last line of defence, logged below
            await self._fail(error, scope, receive, answer)
        finally:
            self._record(scope, answer.status, time.perf_counter() - began)
            request_id.reset(mark)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Refuses foreign hosts (DNS rebinding), foreign origins (CSRF) and long bodies."""
        host = headers.get("host", "").lower()
        named = HOST.fullmatch(host)
        if "*" not in self._hosts and (named is None or named[1] not in self._hosts):
            raise HttpProblem(
                421, "this controller does not serve that host name; see setting allowed_hosts"
            )
        if scope["method"] not in SAFE_METHODS:
            self._check_origin(headers, host)
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            raise HttpProblem(400, "Content-Length must be a number")
        limit = self._body_limit(headers)
        if int(length) > limit:
            raise _too_large(limit)

    def _check_origin(self, headers: Headers, host: str) -> None:
        origin = headers.get("origin")
        site = headers.get("sec-fetch-site", "none")
        if origin is None:
            if site == "cross-site":
                raise HttpProblem(403, "another site may not ask for this", code="foreign_origin")
            return
        own = urlsplit(origin).netloc.lower() == host
        if not own and origin.lower() not in self._origins:
            raise HttpProblem(
                403,
                "the request comes from a page of another origin; see setting allowed_origins",
                code="foreign_origin",
            )

    async def _authenticate(self, connection: HTTPConnection) -> None:
        """Refuses strangers before a byte of their body is read; the route asks for the scope."""
        path = path_below(connection.scope)
        if not path.startswith(ROOT) or path == SIGN_IN:
            return
        secret = secret_in(connection)
        client = connection.client.host if connection.client else "unknown"
        await self._authenticator.admitted(secret, client)

    def _limited(self, receive: Receive, most: int) -> Receive:
        """Returns `receive` with limits on the body's bytes and on the time that it takes.

        Bytes are counted here since a chunked body does not say its length.
        """
        taken = 0
        whole = False
        loop = asyncio.get_running_loop()
        end = loop.time() + self._settings.body_seconds

        async def limited() -> Message:
            nonlocal taken, whole
            if whole:  # from here on it only tells of the end of the connection
                return await receive()
            began = loop.time()
            try:
                async with asyncio.timeout_at(end):
                    message = await receive()
            except TimeoutError:
                limit = self._settings.body_seconds
                raise HttpProblem(408, f"the body must arrive within {limit:g} s") from None
            taken += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            lengthen(loop.time() - began)  # the time that a body takes is the caller's own
            if taken > most:
                raise _too_large(most)
            return message

        return limited

    def _body_limit(self, headers: Headers) -> int:
        """Returns how many bytes a body may have: trials that are imported are many."""
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == JSON_LINES:
            return self._settings.max_import_bytes
        return self._settings.max_body_bytes

    async def _fail(
        self, error: Exception, scope: Scope, receive: Receive, answer: _Answer
    ) -> None:
        if answer.status is not None and _reader_has_gone(error):
            return
        if isinstance(error, ClientDisconnect):
            answer.status = answer.status or CLIENT_HUNG_UP
            return
        response = problem_of(error)
        if response.status_code >= 500 and not isinstance(error, HttpProblem):
            failures.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
        if answer.status is None:
            await response(scope, receive, answer.send)

    def _record(self, scope: Scope, status: int | None, seconds: float) -> None:
        route = _route_of(scope)
        self._metrics.request(scope["method"], route, status or 0, seconds)
        told = scope["method"] not in SAFE_METHODS or status in REFUSALS
        level = logging.INFO if told else logging.DEBUG
        if log.isEnabledFor(level):
            client = scope.get("client") or ("unknown",)
            fields = {
                "status": status,
                "ms": round(seconds * 1000, 1),
                "who": scope.get("principal", "nobody"),
                "client": client[0],
            }
            log.log(level, "%s %s", scope["method"], scope["path"], extra={"fields": fields})


class _Answer:
    """Adds the headers to an answer and remembers its status."""

    def __init__(self, send: Send, identity: str) -> None:
        self._send = send
        self._identity = identity
        self.status: int | None = None
        self.caller: Patience | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.caller is not None:
                self.caller.answered()
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self._identity
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)


def _too_large(limit: int) -> HttpProblem:
    return HttpProblem(413, f"the body must be at most {limit} bytes")


def _request_id(given: str | None) -> str:
    """Returns the caller's id if it is harmless, else a new one."""
    if given and len(given) <= 64 and given.replace("-", "").isalnum() and given.isascii():
        return given
    return secrets.token_hex(8)


def _reader_has_gone(error: BaseException) -> bool:
    """Returns whether a stream broke off for no other reason than that its reader left.

    FastAPI's own event stream ends in this error when events are waiting for such a reader.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(_reader_has_gone(one) for one in error.exceptions)
    return isinstance(error, anyio.BrokenResourceError | anyio.ClosedResourceError)


def _route_of(scope: Scope) -> str:
    """Returns the route's template, so that metrics do not grow with the ids."""
    path = getattr(scope.get("route"), "path", None)
    if not path:
        return "unmatched"
    # A route of an included router tells its path without the prefix of the outer one.
    outer = ROOT if path_below(scope).startswith(ROOT) and not path.startswith(ROOT) else ""
    return f"{outer}{path}"
