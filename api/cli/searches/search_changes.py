"""`brainformer search delete` and `limits`: what is changed of a search that is there."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from brainformer.api.cli.terminal.address import search_path
from brainformer.api.cli.terminal.options import (
    URL,
    AsJson,
    SearchName,
    Token,
    TokenFile,
    Url,
    connect,
)
from brainformer.api.cli.terminal.output import print_json, say, stdout
from brainformer.search.errors import InvalidInput


def delete(
    search: SearchName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Delete a search that has ended, with its trials and events, for good."""
    client = connect(url, token, token_file)
    record = client.get(f"/searches/{search_path(search)}")
    trials = sum(record["counts"].values())
    if not yes:
        question = f"delete search {record['name']} ({record['id']}) and its {trials} trials?"
        _ask(question)
    client.delete(f"/searches/{record['id']}")
    if as_json:
        print_json({"id": record["id"], "name": record["name"], "trials": trials})
    else:
        say(f"search {record['name']} is deleted, with {trials} trials")


def _ask(question: str) -> None:
    """Ends the command unless the answer is yes."""
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort:
        if sys.stdin.isatty():
            raise
        say("")
        raise InvalidInput("nobody answered, so nothing was deleted; add --yes") from None
    if not agreed:
        say("nothing was deleted")
        raise typer.Exit(1)


def limits(
    search: SearchName,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Candidates in all.", show_default=False)
    ] = None,
    hours: Annotated[
        float | None, typer.Option(min=0, help="Hours since it began.", show_default=False)
    ] = None,
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Show when a search ends, or change it; a limit that is not given stays."""
    client = connect(url, token, token_file)
    record = client.get(f"/searches/{search_path(search)}")
    given = {"trials": trials, "hours": hours}
    wanted = {name: value for name, value in given.items() if value is not None}
    if wanted:
        if wanted.get("hours") == 0:
            raise InvalidInput("--hours is above 0; 'brainformer search stop' ends a search now")
        body = {"limits": record["spec"]["limits"] | wanted}
        record = client.patch(f"/searches/{record['id']}", body)
    found = record["spec"]["limits"]
    if as_json:
        print_json(found)
    else:
        told = [f"{value:g} {name}" for name, value in found.items() if value is not None]
        stdout().print(f"{record['name']} ends after {' or '.join(told)}", markup=False)
