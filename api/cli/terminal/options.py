"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from brainformer.api.cli.terminal.address import DEFAULT_URL
from brainformer.api.cli.terminal.completion import search_names
from brainformer.search.errors import InvalidInput

if TYPE_CHECKING:
    from brainformer.api.cli.terminal.controller_client import ControllerClient

MOST_TOKEN_FILE_BYTES = 4096

Url = Annotated[
    str,
    typer.Option("--url", envvar="BRAINFORMER_URL", help="The controller's address."),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="BRAINFORMER_TOKEN",
        show_envvar=False,
        help="A bearer token, if the controller asks for one. Better in BRAINFORMER_TOKEN or a "
        "file: every user of this machine can read a command line.",
        show_default=False,
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        envvar="BRAINFORMER_TOKEN_FILE",
        help="A file that holds the token.",
        show_default=False,
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key", help="Repeating the command with the same key never creates twice."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON to stdout.")]
SearchName = Annotated[
    str,
    typer.Argument(
        metavar="SEARCH",
        help="The search's id, its unique beginning, or its name.",
        autocompletion=search_names,
        show_default=False,
    ),
]
TrainedFolder = Annotated[
    Path,
    typer.Argument(
        metavar="CHECKPOINT",
        help="A run (its best checkpoint), a checkpoint, or an exported folder.",
        show_default=False,
    ),
]
OwnTokenizer = Annotated[
    str | None,
    typer.Option("--tokenizer", help="The model's, if its folder keeps none.", show_default=False),
]
DataFolder = Annotated[
    Path | None,
    typer.Option("--data-folder", help="Where data sets lie.", show_default=False),
]
URL = DEFAULT_URL


def connect(url: str, token: str | None, token_file: Path | None = None) -> ControllerClient:
    """Returns a client of the controller at `url`.

    Raises:
        InvalidInput: the address or the token cannot be one.
    """
    from brainformer.api.cli.terminal.controller_client import ControllerClient

    return ControllerClient(url, given_token(token, token_file))


def given_token(token: str | None, file: Path | None) -> str | None:
    """Returns the token of the option or variable, else the one in the file; None without either.

    Raises:
        InvalidInput: the file cannot be read or holds no token.
    """
    from brainformer.search.controller_access import bearer_token

    if token is not None and token.strip():
        return bearer_token(token, "BRAINFORMER_TOKEN or --token")
    if file is None:
        return None
    try:
        with file.open("rb") as opened:
            text = opened.read(MOST_TOKEN_FILE_BYTES).decode("ascii", "replace")
    except OSError as error:
        raise InvalidInput(f"cannot read the token file {file}: {error.strerror}") from None
    found = bearer_token(text, f"the token file {file}")
    if found is None:
        raise InvalidInput(f"the token file {file} is empty")
    return found
