"""Studies on the command line: what `certify` and `promote` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from brainformer.api.cli.terminal.address import search_path
from brainformer.api.cli.terminal.output import print_json, say, stdout, write_atomically
from brainformer.search.errors import NotFound

if TYPE_CHECKING:
    from brainformer.api.cli.terminal.controller_client import ControllerClient

R = TypeVar("R")
Kind = Literal["certificate", "promotion"]  # as in `StudyKind`, which is slow to import
COMMANDS: dict[Kind, str] = {"certificate": "certify", "promotion": "promote"}
Show = Annotated[
    bool, typer.Option("--show", help="Start nothing; show what the newest one says so far.")
]


def newest(client: ControllerClient, search: dict[str, Any], kind: Kind) -> dict[str, Any]:
    """Returns the newest study of a search.

    Raises:
        NotFound: there is none.
    """
    items = client.get(_path(search, kind))["items"]
    if not items:
        command = f"brainformer {COMMANDS[kind]} {search['name']}"
        raise NotFound(kind, f"of {search['name']}; start one with '{command}'")
    return dict(items[0])


def named(
    client: ControllerClient, search: dict[str, Any], kind: Kind, name: str
) -> dict[str, Any]:
    """Returns a study of a search by its id or name.

    Raises:
        NotFound: the search has no such study.
    """
    return dict(client.get(f"{_path(search, kind)}/{search_path(name)}"))


def start(
    client: ControllerClient,
    search: dict[str, Any],
    kind: Kind,
    body: dict[str, Any],
    *,
    key: str | None,
    as_json: bool,
) -> dict[str, Any]:
    """Starts a study and prints its record, or its id alone."""
    record: dict[str, Any] = client.post(_path(search, kind), body, Idempotency_Key=key)
    if as_json:
        print_json(record)
    else:
        stdout().print(record["id"])
    return record


def write_plot(file: Path | None, draw: Callable[[R], str], study: R) -> None:
    """Writes a study's picture, if one is asked for."""
    if file is not None:
        write_atomically(file, draw(study))
        say(f"wrote {file}")


def _path(search: dict[str, Any], kind: Kind) -> str:
    return f"/searches/{search['id']}/{kind}s"
