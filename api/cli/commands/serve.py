"""`brainformer serve`: the controller."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to bind; not loopback only with tokens.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Port to bind.")] = None,
    database: Annotated[
        str | None,
        typer.Option(help="sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME."),
    ] = None,
    create: Annotated[
        bool, typer.Option("--create", help="Begin an empty SQLite file in place of a lost one.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="A settings file.")] = None,
) -> None:
    """Run the controller: REST, dashboard and store."""
    from brainformer.api.server import serve as run
    from brainformer.api.settings import load_settings

    given: dict[str, Any] = {"host": host, "port": port, "database_url": database}
    chosen = {name: value for name, value in given.items() if value is not None}
    run(load_settings(config, **chosen), create=create)
