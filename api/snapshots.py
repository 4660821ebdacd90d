"""Writes the pages that are made from the code: `python -m brainformer.api.snapshots`.

docs/openapi.json, docs/rest.md, docs/settings.md and docs/cli.md; tests compare each with the code.
"""

from __future__ import annotations

from pathlib import Path

from brainformer.api.app import create_app
from brainformer.api.cli.main import app as commands
from brainformer.api.cli.reference import reference
from brainformer.api.reference.openapi import snapshot
from brainformer.api.reference.rest_document import rest_document
from brainformer.api.settings import load_settings, settings_document

DOCS = Path(__file__).resolve().parents[1] / "docs"


def write_snapshots(folder: Path) -> None:
    """Writes the four pages into `folder`."""
    app = create_app(load_settings(None, database_url="sqlite://"))
    pages = {
        "openapi.json": snapshot(app),
        "rest.md": rest_document(app.openapi()),
        "settings.md": settings_document(),
        "cli.md": reference(commands),
    }
    for name, text in pages.items():
        (folder / name).write_text(text, "utf-8")


if __name__ == "__main__":
    write_snapshots(DOCS)
