"""`brainformer export`: a block from a search, a genome file or an exported folder, as files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from brainformer.api.cli.searches.targets import target_given
from brainformer.api.cli.terminal.address import search_path
from brainformer.api.cli.terminal.options import (
    URL,
    Token,
    TokenFile,
    Url,
    connect,
    given_token,
)
from brainformer.api.cli.terminal.output import print_raw, say, write_atomically
from brainformer.api.cli.terminal.worker_packages import require_worker_packages
from brainformer.search.errors import InvalidInput

if TYPE_CHECKING:
    from brainformer.api.cli.terminal.controller_client import ControllerClient
    from brainformer.search.export.genome_file import GenomeExport
    from brainformer.search.scaling.target import Target
    from brainformer.worker.export.weighted_model import WeightedModel


class Kind(StrEnum):
    """What an export is written as."""

    GENOME = "genome"
    FLAX = "flax"
    WEIGHTS = "weights"
    HUGGINGFACE = "huggingface"
    REPORT = "report"
    TRIALS = "trials"


# What tells a folder with weights: an export, a checkpoint, a run.
MARKS = ("export.json", "checkpoint.json", "checkpoints")
FOLDERS = frozenset({Kind.WEIGHTS, Kind.HUGGINGFACE})


def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A search's id or name, an exported genome file, an exported folder, or a run "
            "of `brainformer train` or one of its checkpoints.",
            show_default=False,
        ),
    ],
    trial: Annotated[
        int | None, typer.Option(help="A trial's number; without it, the best.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The file or folder; files without it: stdout.",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        Kind,
        typer.Option(
            "--format",
            help="genome: JSON with its measurements; flax: source that needs only jax and flax; "
            "weights: safetensors and config; huggingface: a folder for transformers; report: the "
            "search as one HTML file; trials: all that it evaluated, for 'search create --import'.",
        ),
    ] = Kind.GENOME,
    target_params: Annotated[
        str | None,
        typer.Option(
            help="Scale to so many activated parameters: 1B, 300M; or to the target in a YAML "
            "file.",
            show_default=False,
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="bytes, a tokenizers .json or a SentencePiece .model: what the data was prepared "
            "with. Needed for other data than the built-in bytes.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the initial weights of a block.")] = 0,
    push_to_hub: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Upload the folder as OWNER/MODEL.", show_default=False),
    ] = None,
    url: Url = URL,
    token: Token = None,
    token_file: TokenFile = None,
) -> None:
    """Export a block, checked by its digest: as data, as source, or as a model with weights.

    From a search or a genome file the weights are initial ones; from an exported folder or a
    checkpoint, its own; of a run, those of the best checkpoint.
    """
    target = None if target_params is None else target_given(target_params)
    known = given_token(token, token_file)
    folder = Path(source)
    has_weights = any((folder / name).exists() for name in MARKS)
    if push_to_hub is not None and kind is not Kind.HUGGINGFACE:
        raise InvalidInput("--push-to-hub uploads --format huggingface", str(kind))
    if kind is Kind.REPORT:
        _write(
            output,
            connect(url, known).text(f"/searches/{search_path(source)}/report"),
            "the report",
        )
        return
    if kind is Kind.TRIALS:
        path = f"/searches/{search_path(source)}/trials.jsonl?header=true"
        _write(output, connect(url, known).text(path), "the trials")
        return
    if has_weights or kind in FOLDERS:
        require_worker_packages("jax", "safetensors")
        if has_weights:
            _check_folder(source, kind, trial, target_params)
        if output is None:
            raise InvalidInput(f"--format {kind} writes a folder; name it with --output")
        block = None if has_weights else _block(source, trial, target, url, known)
        model, kept = _model(folder, block, seed)
        _write_model(kind, output, model, tokenizer or kept)
        if push_to_hub is not None:
            _push(output, push_to_hub)
        return
    document = _block(source, trial, target, url, known)
    what = f"trial {document.trial_number} of {document.search_name}"
    _write(output, _text(kind, document), what)


def _check_folder(source: str, kind: Kind, trial: int | None, target_params: str | None) -> None:
    """Refuses what a folder with weights cannot give."""
    if target_params is not None:
        raise InvalidInput("weights cannot be scaled; leave --target-params out", target_params)
    if kind not in FOLDERS | {Kind.FLAX}:
        raise InvalidInput(
            "a folder with weights is exported as weights, flax or huggingface", str(kind)
        )
    _check_trial(source, trial)


def _check_trial(source: str, trial: int | None) -> None:
    if trial is not None:
        raise InvalidInput(
            f"{source} holds one block; --trial chooses among those of a search", trial
        )


def _text(kind: Kind, document: GenomeExport) -> str:
    """Returns the one file that a block without weights is written as."""
    from brainformer.search.export.flax_source import flax_source

    return flax_source(document) if kind is Kind.FLAX else document.to_json()


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
    return export_of(record, row, best)


def export_of(record: dict[str, Any], row: dict[str, Any], best: dict[str, Any]) -> GenomeExport:
    """Returns the export of a trial from the controller's answers.

    Raises:
        InvalidInput: the controller's genome does not have the digest that it states.
    """
    from brainformer.search.export.genome_file import GenomeExport
    from brainformer.search.export.provenance import versions_of
    from brainformer.search.proxy.proxy import Proxy
    from brainformer.search.space.genome import parse_genome
    from brainformer.search.trials.trial import Measurements

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
        versions=versions_of(),
    )


def _block(
    source: str, trial: int | None, target: Target | None, url: str, token: str | None
) -> GenomeExport:
    """Returns the block of a genome file or of a search, scaled if that is wanted."""
    from brainformer.search.export.genome_file import read_export, scale_export

    path = Path(source)
    if path.is_file() or path.suffix == ".json":
        _check_trial(source, trial)
        found = read_export(path)
    else:
        found = fetch_export(connect(url, token), source, trial)
    if target is None:
        return found
    scaled, shape = scale_export(found, target)
    say(f"scaled to {shape}; learning rate {shape.proxy.peak_learning_rate:.3g}")
    return scaled


def _model(folder: Path, block: GenomeExport | None, seed: int) -> tuple[WeightedModel, str | None]:
    """Returns a folder's model and the tokenizer it keeps, or a block with initial weights."""
    from brainformer.worker.datasets.kept_tokenizer import FILES
    from brainformer.worker.export.weighted_model import initialised
    from brainformer.worker.trained.trained_model import read_trained

    if block is not None:
        provenance = block.provenance()
        return initialised(block.genome, block.proxy, seed=seed, provenance=provenance), None
    found = read_trained(folder)
    kept = found.folder / FILES.get(found.model.provenance.tokenizer or "", "none")
    return found.model, str(kept) if kept.is_file() else None


def _write_model(kind: Kind, output: Path, model: WeightedModel, tokenizer: str | None) -> None:
    from brainformer.worker.export.model_folders import write_flax, write_huggingface, write_weights
    from brainformer.worker.export.tokenizer_files import default_tokenizer

    if kind is Kind.HUGGINGFACE:
        words = tokenizer or default_tokenizer(model.provenance)
        write_huggingface(output, model, tokenizer=words)
    elif kind is Kind.FLAX:
        write_flax(output, model)
    else:
        write_weights(output, model)
    weights = "trained" if model.provenance.origin == "trained" else "untrained"
    say(f"wrote {output}: {kind}, {weights}, genome {model.genome.digest[:12]}")


def _push(folder: Path, name: str) -> None:
    from brainformer.worker.export.hub import push_to_hub

    say(f"uploaded {folder} to {push_to_hub(folder, name)}")


def _write(output: Path | None, text: str, what: str) -> None:
    if output is None:
        print_raw(text)
        return
    write_atomically(output, text)
    say(f"wrote {what} to {output}")
