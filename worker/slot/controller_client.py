"""The worker's side of the lease protocol over REST."""

from __future__ import annotations

from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from brainformer.search.errors import ControllerUnreachable, InvalidInput, LeaseLost
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
# What is wrong with the message itself; anything else may pass: a proxy, a token, a full disk.
REFUSED = frozenset({400, 413, 415, 422})


class LeaseClient:
    """Claims leases and reports on them. Safe to use from several threads."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        headers = {HEADER: own_version()}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        try:
            self._http = httpx.Client(
                base_url=f"{self.url}/api/v1/leases",
                headers=headers,
                timeout=httpx.Timeout(30, connect=5),
                # Plain HTTP needs no certificates; to read them takes each slot 30 ms of its start.
                verify=not self.url.startswith("http:"),
                trust_env=False,
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise ControllerUnreachable(url, f"this is not a URL: {error}") from None

    def check_version(self) -> None:
        """Returns if the controller is of this worker's version, or does not say.

        Raises:
            VersionSkew: it is of another one.
        """
        try:
            answer = self._http.get(f"{self.url}/healthz", timeout=httpx.Timeout(15, connect=5))
            told = answer.json().get("version") if answer.is_success else None
        except (httpx.HTTPError, ValueError, AttributeError):
            return  # a controller that is not there yet is waited for
        if isinstance(told, str):
            refuse_skew(worker=own_version(), controller=told)

    def claim(self, request: ClaimRequest) -> tuple[Lease, ...]:
        """Returns up to `request.count` leases; waits for the first as the request says.

        Raises:
            ControllerUnreachable: no usable answer; nothing was claimed as far as this side knows.
        """
        timeout = httpx.Timeout(request.wait_seconds + 30, connect=5)
        body = self._post("/claim", request, timeout=timeout)
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
        try:
            answer = self._http.get(f"{self.url}/api/v1/searches/{search_id}", timeout=15)
        except httpx.HTTPError as error:
            raise ControllerUnreachable(self.url, str(error) or type(error).__name__) from None
        return answer.status_code == 404

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def _post(
        self,
        path: str,
        message: BaseModel | None,
        *,
        lease_id: str | None = None,
        timeout: httpx.Timeout | None = None,
    ) -> bytes:
        content = None if message is None else message.model_dump_json()
        headers = {} if content is None else {"Content-Type": "application/json"}
        wait = timeout or httpx.Timeout(15, connect=5)
        try:
            answer = self._http.post(path, content=content, headers=headers, timeout=wait)
        except httpx.HTTPError as error:
            raise ControllerUnreachable(self.url, str(error) or type(error).__name__) from None
        if answer.status_code in GONE and lease_id is not None:
            raise LeaseLost(*LeaseId.parse(lease_id), _detail(answer))
        if answer.status_code in REFUSED and lease_id is not None:
            raise InvalidInput(f"the controller refuses it: {_detail(answer)}")
        if not answer.is_success:
            raise ControllerUnreachable(self.url, f"{answer.status_code}: {_detail(answer)}")
        return answer.content

    def _parsed(self, kind: type[M], body: bytes) -> M:
        try:
            return kind.model_validate_json(body)
        except ValidationError:
            raise ControllerUnreachable(self.url, "the answer is not what was asked for") from None


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("detail", ""))[:500]
    except (ValueError, AttributeError):
        return "no problem document"
