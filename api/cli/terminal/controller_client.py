"""The command line's view of the controller's REST interface."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2

from brainformer.api.cli.terminal.address import search_path
from brainformer.api.cli.terminal.event_lines import parse_events
from brainformer.api.cli.terminal.id_prefix import named_search, whole_path
from brainformer.search.controller_access import (
    bearer_token,
    controller_url,
    is_loopback,
    unusable_environment,
    why_unreachable,
)
from brainformer.search.errors import (
    BrainformerError,
    Conflict,
    ControllerUnreachable,
    InvalidInput,
    NotAuthorised,
    NotFound,
)


class ControllerClient:
    """Calls the controller and turns its problems into this project's errors."""

    def __init__(self, url: str, token: str | None = None) -> None:
        """Makes a client; nothing is sent yet.

        The environment is honoured: HTTP_PROXY, HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE. An address of
        this machine itself is never asked for through a proxy.

        Raises:
            InvalidInput: the address or the token cannot be one.
            ControllerUnreachable: what the environment says of proxies or certificates is unusable.
        """
        self.url = controller_url(url)
        known = bearer_token(token, "the token")
        try:
            self._http = httpx2.Client(
                base_url=f"{self.url}/api/v1",
                headers={"Authorization": f"Bearer {known}"} if known else {},
                timeout=httpx2.Timeout(30, connect=5),
                transport=httpx2.HTTPTransport() if is_loopback(self.url) else None,
            )
        except (httpx2.InvalidURL, ValueError, OSError, ImportError) as error:
            raise ControllerUnreachable(self.url, unusable_environment(error)) from None

    def get(self, path: str, **params: Any) -> Any:
        """Returns the JSON of a GET."""
        given = {name: value for name, value in params.items() if value is not None}
        return self._send("GET", path, params=given)

    def text(self, path: str) -> str:
        """Returns the text of a GET that answers something else than JSON."""
        return self._answer("GET", path).text

    def post(self, path: str, body: Any = None, **headers: str | None) -> Any:
        """Returns the JSON of a POST; headers that are None are left out."""
        named = _named(headers)
        if body is None:
            return self._send("POST", path, headers=named)
        return self._send("POST", path, json=body, headers=named)

    def post_lines(self, path: str, lines: bytes, **headers: str | None) -> Any:
        """Returns the JSON of a POST whose body is JSON lines."""
        named = _named(headers) | {"Content-Type": "application/jsonl"}
        return self._send("POST", path, content=lines, headers=named)

    def patch(self, path: str, body: Any) -> Any:
        """Returns the JSON of a PATCH."""
        return self._send("PATCH", path, json=body)

    def delete(self, path: str) -> None:
        """Deletes what is at `path`."""
        self._send("DELETE", path)

    def healthy(self) -> bool:
        """Returns whether the controller answers and can serve."""
        try:
            return self._http.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx2.HTTPError:
            return False

    def events(self, search_id: str, *, after: int = 0) -> Iterator[dict[str, Any]]:
        """Yields the events of a search from the server-sent stream, until it closes."""
        headers = {"Last-Event-ID": str(after), "Accept": "text/event-stream"}
        path = f"/searches/{search_path(search_id)}/events"
        timeout = httpx2.Timeout(60, connect=5)
        try:
            with self._http.stream("GET", path, headers=headers, timeout=timeout) as answer:
                if answer.status_code >= 300:
                    answer.read()
                    raise _problem(answer, self.url)
                yield from parse_events(answer.iter_bytes())
        except httpx2.HTTPError as error:
            raise ControllerUnreachable(self.url, why_unreachable(error, self.url)) from None
        except ValueError:
            raise ControllerUnreachable(
                self.url, "the stream holds something that is not an event"
            ) from None

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def _send(self, method: str, path: str, **rest: Any) -> Any:
        answer = self._answer(method, path, **rest)
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError:
            raise ControllerUnreachable(
                self.url, "the answer is not JSON; is this address a controller's?"
            ) from None

    def _answer(self, method: str, path: str, **rest: Any) -> httpx2.Response:
        try:
            answer = self._http.request(method, path, **rest)
        except httpx2.HTTPError as error:
            raise ControllerUnreachable(self.url, why_unreachable(error, self.url)) from None
        if answer.status_code == 404 and named_search(path) is not None:
            whole = whole_path(path, self._search_ids())
            if whole is not None:
                return self._answer(method, whole, **rest)
        if answer.status_code >= 300:
            raise _problem(answer, self.url)
        return answer

    def _search_ids(self) -> Iterator[str]:
        cursor: str | None = None
        while True:
            page = self.get("/searches", cursor=cursor, limit=100)
            yield from (one["id"] for one in page["items"])
            cursor = page.get("next_cursor")
            if cursor is None:
                return


def _problem(answer: httpx2.Response, url: str) -> BrainformerError:
    """Returns the error that a problem+json answer stands for."""
    if answer.is_redirect:
        target = answer.headers.get("location", "another address").partition("/api/v1")[0]
        return ControllerUnreachable(url, f"it sends callers on to {target}; give that as --url")
    try:
        body = answer.json()
    except ValueError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    detail = str(body.get("detail") or body.get("title") or f"HTTP {answer.status_code}")
    first = (body.get("errors") or [{}])[0]
    if first.get("pointer") and first["pointer"] not in detail:
        detail = f"{detail}: {first.get('detail', '')} at {first['pointer']}"
    if answer.status_code in (401, 403):
        return NotAuthorised(f"{detail}; give a token with BRAINFORMER_TOKEN or --token-file")
    if answer.status_code == 404:
        error: BrainformerError = NotFound("such thing", detail)
        error.message, error.args = detail, (detail,)
        return error
    if answer.status_code in (409, 412):
        return Conflict(detail)
    if answer.status_code in (400, 413, 415, 422, 428):
        return InvalidInput(detail)
    return BrainformerError(f"the controller answered {answer.status_code}: {detail}")


def _named(headers: dict[str, str | None]) -> dict[str, str]:
    """Returns headers by their own names, from those of Python's arguments."""
    return {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
