"""`brainformer export`: the best genome, or any trial's, as a file that stands alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from brainformer.api.cli.terminal.controller_client import ControllerClient, search_path
from brainformer.api.cli.terminal.options import (
    URL,
    SearchName,
    Token,
    TokenFile,
    Url,
    connect,
)
from brainformer.api.cli.terminal.output import print_raw, say, write_atomically
from brainformer.search.errors import InvalidInput
from brainformer.search.export.flax_source import flax_source
from brainformer.search.export.genome_file import GenomeExport, scale_export
from brainformer.search.proxy.proxy import Proxy
from brainformer.search.space.genome import parse_genome
from brainformer.search.trials.trial import Measurements

COUNT = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)([kKmMbB]?)")
POWERS = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9}


class Kind(StrEnum):
    """What an export is written as."""

    GENOME = "genome"
    FLAX = "flax"


WRITERS: dict[Kind, Callable[[GenomeExport], str]] = {
    Kind.GENOME: GenomeExport.to_json,
    Kind.FLAX: flax_source,
}


def export(
    search: SearchName,
    trial: Annotated[
        int | None, typer.Option(help="A trial's number; without it, the best.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file; without it, stdout.", show_default=False),
    ] = None,
    kind: Annotated[
        Kind,
        typer.Option(
            "--format",
            help="genome: JSON with its measurements; flax: source that needs only jax and flax.",
        ),
    ] = Kind.GENOME,
    target_params: Annotated[
        str | None,
        typer.Option(help="Scale to so many activated parameters: 1B, 300M.", show_default=False),
    ] = None,
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
) -> None:
    """Export a block, checked by its digest: as data, or as a model to train on."""
    target = None if target_params is None else parse_count(target_params)
    document = fetch_export(connect(url, token, token_file), search, trial)
    if target is not None:
        document = scale_export(document, target)
    text = WRITERS[kind](document)
    if output is None:
        print_raw(text)
        return
    write_atomically(output, text)
    say(f"wrote trial {document.trial_number} of {document.search_name} to {output}")


def parse_count(text: str) -> int:
    """Returns the number that "1B", "300M", "20k" or "1000" stands for.

    Raises:
        InvalidInput: it is none of these.
    """
    match = COUNT.fullmatch(text.strip())
    if match is None or not float(match[1]):
        raise InvalidInput("a count is a number above 0 with K, M or B behind it", text)
    return round(float(match[1]) * POWERS[match[2].upper()])


def fetch_export(client: ControllerClient, search: str, trial: int | None) -> GenomeExport:
    """Returns the export of a trial, or of the best one.

    Raises:
        NotFound: there is no such search or trial, or no candidate has completed.
        InvalidInput: the controller's genome does not have the digest that it states.
    """
    record = client.get(f"/searches/{search_path(search)}")
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
