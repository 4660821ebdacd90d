"""The dashboard's files over HTTP: the page at `/`, everything else below `/assets/`.

Nothing comes from a CDN and nothing is built: our own ES modules lie in api/dashboard/page/. The
page loads them joined into one script, and the style sheets as one, since sixty requests would take
longer than all else before the first chart. Every address but the page's own holds a version, so
browsers keep the files for good and never ask again; the page names the version.
Files are looked up in a table made from the folder, never on the disk by the caller's path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType

from fastapi import APIRouter, Request, Response

from brainformer.api.dashboard.compressed import Compressed
from brainformer.api.dashboard.joining import joined
from brainformer.search.errors import NotFound

MEDIA_TYPES: Mapping[str, str] = MappingProxyType(
    {
        ".css": "text/css; charset=utf-8",
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".svg": "image/svg+xml",
    }
)
PAGE = "index.html"
ENTRY = "app.js"
SCRIPT = "page.js"  # the entry with all that it imports
SHEETS = ("base", "pages", "charts", "trials")
SHEET = "page.css"  # all of them

# No inline script and no eval. Style attributes place rows and bars; pictures that are saved are
# made from blobs.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Asset(Compressed):
    """One file as it is sent: its bytes and their digest."""

    media_type: str
    digest: str

    @classmethod
    def of(cls, name: str, body: bytes) -> Asset:
        """Returns the asset of a file called `name`."""
        return cls(
            body=body,
            media_type=MEDIA_TYPES[Path(name).suffix],
            digest=hashlib.sha256(body).hexdigest(),
        )


@router.api_route("/", methods=["GET", "HEAD"], name="dashboard")
async def page(request: Request) -> Response:
    """Returns the page, checked again at every visit, so that an upgrade is seen at once."""
    headers = {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "Referrer-Policy": "no-referrer",
    }
    return _send(request, _page(), headers)


@router.api_route("/assets/{label}/{path:path}", methods=["GET", "HEAD"], name="dashboard_asset")
async def asset(request: Request, label: str, path: str) -> Response:
    """Returns one file of the version `label`, to be kept by the browser for good.

    Raises:
        NotFound: no such file, or a version that this controller does not serve.
    """
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    found = page_files().get(path)
    if found is None or label != assets_label():
        raise NotFound("dashboard file", f"{label}/{path}")
    return _send(request, found, headers)


@cache
def assets_label() -> str:
    """Returns the version of our own files: a digest over all of them."""
    parts = (f"{name}:{found.digest}" for name, found in sorted(page_files().items()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@cache
def page_files() -> Mapping[str, Asset]:
    """Returns our own files by their path within api/dashboard/page/, with `SCRIPT` and `SHEET`."""
    root = files("brainformer.api.dashboard") / "page"
    found = {name: Asset.of(name, item.read_bytes()) for name, item in _walk(root, "")}
    modules = {name: one.body.decode() for name, one in found.items() if name.endswith(".js")}
    found[SCRIPT] = Asset.of(SCRIPT, joined(ENTRY, modules).encode())
    found[SHEET] = Asset.of(SHEET, b"\n".join(found[f"css/{name}.css"].body for name in SHEETS))
    return MappingProxyType(found)


def prepare() -> None:
    """Makes what the first visitor would wait for: the page, its script and its style sheet."""
    for one in (_page(), page_files()[SCRIPT], page_files()[SHEET]):
        _ = one.gzipped


@cache
def _page() -> Asset:
    html = page_files()[PAGE].body.decode()
    html = html.replace("{{assets}}", f"assets/{assets_label()}")  # below its own path
    return Asset.of(PAGE, html.encode())


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, Traversable]]:
    found: list[tuple[str, Traversable]] = []
    for item in folder.iterdir():
        if item.is_dir():
            found += _walk(item, f"{prefix}{item.name}/")
        elif Path(item.name).suffix in MEDIA_TYPES:
            found.append((f"{prefix}{item.name}", item))
    return found


def _send(request: Request, found: Asset, headers: dict[str, str]) -> Response:
    headers |= {
        "ETag": f'"{found.digest[:32]}"',
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
    }
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    body, encoding = found.for_(request)
    return Response(body, media_type=found.media_type, headers=headers | encoding)
