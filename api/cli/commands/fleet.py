"""`brainformer workers` and `open`: who works for a controller, and its dashboard."""

from __future__ import annotations

import webbrowser
from datetime import datetime
from typing import Annotated

import typer

from brainformer.api.cli.terminal.address import search_path
from brainformer.api.cli.terminal.completion import search_names
from brainformer.api.cli.terminal.options import URL, AsJson, Token, TokenFile, Url, connect
from brainformer.api.cli.terminal.output import print_json, say, stdout, table


def workers(
    url: Url = URL, token: Token = None, token_file: TokenFile = None, as_json: AsJson = False
) -> None:
    """List the workers that have claimed leases, latest first."""
    found = connect(url, token, token_file).get("/workers")["items"]
    if as_json:
        print_json(found)
    elif not found:
        say("no worker has come yet; start one with 'brainformer worker'")
    else:
        rows = [
            (
                one["worker_id"],
                one["pool"],
                str(one["running"]),
                str(one["finished"]),
                f"{datetime.fromisoformat(one['last_seen']).astimezone():%Y-%m-%d %H:%M:%S}",
            )
            for one in found
        ]
        names = ("worker", "pool", "running>", "finished>", "last seen")
        stdout().print(table(names, rows))


def open_dashboard(
    search: Annotated[
        str | None,
        typer.Argument(
            metavar="SEARCH",
            help="A search's id or its name.",
            autocompletion=search_names,
            show_default=False,
        ),
    ] = None,
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
) -> None:
    """Open the dashboard in a browser; its address goes to stdout."""
    client = connect(url, token, token_file)
    address = client.url
    if search is not None:
        address = f"{address}/?search={client.get(f'/searches/{search_path(search)}')['id']}"
    stdout().print(address, markup=False)
    if not webbrowser.open(address):
        say("no browser can be started here; open the address above")
