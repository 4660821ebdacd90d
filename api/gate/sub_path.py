"""A controller below a path of its host: `https://host/team/brainformer/`.

Some proxies pass the path on as it is, others strip the prefix; both are understood. Whatever the
controller says of its own addresses (Location, Link, the page's files) has the prefix.
"""

from __future__ import annotations

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class SubPath:
    """Puts every request below the prefix.

    Args:
        app: What is served.
        prefix: Without a slash at its end; "" for none.
    """

    def __init__(self, app: ASGIApp, *, prefix: str) -> None:
        self.app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request; the prefix alone leads to the page below it."""
        prefix = self._prefix
        if not prefix or scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path: str = scope["path"]
        if path == prefix:
            query = scope["query_string"].decode("latin-1")
            answer = RedirectResponse(f"{prefix}/{'?' if query else ''}{query}", status_code=308)
            await answer(scope, receive, send)
            return
        if not path.startswith(f"{prefix}/"):
            raw = scope.get("raw_path") or path.encode()
            scope = {**scope, "path": prefix + path, "raw_path": prefix.encode() + raw}
        await self.app({**scope, "root_path": prefix}, receive, send)


def path_below(scope: Scope) -> str:
    """Returns the path without the prefix."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
