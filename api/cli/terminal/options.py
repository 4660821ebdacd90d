"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from brainformer.api.cli.terminal.address import DEFAULT_URL

if TYPE_CHECKING:
    from brainformer.api.cli.terminal.controller_client import ControllerClient

Url = Annotated[
    str,
    typer.Option("--url", envvar="BRAINFORMER_URL", help="The controller's address."),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="BRAINFORMER_TOKEN",
        help="A bearer token; not needed by a controller without tokens.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")]
SearchName = Annotated[
    str,
    typer.Argument(
        metavar="SEARCH",
        help="The search's id, its unique beginning, or its name.",
        show_default=False,
    ),
]
URL = DEFAULT_URL


def connect(url: str, token: str | None) -> ControllerClient:
    """Returns a client of the controller at `url`."""
    from brainformer.api.cli.terminal.controller_client import ControllerClient

    return ControllerClient(url, token)
