"""The docs site: it builds strictly, is whole, and reads nothing from elsewhere."""

from __future__ import annotations

import importlib
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from docs.site.hooks import relinked
from tests.repository import REPOSITORY
from tests.test_package import PUBLIC

LOADING = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
MERMAID = "mermaid.min.js"  # Material's script asks a CDN for it where a page has such a diagram


class Reader(HTMLParser):
    """Collects a page's anchors, its links and what it loads."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.classes: set[str] = set()
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.add(given.get("id", ""))
        self.classes |= set(given.get("class", "").split())
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in LOADING and LOADING[tag] in given and given.get("rel") != "canonical":
            self.loaded.append(given[LOADING[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Reader]:
    return {page: Reader(page) for page in site.rglob("*.html") if page.name != "404.html"}


def test_every_page_of_the_repository_is_in_the_site(site: Path) -> None:
    sources = {
        path.relative_to(REPOSITORY / "docs") for path in (REPOSITORY / "docs").rglob("*.md")
    }
    built = {path.relative_to(site).with_suffix(".md") for path in site.rglob("*.html")}
    as_built = {
        path.with_name("index.md") if path.name == "README.md" else path for path in sources
    }
    assert as_built <= built
    assert {"index.html", "contributing.html", "changelog.html", "benchmarks.html"} <= {
        path.name for path in site.glob("*.html")
    }


def test_every_link_and_anchor_leads_somewhere(site: Path, pages: dict[Path, Reader]) -> None:
    broken = []
    for page, reader in pages.items():
        for link in reader.links:
            address, anchor = urldefrag(unquote(link))
            if "://" in address or address.startswith("mailto:"):
                continue
            target = (page.parent / address).resolve() if address else page
            known = pages[target].ids if target in pages else {anchor}
            if not target.is_file() or (anchor and anchor not in known):
                broken.append(f"{page.relative_to(site)}: {link}")
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[Path, Reader]) -> None:
    loaded = {address for reader in pages.values() for address in reader.loaded}
    assert [address for address in loaded if "//" in address] == []
    assert "url(http" not in "".join(one.read_text("utf-8") for one in site.rglob("*.css"))
    diagrams = [page for page, reader in pages.items() if "mermaid" in reader.classes]
    assert diagrams == [], f"would load {MERMAID} from a CDN"


@pytest.mark.parametrize("module", PUBLIC)
def test_the_reference_has_every_public_name_with_its_docstring(
    pages: dict[Path, Reader], module: str
) -> None:
    (reference,) = (reader for page, reader in pages.items() if page.name == "python-api.html")
    missing = {name for name in PUBLIC[module] if f"{module}.{name}" not in reference.ids}
    assert missing == set()
    found = importlib.import_module(module)
    assert [name for name in PUBLIC[module] if not getattr(found, name).__doc__] == []


def test_links_between_files_become_links_of_the_site() -> None:
    text = "[a](docs/data.md#on-disk) [b](CONTRIBUTING.md) [c](https://x.org/docs/data.md)"
    linked = "[a](data.md#on-disk) [b](contributing.md) [c](https://x.org/docs/data.md)"
    assert relinked(text, "index.md") == linked
    assert relinked("[b](../../benchmarks/README.md)", "performance/model.md") == (
        "[b](../benchmarks.md)"
    )
