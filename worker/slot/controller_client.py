"""The worker's side of the lease protocol over REST."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2
from pydantic import BaseModel, ValidationError

from brainformer.search.controller_access import (
    bearer_token,
    controller_url,
    is_loopback,
    proxy_for,
    unusable_environment,
    why_unreachable,
)
from brainformer.search.errors import (
    ControllerUnreachable,
    InvalidInput,
    LeaseLost,
    NotAuthorised,
    PoolRetired,
    VersionSkew,
)
from brainformer.search.trials.lease_id import LeaseId
from brainformer.search.trials.lease_messages import (
    ClaimRequest,
    ClaimResponse,
    Directive,
    Lease,
    Progress,
    Receipt,
    Result,
)
from brainformer.search.trials.version_skew import HEADER, own_version, refuse_skew

M = TypeVar("M", bound=BaseModel)
GONE = frozenset({404, 409, 410})
REFUSES_TOKEN = frozenset({401, 403})
TRANSIENT = frozenset({408, 429})
# What is wrong with the message itself; anything else may pass: a proxy, a token, a full disk.
REFUSED = frozenset({400, 413, 415, 422})


class LeaseClient:
    """Claims leases and reports on them. Safe to use from several threads."""

    def __init__(self, url: str, token: str | None = None) -> None:
        """Makes a client; nothing is sent yet.

        The environment is honoured: HTTP_PROXY, HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE. An address of
        this machine itself is never asked for through a proxy.

        Raises:
            InvalidInput: the address or the token cannot be one.
            ControllerUnreachable: what the environment says of proxies or certificates is unusable.
        """
        self.url = controller_url(url)
        known = bearer_token(token, "the worker's token")
        # Plain HTTP needs no certificates; to read them takes each slot 30 ms of its start.
        verify = not self.url.startswith("http:") or bool(proxy_for(self.url))
        headers = {HEADER: own_version()}
        headers |= {"Authorization": f"Bearer {known}"} if known else {}
        try:
            self._http = httpx2.Client(
                base_url=f"{self.url}/api/v1",
                headers=headers,
                timeout=httpx2.Timeout(30, connect=5),
                verify=verify,
                transport=httpx2.HTTPTransport(verify=verify) if is_loopback(self.url) else None,
            )
        except (httpx2.InvalidURL, ValueError, OSError, ImportError) as error:
            raise ControllerUnreachable(self.url, unusable_environment(error)) from None

    def whoami(self) -> Identity:
        """Returns whom the controller takes this worker for.

        Raises:
            NotAuthorised: it refuses the token, or asks for one.
            InvalidInput: what answers there is not a controller.
            ControllerUnreachable: no usable answer; it may come later.
        """
        answer = self._answer("GET", "/session", timeout=httpx2.Timeout(15, connect=5))
        if answer.status_code in TRANSIENT or answer.status_code >= 500:
            raise ControllerUnreachable(self.url, f"{answer.status_code}: {_detail(answer)}")
        if not answer.is_success:
            raise InvalidInput(f"no controller answers there ({_detail(answer)})", self.url)
        try:
            return Identity.model_validate_json(answer.content)
        except ValidationError:
            raise InvalidInput("no controller answers there", self.url) from None

    def check_version(self) -> None:
        """Returns if the controller is of this worker's version, or does not say.

        Raises:
            VersionSkew: it is of another one.
        """
        try:
            answer = self._http.get(f"{self.url}/healthz", timeout=httpx2.Timeout(15, connect=5))
            told = answer.json().get("version") if answer.is_success else None
        except (httpx2.HTTPError, ValueError, AttributeError):
            return  # a controller that is not there yet is waited for
        if isinstance(told, str):
            refuse_skew(worker=own_version(), controller=told)

    def claim(self, request: ClaimRequest) -> tuple[Lease, ...]:
        """Returns up to `request.count` leases; waits for the first as the request says.

        Raises:
            ControllerUnreachable: no usable answer; nothing was claimed as far as this side knows.
            NotAuthorised: the controller refuses the token.
            PoolRetired: the pool gets no work any more.
            VersionSkew: the controller was upgraded to another minor version meanwhile.
        """
        timeout = httpx2.Timeout(request.wait_seconds + 30, connect=5)
        body = self._post("/claim", request, timeout=timeout, pool=request.pool)
        return self._parsed(ClaimResponse, body).leases

    def progress(self, lease: Lease, report: Progress) -> Directive:
        """Extends the lease and returns what the controller wants.

        Raises:
            LeaseLost: another attempt holds the trial, or it has ended.
            InvalidInput: the controller refuses the report.
            ControllerUnreachable: no usable answer.
        """
        body = self._post(f"/{lease.lease_id}/progress", report, lease_id=lease.lease_id)
        return self._parsed(Directive, body)

    def result(self, lease_id: str, result: Result) -> Receipt:
        """Delivers a result; delivering it again is harmless.

        Raises:
            LeaseLost: the attempt no longer holds the trial; the controller keeps the report.
            InvalidInput: the controller refuses the result, and would again.
            ControllerUnreachable: no usable answer; deliver it again later.
        """
        body = self._post(f"/{lease_id}/result", result, lease_id=lease_id)
        return self._parsed(Receipt, body)

    def release(self, lease: Lease) -> None:
        """Hands an unstarted lease back.

        Raises:
            LeaseLost: it was no longer held.
            ControllerUnreachable: no usable answer.
        """
        self._post(f"/{lease.lease_id}/release", None, lease_id=lease.lease_id)

    def forgot(self, search_id: str) -> bool:
        """Returns whether the controller says that there is no such search.

        Raises:
            ControllerUnreachable: no answer at all.
        """
        timeout = httpx2.Timeout(15, connect=5)
        path = f"/searches/{quote(search_id, safe='')}"
        with suppress(NotAuthorised):  # a worker's token need not read searches
            return self._answer("GET", path, timeout=timeout).status_code == 404
        return False

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def _post(
        self,
        path: str,
        message: BaseModel | None,
        *,
        lease_id: str | None = None,
        timeout: httpx2.Timeout | None = None,
        pool: str = "",
    ) -> bytes:
        content = None if message is None else message.model_dump_json()
        wait = timeout or httpx2.Timeout(15, connect=5)
        answer = self._answer("POST", f"/leases{path}", content=content, timeout=wait)
        if answer.status_code in GONE and _code(answer) == PoolRetired.code:
            raise PoolRetired(pool)
        if answer.status_code in GONE and _code(answer) == VersionSkew.code:
            self.check_version()
        if answer.status_code in GONE and lease_id is not None:
            lease = LeaseId.parse(lease_id)
            raise LeaseLost(lease.trial_id, lease.attempt, _detail(answer))
        if answer.status_code in REFUSED and lease_id is not None:
            raise InvalidInput(f"the controller refuses it: {_detail(answer)}")
        if not answer.is_success:
            raise ControllerUnreachable(self.url, f"{answer.status_code}: {_detail(answer)}")
        return answer.content

    def _answer(
        self, method: str, path: str, *, timeout: httpx2.Timeout, content: str | None = None
    ) -> httpx2.Response:
        headers = {} if content is None else {"Content-Type": "application/json"}
        try:
            answer = self._http.request(
                method, path, content=content, headers=headers, timeout=timeout
            )
        except httpx2.HTTPError as error:
            raise ControllerUnreachable(self.url, why_unreachable(error, self.url)) from None
        if answer.status_code in REFUSES_TOKEN:
            raise NotAuthorised(
                f"the controller at {self.url} refuses this worker: {_detail(answer)}; give a "
                "token with the scope worker, in BRAINFORMER_TOKEN or with --token-file"
            )
        return answer

    def _parsed(self, kind: type[M], body: bytes) -> M:
        try:
            return kind.model_validate_json(body)
        except ValidationError:
            raise ControllerUnreachable(self.url, "the answer is not what was asked for") from None


class Identity(BaseModel):
    """Whom the controller takes a caller for."""

    name: str
    scopes: tuple[str, ...]


def _code(answer: httpx2.Response) -> str:
    return str((_problem(answer) or {}).get("code", ""))


def _detail(answer: httpx2.Response) -> str:
    told = _problem(answer)
    if told is None:
        return f"{answer.status_code} without a reason"
    return str(told.get("detail", ""))[:500]


def _problem(answer: httpx2.Response) -> dict[str, Any] | None:
    """Returns what the answer says of a problem; None if it is no JSON object."""
    try:
        told = answer.json()
    except ValueError:
        return None
    return told if isinstance(told, dict) else None
