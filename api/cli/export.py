"""`brainformer export`: the best genome, or any trial's, as a file that stands alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.controller_client import ControllerClient
from api.cli.options import URL, SearchName, Token, Url, connect
from api.cli.output import say, stdout, write_atomically
from search.errors import InvalidInput
from search.export import GenomeExport
from search.genome import parse_genome
from search.spec import Proxy
from search.trial import Measurements


def export(
    search: SearchName,
    trial: Annotated[
        int | None, typer.Option(help="A trial's number; without it, the best.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file; without it, stdout.", show_default=False),
    ] = None,
    url: Url = URL,
    token: Token = None,
) -> None:
    """Export a genome with its measurements, checked by its digest."""
    document = fetch_export(connect(url, token), search, trial)
    if output is None:
        stdout().print(document.to_json(), markup=False, end="")
        return
    write_atomically(output, document.to_json())
    say(f"wrote trial {document.trial_number} of {document.search_name} to {output}")


def fetch_export(client: ControllerClient, search: str, trial: int | None) -> GenomeExport:
    """Returns the export of a trial, or of the best one.

    Raises:
        NotFound: there is no such search or trial, or no candidate has completed.
        InvalidInput: the controller's genome does not have the digest that it states.
    """
    record = client.get(f"/searches/{search}")
    best: dict[str, Any] = {}
    if trial is None:
        best = client.get(f"/searches/{record['id']}/best")
        row = best["trial"]
    else:
        row = client.get(f"/searches/{record['id']}/trials/{trial}")
        row = row.get("trial", row)
    genome = parse_genome(row["genome"])
    if genome.digest != row["digest"]:
        raise InvalidInput("the genome does not have the digest that the controller states")
    return GenomeExport(
        digest=genome.digest,
        genome=genome,
        proxy=Proxy.model_validate(record["spec"]["proxy"]),
        search_id=record["id"],
        search_name=record["name"],
        trial_number=row["number"],
        fitness=row["fitness"],
        confidence=best.get("confidence"),
        measurements=Measurements.model_validate(row["measurements"]),
        baseline=best.get("baseline") or record.get("baseline"),
    )
