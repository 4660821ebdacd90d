"""The command line's view of the controller's REST interface."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx

from brainformer.api.cli.terminal.exit_codes import NotAuthorised
from brainformer.api.cli.terminal.id_prefix import named_search, whole_path
from brainformer.search.errors import (
    BrainformerError,
    Conflict,
    ControllerUnreachable,
    InvalidInput,
    NotFound,
)


class ControllerClient:
    """Calls the controller and turns its problems into this project's errors."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            self._http = httpx.Client(
                base_url=f"{self.url}/api/v1",
                headers=headers,
                timeout=httpx.Timeout(30, connect=5),
                trust_env=False,
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise ControllerUnreachable(url, f"this is not a URL: {error}") from None

    def get(self, path: str, **params: Any) -> Any:
        """Returns the JSON of a GET."""
        given = {name: value for name, value in params.items() if value is not None}
        return self._send("GET", path, params=given)

    def text(self, path: str) -> str:
        """Returns the text of a GET that answers something else than JSON."""
        return self._answer("GET", path).text

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        """Returns the JSON of a POST."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is None:
            return self._send("POST", path, headers=named)
        return self._send("POST", path, json=body, headers=named)

    def patch(self, path: str, body: Any) -> Any:
        """Returns the JSON of a PATCH."""
        return self._send("PATCH", path, json=body)

    def delete(self, path: str) -> None:
        """Deletes what is at `path`."""
        self._send("DELETE", path)

    def healthy(self) -> bool:
        """Returns whether the controller answers and can serve."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def events(self, search_id: str, *, after: int = 0) -> Iterator[dict[str, Any]]:
        """Yields the events of a search from the server-sent stream, until it closes."""
        headers = {"Last-Event-ID": str(after), "Accept": "text/event-stream"}
        path = f"/searches/{search_id}/events"
        timeout = httpx.Timeout(60, connect=5)
        try:
            with self._http.stream("GET", path, headers=headers, timeout=timeout) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    raise _problem(answer)
                yield from _parse_events(answer.iter_lines())
        except httpx.HTTPError as error:
            raise ControllerUnreachable(self.url, _why(error)) from None

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

    def _answer(self, method: str, path: str, **rest: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **rest)
        except httpx.HTTPError as error:
            raise ControllerUnreachable(self.url, _why(error)) from None
        if answer.status_code == 404 and named_search(path) is not None:
            whole = whole_path(path, self._search_ids())
            if whole is not None:
                return self._answer(method, whole, **rest)
        if answer.status_code >= 400:
            raise _problem(answer)
        return answer

    def _search_ids(self) -> Iterator[str]:
        cursor: str | None = None
        while True:
            page = self.get("/searches", cursor=cursor, limit=100)
            yield from (one["id"] for one in page["items"])
            cursor = page.get("next_cursor")
            if cursor is None:
                return


def _why(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.ConnectError):
        return "nothing listens there; start it with 'brainformer serve', or give --url"
    return str(error) or type(error).__name__


def _problem(answer: httpx.Response) -> BrainformerError:
    """Returns the error that a problem+json answer stands for."""
    try:
        body = answer.json()
    except ValueError:
        body = {}
    detail = str(body.get("detail") or body.get("title") or f"HTTP {answer.status_code}")
    first = (body.get("errors") or [{}])[0]
    if first.get("pointer") and first["pointer"] not in detail:
        detail = f"{detail}: {first.get('detail', '')} at {first['pointer']}"
    if answer.status_code in (401, 403):
        return NotAuthorised(f"{detail}; give a token with --token or BRAINFORMER_TOKEN")
    if answer.status_code == 404:
        error: BrainformerError = NotFound("such thing", detail)
        error.message = detail
        return error
    if answer.status_code in (409, 412):
        return Conflict(detail)
    if answer.status_code in (400, 413, 415, 422, 428):
        return InvalidInput(detail)
    return BrainformerError(f"the controller answered {answer.status_code}: {detail}")


def _parse_events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Yields {"id", "event", "data"} from server-sent lines; comments are skipped."""
    event: dict[str, Any] = {}
    for line in lines:
        if not line:
            if "data" in event:
                event["data"] = json.loads(event["data"])
                yield event
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            event[name] = f"{event[name]}\n{value}" if name in event else value
