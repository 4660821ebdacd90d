"""MkDocs hooks: the site is built from the files of the repository, wherever they lie.

README.md is the first page; CONTRIBUTING.md, CHANGELOG.md and benchmarks/README.md are pages too.
Links between them are relative to the file, as any viewer of the repository needs them; here they
are rewritten for the site.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).resolve().parents[2]
# Path in the repository to path in the site.
OUTSIDE_DOCS = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
}
SOURCES = {page: source for source, page in OUTSIDE_DOCS.items()}
LINK = re.compile(r"(\]\()([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that lie outside docs/."""
    for source, page in OUTSIDE_DOCS.items():
        text = (REPOSITORY / source).read_text("utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrites the links of one page."""
    return relinked(markdown, page.file.src_uri)


def relinked(markdown: str, page: str) -> str:
    """Returns a page's text with links to files of the repository turned into links of the site.

    Args:
        markdown: The text as it stands in the repository.
        page: The page's path in the site.
    """
    source = SOURCES.get(page, f"docs/{page}")
    return LINK.sub(lambda link: link[1] + _address(link[2], source, page), markdown)


def _address(target: str, source: str, page: str) -> str:
    if "://" in target or target.startswith("mailto:"):
        return target
    wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    in_site = OUTSIDE_DOCS.get(wanted, wanted.removeprefix("docs/"))
    return posixpath.relpath(in_site, posixpath.dirname(page) or ".")
